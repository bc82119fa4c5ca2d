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
may $operator delete machinesets.endstate.dev -n default # of a Cluster that is deleted Cascading
may $operator create hostassignments.endstate.dev
may $operator watch pods -A # those that are gates
may $operator create guardledgers.endstate.dev -n default
may $operator update guardledgers.endstate.dev --subresource=status -n default
may $operator create controllerrevisions.apps -n default
may $operator create pods --subresource=eviction -n default
may $operator list volumeattachments.storage.k8s.io
may $operator delete nodes
may $operator update leases.coordination.k8s.io -n endstate-system
may $operator create events.events.k8s.io -n default
may $operator get secrets -n default # by their names: kubeconfigs, tokens of metric sources
may $operator create secrets -n default # copies of tokens; a policy bounds them
may $operator watch secrets -n endstate-system
for verb in list watch patch update; do may_not $operator $verb secrets -n default; done
may_not $operator list secrets -n kube-system
# Hosted control planes are for who asks for them.
secret_as_operator() { # NAME [TYPE]: dry, so that nothing is left
  printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: %s, namespace: default, annotations: {kubernetes.io/service-account.name: default}}\ntype: %s\n' "$1" "${2:-Opaque}" |
    kubectl_admin --as="$operator" --as-group=system:serviceaccounts --as-group=system:authenticated create --dry-run=server -f -
}
hosted_rights=("list secrets" "patch secrets" "patch deployments.apps" "create statefulsets.apps" "list services" "create poddisruptionbudgets.policy" "create networkpolicies.networking.k8s.io"
  "create persistentvolumeclaims" "list jobs.batch" "patch pods" "get pods --subresource=log")
for what in "${hosted_rights[@]}"; do
  # shellcheck disable=SC2086 # two words
  may_not $operator $what -n default
done
check "the operator makes Secrets of enrolment" secret_as_operator endstate-host-uid-1
refuses "and no others, without the rights to run Hosted control planes" "operator-hosted.yaml" secret_as_operator hz-a-ca
HOSTED_CONTROL_PLANES=1 hack/install.sh
for what in "${hosted_rights[@]}"; do
  # shellcheck disable=SC2086 # two words
  may $operator $what -n default
done
may_not $operator create daemonsets.apps -n default
check "with them it makes a control plane's keys" secret_as_operator hz-a-ca
refuses "but never a ServiceAccount's token" "no ServiceAccount's token" secret_as_operator hz-a-ca kubernetes.io/service-account-token
hack/install.sh
may_not $operator create statefulsets.apps -n default # taken away again
may_not $operator create configmaps -n default
may_not $operator create serviceaccounts -n default
may $operator create jobs.batch -n default
may_not $operator list jobs.batch -n default
may $operator list events.events.k8s.io -n default
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
may $operator create clusterroles.rbac.authorization.k8s.io # of hosts only: see below
may $operator patch clusterroles.rbac.authorization.k8s.io # the same: those of hosts, put right when they are another claim's
may_not $operator delete clusterroles.rbac.authorization.k8s.io
may_not $operator delete rolebindings.rbac.authorization.k8s.io -n default
may $operator delete rolebindings.rbac.authorization.k8s.io -n endstate-system
may_not $operator list rolebindings.rbac.authorization.k8s.io -n default
may $operator get validatingadmissionpolicybindings.admissionregistration.k8s.io/agents.endstate.dev
may_not $operator list validatingadmissionpolicybindings.admissionregistration.k8s.io
may $operator patch certificatesigningrequests.certificates.k8s.io --subresource=approval
may_not $operator patch certificatesigningrequests.certificates.k8s.io --subresource=status
may_not $operator approve signers.certificates.k8s.io/kubernetes.io/legacy-unknown
as_operator() { kubectl_admin --as="$operator" "$@"; }
host_role() { # NAME RESOURCE VERB RESOURCE-NAME
  printf '{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"%s"},"rules":[{"apiGroups":["endstate.dev"],"resources":["%s"],"verbs":["%s"],"resourceNames":["%s"]}]}' "$@" | as_operator create -f -
}
host_binding() { # NAME ROLE USER
  printf '{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"%s"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"%s"},"subjects":[{"kind":"%s","apiGroup":"rbac.authorization.k8s.io","name":"%s"}]}' "$1" "$2" "${4:-User}" "$3" | as_operator create -f -
}
host_role_in() { # NAMESPACE NAME SECRET
  printf '{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"%s","namespace":"%s"},"rules":[{"apiGroups":[""],"resources":["secrets"],"verbs":["get","list","watch"],"resourceNames":["%s"]}]}' "$2" "$1" "$3" | as_operator create -f -
}
check "the operator lets a host read what is its own" host_role endstate:host:u9 hostassignments get u9
check "and binds it to that host" host_binding endstate:host:u9 endstate:host:u9 endstate:host:u9
refuses "the operator makes another role" "roles of hosts only" host_role reader hostassignments get u9
refuses "the operator lets a host write" "single objects only" host_role endstate:host:u5 hostassignments patch u8
check "the operator makes roles for what it is handed" host_role_in endstate-system endstate:host:u9 endstate-host-u9
for u in u6 u8; do host_role "endstate:host:$u" hostassignments get "$u" >/dev/null; done
check "and binds them to an enrolment of that host" host_binding endstate:host:u6 endstate:host:u6 endstate:host:u6:3 Group
refuses "the operator lets a host read another's" "and its own" host_role endstate:host:u5 hostassignments get u9
refuses "the operator lets a host read another Secret" "and its own" host_role_in endstate-system endstate:host:u8 endstate-host-u9
refuses "the operator binds a host's role to somebody else" "to that host only" host_binding endstate:host:u8 endstate:host:u9 jane
refuses "the operator binds a host's role to another host's enrolment" "to that host only" host_binding endstate:host:u8 endstate:host:u8 endstate:host:u9:1 Group
refuses "the operator binds a host's role to all agents" "to that host only" host_binding endstate:host:u8 endstate:host:u8 endstate:agents Group
refuses "the operator deletes another role" "roles of hosts only" as_operator delete role endstate-agents -n endstate-system
refuses "the operator gives a host what it doesn't have" "attempting to grant" as_operator create clusterrolebinding endstate:host:u7 --clusterrole=cluster-admin --user=endstate:host:u7

fleet=system:serviceaccount:endstate-system:endstate-fleet
may $fleet create hosts.endstate.dev -n default
may $fleet patch hostassignments.endstate.dev --subresource=status
may $fleet create nodes
may $fleet update leases.coordination.k8s.io -n kube-node-lease
may_not $fleet patch hostassignments.endstate.dev
may_not $fleet patch machines.endstate.dev -n default
may_not $fleet get secrets -n default
may_not $fleet create pods -n default

# Agents: their roles and policy are the same for all of them; which objects are whose says the user's name.
sed "s/HOST_UID/uid-1/" manifests/agent/host.yaml | kubectl_admin apply -f - >/dev/null
as_agent() { kubectl_admin --as=endstate:host:uid-1 --as-group=endstate:agents --as-group=system:authenticated "$@"; }
for uid in uid-1 uid-2; do
  kubectl_admin apply -f - >/dev/null <<YAML
apiVersion: endstate.dev/v1alpha1
kind: HostAssignment
metadata: {name: $uid}
spec: {state: Active, machineUID: m-$uid, nodeName: host-1}
YAML
done
report_json() { printf '{"apiVersion":"endstate.dev/v1alpha1","kind":"HostAssignment","metadata":{"name":"%s"},"status":{"observedRevision":"r"}}' "$1"; }
lease_json() { printf '{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"%s","namespace":"%s"},"spec":{"holderIdentity":"h"}}' "$1" "$2"; }
event_json() { printf '{"apiVersion":"events.k8s.io/v1","kind":"Event","metadata":{"name":"e-%s","namespace":"default"},"type":"Normal","reason":"Installed","action":"Converge","note":"n","reportingController":"endstate-agent","reportingInstance":"h","eventTime":"2026-01-01T00:00:00.000000Z","regarding":{"apiVersion":"endstate.dev/v1alpha1","kind":"HostAssignment","name":"%s"}}' "$1" "$1"; }
put_report() { report_json "$1" | as_agent apply --server-side --subresource=status --field-manager=endstate-agent -f -; }
put_lease() { lease_json "$1" "$2" | as_agent create -f -; }
put_event() { event_json "$1" | as_agent create -f -; }
check "an agent reads its own assignment" as_agent get hostassignments.endstate.dev uid-1
check "an agent watches its own assignment" as_agent get hostassignments.endstate.dev --field-selector metadata.name=uid-1
refuses "an agent reads another's assignment" "forbidden" as_agent get hostassignments.endstate.dev uid-2
refuses "an agent lists all assignments" "forbidden" as_agent get hostassignments.endstate.dev
check "an agent reports" put_report uid-1
# A host that has enrolled anew: who has the old key reports no more.
kubectl_admin patch hostassignment uid-1 --type=merge -p '{"spec":{"identity":3}}' >/dev/null
put_report_as() { report_json uid-1 | kubectl_admin --as=endstate:host:uid-1 --as-group=endstate:agents --as-group="$1" --as-group=system:authenticated apply --server-side --subresource=status --field-manager=endstate-agent -f -; }
refuses "an agent of an earlier enrolment reports" "an enrolment before the last one" put_report_as endstate:host:uid-1:2
refuses "one of before enrolments were counted reports" "an enrolment before the last one" put_report uid-1
refuses "one of another host's enrolment reports" "an enrolment before the last one" put_report_as endstate:host:uid-2:3
check "an agent of the last enrolment reports" put_report_as endstate:host:uid-1:3
check "and one of an enrolment that the assignment doesn't know yet" put_report_as endstate:host:uid-1:4
kubectl_admin patch hostassignment uid-1 --type=merge -p '{"spec":{"identity":null}}' >/dev/null
refuses "an agent reports for another" "its own HostAssignment only" put_report uid-2
refuses "an agent changes its own orders" "forbidden" as_agent patch hostassignments.endstate.dev uid-1 --type=merge -p '{"spec":{"state":"Released"}}'
check "an agent lives" put_lease host-uid-1 endstate-system
refuses "an agent lives for another" "its own Lease only" put_lease host-uid-2 endstate-system
refuses "an agent takes the operator's Lease" "forbidden" as_agent patch leases.coordination.k8s.io endstate-operator -n endstate-system --type=merge -p '{"spec":{"holderIdentity":"me"}}'
refuses "an agent writes a node's Lease" "forbidden" put_lease host-uid-1 kube-node-lease
check "an agent tells what happened" put_event uid-1
refuses "an agent tells what happened to another" "its own HostAssignment only" put_event uid-2
for what in "get secrets" "list nodes" "patch nodes" "get hosts.endstate.dev" "get machinepackageversions.endstate.dev" "delete hostassignments.endstate.dev" "create pods"; do
  # shellcheck disable=SC2086 # two words
  refuses "an agent may not $what" "no" as_agent auth can-i $what
done
# Requests for certificates: its own, and its kubelet's. Who gets them is the operator's word (e2e/hosts/enrol.sh).
openssl req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout /dev/null -subj "/O=endstate:agents/CN=endstate:host:uid-1" 2>/dev/null >"$RUN_DIR/request.pem"
ask_for() { # NAME SIGNER USAGE
  printf '{"apiVersion":"certificates.k8s.io/v1","kind":"CertificateSigningRequest","metadata":{"name":"%s"},"spec":{"request":"%s","signerName":"%s","usages":["digital signature","%s"]}}' \
    "$1" "$(base64 -w 0 "$RUN_DIR/request.pem")" "$2" "$3" | as_agent create -f -
}
check "an agent asks for a certificate" ask_for own kubernetes.io/kube-apiserver-client "client auth"
refuses "an agent asks for a server's certificate" "its own certificate and its kubelet's only" ask_for serving kubernetes.io/kubelet-serving "server auth"
for what in "delete certificatesigningrequests" "patch certificatesigningrequests --subresource=approval" "patch certificatesigningrequests --subresource=status" "approve signers"; do
  # shellcheck disable=SC2086 # words
  refuses "an agent may not $what" "no" as_agent auth can-i $what
done
# A one-time token: it asks, and nothing else.
as_token() { kubectl_admin --as=system:bootstrap:abcdef --as-group=system:bootstrappers --as-group=system:bootstrappers:endstate --as-group=system:bootstrappers:endstate:uid-1 --as-group=system:authenticated "$@"; }
check "a one-time token may ask for a certificate" as_token auth can-i create certificatesigningrequests.certificates.k8s.io
for what in "get hostassignments.endstate.dev" "get hosts.endstate.dev" "get secrets" "patch hostassignments.endstate.dev --subresource=status" "create leases.coordination.k8s.io -n endstate-system" "get nodes" "approve signers"; do
  # shellcheck disable=SC2086 # words
  refuses "a one-time token may not $what" "no" as_token auth can-i $what
done
refuses "one of the group without a host's name reports" "for users endstate:host" \
  sh -c "printf '%s' '$(report_json uid-1)' | '$(kubectl_binary)' --kubeconfig '$RUN_DIR/kubeconfig' --as=someone --as-group=endstate:agents --as-group=system:authenticated apply --server-side --subresource=status --field-manager=x -f -"

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
for right in join-meta,clusters restore-keys,clusters break-glass,clusters claim,hosts adopt-node,machines; do may_not admin-user "${right%,*}" "${right#*,}.endstate.dev" -n default; done
as_editor() { kubectl_admin --as=edit-user "$@"; }
lone_machine() { printf 'apiVersion: endstate.dev/v1alpha1\nkind: Machine\nmetadata: {name: lone, namespace: default, annotations: {%s}}\nspec: {clusterName: none, packages: []}\n' "$1" | as_editor create -f -; }
refuses "taking a Node over is a right of its own" "verb adopt-node" lone_machine "endstate.dev/adopt-node: some-uid"
check "without that word a Machine is made" lone_machine ""
refuses "nor is it said later" "verb adopt-node" as_editor annotate machine.endstate.dev lone -n default endstate.dev/adopt-node=some-uid
check "who has the right says it" kubectl_admin annotate machine.endstate.dev lone -n default endstate.dev/adopt-node=some-uid
check "and what stands can be edited" as_editor annotate machine.endstate.dev lone -n default example.com/note=x
check "and taken back" as_editor annotate machine.endstate.dev lone -n default endstate.dev/adopt-node-
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
