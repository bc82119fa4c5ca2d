#!/usr/bin/env bash
# check_runbook.sh: every reason that endstate reports has a page, so that a link can be built from it: docs/runbook/<Reason>.md.
#
# The reasons are the constants of `namespace reason` in apis/v1alpha1/names.hpp. It names each reason without a page, each page without a reason,
# each page that the index doesn't list, and each reason that the sources write out and that isn't a constant there.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
names=apis/v1alpha1/names.hpp pages=docs/runbook

reasons=$(sed -n '/^namespace reason {/,/^}/ s/^inline constexpr .* = "\([A-Za-z]*\)";.*/\1/p' "$names" | sort)
[[ -n $reasons ]] || fail "no reasons found in $names: has its form changed?"
written=$(find "$pages" -maxdepth 1 -name '*.md' ! -name README.md -printf '%f\n' | sed 's/\.md$//' | sort)

status=0
complain() { # complain TEXT < names
  local name
  while IFS= read -r name; do
    printf '%s: %s\n' "$1" "$name" >&2
    status=1
  done
}
complain "two constants of $names are the same reason" < <(uniq -d <<<"$reasons")
reasons=$(uniq <<<"$reasons")
complain "reason without a page in $pages" < <(comm -23 <(printf '%s\n' "$reasons") <(printf '%s' "${written:+$written$'\n'}"))
complain "page in $pages without a reason in $names" < <(comm -13 <(printf '%s\n' "$reasons") <(printf '%s' "${written:+$written$'\n'}"))
complain "page that $pages/README.md doesn't list" < <(comm -13 <(grep -oE '\]\([A-Za-z]+\.md\)' "$pages/README.md" | sed 's/^](\(.*\)\.md)$/\1/' | sort -u) <(printf '%s' "${written:+$written$'\n'}"))
complain "page whose first line isn't '# <its reason>'" < <(for page in $written; do [[ $(head -n 1 "$pages/$page.md") == "# $page" ]] || printf '%s\n' "$page"; done)
# Written out instead of named by its constant, a reason can be one that nobody described. A Warning's are told by `warn(` or a `true` before them.
complain "reason in the sources that $names doesn't have" < <(
  git grep -hE --untracked '"[A-Z][A-Za-z]+"' -- 'controllers/*.cpp' 'controllers/*.hpp' ':!*_test.cpp' ':!*testing*' |
    grep -oE '(\b[a-z_.]*reason *= *(Text *[({] *)?|warn\(|\btrue, )"[A-Z][A-Za-z]+"' | sed 's/.*"\(.*\)"$/\1/' | sort -u | comm -13 <(printf '%s\n' "$reasons") -
)
((status == 0)) || fail "the runbook and $names don't agree"
