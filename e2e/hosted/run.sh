#!/usr/bin/env bash
# run.sh: hosted clusters on real pods (`make e2e E2E_LANES=hosted`): a meta cluster with this machine as its node (real kubelet, containerd, kube-proxy, and
# kube-router for NetworkPolicies), the operator as a Deployment of its chart, and the life of two control planes: made, used by kubectl, kept apart, released from one
# minor to the next, released badly and rolled back while a client writes and reads, put right after drift,
# a lost leaf, a lost CA, a full disk and a killed operator, a lost member, a CA replaced, restored, deleted; one has a real host as its node. Each step
# has a bound.
#
# Needs root.
#
#   RUN_DIR, PORT_BASE   default .run/e2e-hosted, 29000
#   E2E_STORIES          which of those between the first creation and deletion; most need three_masters before (default: all)
#   KEEP=1               leave everything running at the end
set -euo pipefail
export RUN_DIR=${RUN_DIR:-.run/e2e-hosted} PORT_BASE=${PORT_BASE:-29000}
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
# shellcheck source=e2e/hosted/lib.sh
source "$ROOT/e2e/hosted/lib.sh"
# shellcheck source=e2e/hosted/world.sh
source "$ROOT/e2e/hosted/world.sh"
# shellcheck source=e2e/hosted/trouble.sh
source "$ROOT/e2e/hosted/trouble.sh"
# shellcheck source=e2e/hosted/etcd.sh
source "$ROOT/e2e/hosted/etcd.sh"
# shellcheck source=e2e/hosted/machine.sh
source "$ROOT/e2e/hosted/machine.sh"
cd "$ROOT"
((EUID == 0)) || fail "the lane hosted runs pods on this machine: as root"

one_master() {
  business=one
  cluster one 1 Delete
  await 60 "a cluster of one master: created to Ready" ready
  take_kubeconfig
  b create deployment web --image=example.invalid/web --replicas=2 >/dev/null
  await 30 "kubectl: a Deployment's pods in the new cluster, up to Pending" bash -c \
    "[[ \$('$(kubectl_binary)' --kubeconfig '$RUN_DIR/one.kubeconfig' get pods -l app=web --no-headers | grep -c Pending) == 2 ]]"
}

# What its package and endstate itself bring into it; and what the plugin tells of it.
add_ons() {
  local plugin=("$BUILD_BIN/kubectl-endstate" --kubeconfig "$RUN_DIR/kubeconfig" --namespace prod) file=$RUN_DIR/plugin.kubeconfig line
  await 30 "its add-ons are applied" addons_applied
  b get configmap of-before -n notes >/dev/null || fail "the package's add-on isn't there"
  b get crd hostassignments.endstate.dev >/dev/null || fail "the CRD of HostAssignment isn't there"
  b auth can-i patch hostassignments.endstate.dev --subresource=status --as=endstate:host:x --as-group=endstate:agents >/dev/null || fail "agents may not report"
  "${plugin[@]}" kubeconfig one --output "$file"
  [[ $(stat -c %a "$file") == 600 ]] || fail "kubectl endstate kubeconfig: others can read the file"
  cmp -s "$file" "$RUN_DIR/one.kubeconfig" || fail "kubectl endstate kubeconfig wrote something else"
  rm -f "$file"
  "${plugin[@]}" describe cluster one >"$RUN_DIR/describe.txt" || fail "kubectl endstate describe cluster one"
  for line in 'apiserver: 1 of 1 ready' 'notes: Applied, 2 objects'; do
    grep -q "$line" "$RUN_DIR/describe.txt" || fail "describe doesn't say '$line': $(<"$RUN_DIR/describe.txt")"
  done
  ok "kubectl endstate: kubeconfig into a file of mode 0600, describe names components and add-ons"
}
addons_applied() { status 'any(.status.conditions[]; .type == "AddonsReady" and .status == "True")'; }

# Hosts are played; their Nodes and HostAssignments are in the hosted cluster, reached with its own kubeconfig.
machines() {
  start_process fleet "$BUILD_BIN/endstate-fleet" --kubeconfig "$RUN_DIR/kubeconfig" --business-kubeconfig "$RUN_DIR/one.kubeconfig" --namespace prod --hosts 3 \
    --delay-scale 0 --lease-seconds 10 --http-address "127.0.0.1:$((PORT_BASE + 81))"
  k apply -f manifests/samples/packages.yaml >/dev/null
  sed -e 's/clusterName: .*/clusterName: one/' -e 's/replicas: .*/replicas: 3/' -e 's/namespace: default/namespace: prod/' manifests/samples/machine_set.yaml | k apply -f - >/dev/null
  await 90 "a MachineSet of three in it: Ready nodes of the hosted cluster" machines_ready
  [[ $(b get nodes --no-headers | wc -l) == 3 && $(b get hostassignments.endstate.dev --no-headers | wc -l) == 3 ]] || fail "its nodes aren't there"
  ! kubectl_admin get nodes -o name | grep -q host- || fail "its nodes are in the meta cluster"
}
machines_ready() { [[ $(k get machinesets.endstate.dev workers -o jsonpath='{.status.readyReplicas}') == 3 ]]; }

three_masters() {
  business=three
  cluster three 3 Delete
  await 120 "a cluster of three masters: created to Ready" ready
  take_kubeconfig
}

# connects POD-LABELS ADDRESS PORT: whether a pod of the namespace with these labels reaches it.
connects() {
  local name=probe-$RANDOM result
  k apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $name, labels: {$1}}
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: probe
    image: endstate.local/shell:1
    command: [timeout, "5", bash, -c, "until exec 3<>/dev/tcp/$2/$3; do :; done"]
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
YAML
  until result=$(k get pod "$name" -o jsonpath='{.status.phase}') && [[ $result == Succeeded || $result == Failed ]]; do sleep 0.2; done
  k delete pod "$name" --grace-period=0 --force >/dev/null 2>&1
  [[ $result == Succeeded ]]
}
# Who may talk to etcd of `three`: its own API server, and nobody else, not even the API server of its neighbour.
isolation() {
  local etcd api
  etcd=$(k get pod three-etcd-0 -o jsonpath='{.status.podIP}')
  api=$(k get service three-apiserver -o jsonpath='{.spec.clusterIP}')
  local own='endstate.dev/cluster-name: three, endstate.dev/component: apiserver' other='endstate.dev/cluster-name: one, endstate.dev/component: apiserver'
  connects "app: anybody" "$api" 6443 || fail "the API server can't be reached"
  connects "$own" "$etcd" 2379 || fail "the API server's pods can't reach their etcd"
  connects 'endstate.dev/cluster-name: three, endstate.dev/component: etcd-job' "$etcd" 2379 || fail "the Jobs at etcd can't reach it"
  ! connects "app: anybody" "$etcd" 2379 || fail "anybody reaches etcd"
  ! connects "$other" "$etcd" 2379 || fail "the neighbour's API server reaches etcd"
  ok "etcd: its own API server connects; another pod and the neighbour's API server are blocked"
  ! "$(kubectl_binary)" --kubeconfig "$RUN_DIR/three.kubeconfig" --server "$(jq -r '.clusters[0].cluster.server' "$RUN_DIR/one.kubeconfig")" get namespaces >/dev/null 2>&1 ||
    fail "the keys of one cluster open the other"
  ok "keys: those of one cluster don't open the other"
}

release() { k patch clusters.endstate.dev "$business" --type merge -p "{\"spec\":{\"packageVersion\":{\"name\":\"$1\"}}}" >/dev/null; }
releases() {
  start_prober
  release good
  sleep 10
  kill_operator
  await 300 "a good release, $kubernetes_before to $kubernetes, part by part, its operator killed in the middle" released good
  await 60 "its add-ons follow: what the new version doesn't have is taken away" addons_follow
  judge "while it was released" 2
  start_prober
  snapshot_was_before good
  release bad
  await 300 "a broken release (a flag that kube-apiserver refuses): rolled back by itself" rolled_back bad
  judge "while it failed and was rolled back" 2
  release good
  await 30 "edited back: not stalled any more" not_stalled
}
addons_follow() { b get configmap of-good -n notes && ! b get configmap of-before -n notes && addons_applied; }

rotation() {
  local before
  before=$(issuer)
  start_prober
  k annotate clusters.endstate.dev three endstate.dev/rotate-ca=etcd >/dev/null
  await 400 "etcd's CA replaced: trust, switch, retire" rotated "$before"
  judge "while the CA was replaced" 5
}
rotated() { [[ $(issuer) != "$1" ]] && [[ $(k get secret three-etcd -o jsonpath='{.data.ca\.crt}' | base64 -d | grep -c BEGIN) == 1 ]] && ready; }

deletion() {
  local name
  for name in one three; do
    k annotate clusters.endstate.dev "$name" endstate.dev/delete-protection=Cascading >/dev/null # its machines go with it, and first
    k delete clusters.endstate.dev "$name" --wait=false >/dev/null
  done
  for name in one three; do await 60 "cluster $name deleted, and nothing of it is left" gone "$name"; done
}

# shellcheck disable=SC2154 # assigned in it
trap 'ended=$?; [[ -n ${KEEP:-} ]] || stop_world; exit $ended' EXIT
"$ROOT/e2e/hosted/build.sh"
hack/build.sh release endstate-operator endstate-fleet endstate-agent kubectl-endstate
start_world
one_master
for story in ${E2E_STORIES:-add_ons machines three_masters isolation real_machine releases missing_image put_back lost_ca full_disk operator_killed skip_snapshot member_lost rotation restore defragment machine_kept}; do
  "$story"
done
deletion
! operator_logs | grep -E 'level=error|panic' || fail "the operator's log holds errors"
! operator_metrics | grep -E '^endstate_unguarded_total' || fail "something disruptive went out without a permit"
say "the lane hosted: passed"
