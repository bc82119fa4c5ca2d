#!/usr/bin/env bash
# up.sh: a running endstate on this machine (`make up`): control plane, CRDs, RBAC, policies, operator, and a simulated fleet.
#
#   SIM_HOSTS            how many hosts the fleet plays (default 200)
#   FLEET_DELAY_SCALE    1 = realistic times for installing packages, 0 = at once (default 1)
#   FLEET_ARGS           more flags for endstate-fleet
#   WITHOUT_FLEET        1: no fleet is started
#   OPERATOR_ARGS        more flags for endstate-operator
#   HOSTED_CONTROL_PLANES  1: the operator runs Clusters of type Hosted too. Their pods need nodes, which this cluster hasn't by itself: see e2e/hosted
#   RUN_DIR, PORT_BASE   see hack/lib.sh; the operator listens on +80, the fleet on +81
#   ENDSTATE_KUBECONFIG  an administrator's kubeconfig: that cluster is used, and none is started. KUBECONFIG is never looked at.
#
# Idempotent: what runs is left alone, what is missing is started. The operator and the fleet act under their own ServiceAccounts.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
SIM_HOSTS=${SIM_HOSTS:-200}
FLEET_DELAY_SCALE=${FLEET_DELAY_SCALE:-1}
operator_address=127.0.0.1:$((PORT_BASE + 80))
fleet_address=127.0.0.1:$((PORT_BASE + 81))

everything=(token-refresher operator)
[[ -n ${WITHOUT_FLEET:-} ]] || everything+=(fleet)
[[ -n ${ENDSTATE_KUBECONFIG:-} ]] || everything=(etcd apiserver controller-manager scheduler "${everything[@]}")

all_running() {
  local name
  for name in "${everything[@]}"; do is_running "$name" || return 1; done
}

# The cluster: ours, or the caller's.
start_cluster() {
  if [[ -z ${ENDSTATE_KUBECONFIG:-} ]]; then
    [[ ! -e $RUN_DIR/foreign-cluster ]] || fail "$RUN_DIR belongs to a run on another cluster: 'make down' first"
    "$ROOT/e2e/kubernetes/up.sh"
    return
  fi
  ! is_running apiserver || fail "$RUN_DIR holds a cluster that this project started: 'make down' first, or unset ENDSTATE_KUBECONFIG"
  use_foreign_cluster
  touch "$RUN_DIR/foreign-cluster"
}

# The operator's pod, which runs here and not in the cluster: no scheduler answers to this name, so it stays Pending. It exists to bind the token to.
make_operator_pod() {
  kubectl_admin apply --server-side --force-conflicts --field-manager=endstate-install -f - >/dev/null <<'YAML'
apiVersion: v1
kind: Pod
metadata:
  name: endstate-operator-local
  namespace: endstate-system
  labels: {app.kubernetes.io/name: endstate-operator}
  annotations: {endstate.dev/description: "Stands for an operator process outside of the cluster; its ServiceAccount token is bound to this object."}
spec:
  schedulerName: none
  serviceAccountName: endstate-operator
  automountServiceAccountToken: false
  containers:
  - {name: operator, image: endstate.invalid/operator, imagePullPolicy: Never}
YAML
}

# write_token_kubeconfig NAME: the administrator's server and CA, but the token file of NAME.
write_token_kubeconfig() {
  (umask 077 && kubectl_admin config view --raw --flatten --minify -o json | jq --arg name "$1" --arg file "$RUN_DIR/$1.token" '
    .users = [{name: $name, user: {tokenFile: $file}}] | .contexts[0].context.user = $name' >"$RUN_DIR/$1.kubeconfig.part")
  mv -f "$RUN_DIR/$1.kubeconfig.part" "$RUN_DIR/$1.kubeconfig"
}

start_tokens() {
  make_operator_pod
  write_token_kubeconfig operator
  write_token_kubeconfig fleet
  "$ROOT/hack/token_refresher.sh" --once || fail "no tokens for the operator and the fleet"
  is_running token-refresher || start_process token-refresher "$ROOT/hack/token_refresher.sh"
}

start_program() {
  local name=$1 address=$2 began=${EPOCHREALTIME/./}
  shift 2
  if is_running "$name"; then
    say "$name runs already (PID $(process_pid "$name"))"
    return
  fi
  [[ -x $1 ]] || fail "no $1: run 'make build'"
  start_process "$name" "$@"
  await_process "$name" 120 curl -sf --max-time 2 "http://$address/readyz" || fail "$name did not start"
  say "$name: ready after $(((${EPOCHREALTIME/./} - began) / 1000)) ms (PID $(process_pid "$name"))"
}

next_steps() {
  local kubectl="kubectl --kubeconfig ${RUN_DIR#"$ROOT"/}/kubeconfig"
  cat <<TEXT

endstate runs. Try next:
  export PATH=$(dirname "$(kubectl_binary)"):$BUILD_BIN:\$PATH

  # the simulated fleet
  $kubectl get hosts
  # a cluster, packages, and a set of 100 machines; watch it come up, and scale it
  $kubectl apply -f manifests/samples/
  $kubectl get machineset workers --watch
  $kubectl scale machineset workers --replicas 150
  # the fleet by state, live; and what a change would do before it is made (docs/kubectl.md)
  kubectl-endstate top --kubeconfig ${RUN_DIR#"$ROOT"/}/kubeconfig
  # what the operator says of itself
  curl -s http://$operator_address/metrics
  # the same in a Prometheus, with endstate's alerts: http://127.0.0.1:$((PORT_BASE + 90))
  e2e/kubernetes/prometheus.sh up

  make demo     plays the whole story
  make down     stops what this started
Logs are in ${RUN_DIR#"$ROOT"/}/*.log.
TEXT
}

with_lock 9 up
if all_running; then
  say "endstate runs already in ${RUN_DIR#"$ROOT"/}: operator PID $(process_pid operator), fleet PID $(process_pid fleet). Stop it with 'make down'."
  exit 0
fi
programs=(endstate-operator)
[[ -n ${WITHOUT_FLEET:-} ]] || programs+=(endstate-fleet)
for program in "${programs[@]}"; do
  [[ -x $BUILD_BIN/$program ]] || fail "no $BUILD_BIN/$program: run 'make build'"
done
start_cluster
"$ROOT/hack/install.sh"
start_tokens
read -ra operator_args <<<"${OPERATOR_ARGS:-}"
[[ -z ${HOSTED_CONTROL_PLANES:-} ]] || operator_args+=(--hosted-control-planes)
read -ra fleet_args <<<"${FLEET_ARGS:-}"
start_program operator "$operator_address" "$BUILD_BIN/endstate-operator" --kubeconfig "$RUN_DIR/operator.kubeconfig" \
  --identity endstate-operator-local --namespace endstate-system --http-address "$operator_address" ${operator_args[@]+"${operator_args[@]}"}
[[ -z ${WITHOUT_FLEET:-} ]] || exit 0
start_program fleet "$fleet_address" "$BUILD_BIN/endstate-fleet" --kubeconfig "$RUN_DIR/fleet.kubeconfig" --hosts "$SIM_HOSTS" --namespace default \
  --http-address "$fleet_address" --delay-scale "$FLEET_DELAY_SCALE" ${fleet_args[@]+"${fleet_args[@]}"}
next_steps
