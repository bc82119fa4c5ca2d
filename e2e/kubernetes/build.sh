#!/usr/bin/env bash
# build.sh [TARGET...]: builds the pinned binaries into .cache/kubernetes/bin; without arguments, etcd, kubernetes and helm.
#
#   etcd         etcd, etcdctl, etcdutl
#   kubernetes   kube-apiserver, kube-controller-manager, kube-scheduler, kubectl
#   helm
#   node         kubelet and kube-proxy: for lanes with real pods
#   previous     kube-apiserver, kube-controller-manager and kube-scheduler of the minor before, into .cache/kubernetes/bin/previous
#   previous-node   its kubelet
#   policy       kube-router, which enforces NetworkPolicies
#
# What is pinned is said once, in the go.mod files beside this script. A stamp beside each binary holds the hash of what it was built from, so
# that a second call does nothing. Ready binaries (ENDSTATE_KUBE_BIN_DIR) or a ready cluster (ENDSTATE_KUBECONFIG) mean that nothing
# is built from Go; what `make lint` and the chart's test need of helm is then taken from that directory or the PATH.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"

here=$ROOT/e2e/kubernetes
bin=$ROOT/.cache/kubernetes/bin
(($# > 0)) || set -- etcd kubernetes helm

pinned() { awk -v module="$2" '{ for (i = 1; i < NF; i++) if ($i == module && $(i + 1) ~ /^v/) { print $(i + 1); exit } }' "$1/go.mod"; }

# Version numbers go where the programs look for them; without them kube-apiserver says v0.0.0-master and refuses to compare itself with anything.
kubernetes_flags() { # DIRECTORY
  local version major minor package flags=
  version=$(pinned "$1" k8s.io/kubernetes)
  IFS=. read -r major minor _ <<<"${version#v}"
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$version -X $package.gitMajor=$major -X $package.gitMinor=$minor -X $package.gitTreeState=clean"
  done
  printf '%s' "$flags"
}

# helm compares a chart's kubeVersion with the version of its client library, which its own Makefile passes the same way.
helm_flags() {
  local client minor package flags
  client=$(pinned "$here/helm" k8s.io/client-go)
  IFS=. read -r _ minor _ <<<"${client#v}"
  flags=" -X helm.sh/helm/v3/internal/version.version=$(pinned "$here/helm" helm.sh/helm/v3)"
  for package in pkg/lint/rules pkg/chartutil; do
    flags+=" -X helm.sh/helm/v3/$package.k8sVersionMajor=1 -X helm.sh/helm/v3/$package.k8sVersionMinor=$minor"
  done
  printf '%s' "$flags"
}

# build NAME DIRECTORY PACKAGE LDFLAGS
build() {
  local name=$1 directory=$2 package=$3 flags="-s -w$4" stamp
  stamp=$({
    cat "$directory/go.mod" "$directory/go.sum"
    printf '%s\n' "$package" "$flags" "$(uname -m)"
  } | sha256sum | cut -d ' ' -f 1)
  [[ ! -x $bin/$name || ! -f $bin/.$name.stamp || $(<"$bin/.$name.stamp") != "$stamp" ]] || return 0
  [[ -n ${go:-} ]] || go=$("$here/go.sh")
  local -a command=(env CGO_ENABLED=0 GOTOOLCHAIN=local "$go" build -C "$directory" -buildvcs=false -trimpath -ldflags "$flags" -o "$bin/$name.part" "$package")
  with_progress "building $name $(pinned "$directory" "$(module_of "$package")")" "$bin/$name.log" "${command[@]}" ||
    fail "$name could not be built"
  mv -f "$bin/$name.part" "$bin/$name"
  printf '%s\n' "$stamp" >"$bin/.$name.stamp"
  rm -f "$bin/$name.log"
}
module_of() {
  case $1 in
    */cmd/*) printf '%s' "${1%%/cmd/*}" ;;
    *) printf '%s' "$1" ;;
  esac
}

build_kubernetes() { # DIRECTORY NAME...
  local directory=$1 name
  shift
  for name in "$@"; do build "$name" "$directory" "k8s.io/kubernetes/cmd/$name" "$(kubernetes_flags "$directory")"; done
}

build_target() {
  case $1 in
    etcd)
      build etcd "$here/etcd" go.etcd.io/etcd/server/v3 ''
      build etcdctl "$here/etcd" go.etcd.io/etcd/etcdctl/v3 ''
      build etcdutl "$here/etcd" go.etcd.io/etcd/etcdutl/v3 ''
      ;;
    kubernetes) build_kubernetes "$here" kube-apiserver kubectl kube-controller-manager kube-scheduler ;;
    node) build_kubernetes "$here" kubelet kube-proxy ;;
    previous) bin=$bin/previous build_kubernetes "$here/previous" kube-apiserver kube-controller-manager kube-scheduler ;;
    previous-node) bin=$bin/previous build_kubernetes "$here/previous" kubelet ;;
    policy) build kube-router "$here/kube-router" github.com/cloudnativelabs/kube-router/v2/cmd/kube-router '' ;;
    helm) build helm "$here/helm" helm.sh/helm/v3/cmd/helm "$(helm_flags)" ;;
    *) fail "build.sh knows etcd, kubernetes, helm, node, previous, previous-node and policy, not '$1'" ;;
  esac
}

# given_ready TARGET: whether the caller has taken care of it.
given_ready() {
  local name
  [[ -z ${ENDSTATE_KUBECONFIG:-} ]] || return 0
  [[ -n ${ENDSTATE_KUBE_BIN_DIR:-} ]] || return 1
  case $1 in
    etcd) set -- etcd ;;
    kubernetes) set -- kube-apiserver kube-controller-manager kube-scheduler kubectl ;;
    helm) return 0 ;; # for lint and the chart's test only, which look in the PATH, too
    node) set -- kubelet kube-proxy ;;
    previous) set -- previous/{kube-apiserver,kube-controller-manager,kube-scheduler} ;;
    previous-node) set -- previous/kubelet ;;
    policy) set -- kube-router ;;
  esac
  for name in "$@"; do
    [[ -x $ENDSTATE_KUBE_BIN_DIR/$name ]] || fail "ENDSTATE_KUBE_BIN_DIR ($ENDSTATE_KUBE_BIN_DIR) has no $name"
  done
}

mkdir -p "$bin/previous"
exec 9>"$ROOT/.cache/kubernetes/.build.lock"
flock -w 3600 9 || fail "another build of the Kubernetes binaries doesn't end"
for target in "$@"; do
  given_ready "$target" || build_target "$target"
done
