// How many machines there are: creates what is missing, in parallel; deletes what is too much.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "controllers/machine_set/course.hpp"
#include "controllers/machine_set/facts.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::machine_set {

struct Replicas {
  std::vector<reconcile::Action> actions;
  std::vector<const Fact*> going;  // asked to go in this pass: nobody edits them any more
  std::int64_t missing = 0, surplus = 0;
  std::optional<Problem> problem;  // why it can't make or delete them
};

// The hard cap: machines of the set, those on their way out included, are never made beyond replicas plus maxSurge (Recreate, while it
// replaces). A machine that is being deleted still has its host; its place is free when it is gone.
// `blocked`: why nothing may be made now (no cluster, an unknown package). `kept`: places that are others' (machines that are adopted).
// `room`: actions that are left in this pass.
Replicas plan_replicas(const Snapshot& s, const Revisions& revisions, const Facts& facts, const Course& course,
                       const std::optional<Problem>& blocked, std::int64_t kept, std::size_t room);

}  // namespace endstate::machine_set
