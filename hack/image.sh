#!/usr/bin/env bash
# image.sh NAME:TAG PROGRAM...: an image of these programs (hack/image_root.sh), the first of them its entry point, written as an OCI layout (a tar) to
# standard output. No container engine is needed: what an image is, is said in the OCI image specification (image-layout.md, config.md).
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
(($# >= 2)) || fail "image.sh NAME:TAG PROGRAM..."
name=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# blob FILE: moves it to where its digest says, and prints the digest.
blob() {
  local digest
  digest=$(sha256sum "$1" | cut -d ' ' -f 1)
  mv "$1" "$work/layout/blobs/sha256/$digest"
  printf '%s' "$digest"
}
size_of() { stat -c %s "$work/layout/blobs/sha256/$1"; }

mkdir -p "$work/layout/blobs/sha256"
"$ROOT/hack/image_root.sh" "$work/root" "$@"
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$work/root" -cf "$work/layer" .
layer=$(blob "$work/layer")
cat >"$work/config" <<JSON
{"architecture":"$(dpkg --print-architecture)","os":"linux","config":{"User":"65532:65532","Env":["PATH=/usr/local/bin"],"Entrypoint":["/usr/local/bin/$(basename "$1")"]},
"rootfs":{"type":"layers","diff_ids":["sha256:$layer"]}}
JSON
config=$(blob "$work/config")
cat >"$work/manifest" <<JSON
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:$config","size":$(size_of "$config")},
"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:$layer","size":$(size_of "$layer")}]}
JSON
manifest=$(blob "$work/manifest")
printf '{"imageLayoutVersion":"1.0.0"}' >"$work/layout/oci-layout"
cat >"$work/layout/index.json" <<JSON
{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:$manifest","size":$(size_of "$manifest"),
"annotations":{"io.containerd.image.name":"$name","org.opencontainers.image.ref.name":"$name"}}]}
JSON
tar -C "$work/layout" -c .
