// The bodies of the machine_set loop's writes.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "controllers/machine_set/snapshot.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::machine_set {

reconcile::OwnerReference owner_of(const api::MachineSet& set);

reconcile::Action create_machine(const api::MachineSet& set, const Revision& revision, const Text& name);

// With the uid as precondition. Not the resourceVersion: a machine that is busy writes its status all the time, and its deletion
// would meet a conflict for nothing.
reconcile::Action delete_machine(const api::Machine& machine, std::string why);

// Moves a machine's wish: the template's part of its spec, its labels and annotations, and the label endstate.dev/revision, in one write
// with uid and resourceVersion. A merge patch, so that an entry that the new template doesn't have goes away (lists are replaced as a
// whole, map entries are removed by null), and what isn't the template's (hostName, providerID, paused) stays.
// `from`: the revision that the machine has now, for what to take away; may be null. `was_unavailable`: its trouble is older than `to`.
// `back`: it is taken back (annotation endstate.dev/rollback-to), which no schedule, window or breaker holds; the edit of a straggler to
// the very same revision is a forward one and takes that word off.
reconcile::Action edit_machine(const api::MachineSet& set, const api::Machine& machine, const Revision* from, const Revision& to,
                               bool was_unavailable, bool back, std::string why);

// The revision that such an action gives a machine; empty: it gives none. For whoever plays a plan without an API server (preview.hpp).
std::string_view revision_given(const reconcile::Action& action);

// Asks the machine loop for another attempt at the same revision (annotation endstate.dev/retry on the Machine).
reconcile::Action retry_machine(const api::Machine& machine, std::string_view revision);

// Puts our finalizer on the set (merge patch with uid and resourceVersion), takes it off (JSON patch, test and remove).
reconcile::Action add_finalizer(const api::MachineSet& set);
reconcile::Action remove_finalizer(const api::MachineSet& set);
// Takes a one-shot annotation off, if it is still the very one that was read.
reconcile::Action remove_annotation(const api::MachineSet& set, std::string_view key);

// The template's part of a machine's spec.
bool stands_for(const api::Machine& machine, const api::MachineTemplate& t);

}  // namespace endstate::machine_set
