#!/usr/bin/env bash
# node.sh up|down: makes this machine the one node of the run's meta cluster: containerd, kubelet and kube-proxy, with pods on a bridge of their own
# and volumes below RUN_DIR. Needs root. `down` takes all of it away again: pods, mounts, the bridge, kube-proxy's rules.
#
#   RUN_DIR, PORT_BASE   see hack/lib.sh; kubelet +250 and +248, kube-proxy +256 and +249, kube-router +244. The control plane runs already
#                        (e2e/kubernetes/up.sh), with POD_GATEWAY=10.244.77.1.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
# shellcheck source=e2e/kubernetes/pki.sh
source "$ROOT/e2e/kubernetes/pki.sh"

node_bin=$(kube_bin_dir) # kubelet, kube-proxy, kube-router
server=https://127.0.0.1:$((PORT_BASE + 443))
pods=10.244.77.0/24 services=10.96.0.0/16 gateway=10.244.77.1 bridge=endstate0 node=meta-1
socket=$RUN_DIR/containerd.sock

containers() { ctr --address "$socket" --namespace k8s.io "$@"; }

write_containerd() {
  mkdir -p "$RUN_DIR/cni"
  cat >"$RUN_DIR/containerd.toml" <<TOML
version = 2
root = "$RUN_DIR/containerd"
state = "$RUN_DIR/containerd-state"
[grpc]
address = "$socket"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "endstate.local/pause:1"
restrict_oom_score_adj = true # this machine may lack CAP_SYS_RESOURCE
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "$RUN_DIR/cni"
TOML
  # hairpinMode: a pod reaches itself by its Service's address.
  cat >"$RUN_DIR/cni/10-endstate.conflist" <<JSON
{"cniVersion": "0.4.0", "name": "endstate", "plugins": [
  {"type": "bridge", "bridge": "$bridge", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "$pods"}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "$RUN_DIR/cni-addresses"}}]}
JSON
}

write_kubelet() {
  mkdir -p "$RUN_DIR/kubelet"
  : >"$RUN_DIR/resolv.conf" # pods need no DNS
  cat >"$RUN_DIR/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $gateway # the API server asks here for a pod's log
port: $((PORT_BASE + 250))
healthzPort: $((PORT_BASE + 248))
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: "$PKI/ca.crt"}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
failSwapOn: false
failCgroupV1: false
containerRuntimeEndpoint: unix://$socket
resolvConf: $RUN_DIR/resolv.conf
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
enforceNodeAllocatable: [pods]
syncFrequency: 10s
podLogsDir: $RUN_DIR/pod-logs
YAML
}

start_containerd() {
  is_running containerd || start_process containerd containerd --config "$RUN_DIR/containerd.toml" --log-level warn
  await_process containerd 30 ctr --address "$socket" version
}

start_kubelet() {
  (umask 077 && make_certificate node ca /O=system:nodes/CN=system:node:$node "DNS:$node,IP:127.0.0.1")
  write_kubeconfig "$RUN_DIR/kubelet.kubeconfig" node "$server"
  is_running kubelet || start_process kubelet "$node_bin/kubelet" --config="$RUN_DIR/kubelet.yaml" --kubeconfig="$RUN_DIR/kubelet.kubeconfig" \
    --root-dir="$RUN_DIR/kubelet" --cert-dir="$RUN_DIR/kubelet/pki" --hostname-override="$node" --node-ip="$gateway" --v=1
  await_process kubelet 60 curl -sf --max-time 2 "http://127.0.0.1:$((PORT_BASE + 248))/healthz"
}

start_proxy() {
  write_kubeconfig "$RUN_DIR/proxy.kubeconfig" admin "$server"
  is_running proxy || start_process proxy "$node_bin/kube-proxy" --kubeconfig="$RUN_DIR/proxy.kubeconfig" --hostname-override="$node" --proxy-mode=iptables \
    --cluster-cidr="$pods" --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0 \
    --healthz-bind-address="127.0.0.1:$((PORT_BASE + 256))" --metrics-bind-address="127.0.0.1:$((PORT_BASE + 249))"
  await_process proxy 60 curl -sf --max-time 2 "http://127.0.0.1:$((PORT_BASE + 256))/livez"
}

# Pods reach the API server, which listens on loopback only, by the bridge's address.
start_forward() {
  ip link show "$bridge" >/dev/null 2>&1 || ip link add "$bridge" type bridge
  ip addr replace "$gateway/24" dev "$bridge"
  ip link set "$bridge" up
  local port=$((PORT_BASE + 443))
  is_running api-forward || start_process api-forward socat "TCP-LISTEN:$port,bind=$gateway,fork,reuseaddr" "TCP:127.0.0.1:$port"
}

# A Service without endpoints refuses: kube-proxy's own rule comes after those by which kube-router lets pods out, and what isn't refused leaves
# this machine by its default route, where anything may answer. Where packets of pods go is decided when their Service has become an endpoint.
dead_services=4077 # a routing table
refuse_dead_services() {
  ip route replace unreachable default table "$dead_services"
  ip rule add iif "$bridge" to "$services" lookup "$dead_services" 2>/dev/null || true
}

# What enforces NetworkPolicies; the bridge doesn't.
start_policies() {
  is_running policies || start_process policies "$node_bin/kube-router" --kubeconfig="$RUN_DIR/proxy.kubeconfig" --hostname-override="$node" --run-firewall \
    --run-router=false --run-service-proxy=false "--service-cluster-ip-range=$services" --health-port=0 \
    --metrics-addr=127.0.0.1 --metrics-port=$((PORT_BASE + 244)) --v=1
  await_process policies 60 iptables -n -L KUBE-ROUTER-FORWARD
}

up() {
  local program
  for program in containerd runc ctr; do command -v "$program" >/dev/null || fail "no $program: apt-get install containerd runc containernetworking-plugins"; done
  for program in kubelet kube-proxy kube-router; do [[ -x $node_bin/$program ]] || fail "no $program in $node_bin: e2e/hosted/build.sh"; done
  start_forward
  write_containerd
  write_kubelet
  start_containerd
  start_kubelet
  start_proxy
  kubectl_admin wait --for=condition=Ready "node/$node" --timeout=90s >/dev/null || fail "the node isn't Ready: see $RUN_DIR/kubelet.log"
  start_policies
  refuse_dead_services
  kubectl_admin get node "$node" --no-headers -o wide
}

# Containers outlive their runtime, so they go first, by its own words.
remove_containers() {
  [[ -S $socket ]] || return 0
  local id
  for id in $(containers tasks list -q 2>/dev/null); do containers tasks kill --signal KILL --all "$id" 2>/dev/null || true; done
  sleep 1
  for id in $(containers tasks list -q 2>/dev/null); do containers tasks delete --force "$id" >/dev/null 2>&1 || true; done
  for id in $(containers containers list -q 2>/dev/null); do containers containers delete "$id" >/dev/null 2>&1 || true; done
}

# Only chains of kube-proxy, kube-router and the CNI plugins, and kube-router's sets, which nothing else on this machine uses while the run lasts.
remove_rules() {
  local family
  for family in iptables ip6tables; do
    "$family-save" 2>/dev/null | grep -vE 'KUBE-|CNI-|kube-router' | "$family-restore" 2>/dev/null || true
  done
  local set
  for set in $(ipset list -name 2>/dev/null | grep -E '^(inet6:)?(KUBE-|kube-router-|TMP-)'); do ipset destroy "$set" 2>/dev/null || true; done
  ip link delete "$bridge" 2>/dev/null || true
  ip rule del iif "$bridge" to "$services" lookup "$dead_services" 2>/dev/null || true
  ip route flush table "$dead_services" 2>/dev/null || true
}

down() {
  stop_processes 15 kubelet proxy policies api-forward
  remove_containers
  stop_processes 15 containerd
  local mount
  while read -r mount; do umount -l "$mount" 2>/dev/null || true; done < <(awk -v below="$RUN_DIR/" 'index($2, below) == 1 { print $2 }' /proc/mounts | sort -r)
  remove_rules
  rm -rf "$RUN_DIR/containerd" "$RUN_DIR/containerd-state" "$RUN_DIR/kubelet" "$RUN_DIR/cni" "$RUN_DIR/cni-addresses"
}

case ${1:-} in
  up) up ;;
  down) down ;;
  *) fail "node.sh up|down" ;;
esac
