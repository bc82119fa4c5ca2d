# shellcheck shell=bash
# Stories: the operator can't see a cluster, or its account is emptied. To be sourced by run.sh.
# shellcheck disable=SC2154 # short, seed and cut_seconds are run.sh's

# play_blind NAME: 50 machines, 3 of them at once, 8 updated; then the cluster is away for a while. `cut` and `restore` are the caller's.
play_blind() {
  local name=$1 port=$((PORT_BASE + 600 + ${#1})) from until
  relay_up "$name" "$port"
  kubectl create namespace "$name" >/dev/null
  fleet_up "$name" "$name" 50 $((PORT_BASE + 700 + ${#1}))
  far_secret "$name" "$name" "$port"
  far_cluster "$name" "$name"
  kubectl apply -f - >/dev/null <<YAML
apiVersion: endstate.dev/v1alpha1
kind: ChangeBudget
metadata: {name: $name}
spec: {clusterSelector: {matchLabels: {trouble: $name}}, maxUnavailable: 3}
YAML
  pool "$name" "$name" "$name" 50 "  rollout: {maxUnavailable: 3, machineTimeoutSeconds: 600}"
  check "$name: 50 machines are Ready" by 120 ready_are "$name" "$name" 50
  kubectl annotate hosts -n "$name" --all fleet.endstate.dev/fault=Slow >/dev/null # an update takes some seconds: some are under way at the cut
  upgrade "$name" "$name" kubelet-b
  check "$name: 8 are updated" by 180 up_to_date_are "$name" "$name" 8
  "cut_$name"
  from=$(($(now_ms) + 1000)) # what was in flight at the cut is still told
  sleep "$cut_seconds"
  until=$(now_ms)
  "restore_$name"
  kubectl annotate hosts -n "$name" --all fleet.endstate.dev/fault- >/dev/null
  check "$name: no Machine's spec was written meanwhile" test "$(recorded_between "$from" "$until" spec "^$name/")" = 0
  check "$name: no operation began meanwhile" test "$(recorded_between "$from" "$until" begin "^$name/")" = 0
  check "$name: no assignment was changed meanwhile" none_assigned "$name" "$from" "$until"
  check "$name: the rollout ends" by 300 up_to_date_are "$name" "$name" 50
  check "$name: all are Ready again" by 120 ready_are "$name" "$name" 50
  check "$name: never more than 3 under way, before and after" test "$(most_begun 0 Update "^$name/")" -le 3
  check "$name: never more than 3 unavailable" never_exceeded "$name"
  check "$name: no revision was rejected" test -z "$(kubectl get machineset "$name" -n "$name" -o jsonpath='{.status.rejectedRevisions}')"
  kubectl delete machineset "$name" -n "$name" --wait=false >/dev/null
  kubectl delete changebudget "$name" >/dev/null
}
none_assigned() {
  local uid
  for uid in $(kubectl get hosts -n "$1" -o jsonpath='{.items[*].metadata.uid}'); do
    [[ $(recorded_between "$2" "$3" assigned "/$uid\$") == 0 ]] || return 1
  done
}
never_exceeded() { ! awk -F '\t' -v name="$1" '$1 == "limit" && $5 > 0 && $2 ~ name { print; found = 1 } END { exit !found }' "$RUN_DIR/recorder.tsv"; }

# The connection is refused at once.
story_blind() { play_blind blind; }
cut_blind() { relay_down blind; }
restore_blind() { relay_up blind $((PORT_BASE + 600 + 5)); }

# The API server is stopped in its tracks: connections stand, nothing refuses.
story_frozen() { play_blind frozen; }
cut_frozen() { relay_signal frozen STOP; }
restore_frozen() { relay_signal frozen CONT; }

# The operator is killed in the gap, and another begins that has never seen the cluster.
story_killed() { play_blind killed; }
cut_killed() {
  relay_down killed
  sleep 5
  kill_operator
  start_operator
}
restore_killed() { relay_up killed $((PORT_BASE + 600 + 6)); }

# The account is emptied while operations are under way and nobody leads; its Cluster is younger than 10 minutes.
story_ledger() {
  kubectl create namespace ledger >/dev/null
  fleet_up ledger ledger 20 $((PORT_BASE + 720))
  kubectl apply -f - >/dev/null <<'YAML'
apiVersion: endstate.dev/v1alpha1
kind: ChangeBudget
metadata: {name: ledger}
spec: {clusterSelector: {matchLabels: {trouble: ledger}}, limits: [{name: updates, operations: [MachineUpdate], maxConcurrent: 3}]}
---
apiVersion: endstate.dev/v1alpha1
kind: Cluster
metadata: {name: ledger, namespace: ledger, labels: {trouble: ledger}}
spec: {controlPlane: {type: External}}
YAML
  pool ledger ledger ledger 20 "  rollout: {maxUnavailable: 50%}"
  check "ledger: 20 machines are Ready" by 120 ready_are ledger ledger 20
  kubectl annotate hosts -n ledger --all fleet.endstate.dev/fault=Slow >/dev/null
  upgrade ledger ledger kubelet-b
  check "ledger: 3 are under way" by 60 under_way_are ledger 3
  kill_operator
  kubectl patch guardledger ledger -n ledger --subresource=status --type=merge -p '{"status":null}' >/dev/null
  start_operator
  check "ledger: the rollout ends" by 300 up_to_date_are ledger ledger 20
  check "ledger: never more than 3 at once" test "$(most_begun 0 Update '^ledger/')" -le 3
  kill_operator
  upgrade ledger ledger kubelet-c
  kubectl delete guardledger ledger -n ledger >/dev/null
  start_operator
  check "ledger: deleted, the next rollout ends" by 300 up_to_date_are ledger ledger 20
  check "ledger: and never more than 3 at once" test "$(most_begun 0 Update '^ledger/')" -le 3
  kubectl delete machineset ledger -n ledger --wait=false >/dev/null
  kubectl delete changebudget ledger >/dev/null
}
under_way_are() { [[ $(kubectl get machines -n "$1" -o json | jq '[.items[] | select(.status.operation)] | length') == "$2" ]]; }
