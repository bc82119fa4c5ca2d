#!/usr/bin/env bash
# kubectl endstate on a running endstate: what a preview says is what then happens, and it changes nothing; every verb; exit codes; rights.
set -euo pipefail
export RUN_DIR=.run/test-kubectl PORT_BASE=${TEST_PORT_BASE:-17000} SIM_HOSTS=20 FLEET_DELAY_SCALE=0
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
# shellcheck source=e2e/scenarios/cases.sh
source "$ROOT/e2e/scenarios/cases.sh"
cd "$ROOT"

hack/down.sh
trap hack/down.sh EXIT
hack/up.sh >/dev/null

work=$RUN_DIR/kubectl-test
mkdir -p "$work"
endstate() { "$BUILD_BIN/kubectl-endstate" --kubeconfig "${KUBECONFIG_OF:-$RUN_DIR/kubeconfig}" "$@"; }
# gives CODE [TEXT] COMMAND...: that exit code, and output that says the text.
gives() {
  local code=$1 text=$2 status=0 output
  shift 2
  output=$("$@" 2>&1) || status=$?
  printf '%s\n(exit code %s)\n' "$output" "$status"
  ((status == code)) && [[ $output == *"$text"* ]]
}
usage() { # one line, exit code 2
  local status=0 output
  output=$(endstate "$@" 2>&1) || status=$?
  printf '%s\n(exit code %s)\n' "$output" "$status"
  ((status == 2)) && [[ $(wc -l <<<"$output") == 1 ]]
}
until_() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || { kubectl_admin get machinesets,machines -A && tail -n 5 "$RUN_DIR/operator.log" && return 1; }
    sleep 0.3
  done
}

# set_yaml KUBELET [REPLICAS]: the set that this test works with.
set_yaml() {
  cat <<YAML
apiVersion: endstate.dev/v1alpha1
kind: MachineSet
metadata: {name: pool, namespace: default}
spec:
  clusterName: hz-a
  replicas: ${2:-10}
  selector: {matchLabels: {pool: pool}}
  template:
    metadata: {labels: {pool: pool}}
    spec:
      packages:
      - {name: runtime, versionRef: {name: containerd-1.7.20}}
      - {name: kubelet, versionRef: {name: $1}}
  rollout:
    maxUnavailable: 1
    steps:
    - {name: canary, updated: 1, pause: {type: Promotion}}
    - {name: half, updated: 50%, pause: {type: Promotion}}
YAML
}
set_yaml kubelet-1.34.3 >"$work/one.yaml"
set_yaml kubelet-1.34.4 >"$work/two.yaml"
set_yaml kubelet-1.34.5-bad >"$work/bad.yaml"
kubectl_admin apply -f manifests/samples/packages.yaml -f manifests/samples/cluster.yaml -f manifests/samples/change_budget.yaml >/dev/null

# --- before there is a set ---
check "a new set: what would be created, exit code 1" gives 1 "10 machines" endstate diff -f "$work/one.yaml"
none() { [[ -z $(kubectl_admin get machinesets,machines -o name) ]]; }
check "and nothing is" none
check "status of what isn't there: exit code 5" gives 5 "not found" endstate rollout status machineset/pool
kubectl_admin apply -f "$work/one.yaml" >/dev/null
check "status follows until it is complete" gives 0 "is complete" endstate rollout status machineset/pool --timeout 90s
check "the same again: nothing would change, exit code 0" gives 0 "" endstate diff -f "$work/one.yaml"

# --- a preview changes nothing, and says what then happens ---
versions() { kubectl_admin get machinesets,machines,controllerrevisions,hosts -o json | jq -r '.items[] | .kind + "/" + .metadata.name + " " + .metadata.resourceVersion' | sort; }
sleep 2 # what the fleet and the operator still write about the creation
versions >"$work/before"
check "a change: exit code 1, and the field" gives 1 "spec.template.spec.packages[kubelet].versionRef.name: kubelet-1.34.3 -> kubelet-1.34.4" endstate diff -f "$work/two.yaml"
endstate diff -f "$work/two.yaml" -o json >"$work/preview.json" || true
versions >"$work/after"
check "it changed nothing" diff "$work/before" "$work/after"
check "three steps, ten machines" jq -e '.previews[0] | [.steps[].name] == ["canary", "half", "rest"] and .touched == 10 and .end == "Complete"' "$work/preview.json"
check "from the standard input" gives 1 "step canary" endstate diff -f - <"$work/two.yaml"

planned() { jq -r --arg step "$1" '.previews[0].steps[] | select(.name == $step) | .updated[]' "$work/preview.json"; }
new=$(jq -r '.previews[0].to' "$work/preview.json")
with_new() { kubectl_admin get machines -l "endstate.dev/revision=$new" -o name | sed 's|.*/||' | sort; }
waits_at() { # STEP
  [[ $(kubectl_admin get machineset pool -o jsonpath='{.status.rollout.step} {.status.rollout.phase}') == "$1 Paused" ]]
}
as_planned() { # STEPS...: these steps' machines, and no other, have the new revision
  local step
  for step in "$@"; do planned "$step"; done | sort >"$work/planned"
  with_new | diff "$work/planned" -
}
kubectl_admin apply -f "$work/two.yaml" >/dev/null
check "the canary waits" until_ 60 waits_at canary
check "it is the machine that the preview named" as_planned canary
check "waiting for a person: exit code 3" gives 3 "promote" endstate rollout status machineset/pool --watch=false
check "a timeout: exit code 4" gives 4 "not over" endstate rollout status machineset/pool --timeout 2s
sed 's/max: 200}/max: 0}/' manifests/samples/change_budget.yaml >"$work/only_budget.yaml"
check "a budget alone is tried on the rollout under way" gives 1 "ChangeBudget default: WindowFull" endstate diff -f "$work/only_budget.yaml"
check "promote" gives 0 "promoted" endstate rollout promote machineset/pool
check "the half waits" until_ 90 waits_at half
check "they are those that the preview named" as_planned canary half
check "describe says what it waits for" gives 0 "WaitingForPromotion" endstate describe machineset pool
check "and what happened" gives 0 "StepStarted: step half of revision $new" endstate describe machineset pool
once() { # each step's beginning is told once, by itself
  kubectl_admin get events.events.k8s.io -o json | jq -e --arg new "$new" '[.items[] | select(.regarding.name == "pool" and (.note | contains($new))
    and (.reason == "StepStarted" or .reason == "RolloutRequested"))] | length == 3 and all(.series == null)'
}
check "each step by itself, and once" once

# --- verbs ---
check "pause" gives 0 "paused" endstate rollout pause machineset/pool
check "again: nothing to do" gives 0 "nothing to do" endstate rollout pause machineset pool
check "paused: exit code 3" gives 3 "is paused" endstate rollout status ems/pool --watch=false
check "resume" gives 0 "resumed" endstate rollout resume machineset/pool
check "a dry run is said" gives 0 "nothing is stored" endstate rollout promote machineset/pool --step half --dry-run=server
check "and still waits" waits_at half
check "promote to the end" gives 0 "promoted" endstate rollout promote machineset/pool --step half
check "complete" gives 0 "is complete" endstate rollout status machineset/pool --timeout 120s
in_order() { # the machines began in the order of the preview
  jq -r '.previews[0].steps[].updated[]' "$work/preview.json" | while read -r name; do
    kubectl_admin get machine "$name" -o jsonpath='{.status.lastOperation.startTime}{"\n"}'
  done | sort -c
}
check "in the order of the preview" in_order
check "nothing to promote: refused, exit code 1" gives 1 "nothing to promote" endstate rollout promote machineset/pool
check "nothing to abort: refused" gives 1 "nothing to abort" endstate rollout abort machineset/pool
check "history tells of it" gives 0 "Complete" endstate rollout history machineset/pool
check "and of one revision" gives 0 "kubelet-1.34.3" endstate rollout history machineset/pool --revision 1
check "as JSON" jq -e '.revisions | length == 2' <(endstate rollout history machineset/pool -o json)

check "a preview of the way back" gives 1 "kubelet-1.34.4 -> kubelet-1.34.3" endstate diff machineset/pool --to-revision 1
check "undo to what isn't recorded: refused" gives 1 "isn't recorded" endstate rollout undo machineset/pool --to-revision 99
check "undo, dry" gives 0 "dry run" endstate rollout undo machineset/pool --dry-run=client
kubelet_is() { [[ $(kubectl_admin get machineset pool -o jsonpath='{.spec.template.spec.packages[1].versionRef.name}') == "$1" ]]; }
check "changes nothing" kubelet_is kubelet-1.34.4
check "undo" gives 0 "rolled back to revision" endstate rollout undo machineset/pool
check "the template is the one before" kubelet_is kubelet-1.34.3
check "as the user's own field manager" jq -e '[.metadata.managedFields[].manager] | index("kubectl-endstate")' <(kubectl_admin get machineset pool -o json --show-managed-fields)
check "its canary waits" until_ 60 waits_at canary
check "abort" gives 0 "aborted" endstate rollout abort machineset/pool
check "a rejected revision: exit code 1" gives 1 "rolled back" endstate rollout status machineset/pool --timeout 90s
check "the preview says that it isn't tried" gives 0 "was rejected" endstate diff -f "$work/one.yaml" --all
check "retry" gives 0 "tried again" endstate rollout retry machineset/pool
check "and it is" until_ 60 waits_at canary
kubectl_admin apply -f "$work/two.yaml" >/dev/null
check "the user goes back: no failure" gives 0 "is complete" endstate rollout status machineset/pool --timeout 90s
kubectl_admin apply -f "$work/bad.yaml" >/dev/null
check "a bad version: exit code 1, and why" gives 1 "kubelet-1.34.5-bad" endstate rollout status machineset/pool --timeout 90s
bad=$(kubectl_admin get controllerrevisions -o json | jq '[.items[] | select(.data | tostring | contains("1.34.5-bad")) | .revision][0]')
kubectl_admin apply -f "$work/two.yaml" >/dev/null
check "undo to a rejected revision: refused" gives 1 "was rejected" endstate rollout undo machineset/pool --to-revision "$bad"
check "well again" gives 0 "is complete" endstate rollout status machineset/pool --timeout 90s

# --- other previews ---
set_yaml kubelet-1.34.4 8 >"$work/fewer.yaml"
endstate diff -f "$work/fewer.yaml" -o json >"$work/fewer.json" || true
kubectl_admin get machines -o name | sed 's|.*/||' | sort >"$work/had"
kubectl_admin apply -f "$work/fewer.yaml" >/dev/null
eight() { [[ $(kubectl_admin get machines -o name | wc -l) == 8 ]]; }
check "fewer machines" until_ 60 eight
gone_as_planned() { kubectl_admin get machines -o name | sed 's|.*/||' | sort | comm -23 "$work/had" - | diff - <(jq -r '.previews[0].steps[].deleted[]' "$work/fewer.json" | sort); }
check "the ones that the preview named went" gone_as_planned
{ set_yaml kubelet-1.34.3 8 && printf -- '---\n' && sed 's/max: 200}/max: 0}/' manifests/samples/change_budget.yaml; } >"$work/budget.yaml"
check "a budget in the files counts" gives 1 "ChangeBudget default: WindowFull" endstate diff -f "$work/budget.yaml"
# On from this hour on, for five: the preview says until when, and the rollout then waits as it was told.
cat >"$work/freeze.yaml" <<YAML
apiVersion: endstate.dev/v1alpha1
kind: ChangeBudget
metadata: {name: calm}
spec:
  clusterSelector: {}
  schedules: [{name: nights, type: Deny, cron: "0 $(date -u +%-H) * * *", durationSeconds: 18000, operations: [MachineUpdate]}]
YAML
ends=$(date -u -d "@$(($(date +%s) / 3600 * 3600 + 18000))" +%FT%TZ)
set_yaml kubelet-1.34.3 8 >"$work/frozen.yaml"
check "a freeze window: by which budget and schedule, until when" gives 1 "waits    BudgetOpen: ChangeBudget calm refuses (ScheduleClosed): schedule nights is on until $ends" endstate diff -f "$work/frozen.yaml" -f "$work/freeze.yaml"
check "and when it goes on" gives 1 "1. before the first machine: waits, from +0s to +4h" endstate diff -f "$work/frozen.yaml" -f "$work/freeze.yaml"
kubectl_admin apply -f "$work/freeze.yaml" -f "$work/frozen.yaml" >/dev/null
told_frozen() { gives 4 "ChangeBudget calm refuses (ScheduleClosed): schedule nights is on until $ends" endstate rollout status machineset/pool --watch=false; }
check "the rollout waits for it: exit code 4" until_ 30 told_frozen
kubectl_admin apply -f "$work/fewer.yaml" >/dev/null
kubectl_admin delete -f "$work/freeze.yaml" >/dev/null
check "the way back isn't held" gives 0 "is complete" endstate rollout status machineset/pool --timeout 90s
set_yaml kubelet-9 8 >"$work/skew.yaml"
cat >"$work/kubelet-9.yaml" <<YAML
apiVersion: endstate.dev/v1alpha1
kind: MachinePackageVersion
metadata: {name: kubelet-9}
spec:
  packageName: kubelet
  version: 1.99.0
  install: {method: Archive, artifacts: [{arch: amd64, url: "http://127.0.0.1:9/kubelet.tar.gz", sha256: $(printf a | sha256sum | cut -c1-64)}]}
YAML
skew() { gives 1 "$1" endstate diff -f "$work/skew.yaml" -f "$work/kubelet-9.yaml"; }
check "a kubelet newer than its API server: refused, and why" skew "is newer than the API server"
check "what can't be judged from here is unknown" skew "unknown  ArtifactsReachable: 1 address, which the operator asks from where it runs"
set_yaml kubelet-nowhere >"$work/nowhere.yaml"
check "an unknown package is refused beforehand" gives 1 "PackageNotFound" endstate diff -f "$work/nowhere.yaml"
check "one that stands in the same files isn't unknown" gives 1 "step canary" endstate diff -f "$work/nowhere.yaml" -f <(
  awk 'BEGIN { RS = "---\n" } /name: kubelet-1.34.3$/ || /name: kubelet-1.34.3\n/ { sub(/name: kubelet-1.34.3/, "name: kubelet-nowhere"); print; exit }' manifests/samples/packages.yaml)
sed 's/replicas:/replica:/' "$work/one.yaml" >"$work/field.yaml"
check "an unknown field: exit code 2, and its name" gives 2 "spec.replica" endstate diff -f "$work/field.yaml"
sed 's/updated: 1,/updated: 0,/' "$work/one.yaml" >"$work/invalid.yaml"
check "what the API server refuses: exit code 5, in its words" gives 5 "would refuse it" endstate diff -f "$work/invalid.yaml"

# --- the rest of the command line ---
check "describe a cluster" gives 0 "MachineSet default/pool" endstate describe cluster hz-a
machine=$(kubectl_admin get machines -o jsonpath='{.items[0].metadata.name}')
check "describe a machine" gives 0 "conditions" endstate describe machine/"$machine"
check "top, once" gives 0 "default/pool" endstate top --once
check "top as JSON" jq -e '.clusters[0].machines == 8' <(endstate top -o json)
top_ends() {
  local frames
  frames=$(timeout -s INT 4 "$BUILD_BIN/kubectl-endstate" --kubeconfig "$RUN_DIR/kubeconfig" top --watch --interval 1s || true)
  [[ $(grep -c '^endstate  ' <<<"$frames") -ge 2 ]]
}
check "top --watch goes on until it is interrupted" top_ends
as_plugin() { PATH=$BUILD_BIN:$PATH "$(kubectl_binary)" endstate rollout status machineset/pool --kubeconfig "$RUN_DIR/kubeconfig" --watch=false; }
check "as a plugin of kubectl" as_plugin
# As a shell asks kubectl, and kubectl asks the plugin.
completes() { # WORD WORDS...
  local word=$1
  shift
  PATH=$BUILD_BIN:$PATH KUBECONFIG=$RUN_DIR/kubeconfig "$(kubectl_binary)" __complete endstate "$@" 2>/dev/null | cut -f 1 | grep -qx -- "$word"
}
check "Tab completes verbs" completes status rollout st
check "and names" completes machineset/pool rollout status machineset/
check "and flags" completes --to-revision diff --to
check "KUBECONFIG is honoured" env KUBECONFIG="$RUN_DIR/kubeconfig" "$BUILD_BIN/kubectl-endstate" top --once
check "a wrong flag: one line, exit code 2" usage top --frobnicate
check "no command" usage
check "another kind" usage rollout pause deployment/pool
check "a kubeconfig that isn't there" gives 2 "/nonexistent" "$BUILD_BIN/kubectl-endstate" top --kubeconfig /nonexistent
check "a context that isn't there" gives 2 "nowhere" endstate top --context nowhere
check "--help says the exit codes" gives 0 "Exit codes" endstate rollout status --help

# --- what of an installation is not as docs/security.md says, and what a business cluster lacks ---
check "doctor: nothing is dangerous here" gives 0 "is the meta cluster itself" endstate doctor
kubectl_admin get validatingadmissionpolicybinding agents.endstate.dev -o json | jq 'del(.metadata.resourceVersion, .metadata.uid)' >"$work/binding.json"
kubectl_admin delete validatingadmissionpolicybinding agents.endstate.dev >/dev/null
check "doctor: a policy without its binding is a danger" gives 1 "DANGER  the admission policy agents.endstate.dev" endstate doctor
kubectl_admin apply -f "$work/binding.json" >/dev/null
# With the operator's own identity nothing may be missing: so the table of rights asks for nothing that its role doesn't have.
far_as() { # far_as KUBECONFIG: the Cluster far, reached with it
  kubectl_admin create secret generic far --from-file="value=$1" --dry-run=client -o yaml | kubectl_admin apply -f - >/dev/null
}
kubectl_admin apply -f - >/dev/null <<'YAML'
apiVersion: endstate.dev/v1alpha1
kind: Cluster
metadata: {name: far, namespace: default}
spec: {paused: true, controlPlane: {type: External, kubeconfigSecret: {name: far}}}
YAML
kubectl_admin config view --raw --flatten --minify -o json | jq --arg token "$(<"$RUN_DIR/operator.token")" '.users = [{name: "o", user: {token: $token}}] | .contexts[0].context.user = "o"' >"$work/far.kubeconfig"
far_as "$work/far.kubeconfig"
far_rights() { until_ "$1" condition_is "$2" "$3"; }
condition_is() { kubectl_admin get cluster.endstate.dev far -o json | jq -e --arg status "$1" --arg reason "$2" '.status.conditions[]? | select(.type == "RightsComplete" and .status == $status and .reason == $reason)'; }
check "rights: the Cluster says that they are complete" far_rights 30 True RightsComplete
says_missing() { kubectl_admin get cluster.endstate.dev far -o json | jq -e --arg text "$1" '.status.conditions[]? | select(.type == "RightsComplete" and .status == "False" and (.message | contains($text)))'; }
# A rule is taken out of an operator's role and put back: of a copy, for the operator that runs needs its own.
kubectl_admin create serviceaccount almost >/dev/null
kubectl_admin get clusterrole endstate-operator -o json | jq '{apiVersion, kind, metadata: {name: "almost"}, rules}' >"$work/almost.json"
kubectl_admin create -f "$work/almost.json" >/dev/null
kubectl_admin create clusterrolebinding almost --clusterrole=almost --serviceaccount=default:almost >/dev/null
kubectl_admin create rolebinding almost -n endstate-system --role=endstate-operator --serviceaccount=default:almost >/dev/null
jq --arg token "$(kubectl_admin create token almost)" '.users[0].user = {token: $token}' "$work/far.kubeconfig" >"$work/almost.kubeconfig"
jq '.rules |= map(select(.resources != ["volumeattachments"]))' "$work/almost.json" | kubectl_admin replace -f - >/dev/null
far_as "$work/almost.kubeconfig"
check "rights: a rule that is taken out of the role is named" until_ 90 says_missing "volumeattachments (list)" # a Secret is read each minute
kubectl_admin replace -f "$work/almost.json" >/dev/null
check "rights: and when it is put back they are complete" far_rights 90 True RightsComplete # what is missing is asked for each minute
far_as "$work/far.kubeconfig"
check "rights: the operator's own role lacks nothing" gives 0 "may do all that it must" endstate rights far
kubectl_admin create serviceaccount nobody >/dev/null
jq --arg token "$(kubectl_admin create token nobody)" '.users[0].user = {token: $token}' "$work/far.kubeconfig" >"$work/nobody.kubeconfig"
far_as "$work/nobody.kubeconfig"
check "rights: what is missing comes as YAML" gives 1 "resources: [pods/eviction]" endstate rights far
endstate rights far >"$work/missing.yaml" 2>/dev/null || true
check "and can be applied as it is" kubectl_admin apply --dry-run=server -f "$work/missing.yaml"
kubectl_admin delete cluster.endstate.dev far --wait=false >/dev/null

# --- somebody who may only look ---
kubectl_admin create serviceaccount looker >/dev/null
kubectl_admin create clusterrolebinding looker --clusterrole=endstate-view --serviceaccount=default:looker >/dev/null
(umask 077 && kubectl_admin config view --raw --flatten --minify -o json | jq --arg token "$(kubectl_admin create token looker)" \
  '.users = [{name: "looker", user: {token: $token}}] | .contexts[0].context.user = "looker"' >"$work/looker.kubeconfig")
export KUBECONFIG_OF=$work/looker.kubeconfig
check "a viewer has the pre-flight too" gives 1 "FAILS    VersionSkew" endstate diff -f "$work/skew.yaml" -f "$work/kubelet-9.yaml"
check "a viewer has the preview, and is told what wasn't checked" gives 1 "was not checked" endstate diff -f "$work/one.yaml"
endstate diff -f "$work/fewer.yaml" >/dev/null 2>&1 && same=0 || same=$?
check "nothing to change is exit code 0 for a viewer too" test "$same" = 0
check "a viewer describes" gives 0 "MachineSet default/pool" endstate describe machineset/pool
check "with its events" gives 0 "── events" endstate describe machineset/pool
check "and sees the fleet" gives 0 "default/hz-a" endstate top --once -A
check "but can't pause: exit code 5" gives 5 "forbidden" endstate rollout pause machineset/pool
finish
