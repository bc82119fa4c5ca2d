#!/usr/bin/env bash
# build.sh: what the lane `hosted` needs beside the binaries of `make setup`, into .cache/hosted/bin: kubelet and kube-proxy of the pinned Kubernetes, and the
# program of a pod's sandbox. A stamp says what they were built from: a second call does nothing.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
here=$ROOT/e2e/hosted kubernetes=$ROOT/e2e/kubernetes cache=$ROOT/.cache/hosted
mkdir -p "$cache/bin" "$cache/module"
stamp=$(cat "$kubernetes/go.mod" "$here/pause.c" "$here/build.sh" | sha256sum | cut -d ' ' -f 1)
[[ ! -f $cache/stamp || $(<"$cache/stamp") != "$stamp" || ! -x $cache/bin/kubelet || ! -x $cache/bin/kube-proxy || ! -x $cache/bin/pause ]] || exit 0

version=$(awk '$1 == "require" && $2 == "k8s.io/kubernetes" { print $3 }' "$kubernetes/go.mod")
IFS=. read -r major minor _ <<<"${version#v}"
flags="-s -w"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  flags+=" -X $package.gitVersion=$version -X $package.gitMajor=$major -X $package.gitMinor=$minor -X $package.gitTreeState=clean"
done
go=$("$kubernetes/go.sh")
# The pins are e2e/kubernetes/go.mod's; the two programs need a few modules more, which the checksum database vouches for.
cp "$kubernetes/go.mod" "$kubernetes/go.sum" "$cache/module/"
cat >"$cache/module/tools.go" <<'GO'
//go:build tools

package tools

import (
	_ "k8s.io/kubernetes/cmd/kube-proxy"
	_ "k8s.io/kubernetes/cmd/kubelet"
)
GO
with_progress "modules of kubelet and kube-proxy" "$cache/tidy.log" env GOTOOLCHAIN=local GOFLAGS=-mod=mod "$go" -C "$cache/module" mod tidy
for program in kubelet kube-proxy; do
  with_progress "building $program $version" "$cache/$program.log" env CGO_ENABLED=0 GOTOOLCHAIN=local \
    "$go" build -C "$cache/module" -buildvcs=false -trimpath -ldflags "$flags" -o "$cache/bin/$program" "k8s.io/kubernetes/cmd/$program"
done
cc -O2 -static -o "$cache/bin/pause" "$here/pause.c"
printf '%s\n' "$stamp" >"$cache/stamp"
