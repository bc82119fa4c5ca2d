#!/usr/bin/env bash
# format.sh [--check]: the house format (.clang-format) on every C++ file that git knows or could know; --check only names what differs.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
# A later clang-format formats differently: Debian 12's is the one.
formatter=clang-format-14
command -v "$formatter" >/dev/null || fail "no $formatter: run 'make setup'"
mapfile -d '' -t files < <(git ls-files -z --cached --others --exclude-standard -- '*.hpp' '*.cpp' | while IFS= read -r -d '' file; do
  [[ ! -f $file ]] || printf '%s\0' "$file" # deleted, and not yet committed
done)
((${#files[@]} > 0)) || exit 0
if [[ ${1:-} == --check ]]; then
  printf '%s\0' "${files[@]}" | xargs -0 "$formatter" --dry-run --Werror || fail "not in the house format: run 'make format'"
else
  printf '%s\0' "${files[@]}" | xargs -0 "$formatter" -i
fi
