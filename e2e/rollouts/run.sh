#!/usr/bin/env bash
# run.sh: the story of greyscale and risk control on a real API server, with a real Prometheus and a simulated fleet (`make e2e`, lane "rollouts").
# chaos_recorder watches all of it from outside.
#
#   E2E_HOSTS           machines of the set, all hosts of the fleet (default 1000)
#   ROLLOUTS_BAD_SHARE  on how many of its machines the bad version fails silently, in per cent (default 20)
#   ROLLOUTS_PATIENCE   factor on every deadline, for slow machines (default 1)
#   E2E_NO_BUILD        not empty: take the programs as they are
#   KEEP                not empty: leave it running to look around (RUN_DIR=.run/rollouts make down ends it)
#
# (a) a good change goes through four steps, each with an analysis; (b) a version that breaks a share of its machines silently is stopped by the second
# step at the latest, and goes back by itself; (c) without metrics a rollout pauses, and goes on when they are back; (d) a freeze window holds a
# forward change, and lets the way back through. Ends with a table; exit code 1 if a step of the story or a limit did not hold.
set -euo pipefail
export RUN_DIR=${RUN_DIR:-.run/rollouts} PORT_BASE=${PORT_BASE:-23000}
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
# shellcheck source=e2e/rollouts/lib.sh
source "$ROOT/e2e/rollouts/lib.sh"
cd "$ROOT"
hosts=${E2E_HOSTS:-1000}
bad_share=${ROLLOUTS_BAD_SHARE:-20}
((hosts >= 20)) || fail "E2E_HOSTS must be at least 20: steps of 1% and 5% need some machines"
bound() { awk -v s="$1" -v f="${ROLLOUTS_PATIENCE:-1}" 'BEGIN { printf "%d", s * f }'; }

[[ -n ${E2E_NO_BUILD:-} ]] || hack/build.sh release programs chaos_recorder
unset ENDSTATE_KUBECONFIG # nobody's cluster but its own
hack/down.sh >/dev/null
[[ -n ${KEEP:-} ]] || trap 'stop_processes 5 recorder; e2e/kubernetes/prometheus.sh down; hack/down.sh >/dev/null' EXIT
say "rollouts: $hosts hosts"
SIM_HOSTS=$hosts FLEET_DELAY_SCALE=0.1 hack/up.sh >/dev/null
PROMETHEUS_RULES='' e2e/kubernetes/prometheus.sh up

# --- the set -------------------------------------------------------------------------------------------------------------------------------
# shellcheck disable=SC2016 # $(revision) is endstate's
# What share of the requests to the machines that have the new revision fails.
errors='sum(rate(endstate_fleet_requests_total{revision=\"$(revision)\",result=\"error\"}[10s])) / sum(rate(endstate_fleet_requests_total{revision=\"$(revision)\"}[10s]))'
step() { # step NAME UPDATED
  printf '    - name: %s\n      updated: %s\n      analysis:\n        health: {maxUnhealthy: 20%%}\n        checks:\n' "$1" "$2"
  printf '        - {name: errors, sourceRef: {name: prometheus}, query: "%s", operator: LessOrEqual, threshold: "0.05", intervalSeconds: 5, count: 2, failureLimit: 0, inconclusiveLimit: 20, errorLimit: 2}\n' "$errors"
}
{
  package kubelet-a 1.34.3
  package kubelet-b 1.34.4
  package kubelet-bad 1.34.4 "WorkFails,share=$bad_share%"
  package kubelet-c 1.34.4
  package kubelet-d 1.34.4
  cat <<YAML
---
apiVersion: endstate.dev/v1alpha1
kind: MetricSource
metadata: {name: prometheus, namespace: default}
spec: {prometheus: {address: "http://127.0.0.1:$((PORT_BASE + 90))", timeoutSeconds: 5}}
---
apiVersion: endstate.dev/v1alpha1
kind: ChangeBudget
metadata: {name: fleet}
spec:
  clusterSelector: {}
  maxUnavailable: 10%
  limits:
  - name: updates
    operations: [MachineUpdate]
    windows: [{durationSeconds: 10, max: $(((hosts + 3) / 4))}, {durationSeconds: 60, max: $hosts}]
    maxConcurrent: 8%
YAML
  { step one 1% && step few 5% && step half 50% && step all 100%; } | cluster_and_set rollouts "$hosts" 900
} >"$RUN_DIR/rollouts.yaml"
kubectl apply -f "$RUN_DIR/rollouts.yaml" >/dev/null
say "waiting for $hosts machines"
await "$(bound 600)" is_complete || fail "the set did not come up"
start_recorder

# --- steps of the story --------------------------------------------------------------------------------------------------------------------
rows=()
begin() {
  chapter=$1 chapter_began=$SECONDS chapter_since=$(utc) remark=''
  say "== $chapter"
}
end() {
  local writes=0 machines=0
  read -r writes machines < <(e2e/kubernetes/audit_writes.sh "$chapter_since" "$(utc)" |
    awk -F '\t' '$1 == "endstate-system:endstate-operator" { print $2, $5; found = 1 } END { if (!found) print 0, 0 }')
  rows+=("$chapter"$'\t'"$((SECONDS - chapter_began)) s"$'\t'"$writes"$'\t'"$machines"$'\t'"$remark")
  say "   $((SECONDS - chapter_began)) s, $writes writes, $machines machines touched${remark:+; $remark}"
}
print_table() {
  printf '\n'
  {
    printf 'STEP\tTIME\tWRITES\tMACHINES\tREMARK\n'
    ((${#rows[@]} == 0)) || printf '%s\n' "${rows[@]}"
  } | column -t -s $'\t'
  printf '(Writes: of the operator, from the API server'"'"'s audit log. Machines: hosts whose assignment it wrote.)\n'
}
not_so() {
  print_table >&2
  kubectl get "$SET" -o json | jq '.status | del(.history)' >&2
  tail -n 5 "$RUN_DIR/operator.log" >&2
  fail "$chapter: $*"
}
reach() { await "$(bound "$1")" "$2" || not_so "$2 was not reached"; }
# stays SECONDS: no machine is given the revision meanwhile.
stays() {
  local before after
  before=$(recorded touched "$update")
  sleep "$1"
  after=$(recorded touched "$update")
  [[ $before == "$after" ]] || not_so "$before machines had the revision, $1 s later $after"
}
has_begun() { look && is_seen && [[ $phase == Progressing || $phase == Paused ]]; }
analyzes() { has_begun && [[ $(kubectl get "$SET" -o jsonpath='{.status.rollout.analysis.checks[0].name}') == errors ]]; }
is_inconclusive() { look && is_seen && [[ $phase == Paused && "$blocked $message $(kubectl get "$SET" -o jsonpath='{.status.conditions}')" == *AnalysisInconclusive* ]]; }
is_at_half() { has_begun && [[ $step == half ]] && (($(recorded touched "$update") * 10 >= hosts)); }
is_frozen() { look && [[ $blocked == *ScheduleClosed* || $(kubectl get machines -o jsonpath='{.items[*].status.blockedBy.reason}') == *ScheduleClosed* ]]; }
freeze() { # freeze on|off
  local schedules='[]'
  [[ $1 == off ]] || schedules='[{"name": "freeze", "type": "Deny", "cron": "* * * * *", "durationSeconds": 3600, "operations": ["MachineUpdate"]}]'
  kubectl patch changebudget fleet --type merge -p "{\"spec\": {\"schedules\": $schedules}}" >/dev/null
}
steps_of_last_change() { kubectl get "$SET" -o json | jq -r '[.status.history[-1].steps[]?.name] | join(", ")'; }

begin "a good change goes through four steps"
change kubelet-b 1
reach 900 is_complete
remark="steps: $(steps_of_last_change)"
end
good_row=${rows[-1]}
[[ $(recorded touched "$update") == "$hosts" ]] || not_so "$(recorded touched "$update") of $hosts machines have it"
for name in one few half all; do [[ $remark == *"$name"* ]] || not_so "step $name is not in the history: $remark"; done

begin "a version that breaks $bad_share% silently is stopped and goes back"
before=$current
change kubelet-bad 2
reach 900 is_rolled_back
bad_step=$(kubectl get "$SET" -o json | jq -r '.status as $s | $s.rejectedRevisions[] | select(.revision == $s.updateRevision) | .step')
touched=$(recorded touched "$update")
remark="stopped at step $bad_step with $touched of $hosts machines touched ($rejected)"
end
[[ $bad_step == one || $bad_step == few ]] || not_so "it was stopped at step $bad_step"
((touched * 100 <= hosts * 5)) || not_so "$touched of $hosts machines were touched, more than 5%"
((touched > 0)) || not_so "no machine was ever touched"
[[ $current == "$before" ]] || not_so "the current revision is $current, it was $before"

begin "without metrics it pauses"
change kubelet-c 3
reach 300 analyzes
stop_processes 20 prometheus
reach 120 is_inconclusive
stays 10
remark="$(recorded touched "$update") of $hosts machines touched"
end
begin "and goes on when they are back and somebody says so"
PROMETHEUS_RULES='' e2e/kubernetes/prometheus.sh up
kubectl annotate --overwrite "$SET" "endstate.dev/retry=$update" >/dev/null
reach 900 is_complete
end

begin "a freeze window holds a forward change"
change kubelet-d 4
reach 600 is_at_half
freeze on
reach 60 is_frozen
sleep 5 # what was granted before may begin
stays 15
frozen_at=$(recorded touched "$update")
((frozen_at < hosts)) || not_so "all machines had it already"
remark="at $frozen_at of $hosts machines"
end
begin "and lets the way back through"
back_to=$current
kubectl annotate --overwrite "$SET" "endstate.dev/reject=$update" >/dev/null
reach 600 is_rolled_back
[[ $current == "$back_to" ]] || not_so "the current revision is $current, it was $back_to"
remark="$(recorded started MachineRollback) rollbacks in all"
end
freeze off
change kubelet-c 3 # the spec is the user's
reach 120 is_complete
sleep 2

status=0
print_table
echo
echo "The most that was ever seen of each limit, from outside:"
stop_recorder || status=1
IFS=$'\t' read -r _ _ writes _ _ <<<"$good_row"
awk -v w="$writes" -v n="$hosts" 'BEGIN { printf "\nwrites of the operator a machine of the good change: %.2f (target <= 5)\n", w / n }'
((status == 0)) || fail "a limit was exceeded; logs are in $RUN_DIR"
say "the story is told; no limit was ever exceeded"
