#!/usr/bin/env bash
# setup.sh [--without-helm | --packages [FILE]]: makes a bare Debian 12 able to build, test and run endstate. Does nothing when all is there.
#
# Debian packages first (hack/packages.txt), then the Kubernetes binaries from Go modules (e2e/kubernetes/build.sh). Nothing else is fetched.
# --packages: Debian packages alone, which is enough to compile; those of FILE, if one is given.
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

# Debian starts a package's service as it is installed. Here Prometheus is a program that tests start on ports of their own: it must take neither
# port 9090 now nor a place among the services of the next boot. policy-rc.d is Debian's way to say so (invoke-rc.d(8)); it stands only while our
# apt-get runs, and what stood there before comes back.
policy=/usr/sbin/policy-rc.d
forbid_service_starts() {
  if [[ -x $policy ]]; then
    local status=0
    "$policy" prometheus start >/dev/null 2>&1 || status=$?
    ((status != 101)) || return 0 # the machine's own policy forbids it already, as in most container images
    as_root mv -f "$policy" "$policy.before-endstate"
  fi
  trap allow_service_starts EXIT
  printf '#!/bin/sh\n# endstate'"'"'s hack/setup.sh installs packages: no service starts meanwhile\nexit 101\n' | as_root tee "$policy" >/dev/null
  as_root chmod 755 "$policy"
}
allow_service_starts() {
  trap - EXIT
  grep -qs endstate "$policy" || return 0
  as_root rm -f "$policy"
  [[ ! -e $policy.before-endstate ]] || as_root mv -f "$policy.before-endstate" "$policy"
}
# No start at boot, with systemd (these need none to run) and without.
keep_off_at_boot() {
  [[ -e /etc/init.d/$1 ]] || return 0
  as_root deb-systemd-helper disable "$1.service" >/dev/null 2>&1 || true
  as_root update-rc.d "$1" disable >/dev/null 2>&1 || true
}

install_packages() {
  find_missing
  ((${#missing[@]} > 0)) || return 0
  command -v apt-get >/dev/null || fail "this is no Debian; install what hack/packages.txt lists by your own means"
  say "missing Debian packages: ${missing[*]}"
  ((EUID == 0)) || as_root true # asks for the password now, not under a progress line
  local had_prometheus=1
  [[ " ${missing[*]} " != *" prometheus "* ]] || had_prometheus=
  forbid_service_starts
  # The lists on disk may do; they are fetched only if they know too little, or name files that the mirror no longer has.
  local attempt
  for attempt in 1 2; do
    if ((attempt == 2)); then
      with_progress "apt-get update" "$ROOT/.cache/apt.log" apt update || fail "the package lists can't be fetched"
    fi
    apt install -y --no-install-recommends --simulate "${missing[@]}" >/dev/null 2>&1 || continue
    with_progress "installing ${#missing[@]} Debian packages" "$ROOT/.cache/apt.log" apt install -y --no-install-recommends "${missing[@]}" && break
  done
  allow_service_starts
  [[ -n $had_prometheus ]] || keep_off_at_boot prometheus
  find_missing
  ((${#missing[@]} == 0)) || fail "apt-get can't install: ${missing[*]} (log: .cache/apt.log)"
}

mapfile -t wanted < <(sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "${2:-$ROOT/hack/packages.txt}")
# Debian's own Go is too old to build Kubernetes, but it can fetch one that isn't (e2e/kubernetes/go.sh). Only where there is no Go at all.
if [[ ${1:-} != --packages && -z ${ENDSTATE_KUBE_BIN_DIR:-}${ENDSTATE_KUBECONFIG:-} ]] && ! command -v go >/dev/null && [[ ! -x /usr/local/go/bin/go ]]; then
  wanted+=(golang-go)
fi
install_packages

case ${1:-} in
  --packages) ;;
  --without-helm) "$ROOT/e2e/kubernetes/build.sh" etcd kubernetes ;;
  '') "$ROOT/e2e/kubernetes/build.sh" ;;
  *) fail "setup.sh [--without-helm | --packages [FILE]], not '$1'" ;;
esac
