#!/usr/bin/env bash
# Trouble on a running endstate: the API server goes and comes back, freezes, watches are cut; references to what doesn't exist yet; a Cluster
# that is deleted with its machines; wrong flags. The operator stays up, says what is wrong, and catches up without a restart.
#
#   OUTAGE_SECONDS   how long the API server is away (default 15; 60 is what an on-call person would try)
set -euo pipefail
export RUN_DIR=.run/test-trouble PORT_BASE=${TEST_PORT_BASE:-17000} SIM_HOSTS=20 FLEET_DELAY_SCALE=0
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
# shellcheck source=e2e/scenarios/cases.sh
source "$ROOT/e2e/scenarios/cases.sh"
cd "$ROOT"
OUTAGE_SECONDS=${OUTAGE_SECONDS:-15}

hack/down.sh
trap 'kill -CONT "$(process_pid apiserver)" 2>/dev/null || true; hack/down.sh' EXIT
hack/up.sh >/dev/null

metrics() { curl -s --max-time 5 "http://127.0.0.1:$((PORT_BASE + 80))/metrics"; }
# until SECONDS COMMAND...: the command's success within the bound; else its last output.
until_() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || { kubectl_admin get clusters,machinesets -A && tail -n 5 "$RUN_DIR/operator.log" && return 1; }
    sleep 0.5
  done
}
ready_is() { [[ $(kubectl_admin get machineset "$1" -o jsonpath='{.status.readyReplicas}') == "$2" ]]; }
machines_are() { [[ $(kubectl_admin get machines -o name | wc -l) == "$1" ]]; }
# condition OBJECT TYPE: "STATUS REASON MESSAGE"
condition() { kubectl_admin get "$1" -o jsonpath="{range .status.conditions[?(@.type=='$2')]}{.status} {.reason} {.message}{end}"; }
condition_has() { [[ $(condition "$1" "$2") == *"$3"* ]] || { condition "$1" "$2" && return 1; }; }
any_machine_says() { kubectl_admin get machines -o json | jq -e --arg text "$1" 'any(.items[].status.conditions[]?; (.reason + " " + (.message // "")) | contains($text))' >/dev/null; }
lags() { metrics | awk '/^endstate_watch_lag_seconds/ && $2 > 2 { found = 1 } END { exit !found }'; }
lags_not() { ! lags; }
alive() { curl -sf --max-time 5 "http://127.0.0.1:$((PORT_BASE + 80))/healthz"; }
exits_2_with() {
  local text=$1 status=0 output
  shift
  output=$("$@" 2>&1) || status=$?
  printf '%s\n' "$output"
  ((status == 2)) && [[ $(wc -l <<<"$output") == 1 && $output == *"$text"* ]]
}

# --- references heal ---
kubectl_admin apply -f manifests/samples/ >/dev/null
kubectl_admin delete machineset workers >/dev/null
until_ 60 machines_are 0
sed -e 's/name: workers/name: pool/' manifests/samples/machine_set.yaml | kubectl_admin apply -f - >/dev/null
kubectl_admin scale machineset pool --replicas 5 >/dev/null
check "5 machines come up" until_ 60 ready_is pool 5

kubectl_admin apply -f - >/dev/null <<'YAML'
apiVersion: endstate.dev/v1alpha1
kind: MachineSet
metadata: {name: early, namespace: default}
spec:
  clusterName: later
  replicas: 2
  selector: {matchLabels: {pool: early}}
  template:
    metadata: {labels: {pool: early}}
    spec:
      packages:
      - {name: runtime, versionRef: {name: containerd-1.7.20}} # what the kubelet requires
      - {name: kubelet, versionRef: {name: kubelet-later}}
YAML
check "a Cluster that isn't there is named" until_ 30 condition_has machineset/early Stalled later
kubectl_admin apply -f - >/dev/null <<'YAML'
apiVersion: endstate.dev/v1alpha1
kind: Cluster
metadata: {name: later, namespace: default}
spec: {controlPlane: {type: External}}
YAML
named_package() { any_machine_says kubelet-later || condition_has machineset/early Stalled kubelet-later; }
check "a package version that isn't there is named" until_ 30 named_package
sed -e 's/name: kubelet-1.34.3/name: kubelet-later/' manifests/samples/packages.yaml |
  awk 'BEGIN { RS = "---\n" } /name: kubelet-later/ { print "---\n" $0 }' | kubectl_admin apply -f - >/dev/null
check "it heals when it appears" until_ 60 ready_is early 2

# --- a DaemonSet that nodes need is a gate ---
kubectl_admin get machineset pool -o json |
  jq '{apiVersion, kind, metadata: {name: "gated", namespace: "default"}, spec: (.spec | .replicas = 1 | .selector.matchLabels = {pool: "gated"} | .template.metadata.labels = {pool: "gated"} | .template.spec.readinessGates += [{conditionType: "StorageReady"}])}' |
  kubectl_admin apply -f - >/dev/null
gate() { kubectl_admin get machines -l pool=gated -o json | jq -r '.items[0].status.conditions[]? | select(.type == "StorageReady") | .status + " " + .reason + " " + .message'; }
gate_is() { [[ $(gate) == "$1"* ]] || { gate && return 1; }; }
check "a gate that nobody reports holds a machine" until_ 30 gate_is "Unknown Unknown"
kubectl_admin apply -f - >/dev/null <<'YAML'
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: storage, namespace: kube-system}
spec:
  selector: {matchLabels: {app: storage}}
  template:
    metadata: {labels: {app: storage, endstate.dev/readiness-gate: StorageReady}}
    spec:
      automountServiceAccountToken: false
      tolerations: [{key: endstate.dev/not-ready, operator: Exists}]
      containers: [{name: storage, image: example.invalid/storage}]
YAML
check "its pod of a DaemonSet opens it" until_ 60 ready_is gated 1
check "and is named" gate_is "True Ready pod kube-system/storage-"
storage_pod() { kubectl_admin get pods -n kube-system -l app=storage -o json | jq -r --arg node "$(kubectl_admin get machines -l pool=gated -o jsonpath='{.items[0].status.nodeRef.name}')" '.items[] | select(.spec.nodeName == $node) | .metadata.name'; }
kubectl_admin patch pod -n kube-system "$(storage_pod)" --subresource=status -p '{"status":{"conditions":[{"type":"Ready","status":"False","message":"no disk"}]}}' >/dev/null
check "a pod that falls is seen" until_ 10 gate_is "False WaitingForPod pod kube-system/storage-"
kubectl_admin delete machineset gated --wait=false >/dev/null
kubectl_admin delete daemonset storage -n kube-system >/dev/null

# --- the API server goes ---
operator=$(process_pid operator)
same_operator() { [[ $(process_pid operator) == "$operator" ]]; }
KEEP_DATA=1 COMPONENTS=apiserver e2e/kubernetes/down.sh >/dev/null
sleep "$OUTAGE_SECONDS"
check "$OUTAGE_SECONDS s without API server: the operator lives" alive
check "and its metrics say how far it is behind" lags
KEEP_DATA=1 COMPONENTS=apiserver e2e/kubernetes/up.sh >/dev/null
kubectl_admin scale machineset pool --replicas 8 >/dev/null
check "it catches up" until_ 90 ready_is pool 8
check "without a restart" same_operator
check "and lags no more" until_ 60 lags_not

# --- the API server freezes: connections stay, nothing comes ---
kill -STOP "$(process_pid apiserver)"
sleep 12
check "a frozen API server: the operator lives" alive
kill -CONT "$(process_pid apiserver)"
kubectl_admin scale machineset pool --replicas 6 >/dev/null
six_left() { ready_is pool 6 && machines_are 8; }
check "it goes on" until_ 90 six_left
check "still the same process" same_operator

# --- deletion follows the protection ---
kubectl_admin annotate cluster later endstate.dev/delete-protection=Always >/dev/null
refuses "a protected Cluster can't be deleted" "delete-protection" kubectl_admin delete cluster later --wait=false
kubectl_admin annotate cluster later endstate.dev/delete-protection- >/dev/null
kubectl_admin delete cluster later --wait=false >/dev/null
blocked() { kubectl_admin get cluster later -o jsonpath='{.status.conditions}' | grep -qE 'MachinesRemain|MachinesExist'; }
check "a Cluster with machines waits, and says for what" until_ 30 blocked
kubectl_admin delete machineset early --wait=false >/dev/null
cluster_gone() { ! kubectl_admin get cluster later >/dev/null 2>&1; }
check "it goes when they have gone" until_ 90 cluster_gone

# --- wrong input ---
check "a wrong flag: one line, exit code 2" exits_2_with --frobnicate "$BUILD_BIN/endstate-operator" --frobnicate
check "a kubeconfig that isn't there: one line, exit code 2" exits_2_with /nonexistent "$BUILD_BIN/endstate-operator" --kubeconfig /nonexistent
check "the fleet too" exits_2_with /nonexistent "$BUILD_BIN/endstate-fleet" --kubeconfig /nonexistent
check "an address that can't be used: one line, exit code 2" exits_2_with http-address \
  "$BUILD_BIN/endstate-operator" --kubeconfig "$RUN_DIR/operator.kubeconfig" --http-address nowhere
finish
