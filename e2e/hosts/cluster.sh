# shellcheck shell=bash
# The business cluster of e2e/hosts, the operator, and what a person does there. To be sourced after lib.sh.
# shellcheck disable=SC2034,SC2154 # variables of run.sh and of the other parts

start_operator() {
  local token
  token=$(kubectl_admin create token endstate-operator -n endstate-system --duration=4h)
  (umask 077 && kubectl_admin config view --raw --flatten --minify -o json |
    jq --arg token "$token" '.users = [{name: "operator", user: {token: $token}}] | .contexts[0].context.user = "operator"' >"$RUN_DIR/operator.kubeconfig")
  start_process operator "$BUILD_BIN/endstate-operator" --kubeconfig "$RUN_DIR/operator.kubeconfig" --identity e2e-hosts --namespace endstate-system \
    --http-address "127.0.0.1:$((PORT_BASE + 80))"
  await_process operator 60 curl -sf --max-time 2 "http://127.0.0.1:$((PORT_BASE + 80))/readyz"
}

# --- hosts -------------------------------------------------------------------------------------------------------------------------------------------
# machine_set NAME CONTAINERD KUBELET [MORE-PACKAGES]: as many machines as there are hosts.
machine_set() {
  kubectl_admin apply -f - >/dev/null <<YAML
apiVersion: endstate.dev/v1alpha1
kind: MachineSet
metadata: {name: $1, namespace: default}
spec:
  clusterName: real
  replicas: $count
  selector: {matchLabels: {pool: $1}}
  template:
    metadata: {labels: {pool: $1}}
    spec:
      packages:
      - {name: runtime, versionRef: {name: $2}}
      - {name: network, versionRef: {name: cni-1.1.1}}
      - {name: kubelet, versionRef: {name: $3}}
${4:-}
      readinessGates: [{conditionType: RuntimeReady}, {conditionType: NetworkReady}]
  rollout: {type: InPlace, maxUnavailable: 1, machineTimeoutSeconds: 300}
YAML
}

# machine NAME CLUSTER CONTAINERD KUBELET [READINESS-GATES]: one by itself, on h1.
machine() {
  kubectl_admin apply -f - >/dev/null <<YAML
apiVersion: endstate.dev/v1alpha1
kind: Machine
metadata: {name: $1, namespace: ${namespace:-default}}
spec:
  clusterName: $2
  hostName: h1
  packages:
  - {name: runtime, versionRef: {name: $3}}
  - {name: network, versionRef: {name: cni-1.1.1}}
  - {name: kubelet, versionRef: {name: $4}}
  readinessGates: [${5:-}]
YAML
}

# --- what can be seen -------------------------------------------------------------------------------------------------------------------------------
# until_true SECONDS COMMAND...
until_true() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || return 1
    sleep 0.3
  done
}
machines_are() { # PHASE COUNT
  [[ $(kubectl_admin get machines.endstate.dev -o json | jq --arg phase "$1" '[.items[] | select(.status.phase == $phase)] | length') == "$2" ]]
}
running_machines() { machines_are Running "$1"; }
reported() { # SLOT VERSION: of all hosts
  [[ $(kubectl_admin get hostassignments -o json | jq --arg slot "$1" --arg version "$2" \
    '[.items[].status.packages[]? | select(.name == $slot and .state == "Ready" and .actual.name == $version)] | length') == "$count" ]]
}
says() { # SLOT REASON: one host at least
  kubectl_admin get hostassignments -o json | jq -e --arg slot "$1" --arg reason "$2" \
    'any(.items[].status.packages[]?; .name == $slot and .reason == $reason)' >/dev/null
}
rollout_is() { [[ $(kubectl_admin get machineset workers -o jsonpath='{.status.rollout.phase}') == "$1" ]]; }
pods_run() { [[ $(kubectl_admin get pods -n default -l app=counter --field-selector status.phase=Running -o name | wc -l) == "$count" ]]; }
hosts_free() { [[ $(kubectl_admin get hosts -o json | jq '[.items[] | select(.spec.consumerRef == null and .status.phase == "Ready")] | length') == "$count" ]]; }
# The counters' processes, by host: their PIDs there.
counter_pids_of() { in_host "$1" pgrep -f 'e2e-counter' | sort | tr '\n' ' '; }
counter_pids() { for name in $(all_hosts); do counter_pids_of "$name"; done; }
counts() { for name in $(all_hosts); do in_host "$name" cat /var/lib/e2e/count; done; }
unit_pids() { for name in $(all_hosts); do in_host "$name" systemctl show -p MainPID --value "$1"; done; }
