#!/usr/bin/env bash
# check_runbook.sh: every reason that endstate reports has a page, so that a link can be built from it: docs/runbook/<Reason>.md.
#
# The reasons are the constants of `namespace reason` in apis/v1alpha1/*.hpp, and those of the agent's package
# reports in src/agent/reasons.hpp. It names each reason without a page, each page without a reason,
# each page that the index doesn't list, and each reason that the sources write out and that isn't a constant there. The same of alerts:
# manifests/alerts/endstate.yaml and docs/runbook/alerts/<Alert>.md, to which its runbook_url must lead.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=hack/promql.sh
source "$ROOT/hack/promql.sh"
cd "$ROOT"
names=apis/v1alpha1/names.hpp pages=docs/runbook

reasons_of() { sed -n '/^namespace reason {/,/^}/ s/^inline constexpr .* = "\([A-Za-z]*\)";.*/\1/p' "$1" | grep . || fail "no reasons found in $1: has its form changed?"; }
reasons=$({ for file in $(git grep -l --untracked '^namespace reason {' -- 'apis/v1alpha1/*.hpp') src/agent/reasons.hpp; do reasons_of "$file"; done; } | sort)
written=$(find "$pages" -maxdepth 1 -name '*.md' ! -name README.md -printf '%f\n' | sed 's/\.md$//' | sort)

status=0
complain_each "two constants of $names are the same reason" < <(uniq -d <<<"$reasons")
reasons=$(uniq <<<"$reasons")
complain_each "reason without a page in $pages" < <(comm -23 <(printf '%s\n' "$reasons") <(printf '%s' "${written:+$written$'\n'}"))
complain_each "page in $pages without a reason in $names" < <(comm -13 <(printf '%s\n' "$reasons") <(printf '%s' "${written:+$written$'\n'}"))
complain_each "page that $pages/README.md doesn't list" < <(comm -13 <(grep -oE '\]\([A-Za-z]+\.md\)' "$pages/README.md" | sed 's/^](\(.*\)\.md)$/\1/' | sort -u) <(printf '%s' "${written:+$written$'\n'}"))
complain_each "page whose first line isn't '# <its reason>'" < <(for page in $written; do [[ $(head -n 1 "$pages/$page.md") == "# $page" ]] || printf '%s\n' "$page"; done)
# Written out instead of named by its constant, a reason can be one that nobody described. A Warning's are told by `warn(` or a `true` before them.
complain_each "reason in the sources that $names doesn't have" < <(
  git grep -hE --untracked '"[A-Z][A-Za-z]+"' -- 'controllers/*.cpp' 'controllers/*.hpp' ':!*_test.cpp' ':!*testing*' |
    grep -oE '(\b[a-z_.]*reason *= *(Text *[({] *)?|warn\(|\btrue, )"[A-Z][A-Za-z]+"' | sed 's/.*"\(.*\)"$/\1/' | sort -u | comm -13 <(printf '%s\n' "$reasons") -
)

# --- alerts ---
alert_pages=docs/runbook/alerts
alerts=$(alert_names | sort)
[[ -n $alerts ]] || fail "no alerts found in $alert_rules: has its form changed?"
written=$(find "$alert_pages" -name '*.md' ! -name README.md -printf '%f\n' | sed 's/\.md$//' | sort)
complain_each "two alerts have one name" < <(uniq -d <<<"$alerts")
complain_each "alert without a page in $alert_pages" < <(comm -23 <(printf '%s\n' "$alerts") <(printf '%s\n' "$written"))
complain_each "page in $alert_pages without an alert" < <(comm -13 <(printf '%s\n' "$alerts") <(printf '%s\n' "$written"))
complain_each "page that $alert_pages/README.md doesn't list" < <(comm -13 <(grep -oE '\]\([A-Za-z]+\.md\)' "$alert_pages/README.md" | sed 's/^](\(.*\)\.md)$/\1/' | sort -u) <(printf '%s\n' "$written"))
complain_each "page whose first line isn't '# <its alert>'" < <(for page in $written; do [[ $(head -n 1 "$alert_pages/$page.md") == "# $page" ]] || printf '%s\n' "$page"; done)
complain_each "alert whose runbook_url doesn't lead to its page" < <(
  awk '/- alert:/ { alert = $3 } /runbook_url:/ { print alert, $2 }' "$alert_rules" | while read -r alert url; do [[ $url == "$alert_pages/$alert.md" ]] || printf '%s\n' "$alert"; done
)
complain_each "alert without severity, summary, description or runbook_url" < <(
  awk '/- alert:/ { if (alert && seen != 4) print alert; alert = $3; seen = 0 } /severity: (critical|warning)|^ *summary: .|^ *description: .|^ *runbook_url: ./ { seen++ } END { if (seen != 4) print alert }' "$alert_rules"
)
((status == 0)) || fail "the runbook and $names don't agree"
