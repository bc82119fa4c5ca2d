#!/usr/bin/env bash
# check_alerts.sh: alert rules and dashboards are sound, as far as can be told without a server; e2e/scenarios/prometheus_test.sh asks a real one.
#
#   manifests/alerts/*.yaml        are rules; every alert has a test in which it fires and one in which it is silent, and all tests pass
#   manifests/dashboards/*.json    are dashboards: ids and uids unique, every query on the data source that is chosen, every expression parses
#   both                           use only metrics that docs/metrics.md lists
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=hack/promql.sh
source "$ROOT/hack/promql.sh"
cd "$ROOT"
command -v promtool >/dev/null || fail "no promtool: run 'make setup'"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
status=0
complain() {
  printf '%s\n' "$*" >&2
  status=1
}
# quietly COMMAND...: its output only if it fails
quietly() { "$@" >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2 && status=1; }; }

# --- alerts ---
quietly promtool check rules "$alert_rules"
mapfile -t alerts < <(alert_names)
((${#alerts[@]} > 0)) || fail "no alerts found in $alert_rules: has its form changed?"
for alert in "${alerts[@]}"; do
  for behaviour in fires 'is silent'; do
    grep -qhE "^- name: '$alert $behaviour" manifests/alerts/tests/*.yaml || complain "manifests/alerts/tests: no case '$alert $behaviour ...'"
  done
done
quietly promtool test rules manifests/alerts/tests/*.yaml

# --- dashboards ---
for file in manifests/dashboards/*.json; do
  jq -e . "$file" >/dev/null || { complain "$file: not JSON" && continue; }
  while IFS= read -r problem; do complain "$file: $problem"; done < <(jq -r --arg uid "endstate-$(basename "$file" .json)" '
    [.. | objects | select(has("gridPos"))] as $panels | [.templating.list[].name] as $variables |
    (if .uid != $uid then "its uid must be \($uid), by its file name" else empty end),
    (if (.title // "") == "" or (.schemaVersion // 0) < 36 then "no title, or an old schemaVersion" else empty end),
    (if $variables[0] != "datasource" then "its first variable must be the data source" else empty end),
    (if ([$panels[].id] | unique | length) != ($panels | length) then "two panels have one id" else empty end),
    ($panels[] | select((.title // "") == "") | "panel \(.id) has no title"),
    ($panels[] | select(.gridPos.x + .gridPos.w > 24) | "panel \(.title) is too wide"),
    ($panels[] | select(.type != "row") |
      (if (.description // "") == "" then "panel \(.title) has no description" else empty end),
      (if (.fieldConfig.defaults.unit // "") == "" then "panel \(.title) has no unit" else empty end),
      (if (.targets | length) == 0 then "panel \(.title) asks nothing" else empty end),
      (.targets[] | select(.datasource.uid != "${datasource}") | "a query of \(.expr) is bound to a data source")),
    ([$panels[].targets[]?.expr | scan("\\$[a-z]+") | .[1:]] | unique - $variables | .[] | "it has no variable \(.)")' "$file")
done
# Two panels on one place would hide each other.
for file in manifests/dashboards/*.json; do
  while IFS= read -r problem; do complain "$file: $problem"; done < <(jq -r '[.panels[] | {title, p: .gridPos}] | . as $all | range(length) as $i | range($i + 1; length) as $j |
    $all[$i] as $a | $all[$j] as $b | select($a.p.x < $b.p.x + $b.p.w and $b.p.x < $a.p.x + $a.p.w and $a.p.y < $b.p.y + $b.p.h and $b.p.y < $a.p.y + $a.p.h) |
    "\($a.title) and \($b.title) overlap"' "$file")
done
# As recording rules, promtool parses them.
dashboard_expressions | jq -Rn '{groups: [{name: "dashboards", rules: [inputs | {record: "parsed", expr: .} | . + {labels: {of: (.expr | @base64)}}]}]}' >"$scratch/dashboards.yaml"
quietly promtool check rules "$scratch/dashboards.yaml"

# --- metrics ---
while IFS= read -r name; do complain "an alert or a dashboard asks for $name, which docs/metrics.md doesn't list"; done < <(
  metrics_used | comm -23 - <(documented_metrics)
)
((status == 0)) || fail "alerts or dashboards are not sound"
say "${#alerts[@]} alerts, $(find manifests/alerts/tests -name '*.yaml' -exec grep -h '^- name:' {} + | wc -l) cases of theirs, $(dashboard_expressions | wc -l) expressions of dashboards"
