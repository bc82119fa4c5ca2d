#!/usr/bin/env bash
# image_root.sh FOLDER PROGRAM...: fills FOLDER with all that a container image of these programs holds, and nothing else: no shell, no package manager.
#
# The programs go to /usr/local/bin; beside them the shared libraries that they name, the machine's CA certificates and time zones, and the user 65532. The
# Dockerfile and the lane `hosted`, which has no Docker engine, both make their images of this folder.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
(($# >= 2)) || fail "image_root.sh FOLDER PROGRAM..."
root=$1
shift

# Paths that ldd prints: "libx.so => /lib/libx.so (0x...)" and "/lib64/ld-linux-x86-64.so.2 (0x...)". A static program has none.
libraries() { ldd "$1" 2>/dev/null | grep -oE '/[^ ]+' || true; }

mkdir -p "$root/usr/local/bin" "$root/etc/ssl/certs" "$root/tmp"
for program in "$@"; do
  [[ -x $program ]] || fail "no program $program"
  ! ldd "$program" 2>/dev/null | grep -F 'not found' || fail "$program misses libraries"
  install -m 755 "$program" "$root/usr/local/bin/"
  while IFS= read -r library; do install -D -m 755 "$library" "$root$library"; done < <(libraries "$program")
done
install -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
mkdir -p "$root/usr/share"
cp -r /usr/share/zoneinfo "$root/usr/share/" # schedules have time zones
rm -rf "$root/usr/share/zoneinfo"/{posix,right} # the same again in other shapes
printf 'root:x:0:0::/:/sbin/nologin\nnonroot:x:65532:65532::/:/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nnonroot:x:65532:\n' >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
chmod 1777 "$root/tmp"
