#!/usr/bin/env bash
# test.sh: unit tests, then integration tests against a real API server of their own (`make test`).
#
#   TEST_STAGES      of "unit integration scenarios", in that order (default: all)
#   TEST_PRESET      the CMake preset whose unit tests run (default release); integration and scenarios always take release
#   TEST_PORT_BASE   where their ports begin (default 17000; 1000 of them)
#   TEST_RESULTS     a file that gets a line "<passed> <failed> <what>" a stage: how .ci/run counts
#
# Integration tests (e2e/conformance, Catch2) share one control plane in .run/test at 17000, which is stopped again however this ends; they get its
# administrator in ENDSTATE_TEST_KUBECONFIG, with CRDs, RBAC and policies installed. Scenarios (e2e/scenarios/*_test.sh) start what they need themselves,
# two at a time.
# With ENDSTATE_KUBECONFIG the integration tests run on that cluster, and scenarios, which stop and wipe theirs, don't run at all.
set -euo pipefail
export RUN_DIR=.run/test PORT_BASE=${TEST_PORT_BASE:-17000}
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
TEST_STAGES=${TEST_STAGES:-unit integration scenarios}
TEST_PRESET=${TEST_PRESET:-release}
results=${TEST_RESULTS:-$(mktemp)}

# Catch2 2 ends with "All tests passed (9 assertions in 3 test cases)" or "test cases: 3 | 2 passed | 1 failed"; a binary that died has neither.
count_catch() {
  awk '
    /^All tests passed \(/ { for (i = 1; i < NF; i++) if ($(i + 1) == "test" && $(i + 2) ~ /^case/) passed += $i }
    /^test cases: / { for (i = 1; i <= NF; i++) { if ($i == "passed") passed += $(i - 1); if ($i == "failed") failed += $(i - 1) } }
    END { print passed + 0, failed + 0 }' "$1"
}

# record WHAT STATUS PASSED FAILED: a non-zero status counts as a failure even where no case does (a crash), and a stage without a case is one too.
record() {
  local what=$1 status=$2 passed=$3 failed=$4
  if ((status != 0 && failed == 0)); then
    failed=1
  elif ((passed + failed == 0)); then
    warn "$what: not one test case ran"
    failed=1
  fi
  printf '%s %s %s\n' "$passed" "$failed" "$what" >>"$results"
  say "$what: $passed passed, $failed failed"
  ((failed == 0))
}

run_unit() {
  local status=0 log
  hack/build.sh "$TEST_PRESET" unit_tests
  log=build/$TEST_PRESET/Testing/Temporary/LastTest.log
  rm -f "$log"
  ctest --preset "$TEST_PRESET" --parallel "$(nproc)" || status=$?
  [[ -f $log ]] || fail "ctest ran nothing"
  # shellcheck disable=SC2046
  record "unit tests ($TEST_PRESET)" "$status" $(count_catch "$log")
}

run_integration() {
  local status=0 log=$RUN_DIR/integration.log binary=build/release/integration_tests
  hack/build.sh release
  [[ -x $binary ]] || fail "no $binary: e2e/conformance has no test"
  if [[ -n ${ENDSTATE_KUBECONFIG:-} ]]; then
    use_foreign_cluster
  else
    e2e/kubernetes/down.sh # what an earlier, broken run left
    trap 'e2e/kubernetes/down.sh' EXIT
    COMPONENTS="etcd apiserver controller-manager" e2e/kubernetes/up.sh
  fi
  hack/install.sh
  ENDSTATE_TEST_KUBECONFIG=$RUN_DIR/kubeconfig timeout 1500 "$binary" --durations yes 2>&1 | tee "$log" || status=$?
  # shellcheck disable=SC2046
  record "integration tests" "$status" $(count_catch "$log")
}

# Two at a time, for they wait more than they work; the longest first, or it would be alone at the end. xargs ends with 123 if one failed.
run_scenarios() {
  local -a scripts=(e2e/scenarios/rollouts_test.sh) # the longest
  if [[ -n ${ENDSTATE_KUBECONFIG:-} ]]; then
    warn "scenarios need a control plane of their own: not run with ENDSTATE_KUBECONFIG"
    return
  fi
  mkdir -p "$RUN_DIR"
  mapfile -t -O 1 scripts < <(printf '%s\n' e2e/scenarios/*_test.sh | grep -vxF "${scripts[0]}")
  printf '%s\0' "${scripts[@]}" | xargs -0 -n 1 -P 2 --process-slot-var=TEST_SLOT "$0" --scenario
}

# Prints "ok - <case>" or "not ok - <case>" (e2e/scenarios/cases.sh), all of it when it has ended: two at once would tell in each other's words.
run_scenario() {
  local script=$1 name log status=0 began=$SECONDS
  name=$(basename "$script" .sh)
  log=$RUN_DIR/$name.log
  say "scenario $name began"
  TEST_PORT_BASE=$((PORT_BASE + 500 * TEST_SLOT)) timeout 1200 "$script" >"$log" 2>&1 || status=$?
  with_lock 9 output
  say "scenario $name, $((SECONDS - began)) s:"
  cat "$log"
  record "scenario $name" "$status" "$(grep -c '^ok - ' "$log" || true)" "$(grep -c '^not ok - ' "$log" || true)"
}

if [[ ${1:-} == --scenario ]]; then
  run_scenario "$2"
  exit
fi
if [[ ${1:-} == --stage ]]; then
  "run_$2"
  exit
fi
failed=()
export TEST_RESULTS=$results
for stage in $TEST_STAGES; do
  # A process of its own: `set -e` is off inside of an `if`, and the trap of one stage must not wait for the next.
  "$0" --stage "$stage" || failed+=("$stage")
done
((${#failed[@]} == 0)) || fail "failed: ${failed[*]}"
