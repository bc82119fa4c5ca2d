#!/usr/bin/env bash
# run.sh: kills the operator with SIGKILL at random moments of rollouts, again and again, and proves from outside that no limit was ever exceeded
# (`make chaos`). A real API server, a simulated fleet, and chaos_recorder, which watches the API with an identity of its own.
#
#   CHAOS_KILLS     how often (default 50)
#   CHAOS_HOSTS     machines of the set, all hosts of the fleet (default 200)
#   CHAOS_SEED      of the moments (default: a new one; it is printed)
#   CHAOS_PATIENCE  seconds that one rollout may take, kills and all (default 600)
#   CHAOS_NO_BUILD  not empty: take the programs as they are
#   KEEP            not empty: leave it running to look around (RUN_DIR=.run/chaos make down ends it)
#
# Rollouts follow each other: forward, a bad version that is rolled back by itself, forward again. Ends with a table: the most seen of every limit.
# Exit code 1: a limit was exceeded, or a rollout didn't come to its end.
set -euo pipefail
export RUN_DIR=${RUN_DIR:-.run/chaos} PORT_BASE=${PORT_BASE:-22000}
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
# shellcheck source=e2e/rollouts/lib.sh
source "$ROOT/e2e/rollouts/lib.sh"
cd "$ROOT"
kills=${CHAOS_KILLS:-50}
hosts=${CHAOS_HOSTS:-200}
seed=${CHAOS_SEED:-$((RANDOM * 32768 + RANDOM))}
patience=${CHAOS_PATIENCE:-600}
RANDOM=$seed

[[ -n ${CHAOS_NO_BUILD:-} ]] || hack/build.sh release programs chaos_recorder
unset ENDSTATE_KUBECONFIG # nobody's cluster but its own
hack/down.sh >/dev/null
[[ -n ${KEEP:-} ]] || trap 'stop_processes 5 recorder; hack/down.sh >/dev/null' EXIT
say "chaos: $kills kills, $hosts hosts, seed $seed"
SIM_HOSTS=$hosts FLEET_DELAY_SCALE=0.1 hack/up.sh >/dev/null

# Limits that the rollouts meet again and again: one of each sort.
{
  package kubelet-a 1.34.3
  package kubelet-b 1.34.4
  package kubelet-bad 1.34.4-bad InstallFails
  cat <<YAML
---
apiVersion: endstate.dev/v1alpha1
kind: ChangeBudget
metadata: {name: chaos}
spec:
  clusterSelector: {}
  maxUnavailable: 12%
  limits:
  - name: updates
    operations: [MachineUpdate]
    windows: [{durationSeconds: 5, max: $((hosts / 7))}, {durationSeconds: 10, max: $((hosts / 4))}, {durationSeconds: 60, max: $hosts}]
    maxConcurrent: 8%
  - name: way-back
    operations: [MachineUpdate, MachineRollback]
    maxConcurrent: 10%
YAML
  cluster_and_set chaos "$hosts" 600 <<'YAML'
    - {name: canary, updated: 1}
    - {name: few, updated: 5%, pause: {type: Duration, seconds: 1}}
    - {name: quarter, updated: 25%}
    - {name: all, updated: 100%}
YAML
} | kubectl apply -f - >/dev/null
say "waiting for $hosts machines"
await 300 is_complete || fail "the set did not come up"
start_recorder

# The rollouts, in turn.
versions=(kubelet-b kubelet-bad kubelet-a kubelet-bad)
ends=(is_complete is_rolled_back is_complete is_rolled_back)
round=0 completed=0 killed=0 round_began=$SECONDS
next_rollout() {
  wanted=${versions[round % 4]} ended=${ends[round % 4]}
  round=$((round + 1)) round_began=$SECONDS
  change "$wanted" "$round"
  say "rollout $round: $wanted"
}
finished() {
  if "$ended"; then
    completed=$((completed + 1))
    say "rollout $round has ended after $((SECONDS - round_began)) s: $phase"
    return 0
  fi
  ((SECONDS - round_began < patience)) || fail "rollout $round ($wanted) has not ended after $patience s, seed $seed: $line ($message)"
  return 1
}

began=$SECONDS
next_rollout
while ((killed < kills)); do
  # 0.05 to 4.5 s after its start: while it reads its lists, takes the lease, plans, asks, writes.
  sleep "$(awk -v r="$RANDOM" 'BEGIN { printf "%.2f", 0.05 + 4.45 * (r / 32768) ^ 1.5 }')"
  if finished; then
    next_rollout
    continue
  fi
  kill_operator
  killed=$((killed + 1))
  start_operator
  say "kill $killed of $kills at $((SECONDS - began)) s, rollout $round: $line"
done
until finished; do sleep 1; done
await 60 "$ended" || true
took=$((SECONDS - began))
sleep 3 # what ended last is seen by the recorder, too

status=0
echo
echo "The most that was ever seen of each limit, from outside:"
stop_recorder || status=1
cat <<TEXT

kills              $killed
rollouts           $completed of $round came to their end
updates started    $(awk -F '\t' '$2 == "MachineUpdate" { print $3 }' "$RUN_DIR/recorder-last.tsv")
rollbacks started  $(awk -F '\t' '$2 == "MachineRollback" { print $3; found = 1 } END { if (!found) print 0 }' "$RUN_DIR/recorder-last.tsv")
time               $took s
seed               $seed
TEXT
((status == 0)) || fail "a limit was exceeded (seed $seed); logs are in $RUN_DIR"
say "no limit was ever exceeded"
