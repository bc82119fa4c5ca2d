# shellcheck shell=bash
# The packages of e2e/hosts: what a package of a container runtime, a network, a kubelet and an agent looks like. To be sourced after lib.sh.
# shellcheck disable=SC2034,SC2154 # variables of run.sh and of the other parts

# stdin: more of the spec, in YAML, two blanks deep. DESTINATION "-": a package of the distribution, of the method that METHOD names.
package() { # OBJECT PACKAGE VERSION FILE SHA DESTINATION [METHOD]
  {
    cat <<YAML
apiVersion: endstate.dev/v1alpha1
kind: MachinePackageVersion
metadata: {name: $1}
spec:
  packageName: $2
  version: "$3"
  install:
    method: ${7:-Archive}
    artifacts: [{arch: amd64, url: "$shop/$4", sha256: $5}]
YAML
    [[ $6 == - ]] || printf '    destination: %s\n' "$6"
    cat
  } | kubectl_admin apply -f - >/dev/null
}

# runtime_package OBJECT VERSION FOLDER [LAST-LINE-OF-THE-UNIT] [BINARY-OF-THE-OCI-RUNTIME] [DISRUPTION]
runtime_package() {
  local work sha
  work=$(mktemp -d)
  mkdir "$work/bin" "$work/share"
  cp "$3"/{containerd,containerd-shim-runc-v2,ctr} "$work/bin/"
  printf '%s\n' "$2" >"$work/share/containerd-version" # so that each is an artifact of its own
  sha=$(archive "$1" "$work")
  rm -rf "$work"
  package "$1" containerd "$2" "$1.tar.gz" "$sha" /usr/local <<YAML
$([[ -z ${5:-} ]] || printf '  requires: [{packageName: %s}]' "${5##*/}")
  disruption: ${6:-RestartService}
  files:
  - path: /etc/containerd/config.toml
    content: |
      version = 2
      [plugins."io.containerd.grpc.v1.cri"]
        sandbox_image = "docker.io/library/pause:e2e"
        restrict_oom_score_adj = true
        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
          runtime_type = "io.containerd.runc.v2"
          [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
            BinaryName = "${5:-/usr/sbin/runc}"
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
  package cni-1.1.1 cni 1.1.1 cni-1.1.1.tar.gz "$sha" /opt/cni <<'YAML'
  files:
  - path: /etc/cni/net.d/10-bridge.conflist
    content: |
      {"cniVersion": "0.4.0", "name": "pods", "plugins": [
        {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true,
         "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.232.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
  disruption: None
YAML
}

# kubelet_package VERSION BINARY
kubelet_package() {
  local work sha
  work=$(mktemp -d)
  mkdir "$work/bin"
  cp "$2" "$work/bin/kubelet"
  sha=$(archive "kubelet-$1" "$work")
  rm -rf "$work"
  package "kubelet-$1" kubelet "$1" "kubelet-$1.tar.gz" "$sha" /usr/local <<'YAML'
  requires: [{packageName: containerd}, {packageName: cni}]
  files:
  - path: /etc/kubernetes/kubelet.yaml
    content: |
      apiVersion: kubelet.config.k8s.io/v1beta1
      kind: KubeletConfiguration
      authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: /etc/endstate/kubelet/ca.crt}}
      authorization: {mode: AlwaysAllow}
      rotateCertificates: true
      serverTLSBootstrap: true
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
      ExecStart=/usr/local/bin/kubelet --config=/etc/kubernetes/kubelet.yaml --bootstrap-kubeconfig=/etc/endstate/kubelet/bootstrap-kubeconfig --kubeconfig=/var/lib/kubelet/kubeconfig --hostname-override=${endstate.nodeName}
      KillMode=process
      Restart=always
      RestartSec=2
  probes: [{name: healthz, httpURL: "http://127.0.0.1:10248/healthz", periodSeconds: 1, failureThreshold: 60}]
  hooks:
  - {name: forget-node, point: PreUninstall, command: [/bin/rm, -rf, /var/lib/kubelet/pki, /var/lib/kubelet/kubeconfig]}
YAML
}

# agent_package VERSION SCRIPT: the agent itself; SCRIPT: the text of a program in its place, "" for the real one, which it finds beside it as `real`.
agent_package() {
  local work sha
  work=$(mktemp -d)
  tar -C "$work" -xf "$RUN_DIR/shop/agent.tar.gz"
  if [[ -n $2 ]]; then
    mv "$work/bin/endstate-agent" "$work/bin/real"
    printf '#!/bin/sh\n%s\n' "$2" >"$work/bin/endstate-agent"
    chmod 755 "$work/bin/endstate-agent"
  fi
  sha=$(archive "agent-$1" "$work")
  rm -rf "$work"
  package "agent-$1" endstate-agent "$1" "agent-$1.tar.gz" "$sha" - <<<'  disruption: None'
}

# slow_deb: a package whose configuration takes a while; prints its file.
slow_deb() {
  local work=$RUN_DIR/shop/slow
  mkdir -p "$work/DEBIAN" "$work/usr/share/e2e-slow"
  printf 'Package: e2e-slow\nVersion: 1.0-1\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\nDescription: takes its time\n' >"$work/DEBIAN/control"
  printf '#!/bin/sh\nsleep 8\n' >"$work/DEBIAN/postinst"
  chmod 755 "$work/DEBIAN/postinst"
  printf 'there\n' >"$work/usr/share/e2e-slow/data"
  dpkg-deb --root-owner-group --build "$work" "$work.deb" >/dev/null
  printf '%s' "$work.deb"
}

# deb_package OBJECT FILE [SPEC]: a package of Debian, as it is.
deb_package() {
  local sha name version
  cp "$2" "$RUN_DIR/shop/$1.deb"
  sha=$(sha256sum "$2" | cut -d ' ' -f 1)
  name=$(dpkg-deb -f "$2" Package) version=$(dpkg-deb -f "$2" Version)
  package "$1" "$name" "$version" "$1.deb" "$sha" - Deb <<<"${3:-  disruption: None}"
}
