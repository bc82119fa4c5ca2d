#!/usr/bin/env bash
# down.sh: stops exactly what `make up` started in this RUN_DIR, by recorded identity. Logs stay.
#
# On a cluster of the caller's (ENDSTATE_KUBECONFIG at `make up`) the operator and the fleet stop; what was installed there stays, and is named.
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [[ ! -d $RUN_DIR ]]; then
  say "nothing runs in ${RUN_DIR#"$ROOT"/}"
  exit 0
fi
with_lock 9 up
running=()
for name in prometheus operator fleet token-refresher; do is_running "$name" && running+=("$name"); done
began=$SECONDS
stop_processes 45 prometheus operator fleet token-refresher # the operator finishes what it does for up to 30 s
((${#running[@]} == 0)) || say "stopped ${running[*]} ($((SECONDS - began)) s)"
rm -rf "${RUN_DIR:?}"/{operator,fleet}.{kubeconfig,token} "$RUN_DIR/prometheus"
if [[ -e $RUN_DIR/foreign-cluster ]]; then
  say "left in that cluster, to be removed with kubectl when no Machine needs them: hosts, nodes, manifests/{policies,rbac,crds}"
  rm -f "$RUN_DIR/foreign-cluster" "$RUN_DIR/kubeconfig"
else
  "$ROOT/e2e/kubernetes/down.sh"
fi
