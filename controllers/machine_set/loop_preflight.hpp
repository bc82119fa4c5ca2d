// What observe gathers for the pre-flight (preflight.hpp), and for the audit trail.
#pragma once
#include "controllers/machine_set/snapshot.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::machine_set {

// O(machines), so only while a pre-flight is near. s.set, s.machines must be there.
void read_preflight(const reconcile::View& view, const reconcile::Memory& memory, Snapshot& s);

}  // namespace endstate::machine_set
