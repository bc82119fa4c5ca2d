#!/usr/bin/env bash
# build.sh: what the hosts of e2e/hosts are made of, into .cache/hosts; a second call does nothing.
#
#   tree/         a minimal Debian with systemd, and nothing of what endstate-agent needs (debootstrap, from the mirror that apt uses here)
#   containerd-new/  from Go modules (containerd/go.mod); the two kubelets are those of e2e/kubernetes/build.sh
#   containerd-old/, cni/   out of Debian's packages; debs/: some of these as they are
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
here=$ROOT/e2e/hosts
cache=$ROOT/.cache/hosts
((EUID == 0)) || fail "hosts are made and booted as root"
mkdir -p "$cache"
exec 9>"$cache/.lock"
flock -w 3600 9 || fail "another build of the hosts doesn't end"

"$ROOT/hack/setup.sh" --packages "$ROOT/hack/packages-hosts.txt"
"$ROOT/e2e/kubernetes/build.sh" node previous-node

pinned() { awk -v module="$2" '{ for (i = 1; i < NF; i++) if ($i == module && $(i + 1) ~ /^v/) { print $(i + 1); exit } }' "$here/$1/go.mod"; }

# go_build NAME FOLDER PACKAGE LDFLAGS
go_build() {
  local output=$cache/$1 folder=$here/$2 stamp
  stamp=$({ cat "$folder/go.mod" "$folder/go.sum" && printf '%s\n' "$3" "$4"; } | sha256sum | cut -d ' ' -f 1)
  [[ ! -x $output || ! -f $output.stamp || $(<"$output.stamp") != "$stamp" ]] || return 0
  mkdir -p "$(dirname "$output")"
  with_progress "building ${1##*/}" "$cache/go.log" env CGO_ENABLED=0 GOTOOLCHAIN=local "$("$ROOT/e2e/kubernetes/go.sh")" build -C "$folder" -buildvcs=false -trimpath \
    -ldflags "-s -w $4" -o "$output.part" "$3" || fail "${1##*/} could not be built"
  mv -f "$output.part" "$output"
  printf '%s\n' "$stamp" >"$output.stamp"
}
new=$(pinned containerd github.com/containerd/containerd)
for name in containerd containerd-shim-runc-v2 ctr; do
  go_build "containerd-new/$name" containerd "github.com/containerd/containerd/cmd/$name" "-X github.com/containerd/containerd/version.Version=${new#v}"
done

# from_deb PACKAGE FOLDER PATTERN...: files of a Debian package, without installing it here.
from_deb() {
  local package=$1 folder=$cache/$2 work
  shift 2
  [[ ! -d $folder ]] || return 0
  work=$(mktemp -d "$cache/deb.XXXXXX")
  (cd "$work" && apt-get download "$package" >/dev/null && dpkg-deb -x ./*.deb .) || fail "can't get Debian's $package"
  mkdir "$folder.part"
  (cd "$work" && mv "$@" "$folder.part/")
  mv "$folder.part" "$folder"
  rm -rf "$work"
}
from_deb containerd containerd-old usr/bin/containerd usr/bin/containerd-shim-runc-v2 usr/bin/ctr
# shellcheck disable=SC2046 # a list
from_deb containernetworking-plugins cni $(printf 'usr/lib/cni/%s ' bridge host-local loopback portmap)

# Packages of Debian as they are: the second runtime, with the library that it needs.
if [[ ! -d $cache/debs ]]; then
  rm -rf "$cache/debs.part"
  mkdir "$cache/debs.part"
  (cd "$cache/debs.part" && apt-get download crun libyajl2 >/dev/null 2>&1) || fail "can't get Debian's crun"
  mv "$cache/debs.part" "$cache/debs"
fi

make_tree() {
  local mirror
  # In whatever form apt's sources are written.
  # shellcheck disable=SC2016 # apt-get expands it
  mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' 'Component: main' | awk '$2 == "bookworm" && !uri { uri = $1 } END { print uri }')
  [[ -n $mirror ]] || fail "apt's sources name no Debian mirror"
  rm -rf "$cache/tree.part"
  with_progress "making a bare Debian" "$cache/debootstrap.log" debootstrap --variant=minbase \
    "--include=$tree_packages" \
    bookworm "$cache/tree.part" "$mirror" || fail "debootstrap failed"
  rm -rf "$cache/tree.part/var/cache/apt" "$cache/tree.part/var/lib/apt/lists" "$cache/tree.part/usr/share/doc" "$cache/tree.part/usr/share/man"
  mkdir -p "$cache/tree.part/var/cache/apt/archives/partial"
  # What a test host need not do: take time from the network, ask for a password.
  systemd-nspawn -q -D "$cache/tree.part" --register=no --keep-unit passwd -d root >/dev/null 2>&1 || true
  : >"$cache/tree.part/etc/machine-id"
  rm -rf "$cache/tree"
  mv "$cache/tree.part" "$cache/tree"
  printf '%s\n' "$tree_packages" >"$cache/tree.stamp"
}
tree_packages=systemd,systemd-sysv,dbus,iproute2,iptables,kmod,procps,runc
[[ -d $cache/tree && -f $cache/tree.stamp && $(<"$cache/tree.stamp") == "$tree_packages" ]] || make_tree
