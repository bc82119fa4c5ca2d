// How a Cluster goes: not while anything belongs to it, unless its annotation says that that goes with it.
#pragma once
#include "controllers/cluster/plan.hpp"

namespace endstate::cluster {

struct Deletion {
  std::vector<reconcile::Action> actions;
  bool done = false;  // nothing is left: disconnected, and the finalizer goes
  std::string_view reason;
  std::string message;                               // what it waits for
  bool stalled = false;                              // for a person, not for time
  std::optional<reconcile::PermitRequest> permit{};  // of what disturbs
  bool waits = false;                                // for objects that are on their way out
};

// Protection (annotation endstate.dev/delete-protection): Always keeps it, whatever happens (the admission policy refuses the DELETE
// itself; this is for a policy that isn't installed). Cascading: its MachineSets go first, then its Machines, then it. Absent: it waits
// until a person has deleted them.
Deletion plan_delete(const Snapshot& s);

}  // namespace endstate::cluster
