// What the API server refuses of a set's writes (a quota, a policy, a webhook, its own rules) stands at the set, in the API server's words,
// as ReplicaSet's ReplicaFailure does (k8s.io/kubernetes pkg/controller/replicaset). Pure.
//
// What was refused is known to the pass after it alone, and gone after a pass that wrote nothing. So the stored condition ReplicaFailure is
// the memory: it stands until what was refused was done, or isn't wanted any more.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controllers/machine_set/course.hpp"
#include "controllers/machine_set/snapshot.hpp"

namespace endstate::machine_set {

// How often one write is tried while the API server refuses: no event tells when a quota has room again.
inline constexpr std::chrono::seconds refused_again{15};

// What the last pass was refused (the first, by its machine's name), or what the status still says. Null: nothing.
std::optional<Problem> refusal_of(const Snapshot& s);

struct Wanted {
  bool creations = false, deletions = false, edits = false;  // something of that is (still) to be done
};
// The refusal that stands after this pass.
std::optional<Problem> standing_refusal(const Snapshot& s, const Wanted& wanted);

// Since when the status says so; now: it doesn't yet.
WallTime refused_since(const Snapshot& s);

// The status says nothing of the kind yet: it is stored, and told by an event, before anything is tried again. (Events of a pass in which a
// write failed are not sent.) Other words for the same, as webhooks find, are no news: they go into the status when it has settled.
bool is_news(const Snapshot& s, const Problem& refusal);

// While it stands one write of the kind that is refused is tried at a time: the API server isn't asked 100 times for one answer.
void try_one(std::vector<reconcile::Action>& actions, std::string_view reason);

// What such actions do, as ReplicaSets tell it: SuccessfulCreate, SuccessfulDelete. Told when all of them were done.
std::vector<reconcile::EventNote> tell_of(const std::vector<reconcile::Action>& actions, const Text& action);

// The status of a set whose template can't even be recorded.
api::MachineSetStatus unrecorded_status(const Snapshot& s);

}  // namespace endstate::machine_set
