// Roles and their bindings (k8s.io/api/rbac/v1/types.go), and the bindings of admission policies: what they say is written whole and never
// read, so nothing but their metadata is described.
#pragma once
#include "reconcile/kube/kind.hpp"

namespace reconcile {

template <int Which>
struct RbacObject {
  ObjectMeta metadata;
  friend bool operator==(const RbacObject&, const RbacObject&) = default;
};
template <int Which>
consteval auto describe(const RbacObject<Which>*) {
  return object("Who may do what.", field<&RbacObject<Which>::metadata>("metadata", "Standard object metadata."));
}
using Role = RbacObject<0>;
using RoleBinding = RbacObject<1>;
using ClusterRole = RbacObject<2>;
using ClusterRoleBinding = RbacObject<3>;
using AdmissionPolicyBinding = RbacObject<4>;
constexpr Resource resource(const Role*) { return {"rbac.authorization.k8s.io", "v1", "roles", "Role", true}; }
constexpr Resource resource(const RoleBinding*) { return {"rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", true}; }
constexpr Resource resource(const ClusterRole*) { return {"rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", false}; }
constexpr Resource resource(const ClusterRoleBinding*) {
  return {"rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", false};
}
constexpr Resource resource(const AdmissionPolicyBinding*) {
  return {"admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", false};
}

}  // namespace reconcile
