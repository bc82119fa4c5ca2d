#!/usr/bin/env bash
# mutation.sh [--scenario] [NAME...]: takes each check of a namespace out of a copy of the source, one at a time, and wants the tests that hold it to fail.
# What a tenant, or the administrator of a business cluster, says selects nothing outside his namespace (docs/security.md): a check of which no test
# fails when it is gone may go unseen. A mutation whose text isn't found in the source any more fails, too: it has to follow its check.
#
#   NAME        of the mutations below; default: all of them
#   --scenario  plays e2e/scenarios/tenancy_test.sh with real identities on two real API servers against the mutated source instead of the unit
#               tests, and wants it to fail in the named case. Only of those mutations that have such a case (C1-C3), about two minutes each:
#                 hack/mutation.sh --scenario c1 c3 c2-policy
#               Ports: MUTATION_PORT_BASE (default 28000), and 100 below.
#
# The copy is in build/mutation, and is brought up to date by content. Most of what is compiled comes from ccache.
# Prints "ok - CASE" or "not ok - CASE"; exit code 1 if one did not hold. `make trouble` calls it.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=e2e/scenarios/cases.sh
source "$ROOT/e2e/scenarios/cases.sh"
cd "$ROOT"
tree=$ROOT/build/mutation/tree
play=tests
[[ ${1:-} != --scenario ]] || { play=scenario && shift; }
chosen=("$@")

# --- the mutations ---
# mutation NAME PROGRAM CASE FILE TEXT INSTEAD [FILE TEXT INSTEAD]...: PROGRAM's test CASE fails without the TEXT. PROGRAM `scenario`: CASE is one of tenancy_test.sh.
all_mutations() {
  local may_speak="may_speak_of(connection, host->metadata.name_space)" crossing="two namespaces: no claim, hand-over or quarantine crosses them"
  local never="a Host of another namespace is never written to, whatever the caches say"
  local wakes="what a business cluster says wakes nobody outside the namespace of its Cluster"
  local wakes_host="what a business cluster says wakes no Host outside the namespace of its Cluster"
  local indexes=controllers/common/indexes.cpp machine=controllers/machine/loop.cpp enrolment=controllers/enrolment/loop.cpp
  local -a claim=("$indexes" "consumer && consumer->name_space == h.metadata.name_space ?" "consumer ?")
  local -a lookup=("$machine" "hosts_by_uid, path(name_space, former)" "hosts_by_uid, path({}, former)")
  local -a write=(controllers/machine/pass.cpp ": host.metadata.name_space == own.name_space;" ": !own.name_space.empty();")
  local -a speak=("$indexes" "connection.substr(0, connection.find('/')) == name_space" "!name_space.empty()")
  local -a named=("$indexes" "hosts_by_uid, path(connection.substr(0, connection.find('/')), uid)" "hosts_by_uid, path(connection.substr(0, 0), uid)")

  # C1: a free Host is found by a uid that a business cluster names; the lookup, the write, and both.
  mutation c1-lookup loop_tests "$crossing" "${lookup[@]}"
  mutation c1-write plan_tests "$never" "${write[@]}"
  mutation c1 loop_tests "$crossing" "${lookup[@]}" "${write[@]}"
  mutation c1 scenario "b's cluster doesn't claim a's host by a forged assignment" "${lookup[@]}" "${write[@]}"
  # C3: a claim is believed.
  mutation c3 loop_tests "$crossing" "${claim[@]}"
  mutation c3 loop_tests "a claim by a Machine of another namespace leads nowhere" "${claim[@]}"
  mutation c3 scenario "but a claim across namespaces leads nowhere" "${claim[@]}"
  mutation c3-write plan_tests "$never" $indexes "claim && claim->name_space == m.metadata.name_space &&" "claim &&"
  # C2, and C3 at admission: rules of the API server, which no unit test sees.
  mutation c2-policy scenario "the admin of a namespace doesn't take the meta cluster as his" manifests/policies/tenants.yaml \
    "authorizer.group('endstate.dev').resource('clusters').check('join-meta').allowed()" "true"

  # Quarantine that a released assignment lifts.
  mutation quarantine loop_tests "$crossing" $machine "hosts_by_uid, path(key.name_space, a->metadata.name)" "hosts_by_uid, path({}, a->metadata.name)"
  # What is woken: the rules, and where they are asked.
  mutation speaks loop_tests "$wakes" "${speak[@]}"
  mutation speaks loop_tests "$wakes_host" "${speak[@]}"
  mutation names loop_tests "$wakes" "${named[@]}"
  mutation names loop_tests "$wakes_host" "${named[@]}"
  mutation wake-node loop_tests "$wakes" $machine "if ($may_speak) enqueue_consumer" "enqueue_consumer"
  mutation wake-named loop_tests "$wakes" $machine "&& may_speak_of(connection, key.name_space)" ""
  mutation wake-kubelet loop_tests "$wakes_host" $enrolment "hosts_by_name, node))
          if (is_managed(*host) && $may_speak)" "hosts_by_name, node))
          if (is_managed(*host))"
  mutation wake-host loop_tests "$wakes_host" $enrolment "as<reconcile::Node>(after ? after : before)->metadata.name))
    if (is_managed(*host) && $may_speak)" "as<reconcile::Node>(after ? after : before)->metadata.name))
    if (is_managed(*host))"
  # What a set owns, adopts, asks.
  mutation owner loop_tests "what stands in another namespace is no part of a set, whatever owner it names" $indexes \
    "return path(name_space, set_uid)" "return path(name_space.substr(0, 0), set_uid)"
  mutation owner loop_tests "another namespace's revision or MetricSource wakes no set" $indexes \
    "return path(name_space, set_uid)" "return path(name_space.substr(0, 0), set_uid)"
  mutation adoption plan_tests "who may be adopted" controllers/machine_set/adoption.cpp "machine.metadata.name_space == set.metadata.name_space && " ""
  mutation metric-source loop_tests "another namespace's revision or MetricSource wakes no set" controllers/machine_set/loop.cpp \
    "set->metadata.name_space == meta.name_space && asks" "asks"
  # Whose account counts a business cluster's word, and who is named as an endpoint's holder.
  mutation account loop_tests "a business cluster's word counts in its own Cluster's account, whatever it names" controllers/guard/ledger_guard_fleets.cpp \
    "const auto slash = connection.find('/'); slash != std::string_view::npos" "const auto slash = connection.find('/'); slash == 0"
  mutation endpoint plan_tests "an endpoint is held by a Hosted Cluster that is run, and by nobody else; other namespaces aren't named" \
    controllers/cluster/site.cpp "other->metadata.name_space == cluster.metadata.name_space ?" "!other->metadata.name_space.empty() ?"
  # The right to take roles away without a permit ends at endstate-system.
  mutation roles loop_tests "of enrolment: tokens, hand-overs, a host's own role, and the word on a request" controllers/guard/disruptive.cpp \
    "a.verb == Verb::remove && a.name_space == api::system_namespace" "a.verb == Verb::remove"
}

# --- the copy ---
sources() { git ls-files -co --exclude-standard -z | while IFS= read -r -d '' file; do [[ ! -f $file ]] || printf '%s\n' "$file"; done; }
# Times move only where the content does: the copy's own build stays good. What a mutation left behind is undone by it, too.
copy_source() {
  local file
  mkdir -p "$tree"
  sources | sort >"$tree.files"
  while IFS= read -r file; do
    cmp -s "$file" "$tree/$file" || { rm -f "$tree/$file" && cp --parents -P "$file" "$tree/"; }
  done <"$tree.files"
  (cd "$tree" && find . -path ./build -prune -o -path ./.run -prune -o -type f -printf '%P\n' | sort) | comm -23 - "$tree.files" | (cd "$tree" && xargs -r -d '\n' rm -f)
  [[ ! -d .cache ]] || ln -sfn "$ROOT/.cache" "$tree/.cache"
}
# take_out FILE TEXT INSTEAD: the text stands there exactly once, or the mutation is none.
take_out() {
  local file=$tree/$1 content before after
  content=$(<"$file")
  before=${content%%"$2"*} after=${content#*"$2"}
  [[ $before != "$content" && $after != *"$2"* ]] || {
    echo "$1: this text doesn't stand there exactly once: $2"
    return 1
  }
  printf '%s%s%s\n' "$before" "$3" "$after" >"$file"
}
put_back() { # FILE TEXT INSTEAD...: with a time of its own, so that it is compiled again
  while (($# > 0)); do
    cp "$ROOT/$1" "$tree/$1"
    shift 3
  done
}
build() { (cd "$tree" && RUN_DIR='' BUILD_BIN='' NINJA_FLAGS=${NINJA_FLAGS:--j$(nproc)} hack/build.sh release "$@") >"$tree.log" 2>&1 || { tail -n 30 "$tree.log" && return 1; }; }

# --- what is looked at ---
run_case() { "$tree/build/release/$1" -w NoTests --durations no "${2//,/\\,}"; } # a comma parts two names
case_fails() { # PROGRAM CASE: it ran, and an assertion of it did not hold
  local output
  if output=$(run_case "$@" 2>&1); then
    echo "it passes without the check" && return 1
  fi
  tail -n 3 <<<"$output"
  grep -q '^test cases:.* failed' <<<"$output"
}
scenario_fails() { # CASE
  local output
  if output=$(cd "$tree" && RUN_DIR='' BUILD_BIN='' TEST_PORT_BASE=${MUTATION_PORT_BASE:-28000} e2e/scenarios/tenancy_test.sh 2>&1); then
    echo "it passes without the check" && return 1
  fi
  grep -F 'not ok - ' <<<"$output"
  grep -qxF "not ok - $1" <<<"$output"
}

wanted() { # NAME PROGRAM
  [[ ${2/*_tests/tests} == "$play" ]] || return 1
  ((${#chosen[@]} == 0)) || [[ " ${chosen[*]} " == *" $1 "* ]]
}
survives() { # PROGRAM CASE EDITS...: fails unless the case falls
  local program=$1 case_=$2
  shift 2
  while (($# > 0)); do
    take_out "$1" "$2" "$3" || return 1
    shift 3
  done
  if [[ $program == scenario ]]; then build programs && scenario_fails "$case_"; else build "$program" && case_fails "$program" "$case_"; fi
}
played=0
mutation() {
  local name=$1 program=$2 case_=$3
  wanted "$name" "$program" || return 0
  played=$((played + 1))
  check "$name: without it fails: $case_" survives "$program" "$case_" "${@:4}"
  put_back "${@:4}"
}
with_the_checks() { # each case passes as long as nothing is taken out
  local failed=0
  mutation() { ! wanted "$1" "$2" || run_case "$2" "$3" || failed=1; }
  all_mutations
  return "$failed"
}

copy_source
if [[ $play == tests ]]; then
  build loop_tests plan_tests || fail "the copy of the source doesn't compile"
  passes() (with_the_checks) # apart: what it calls a mutation is another thing
  check "with the checks every case passes" passes
fi
all_mutations
((played > 0)) || fail "no such mutation: ${chosen[*]}"
finish
