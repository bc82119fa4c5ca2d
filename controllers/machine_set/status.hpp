// The set's new status.
#pragma once
#include <optional>

#include "controllers/machine_set/course.hpp"
#include "controllers/machine_set/facts.hpp"
#include "controllers/machine_set/moves.hpp"
#include "controllers/machine_set/replicas.hpp"

namespace endstate::machine_set {

struct Verdicts {                  // what the other plans found
  std::optional<Problem> blocked;  // nothing may be made of the template now
  Replicas replicas;
  Moves moves;
  std::optional<Problem> refusal;  // by the API server: ReplicaFailure
  bool paused = false;             // nobody touches the set
  bool deleting = false;           // its machines are going
};

struct NewStatus {
  api::MachineSetStatus status;
  std::optional<std::chrono::seconds> again;  // a deadline that the status depends on
};
NewStatus plan_status(const Snapshot& s, const Revisions& revisions, const Facts& facts, Course course, const Verdicts& verdicts);

// "a=b,c=d", as the scale subresource wants it.
Text selector_text(const api::Labels& match_labels);

}  // namespace endstate::machine_set
