#!/usr/bin/env bash
# build.sh [PRESET [TARGET...]]: configures (once) and compiles; programs of the preset `release` (the default) go to build/bin.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
preset=${1:-release}
(($# == 0)) || shift

mkdir -p build
exec 9>"build/.$preset.lock" # two builds in one folder corrupt each other
flock -w 1800 9 || fail "another build of $preset doesn't end"
[[ -f build/$preset/build.ninja ]] || with_progress "configuring ($preset)" "build/.$preset-configure.log" cmake --preset "$preset"
# shellcheck disable=SC2086 # NINJA_FLAGS is a list, for instance "-j1"
if ! ninja -C "build/$preset" -n ${NINJA_FLAGS:-} "$@" | grep -q 'no work to do'; then
  began=$SECONDS
  # shellcheck disable=SC2086
  ninja -C "build/$preset" ${NINJA_FLAGS:-} "$@" 9>&-
  say "built ($preset): $((SECONDS - began)) s"
fi
