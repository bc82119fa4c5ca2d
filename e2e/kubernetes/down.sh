#!/usr/bin/env bash
# down.sh: stops the control plane that up.sh started in this RUN_DIR, and nothing else.
#
#   COMPONENTS  what to stop (default: all). With all stopped the cluster's data, keys and kubeconfigs go too; logs stay to be read.
#   KEEP_DATA   not empty: the data stay, and the next up.sh finds the cluster as it was.
#
# So an outage is: COMPONENTS=apiserver down.sh; sleep 60; COMPONENTS=apiserver up.sh
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"

[[ -d $RUN_DIR ]] || exit 0
with_lock 8 kubernetes
wanted=${COMPONENTS:-etcd apiserver controller-manager scheduler}
for group in "scheduler controller-manager" apiserver etcd; do # each after those that talk to it
  names=()
  for name in $group; do
    [[ " $wanted " == *" $name "* ]] && names+=("$name")
  done
  ((${#names[@]} > 0)) || continue
  running=()
  for name in "${names[@]}"; do is_running "$name" && running+=("$name"); done
  began=$SECONDS
  # kube-apiserver ends its watches first and takes up to ~10 s; another one on its port before that would fail.
  stop_processes 40 "${names[@]}"
  ((${#running[@]} == 0)) || say "stopped ${running[*]} ($((SECONDS - began)) s)"
done
if [[ -z ${KEEP_DATA:-} && -z ${COMPONENTS:-} ]]; then
  rm -rf "${RUN_DIR:?}/etcd" "$RUN_DIR/pki" "$RUN_DIR/kubeconfig" "$RUN_DIR"/{controller-manager,scheduler}.kubeconfig "$RUN_DIR/scheduler.yaml" \
    "$RUN_DIR"/audit*.log
fi
