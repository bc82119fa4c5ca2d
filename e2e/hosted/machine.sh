# shellcheck shell=bash
# A story of e2e/hosted/run.sh: a real host (e2e/hosts) becomes a node of a hosted control plane. To be sourced after world.sh.
# shellcheck disable=SC2034,SC2030,SC2031 # variables of e2e/hosts, in subshells

real_machine() (
  # Of e2e/hosts: their names are this story's only.
  namespace=prod count=1
  api=https://10.244.77.1:$((PORT_BASE + 443)) # as pods reach the meta cluster
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
  shop=http://$net.1:$((PORT_BASE + 95))
  business=three
  e2e/hosts/build.sh
  mkdir -p "$RUN_DIR/shop"
  hack/agent_bundle.sh "$RUN_DIR/shop/agent.tar.gz"
  network_up
  start_process shop busybox httpd -f -p "$net.1:$((PORT_BASE + 95))" -h "$RUN_DIR/shop"
  runtime_package containerd-old 1.6.20 "$cache/containerd-old"
  network_package
  kubelet_package real "$(kube_bin_dir)/previous/kubelet" # never newer than its API server
  pause=$(image pause '["/bin/sleep","1000000"]') counter=$(image counter '["/bin/sh"]')
  host_on h1
  enrol h1
  start_agent h1
  machine real three containerd-old kubelet-real
  await 60 "a bare host becomes a schedulable node of a hosted cluster" machine_is Running
  [[ $(b get nodes -o name) == node/h1 ]] || fail "three has not this one node: $(b get nodes)"
  ok "its kubelet is known by a certificate of the hosted cluster: $(in_host h1 cat /var/lib/kubelet/pki/kubelet-client-current.pem | openssl x509 -noout -issuer)"
  import_images h1
  kubectl_admin() { b "$@"; } # the pod is of the hosted cluster
  counter_pods
  await 60 "its scheduler and controllers put a pod on it, which counts" in_host h1 test -s /var/lib/e2e/count
  counter_pids_of h1 >"$RUN_DIR/counter"
)
machine_is() { [[ $(k get machines.endstate.dev real -o jsonpath='{.status.phase}') == "$1" ]]; }
counter_process() (
  # shellcheck source=e2e/hosts/lib.sh
  source "$ROOT/e2e/hosts/lib.sh"
  # shellcheck source=e2e/hosts/cluster.sh
  source "$ROOT/e2e/hosts/cluster.sh"
  counter_pids_of h1
)

# By its Lease in the cluster, whose API servers may just be back.
heard_since() { [[ $(b get leases -n endstate-system -o json | jq -r '[.items[] | select(.metadata.name | startswith("host-")) | .spec.renewTime] | max') > $1 ]]; }

# Its control plane was released, taken back, repaired, restored: the pod on it hasn't noticed.
machine_kept() {
  await 90 "after all that, the real machine's agent is heard" heard_since "$(date -u +%Y-%m-%dT%H:%M:%S)"
  await 60 "the machine is Running" machine_is Running
  [[ $(counter_process) == "$(<"$RUN_DIR/counter")" ]] || fail "the pod on it was started again"
  ok "and the pod on it has the process that it had"
}

stop_real_machine() (
  # shellcheck source=e2e/hosts/lib.sh
  source "$ROOT/e2e/hosts/lib.sh"
  host_off h1
  stop_processes 10 shop
  network_down
  disk_away h1
  rm -rf "${hosts:?}" "$RUN_DIR/shop"
) 2>/dev/null
