// Adoption: Machines that nobody owns, of the set's cluster and with its selector's labels, become the set's, as a ReplicaSet takes up Pods
// (k8s.io/kubernetes pkg/controller/controller_ref_manager.go). So a set that was deleted with --cascade=orphan and is made again, or
// restored from a backup, has its machines back instead of making others beside them. Pure.
//
// Who can make a Machine in the namespace could make it the set's anyway; from the adoption on it is the set's in everything: it is
// updated, counted, and goes when there are too many.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "apis/v1alpha1/machine.hpp"
#include "controllers/machine_set/course.hpp"
#include "controllers/machine_set/snapshot.hpp"
#include "reconcile/cache/view.hpp"
#include "reconcile/kube/core.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::machine_set {

// Value: "<namespace>/<cluster name>" of a Machine that no controller has.
inline constexpr reconcile::Index machines_without_owner =
    reconcile::index<api::Machine>("without-owner", [](const api::Machine& m, auto& emit) {
      if (!m.metadata.controller()) emit(m.metadata.name_space.str() + "/" + m.spec.cluster_name.str());
    });
// Value: "<namespace>/<set name>" of a ControllerRevision whose set is gone. Their names are "<set>-<hash>".
inline constexpr reconcile::Index revisions_without_owner =
    reconcile::index<reconcile::ControllerRevision>("without-owner", [](const reconcile::ControllerRevision& r, auto& emit) {
      const auto name = r.metadata.name.view();
      if (!r.metadata.controller() && name.rfind('-') != std::string_view::npos)
        emit(r.metadata.name_space.str() + "/" + std::string(name.substr(0, name.rfind('-'))));
    });

// It would be the set's if it were anybody's.
bool may_be_adopted(const api::MachineSet& set, const api::Machine& machine);

// The question whether the set is still there and stays, asked of the API server itself after these machines were seen without an owner:
// the garbage collector, which takes owners off for --cascade=orphan, does so after the set's deletion, and our cache may not know of that
// yet.
std::string adoption_question(const std::vector<Ref<api::Machine>>& orphans);

struct Adoption {
  std::vector<reconcile::Action> actions;
  std::vector<reconcile::Query> queries;
  std::vector<reconcile::EventNote> events;
  std::int64_t places = 0;         // that are kept for them: no new machine takes one
  std::optional<Problem> problem;  // there are more than the set wants: none is taken, and none is made
};
// At most `room` actions: one patch each, of the owner reference and the set's label, with uid and resourceVersion.
Adoption plan_adoption(const Snapshot& s, std::int64_t machines, const Text& event_action, std::size_t room);

// Revisions that a set of this name left behind become this one's: templates are found again by their content, and machines' revisions with
// them. First of all, before the template is recorded anew under a name that is taken.
std::vector<reconcile::Action> adopt_revisions(const Snapshot& s);

// What a set that lets its machines go (--cascade=orphan) does itself: the owner reference is taken off its revisions by a merge patch,
// since the garbage collector can't do it to one that an older version stored in another order (names.hpp: stored_template).
std::vector<reconcile::Action> let_revisions_go(const Snapshot& s);

}  // namespace endstate::machine_set
