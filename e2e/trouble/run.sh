#!/usr/bin/env bash
# run.sh: what must hold when endstate is blind, crowded, lied to, or asked to let go (`make trouble`). Each story plays a situation on a real API
# server with a simulated fleet and judges it from outside: chaos_recorder reads locks and HostAssignments, with an identity of its own.
#
#   TROUBLE_STORIES  of "blind frozen killed ledger namespaces lost_cluster lost_secret stubborn_pods quota neighbours" (default: all of them)
#   TROUBLE_SHORT    1: the short form that CI runs: one cut and a shorter one, fewer orders, no neighbours
#   TROUBLE_CUT      seconds that a cluster is away (default 180; short: 40)
#   TROUBLE_SEED     of what is random (default: a new one; it is printed)
#   TROUBLE_NO_BUILD not empty: take the programs as they are
#   KEEP             not empty: leave it running to look around (RUN_DIR=.run/trouble make down ends it)
#
# Prints "ok - CASE" or "not ok - CASE"; exit code 1 if one did not hold. The lies between tenants are e2e/scenarios/tenancy_test.sh; that
# the tests of it fail when a check is taken out is hack/mutation.sh, which the long form calls at its end.
set -euo pipefail
export RUN_DIR=${RUN_DIR:-.run/trouble} PORT_BASE=${PORT_BASE:-25000}
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
# shellcheck source=e2e/scenarios/cases.sh
source "$ROOT/e2e/scenarios/cases.sh"
# shellcheck source=e2e/rollouts/lib.sh
source "$ROOT/e2e/rollouts/lib.sh"
# shellcheck source=e2e/trouble/lib.sh
source "$ROOT/e2e/trouble/lib.sh"
# shellcheck source=e2e/trouble/blind.sh
source "$ROOT/e2e/trouble/blind.sh"
# shellcheck source=e2e/trouble/endings.sh
source "$ROOT/e2e/trouble/endings.sh"
# shellcheck source=e2e/trouble/neighbours.sh
source "$ROOT/e2e/trouble/neighbours.sh"
cd "$ROOT"
short=${TROUBLE_SHORT:-}
# shellcheck disable=SC2034 # the stories'
cut_seconds=${TROUBLE_CUT:-$([[ -n $short ]] && echo 40 || echo 180)}
seed=${TROUBLE_SEED:-$((RANDOM * 32768 + RANDOM))}
RANDOM=$seed
stories=${TROUBLE_STORIES:-}
if [[ -z $stories ]]; then
  stories="blind frozen killed ledger namespaces lost_cluster lost_secret stubborn_pods quota neighbours"
  [[ -z $short ]] || stories="killed ledger namespaces lost_cluster stubborn_pods quota" # the cut once, with the kill in it
fi

hack/setup.sh --packages hack/packages-trouble.txt
[[ -n ${TROUBLE_NO_BUILD:-} ]] || hack/build.sh release programs chaos_recorder trouble_flood
unset ENDSTATE_KUBECONFIG # nobody's cluster but its own

stop_all() {
  local file
  for file in "$RUN_DIR"/relay-*.pid; do [[ ! -e $file ]] || relay_down "$(basename "${file#*relay-}" .pid)"; done
  for file in "$RUN_DIR"/fleet-*.pid; do [[ ! -e $file ]] || stop_processes 5 "$(basename "$file" .pid)"; done
  stop_processes 5 recorder
  neighbours_down
  hack/down.sh >/dev/null
}
stop_all
[[ -n ${KEEP:-} ]] || trap stop_all EXIT
say "trouble: $stories; seed $seed"
SIM_HOSTS=70 FLEET_DELAY_SCALE=0.1 hack/up.sh >/dev/null
{ package kubelet-a 1.34.3 && package kubelet-b 1.34.4 && package kubelet-c 1.34.4; } | kubectl apply -f - >/dev/null
rm -f "$RUN_DIR/recorder.tsv" "$RUN_DIR/events.tsv"
start_process recorder "$ROOT/build/release/chaos_recorder" --kubeconfig "$RUN_DIR/kubeconfig" --out "$RUN_DIR/recorder.tsv" --events "$RUN_DIR/events.tsv"
await_process recorder 60 test -s "$RUN_DIR/recorder.tsv"

for story in $stories; do
  [[ $(type -t "story_$story") == function ]] || fail "TROUBLE_STORIES: there is no story $story"
  story_began=$SECONDS
  say "== $story"
  "story_$story"
  say "   $story: $((SECONDS - story_began)) s"
done
say "seed $seed"
# What no story can show: that the tests fail without the checks. Only of all stories in their long form.
[[ -n $short || -n ${TROUBLE_STORIES:-} ]] || hack/mutation.sh || cases_failed=$((cases_failed + 1))
finish
