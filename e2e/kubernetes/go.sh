#!/usr/bin/env bash
# Prints the path of a Go command that can build what is pinned here, after getting one if there is none.
#
# The version is said once, in the toolchain line of etcd/go.mod (etcd asks for the newest Go of the three modules). A Go that is new enough
# and in the PATH is used as it is. Otherwise any Go >= 1.16 will do to fetch the right one: Debian 12 has only 1.19, which doesn't know
# about toolchains, but to the module proxy a toolchain is a module like any other (golang.org/toolchain, https://go.dev/ref/mod#toolchain),
# checked against the checksum database by the ordinary `go mod download`. What newer Go commands do after that is done here: module zips
# hold no executable bits and no go.mod below their root, so those are named _go.mod there (cmd/go/internal/toolchain/select.go).
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"

wanted=$(awk '$1 == "toolchain" { sub(/^go/, "", $2); print $2 }' "$ROOT/e2e/kubernetes/etcd/go.mod")
least=$(awk '$1 == "go" { print $2 }' "$ROOT/e2e/kubernetes/etcd/go.mod")
[[ -n $wanted && -n $least ]] || fail "e2e/kubernetes/etcd/go.mod has no go and toolchain lines"

# GOTOOLCHAIN=local: the version of this very command, not of one that it would fetch.
version_of() { GOTOOLCHAIN=local "$1" version 2>/dev/null | awk '{ sub(/^go/, "", $3); print $3 }'; }
at_least() { [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]; }

find_any() {
  local candidate version
  for candidate in "$(command -v go || true)" /usr/local/go/bin/go /usr/lib/go-*/bin/go; do
    [[ -x $candidate ]] || continue
    version=$(version_of "$candidate")
    if [[ -n $version ]] && at_least "$version" "$1"; then
      printf '%s' "$candidate"
      return 0
    fi
  done
  return 1
}

if go=$(find_any "$least"); then
  printf '%s\n' "$go"
  exit 0
fi

own=$ROOT/.cache/go/$wanted
if [[ -x $own/bin/go && $(version_of "$own/bin/go") == "$wanted" ]]; then
  printf '%s\n' "$own/bin/go"
  exit 0
fi

any=$(find_any 1.16) || fail "no Go found: install one (Debian: apt-get install golang-go; 'make setup' does), or give ready binaries by ENDSTATE_KUBE_BIN_DIR"
case $(uname -m) in
  x86_64) arch=amd64 ;;
  aarch64) arch=arm64 ;;
  *) fail "no Go toolchain is published for $(uname -m): install Go $wanted or newer, or give ready binaries by ENDSTATE_KUBE_BIN_DIR" ;;
esac
say "Go $least or newer is needed, $any is $(version_of "$any"): getting Go $wanted from the module proxy" >&2
module=golang.org/toolchain@v0.0.1-go$wanted.linux-$arch
mkdir -p "$ROOT/.cache/go"
# Outside of any module, and into the module cache that the user has anyway.
downloaded=$(cd "$ROOT/.cache/go" && GO111MODULE=on GOTOOLCHAIN=local GOFLAGS='' "$any" mod download -json "$module") ||
  fail "Go $wanted can't be fetched from the module proxy ($(cd / && "$any" env GOPROXY)): $downloaded"
directory=$(jq -r .Dir <<<"$downloaded")
rm -rf "$own" "$own.part"
cp -r "$directory" "$own.part"
chmod -R u+w "$own.part"
chmod +x "$own.part"/bin/* "$own.part"/pkg/tool/*/*
while IFS= read -r -d '' file; do mv "$file" "${file%/_go.mod}/go.mod"; done < <(find "$own.part/src" -name _go.mod -print0)
mv "$own.part" "$own"
[[ $(version_of "$own/bin/go") == "$wanted" ]] || fail "the fetched Go in $own doesn't run"
printf '%s\n' "$own/bin/go"
