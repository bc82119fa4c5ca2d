#!/usr/bin/env bash
# The short form of `make e2e`, lane rollouts: the whole story with 100 hosts; then trouble in the middle of rollouts: a machine deleted by hand, steps
# edited, the guard's ledger deleted.
#
# Of five machines (5% of 100) the bad version must meet one for sure: it breaks 80% here, and 20% of 1,000 in the long form.
set -euo pipefail
export RUN_DIR=.run/test-rollouts PORT_BASE=${TEST_PORT_BASE:-17000} E2E_HOSTS=${E2E_HOSTS:-100} ROLLOUTS_BAD_SHARE=80 E2E_NO_BUILD=1 KEEP=1
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
# shellcheck source=e2e/scenarios/cases.sh
source "$ROOT/e2e/scenarios/cases.sh"
# shellcheck source=e2e/rollouts/lib.sh
source "$ROOT/e2e/rollouts/lib.sh"
cd "$ROOT"
[[ -x build/release/chaos_recorder ]] || hack/build.sh release chaos_recorder
mkdir -p "$(dirname "$RUN_DIR")"
story=$RUN_DIR.log
trap 'stop_processes 5 recorder; e2e/kubernetes/prometheus.sh down; hack/down.sh' EXIT

told() { e2e/rollouts/run.sh >"$story" 2>&1 || { tail -n 40 "$story" && return 1; }; }
check "the story of the rollouts holds" told
has_row() { grep -E "^$1" "$story"; }
check "a good change went through four steps" has_row "a good change .*one, few, half, all"
check "the bad one was stopped by the second step" has_row "a version that breaks .*stopped at step (one|few)"
check "without metrics it paused" has_row "without metrics it pauses"
check "a freeze window held, and let the way back through" has_row "and lets the way back through"
check "no limit was ever exceeded" grep -q "no limit was ever exceeded" "$story"

# --- trouble in the middle -------------------------------------------------------------------------------------------------------------------
line='' message=''
under_way() { look && is_seen && [[ $phase == Progressing ]] && ((step_updated > 0)); }
past_second_step() { look && is_seen && [[ $step == half || $step == all || $phase == Complete ]]; }

machine_deleted() {
  change kubelet-b 10
  await 120 under_way || return 1
  local victim uid uids
  victim=$(kubectl get machines -l "endstate.dev/revision=$update" -o name | head -n 1)
  [[ $victim ]] || return 1
  uid=$(kubectl get "$victim" -o jsonpath='{.metadata.uid}')
  kubectl delete "$victim" --wait=false || return 1
  await 300 is_complete || return 1
  uids=$(kubectl get machines -o jsonpath='{range .items[*]}{.metadata.uid}{"\n"}{end}') # the name may be used again
  [[ $(grep -c . <<<"$uids") == "$E2E_HOSTS" ]] && ! grep -qx "$uid" <<<"$uids"
}
check "a machine deleted by hand mid-step: another takes its place, the rollout ends" machine_deleted

steps_edited() {
  change kubelet-c 11
  await 180 past_second_step || return 1
  local reached
  reached=$(kubectl get machines -l "endstate.dev/revision=$update" -o name | wc -l)
  # The steps that are behind it go, a new one comes: nobody goes back, and nothing is jumped over.
  kubectl patch "$SET" --type merge -p '{"spec": {"rollout": {"steps": [{"name": "most", "updated": "80%"}, {"name": "end", "updated": "100%"}]}}}' || return 1
  await 300 is_complete || return 1
  kubectl get "$SET" -o json | jq -r '.status.history[-1].steps[].name' | tee /dev/stderr | grep -qx most && ((reached > 0))
}
check "steps edited mid-rollout: it goes on by the new ones, to its end" steps_edited

ledger_deleted() {
  change kubelet-b 12
  await 120 under_way || return 1
  local ledger before deadline=$((SECONDS + 60))
  ledger=$(kubectl get guardledgers -o name)
  before=$(kubectl get "$ledger" -o jsonpath='{.metadata.uid}')
  kubectl delete "$ledger" --wait=false || return 1
  until [[ $(kubectl get guardledgers -o jsonpath='{.items[0].metadata.uid}') == ?* && $(kubectl get guardledgers -o jsonpath='{.items[0].metadata.uid}') != "$before" ]]; do
    ((SECONDS < deadline)) || return 1
    sleep 0.5
  done
  await 300 is_complete # windows count as full first, and empty with time
}
check "the guard's ledger deleted mid-rollout: made anew, and the rollout ends" ledger_deleted
finish
