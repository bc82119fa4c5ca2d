#!/usr/bin/env bash
# install.sh: puts CRDs, RBAC and admission policies into this run's cluster and waits until they are in force. Safe to run again.
#
#   HOSTED_CONTROL_PLANES  1: with the rights that Clusters of type Hosted need (manifests/rbac/operator-hosted.yaml); else these are taken away
set -euo pipefail
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
log=$RUN_DIR/install.log
began=$SECONDS
hosted_role=$ROOT/manifests/rbac/operator-hosted.yaml

apply() { kubectl_admin apply --server-side --force-conflicts --field-manager=endstate-install "$@"; }
# A policy is in force some 100 ms after it was stored, when the API server's own watch has seen it. It says nothing about that, so it is asked:
# an annotation that the policies refuse. (Dry runs are admitted like any write.)
policies_in_force() {
  local answer
  answer=$(kubectl_admin create --dry-run=server -f - 2>&1 <<'YAML'
apiVersion: endstate.dev/v1alpha1
kind: Cluster
metadata: {name: endstate-install-probe, namespace: default, annotations: {endstate.dev/delete-protection: probe}}
spec: {controlPlane: {type: External}}
YAML
  ) || true
  [[ $answer == *delete-protection-values.endstate.dev* ]]
}
# Whatever is refused ends it, and is told: `set -e` holds nothing in a function whose end is asked for.
install_all() {
  apply -f "$ROOT/manifests/rbac/namespace.yaml" || return 1
  local file roles=()
  for file in "$ROOT"/manifests/rbac/*.yaml; do
    [[ $file == "$hosted_role" ]] || roles+=(-f "$file")
  done
  apply -f "$ROOT/manifests/crds" "${roles[@]}" -f "$ROOT/manifests/policies" || return 1
  if [[ -n ${HOSTED_CONTROL_PLANES:-} ]]; then
    apply -f "$hosted_role" || return 1
  else
    kubectl_admin delete --ignore-not-found -f "$hosted_role" || return 1
  fi
  kubectl_admin wait --for=condition=Established --timeout=60s -f "$ROOT/manifests/crds" || return 1
  local deadline=$((SECONDS + 30))
  until policies_in_force; do
    ((SECONDS < deadline)) || fail "the admission policies are not in force after 30 s"
    sleep 0.2
  done
}

install_all >"$log" 2>&1 || {
  tail -n 20 "$log" >&2
  fail "the manifests could not be installed"
}
say "CRDs, RBAC and policies: installed ($((SECONDS - began)) s)"
