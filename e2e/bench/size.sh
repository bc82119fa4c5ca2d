#!/usr/bin/env bash
# size.sh MACHINES FILE: one size of `make bench`: creation, update and rest of a set of MACHINES, with the simulator's delays at 0. FILE gets a line
# a figure, by tabs: FIGURE, VALUE, TARGET. BENCH_IDLE and KEEP as run.sh says.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
machines=$1 file=$2
idle=${BENCH_IDLE:-60}
patience=$((300 + machines / 5))

unset ENDSTATE_KUBECONFIG # a load test never goes to a cluster of the caller's
# API server, etcd, operator and fleet, as the figures say: the node controller would write each Node twice more.
AUDIT_POLICY=$ROOT/e2e/bench/audit-policy.yaml COMPONENTS="etcd apiserver" SIM_HOSTS=$machines FLEET_DELAY_SCALE=0 \
  FLEET_ARGS="--lease-seconds 900 ${FLEET_ARGS:-}" "$ROOT/hack/up.sh" >/dev/null
[[ -n ${KEEP:-} ]] || trap '"$ROOT/hack/down.sh" >/dev/null; rm -rf "$RUN_DIR"' EXIT
operator=$(process_pid operator) apiserver=$(process_pid apiserver)
ticks=$(getconf CLK_TCK)

# CPU milliseconds (user and system) that a process has used.
cpu_ms() {
  local -a field
  read -ra field <<<"$(sed 's/.*) //' "/proc/$1/stat")"
  echo $(((field[11] + field[12]) * 1000 / ticks))
}
memory_mib() { awk -v key="$1:" '$1 == key { printf "%.1f", $2 / 1024 }' "/proc/$operator/status"; }
now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }
stamp() { date -u +%FT%T.%6NZ; }
field() { kubectl_admin get machineset bench -o jsonpath="{.status.$1}" 2>/dev/null || true; }
figure() { printf '%s\t%s\t%s\n' "$1" "$2" "${3:-}" | tee -a "$file" | awk -F '\t' -v n="$machines" '{ printf "  %s machines: %s: %s\n", n, $1, $2 }'; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", (b > 0 ? a / b : 0) }'; }

begin() { cpu0=$(cpu_ms "$operator") server0=$(cpu_ms "$apiserver") since=$(stamp) began=$(now_ms); }
# reach TEXT FIELD: until that figure of the set's status is the number of machines.
reach() {
  local deadline=$((SECONDS + patience)) shown=$SECONDS
  until [[ $(field "$2") == "$machines" ]]; do
    ((SECONDS < deadline)) || fail "$1: only $(field "$2") of $machines after $patience s; logs are in $RUN_DIR"
    if ((SECONDS - shown >= 20)); then
      shown=$SECONDS
      say "$1: $(field "$2") of $machines"
    fi
    sleep 0.5
  done
}
end() { # WORD
  local took=$(($(now_ms) - began)) cpu=$(($(cpu_ms "$operator") - cpu0)) server=$(($(cpu_ms "$apiserver") - server0)) writes
  sleep 5
  writes=$("$ROOT/e2e/kubernetes/audit_writes.sh" "$since" | awk '$1 == "endstate-system:endstate-operator" { print $2 }')
  figure "$1: machines/s" "$(ratio $((machines * 1000)) "$took")" ">= 0.8"
  figure "$1: operator CPU, ms a machine" "$(ratio "$cpu" "$machines")" "<= 1.3"
  figure "$1: API server CPU, ms a machine" "$(ratio "$server" "$machines")" "<= 1.3"
  figure "$1: writes of the operator a machine" "$(ratio "${writes:-0}" "$machines")"
}
# What the ledger's writes are of all that the audit log holds (bench's policy: writes of operator and fleet, with their bodies, but no events and
# leases), by number and by bytes; of the operator's bodies alone; and the largest of them.
ledger_share() {
  cat "$RUN_DIR"/audit-*.log "$RUN_DIR/audit.log" 2>/dev/null | jq -rn '
    reduce (inputs | {l: (.objectRef.resource == "guardledgers"), o: (.user.username | endswith(":endstate-operator")), all: (tojson | length), b: ((.requestObject // {}) | tojson | length)}) as $w
      ({n: 0, ln: 0, all: 0, lall: 0, b: 0, lb: 0, most: 0};
       .n += 1 | .all += $w.all | if $w.o then .b += $w.b else . end
       | if $w.l then .ln += 1 | .lall += $w.all | .lb += $w.b | .most = ([.most, $w.b] | max) else . end)
    | [100 * .ln / .n, 100 * .lall / .all, 100 * .lb / .b, .most / 1024] | map(. * 100 | round / 100) | @tsv'
}

package() {
  cat <<YAML
---
apiVersion: endstate.dev/v1alpha1
kind: MachinePackageVersion
metadata: {name: $1-$2}
spec:
  packageName: $1
  version: $2
  disruption: RestartService
  install: {method: Archive, artifacts: [{arch: amd64, url: "https://packages.example/$1-$2.tar.gz", sha256: "$(printf '%s' "$1$2" | sha256sum | cut -d ' ' -f 1)"}]}
YAML
}

say "$machines hosts are registered; applying a MachineSet of $machines"
{
  package containerd 1.7.20 && package kubelet 1.34.3 && package kubelet 1.34.4
  cat <<YAML
---
apiVersion: endstate.dev/v1alpha1
kind: Cluster
metadata: {name: bench, namespace: default}
spec: {controlPlane: {type: External}}
---
apiVersion: endstate.dev/v1alpha1
kind: ChangeBudget
metadata: {name: bench}
spec:
  clusterSelector: {}
  maxUnavailable: 10%
  limits:
  - {name: all, operations: [MachineCreate, MachineUpdate, MachineRollback], windows: [{durationSeconds: 60, max: 100000}], maxConcurrent: 10%}
  - {name: rack, scope: FailureDomain, operations: [MachineUpdate], windows: [{durationSeconds: 3600, max: 100000}]}
YAML
} | kubectl_admin apply -f - >/dev/null
kubectl_admin wait --for=condition=Ready --timeout=60s cluster/bench >/dev/null

begin
kubectl_admin apply -f - >/dev/null <<YAML
apiVersion: endstate.dev/v1alpha1
kind: MachineSet
metadata: {name: bench, namespace: default, annotations: {endstate.dev/skip-preflight: all}}
spec:
  clusterName: bench
  replicas: $machines
  selector: {matchLabels: {pool: bench}}
  template:
    metadata: {labels: {pool: bench}}
    spec:
      packages:
      - {name: runtime, versionRef: {name: containerd-1.7.20}}
      - {name: kubelet, versionRef: {name: kubelet-1.34.3}}
YAML
reach Ready readyReplicas
end creation

begin
kubectl_admin patch machineset bench --type merge -p '{"spec":{"template":{"spec":{"packages":[
  {"name":"runtime","versionRef":{"name":"containerd-1.7.20"}},{"name":"kubelet","versionRef":{"name":"kubelet-1.34.4"}}]}}}}' >/dev/null
sleep 1
reach "up to date" upToDateReplicas
reach Ready readyReplicas
end update

read -r share bytes bodies most <<<"$(ledger_share)"
figure "GuardLedger, % of writes in the audit log" "$share" "value <= 2"
figure "GuardLedger, % of bytes in the audit log" "$bytes" "value <= 2"
figure "GuardLedger, % of the operator's bodies" "$bodies"
figure "GuardLedger, largest write in KiB" "$most" "value <= 64"
say "watching the idle operator for $idle s"
sleep 15
cpu0=$(cpu_ms "$operator")
sleep "$idle"
figure "idle: operator, % of a core" "$(ratio $(($(cpu_ms "$operator") - cpu0)) $((idle * 10)))" "value <= 1.5"
figure "operator resident, MiB" "$(memory_mib VmRSS)" "value <= 110"
figure "operator resident at its peak, MiB" "$(memory_mib VmHWM)" "value <= 110"
