#!/usr/bin/env bash
# check_docs.sh: what the documents point at is there. In every Markdown file that git knows or could know:
#
#   links      relative ones lead to a file, with #anchor to a heading of it
#   paths      `hack/up.sh` in backquotes is a file or folder of this repository, also with wildcards or {braces} (generated files count)
#   targets    `make demo` names a target of the Makefile
# shellcheck disable=SC2016 # Markdown's backquotes
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
mapfile -d '' -t pages < <(git ls-files -z --cached --others --exclude-standard -- '*.md')
status=0
complain() {
  printf '%s\n' "$*" >&2
  status=1
}

# Code blocks hold no links, and brackets that look like some.
without_code() { awk '/^ *```/ { code = !code; next } !code' "$1"; }

# As GitHub makes them: lower case, blanks to hyphens, everything but letters, digits, hyphens and underscores dropped.
anchors() {
  without_code "$1" | sed -nE 's/^#{1,6} +(.*)$/\1/p' | sed -E 's/\[([^]]*)\]\([^)]*\)/\1/g' | tr '[:upper:]' '[:lower:]' | sed -E 's/[^a-z0-9 _-]//g; s/ /-/g'
}

check_links() {
  local page=$1 link file anchor
  while IFS= read -r link; do
    [[ $link != *://* && $link != mailto:* ]] || continue
    file=${link%%#*} anchor=
    [[ $link != *'#'* ]] || anchor=${link#*#}
    if [[ -z $file ]]; then file=$page; else file=$(dirname "$page")/$file; fi
    if [[ ! -e $file ]]; then
      complain "$page: no such file: $link"
    elif [[ -n $anchor ]] && ! anchors "$file" | grep -qxF -- "$anchor"; then
      complain "$page: no such heading: $link"
    fi
  done < <(without_code "$page" | sed 's/`[^`]*`//g' | grep -oE '\]\([^) ]+\)' | sed 's/^](//; s/)$//')
}

check_paths() {
  local page=$1 path one
  while IFS= read -r path; do
    eval "set -- $path" # braces and wildcards are the shell's; the pattern below lets nothing else in
    for one; do [[ -e $one ]] || complain "$page: no such path: $one"; done
  done < <(grep -oE '`(apis|charts|controllers|docs|e2e|hack|manifests|reconcile|src|\.ci)/[][A-Za-z0-9_.,/*{}-]*`' "$page" | tr -d '`' | sort -u)
}

check_targets() {
  local page=$1 target
  while IFS= read -r target; do
    grep -qE "^$target:" Makefile || complain "$page: the Makefile has no target $target"
  done < <(grep -oE '(^|`|[A-Z_]+=[^ ]+ )make [a-z0-9]+' "$page" | sed 's/.*make //' | sort -u)
}

for page in "${pages[@]}"; do
  [[ -f $page ]] || continue # deleted, and not yet committed
  check_links "$page"
  check_paths "$page"
  check_targets "$page"
done
((status == 0)) || fail "documents point at what isn't there"
