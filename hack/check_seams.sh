#!/usr/bin/env bash
# check_seams.sh: nobody but a few files speaks to an API server, so that no loop can reach a disruptive call around the actor and the guard.
#
# And: nobody sums up stored times of machines by himself, for the one clock (controllers/common/elapsed.hpp) stands still while their cluster
# can't be seen, and a sum doesn't.
#
# Names each source file that calls Env::call and isn't listed here, and each listed reader that names a writing verb.
# What the actor lets through is the program's predicate: controllers/guard/disruptive.hpp, and its tests.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

# Who writes: the actor (for all loops), the guard's account, the lease, events. The fleet plays hosts, and is no part of the operator.
writers='reconcile/run/(actor|lease|events)\.cpp|controllers/guard/ledger_guard\.cpp|src/fleet/[a-z_]+\.cpp|src/kubectl/[a-z_]+\.cpp|src/agent/[a-z_]+\.cpp'
# Who only reads. Facts may post a SelfSubjectRulesReview, which stores nothing: reconcile/run/review.cpp makes that call and no other.
readers='reconcile/run/(facts|connections|reference|list_items)\.cpp|reconcile/cache/(reflector|caches_sight)\.cpp'
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
complain_each "makes another call than a SelfSubjectRulesReview" < <(grep -nE '&|Resource ' reconcile/run/review.cpp | grep -vE 'Resource reviews\{"authorization\.k8s\.io", "v1", "selfsubjectrulesreviews", |\.resource = &reviews,' || true)
((status == 0)) || fail "an API call goes around the actor"

# Sums of stored times in the plans of machines and sets. Not the preview, which plays a world of its own, nor the pool, which knows no stored ones.
sum='\bnow_?(\.wall)? *-[^>]|(_time|_timestamp|deadline)\b *[-+] |- [*a-z_.>()-]*(_time|_timestamp|deadline)\b|\bnow\b *[<>]=? [^;]*\+'
# What may: by our own clock alone, sight itself, the clock's own inputs, what is only told, and what can't be seen and has no other clock.
may='s\.now\.wall - in\.sight\.since|sight_settle - \(now - std::min\(in\.sight\.since|s\.now\.mono - '
may+='|in\.now\.mono|left\(op\.start_time, op\.deadline - op\.start_time\)|since \+ abandon_after|deletion_timestamp \+ abandon_after|\.deadline = '
may+='|op\.deadline \+= (elapsed\(|drain_timeout\()'
may+='|change->start_time > ask_editor_for|\.duration = last\.end_time - last\.start_time|pause = s_\.now - paused->last_transition_time'
mapfile -t planned < <(sources | grep -E '^controllers/machine(_set)?/' | grep -vE '/(preview|host_pool)')
((${#planned[@]} > 20)) || fail "no plans of machines found"
complain_each "sums up stored times: use elapsed() of controllers/common/elapsed.hpp (hack/check_seams.sh)" < <(grep -nE "$sum" "${planned[@]}" | grep -vE "^[^:]*:[0-9]+: *//|$may" || true)
((status == 0)) || fail "a clock runs on while nothing can be seen"
