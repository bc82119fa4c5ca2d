#!/usr/bin/env bash
# `make up` and `make down`: what runs is left alone, what is missing is started, identities are not administrators, and only our own processes end.
set -euo pipefail
export RUN_DIR=.run/test-up PORT_BASE=${TEST_PORT_BASE:-17000} SIM_HOSTS=5 FLEET_DELAY_SCALE=0
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
# shellcheck source=e2e/scenarios/cases.sh
source "$ROOT/e2e/scenarios/cases.sh"
cd "$ROOT"

names=(etcd apiserver controller-manager scheduler token-refresher operator fleet)
clean_up() {
  [[ -z ${stranger:-} ]] || kill "$stranger" 2>/dev/null || true
  hack/down.sh
}
hack/down.sh
trap clean_up EXIT

pids() {
  local name
  for name in "${names[@]}"; do printf '%s=%s\n' "$name" "$(process_pid "$name" || echo none)"; done
}
all_run() {
  local name
  for name in "${names[@]}"; do is_running "$name" || { echo "$name doesn't run" && return 1; }; done
}
gone() {
  local name
  for name in "${names[@]}"; do ! is_running "$name" || { echo "$name still runs" && return 1; }; done
}
server_silent() { ! curl -sk --max-time 2 "https://127.0.0.1:$((PORT_BASE + 443))/livez"; }
only_logs() { [[ ! -e $RUN_DIR/etcd && ! -e $RUN_DIR/kubeconfig && -s $RUN_DIR/operator.log ]]; }
whoami_of() { "$(kubectl_binary)" --kubeconfig "$RUN_DIR/$1.kubeconfig" auth whoami -o json; }
is_service_account() { whoami_of "$1" | jq -e --arg name "system:serviceaccount:endstate-system:endstate-$1" '.status.userInfo.username == $name'; }
bound_to_pod() { whoami_of operator | jq -e '.status.userInfo.extra["authentication.kubernetes.io/pod-name"] == ["endstate-operator-local"]'; }
says() { grep -qF -- "$2" <<<"$1"; }

# A shell's own cluster must never be touched.
export KUBECONFIG=/nonexistent/production
check "up" hack/up.sh
check "all of it runs" all_run
check "the operator is its own ServiceAccount" is_service_account operator
check "the operator's token is bound to its Pod object" bound_to_pod
check "the fleet is its own ServiceAccount" is_service_account fleet
check "the fleet's hosts are there" test "$(kubectl_admin get hosts.endstate.dev -n default -o name | wc -l)" = 5

first=$(pids)
again=$(hack/up.sh)
check "a second up says that it runs" says "$again" "runs already"
check "and starts nothing" test "$(pids)" = "$first"

kill -KILL "$(process_pid operator)"
sleep 0.2
check "up after a killed operator" hack/up.sh
check "it runs again" is_running operator
same_but_operator() { [[ $(grep -v ^operator <<<"$(pids)") == "$(grep -v ^operator <<<"$first")" ]]; }
check "and nothing else was started anew" same_but_operator

COMPONENTS=apiserver e2e/kubernetes/down.sh
check "the API server alone is stopped" server_silent
check "the operator stays up through that" is_running operator
COMPONENTS=apiserver e2e/kubernetes/up.sh
check "back again, it has what it had" test "$(kubectl_admin get hosts.endstate.dev -n default -o name | wc -l)" = 5

# A PID file that a reboot left, whose number now belongs to somebody else.
sleep 600 &
stranger=$!
scheduler=$(process_pid scheduler)
printf '%s\n' "$stranger" >"$RUN_DIR/scheduler.pid"
check "down" hack/down.sh
check "a stranger with a recorded PID is not touched" kill -0 "$stranger"
kill "$scheduler" # the real one, whose record this test took away
check "all of it has ended" gone
check "the data are gone, the logs stay" only_logs
check "down again has nothing to do" hack/down.sh
finish
