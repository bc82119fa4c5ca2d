#!/usr/bin/env bash
# What a user might write by mistake is refused by the API server itself, with a message that helps: a walk through manifests/invalid/ (its
# README says what the files are), and what is good is accepted: manifests/samples/.
set -euo pipefail
export RUN_DIR=.run/test-invalid PORT_BASE=${TEST_PORT_BASE:-17000}
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
# shellcheck source=e2e/scenarios/cases.sh
source "$ROOT/e2e/scenarios/cases.sh"
cd "$ROOT"

e2e/kubernetes/down.sh
trap 'e2e/kubernetes/down.sh' EXIT
COMPONENTS="etcd apiserver" e2e/kubernetes/up.sh
hack/install.sh

parts=$(mktemp -d)
for file in manifests/invalid/*.yaml; do
  name=$(basename "$file" .yaml)
  expected=$(sed -n '1s/^# expect: //p' "$file")
  [[ -n $expected ]] || fail "$file: the first line must be '# expect: <a part of the message>'"
  # 1.yaml is the first document, 2.yaml (where there is one) the edit of it.
  rm -f "$parts"/*
  awk -v folder="$parts" 'BEGIN { n = 1 } /^---/ { n++; next } { print > (folder "/" n ".yaml") }' "$file"
  if [[ -e $parts/2.yaml ]]; then
    check "$name: the good one is accepted" kubectl_admin create -f "$parts/1.yaml"
    refuses "$name: the edit is refused" "$expected" kubectl_admin replace -f "$parts/2.yaml"
    kubectl_admin delete --wait=false -f "$parts/1.yaml" >/dev/null 2>&1 || true
  else
    refuses "$name" "$expected" kubectl_admin create --dry-run=server -f "$file"
  fi
done
rm -rf "$parts"

check "the samples are accepted, every field known" kubectl_admin apply --server-side --dry-run=server --validate=strict -R -f manifests/samples
finish
