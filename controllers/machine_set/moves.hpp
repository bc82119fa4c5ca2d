// Who moves now: carries out what the course allows, within maxUnavailable.
#pragma once
#include <optional>
#include <vector>

#include "controllers/machine_set/course.hpp"
#include "controllers/machine_set/facts.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::machine_set {

struct Moves {
  std::vector<reconcile::Action> actions;
  std::optional<Problem> held;  // there is something to move, and no room in maxUnavailable
};

// Availability is counted as it will be: a machine whose wish was moved is not steady any more from that write on, whether its own loop has
// begun or not. Machines that are unavailable already cost nothing. `going`: leave now anyway. At most `room` actions.
//   InPlace: edits. Recreate: deletions of old machines; their successors are plan_replicas's.
Moves plan_moves(const Snapshot& s, const Revisions& revisions, const Facts& facts, const Course& course,
                 const std::vector<const Fact*>& going, std::size_t room);

// The order in which machines that are well go first, by rollout.pick. `at`: how many of each failure domain have the revision already.
std::vector<const Fact*> pick_order(std::vector<const Fact*> candidates, const Facts& facts, api::Pick pick, const Text& revision,
                                    std::size_t count);

}  // namespace endstate::machine_set
