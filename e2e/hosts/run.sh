#!/usr/bin/env bash
# run.sh: real hosts become nodes, are upgraded in place, go back from a bad version, live through trouble, and are bare again (`make e2e-hosts`). As root.
#
#   E2E_REAL_HOSTS   how many (default 1, at most 9)
#   E2E_STORIES      which of them, after those that the others stand on (default: all); crun and adopt begin with bare hosts, so they come last
#   RUN_DIR, PORT_BASE   default .run/hosts and 19000
#
# A real control plane on loopback, endstate-operator, and machines of systemd-nspawn with a real systemd, containerd, runc and kubelet, each with
# endstate-agent as its only way to any of these. Artifacts are served over the run's own bridge. Everything that was started is stopped again.
# shellcheck disable=SC2034 # variables of the other parts
set -euo pipefail
RUN_DIR=${RUN_DIR:-.run/hosts} PORT_BASE=${PORT_BASE:-19000}
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
# shellcheck source=e2e/hosts/lib.sh
source "$ROOT/e2e/hosts/lib.sh"
# shellcheck source=e2e/hosts/packages.sh
source "$ROOT/e2e/hosts/packages.sh"
# shellcheck source=e2e/hosts/cluster.sh
source "$ROOT/e2e/hosts/cluster.sh"
# shellcheck source=e2e/hosts/enrol.sh
source "$ROOT/e2e/hosts/enrol.sh"
# shellcheck source=e2e/hosts/stories.sh
source "$ROOT/e2e/hosts/stories.sh"
# shellcheck source=e2e/hosts/adopt.sh
source "$ROOT/e2e/hosts/adopt.sh"
# shellcheck source=e2e/scenarios/cases.sh
source "$ROOT/e2e/scenarios/cases.sh"
# shellcheck source=e2e/kubernetes/pki.sh
source "$ROOT/e2e/kubernetes/pki.sh"
cd "$ROOT"
count=${E2E_REAL_HOSTS:-1}
api=https://$net.1:$((PORT_BASE + 443))
shop=http://$net.1:$((PORT_BASE + 95))
stories=${E2E_STORIES:-rights surface kubelet_certificates containerd kubelet bad drain drift agent kill enrol_again network power disk idle crun adopt}
((EUID == 0)) || fail "hosts are booted as root"
for program in endstate-agent endstate-operator kubectl-endstate; do [[ -x $BUILD_BIN/$program ]] || fail "no $BUILD_BIN/$program: run 'make build'"; done

all_hosts() { seq -f 'h%g' 1 "$count"; }
down() {
  local name
  for name in $(all_hosts); do host_off "$name" || true; done 2>/dev/null
  stop_processes 10 operator shop api-forward
  network_down
  e2e/kubernetes/down.sh
  for name in $(all_hosts); do disk_away "$name"; done
  rm -rf "$hosts" "$RUN_DIR/shop"
}
with_lock 7 hosts # two runs in one RUN_DIR would take each other apart
down >/dev/null 2>&1 || true
trap down EXIT

world_up() {
  e2e/hosts/build.sh
  mkdir -p "$RUN_DIR/shop"
  hack/agent_bundle.sh "$RUN_DIR/shop/agent.tar.gz"
  NODE_MONITOR_GRACE=50s SERVING_NAMES=IP:$net.1 e2e/kubernetes/up.sh # as is usual: these kubelets are real
  hack/install.sh
  network_up
  start_process api-forward socat "TCP-LISTEN:$((PORT_BASE + 443)),bind=$net.1,fork,reuseaddr" "TCP:127.0.0.1:$((PORT_BASE + 443))"
  start_process shop busybox httpd -f -p "$net.1:$((PORT_BASE + 95))" -h "$RUN_DIR/shop"
}
hosts_up() {
  local name pid booting=()
  for name in $(all_hosts); do
    host_on "$name" &
    booting+=($!)
  done
  for pid in "${booting[@]}"; do wait "$pid" || fail "a host doesn't boot"; done # not for all children: servers of the run are some
}
enrol_all() { for name in $(all_hosts); do enrol "$name" || return 1; done; }
version_of() { "$1" --version | cut -d ' ' -f 2 | tr -d v; }
packages_up() {
  kubelet_old=$(version_of "$(kube_bin_dir)/previous/kubelet") kubelet_new=$(version_of "$(kube_bin_dir)/kubelet")
  runtime_package containerd-old 1.6.20 "$cache/containerd-old"
  runtime_package containerd-new 1.7.29 "$cache/containerd-new"
  runtime_package containerd-more 1.7.30 "$cache/containerd-new"
  runtime_package containerd-bad 1.7.31 "$cache/containerd-new" 'ExecStartPre=/bin/false'
  runtime_package containerd-drain 1.7.32 "$cache/containerd-new" '' '' Drain
  runtime_package containerd-crun 1.7.29-crun "$cache/containerd-new" '' /usr/bin/crun
  network_package
  kubelet_package "$kubelet_old" "$(kube_bin_dir)/previous/kubelet"
  kubelet_package "$kubelet_new" "$(kube_bin_dir)/kubelet"
  agent_package next ''
  agent_package ends 'echo "this agent ends" >&2; exit 1'
  # shellcheck disable=SC2016 # the host's shell expands it
  agent_package lost 'exec unshare --net "${0%/*}/real" "$@"'
  deb_package libyajl2 "$cache"/debs/libyajl2_*.deb
  deb_package e2e-slow "$(slow_deb)"
  deb_package crun "$cache"/debs/crun_*.deb '  requires: [{packageName: libyajl2}]'
  kubectl_admin apply -f - >/dev/null <<'YAML'
apiVersion: endstate.dev/v1alpha1
kind: Cluster
metadata: {name: real, namespace: default}
spec: {controlPlane: {type: External}}
YAML
  pause=$(image pause '["/bin/sleep","1000000"]')
  counter=$(image counter '["/bin/sh"]')
}

world_up
timed "$count hosts boot" hosts_up
start_operator
timed "$count hosts enrol" enrol_all
packages_up
story_join
story_pods
for story in $stories; do
  case $story in crun | adopt) continue ;; esac # they begin with bare hosts: below
  say "--- $story"
  "story_$story"
done
story_delete workers
for story in crun adopt; do
  [[ " $stories " == *" $story "* ]] || continue
  say "--- $story"
  "story_$story"
done
print_times
finish
