#!/usr/bin/env bash
# generate.sh [--check]: writes all generated files, or (--check) names those that are stale and fails.
#
#   apis/v1alpha1/*.hpp                   -> manifests/crds/*.yaml, docs/api.md (by endstate-generate)
#   manifests/{crds,rbac,policies,alerts}/*.yaml, manifests/dashboards/*.json
#                                         -> charts/endstate/files/ (verbatim copies: Helm reads no file outside of its chart)
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
generator=$BUILD_BIN/endstate-generate
[[ -x $generator ]] || fail "no $generator: run 'make build'"

# The fleet simulator is no part of an installation, and Helm makes the namespace.
in_chart() {
  find manifests/crds manifests/rbac manifests/policies manifests/alerts manifests/dashboards -maxdepth 1 \( -name '*.yaml' -o -name '*.json' \) \
    ! -path manifests/rbac/fleet.yaml ! -path manifests/rbac/namespace.yaml
}
copy_into() {
  local file
  in_chart | while IFS= read -r file; do install -D -m 644 "$file" "$1/${file#manifests/}"; done
}

if [[ ${1:-} == --check ]]; then
  status=0
  "$generator" --check || status=1
  wanted=$(mktemp -d)
  trap 'rm -rf "$wanted"' EXIT
  copy_into "$wanted"
  diff -rq "$wanted" charts/endstate/files || status=1
  ((status == 0)) || fail "generated files are stale: run 'make generate' and commit what it writes"
else
  "$generator"
  rm -rf charts/endstate/files
  copy_into charts/endstate/files
fi
