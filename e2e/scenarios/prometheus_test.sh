#!/usr/bin/env bash
# Metrics, alerts and dashboards, against a real Prometheus that scrapes a real run: what is told is true, everything that is asked for is there,
# nothing fires in health, and a bad change does.
set -euo pipefail
export RUN_DIR=.run/test-prometheus PORT_BASE=${TEST_PORT_BASE:-17000} SIM_HOSTS=50 FLEET_DELAY_SCALE=0
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
# shellcheck source=e2e/scenarios/cases.sh
source "$ROOT/e2e/scenarios/cases.sh"
# shellcheck source=hack/promql.sh
source "$ROOT/hack/promql.sh"
cd "$ROOT"
prometheus=http://127.0.0.1:$((PORT_BASE + 90))
# What a healthy run with one bad change need not tell: an analysis that nobody asks for, refusals, what is only there while something hangs.
# Their own tests have them (controllers/, reconcile/).
rare="endstate_connection_rests_total endstate_guard_recount_mismatches_total endstate_rollout_analysis_checks endstate_machines_blocked endstate_machines_stalled
  endstate_machines_operation_deadline_timestamp_seconds endstate_guard_refusals_total endstate_permits_refused_total endstate_unguarded_total
  endstate_rollouts_ended_total endstate_rollout_duration_seconds endstate_rollout_steps_total
  endstate_certificate_expiry_timestamp_seconds endstate_etcd_snapshot_timestamp_seconds"

hack/down.sh
trap hack/down.sh EXIT
hack/up.sh >/dev/null
e2e/kubernetes/prometheus.sh up >/dev/null

within() { # within SECONDS COMMAND...
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.5
  done
}
query() { curl -sf --max-time 20 "$prometheus/api/v1/query" --data-urlencode "query=$1"; }
value() { query "$1" | jq -r '.data.result[0].value[1] // "none"'; }
value_is() { [[ $(value "$1") == "$2" ]] || { echo "$1 is $(value "$1"), not $2" && return 1; }; }
scrape() { curl -sf --max-time 10 "http://127.0.0.1:$((PORT_BASE + $1))/metrics"; }
known_names() { curl -sf --max-time 20 "$prometheus/api/v1/label/__name__/values" --get --data-urlencode "match[]={job=\"$1\"}" | jq -r '.data[]' | metric_names; }
firing() { curl -sf --max-time 10 "$prometheus/api/v1/alerts" | jq -r '.data.alerts[] | select(.state == "firing") | .labels.alertname' | sort -u; }
nothing_fires() { [[ -z $(firing) ]] || { firing && return 1; }; }
fires() { firing | grep -qx "$1"; }
none_left() { # none_left < lines: there are none
  local lines
  lines=$(cat)
  [[ -z $lines ]] || { printf '%s\n' "$lines" && return 1; }
}

# --- what is told has the form that it should have ---
targets_up() { value_is 'sum(up{job=~"endstate-operator|endstate-fleet"})' 2; }
check "both programs are scraped" within 30 targets_up
conventions() { scrape "$1" | promtool check metrics; }
check "the operator's metrics follow the conventions (promtool)" conventions 80
check "the fleet's too" conventions 81
rules_loaded() { [[ $(curl -sf "$prometheus/api/v1/rules" | jq '[.data.groups[].rules[] | select(.health != "err")] | length') == $(alert_names | wc -l) ]]; }
check "all alerts are loaded" within 20 rules_loaded

# --- a set comes up ---
kubectl_admin apply -f manifests/samples/ >/dev/null
# So wide that nothing here opens it: it is there to be told.
kubectl_admin patch changebudget default --type merge -p '{"spec": {"breaker": {"failures": {"max": 100, "durationSeconds": 600}}}}' >/dev/null
# Two steps, and a person between them: a rollout that waits is told too.
kubectl_admin patch machineset workers --type merge \
  -p '{"spec": {"replicas": 20, "rollout": {"steps": [{"name": "canary", "updated": 1, "pause": {"type": "Promotion"}}, {"name": "all", "updated": "100%"}]}}}' >/dev/null
available() { value_is 'endstate_machinesets_replicas{set="workers",kind="available"}' 20; }
check "20 machines come up, and Prometheus knows" within 90 available
by_kubectl() { kubectl_admin get machines.endstate.dev -A -o json | jq -r '.items[] | .status.phase' | sort | uniq -c | awk '{ print $2, $1 }'; }
by_prometheus() { query 'sum by (phase) (endstate_machines) > 0' | jq -r '.data.result[] | "\(.metric.phase) \(.value[1])"' | sort; }
phases_agree() { diff <(by_kubectl) <(by_prometheus); }
check "machines by phase are what kubectl says" within 20 phases_agree
free_hosts() { kubectl_admin get hosts -A -o json | jq '[.items[] | select(.status.phase == "Ready" and (.spec.consumerRef | not))] | length'; }
hosts_agree() { value_is 'sum(endstate_hosts{phase="Ready",state="free"})' "$(free_hosts)"; }
check "free hosts are what kubectl says" within 20 hosts_agree

# The Prometheus that reads endstate is one that endstate may ask, too.
kubectl_admin apply -f - >/dev/null <<YAML
apiVersion: endstate.dev/v1alpha1
kind: MetricSource
metadata: {name: prometheus, namespace: default}
spec: {prometheus: {address: "$prometheus"}}
YAML
source_reachable() { value_is 'endstate_metric_source_reachable{name="prometheus"}' 1; }
check "a MetricSource that answers is told" within 40 source_reachable

# --- an upgrade ---
set_kubelet() { kubectl_admin patch machineset workers --type json -p '[{"op": "replace", "path": "/spec/template/spec/packages/1/versionRef/name", "value": "'"$1"'"}]' >/dev/null; }
set_kubelet kubelet-1.34.4
waits() { value_is 'endstate_rollout_blocked{set="workers",reason="WaitingForPromotion"}' 1 && value_is 'endstate_rollout_machines{set="workers",kind="updated"}' 1; }
check "an upgrade waits after its canary, and for what is told" within 60 waits
kubectl_admin annotate machineset workers "endstate.dev/promote=$(kubectl_admin get machineset workers -o jsonpath='{.status.updateRevision}')/canary" >/dev/null
versions() { value_is 'sum(endstate_machines_packages{package="kubelet",version="kubelet-1.34.4",state="Ready"})' 20; }
check "promoted, it goes through: 20 machines report the new version" within 120 versions
breaker_told() { value_is 'max(endstate_guard_breaker_open{budget="default",cluster="default/hz-a"})' 0; }
check "the breaker is told as closed" within 40 breaker_told
grants_told() { (($(value 'sum(endstate_guard_grants_total)') >= 20)); }
check "20 grants at least are counted" within 10 grants_told
complete() { value_is 'endstate_rollout_phase{set="workers",phase="Complete"}' 1; }
check "the rollout is told as Complete" within 30 complete
check "nothing fires in health" nothing_fires
never_fired() { value_is 'count(max_over_time(ALERTS{alertstate="firing"}[10m])) or vector(0)' 0; }
check "and nothing has" never_fired

# --- a bad one ---
set_kubelet kubelet-1.34.5-bad
check "a bad version: EndstateRolloutRejected fires" within 60 fires EndstateRolloutRejected
rejected_is_explained() { curl -sf "$prometheus/api/v1/alerts" | jq -e '.data.alerts[] | select(.labels.alertname == "EndstateRolloutRejected") | .annotations.summary | contains("default/workers")'; }
check "and names the set" rejected_is_explained
only_that() { [[ $(firing) == EndstateRolloutRejected ]] || { firing && return 1; }; }
check "and no other" only_that

# --- an account that somebody edits ---
kubectl_admin patch guardledger hz-a --subresource status --type merge -p '{"status": {"windows": []}}' >/dev/null
kubectl_admin scale machineset workers --replicas 21 >/dev/null # somebody asks
check "an account edited by hand: EndstateLedgerUntrusted fires" within 60 fires EndstateLedgerUntrusted

# --- everything that is asked for is there ---
expressions_answer() {
  local expression bad=0
  while IFS= read -r expression; do
    query "$expression" | jq -e '.status == "success"' >/dev/null || { echo "no answer: $expression" && bad=1; }
  done < <(dashboard_expressions)
  return "$bad"
}
check "every expression of the dashboards is answered" expressions_answer
rules_healthy() { curl -sf "$prometheus/api/v1/rules" | jq -r '.data.groups[].rules[] | select(.health != "ok") | .name + ": " + .lastError' | none_left; }
check "every alert is evaluated without an error" rules_healthy
used_exist() { metrics_used | comm -23 - <({ known_names endstate-operator && xargs -n 1 <<<"$rare"; } | sort -u) | none_left; }
check "every metric that alerts and dashboards use is told" used_exist
scraped_are_documented() { known_names endstate-operator | comm -23 - <(documented_metrics) | none_left; }
check "every metric that is told is in docs/metrics.md" scraped_are_documented
documented_exist() { documented_metrics | comm -23 - <({ known_names endstate-operator && xargs -n 1 <<<"$rare"; } | sort -u) | none_left; }
check "and every one of that page is told" documented_exist
fleet_documented() { known_names endstate-fleet | grep '^endstate_' | while IFS= read -r name; do grep -qF "$name" docs/fleet.md || echo "$name"; done | none_left; }
check "the fleet's are in docs/fleet.md" fleet_documented

# --- it ends ---
set_kubelet kubelet-1.34.4
rejection_over() { ! fires EndstateRolloutRejected; }
check "taken back: that alert ends" within 60 rejection_over
kubectl_admin delete machineset workers --wait=false >/dev/null
series_gone() { [[ $(value 'endstate_machinesets_replicas{set="workers"} or endstate_rollout_phase{set="workers"}') == none ]]; }
check "a deleted set's series go" within 90 series_gone
finish
