#!/usr/bin/env bash
# A step's analysis, on a running endstate with a real Prometheus that scrapes the simulated fleet: a good change passes, one that is bad in a
# metric only goes back, a metric outage pauses, what isn't Prometheus is told; Jobs as probes pass and fail; health is judged.
set -euo pipefail
export RUN_DIR=.run/test-analysis PORT_BASE=${TEST_PORT_BASE:-17000} SIM_HOSTS=12 FLEET_DELAY_SCALE=0 PROMETHEUS_RULES=
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
# shellcheck source=e2e/scenarios/cases.sh
source "$ROOT/e2e/scenarios/cases.sh"
cd "$ROOT"

hack/down.sh
trap 'hack/down.sh' EXIT
hack/up.sh >/dev/null
e2e/kubernetes/prometheus.sh up
prometheus=http://127.0.0.1:$((PORT_BASE + 90))

# until_ SECONDS COMMAND...: the command's success within the bound; else what stands where.
until_() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || { kubectl_admin get machineset pool -o yaml | sed -n '/^status:/,$p' && return 1; }
    sleep 0.5
  done
}
of_set() { kubectl_admin get machineset pool -o jsonpath="$1"; }
condition() { kubectl_admin get "$1" -o jsonpath="{range .status.conditions[?(@.type=='$2')]}{.status} {.reason} {.message}{end}"; }
condition_has() { [[ $(condition "$1" "$2") == *"$3"* ]]; }
phase_is() { [[ $(of_set '{.status.rollout.phase} {.status.observedGeneration}') == "$1 $(of_set '{.metadata.generation}')" ]]; }
rejected_for() { [[ $(of_set '{.status.rejectedRevisions[-1:].reason} {.status.rejectedRevisions[-1:].message}') == *"$1"*"$2"* ]]; }
# machines_with PACKAGE: how many were assigned that version of the kubelet
machines_with() {
  kubectl_admin get machines -o json | jq --arg v "$1" '[.items[] | select(any(.status.packages[]?; .name == "kubelet" and .actual.name == $v))] | length'
}
source_at() {
  kubectl_admin apply -f - >/dev/null <<YAML
apiVersion: endstate.dev/v1alpha1
kind: MetricSource
metadata: {name: prometheus, namespace: default}
spec: {prometheus: {address: "$1", timeoutSeconds: 2}}
YAML
}
# The share of failed requests to the hosts that have the revision: what the fleet counts for the users.
rate="sum(rate(endstate_fleet_requests_total{revision='\$(revision)'}[6s]))"
errors="(sum(rate(endstate_fleet_requests_total{revision='\$(revision)',result='error'}[6s])) or vector(0))"
check_json() {
  jq -n --arg query "$errors / $rate" '{name: "errors", sourceRef: {name: "prometheus"}, query: $query, operator: "LessOrEqual", threshold: "0.05",
    intervalSeconds: 5, count: 2, inconclusiveLimit: 4, errorLimit: 1}'
}
# probe_json EXIT_CODE
probe_json() {
  jq -n --arg code "$1" '{name: "smoke", timeoutSeconds: 60, jobTemplate: {spec: {template: {
    metadata: {annotations: {"fleet.endstate.dev/exit-code": $code}},
    spec: {containers: [{name: "smoke", image: "endstate.invalid/smoke"}]}}}}}'
}
# roll KUBELET ANALYSIS_JSON
roll() {
  jq -n --arg kubelet "$1" --argjson analysis "$2" '{spec: {
    template: {spec: {packages: [{name: "runtime", versionRef: {name: "containerd-1.7.20"}}, {name: "kubelet", versionRef: {name: $kubelet}}]}},
    rollout: {onFailure: {action: "Rollback"}, steps: [{name: "canary", updated: 1, analysis: $analysis}, {name: "all", updated: "100%"}]}}}' |
    kubectl_admin patch machineset pool --type merge --patch-file /dev/stdin >/dev/null
}
checks() { jq -n --argjson c "$(check_json)" '{checks: [$c]}'; }
probes() { jq -n --argjson p "$(probe_json "$1")" '{probes: [$p]}'; }

source_at "$prometheus"
kubectl_admin apply -f manifests/samples/ >/dev/null
kubectl_admin delete machineset workers --wait=false >/dev/null
sed -e 's/name: workers/name: pool/' -e 's/replicas: 100/replicas: 8/' manifests/samples/machine_set.yaml | kubectl_admin apply -f - >/dev/null
check "8 machines come up" until_ 90 phase_is Complete
ready_is() { [[ $(of_set '{.status.readyReplicas}') == "$1" ]]; }
check "and are ready" until_ 60 ready_is 8
check "the source answers" until_ 30 condition_has metricsource/prometheus Reachable "True Reachable"

# --- good, by metric and by Job ---
roll kubelet-1.34.4 "$(jq -n --argjson c "$(check_json)" --argjson p "$(probe_json 0)" '{checks: [$c], probes: [$p], health: {maxUnhealthy: 0, maxRestarts: 0}}')"
check "it is analyzed" until_ 30 condition_has machineset/pool RollingOut Analyzing
canaries_only() { (($(machines_with kubelet-1.34.4) <= 1)); }
check "meanwhile one machine has it" canaries_only
check "a good change passes" until_ 60 phase_is Complete
history_has() { of_set '{.status.history}' | jq -e "$1" >/dev/null; }
check "what was seen stays in the history" history_has '.[-1].steps[0] | .metrics[0].good == 2 and .probes == ["smoke=Passed"]'

# --- bad, and only the metric tells ---
kubectl_admin annotate machinepackageversion kubelet-1.34.3 fleet.endstate.dev/fault=WorkFails >/dev/null
roll kubelet-1.34.3 "$(checks)"
check "a silently bad change is rejected" until_ 60 rejected_for AnalysisFailed "check errors failed"
check "and taken back" until_ 60 phase_is RolledBack
check "no machine keeps it" test "$(machines_with kubelet-1.34.3)" = 0
kubectl_admin annotate machinepackageversion kubelet-1.34.3 fleet.endstate.dev/fault- >/dev/null
retries=0
# Each a new word: one that was carried out is not carried out again.
retry() { kubectl_admin annotate --overwrite machineset pool "endstate.dev/retry=$(of_set '{.status.updateRevision}')@$((++retries))" >/dev/null; }

# --- a probe that fails ---
roll kubelet-1.34.3 "$(probes 1)"
retry
check "a failing Job rejects" until_ 60 rejected_for ProbeFailed "probe smoke failed: its Job failed"
check "and its machines go back" until_ 60 phase_is RolledBack

# --- the metrics go ---
roll kubelet-1.34.3 "$(checks)"
stop_processes 20 prometheus
retry
check "an outage of the metrics pauses" until_ 60 condition_has machineset/pool Stalled "True AnalysisInconclusive"
check "with the check's name and the remedy" condition_has machineset/pool Stalled "endstate.dev/promote: $(of_set '{.status.updateRevision}')/canary"
one_machine() { (($(machines_with kubelet-1.34.3) == 1)); }
check "one machine has it, still" one_machine
check "the source says so" until_ 90 condition_has metricsource/prometheus Reachable "False NotReachable"
e2e/kubernetes/prometheus.sh up >/dev/null
# What isn't Prometheus' API: its own web page, in HTML.
source_at "$prometheus/classic/graph?"
retry
check "HTML is told" until_ 60 condition_has machineset/pool Stalled "HTML"
source_at "$prometheus"
# One that takes the connection and doesn't answer in the source's 2 s.
kill -STOP "$(process_pid prometheus)"
retry
check "a slow Prometheus is told, and pauses" until_ 60 condition_has machineset/pool Stalled "no reply within 2000 ms"
check "one machine has it, still" one_machine
kill -CONT "$(process_pid prometheus)"
sleep 7 # rate() needs a few scrapes
retry
check "mended and tried again, it goes through" until_ 60 phase_is Complete

# --- what doesn't exist, and what PromQL refuses ---
missing=$(jq -n --argjson c "$(check_json)" '{checks: [$c | .sourceRef.name = "elsewhere"]}')
roll kubelet-1.34.4 "$missing"
check "a source that isn't there is named" until_ 30 condition_has machineset/pool Stalled "MetricSourceNotFound"
invalid=$(jq -n --argjson c "$(check_json)" '{checks: [$c | .query = "sum(" | .errorLimit = 0]}')
roll kubelet-1.34.4 "$invalid"
check "an invalid query is told in Prometheus' words" until_ 30 condition_has machineset/pool Stalled "the query is invalid"
roll kubelet-1.34.4 "$(jq -n --argjson c "$(check_json)" '{checks: [$c | .query = "up"]}')"
several() { of_set '{.status.rollout.analysis.checks[0].message}' | grep -qF 'aggregate with sum() or max()'; }
check "several series are told" until_ 30 several
# Neither is a number: no progress, and nothing is condemned.
no_data() { # QUERY TEXT
  roll kubelet-1.34.4 "$(jq -n --argjson c "$(check_json)" --arg q "$1" '{checks: [$c | .query = $q]}')"
  until_ 30 check_says "$2" && until_ 5 phase_is Paused
}
check_says() { of_set '{.status.rollout.analysis.checks[0].message}' | grep -qF "$1"; }
check "NaN is no data, and says so" no_data "vector(0) / vector(0)" "NaN"
check "an empty result too" no_data "nothing_has_this_name" "no series matches"
kubectl_admin annotate machineset pool "endstate.dev/promote=$(of_set '{.status.updateRevision}')/canary" >/dev/null
check "a promotion passes the step" until_ 60 phase_is Complete
finish
