#!/usr/bin/env bash
# agent_bundle.sh FILE.tar.gz [PROGRAM]: the agent with all that a bare Debian (debootstrap --variant=minbase, with systemd) hasn't:
# bin/endstate-agent, and lib/endstate/ with shared libraries. To be unpacked into /usr/local; or, as it is, the artifact of a package for the
# slot endstate-agent (docs/agent.md).
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
output=${1:?FILE.tar.gz} program=${2:-$BUILD_BIN/endstate-agent}
[[ -x $program ]] || fail "no $program: run 'make build'"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/bin" "$work/lib/endstate"
cp "$program" "$work/bin/endstate-agent"
# What every Debian has: glibc, what apt stands on, and what systemd does. `make e2e-hosts` runs on exactly that.
while read -r name path; do
  case $name in
    libc.so.* | libm.so.* | libpthread.so.* | libdl.so.* | librt.so.* | libresolv.so.* | ld-linux* | libstdc++.so.* | libgcc_s.so.*) ;;
    libzstd.so.* | liblzma.so.* | liblz4.so.* | libz.so.* | libgcrypt.so.* | libgpg-error.so.* | libcap.so.* | libsystemd.so.*) ;;
    libgnutls.so.* | libnettle.so.* | libhogweed.so.* | libgmp.so.* | libunistring.so.* | libidn2.so.* | libp11-kit.so.* | libtasn1.so.* | libffi.so.*) ;;
    *) cp "$path" "$work/lib/endstate/$name" ;;
  esac
done < <(ldd "$program" | awk '$2 == "=>" { print $1, $3 }')
strip --strip-unneeded "$work/bin/endstate-agent" "$work"/lib/endstate/*
chmod 755 "$work"/bin/* "$work"/lib/endstate/*
tar -C "$work" --owner=0 --group=0 --sort=name --mtime=@0 -I 'gzip -n' -cf "$output" bin lib
say "$output: $(stat -c %s "$output") bytes packed, $(du -sb "$work" | cut -f 1) unpacked"
