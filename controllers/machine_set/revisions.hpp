// Which revisions the set has, and what must be written so that the template has one (apps/v1 ControllerRevision, as StatefulSet and
// DaemonSet keep theirs: k8s.io/kubernetes pkg/controller/history).
#pragma once
#include <string_view>
#include <vector>

#include "controllers/machine_set/snapshot.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::machine_set {

struct Revisions {
  std::vector<Revision> all;  // the template's own too, if it is about to be created
  Text update;                // of the template
  Text current;               // of the last change that went through; the template's, when nothing is known
  std::vector<reconcile::Action> actions;
  bool is_new() const { return !actions.empty() && actions.front().verb == reconcile::Verb::create; }

  const Revision* find(std::string_view hash) const {
    for (const auto& r : all)
      if (r.hash == hash) return &r;
    return nullptr;
  }
};

// A template that equals an old revision's takes that one again (its number raised), so that going back is the same revision, and a
// rejected one stays rejected. Two templates with one hash (the names are short) get two names: the content decides.
Revisions plan_revisions(const Snapshot& s);

// Deletes revisions past spec.revisionHistoryLimit, the oldest first; never the template's, the current one, or one that a machine has.
std::vector<reconcile::Action> plan_history_trim(const Snapshot& s, const Revisions& revisions);

}  // namespace endstate::machine_set
