#!/usr/bin/env bash
# lint.sh [STAGE...]: everything that can be said about the sources without running them; all stages run, then it fails if one did.
#
# Stages: format shell docs seams generated chart alerts tidy.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
(($# > 0)) || set -- format shell docs seams generated chart alerts tidy

lint_format() { hack/format.sh --check; }

lint_shell() {
  local -a scripts
  mapfile -t scripts < <(git grep --untracked -lI -E '^#!/usr/bin/env bash|^# shellcheck shell=bash' -- hack e2e .ci)
  ((${#scripts[@]} > 0)) || fail "no scripts found"
  shellcheck -x "${scripts[@]}"
}

lint_docs() {
  hack/check_runbook.sh
  hack/check_docs.sh
}

lint_seams() { hack/check_seams.sh; }

lint_generated() {
  hack/build.sh release endstate-generate
  hack/generate.sh --check
}

helm_binary() {
  local own
  own=$(kube_bin_dir)/helm
  if [[ -x $own ]]; then printf '%s' "$own"; else command -v helm; fi
}

# Rendered with all options on as well: a template that nobody renders is a template that nobody tested.
lint_chart() {
  local helm values
  e2e/kubernetes/build.sh helm
  helm=$(helm_binary) || fail "no helm: run 'make setup'"
  "$helm" lint --strict charts/endstate --namespace endstate-system
  for values in charts/endstate/ci/*.yaml; do
    "$helm" lint --strict charts/endstate --namespace endstate-system --values "$values" >/dev/null
    "$helm" template endstate charts/endstate --namespace endstate-system --values "$values" >/dev/null
  done
}

lint_alerts() { hack/check_alerts.sh; }

lint_tidy() { hack/tidy.sh; }

if [[ $1 == --stage ]]; then
  "lint_$2"
  exit
fi
failed=()
for stage in "$@"; do
  began=$SECONDS
  # A process of its own: `set -e` is off inside of an `if`.
  if "$0" --stage "$stage"; then
    say "lint $stage: ok, $((SECONDS - began)) s"
  else
    say "lint $stage: FAILED, $((SECONDS - began)) s"
    failed+=("$stage")
  fi
done
((${#failed[@]} == 0)) || fail "lint failed: ${failed[*]}"
