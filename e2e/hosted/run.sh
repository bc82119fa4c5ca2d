#!/usr/bin/env bash
# run.sh: hosted clusters on real pods (`make e2e E2E_LANES=hosted`): a meta cluster with this machine as its node (real kubelet, containerd, kube-proxy), the
# operator under its own ServiceAccount, and the life of two control planes: made, used by kubectl, released, released badly and rolled back while a
# client writes and reads, put right after drift, a lost leaf and a lost CA, a CA replaced, deleted. Each step has a bound.
#
# Needs root, and Debian's containerd, runc, containernetworking-plugins and iptables.
#
#   RUN_DIR, PORT_BASE   default .run/e2e-hosted, 29000
#   KEEP=1               leave everything running at the end
set -euo pipefail
export RUN_DIR=${RUN_DIR:-.run/e2e-hosted} PORT_BASE=${PORT_BASE:-29000}
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
cd "$ROOT"
here=$ROOT/e2e/hosted
readonly volumes=6
k() { kubectl_admin --namespace prod "$@"; }
b() { "$(kubectl_binary)" --kubeconfig "$RUN_DIR/$business.kubeconfig" "$@"; }
ms() { printf '%s' "$((${EPOCHREALTIME/./} / 1000))"; }

stop_all() {
  stop_processes 10 prober operator token-refresher
  "$here/node.sh" down
  "$ROOT/e2e/kubernetes/down.sh"
}

# --- the meta cluster ---

import_images() {
  local bin image
  bin=$(kube_bin_dir)
  for image in "pause:1=$ROOT/.cache/hosted/bin/pause" "etcd:3.6=$bin/etcd" "kube-apiserver:v1=$bin/kube-apiserver" \
    "kube-controller-manager:v1=$bin/kube-controller-manager" "kube-scheduler:v1=$bin/kube-scheduler"; do
    "$here/image.sh" "endstate.local/${image%%=*}" "${image#*=}" | ctr --address "$RUN_DIR/containerd.sock" --namespace k8s.io images import - >/dev/null
  done
  say "images: imported"
}

make_volumes() {
  local i
  for ((i = 0; i < volumes; i++)); do
    install -d -o 65532 -g 65532 -m 700 "$RUN_DIR/volumes/$i"
    cat <<YAML
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: volume-$i}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: local
  persistentVolumeReclaimPolicy: Retain
  local: {path: $RUN_DIR/volumes/$i}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [meta-1]}]}]}}
YAML
  done | kubectl_admin apply -f - >/dev/null
}

# package NAME API-SERVER-FLAG: small requests, since a node of two cores gets two control planes.
package() {
  local small='resources: {requests: {cpu: 10m, memory: 32Mi}}'
  kubectl_admin apply -f - >/dev/null <<YAML
apiVersion: endstate.dev/v1alpha1
kind: ClusterPackageVersion
metadata: {name: $1}
spec:
  kubernetesVersion: $kubernetes_version
  components:
    etcd: {image: "endstate.local/etcd:3.6", args: ["--unsafe-no-fsync"], $small}
    kubeAPIServer: {image: "endstate.local/kube-apiserver:v1", args: ["$2"], $small}
    kubeControllerManager: {image: "endstate.local/kube-controller-manager:v1", $small}
    kubeScheduler: {image: "endstate.local/kube-scheduler:v1", $small}
YAML
}

cluster() { # NAME REPLICAS POLICY
  k apply -f - >/dev/null <<YAML
apiVersion: endstate.dev/v1alpha1
kind: Cluster
metadata: {name: $1}
spec:
  packageVersion: {name: good-1}
  clusterNetwork: {services: {cidrBlocks: ["10.112.0.0/16"]}, pods: {cidrBlocks: ["10.128.0.0/14"]}}
  controlPlane:
    type: Hosted
    replicas: $2
    etcd: {replicas: $2, storage: {storageClassName: local, size: 1Gi, deletionPolicy: $3}}
    rollout: {soakSeconds: 5, progressDeadlineSeconds: 60}
YAML
}

# --- conditions ---

# await SECONDS WHAT COMMAND...: polls; prints how long it took.
await() {
  local bound=$1 what=$2 began
  shift 2
  began=$(ms)
  until "$@" >/dev/null 2>&1; do
    if (($(ms) - began > bound * 1000)); then
      k get clusters.endstate.dev,pods -o wide >&2 || true
      k get clusters.endstate.dev -o json | jq -c '.items[] | [.metadata.name, .status.phase, (.status.conditions[]? | select(.status != "True") | [.type, .reason, .message])]' >&2 || true
      fail "not within $bound s: $what"
    fi
    sleep 0.3
  done
  took=$(($(ms) - began))
  say "$(printf '%-78s %6d.%d s' "$what" "$((took / 1000))" "$((took / 100 % 10))")"
}
status() { k get clusters.endstate.dev "$business" -o json | jq -er "$1"; }
ready() { status '.metadata.generation == .status.observedGeneration and any(.status.conditions[]; .type == "Ready" and .status == "True")'; }
released() { [[ $(status '.status.controlPlane.packageVersion') == "$1" ]] && ready; }
rolled_back() { [[ $(status '.status.controlPlane.rejectedPackageVersion // ""') == "$1" && $(status '.status.history[-1].result') == RolledBack ]] && ready; }
stalled() { [[ $(status '.status.conditions[] | select(.type == "Stalled") | select(.status == "True") | .reason') == "$1" ]]; }
not_stalled() { status 'any(.status.conditions[]; .type == "Stalled" and .status == "False")'; }
gone() { [[ -z $(k get clusters.endstate.dev,deployments,statefulsets,services,poddisruptionbudgets,networkpolicies,secrets,persistentvolumeclaims -l "endstate.dev/cluster-name=$1" -o name) ]] && ! k get "clusters.endstate.dev/$1"; }
issuer() { openssl x509 -noout -issuer -in <(k get secret "$business-etcd-server" -o jsonpath='{.data.tls\.crt}' | base64 -d); }
fingerprints() { status ".status.controlPlane.certificates[] | select(.name == \"$1\") | .fingerprints | length"; }

take_kubeconfig() { (umask 077 && k get secret "$business-kubeconfig" -o jsonpath='{.data.value}' | base64 -d >"$RUN_DIR/$business.kubeconfig"); }

# --- the client that writes and reads all the while ---
start_prober() {
  : >"$RUN_DIR/probe.txt"
  start_process prober "$here/prober.sh" "$RUN_DIR/$business.kubeconfig" "$RUN_DIR/probe.txt"
}
# judge WHAT SECONDS: no request took longer, and every written object is there.
judge() {
  local worst count lost
  await 60 "  the client has written enough" enough
  stop_processes 10 prober
  count=$(wc -l <"$RUN_DIR/probe.txt")
  worst=$(sort -k2 -n "$RUN_DIR/probe.txt" | tail -n 1 | cut -d ' ' -f 2)
  lost=$(comm -23 <(cut -d ' ' -f 3 "$RUN_DIR/probe.txt" | sort) <(b get configmaps -n default -o name | sed 's#configmap/##' | sort) | wc -l)
  say "$1: $count objects written and read, the slowest took $worst s, $lost lost"
  ((lost == 0)) || fail "$1: objects were lost"
  awk -v worst="$worst" -v bound="$2" 'BEGIN { exit !(worst <= bound) }' || fail "$1: a request took longer than $2 s"
  b delete --raw /api/v1/namespaces/default/configmaps >/dev/null
}
enough() { (($(wc -l <"$RUN_DIR/probe.txt") > 50)); }

# --- the story ---

one_master() {
  business=one
  cluster one 1 Delete
  await 60 "a cluster of one master: created to Ready" ready
  take_kubeconfig
  b create deployment web --image=example.invalid/web --replicas=2 >/dev/null
  await 30 "kubectl: a Deployment's pods in the new cluster, up to Pending" bash -c \
    "[[ \$('$(kubectl_binary)' --kubeconfig '$RUN_DIR/one.kubeconfig' get pods -l app=web --no-headers | grep -c Pending) == 2 ]]"
}

three_masters() {
  business=three
  cluster three 3 Delete
  await 120 "a cluster of three masters: created to Ready" ready
  take_kubeconfig
}

releases() {
  start_prober
  k patch clusters.endstate.dev three --type merge -p '{"spec":{"packageVersion":{"name":"good-2"}}}' >/dev/null
  await 300 "a good release, part by part, with a soak of 5 s" released good-2
  judge "while it was released" 2
  start_prober
  k patch clusters.endstate.dev three --type merge -p '{"spec":{"packageVersion":{"name":"bad"}}}' >/dev/null
  await 300 "a broken release (a flag that kube-apiserver refuses): rolled back by itself" rolled_back bad
  judge "while it failed and was rolled back" 2
  k patch clusters.endstate.dev three --type merge -p '{"spec":{"packageVersion":{"name":"good-2"}}}' >/dev/null
  await 30 "edited back: not stalled any more" not_stalled
}

trouble() {
  start_prober
  k delete pod three-etcd-1 --grace-period=0 --force >/dev/null 2>&1
  k delete networkpolicy three-etcd >/dev/null
  k delete secret three-scheduler >/dev/null
  k set image deployment/three-scheduler kube-scheduler=example.invalid/other >/dev/null
  await 120 "a member killed, a policy and a leaf deleted, an image edited: as it was" put_right
  judge "while it was put right" 5
  k get secret three-etcd -o json | jq 'del(.metadata.uid, .metadata.resourceVersion, .metadata.creationTimestamp, .metadata.managedFields)' >"$RUN_DIR/ca.json"
  k delete secret three-etcd >/dev/null
  await 30 "etcd's CA deleted: refused loudly" stalled KeyLost
  sleep 5
  ! k get secret three-etcd >/dev/null 2>&1 || fail "a CA was made anew"
  k apply -f "$RUN_DIR/ca.json" >/dev/null 2>&1
  rm -f "$RUN_DIR/ca.json"
  await 30 "the CA put back" ready
}
put_right() {
  k get networkpolicy three-etcd && k get secret three-scheduler &&
    [[ $(k get deployment three-scheduler -o jsonpath='{.spec.template.spec.containers[0].image}') == endstate.local/* ]] &&
    [[ $(k get statefulset three-etcd -o jsonpath='{.status.readyReplicas}') == 3 ]] && ready
}

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
  for name in one three; do k delete clusters.endstate.dev "$name" --wait=false >/dev/null; done
  for name in one three; do await 60 "cluster $name deleted, and nothing of it is left" gone "$name"; done
}

trap 'status=$?; [[ -n ${KEEP:-} ]] || stop_all; exit $status' EXIT
"$here/build.sh"
hack/build.sh release endstate-operator
stop_all # what an earlier, broken run left
rm -rf "${RUN_DIR:?}/volumes" "$RUN_DIR/etcd"
MORE_CONTROLLERS="endpoints-controller endpointslice-controller persistentvolume-binder-controller persistentvolumeclaim-protection-controller persistentvolume-protection-controller" \
  e2e/kubernetes/up.sh
"$here/node.sh" up
import_images
kubernetes_version=$(kubectl_admin version -o json | jq -r .serverVersion.gitVersion)
kubectl_admin create namespace prod >/dev/null
kubectl_admin label namespace prod pod-security.kubernetes.io/enforce=restricted >/dev/null
kubectl_admin apply -f - >/dev/null <<'YAML'
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: local}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
YAML
make_volumes
WITHOUT_FLEET=1 hack/up.sh | sed '/^$/,$d'
package good-1 --v=1
package good-2 --v=2
package bad --no-such-flag=1
one_master
three_masters
releases
trouble
rotation
deletion
! grep -E 'level=error|panic' "$RUN_DIR/operator.log" || fail "the operator's log holds errors"
curl -sf "http://127.0.0.1:$((PORT_BASE + 80))/metrics" | grep -E '^endstate_unguarded_total' && fail "something disruptive went out without a permit"
say "the lane hosted: passed"
