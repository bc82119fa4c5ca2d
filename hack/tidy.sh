#!/usr/bin/env bash
# tidy.sh [FILE...]: clang-tidy over all sources of the release build but tests, or these. What was clean and has not changed since isn't looked at again.
#
# It takes ten times as long as a compile, so a clean result is remembered in .cache/tidy by the hash of all it depends on: the file, the headers
# of this repository that it includes (the compiler's own list, from ninja), the system's headers by their modification times, and .clang-tidy.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
build=build/release
cache=.cache/tidy
mkdir -p "$cache"

if [[ ${1:-} == --one ]]; then # --one FILE KEY: called below, in parallel
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  if clang-tidy-14 --quiet -p "$build" "$2" >"$log" 2>&1 && ! grep -qE 'warning:|error:' "$log"; then
    [[ -z $3 ]] || : >"$cache/$3"
    exit 0
  fi
  grep -vE '^[0-9]+ warnings? |^Suppressed |^Use -header-filter' "$log" || true
  exit 1
fi

command -v clang-tidy-14 >/dev/null || fail "no clang-tidy-14: run 'make setup'"
[[ -f $build/compile_commands.json ]] || cmake --preset release >/dev/null
# CMake's own configuration of the day: files added since the last build are in.
ninja -C "$build" build.ninja >/dev/null

declare -A depends=()
if [[ -f $build/.ninja_deps ]]; then
  source_file=
  while read -r path _; do
    if [[ $path == *: ]]; then
      source_file=
    elif [[ -n $path ]]; then
      [[ $path == /* ]] || path=$(realpath -ms --relative-to=. "$build/$path")
      [[ $path != "$ROOT"/* ]] || path=${path#"$ROOT"/}
      [[ -n $source_file ]] || source_file=$path # the compiler names the source first
      depends[$source_file]+=$path$'\n'
    fi
  done < <(ninja -C "$build" -t deps)
fi

# key FILE: empty if it was never compiled, and so its headers aren't known.
key() {
  [[ -n ${depends[$1]:-} ]] || return 0
  {
    cat .clang-tidy
    # Flags decide what is seen, too.
    jq -r --arg file "$ROOT/$1" '.[] | select(.file == $file) | .command' "$build/compile_commands.json"
    grep '^/' <<<"${depends[$1]}" | xargs -r stat -c '%n %Y'
    grep '^[^/]' <<<"${depends[$1]}" | xargs -r sha256sum
  } 2>/dev/null | sha256sum | cut -d ' ' -f 1
}

# Tests are left out: Catch2's macros make the analyzer slow, and the compiler's warnings and the sanitizers look at them.
(($# > 0)) || mapfile -t all < <(jq -r '.[].file' "$build/compile_commands.json" | grep -v '_test\.cpp$' | sort -u)
(($# == 0)) || all=("$@")
todo=()
for file in "${all[@]}"; do
  file=${file#"$ROOT"/}
  [[ -f $file ]] || continue
  hash=$(key "$file")
  [[ -n $hash && -e $cache/$hash ]] || todo+=("$file" "$hash")
done
((${#todo[@]} > 0)) || exit 0
say "clang-tidy: $((${#todo[@]} / 2)) of ${#all[@]} files"
printf '%s\0' "${todo[@]}" | xargs -0 -n 2 -P "$(nproc)" "$0" --one || fail "clang-tidy found something"
find "$cache" -type f -mtime +30 -delete
