#!/usr/bin/env bash
# The Helm chart on a real API server: installed, upgraded and uninstalled by Helm; every rendering applied by kubectl under strict validation.
set -euo pipefail
export RUN_DIR=.run/test-chart PORT_BASE=${TEST_PORT_BASE:-17000}
# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../hack/lib.sh"
# shellcheck source=e2e/scenarios/cases.sh
source "$ROOT/e2e/scenarios/cases.sh"
cd "$ROOT"

"$ROOT/e2e/kubernetes/build.sh" helm
helm_program=$(kube_bin_dir)/helm
[[ -x $helm_program ]] || helm_program=$(command -v helm) || fail "no helm: run 'make setup'"
helm() { "$helm_program" --kubeconfig "$RUN_DIR/kubeconfig" --namespace endstate-system "$@"; }
render() { "$helm_program" template endstate charts/endstate --namespace endstate-system --values "$1"; }

e2e/kubernetes/down.sh
trap 'e2e/kubernetes/down.sh' EXIT
COMPONENTS="etcd apiserver controller-manager" e2e/kubernetes/up.sh

crds=$(find manifests/crds -name '*.yaml' | wc -l)
count() { kubectl_admin get "$@" -o name | wc -l; }
crds_served() { [[ $(count crd) == "$crds" ]] && kubectl_admin wait --for=condition=Established --timeout=60s crd --all; }
# Stand-ins for the Prometheus operator's types: what counts here is that the chart's objects are stored.
monitoring_type() { # monitoring_type KIND PLURAL
  kubectl_admin apply -f - <<YAML
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: $2.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  names: {kind: $1, plural: $2, singular: ${2%s}}
  scope: Namespaced
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
YAML
  kubectl_admin wait --for=condition=Established --timeout=30s "crd/$2.monitoring.coreos.com"
}
# within SECONDS COMMAND...
within() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.5
  done
}

is_not() { ! "$@"; }
refuses "another namespace is refused, with the remedy" "--namespace endstate-system --create-namespace" \
  "$helm_program" template endstate charts/endstate --namespace elsewhere
refuses "a value of the wrong type is refused" "replicas" "$helm_program" template endstate charts/endstate -n endstate-system --set replicas=many
refuses "a misspelt value is refused" "replcas" "$helm_program" template endstate charts/endstate -n endstate-system --set replcas=2
# Rights without the policies that bound them would be others: only delete protection can be left out, by its newer and by its older name.
with_values() { "$helm_program" template endstate charts/endstate -n endstate-system "$@" >"$RUN_DIR/with-values.yaml"; }
has_policy() { grep -q "^  name: $1.endstate.dev\$" "$RUN_DIR/with-values.yaml"; }
mkdir -p "$RUN_DIR"
for value in policies.deleteProtection=false policies.install=false policies.deleteProtection=null; do
  with_values --set "$value"
  for policy in agents nodes operator operator-secrets operator-approvals join-meta claims keys adopt-node break-glass; do check "with $value the policy $policy is there" has_policy "$policy"; done
  if [[ $value == *null ]]; then
    check "with $value delete protection is there, as after --reuse-values" has_policy delete-protection
  else
    check "with $value delete protection isn't" is_not has_policy delete-protection
  fi
done
admin_aggregates() { grep -A6 '^  name: endstate-admin$' "$RUN_DIR/with-values.yaml" | grep 'aggregate-to-admin: "true"'; }
with_values
check "who is admin of a namespace writes Clusters and Hosts" admin_aggregates
with_values --set rbac.aggregateClustersToAdmin=false
check "unless that is left to endstate-admin" is_not admin_aggregates
refuses "Kubernetes 1.29 is refused" "kubeVersion" "$helm_program" template endstate charts/endstate -n endstate-system --kube-version 1.29.9

kubectl_admin apply -f manifests/rbac/namespace.yaml >/dev/null
# The strictest Pod Security level: pods that don't fit it are not created.
kubectl_admin label namespace endstate-system pod-security.kubernetes.io/enforce=restricted >/dev/null

listens_everywhere() { "$helm_program" template endstate charts/endstate -n endstate-system | grep -F -- '--http-address=:8080'; }
check "the operator listens on every family of addresses" listens_everywhere
# CRDs that were there before, by kubectl: refused, until Helm is told to take them over (docs/operating.md).
kubectl_admin apply --server-side -f manifests/crds >/dev/null
refuses "CRDs that aren't Helm's are not taken over silently" "invalid ownership metadata" helm install endstate charts/endstate --timeout 120s
check "helm install --take-ownership" helm install endstate charts/endstate --take-ownership --timeout 120s
check "all CRDs are served" crds_served
pods() { [[ $(count pods -n endstate-system -l app.kubernetes.io/name=endstate-operator) == "$1" ]]; }
check "the pods are admitted under the restricted Pod Security level" within 60 pods 2
operator_may() { kubectl_admin auth can-i --as=system:serviceaccount:endstate-system:endstate-operator "$@"; }
check "the operator's role is bound" operator_may patch machines.endstate.dev -n default
refuses "which may run no workload, unless it runs Hosted control planes" "no" operator_may create statefulsets.apps -n default
check "the admission policies are bound" kubectl_admin get validatingadmissionpolicybinding delete-protection.endstate.dev

monitoring_type ServiceMonitor servicemonitors >/dev/null
monitoring_type PrometheusRule prometheusrules >/dev/null
check "helm upgrade to all options" helm upgrade endstate charts/endstate --values charts/endstate/ci/all.yaml --timeout 120s
check "with Hosted control planes it may" operator_may create statefulsets.apps -n default
operator_has_flag() { kubectl_admin get deployment -n endstate-system endstate-operator -o json | jq -e --arg flag "$1" '.spec.template.spec.containers[0].args | index($flag)'; }
check "and is told to run them" operator_has_flag --hosted-control-planes
check "the ServiceMonitor is there" kubectl_admin get servicemonitor -n endstate-system endstate-operator
# The rules of the object, as Prometheus would read them: with where the pages are, and else those of the file.
rule_of() { kubectl_admin get prometheusrule -n endstate-system endstate -o json | jq '.spec'; }
rules_are_sound() { rule_of >"$RUN_DIR/rules.json" && promtool check rules "$RUN_DIR/rules.json"; }
runbooks_are_linked() { rule_of | jq -e '[.groups[].rules[].annotations.runbook_url] | length > 10 and all(startswith("https://git.example.com/endstate/blob/main/docs/runbook/alerts/"))'; }
check "the PrometheusRule's alerts are rules" rules_are_sound
check "and each names its page" runbooks_are_linked
dashboard_is_there() {
  # As Grafana's sidecar looks for it: by the label.
  kubectl_admin get configmaps -n endstate-system -l grafana_dashboard=1 -o json | jq -j --arg key "endstate-$1.json" '.items[].data[$key] // empty' |
    cmp - "manifests/dashboards/$1.json"
}
for dashboard in fleet cluster rollout; do check "the dashboard $dashboard is there, as it is" dashboard_is_there "$dashboard"; done
check "the upgrade is in the Deployment" test "$(kubectl_admin get deployment -n endstate-system endstate-operator -o jsonpath='{.spec.replicas}')" = 3

check "helm uninstall" helm uninstall endstate --wait --timeout 120s
check "CRDs outlive the release" test "$(count crd)" = $((crds + 2))
refuses "what is left is not another release's" "invalid ownership metadata" helm install other charts/endstate --timeout 120s
check "unless it takes it over" helm install other charts/endstate --take-ownership --timeout 120s
check "and goes again" helm uninstall other --wait --timeout 120s
gone() { [[ $(count deployment,service,networkpolicy,pdb -n endstate-system) == 0 ]]; }
check "nothing else does" within 60 gone

for values in charts/endstate/values.yaml charts/endstate/ci/*.yaml; do
  rendering=$RUN_DIR/rendered-$(basename "$values")
  render "$values" >"$rendering"
  check "rendered with $(basename "$values"), applied by kubectl" \
    kubectl_admin apply --server-side --force-conflicts --validate=strict --field-manager=chart-test -f "$rendering"
done
finish
