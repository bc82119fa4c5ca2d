// plan: what to do about a MachineSet now. Pure; O(machines); level-triggered: any prefix of its actions may be done, and the next pass
// goes on from there. See course.hpp (where a rollout stands), moves.hpp (who moves), replicas.hpp (how many), revisions.hpp.
#pragma once
#include "controllers/machine_set/snapshot.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::machine_set {

reconcile::Plan plan(const Snapshot& snapshot);

// The same, with the status as a value: for tests, and for whoever shows what a change would do. Empty: no status is written.
struct Planned {
  reconcile::Plan plan;
  std::optional<v1alpha1::MachineSetStatus> status;
};
Planned plan_in_full(const Snapshot& snapshot);

// Counters of a set under way are written at most so often: 2,000 machines that come up cost a few status writes, not 2,000.
inline constexpr std::chrono::milliseconds settle{1'500};

}  // namespace endstate::machine_set
