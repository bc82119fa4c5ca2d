#!/usr/bin/env bash
# prometheus.sh up|down: a real Prometheus (Debian's) beside a run of `make up`, on loopback; stopped by `make down` too.
#
#   RUN_DIR, PORT_BASE   see hack/lib.sh. It listens on 127.0.0.1:PORT_BASE+90 and scrapes the operator (+80) and the fleet (+81)
#   SCRAPE_SECONDS       how often it scrapes, and evaluates rules (default 1)
#   PROMETHEUS_RULES     rule files, blank-separated (default: those of manifests/alerts); empty: none
#   PROMETHEUS_TARGETS   more to scrape, blank-separated: JOB=HOST:PORT
#
# Its data are this run's: RUN_DIR/prometheus, wiped by down. The API: curl 127.0.0.1:PORT_BASE+90/api/v1/query?query=up
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
SCRAPE_SECONDS=${SCRAPE_SECONDS:-1}
address=127.0.0.1:$((PORT_BASE + 90))
data=$RUN_DIR/prometheus

job() {
  printf -- '- job_name: %s\n  static_configs: [{targets: ["%s"]}]\n' "$1" "$2"
}

# The jobs' names are those that the chart's ServiceMonitor gives (the Service's name): the alerts look for them.
write_config() {
  local rules target
  rules=${PROMETHEUS_RULES-$(find "$ROOT/manifests/alerts" -maxdepth 1 -name '*.yaml' 2>/dev/null || true)}
  printf 'global: {scrape_interval: %ss, scrape_timeout: %ss, evaluation_interval: %ss}\n' "$SCRAPE_SECONDS" "$SCRAPE_SECONDS" "$SCRAPE_SECONDS"
  printf 'rule_files:\n'
  for target in $rules; do printf -- '- %s\n' "$(realpath "$target")"; done
  printf 'scrape_configs:\n'
  job endstate-operator "127.0.0.1:$((PORT_BASE + 80))"
  job endstate-fleet "127.0.0.1:$((PORT_BASE + 81))"
  for target in ${PROMETHEUS_TARGETS:-}; do job "${target%%=*}" "${target#*=}"; done
}

up() {
  if is_running prometheus; then
    say "prometheus runs already (PID $(process_pid prometheus))"
    return
  fi
  command -v prometheus >/dev/null || fail "no prometheus: run 'make setup'"
  mkdir -p "$data"
  write_config >"$data/prometheus.yml"
  promtool check config "$data/prometheus.yml" >"$data/check.log" 2>&1 || { cat "$data/check.log" >&2 && fail "prometheus' configuration is wrong"; }
  local began=${EPOCHREALTIME/./}
  # A day at most, and little of it: a run that somebody forgot must not fill the disk.
  start_process prometheus prometheus --config.file="$data/prometheus.yml" --storage.tsdb.path="$data/data" --web.listen-address="$address" \
    --storage.tsdb.retention.time=1d --storage.tsdb.retention.size=1GB --query.timeout=30s --log.level=warn
  await_process prometheus 30 curl -sf --max-time 2 "http://$address/-/ready" || fail "prometheus did not start"
  say "prometheus: ready after $(((${EPOCHREALTIME/./} - began) / 1000)) ms (PID $(process_pid prometheus)), http://$address"
}

down() {
  [[ -d $RUN_DIR ]] || return 0
  stop_processes 20 prometheus
  rm -rf "${data:?}"
}

with_lock 7 prometheus
case ${1:-} in
  up) up ;;
  down) down ;;
  *) fail "usage: e2e/kubernetes/prometheus.sh up|down" ;;
esac
