// The indexes that loops ask the caches by. Data: a View is asked as view.by_index(connection, machines_by_set, set_uid).
#pragma once
#include <string>

#include "apis/v1alpha1/cluster.hpp"
#include "apis/v1alpha1/enrolment.hpp"
#include "apis/v1alpha1/machine.hpp"
#include "apis/v1alpha1/machine_set.hpp"
#include "reconcile/cache/view.hpp"
#include "reconcile/kube/core.hpp"

namespace endstate {

// "<namespace>/<name>", the value of an index over names of namespaced objects.
inline std::string path(std::string_view name_space, std::string_view name) { return std::string(name_space) + "/" + std::string(name); }

// ---- who may speak of what ----

// What a business cluster says (HostAssignment, Node, CertificateSigningRequest, Lease) never selects an object outside the namespace of
// the Cluster that it came from: its administrator may be the enemy of every other namespace. `connection`: "<namespace>/<Cluster>"; the
// meta cluster ("") may speak of all.
bool may_speak_of(std::string_view connection, std::string_view name_space);

// Who has this Host. A claim that names another namespace than the Host's own is nobody's, whoever wrote it: null.
const v1alpha1::ConsumerRef* claim_of(const v1alpha1::Host& h);
// A Host belongs to a Machine only within one namespace, and by uid.
bool belongs_to(const v1alpha1::Host& h, const v1alpha1::Machine& m);
// What a set owns is of its own namespace: who names its uid elsewhere, as an owner or by a label, names nobody, though the garbage
// collector needs a while to say so, and a finalizer makes it a long one.
std::string owned_in(std::string_view name_space, std::string_view set_uid);

// ---- Machine ----
// Value: owned_in(...) of the managing owner (its MachineSet).
inline constexpr reconcile::Index machines_by_set = reconcile::index<v1alpha1::Machine>("set", [](const v1alpha1::Machine& m, auto& emit) {
  if (const auto* owner = m.metadata.controller()) emit(owned_in(m.metadata.name_space, owner->uid));
});
std::vector<reconcile::Ref<v1alpha1::Machine>> machines_of(const reconcile::View& view, const v1alpha1::MachineSet& set);
// Value: "<namespace>/<cluster name>".
inline constexpr reconcile::Index machines_by_cluster = reconcile::index<v1alpha1::Machine>(
    "cluster", [](const v1alpha1::Machine& m, auto& emit) { emit(path(m.metadata.name_space, m.spec.cluster_name)); });
// Value: name of a MachinePackageVersion that the spec refers to.
inline constexpr reconcile::Index machines_by_package =
    reconcile::index<v1alpha1::Machine>("package", [](const v1alpha1::Machine& m, auto& emit) {
      for (const auto& slot : m.spec.packages) emit(slot.version_ref.name.view());
    });
// Value: namespace of a machine that found no free host when it looked last.
inline constexpr reconcile::Index machines_without_host =
    reconcile::index<v1alpha1::Machine>("without-host", [](const v1alpha1::Machine& m, auto& emit) {
      const auto* c = reconcile::find_condition(m.status.conditions, v1alpha1::condition::host_claimed);
      if (c && c->status == reconcile::ConditionStatus::false_) emit(m.metadata.name_space.view());
    });

// ---- MachineSet ----
// Value: owned_in(...) of itself; its ControllerRevisions carry the uid as a label.
inline constexpr reconcile::Index sets_by_uid = reconcile::index<v1alpha1::MachineSet>(
    "uid", [](const v1alpha1::MachineSet& s, auto& emit) { emit(owned_in(s.metadata.name_space, s.metadata.uid)); });
std::vector<reconcile::Ref<v1alpha1::MachineSet>> sets_of(const reconcile::View& view, const reconcile::ControllerRevision& r);
// Value: "<namespace>/<cluster name>".
inline constexpr reconcile::Index sets_by_cluster = reconcile::index<v1alpha1::MachineSet>(
    "cluster", [](const v1alpha1::MachineSet& s, auto& emit) { emit(path(s.metadata.name_space, s.spec.cluster_name)); });
// Value: name of a MachinePackageVersion that the template refers to.
inline constexpr reconcile::Index sets_by_package =
    reconcile::index<v1alpha1::MachineSet>("package", [](const v1alpha1::MachineSet& s, auto& emit) {
      for (const auto& slot : s.spec.template_.spec.packages) emit(slot.version_ref.name.view());
    });
// Value: "<namespace>/<name>" of the set that spec.rollout.after names.
inline constexpr reconcile::Index sets_by_after =
    reconcile::index<v1alpha1::MachineSet>("after", [](const v1alpha1::MachineSet& s, auto& emit) {
      if (s.spec.rollout.after) emit(path(s.metadata.name_space, s.spec.rollout.after->name));
    });

// ---- ControllerRevision ----
// Value: owned_in(...) of its MachineSet.
inline constexpr reconcile::Index revisions_by_set =
    reconcile::index<reconcile::ControllerRevision>("set", [](const reconcile::ControllerRevision& r, auto& emit) {
      emit(owned_in(r.metadata.name_space, r.metadata.labels.get(v1alpha1::label::set_uid)));
    });
std::vector<reconcile::Ref<reconcile::ControllerRevision>> revisions_of(const reconcile::View& view, const v1alpha1::MachineSet& set);

// ---- Host ----
// Value: "<namespace>/<uid>" of the Machine that has it: the truth of a claim.
inline constexpr reconcile::Index hosts_by_consumer = reconcile::index<v1alpha1::Host>("consumer", [](const v1alpha1::Host& h, auto& emit) {
  if (const auto* claim = claim_of(h)) emit(path(claim->name_space, claim->uid));
});
// Value: "<namespace>/<uid>". Its own uid names its HostAssignment and its agent's Lease; and "/<uid>", for what the meta cluster says.
inline constexpr reconcile::Index hosts_by_uid = reconcile::index<v1alpha1::Host>("uid", [](const v1alpha1::Host& h, auto& emit) {
  emit(path(h.metadata.name_space, h.metadata.uid));
  emit(path({}, h.metadata.uid));
});
// The Host of that uid, if that connection may speak of it.
std::vector<reconcile::Ref<v1alpha1::Host>> hosts_named(const reconcile::View& view, std::string_view connection, std::string_view uid);
// Value: its name, which is also its Node's. Of all namespaces: who comes from a business cluster asks may_speak_of.
inline constexpr reconcile::Index hosts_by_name =
    reconcile::index<v1alpha1::Host>("name", [](const v1alpha1::Host& h, auto& emit) { emit(h.metadata.name.view()); });
// A host that somebody enrols (condition Enrolled) has an agent that can come only once it has; one that nobody enrols has its credentials
// by hand (docs/agent.md).
inline bool has_agent(const v1alpha1::Host& h) {
  const auto* enrolled = reconcile::find_condition(h.status.conditions, v1alpha1::condition::enrolled);
  return !enrolled || enrolled->status == reconcile::ConditionStatus::true_;
}
// What can be claimed as far as the Host itself says; that no HostAssignment is left behind is for the claimer to look at.
inline bool claimable(const v1alpha1::Host& h) {
  return !h.spec.consumer_ref && !h.spec.maintenance && !h.metadata.deleting() && h.status.phase == v1alpha1::HostPhase::ready &&
         has_agent(h);
}
// Value: namespace of a claimable host.
inline constexpr reconcile::Index hosts_free = reconcile::index<v1alpha1::Host>("free", [](const v1alpha1::Host& h, auto& emit) {
  if (claimable(h)) emit(h.metadata.name_space.view());
});
// Value: namespace of a claimed host.
inline constexpr reconcile::Index hosts_used = reconcile::index<v1alpha1::Host>("used", [](const v1alpha1::Host& h, auto& emit) {
  if (h.spec.consumer_ref) emit(h.metadata.name_space.view());
});

// ---- in a business cluster ----
// Value: uid of the Machine that it is for.
inline constexpr reconcile::Index assignments_by_machine = reconcile::index<v1alpha1::HostAssignment>(
    "machine", [](const v1alpha1::HostAssignment& a, auto& emit) { emit(a.spec.machine_uid.view()); });
// Value: "<namespace>/<machine name>" as the annotation says.
inline constexpr reconcile::Index assignments_by_name = reconcile::index<v1alpha1::HostAssignment>(
    "machine-name", [](const v1alpha1::HostAssignment& a, auto& emit) { emit(a.metadata.annotations.get(v1alpha1::annotation::machine)); });

// Value: name of a MachinePackageVersion that the host has, or may install.
inline constexpr reconcile::Index assignments_by_package =
    reconcile::index<v1alpha1::HostAssignment>("package", [](const v1alpha1::HostAssignment& a, auto& emit) {
      for (const auto& p : a.spec.packages) emit(p.version.name.view());
    });

// ---- ConfigMap ----
// Value: "<namespace>/<machine name>": external readiness conditions of that machine.
inline constexpr reconcile::Index conditions_by_machine =
    reconcile::index<reconcile::ConfigMap>("condition-for", [](const reconcile::ConfigMap& c, auto& emit) {
      emit(path(c.metadata.name_space, c.metadata.labels.get(v1alpha1::label::condition_for)));
    });

}  // namespace endstate
