#!/usr/bin/env bash
# run.sh: real hosts become nodes, are upgraded in place, go back from a bad version, and are bare again (`make e2e-hosts`). As root.
#
#   E2E_REAL_HOSTS   how many (default 1, at most 9)
#   RUN_DIR, PORT_BASE   default .run/hosts and 19000
#
# A real control plane on loopback, endstate-operator, and machines of systemd-nspawn with a real systemd, containerd, runc and kubelet, each with
# endstate-agent as its only way to any of these. Artifacts are served over the run's own bridge. Everything that was started is stopped again.
set -euo pipefail
RUN_DIR=${RUN_DIR:-.run/hosts} PORT_BASE=${PORT_BASE:-19000}
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
# shellcheck source=e2e/hosts/lib.sh
source "$ROOT/e2e/hosts/lib.sh"
# shellcheck source=e2e/scenarios/cases.sh
source "$ROOT/e2e/scenarios/cases.sh"
# shellcheck source=e2e/kubernetes/pki.sh
source "$ROOT/e2e/kubernetes/pki.sh"
cd "$ROOT"
count=${E2E_REAL_HOSTS:-1}
api=https://$net.1:$((PORT_BASE + 443))
shop=http://$net.1:$((PORT_BASE + 95))
((EUID == 0)) || fail "hosts are booted as root"
for program in endstate-agent endstate-operator; do [[ -x $BUILD_BIN/$program ]] || fail "no $BUILD_BIN/$program: run 'make build'"; done

all_hosts() { seq -f 'h%g' 1 "$count"; }
down() {
  local name
  for name in $(all_hosts); do host_off "$name" || true; done 2>/dev/null
  stop_processes 10 operator shop api-forward
  network_down
  e2e/kubernetes/down.sh
  rm -rf "$hosts" "$RUN_DIR/shop"
}
with_lock 7 hosts # two runs in one RUN_DIR would take each other apart
down >/dev/null 2>&1 || true
trap down EXIT

# --- the world -----------------------------------------------------------------------------------------------------------------------------------
e2e/hosts/build.sh
mkdir -p "$RUN_DIR/shop"
e2e/kubernetes/up.sh
hack/install.sh
network_up
start_process api-forward socat "TCP-LISTEN:$((PORT_BASE + 443)),bind=$net.1,fork,reuseaddr" "TCP:127.0.0.1:$((PORT_BASE + 443))"
start_process shop busybox httpd -f -p "$net.1:$((PORT_BASE + 95))" -h "$RUN_DIR/shop"

# The server's certificate is for loopback and localhost.
host_kubeconfig() { # FILE NAME: of a certificate
  write_kubeconfig "$1" "$2" "$api"
  sed -i 's|cluster: {server:|cluster: {tls-server-name: localhost, server:|' "$1"
}

start_operator() {
  local token
  token=$(kubectl_admin create token endstate-operator -n endstate-system --duration=4h)
  (umask 077 && kubectl_admin config view --raw --flatten --minify -o json |
    jq --arg token "$token" '.users = [{name: "operator", user: {token: $token}}] | .contexts[0].context.user = "operator"' >"$RUN_DIR/operator.kubeconfig")
  start_process operator "$BUILD_BIN/endstate-operator" --kubeconfig "$RUN_DIR/operator.kubeconfig" --identity e2e-hosts --namespace endstate-system \
    --http-address "127.0.0.1:$((PORT_BASE + 80))"
  await_process operator 60 curl -sf --max-time 2 "http://127.0.0.1:$((PORT_BASE + 80))/readyz"
}

# --- packages ------------------------------------------------------------------------------------------------------------------------------------
# stdin: more of the spec, in YAML, two blanks deep.
package() { # OBJECT PACKAGE VERSION ARCHIVE SHA DESTINATION
  { cat <<YAML
apiVersion: endstate.dev/v1alpha1
kind: MachinePackageVersion
metadata: {name: $1}
spec:
  packageName: $2
  version: "$3"
  install:
    method: Archive
    destination: $6
    artifacts: [{arch: amd64, url: "$shop/$4.tar.gz", sha256: $5}]
YAML
    cat
  } | kubectl_admin apply -f - >/dev/null
}

runtime_package() { # OBJECT VERSION FOLDER [LAST-LINE-OF-THE-UNIT]
  local work sha
  work=$(mktemp -d)
  mkdir "$work/bin"
  cp "$3"/{containerd,containerd-shim-runc-v2,ctr} "$work/bin/"
  sha=$(archive "$1" "$work")
  rm -rf "$work"
  package "$1" containerd "$2" "$1" "$sha" /usr/local <<YAML
  files:
  - path: /etc/containerd/config.toml
    content: |
      version = 2
      [plugins."io.containerd.grpc.v1.cri"]
        sandbox_image = "docker.io/library/pause:e2e"
        restrict_oom_score_adj = true
  sysctls: [{name: net.ipv4.ip_forward, value: "1"}]
  service:
    unit: containerd.service
    content: |
      [Unit]
      Description=containerd $2
      [Service]
      ExecStart=/usr/local/bin/containerd
      Type=notify
      Delegate=yes
      KillMode=process
      Restart=always
      RestartSec=2
      ${4:-}
  probes: [{name: answers, command: [/usr/local/bin/ctr, version], periodSeconds: 1, failureThreshold: 15}]
  hooks:
  - {name: stop-containers, point: PreUninstall, command: [/bin/sh, -c, "ctr -n k8s.io tasks ls -q | xargs -r -n1 ctr -n k8s.io tasks kill -s SIGKILL"], onFailure: Ignore}
YAML
}

network_package() {
  local work sha
  work=$(mktemp -d)
  mkdir "$work/bin"
  cp "$cache"/cni/* "$work/bin/"
  sha=$(archive cni-1.1.1 "$work")
  rm -rf "$work"
  package cni-1.1.1 cni 1.1.1 cni-1.1.1 "$sha" /opt/cni <<'YAML'
  files:
  - path: /etc/cni/net.d/10-bridge.conflist
    content: |
      {"cniVersion": "0.4.0", "name": "pods", "plugins": [
        {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true,
         "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.232.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
  disruption: None
YAML
}

kubelet_package() {
  local work sha
  work=$(mktemp -d)
  mkdir "$work/bin"
  cp "$cache/kubelet" "$work/bin/"
  sha=$(archive kubelet-1.34.4 "$work")
  rm -rf "$work"
  package kubelet-1.34.4 kubelet 1.34.4 kubelet-1.34.4 "$sha" /usr/local <<'YAML'
  requires: [{packageName: containerd}, {packageName: cni}]
  files:
  - path: /etc/kubernetes/kubelet.yaml
    content: |
      apiVersion: kubelet.config.k8s.io/v1beta1
      kind: KubeletConfiguration
      authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: /etc/kubernetes/ca.crt}}
      authorization: {mode: AlwaysAllow}
      containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
      cgroupDriver: cgroupfs
      cgroupRoot: /endstate-${endstate.nodeName}
      failSwapOn: false
      evictionHard: {memory.available: 10Mi, nodefs.available: 1%, imagefs.available: 1%}
      imageGCHighThresholdPercent: 100
      imageGCLowThresholdPercent: 99
      registerWithTaints: [{key: endstate.dev/not-ready, effect: NoSchedule}]
  service:
    unit: kubelet.service
    content: |
      [Unit]
      Description=kubelet
      After=containerd.service
      [Service]
      ExecStart=/usr/local/bin/kubelet --config=/etc/kubernetes/kubelet.yaml --kubeconfig=/etc/kubernetes/kubelet.kubeconfig --hostname-override=${endstate.nodeName}
      KillMode=process
      Restart=always
      RestartSec=2
  probes: [{name: healthz, httpURL: "http://127.0.0.1:10248/healthz", periodSeconds: 1, failureThreshold: 60}]
YAML
}

# --- hosts ---------------------------------------------------------------------------------------------------------------------------------------
# What a person or an inventory system does: the Host, and the host's credentials on its disk.
enrol() {
  local name=$1 uid disk=$hosts/$1
  kubectl_admin apply -f - >/dev/null <<YAML
apiVersion: endstate.dev/v1alpha1
kind: Host
metadata: {name: $name, namespace: default}
spec: {address: $(host_address "$name"), hardware: {idc: e2e, rack: $name}}
YAML
  uid=$(kubectl_admin get host "$name" -o jsonpath='{.metadata.uid}')
  kubectl_admin patch host "$name" --subresource=status --type=merge -p '{"status":{"phase":"Ready"}}' >/dev/null
  sed "s/HOST_UID/$uid/" manifests/agent/host.yaml | kubectl_admin apply -f - >/dev/null
  make_certificate "agent-$name" ca "/O=endstate:agents/CN=endstate:host:$uid"
  make_certificate "kubelet-$name" ca "/O=system:nodes/CN=system:node:$name"
  mkdir -p "$disk/etc/endstate" "$disk/etc/kubernetes"
  host_kubeconfig "$disk/etc/endstate/kubeconfig" "agent-$name"
  host_kubeconfig "$disk/etc/kubernetes/kubelet.kubeconfig" "kubelet-$name"
  cp "$PKI/ca.crt" "$disk/etc/kubernetes/ca.crt"
  cp "$BUILD_BIN/endstate-agent" "$disk/usr/local/bin/endstate-agent"
  cp manifests/agent/endstate-agent.service "$disk/etc/systemd/system/"
  printf 'kubeconfig = "/etc/endstate/kubeconfig"\nhost-uid = "%s"\nallow-url = ["%s/"]\nlease-seconds = 10\n' "$uid" "$shop" >"$disk/etc/endstate/agent.conf"
}

machine_set() { # CONTAINERD
  kubectl_admin apply -f - >/dev/null <<YAML
apiVersion: endstate.dev/v1alpha1
kind: MachineSet
metadata: {name: workers, namespace: default}
spec:
  clusterName: real
  replicas: $count
  selector: {matchLabels: {pool: workers}}
  template:
    metadata: {labels: {pool: workers}}
    spec:
      packages:
      - {name: runtime, versionRef: {name: $1}}
      - {name: network, versionRef: {name: cni-1.1.1}}
      - {name: kubelet, versionRef: {name: kubelet-1.34.4}}
      readinessGates: [{conditionType: RuntimeReady}, {conditionType: NetworkReady}]
  rollout: {type: InPlace, maxUnavailable: 1, machineTimeoutSeconds: 300}
YAML
}

# until SECONDS COMMAND...
until_true() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || return 1
    sleep 0.3
  done
}
running_machines() { [[ $(kubectl_admin get machines.endstate.dev -o json | jq '[.items[] | select(.status.phase == "Running")] | length') == "$1" ]]; }
reported() { # SLOT VERSION: of all hosts
  [[ $(kubectl_admin get hostassignments -o json | jq --arg slot "$1" --arg version "$2" \
    '[.items[].status.packages[]? | select(.name == $slot and .state == "Ready" and .actual.name == $version)] | length') == "$count" ]]
}
rollout_is() { [[ $(kubectl_admin get machineset workers -o jsonpath='{.status.rollout.phase}') == "$1" ]]; }
pods_run() { [[ $(kubectl_admin get pods -n default -l app=counter --field-selector status.phase=Running -o name | wc -l) == "$count" ]]; }
# The counters' processes, by host: their PIDs there.
counter_pids() { for name in $(all_hosts); do in_host "$name" pgrep -f 'e2e-counter' | sort | tr '\n' ' '; done; }
counts() { for name in $(all_hosts); do in_host "$name" sh -c 'cat /var/lib/e2e/count'; done; }

booting=()
for name in $(all_hosts); do
  host_on "$name" &
  booting+=($!)
done
for pid in "${booting[@]}"; do wait "$pid" || fail "a host doesn't boot"; done # not for all children: servers of the run are some
for name in $(all_hosts); do enrol "$name"; done
runtime_package containerd-old 1.6.20 "$cache/containerd-old"
runtime_package containerd-new 1.7.29 "$cache/containerd-new"
runtime_package containerd-bad 1.7.30 "$cache/containerd-new" 'ExecStartPre=/bin/false'
network_package
kubelet_package
kubectl_admin apply -f - >/dev/null <<'YAML'
apiVersion: endstate.dev/v1alpha1
kind: Cluster
metadata: {name: real, namespace: default}
spec: {controlPlane: {type: External}}
YAML
start_operator
pause=$(image pause '["/bin/sleep","1000000"]')
counter=$(image counter '["/bin/sh"]')

# --- the story -----------------------------------------------------------------------------------------------------------------------------------
began=${EPOCHREALTIME/./}
machine_set containerd-old
for name in $(all_hosts); do in_host "$name" systemctl enable --now endstate-agent >/dev/null 2>&1; done
case_joined() { until_true 240 running_machines "$count"; }
check "$count bare hosts become nodes" case_joined
say "from bare to Running: $(((${EPOCHREALTIME/./} - began) / 1000)) ms"
kubectl_admin get nodes -o wide

# With the very credential that stands on the host.
as_h1() { "$(kubectl_binary)" --kubeconfig "$hosts/h1/etc/endstate/kubeconfig" "$@"; }
h1_uid=$(kubectl_admin get host h1 -o jsonpath='{.metadata.uid}')
check "an agent reads its own orders" as_h1 get hostassignment "$h1_uid"
for what in "get hostassignments" "get secrets -A" "get nodes" "get pods -A" "get hosts -A" "get machinepackageversions" "delete hostassignment $h1_uid"; do
  # shellcheck disable=SC2086 # words
  refuses "an agent may not $what" "forbidden" as_h1 $what
done
refuses "an agent may not change its orders" "forbidden" as_h1 patch hostassignment "$h1_uid" --type=merge -p '{"spec":{"state":"Released"}}'

for name in $(all_hosts); do
  for file in "$pause" "$counter"; do
    cp "$file" "$hosts/$name/root/image.tar"
    in_host "$name" ctr -n k8s.io images import /root/image.tar >/dev/null
  done
done
kubectl_admin apply -f - >/dev/null <<YAML
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: counter, namespace: default}
spec:
  selector: {matchLabels: {app: counter}}
  template:
    metadata: {labels: {app: counter}}
    spec:
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 1
      containers:
      - name: counter
        image: docker.io/library/counter:e2e
        imagePullPolicy: Never
        command: [/bin/sh, -c, 'i=0; while :; do i=\$((i+1)); echo \$i >/count/count; sleep 0.2; done; : e2e-counter']
        volumeMounts: [{name: count, mountPath: /count}]
      volumes: [{name: count, hostPath: {path: /var/lib/e2e, type: DirectoryOrCreate}}]
YAML
check "pods run on them" until_true 60 pods_run
before=$(counter_pids) first=$(counts)

machine_set containerd-new
check "containerd is upgraded in place" until_true 120 reported runtime containerd-new
check "the rollout completes" until_true 60 rollout_is Complete
case_version() { for name in $(all_hosts); do in_host "$name" ctr version | grep '1\.7\.29' >/dev/null || return 1; done; }
check "the new containerd runs" case_version
case_pids() { echo "before: $before now: $(counter_pids)" && [[ -n $before && $(counter_pids) == "$before" ]]; }
check "every container has kept its process" case_pids
case_counting() { sleep 1; paste <(printf '%s\n' "$first") <(counts) | awk '$2 <= $1 { exit 1 }'; }
check "and counts on" case_counting

machine_set containerd-bad
check "a bad version is taken back and rejected" until_true 180 rollout_is RolledBack
check "the one before runs" until_true 60 reported runtime containerd-new
check "every container has kept its process again" case_pids
check "all machines are well" until_true 60 running_machines "$count"

case_drift() {
  in_host h1 rm /etc/containerd/config.toml
  in_host h1 systemctl stop kubelet
  until_true 30 in_host h1 sh -c 'test -e /etc/containerd/config.toml && systemctl is-active kubelet'
}
check "what is changed by hand is put right" case_drift
case_kill_agent() {
  in_host h1 systemctl kill -s KILL endstate-agent
  until_true 20 in_host h1 systemctl is-active endstate-agent && case_pids
}
check "an agent that is killed is back, and harms nothing" case_kill_agent
case_power() {
  host_off h1
  sleep 1
  host_on h1
  until_true 90 running_machines "$count" && until_true 60 pods_run && until_true 60 reported kubelet kubelet-1.34.4
}
check "a host that lost its power comes back as it was" case_power
# What the agent costs while all is well: memory, and processor time over 20 s (clock ticks of 10 ms).
# shellcheck disable=SC2016 # the host's shell expands it
in_host h1 sh -c 'p=$(systemctl show -p MainPID --value endstate-agent)
  ticks() { awk "{ print \$14 + \$15 }" "/proc/$p/stat"; }
  before=$(ticks); sleep 20
  echo "the agent, idle: $(grep VmRSS "/proc/$p/status" | tr -s "\t " " "), $(($(ticks) - before)) ticks of 10 ms in 20 s"'

kubectl_admin delete machineset workers --wait=false >/dev/null
hosts_free() { [[ $(kubectl_admin get hosts -o json | jq '[.items[] | select(.spec.consumerRef == null and .status.phase == "Ready")] | length') == "$count" ]]; }
check "deleted, its hosts are free" until_true 120 hosts_free
case_bare() {
  local name
  for name in $(all_hosts); do
    in_host "$name" sh -c '! ls /usr/local/bin/containerd /usr/local/bin/kubelet /etc/containerd /opt/cni /etc/systemd/system/kubelet.service 2>/dev/null | grep . && ! systemctl is-active containerd kubelet' || return 1
    ! in_host "$name" find /var/lib/endstate/generations /var/lib/endstate/current /var/lib/endstate/displaced -mindepth 1 | grep . || return 1
  done
}
check "and bare" case_bare
finish
