# shellcheck shell=bash
# What the stories of e2e/trouble share. To be sourced after hack/lib.sh, e2e/scenarios/cases.sh and e2e/rollouts/lib.sh.

kubectl() { kubectl_admin "$@"; } # of all namespaces: each story names its own
now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }

# by SECONDS COMMAND...: until it succeeds.
by() {
  local deadline=$((SECONDS + $1))
  until "${@:2}" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || return 1
    sleep 0.3
  done
}

# --- a relay between the operator and an API server: what the operator sees of a cluster goes through it, the fleet and the recorder pass it by ---
# relay_up NAME PORT [TO]: TO is a port of loopback (default: this run's API server).
relay_up() {
  start_process "relay-$1" socat "TCP-LISTEN:$2,bind=127.0.0.1,reuseaddr,fork" "TCP:127.0.0.1:${3:-$((PORT_BASE + 443))}"
  disown "$(<"$RUN_DIR/relay-$1.pid")"
  by 10 listens "$2"
}
listens() { ss -Hltn "sport = :$1" | grep -q .; }
# A process a connection: they share the relay's process group, which start_process makes.
relay_signal() { kill "-$2" -- "-$(process_pid "relay-$1")"; }
relay_down() { ! is_running "relay-$1" || relay_signal "$1" KILL; }

# far_secret NAMESPACE NAME PORT: the kubeconfig Secret of a cluster that is reached by the relay at PORT.
far_secret() {
  kubectl config view --raw --flatten --minify | sed "s#server: .*#server: https://127.0.0.1:$3#" >"$RUN_DIR/$2.kubeconfig"
  kubectl create secret generic "$2" -n "$1" --from-file="value=$RUN_DIR/$2.kubeconfig" >/dev/null
}
# far_cluster NAMESPACE NAME: External, with the Secret of the same name.
far_cluster() {
  kubectl apply -f - >/dev/null <<YAML
apiVersion: endstate.dev/v1alpha1
kind: Cluster
metadata: {name: $2, namespace: $1, labels: {trouble: $2}}
spec: {controlPlane: {type: External, kubeconfigSecret: {name: $2}}}
YAML
}
# pool NAMESPACE NAME CLUSTER REPLICAS [MORE of the set's spec, as YAML]
pool() {
  {
    cat <<YAML
apiVersion: endstate.dev/v1alpha1
kind: MachineSet
metadata: {name: $2, namespace: $1, annotations: {endstate.dev/skip-preflight: all}}
spec:
  clusterName: $3
  replicas: $4
  selector: {matchLabels: {pool: $2}}
  template:
    metadata: {labels: {pool: $2}}
    spec:
      packages: [{name: kubelet, versionRef: {name: kubelet-a}}]
      labels: {pool: $2}
      deletion: {nodeDrainTimeoutSeconds: 60}
${5:-}
YAML
  } | kubectl apply -f - >/dev/null
}
ready_are() { [[ $(kubectl get machineset "$2" -n "$1" -o jsonpath='{.status.readyReplicas}') == "$3" ]]; }         # NAMESPACE SET NUMBER
up_to_date_are() { (($(kubectl get machineset "$2" -n "$1" -o jsonpath='{.status.upToDateReplicas}') >= $3)); }      # NAMESPACE SET AT_LEAST
phase_is() { [[ $(kubectl get machineset "$2" -n "$1" -o jsonpath='{.status.rollout.phase}') == "$3" ]]; }           # NAMESPACE SET PHASE
gone() { ! kubectl get "$@" -o name 2>/dev/null | grep -q .; }                                                       # ARGS of kubectl get
upgrade() { kubectl patch machineset "$2" -n "$1" --type merge -p "{\"spec\":{\"template\":{\"spec\":{\"packages\":[{\"name\":\"kubelet\",\"versionRef\":{\"name\":\"$3\"}}]}}}}" >/dev/null; }

# fleet_up NAMESPACE PREFIX HOSTS PORT: a fleet of its own in a namespace.
fleet_up() {
  start_process "fleet-$2" "$BUILD_BIN/endstate-fleet" --kubeconfig "$RUN_DIR/fleet.kubeconfig" --hosts "$3" --namespace "$1" --host-prefix "$2-" \
    --seed "$4" --http-address "127.0.0.1:$4" --delay-scale 0 --log-level warning
  disown "$(<"$RUN_DIR/fleet-$2.pid")"
}

# recorded_between FROM TO WHAT [PATTERN of namespace/name]: how many such events the recorder has between two times in ms.
recorded_between() {
  awk -F '\t' -v from="$1" -v to="$2" -v what="$3" -v pattern="${4:-.}" '$1 >= from && $1 <= to && $2 == what && $3 ~ pattern { n++ } END { print n + 0 }' "$RUN_DIR/events.tsv"
}
# most_begun FROM TYPE PATTERN: the most locks of that type that were held at one time since then, by what was seen from outside.
most_begun() {
  awk -F '\t' -v from="$1" -v type="$2" -v pattern="$3" '
    $3 ~ pattern && $4 == type { if ($2 == "begin") n++; if ($2 == "end") n--; if ($1 >= from && n > most) most = n } END { print most + 0 }' "$RUN_DIR/events.tsv"
}
