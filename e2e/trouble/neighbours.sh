# shellcheck shell=bash
# Stories: a neighbour whose API server hangs, is slow, or never stops talking. The healthy ones must not feel it. To be sourced by run.sh.
# shellcheck disable=SC2154 # short, seed and cut_seconds are run.sh's

neighbour_dir=$RUN_DIR-neighbour neighbour_port=$((PORT_BASE + 1000))
neighbours_down() {
  [[ ! -d $neighbour_dir ]] || RUN_DIR=$neighbour_dir PORT_BASE=$neighbour_port "$ROOT/e2e/kubernetes/down.sh" >/dev/null
  stop_processes 5 flood black-hole
}
neighbour() { "$(kubectl_binary)" --kubeconfig "$neighbour_dir/kubeconfig" "$@"; }

# A second API server, and a set of 30 machines in it, in the middle of a rollout.
neighbour_up() {
  RUN_DIR=$neighbour_dir PORT_BASE=$neighbour_port COMPONENTS="etcd apiserver" "$ROOT/e2e/kubernetes/up.sh" >/dev/null
  neighbour create namespace endstate-system >/dev/null
  neighbour apply --server-side -f manifests/crds/endstate.dev_hostassignments.yaml -f manifests/rbac/agent.yaml -f manifests/policies/agents.yaml >/dev/null
  kubectl create namespace neighbour >/dev/null
  relay_up neighbour $((PORT_BASE + 640)) $((neighbour_port + 443))
  sed "s#server: .*#server: https://127.0.0.1:$((PORT_BASE + 640))#" <(neighbour config view --raw --flatten --minify) >"$RUN_DIR/neighbour.kubeconfig"
  kubectl create secret generic neighbour -n neighbour --from-file="value=$RUN_DIR/neighbour.kubeconfig" >/dev/null
  far_cluster neighbour neighbour
  start_process fleet-neighbour "$BUILD_BIN/endstate-fleet" --kubeconfig "$RUN_DIR/fleet.kubeconfig" --business-kubeconfig "$neighbour_dir/kubeconfig" --hosts 30 \
    --namespace neighbour --host-prefix neighbour- --http-address "127.0.0.1:$((PORT_BASE + 641))" --delay-scale 0.1 --log-level warning
  disown "$(<"$RUN_DIR/fleet-neighbour.pid")"
  pool neighbour many neighbour 30 "  rollout: {maxUnavailable: 100%}"
}

# healthy_changes NAME ROUNDS: edits of 50 sets of a healthy cluster at once, ROUNDS times; prints how long endstate took to answer each, sorted, in ms.
healthy_sets() {
  kubectl create namespace healthy >/dev/null
  kubectl apply -f - >/dev/null <<'YAML'
apiVersion: endstate.dev/v1alpha1
kind: Cluster
metadata: {name: healthy, namespace: healthy}
spec: {controlPlane: {type: External}}
YAML
  healthy_edit 0
  by 60 healthy_answered
}
healthy_edit() { # NUMBER: any field that endstate answers by its observedGeneration
  local i
  for ((i = 1; i <= 50; i++)); do
    printf -- '---\napiVersion: endstate.dev/v1alpha1\nkind: MachineSet\nmetadata: {name: s%d, namespace: healthy}\n' "$i"
    printf 'spec: {clusterName: healthy, replicas: 0, revisionHistoryLimit: %d, selector: {matchLabels: {pool: s%d}}, template: {metadata: {labels: {pool: s%d}}, spec: {}}}\n' "$(($1 % 90 + 5))" "$i" "$i"
  done | kubectl apply -f - >/dev/null
}
healthy_answered() { kubectl get machinesets -n healthy -o json | jq -e '(.items | length) == 50 and all(.items[]; .status.observedGeneration == .metadata.generation)'; }
healthy_edits=0
healthy_changes() {
  local from round
  from=$(now_ms)
  for ((round = 1; round <= $2; round++)); do
    healthy_edit $((++healthy_edits)) # another than before, or nothing would change
    sleep 0.5
  done
  by 60 healthy_answered || true
  awk -F '\t' -v from="$from" '
    $3 ~ /^healthy\// && $1 >= from && $2 == "wish" { wish[$3 " " $4] = $1 }
    $3 ~ /^healthy\// && $2 == "seen" && (($3 " " $4) in wish) { print $1 - wish[$3 " " $4]; delete wish[$3 " " $4] }
    END { for (w in wish) print 999999 }' "$RUN_DIR/events.tsv" | sort -n >"$RUN_DIR/latency-$1"
}
percentile() { awk -v p="$2" '{ v[NR] = $1 } END { i = int(NR * p / 100 + 0.999999); print NR ? v[i < 1 ? 1 : i] : 999999 }' "$RUN_DIR/latency-$1"; }
# Within twice of what it is without that neighbour, or 500 ms; and nobody waits for more than 5 s.
as_without() {
  local p99 base most
  p99=$(percentile "$1" 99) base=$(percentile alone 99) most=$(tail -n 1 "$RUN_DIR/latency-$1")
  printf 'p99 %s ms (alone: %s ms), the longest %s ms, of %s changes\n' "$p99" "$base" "$most" "$(wc -l <"$RUN_DIR/latency-$1")" | tee -a "$RUN_DIR/latencies"
  ((most <= 5000 && (p99 <= 2 * base || p99 <= 500)))
}

story_neighbours() {
  local rounds=20
  [[ -z $short ]] || rounds=4
  healthy_sets
  healthy_changes alone "$rounds"
  neighbour_up
  check "neighbours: its 30 machines are Ready" by 120 ready_are neighbour many 30

  upgrade neighbour many kubelet-b
  sleep 1
  relay_signal neighbour STOP
  healthy_changes hangs "$rounds"
  check "neighbours: one that hangs is not felt" as_without hangs
  relay_signal neighbour CONT
  by 120 phase_is neighbour many Complete || true

  # Its API server answers, but each write of an assignment waits for a webhook that says nothing.
  start_process black-hole socat "TCP-LISTEN:$((PORT_BASE + 642)),bind=127.0.0.1,reuseaddr,fork" "EXEC:sleep 60"
  disown "$(<"$RUN_DIR/black-hole.pid")"
  neighbour apply -f - >/dev/null <<YAML
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: slow}
webhooks:
- name: slow.example.com
  clientConfig: {url: "https://127.0.0.1:$((PORT_BASE + 642))/"}
  rules: [{apiGroups: [endstate.dev], apiVersions: ["*"], operations: [CREATE, UPDATE], resources: ["hostassignments"]}]
  failurePolicy: Ignore
  sideEffects: None
  timeoutSeconds: 10
  admissionReviewVersions: [v1]
YAML
  sleep 2
  upgrade neighbour many kubelet-c
  sleep 1
  healthy_changes slow "$rounds"
  check "neighbours: one that is slow is not felt" as_without slow
  neighbour delete validatingwebhookconfiguration slow >/dev/null
  stop_processes 5 black-hole

  flood
  kubectl delete machinesets -n neighbour --all --wait=false >/dev/null
}

# Its API server answers every list and watch with HostAssignments without end: the relay leads to a server that does.
flood() {
  local operator before
  operator=$(process_pid operator)
  relay_down neighbour
  start_process flood "$ROOT/build/release/trouble_flood" --port $((PORT_BASE + 643)) --certificate "$neighbour_dir/pki/serving.crt" --key "$neighbour_dir/pki/serving.key"
  disown "$(<"$RUN_DIR/flood.pid")"
  relay_up neighbour $((PORT_BASE + 640)) $((PORT_BASE + 643))
  before=$(awk '/^VmRSS/ { print $2 }' "/proc/$operator/status")
  healthy_changes flood "${rounds:-4}"
  check "neighbours: one that never stops talking is not felt" as_without flood
  check "neighbours: it is disconnected, with a reason" by 120 cluster_says neighbour neighbour TooManyObjects
  check "neighbours: the operator lives, within its limit of memory" lives_within "$operator" "$before" 300000
  stop_processes 5 flood
}
cluster_says() { kubectl get cluster.endstate.dev "$2" -n "$1" -o json | jq -e --arg reason "$3" 'any(.status.conditions[]; .type == "Connected" and .status == "False" and .reason == $reason)'; }
lives_within() { # PID BEFORE KB: its peak isn't so much above what it was
  [[ $(process_pid operator) == "$1" ]] || return 1
  (($(awk '/^VmHWM/ { print $2 }' "/proc/$1/status") - $2 <= $3))
}
