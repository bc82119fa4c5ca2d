#include "controllers/addons/kinds.hpp"

#include <algorithm>
#include <array>

namespace endstate::addons {
namespace {

struct Known {
  std::string_view group, kind, plural;
  bool namespaced;
};
// k8s.io/api, what `kubectl api-resources` prints of a cluster without CRDs; without what is no object (bindings, reviews) or is made by
// controllers only (events, endpoint slices).
constexpr std::string_view rbac = "rbac.authorization.k8s.io", admission = "admissionregistration.k8s.io";
constexpr std::array known{
    Known{"", "ConfigMap", "configmaps", true},
    Known{"", "Endpoints", "endpoints", true},
    Known{"", "LimitRange", "limitranges", true},
    Known{"", "Namespace", "namespaces", false},
    Known{"", "PersistentVolume", "persistentvolumes", false},
    Known{"", "PersistentVolumeClaim", "persistentvolumeclaims", true},
    Known{"", "PodTemplate", "podtemplates", true},
    Known{"", "ReplicationController", "replicationcontrollers", true},
    Known{"", "ResourceQuota", "resourcequotas", true},
    Known{"", "Secret", "secrets", true},
    Known{"", "Service", "services", true},
    Known{"", "ServiceAccount", "serviceaccounts", true},
    Known{"apps", "DaemonSet", "daemonsets", true},
    Known{"apps", "Deployment", "deployments", true},
    Known{"apps", "ReplicaSet", "replicasets", true},
    Known{"apps", "StatefulSet", "statefulsets", true},
    Known{"autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscalers", true},
    Known{"batch", "CronJob", "cronjobs", true},
    Known{"batch", "Job", "jobs", true},
    Known{"certificates.k8s.io", "ClusterTrustBundle", "clustertrustbundles", false},
    Known{"flowcontrol.apiserver.k8s.io", "FlowSchema", "flowschemas", false},
    Known{"flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration", "prioritylevelconfigurations", false},
    Known{"networking.k8s.io", "Ingress", "ingresses", true},
    Known{"networking.k8s.io", "IngressClass", "ingressclasses", false},
    Known{"networking.k8s.io", "NetworkPolicy", "networkpolicies", true},
    Known{"node.k8s.io", "RuntimeClass", "runtimeclasses", false},
    Known{"policy", "PodDisruptionBudget", "poddisruptionbudgets", true},
    Known{"scheduling.k8s.io", "PriorityClass", "priorityclasses", false},
    Known{"storage.k8s.io", "CSIDriver", "csidrivers", false},
    Known{"storage.k8s.io", "StorageClass", "storageclasses", false},
    Known{"apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions", false},
    Known{"apiregistration.k8s.io", "APIService", "apiservices", false},
    Known{rbac, "ClusterRole", "clusterroles", false},
    Known{rbac, "ClusterRoleBinding", "clusterrolebindings", false},
    Known{rbac, "Role", "roles", true},
    Known{rbac, "RoleBinding", "rolebindings", true},
    Known{admission, "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", false},
    Known{admission, "ValidatingAdmissionPolicy", "validatingadmissionpolicies", false},
    Known{admission, "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", false},
    Known{admission, "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", false},
};

struct AnyObject {
  reconcile::ObjectMeta metadata;
};
consteval auto describe(const AnyObject*) {
  return reconcile::object("An object of any kind.", reconcile::field<&AnyObject::metadata>("metadata", "Standard object metadata."));
}

}  // namespace

std::optional<Place> builtin_place(std::string_view group, std::string_view kind) {
  const auto* const it = std::find_if(known.begin(), known.end(), [&](const Known& k) { return k.group == group && k.kind == kind; });
  if (it == known.end()) return std::nullopt;
  return Place{std::string(it->plural), it->namespaced};
}

const reconcile::Kind* Kinds::get(std::string_view group, std::string_view version, std::string_view kind, const Place& place) {
  auto name = std::string(group).append("/").append(version).append("/").append(kind).append("/").append(place.plural);
  name += place.namespaced ? "/n" : "/c";
  const std::scoped_lock lock(mutex_);
  if (const auto it = by_name_.find(name); it != by_name_.end()) return &it->second->described;
  if (entries_.size() >= max_kinds) return nullptr;
  auto& e = entries_.emplace_back(Entry{std::string(group), std::string(version), place.plural, std::string(kind), {}, {}});
  e.resource = {e.group, e.version, e.plural, e.kind, place.namespaced};
  e.described = {.resource = &e.resource,
                 .type = &reconcile::type_of<AnyObject>,
                 .make = []() -> std::shared_ptr<void> { return std::make_shared<AnyObject>(); },
                 .meta = [](const void* o) -> const reconcile::ObjectMeta& { return static_cast<const AnyObject*>(o)->metadata; }};
  by_name_.emplace(std::move(name), &e);
  return &e.described;
}

}  // namespace endstate::addons
