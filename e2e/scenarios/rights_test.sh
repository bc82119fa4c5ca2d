#!/usr/bin/env bash
# Who may do what, on a real API server: the roles in manifests/rbac and the admission policies in manifests/policies.
set -euo pipefail
export RUN_DIR=.run/test-rights PORT_BASE=${TEST_PORT_BASE:-17000}
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
# shellcheck source=e2e/scenarios/cases.sh
source "$ROOT/e2e/scenarios/cases.sh"
cd "$ROOT"

e2e/kubernetes/down.sh
trap 'e2e/kubernetes/down.sh' EXIT
COMPONENTS="etcd apiserver controller-manager" e2e/kubernetes/up.sh # the controller manager aggregates the users' roles
hack/install.sh

# may|may_not WHO VERB RESOURCE [flags]
can() { kubectl_admin auth can-i --as="$1" "${@:2}"; }
may() { check "${1##*:} may ${*:2}" can "$@"; }
may_not() { refuses "${1##*:} may not ${*:2}" "no" can "$@"; }

operator=system:serviceaccount:endstate-system:endstate-operator
may $operator patch machines.endstate.dev -n default
may $operator create machines.endstate.dev -n default
may $operator patch machinesets.endstate.dev --subresource=status -n default
may $operator create hostassignments.endstate.dev
may $operator create guardledgers.endstate.dev -n default
may $operator update guardledgers.endstate.dev --subresource=status -n default
may $operator create controllerrevisions.apps -n default
may $operator create pods --subresource=eviction -n default
may $operator delete nodes
may $operator update leases.coordination.k8s.io -n endstate-system
may $operator create events.events.k8s.io -n default
may $operator get secrets -n default
may_not $operator list secrets -n default
may $operator create jobs.batch -n default
may_not $operator list jobs.batch -n default
may_not $operator patch jobs.batch -n default
may $operator patch metricsources.endstate.dev -n default --subresource=status
may_not $operator patch metricsources.endstate.dev -n default
may_not $operator update leases.coordination.k8s.io -n kube-node-lease
may_not $operator delete pods -n default
may_not $operator create nodes
may_not $operator create hosts.endstate.dev -n default
may_not $operator create machinesets.endstate.dev -n default
may_not $operator delete clusters.endstate.dev -n default
may_not $operator patch hostassignments.endstate.dev --subresource=status
may_not $operator create changebudgets.endstate.dev
may_not $operator create clusterroles.rbac.authorization.k8s.io

fleet=system:serviceaccount:endstate-system:endstate-fleet
may $fleet create hosts.endstate.dev -n default
may $fleet patch hostassignments.endstate.dev --subresource=status
may $fleet create nodes
may $fleet update leases.coordination.k8s.io -n kube-node-lease
may_not $fleet patch hostassignments.endstate.dev
may_not $fleet patch machines.endstate.dev -n default
may_not $fleet get secrets -n default
may_not $fleet create pods -n default

for role in view edit admin; do
  kubectl_admin create rolebinding "$role" --clusterrole="$role" --user="$role-user" -n default >/dev/null
done
aggregated() { kubectl_admin get clusterrole admin -o json | jq -e '[.rules[].resources // [] | .[]] | index("repairpolicies")'; }
for _ in {1..50}; do
  aggregated >/dev/null && break
  sleep 0.2
done
may view-user list machines.endstate.dev -n default
may_not view-user patch machinesets.endstate.dev -n default
may edit-user patch machinesets.endstate.dev --subresource=scale -n default
may_not edit-user create clusters.endstate.dev -n default
may admin-user create clusters.endstate.dev -n default
may_not admin-user create changebudgets.endstate.dev
may_not admin-user patch guardledgers.endstate.dev -n default
may_not admin-user patch machines.endstate.dev --subresource=status -n default

apply() { kubectl_admin apply -f -; }
cluster() { # cluster NAME PROTECTION
  printf 'apiVersion: endstate.dev/v1alpha1\nkind: Cluster\nmetadata:\n  name: %s\n  namespace: default\n  annotations: {endstate.dev/delete-protection: "%s"}\n' "$1" "$2"
  printf 'spec: {controlPlane: {type: External}}\n'
}
check "delete-protection: Always is accepted" apply < <(cluster kept Always)
check "delete-protection: Cascading is accepted" apply < <(cluster cascading Cascading)
refuses "a misspelt protection is refused" "must be Always or Cascading" apply < <(cluster misspelt alwyas)
refuses "a protected Cluster is not deleted, and the remedy is said" "remove the annotation first" kubectl_admin delete cluster.endstate.dev kept --wait=false
refuses "nor by deleting the whole collection" "remove the annotation first" kubectl_admin delete --raw /apis/endstate.dev/v1alpha1/namespaces/default/clusters
check "it is still there" kubectl_admin get cluster.endstate.dev kept -o 'jsonpath={.metadata.deletionTimestamp}'
check "annotating it otherwise frees it" kubectl_admin annotate cluster.endstate.dev kept endstate.dev/delete-protection-
check "and then it is deleted" kubectl_admin delete cluster.endstate.dev kept --wait=false
check "Cascading is the operator's business, not the API server's" kubectl_admin delete cluster.endstate.dev cascading --wait=false --ignore-not-found
finish
