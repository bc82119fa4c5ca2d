#!/usr/bin/env bash
# check_seams.sh: nobody but a few files speaks to an API server, so that no loop can reach a disruptive call around the actor and the guard.
#
# Names each source file that calls Env::call and isn't listed here, and each listed reader that names a writing verb.
# What the actor lets through is the program's predicate: controllers/guard/disruptive.hpp, and its tests.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

# Who writes: the actor (for all loops), the guard's account, the lease, events. The fleet plays hosts, and is no part of the operator.
writers='reconcile/run/(actor|lease|events)\.cpp|controllers/guard/ledger_guard\.cpp|src/fleet/[a-z_]+\.cpp|src/kubectl/[a-z_]+\.cpp|src/agent/[a-z_]+\.cpp'
# Who only reads.
readers='reconcile/run/(facts|connections|reference)\.cpp|reconcile/cache/reflector\.cpp'
# What a seam is made of.
seams='reconcile/base/env\.hpp|reconcile/kube/curl_env\.[ch]pp|reconcile/sim/[a-z_]+\.[ch]pp'

status=0
sources() { git ls-files --cached --others --exclude-standard -- 'apis/*.[ch]pp' 'controllers/*.[ch]pp' 'reconcile/*.[ch]pp' 'src/*.[ch]pp' | grep -vE '_test\.cpp$|/testing\.[ch]pp$'; }
mapfile -t files < <(sources)
((${#files[@]} > 100)) || fail "no sources found"
mapfile -t callers < <(grep -lE '(\.|->)[[:space:]]*call[[:space:]]*\(' "${files[@]}")
((${#callers[@]} > 4)) || fail "no caller of Env::call found: has its name changed?"
complain_each "calls Env::call, and isn't one of the few that may (hack/check_seams.sh)" < <(printf '%s\n' "${callers[@]}" | grep -vxE "$writers|$readers|$seams" || true)
mapfile -t reading < <(sources | grep -xE "$readers")
complain_each "only reads, and names a verb that writes" < <(grep -lE 'Verb::(create|apply|update|merge_patch|json_patch|remove)\b' "${reading[@]}" || true)
((status == 0)) || fail "an API call goes around the actor"
