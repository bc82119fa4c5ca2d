#!/usr/bin/env bash
# The short form of `make chaos`: the operator is killed five times in rollouts, and the outside recorder must find nothing. Then a limit is broken on
# purpose, past the operator: the recorder must find that, or its "nothing" would mean nothing.
set -euo pipefail
export RUN_DIR=.run/test-chaos PORT_BASE=${TEST_PORT_BASE:-17000}
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
# shellcheck source=e2e/scenarios/cases.sh
source "$ROOT/e2e/scenarios/cases.sh"
# shellcheck source=e2e/rollouts/lib.sh
source "$ROOT/e2e/rollouts/lib.sh"
cd "$ROOT"
[[ -x build/release/chaos_recorder ]] || hack/build.sh release chaos_recorder
mkdir -p "$(dirname "$RUN_DIR")"
trap 'stop_processes 5 recorder; hack/down.sh' EXIT

killed_within_limits() {
  KEEP=1 CHAOS_NO_BUILD=1 CHAOS_KILLS=5 CHAOS_HOSTS=30 CHAOS_PATIENCE=240 e2e/chaos/run.sh >"$RUN_DIR.log" 2>&1 || { tail -n 25 "$RUN_DIR.log" && return 1; }
}
check "five SIGKILLs in rollouts: every rollout ends, no limit is exceeded" killed_within_limits
check "five were killed" grep -q '^kills  *5$' "$RUN_DIR.log"
check "a window was really filled" grep -qE 'started in 10s .* 7 +7 ' "$RUN_DIR.log"

# 6 of 30 machines are made to say that they are not Ready; 3 may be. The operator is away, or it would put that right at once.
break_limit() {
  local name
  stop_processes 20 operator
  start_recorder || return 1
  for name in $(kubectl get machines -o name | head -n 6); do
    kubectl get "$name" -o json | jq '(.status.conditions[] | select(.type == "Ready").status) = "False"' |
      kubectl replace --subresource status -f - >/dev/null || return 1
  done
  await_process recorder 20 grep -q EXCEEDED "$RUN_DIR/recorder.log" || return 1
  ! stop_recorder >"$RUN_DIR.log" && grep -q 'MachineSet default/fleet: unavailable  *6  *3  .*EXCEEDED by 3' "$RUN_DIR.log"
}
check "a limit that is broken past the operator is found, and named" break_limit
finish
