#!/usr/bin/env bash
# demo.sh: the whole story on a real API server with a simulated fleet (`make demo`). Sets up everything itself, and checks what it shows.
#
#   SIM_HOSTS       hosts of the fleet (default 200)
#   DEMO_SHORT      not empty: 20 machines instead of 100, 40 hosts, quick installs; for CI
#   DEMO_PATIENCE   factor on every deadline, for slow machines (default 1)
#   ENDSTATE_KUBECONFIG, RUN_DIR, PORT_BASE, FLEET_DELAY_SCALE: see hack/up.sh
#
# Every step has a deadline; one that misses it ends the demo with a non-zero status, and says what was not reached. What runs stays running.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
cd "$ROOT"
if [[ -n ${DEMO_SHORT:-} ]]; then
  export SIM_HOSTS=${SIM_HOSTS:-40} FLEET_DELAY_SCALE=${FLEET_DELAY_SCALE:-0.2}
  start=20 more=30 fewer=24
else
  export SIM_HOSTS=${SIM_HOSTS:-200}
  start=100 more=150 fewer=120
fi
readonly set=machineset.endstate.dev/workers good=kubelet-1.34.4 bad=kubelet-1.34.5-bad next_runtime=containerd-1.7.27
kubectl() { kubectl_admin --namespace default "$@"; }

# --- steps ---------------------------------------------------------------------------------------------------------------------------------
# A step is begin ..., any number of await ..., end. The table is made from these.
table=()
line='' # what await shows: set by the condition, also when it isn't met yet

now() { date -u +%FT%T.%6NZ; }
begin() {
  step_name=$1 step_began=$SECONDS step_since=$(now)
  printf '\n== %s\n' "$1"
}

# await SECONDS CONDITION: polls the condition (a function that sets `line`) until it holds.
await() {
  local bound deadline shown=$SECONDS
  bound=$(awk -v s="$1" -v f="${DEMO_PATIENCE:-1}" 'BEGIN { printf "%d", s * f }')
  deadline=$((SECONDS + bound))
  until "$2"; do
    if ((SECONDS >= deadline)); then
      [[ ! -t 1 ]] || printf '\n'
      not_reached "$bound"
    fi
    if [[ -t 1 ]]; then
      printf '\r\033[K   %4d s  %s' "$((SECONDS - step_began))" "$line"
    elif ((SECONDS - shown >= 5)); then
      shown=$SECONDS
      printf '   %4d s  %s\n' "$((SECONDS - step_began))" "$line"
    fi
    sleep 0.5
  done
  [[ ! -t 1 ]] || printf '\r\033[K'
  printf '   %4d s  %s\n' "$((SECONDS - step_began))" "$line"
}

not_reached() {
  {
    printf '\nerror: "%s" was not reached within %s s. Where it stands: %s\n\n' "$step_name" "$1" "$line"
    kubectl get cluster.endstate.dev,machineset.endstate.dev -o wide || true
    printf '\nMachines that are not Running:\n'
    kubectl get machine.endstate.dev --no-headers | awk '$4 != "Running"' | head -n 10 || true
    for name in operator fleet; do
      if is_running "$name"; then printf '\nThe end of %s:\n' "$RUN_DIR/$name.log"; else printf '\n%s does not run. The end of %s:\n' "$name" "$RUN_DIR/$name.log"; fi
      tail -n 8 "$RUN_DIR/$name.log" || true
    done
  } >&2
  print_table >&2
  exit 1
}

# What the operator wrote since the step began, from the API server's audit log: writes, events, leases, machines.
operator_writes() {
  if [[ -e $RUN_DIR/audit.log ]]; then
    e2e/kubernetes/audit_writes.sh "$step_since" "$(now)" | awk -F '\t' '$1 == "endstate-system:endstate-operator" { print $2, $3, $4, $5; found = 1 } END { if (!found) print 0, 0, 0, 0 }'
  else
    echo - - - -
  fi
}
end() {
  local took=$((SECONDS - step_began)) writes events leases machines
  read -r writes events leases machines < <(operator_writes)
  step_machines=$machines
  table+=("$(printf '%s\t%s s\t%s\t%s\t%s\t%s' "$step_name" "$took" "$writes" "$events" "$leases" "$machines")")
}
print_table() {
  printf '\n'
  {
    printf 'STEP\tTIME\tAPI WRITES\tEVENTS\tLEASES\tMACHINES TOUCHED\n'
    ((${#table[@]} == 0)) || printf '%s\n' "${table[@]}"
  } | awk -F '\t' '
    { for (i = 1; i <= NF; i++) { cell[NR, i] = $i; if (length($i) > width[i]) width[i] = length($i) } }
    END { for (r = 1; r <= NR; r++) { text = sprintf("%-" width[1] "s", cell[r, 1]); for (i = 2; i <= 6; i++) text = text sprintf("  %" width[i] "s", cell[r, i]); print text } }'
  printf '(API writes are those of the operator; its events and leases stand apart. Machines touched: hosts whose assignment it wrote.)\n'
}

# --- conditions ----------------------------------------------------------------------------------------------------------------------------
# look: one read of the set, taken apart into globals.
look() {
  local fields
  fields=$(kubectl get "$set" -o json | jq -r '
    .spec.replicas as $want | .status as $s | ($s.rollout // {}) as $r
    | [.metadata.generation == $s.observedGeneration, $want, $s.replicas // 0, $s.readyReplicas // 0, $s.upToDateReplicas // 0,
       $r.phase // "-", $r.step // "-", $r.updated // 0, $r.target // 0, $s.currentRevision // "-", $s.updateRevision // "-",
       ([$s.rejectedRevisions[]? | select(.revision == $s.updateRevision) | .message // .reason] | last) // "-",
       (($r.blockedBy // {}) | if .reason then "\(.kind // "") \(.name // "") \(.reason)" else "-" end)]
    | map(tostring) | join("\u0001")') || return 1
  IFS=$'\001' read -r seen want replicas ready updated phase step step_updated target current update rejected blocked <<<"$fields"
  line="ready $ready/$want"
  ((replicas == want)) || line+=", $replicas machines"
  if [[ $current != "$update" || ($phase != Complete && $phase != -) ]]; then
    line+=", updated $updated/$want, rollout $phase at step $step ($step_updated/$target)"
  fi
  [[ $blocked == - ]] || line+=", waits for $blocked"
}
settled() { look && [[ $seen == true ]] && ((ready == want && replicas == want)); }
upgraded() { settled && ((updated == want)) && [[ $phase == Complete && $current == "$update" ]]; }
# As upgraded, but the last rollout may be the one that was rolled back.
back_at_current() { settled && ((updated == want)) && [[ $current == "$update" ]]; }
rolled_back() {
  look || return 1
  [[ $rejected == - ]] || line+=", rejected: $rejected"
  [[ $seen == true && $phase == RolledBack && $rejected != - ]] && ((ready == want))
}
in_the_middle() { look && [[ $phase == Progressing ]] && ((updated >= want / 5 && updated < want * 4 / 5)); }

# Each of these must be gone in the end; hosts stay, and nobody has them.
left_behind() {
  {
    kubectl get clusters.endstate.dev,machinesets.endstate.dev,machines.endstate.dev,guardledgers.endstate.dev,controllerrevisions.apps -o name
    kubectl get hostassignments.endstate.dev,machinepackageversions.endstate.dev,changebudgets.endstate.dev,nodes -o name
    kubectl get leases -n endstate-system -o name | grep '/host-' || true
    kubectl get hosts.endstate.dev -o json | jq -r '.items[] | select(.spec.consumerRef) | "claimed host/\(.metadata.name)"'
  } | sed -e 's|/.*||' | sort | uniq -c | awk '{ count = $1; $1 = ""; printf "%s%s%s", separator, count, $0; separator = ", " }'
}
nothing_left() {
  local left
  left=$(left_behind) || return 1
  line=${left:-nothing left, all hosts free}
  [[ -z $left ]] || line="left: $line"
  [[ -z $left ]]
}

# --- set-up --------------------------------------------------------------------------------------------------------------------------------
[[ -n ${DEMO_NO_BUILD:-} ]] || hack/build.sh release programs
hack/up.sh
hosts() { kubectl get hosts.endstate.dev -o name | wc -l; }
fleet_size=$(hosts)
((fleet_size >= more)) || fail "the fleet has $fleet_size hosts, the demo needs $more: 'make down' and start again"
others=$(kubectl get machines.endstate.dev --all-namespaces -o json | jq '[.items[] | select(.metadata.labels["endstate.dev/set-name"] != "workers")] | length')
((others == 0)) || fail "this cluster has $others machines that are not the demo's: 'make down' first, or give another RUN_DIR and PORT_BASE"
if [[ -n $(kubectl get -f manifests/samples --ignore-not-found -o name) ]]; then
  begin "Clear away what an earlier demo left"
  kubectl delete -f manifests/samples --ignore-not-found --wait=false >/dev/null
  await 300 nothing_left
fi

set_package() { # set_package SLOT VERSION: what a user would do by editing the set
  local path
  path=$(kubectl get "$set" -o json | jq -r --arg slot "$1" '.spec.template.spec.packages | map(.name) | index($slot)')
  kubectl patch "$set" --type json -p "[{\"op\": \"replace\", \"path\": \"/spec/template/spec/packages/$path/versionRef/name\", \"value\": \"$2\"}]" >/dev/null
}
# How many Nodes say that they run this kubelet.
kubelets() { kubectl get nodes -o json | jq --arg version "${1#kubelet-}" '[.items[] | select(.status.nodeInfo.kubeletVersion | ltrimstr("v") == $version)] | length'; }
expect() { [[ $1 == "$2" ]] || fail "$step_name: expected $3 to be $2, but it is $1"; }

# --- the story -----------------------------------------------------------------------------------------------------------------------------
begin "Create: a Cluster and $start machines"
sed -E "/^kind: MachineSet$/,/^---$/ s/^(  replicas:) .*/\1 $start/" manifests/samples/*.yaml >"$RUN_DIR/demo.yaml"
kubectl apply -f "$RUN_DIR/demo.yaml" >/dev/null
await 300 settled
expect "$(kubectl get nodes -o json | jq '[.items[] | select(any(.status.conditions[]; .type == "Ready" and .status == "True"))] | length')" "$start" "the number of Ready Nodes"
end

begin "Scale up to $more"
kubectl scale "$set" --replicas "$more" >/dev/null
await 240 settled
end

begin "Scale down to $fewer"
kubectl scale "$set" --replicas "$fewer" >/dev/null
await 240 settled
end

begin "Upgrade in place by greyscale steps: $good"
set_package kubelet "$good"
await 900 upgraded
expect "$(kubelets "$good")" "$fewer" "the number of Nodes with $good"
end

begin "A bad version: stopped and rolled back by itself"
before=$update
set_package kubelet "$bad"
await 600 rolled_back
[[ $rejected == *"$bad"* ]] || fail "$step_name: the status doesn't name $bad: $rejected"
expect "$current" "$before" "the current revision"
expect "$(kubelets "$good")" "$fewer" "the number of Nodes with $good"
end
# The canary step is one machine, and it is the only one that may have been touched.
[[ $step_machines == - ]] || expect "$step_machines" 1 "the number of machines touched"
set_package kubelet "$good" # the spec is the user's: the operator never edits it back
begin "The user takes the bad version out again"
await 120 back_at_current
end

begin "The operator is killed in the middle of a rollout: $next_runtime"
set_package runtime "$next_runtime"
await 600 in_the_middle
killed=$(process_pid operator) || fail "the operator doesn't run"
kill -KILL "$killed"
say "   operator (PID $killed) killed with SIGKILL at $updated of $want; starting it again"
while is_running operator; do sleep 0.05; done
hack/up.sh >"$RUN_DIR/demo-restart.log" 2>&1 || { tail -n 20 "$RUN_DIR/demo-restart.log" >&2 && fail "the operator could not be started again"; }
await 900 upgraded
end

begin "Delete everything"
kubectl delete -f "$RUN_DIR/demo.yaml" --wait=false >/dev/null 2>&1
await 600 nothing_left
expect "$(hosts)" "$fleet_size" "the number of Hosts"
end

print_table
printf '\nThe story is told. endstate still runs: try it yourself (README), or stop it with "make down".\n'
