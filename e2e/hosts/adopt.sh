# shellcheck shell=bash
# A node that somebody joined by hand is taken over, and no container of it ends: of e2e/hosts/run.sh. To be sourced after stories.sh.
# shellcheck disable=SC2154 # variables of run.sh and of the other parts

# h1 is made nobody's, and then what the pages of Kubernetes tell people to do: binaries, units, and a kubeconfig that an administrator signed.
by_hand() {
  local disk=$hosts/h1
  in_host h1 systemctl disable --now endstate-agent >/dev/null 2>&1
  rm -rf "${disk:?}$identity" "$disk"/usr/local/{bin/endstate-agent,lib/endstate} "$disk/etc/systemd/system/endstate-agent.service" "$disk/etc/endstate"
  kubectl_admin delete host h1 >/dev/null
  mkdir -p "$disk"/etc/{containerd,kubernetes,cni/net.d} "$disk/opt/cni/bin"
  cp "$cache"/containerd-new/{containerd,containerd-shim-runc-v2,ctr} "$(kube_bin_dir)/kubelet" "$disk/usr/local/bin/"
  cp "$cache"/cni/* "$disk/opt/cni/bin/"
  cat >"$disk/etc/containerd/config.toml" <<'TOML'
# by hand
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/library/pause:e2e"
  restrict_oom_score_adj = true
TOML
  cat >"$disk/etc/cni/net.d/10-bridge.conflist" <<'JSON'
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.232.0.0/24"}]]}}]}
JSON
  cat >"$disk/etc/systemd/system/containerd.service" <<'UNIT'
[Unit]
Description=containerd, by hand
[Service]
ExecStart=/usr/local/bin/containerd
Type=notify
Delegate=yes
KillMode=process
[Install]
WantedBy=multi-user.target
UNIT
  cat >"$disk/etc/kubernetes/by-hand.yaml" <<'YAML'
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /endstate-h1
failSwapOn: false
evictionHard: {memory.available: 10Mi, nodefs.available: 1%, imagefs.available: 1%}
YAML
  cat >"$disk/etc/systemd/system/kubelet.service" <<'UNIT'
[Unit]
Description=kubelet, by hand
[Service]
ExecStart=/usr/local/bin/kubelet --config=/etc/kubernetes/by-hand.yaml --kubeconfig=/etc/kubernetes/kubelet.conf --hostname-override=h1
KillMode=process
[Install]
WantedBy=multi-user.target
UNIT
  make_certificate node-h1 ca /O=system:nodes/CN=system:node:h1
  write_kubeconfig "$disk/etc/kubernetes/kubelet.conf" node-h1 "$api"
  in_host h1 sh -c 'systemctl daemon-reload && sysctl -qw net.ipv4.ip_forward=1 && systemctl enable --now containerd kubelet 2>/dev/null'
}
by_hand_files() { (cd "$hosts/h1" && sha256sum usr/local/bin/{containerd,containerd-shim-runc-v2,ctr,kubelet} etc/containerd/config.toml etc/cni/net.d/10-bridge.conflist etc/systemd/system/{containerd,kubelet}.service); }
node_uid() { kubectl_admin get node h1 -o jsonpath='{.metadata.uid}'; }
adopted_is() { kubectl_admin get machine adopted -o json | jq -e --arg type "$1" --arg reason "$2" 'any(.status.conditions[]; .type == $type and .reason == $reason)' >/dev/null; }

story_adopt() {
  local before files pids_of_h1
  counters_away
  by_hand
  case_joins() { until_true 90 node_ready True || { in_host h1 journalctl --no-pager -n 20 -o cat -u kubelet -u containerd && false; }; }
  check "a host that was set up by hand joins the cluster" case_joins
  import_images h1
  in_host h1 rm -rf /var/lib/e2e
  counter_label='endstate.dev/readiness-gate: CounterReady' counter_pods
  check "and runs a pod" until_true 60 in_host h1 test -s /var/lib/e2e/count
  before=$(node_uid) files=$(by_hand_files) pids_of_h1=$(counter_pids_of h1)
  enrol h1
  start_agent h1
  machine adopted real containerd-new "kubelet-$kubelet_new" '{conditionType: RuntimeReady}, {conditionType: CounterReady}'
  check "its node isn't taken without its owner's word" until_true 120 adopted_is NodeReady NodeNameTaken
  case_untouched() { diff <(printf '%s\n' "$files") <(by_hand_files); }
  check "and nothing is put on its host meanwhile" case_untouched
  kubectl_admin annotate node h1 endstate.dev/adopt=true >/dev/null # what stands on a Node, its kubelet may have written
  sleep 5 # time enough for an operator that believed it
  check "nor by what its Node says" adopted_is NodeReady NodeNameTaken
  kubectl_admin annotate machine adopted "endstate.dev/adopt-node=$(node_uid)" >/dev/null
  check "with it, the machine runs; the pod of a DaemonSet is one of its gates" timed "a node joined by hand, from the word to Running" until_true 90 running_machines 1
  case_gate() { adopted_is CounterReady Ready && kubectl_admin get machine adopted -o json | jq -e 'any(.status.conditions[]; .type == "CounterReady" and (.message | startswith("pod default/counter-")))'; }
  check "the gate says which pod speaks for it" case_gate
  case_node() { [[ $(node_uid) == "$before" ]] && kubectl_admin get node h1 -o json | jq -e '.spec.taints == null' >/dev/null; }
  check "the node is the one that it was, and open" case_node
  case_counter() { echo "before: $pids_of_h1 now: $(counter_pids_of h1)" && [[ -n $pids_of_h1 && $(counter_pids_of h1) == "$pids_of_h1" ]] && host_never_skipped h1; }
  check "no container of it was harmed" case_counter
  case_own() { in_host h1 sh -c 'systemctl cat kubelet containerd | grep -c "by hand" | grep -x 0 && test -s /var/lib/kubelet/pki/kubelet-client-current.pem'; }
  check "units and credentials are endstate's now" case_own
  kubectl_admin delete daemonset counter >/dev/null
  kubectl_admin delete machine adopted --wait=false >/dev/null
  check "deleted, its host is free" until_true 180 hosts_free
  check "and what somebody put there is back" case_untouched
}
