#!/usr/bin/env bash
# build.sh: what the lane `hosted` needs beside `make setup`: Debian's container runtime, and binaries from Go modules. A second call does nothing.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
"$ROOT/hack/setup.sh" --packages "$ROOT/hack/packages-hosted.txt"
"$ROOT/e2e/kubernetes/build.sh" etcd kubernetes helm node previous policy
mkdir -p "$ROOT/.cache/hosted"
# The program of a pod's sandbox.
[[ $ROOT/.cache/hosted/pause -nt $ROOT/e2e/hosted/pause.c ]] || cc -O2 -static -o "$ROOT/.cache/hosted/pause" "$ROOT/e2e/hosted/pause.c"
