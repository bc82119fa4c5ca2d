# shellcheck shell=bash
# The meta cluster of e2e/hosted/run.sh: a real control plane on loopback, this machine as its node, images, volumes, and endstate from its own chart. To be
# sourced after lib.sh.
readonly volumes=8

stop_world() {
  stop_processes 10 prober fleet
  stop_real_machine || true
  "$ROOT/e2e/hosted/node.sh" down
  "$ROOT/e2e/kubernetes/down.sh"
  rm -rf "${RUN_DIR:?}/volumes"
}

containers() { ctr --address "$RUN_DIR/containerd.sock" --namespace k8s.io "$@"; }
# import NAME:TAG PROGRAM...
import() { "$ROOT/hack/image.sh" "endstate.local/$1" "${@:2}" | containers images import - >/dev/null; }

import_images() {
  local bin name began
  began=$(ms)
  bin=$(kube_bin_dir)
  import pause:1 "$ROOT/.cache/hosted/pause"
  import etcd:3.6 "$bin"/{etcd,etcdctl,etcdutl}
  for name in kube-apiserver kube-controller-manager kube-scheduler; do
    import "$name:$kubernetes" "$bin/$name"
    import "$name:$kubernetes_before" "$bin/previous/$name"
  done
  import shell:1 /bin/bash /usr/bin/timeout /bin/mv
  import "operator:$endstate" "$BUILD_BIN/endstate-operator"
  say "images made and imported: $((($(ms) - began) / 1000)) s"
}

make_volumes() {
  local i
  kubectl_admin apply -f - >/dev/null <<'YAML'
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: local}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
YAML
  for ((i = 0; i < volumes; i++)); do
    mkdir -p "$RUN_DIR/volumes/$i"
    mount -t tmpfs -o size=400m,uid=65532,gid=65532,mode=700 endstate "$RUN_DIR/volumes/$i" # a disk that can be filled
    cat <<YAML
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: volume-$i}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: local
  persistentVolumeReclaimPolicy: Retain
  local: {path: $RUN_DIR/volumes/$i}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [meta-1]}]}]}}
YAML
  done | kubectl_admin apply -f - >/dev/null
}

# package NAME VERSION [API-SERVER-FLAG]: small requests, since a node of two cores gets two control planes.
package() {
  local small='resources: {requests: {cpu: 10m, memory: 32Mi}}'
  kubectl_admin apply -f - >/dev/null <<YAML
apiVersion: endstate.dev/v1alpha1
kind: ClusterPackageVersion
metadata: {name: $1}
spec:
  kubernetesVersion: $2
  components:
    etcd: {image: "endstate.local/etcd:3.6", args: ["--unsafe-no-fsync"], $small}
    kubeAPIServer: {image: "endstate.local/kube-apiserver:$2", args: ["${3:---v=1}", "--etcd-compaction-interval=20s"], $small}
    kubeControllerManager: {image: "endstate.local/kube-controller-manager:$2", $small}
    kubeScheduler: {image: "endstate.local/kube-scheduler:$2", $small}
  addons:
  - name: notes
    manifest: |
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: of-$1, namespace: notes}
      data: {kubernetes: "$2"}
      ---
      apiVersion: v1
      kind: Namespace
      metadata: {name: notes}
YAML
}

cluster() { # NAME REPLICAS POLICY
  k apply -f - >/dev/null <<YAML
apiVersion: endstate.dev/v1alpha1
kind: Cluster
metadata: {name: $1}
spec:
  packageVersion: {name: before}
  clusterNetwork: {services: {cidrBlocks: ["10.112.0.0/16"]}, pods: {cidrBlocks: ["10.128.0.0/14"]}}
  controlPlane:
    type: Hosted
    replicas: $2
    etcd: {replicas: $2, storage: {storageClassName: local, size: 1Gi, deletionPolicy: $3}}
    rollout: {soakSeconds: 5, progressDeadlineSeconds: 60}
YAML
}

# endstate as its users install it.
install_endstate() {
  "$(kube_bin_dir)/helm" --kubeconfig "$RUN_DIR/kubeconfig" install endstate "$ROOT/charts/endstate" --namespace endstate-system --create-namespace \
    --set hostedControlPlanes.enabled=true --set image.repository=endstate.local/operator --set-string "image.tag=$endstate" --set "networkPolicy.egressPorts={443,6443,$((PORT_BASE + 443))}" \
    --wait --timeout 120s >"$RUN_DIR/helm.log" 2>&1 || {
    kubectl_admin get pods -A -o wide
    operator_logs | tail -n 20
    fail "helm install: $(<"$RUN_DIR/helm.log")"
  }
}
operator_logs() { find "$RUN_DIR/pod-logs" -path '*endstate-operator*' -name '*.log' -exec cat {} +; }
operator_pod() { kubectl_admin get lease endstate-operator -n endstate-system -o jsonpath='{.spec.holderIdentity}'; }
operator_metrics() { kubectl_admin get --raw "/api/v1/namespaces/endstate-system/pods/$(operator_pod):8080/proxy/metrics"; }

start_world() {
  stop_world # what an earlier, broken run left
  POD_GATEWAY=10.244.77.1 SERVING_NAMES=IP:10.244.77.1 MORE_CONTROLLERS="endpoints-controller endpointslice-controller persistentvolume-binder-controller
    persistentvolumeclaim-protection-controller persistentvolume-protection-controller" "$ROOT/e2e/kubernetes/up.sh"
  "$ROOT/e2e/hosted/node.sh" up
  kubernetes=$(kubectl_admin version -o json | jq -r .serverVersion.gitVersion)
  kubernetes_before=$("$(kube_bin_dir)/previous/kube-apiserver" --version | cut -d ' ' -f 2)
  endstate=$("$BUILD_BIN/endstate-operator" --version)
  import_images
  kubectl_admin create namespace prod >/dev/null
  kubectl_admin label namespace prod pod-security.kubernetes.io/enforce=restricted >/dev/null
  make_volumes
  install_endstate
  package before "$kubernetes_before"
  package good "$kubernetes"
  package again "$kubernetes" --v=0
  package bad "$kubernetes" --no-such-flag=1
  package nowhere "${kubernetes}9" # a patch of which there is no image
}
