#!/usr/bin/env bash
# token_refresher.sh: keeps the ServiceAccount tokens of this run's operator and fleet fresh, as a kubelet does for its pods; runs until stopped.
#
#   RUN_DIR, LIFETIME (seconds a token lives, default 3600), --once (make them now and end)
#
# The operator's token is bound to a Pod object: the API server then puts that pod's name into every request's identity (so that writes can be
# fenced by the Lease's holder), and the token dies with the object. Renewed after a third of its life: two renewals may fail unnoticed.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
LIFETIME=${LIFETIME:-3600}

# issue FILE SERVICE-ACCOUNT [kubectl flags]: replaced by rename, so that a reader never sees half a token.
issue() {
  local file=$RUN_DIR/$1 account=$2
  shift 2
  (umask 077 && kubectl_admin create token "$account" --namespace endstate-system --duration "${LIFETIME}s" --request-timeout 20s "$@" >"$file.part") &&
    mv -f "$file.part" "$file"
}
issue_all() {
  issue operator.token endstate-operator --bound-object-kind Pod --bound-object-name endstate-operator-local && issue fleet.token endstate-fleet
}

if [[ ${1:-} == --once ]]; then
  issue_all
  exit
fi
trap 'kill "${sleeper:-}" 2>/dev/null; exit 0' TERM INT
pause() {
  sleep "$1" &
  sleeper=$!
  wait "$sleeper" || true
}
pause $((LIFETIME / 3)) # the first ones are there: up.sh made them
while :; do
  if issue_all; then
    say "tokens renewed for $LIFETIME s"
    pause $((LIFETIME / 3))
  else
    warn "tokens could not be renewed; again in 10 s"
    pause 10
  fi
done
