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

# Rules that became stricter hold for what changes. What an older version stored and breaks them still takes finalizers, statuses and other edits
# (ratcheting of CRDs, stable since Kubernetes 1.33): an upgrade of endstate leaves nothing stuck.
stored=$(mktemp)
cat >"$stored" <<'YAML'
apiVersion: endstate.dev/v1alpha1
kind: Machine
metadata: {name: stored, namespace: default}
spec:
  clusterName: hz-a
  labels: {team: "site reliability", "a b": x}
  taints: [{key: app, value: a, effect: NoSchedule}, {key: app, value: b, effect: NoSchedule}, {key: "c d", value: "x y", effect: NoSchedule}]
---
apiVersion: endstate.dev/v1alpha1
kind: MachineSet
metadata: {name: stored, namespace: default}
spec:
  clusterName: hz-a
  replicas: 1
  selector: {matchLabels: {pool: stored}}
  template:
    metadata: {labels: {pool: stored}}
    spec:
      labels: {team: "site reliability"}
      taints: [{key: app, value: a, effect: NoSchedule}, {key: app, value: b, effect: NoSchedule}]
---
apiVersion: endstate.dev/v1alpha1
kind: Host
metadata: {name: stored, namespace: default}
spec: {address: "no good_address"}
YAML
until_true() { # SECONDS COMMAND...
  local deadline=$((SECONDS + $1))
  until "${@:2}"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.3
  done
}
without_rules() {
  kubectl_admin get crd {machines,machinesets,hosts}.endstate.dev -o json |
    jq 'walk(if type == "object" then del(.pattern, ."x-kubernetes-validations") else . end)' | kubectl_admin replace -f - >/dev/null
}
stores() { kubectl_admin create --dry-run=server -f "$stored" >/dev/null 2>&1; }
refuses_anew() { ! stores; }
without_rules
until_true 30 stores || fail "CRDs without their rules don't come into force"
kubectl_admin create -f "$stored" >/dev/null
kubectl_admin replace -f manifests/crds/endstate.dev_machines.yaml -f manifests/crds/endstate.dev_machinesets.yaml -f manifests/crds/endstate.dev_hosts.yaml >/dev/null
check "the rules are in force again" until_true 30 refuses_anew
edit() { kubectl_admin patch "$1.endstate.dev" stored --type=merge "${@:2}"; }
for kind in machine machineset host; do
  check "a stored $kind that breaks them takes a finalizer" edit "$kind" -p '{"metadata":{"finalizers":["endstate.dev/machine"]}}'
done
check "and a status: of a Machine" edit machine --subresource=status -p '{"status":{"phase":"Joining","owned":{"labels":["zone"],"taints":[{"key":"app","effect":"NoSchedule"}]}}}'
check "of a MachineSet" edit machineset --subresource=status -p '{"status":{"observedGeneration":1}}'
check "of a Host" edit host --subresource=status -p '{"status":{"phase":"Ready"}}'
check "and edits of what is well" edit machineset -p '{"spec":{"replicas":2}}'
refuses "not one that adds another of its kind" "should match" kubectl_admin patch machine.endstate.dev stored --type=merge -p '{"spec":{"labels":{"more":"not good"}}}'
for kind in machine machineset host; do edit "$kind" -p '{"metadata":{"finalizers":null}}' >/dev/null; done
kubectl_admin delete -f "$stored" >/dev/null
rm -f "$stored"

check "the samples are accepted, every field known" kubectl_admin apply --server-side --dry-run=server --validate=strict -R -f manifests/samples
finish
