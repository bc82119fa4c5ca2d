# shellcheck shell=bash
# What scenarios (NAME_test.sh) share: cases that are counted, one line each. To be sourced after hack/lib.sh.
#
#   check "the case" command...           passes if the command succeeds
#   refuses "the case" "text" command...  passes if the command fails and says that text
#   finish                                ends the script: non-zero if a case failed

cases_failed=0
cases_output=$(mktemp)

report() {
  if (($1 == 0)); then
    printf 'ok - %s\n' "$2"
  else
    cases_failed=$((cases_failed + 1))
    printf 'not ok - %s\n' "$2"
    sed 's/^/    /' "$cases_output" | tail -n 20
  fi
}
check() {
  local name=$1 status=0
  shift
  "$@" >"$cases_output" 2>&1 || status=1
  report "$status" "$name"
}
refuses() {
  local name=$1 text=$2 status=1
  shift 2
  if "$@" >"$cases_output" 2>&1; then
    printf '(accepted, but should have been refused with: %s)\n' "$text" >>"$cases_output"
  elif grep -qF -- "$text" "$cases_output"; then
    status=0
  else
    printf '(refused, but without the text: %s)\n' "$text" >>"$cases_output"
  fi
  report "$status" "$name"
}
finish() {
  rm -f "$cases_output"
  ((cases_failed == 0)) || exit 1
  exit 0
}
