#!/usr/bin/env bash
# audit_writes.sh [SINCE [UNTIL]]: how many API writes each identity made, counted from the API server's audit log (and its rotated parts).
#
# SINCE and UNTIL are RFC 3339 UTC with microseconds, as the log has them: date -u +%FT%T.%6NZ. One line an identity, by tabs:
#   USER  WRITES  EVENTS  LEASES  MACHINES
# WRITES leaves out events and leases, which have their own columns; refused writes count, they cost as much. MACHINES: how many different
# HostAssignments it wrote, that is, on how many hosts it changed something.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"

[[ -s $RUN_DIR/audit.log ]] || fail "no audit log in $RUN_DIR (on a cluster of your own there is none to count from)"
shopt -s nullglob
# Names of rotated parts sort by time, and the current one is the newest. Dry runs write nothing.
cat "$RUN_DIR"/audit-*.log "$RUN_DIR/audit.log" | jq -rn --arg since "${1:-}" --arg until "${2:-9999}" '
  reduce (inputs
    | select(.stageTimestamp >= $since and .stageTimestamp < $until)
    | select(.requestURI | contains("dryRun=All") | not)
    | {user: (.user.username | sub("^system:serviceaccount:"; "")), resource: .objectRef.resource, name: .objectRef.name}) as $w ({};
      .[$w.user].user = $w.user
    | if   $w.resource == "events" then .[$w.user].events += 1
      elif $w.resource == "leases" then .[$w.user].leases += 1
      else .[$w.user].writes += 1 end
    | if $w.resource == "hostassignments" and $w.name then .[$w.user].machines[$w.name] = 1 else . end)
  | [.[]] | sort_by(.user)[]
  | [.user, .writes // 0, .events // 0, .leases // 0, (.machines // {} | length)] | @tsv'
