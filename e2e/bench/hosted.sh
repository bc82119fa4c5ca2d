#!/usr/bin/env bash
# hosted.sh: what hosted control planes cost the operator (`make bench-load`): BENCH_CLUSTERS Clusters of three masters and three etcd members each are
# created at once, and then left alone. Their pods and API servers are played (hosted_player.sh). Prints each figure beside its target; never judges:
# a slow machine is no failure. Exit code 1 only when the run itself did not come to its end.
#
#   BENCH_CLUSTERS   default 100
#   BENCH_IDLE       seconds to watch the idle operator (default 60; 600 covers all that comes round: watches begun anew, add-ons applied again)
#   BENCH_BOUND      seconds until all must be Ready, else it has failed (default 1200)
#   KEEP             not empty: leave it running to look around (RUN_DIR=.run/bench-load make down ends it)
set -euo pipefail
export RUN_DIR=${RUN_DIR:-.run/bench-load} PORT_BASE=${PORT_BASE:-23000}
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
clusters=${BENCH_CLUSTERS:-100} idle=${BENCH_IDLE:-60} bound=${BENCH_BOUND:-1200}
here=$ROOT/e2e/bench
command -v haproxy >/dev/null || fail "haproxy plays the clusters' API servers: install Debian's package haproxy"

unset ENDSTATE_KUBECONFIG # a load test never goes to a cluster of the caller's
stop_all() {
  stop_processes 10 player
  "$ROOT/hack/down.sh" >/dev/null
}
[[ -n ${KEEP:-} ]] || trap 'stop_all; rm -rf "$RUN_DIR"' EXIT
# No controllers: nobody but the player says how workloads are.
COMPONENTS="etcd apiserver" HOSTED_CONTROL_PLANES=1 WITHOUT_FLEET=1 "$ROOT/hack/up.sh" >/dev/null
operator=$(process_pid operator) ticks=$(getconf CLK_TCK)
(umask 077 && cat "$RUN_DIR/pki/admin.crt" "$RUN_DIR/pki/admin.key" >"$RUN_DIR/admin.pem")
start_process player "$here/hosted_player.sh" "$RUN_DIR/admin.pem" "$clusters"

# CPU milliseconds (user and system) that a process has used.
cpu_ms() {
  local -a field
  read -ra field <<<"$(sed 's/.*) //' "/proc/$1/stat")"
  echo $(((field[11] + field[12]) * 1000 / ticks))
}
memory_mib() { awk -v key="$1:" '$1 == key { print $2 / 1024 }' "/proc/$operator/status"; }
now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }
row() { awk -v v="$1" -v t="$2" -v u="$3" -v text="$4" 'BEGIN { printf "  %-58s %9.2f %-8s target %s %s, ratio %.2f\n", text, v, u, t, u, v / t }'; }
share() { awk -v cpu="$1" -v wall="$2" 'BEGIN { print cpu / wall }'; }

kubectl_admin create namespace prod >/dev/null
kubectl_admin apply -f - >/dev/null <<YAML
apiVersion: endstate.dev/v1alpha1
kind: ClusterPackageVersion
metadata: {name: load}
spec:
  kubernetesVersion: $(kubectl_admin version -o json | jq -r .serverVersion.gitVersion)
  components:
    etcd: {image: "endstate.invalid/etcd:3.6.4"}
    kubeAPIServer: {image: "endstate.invalid/kube-apiserver:v1"}
    kubeControllerManager: {image: "endstate.invalid/kube-controller-manager:v1"}
    kubeScheduler: {image: "endstate.invalid/kube-scheduler:v1"}
YAML
all_clusters() {
  local i
  for ((i = 0; i < clusters; i++)); do
    cat <<YAML
---
apiVersion: endstate.dev/v1alpha1
kind: Cluster
metadata: {name: load-$i, namespace: prod}
spec:
  packageVersion: {name: load}
  clusterNetwork: {services: {cidrBlocks: ["10.112.0.0/16"]}, pods: {cidrBlocks: ["10.128.0.0/14"]}}
  controlPlane:
    type: Hosted
    endpoint: {host: 127.0.0.1, port: $((PORT_BASE + 500 + i))}
    etcd: {storage: {size: 1Gi}}
    rollout: {soakSeconds: 0}
YAML
  done
}
count() { kubectl_admin get clusters.endstate.dev -n prod -o json | jq --arg type "$1" '[.items[] | select(any(.status.conditions[]?; .type == $type and .status == "True"))] | length'; }

say "creating $clusters clusters of three masters"
sleep 5
before=$(memory_mib VmRSS)
began=$(now_ms) cpu_began=$(cpu_ms "$operator")
all_clusters | kubectl_admin apply -f - >/dev/null
applied=$(now_ms)
until (($(count Ready) == clusters && $(count AddonsReady) == clusters)); do
  is_running player || fail "the player has ended: $(tail -n 3 "$RUN_DIR/player.log")"
  (($(now_ms) - began < bound * 1000)) || fail "after $bound s $(count Ready) of $clusters clusters are Ready, and the add-ons of $(count AddonsReady) applied"
  sleep 2
done
took=$(($(now_ms) - began)) cpu=$(($(cpu_ms "$operator") - cpu_began))
peak=$(memory_mib VmHWM)
say "all are Ready; watching the idle operator for $idle s"
sleep 30
cpu_began=$(cpu_ms "$operator") idle_began=$(now_ms)
sleep "$idle"
cpu_idle=$(($(cpu_ms "$operator") - cpu_began)) idle_took=$(($(now_ms) - idle_began))

say "$clusters hosted clusters, API server, etcd and the player on the same $(nproc) cores (applying their manifests took $(((applied - began) / 1000)) s, the operator had $before MiB before):"
row "$(share "$took" 1000)" 300 s "from kubectl apply to all Ready, with their add-ons"
row "$(share "$cpu" "$took")" 0.5 cores "operator, while they were created"
row "$peak" 100 MiB "operator's memory, peak"
row "$(memory_mib VmRSS)" 100 MiB "operator's memory, idle"
row "$(share "$((cpu_idle * 100))" "$idle_took")" 1 "%" "operator's share of a core, idle"
