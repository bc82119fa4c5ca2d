#!/usr/bin/env bash
# setup.sh [--without-helm]: makes a bare Debian 12 able to build, test and run endstate. Does nothing when all is there.
#
# Debian packages first (hack/packages.txt), then the Kubernetes binaries from Go modules (e2e/kubernetes/build.sh). Nothing else is fetched.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
mkdir -p "$ROOT/.cache"

as_root() {
  if ((EUID == 0)); then
    "$@"
  else
    command -v sudo >/dev/null || fail "not root and no sudo: install these packages yourself: ${missing[*]}"
    sudo "$@"
  fi
}
apt() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"; }

# One dpkg-query for all: it is called on every `make`.
find_missing() {
  local -A installed=()
  local name
  while read -r name; do installed[$name]=1; done < <(
    # shellcheck disable=SC2016 # dpkg-query's own variables
    dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null | awk '$1 == "installed" { print $2 }'
  )
  missing=()
  for name in "${wanted[@]}"; do [[ -n ${installed[$name]:-} ]] || missing+=("$name"); done
}

install_packages() {
  find_missing
  ((${#missing[@]} > 0)) || return 0
  command -v apt-get >/dev/null || fail "this is no Debian; install what hack/packages.txt lists by your own means"
  say "missing Debian packages: ${missing[*]}"
  ((EUID == 0)) || as_root true # asks for the password now, not under a progress line
  # The lists on disk may do; they are fetched only if they know too little, or name files that the mirror no longer has.
  local attempt
  for attempt in 1 2; do
    if ((attempt == 2)); then
      with_progress "apt-get update" "$ROOT/.cache/apt.log" apt update || fail "the package lists can't be fetched"
    fi
    apt install -y --no-install-recommends --simulate "${missing[@]}" >/dev/null 2>&1 || continue
    with_progress "installing ${#missing[@]} Debian packages" "$ROOT/.cache/apt.log" apt install -y --no-install-recommends "${missing[@]}" && break
  done
  find_missing
  ((${#missing[@]} == 0)) || fail "apt-get can't install: ${missing[*]} (log: .cache/apt.log)"
}

mapfile -t wanted < <(sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$ROOT/hack/packages.txt")
# Debian's own Go is too old to build Kubernetes, but it can fetch one that isn't (e2e/kubernetes/go.sh). Only where there is no Go at all.
if [[ -z ${ENDSTATE_KUBE_BIN_DIR:-}${ENDSTATE_KUBECONFIG:-} ]] && ! command -v go >/dev/null && [[ ! -x /usr/local/go/bin/go ]]; then
  wanted+=(golang-go)
fi
install_packages

if [[ ${1:-} == --without-helm ]]; then
  "$ROOT/e2e/kubernetes/build.sh" etcd kubernetes
else
  "$ROOT/e2e/kubernetes/build.sh"
fi
