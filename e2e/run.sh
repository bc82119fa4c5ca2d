#!/usr/bin/env bash
# run.sh: the long stories, one lane after the other (`make e2e`). Each lane is e2e/LANE/run.sh, starts what it needs itself, and ends non-zero if its
# story did not hold.
#
#   E2E_LANES   which, blank-separated (default: rollouts hosted; hosted needs root)
#   E2E_HOSTS   how many simulated hosts (default 1000)
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../hack/lib.sh"
cd "$ROOT"
unset RUN_DIR PORT_BASE # each lane has its own
failed=()
for lane in ${E2E_LANES:-rollouts hosted}; do
  [[ -x e2e/$lane/run.sh ]] || fail "E2E_LANES: there is no lane $lane (no e2e/$lane/run.sh)"
  say "=== lane $lane"
  "e2e/$lane/run.sh" || failed+=("$lane")
done
((${#failed[@]} == 0)) || fail "failed: ${failed[*]}"
