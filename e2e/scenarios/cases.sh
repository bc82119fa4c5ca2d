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
  local case_=$1 status_=0 # names that no case uses: its functions see these
  shift
  "$@" >"$cases_output" 2>&1 || status_=1
  report "$status_" "$case_"
}
refuses() {
  local case_=$1 text_=$2 status_=1
  shift 2
  if "$@" >"$cases_output" 2>&1; then
    printf '(accepted, but should have been refused with: %s)\n' "$text_" >>"$cases_output"
  elif grep -qF -- "$text_" "$cases_output"; then
    status_=0
  else
    printf '(refused, but without the text: %s)\n' "$text_" >>"$cases_output"
  fi
  report "$status_" "$case_"
}
finish() {
  rm -f "$cases_output"
  ((cases_failed == 0)) || exit 1
  exit 0
}
