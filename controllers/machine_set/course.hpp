// The course of a rollout: where it stands, what may move now, and what somebody asked for. A state machine whose whole state is
// MachineSet.status; it decides, moves.hpp carries out.
//
//   forward   the template's revision is new: step by step, each with its pause
//   restore   the template's revision is the current one: everything that isn't goes (back) to it, without steps
//   back      the template's revision is rejected: everything goes back to the current one, or stands still and calls a person
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "controllers/machine_set/facts.hpp"
#include "controllers/machine_set/revisions.hpp"
#include "controllers/machine_set/snapshot.hpp"
#include "controllers/machine_set/steps.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::machine_set {

// Why something doesn't go on.
struct Problem {
  Text reason;
  std::string message;
  Text kind, name;  // what blocks
};

struct Course {
  enum class Way : std::uint8_t { forward, restore, back };
  Way way = Way::restore;
  api::RolloutStatus status;
  Text current;  // after this pass
  std::vector<api::RejectedRevision> rejected;
  std::vector<api::ChangeRecord> history;
  api::HandledWords handled;

  // What may move now.
  std::int64_t need = 0;       // so many more machines may get the update revision
  std::int64_t quota = 0;      // so many may have it in all; Recreate counts by this
  bool first_step = false;     // canaries: machines that are well
  bool last_step = false;      // machines that can't testify (no host, silent) get it too
  std::int64_t excess = 0;     // a partition was raised: so many of those that have it go back
  bool everyone_back = false;  // whoever hasn't the current revision goes back to it
  Text new_machines;           // revision of new machines

  std::optional<std::chrono::seconds> again;
  std::optional<Problem> waiting;          // a pause, a promotion, another set: as it should be
  std::optional<Problem> stalled;          // needs a person, or a change elsewhere
  std::vector<reconcile::Action> actions;  // annotations that are done, retries of machines, Jobs of probes
  std::vector<reconcile::Query> queries;   // of the pre-flight, of a step's analysis, and who asked for it
  std::vector<reconcile::EventNote> events;
  std::vector<reconcile::MetricNote> metrics;

  bool is_rejected(const Text& revision) const {
    for (const auto& r : rejected)
      if (r.revision == revision) return true;
    return false;
  }
};

// What an event is about, for machines. Events of one reason and one action become a series that shows the first one's note: so each step
// of each revision has an action of its own.
std::string event_action(const api::RolloutStatus& at);

// `blocked`: why nothing may get the update revision now (an unknown package, the cluster); the way back is never blocked by it.
Course plan_course(const Snapshot& s, const Revisions& revisions, const Facts& facts, const std::optional<Problem>& blocked);

}  // namespace endstate::machine_set
