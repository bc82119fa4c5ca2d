#!/usr/bin/env bash
# run.sh: what a fleet costs (`make bench`). A MachineSet of BENCH_MACHINES goes from `kubectl apply` to all Ready, with the simulator's delays at
# 0; API server, etcd, fleet and operator share this machine. Prints each figure, its target and their ratio; never judges: a slow machine
# is no failure. Exit code 1 only when the run itself did not come to its end.
#
#   BENCH_MACHINES   default 2000
#   BENCH_IDLE       seconds to watch the idle operator (default 60)
#   KEEP             not empty: leave it running to look around (RUN_DIR=.run/bench make down ends it)
set -euo pipefail
export RUN_DIR=${RUN_DIR:-.run/bench} PORT_BASE=${PORT_BASE:-21000}
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
machines=${BENCH_MACHINES:-2000}
idle=${BENCH_IDLE:-60}

unset ENDSTATE_KUBECONFIG # a load test never goes to a cluster of the caller's
# API server, etcd, operator and fleet, as the figures say: the node controller would write each Node twice more.
COMPONENTS="etcd apiserver" SIM_HOSTS=$machines FLEET_DELAY_SCALE=0 "$ROOT/hack/up.sh" >/dev/null
[[ -n ${KEEP:-} ]] || trap '"$ROOT/hack/down.sh" >/dev/null; rm -rf "$RUN_DIR"' EXIT
operator=$(process_pid operator)
ticks=$(getconf CLK_TCK)

# CPU milliseconds (user and system) that a process has used.
cpu_ms() {
  local -a field
  read -ra field <<<"$(sed 's/.*) //' "/proc/$1/stat")"
  echo $(((field[11] + field[12]) * 1000 / ticks))
}
memory_kb() { awk -v key="$2:" '$1 == key { print $2 }' "/proc/$1/status"; }
now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }
stamp() { date -u +%FT%T.%6NZ; }
ready() { kubectl_admin get machineset bench -o jsonpath='{.status.readyReplicas}' 2>/dev/null || true; }

# ratio VALUE TARGET UNIT TEXT: one row; `better` says which side of 1 is good.
row() { awk -v v="$1" -v t="$2" -v u="$3" -v better="$4" -v text="$5" 'BEGIN { printf "  %-46s %9.2f %-12s target %s %-7s ratio %.2f\n", text, v, u, better, t, v / t }'; }

say "$machines hosts are registered; applying a MachineSet of $machines"
kubectl_admin apply -f - >/dev/null <<YAML
apiVersion: endstate.dev/v1alpha1
kind: Cluster
metadata: {name: bench, namespace: default}
spec: {controlPlane: {type: External}}
---
apiVersion: endstate.dev/v1alpha1
kind: MachinePackageVersion
metadata: {name: containerd-bench}
spec:
  packageName: containerd
  version: 1.7.20
  disruption: RestartService
  install: {method: Archive, artifacts: [{arch: amd64, url: "https://packages.example/containerd.tar.gz", sha256: "$(printf '%064d' 1)"}]}
---
apiVersion: endstate.dev/v1alpha1
kind: MachinePackageVersion
metadata: {name: kubelet-bench}
spec:
  packageName: kubelet
  version: 1.34.4
  disruption: RestartService
  install: {method: Archive, artifacts: [{arch: amd64, url: "https://packages.example/kubelet.tar.gz", sha256: "$(printf '%064d' 2)"}]}
YAML
kubectl_admin wait --for=condition=Ready --timeout=60s cluster/bench >/dev/null
cpu_before=$(cpu_ms "$operator")
since=$(stamp)
began=$(now_ms)
kubectl_admin apply -f - >/dev/null <<YAML
apiVersion: endstate.dev/v1alpha1
kind: MachineSet
metadata: {name: bench, namespace: default}
spec:
  clusterName: bench
  replicas: $machines
  selector: {matchLabels: {pool: bench}}
  template:
    metadata: {labels: {pool: bench}}
    spec:
      packages:
      - {name: runtime, versionRef: {name: containerd-bench}}
      - {name: kubelet, versionRef: {name: kubelet-bench}}
YAML
deadline=$((SECONDS + 600))
shown=$SECONDS
until [[ $(ready) == "$machines" ]]; do
  ((SECONDS < deadline)) || fail "only $(ready) of $machines machines are Ready after 600 s; logs are in $RUN_DIR"
  if ((SECONDS - shown >= 10)); then
    shown=$SECONDS
    say "$(ready) of $machines Ready"
  fi
  sleep 0.5
done
took=$(($(now_ms) - began))
cpu=$(($(cpu_ms "$operator") - cpu_before))
until=$(stamp)
say "all Ready after $took ms; letting it settle"
sleep 20
writes=$("$ROOT/e2e/kubernetes/audit_writes.sh" "$since" "$until" | awk '$1 == "endstate-system:endstate-operator" { print $2 }')
settled=$("$ROOT/e2e/kubernetes/audit_writes.sh" "$since" | awk '$1 == "endstate-system:endstate-operator" { print $2 }')
say "watching the idle operator for $idle s"
cpu_idle=$(cpu_ms "$operator")
sleep "$idle"
cpu_idle=$(($(cpu_ms "$operator") - cpu_idle))

echo
echo "endstate with $machines machines on $(nproc) cores (API server, etcd, fleet and operator together):"
row "$(awk -v n="$machines" -v t="$took" 'BEGIN { print n * 1000 / t }')" 40 machines/s ">=" "from apply to all Ready"
row "$(awk -v n="$machines" -v w="$writes" 'BEGIN { print w / n }')" 6 "writes" "<=" "API writes of the operator a machine"
row "$(awk -v n="$machines" -v w="$settled" 'BEGIN { print w / n }')" 6 "writes" "<=" "the same, 20 s later"
row "$(awk -v n="$machines" -v c="$cpu" 'BEGIN { print c / n }')" 3 "ms" "<=" "operator CPU a machine"
row "$(awk -v k="$(memory_kb "$operator" VmRSS)" 'BEGIN { print k / 1024 }')" 30 "MiB" "<=" "operator resident, afterwards"
row "$(awk -v k="$(memory_kb "$operator" VmHWM)" 'BEGIN { print k / 1024 }')" 30 "MiB" "<=" "operator resident, at its peak"
row "$(awk -v c="$cpu_idle" -v s="$idle" 'BEGIN { print c / (s * 10) }')" 1 "% of a core" "<=" "operator CPU, idle"
echo
echo "API writes by identity (user, writes, events, leases, machines):"
"$ROOT/e2e/kubernetes/audit_writes.sh" "$since"
