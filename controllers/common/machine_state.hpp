// What several loops ask of a Machine or a Cluster, answered in one place.
#pragma once
#include <string>

#include "apis/v1alpha1/cluster.hpp"
#include "apis/v1alpha1/machine.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate {

// The connection that a Cluster's business objects (HostAssignment, Node, agents' Leases, Pods) are read and written by: "" is the
// meta cluster itself. A Hosted cluster is never the meta cluster.
inline std::string connection_of(const v1alpha1::Cluster& c) {
  const auto& plane = c.spec.control_plane;
  if (plane.type == v1alpha1::ControlPlaneType::external && !plane.kubeconfig_secret) return {};
  return c.metadata.name_space.str() + "/" + c.metadata.name.str();
}

// A Hosted cluster takes machines when what they need there has been brought into it (controllers/addons/).
inline bool takes_machines(const v1alpha1::Cluster& c) {
  if (c.spec.control_plane.type != v1alpha1::ControlPlaneType::hosted) return true;
  for (const auto& a : c.status.addons)
    if (a.name == v1alpha1::builtin_addon) return !a.hash.empty();
  return false;
}

// The revision that a Machine should have: its set's hash; without a set, of its packages.
inline std::string desired_revision(const v1alpha1::Machine& m) {
  if (const auto given = m.metadata.labels.get(v1alpha1::label::revision); !given.empty()) return std::string(given);
  std::string canonical;
  reconcile::encode_to(canonical, reconcile::type_of<std::vector<v1alpha1::PackageSlot>>, &m.spec.packages);
  return reconcile::hash_of(canonical);
}

// It was open for pods at least once. Budgets and rollouts count such machines only; before that nothing is disturbed by working on it.
inline bool was_in_service(const v1alpha1::Machine& m) { return m.status.node_ref.has_value(); }

// Pods can come and it does its work. One that is to be deleted still does, until its deletion has been granted.
inline bool is_available(const v1alpha1::Machine& m) { return reconcile::is_true(m.status.conditions, v1alpha1::condition::ready); }

// Out of service, by the word of the machine itself: Ready is False, or Unknown because its Node reports it, its agent is silent or its
// host is lost. Not because *we* can't see it (ConnectionLost): that says nothing of it, so it counts as it was before. No Ready at all: it
// was never in service.
inline bool is_unavailable(const v1alpha1::Machine& m) {
  const auto* ready = reconcile::find_condition(m.status.conditions, v1alpha1::condition::ready);
  if (!ready || ready->status == v1alpha1::ConditionStatus::true_) return false;
  if (ready->status == v1alpha1::ConditionStatus::false_) return true;
  return ready->reason == v1alpha1::reason::node_unhealthy || ready->reason == v1alpha1::reason::agent_silent ||
         ready->reason == v1alpha1::reason::host_lost;
}

inline bool is_paused(const v1alpha1::Machine& m) {
  return m.spec.paused.value_or(false) || m.metadata.annotations.has(v1alpha1::annotation::paused);
}
inline bool is_paused(const v1alpha1::Cluster& c) {
  return c.spec.paused.value_or(false) || c.metadata.annotations.has(v1alpha1::annotation::paused);
}

// ---- the protocol with the agents ----

// The agent has seen this very spec. An agent that doesn't write observedGeneration is taken at its revision.
inline bool is_observed(const v1alpha1::HostAssignment& a) {
  if (!(a.status.observed_revision == a.spec.revision)) return false;
  return !a.status.observed_generation || !a.metadata.generation || *a.status.observed_generation >= *a.metadata.generation;
}

// A released host reports that nothing of the machine is left: it has seen the generation that says Released, and has no package.
inline bool is_wiped(const v1alpha1::HostAssignment& a) {
  return a.spec.state == v1alpha1::AssignmentState::released && a.status.observed_generation && a.metadata.generation &&
         *a.status.observed_generation >= *a.metadata.generation && a.status.packages.empty();
}

}  // namespace endstate
