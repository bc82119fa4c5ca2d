# shellcheck shell=bash
# What asks Prometheus for something here: alert rules and dashboards, and the metrics that they use. To be sourced after hack/lib.sh.

alert_rules=$ROOT/manifests/alerts/endstate.yaml

alert_names() { sed -n 's/^ *- alert: *\([A-Za-z]*\) *$/\1/p' "$alert_rules"; }

# One a line, with the variables that Grafana would fill in.
dashboard_expressions() {
  jq -r '[.. | objects | .expr? // empty | strings] + [.templating.list[] | select(.type == "query") | .definition | capture("label_values\\((?<e>.*), *[a-z]+\\)").e] | .[] |
    gsub("\\$__rate_interval"; "2m") | gsub("\\$namespace"; "default") | gsub("\\$cluster"; "hz-a") | gsub("\\$set"; "workers") | gsub("\\s+"; " ")' \
    "$ROOT"/manifests/dashboards/*.json | sort -u
}

# Names of metrics in PromQL on stdin. A histogram's parts are those of its name.
metric_names() { { grep -oE '\b(endstate|process)_[a-z_]+' || true; } | sed -E 's/_(bucket|sum|count)$//' | sort -u; }
metrics_used() { { sed 's/#.*//; /^ *\(summary\|description\|runbook_url\):/d; /^- name:/d' "$alert_rules" && dashboard_expressions; } | metric_names; }

# Those of the first column of the tables in docs/metrics.md.
# shellcheck disable=SC2016 # backticks of Markdown
documented_metrics() { sed -n 's/^| `\([a-z_]*\)`.*/\1/p' "$ROOT/docs/metrics.md" | sort -u; }
