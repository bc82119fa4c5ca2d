// The analysis of a step: its checks and probes, once its machines are available and its pause is over; and what the updated machines
// themselves say, from the step's beginning on. Pure; the whole state is RolloutStatus::analysis, so that a restart goes on where it was.
//
// A check or probe that has an end keeps it. Editing the steps drops the statuses of what vanished and starts what is new; a check that
// was Inconclusive begins again, for an edit is how it is mended.
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "controllers/machine_set/snapshot.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::machine_set {

struct AnalysisPlan {
  enum class Result : std::uint8_t {
    running,
    passed,
    failed,        // speaks against the revision
    inconclusive,  // a person must look; it may also heal (a source that appears, a cluster that answers again)
  };
  Result result = Result::running;
  Text reason;          // of all but passed
  std::string message;  // for people
  Text kind, name;      // what holds it, where that is another object
  std::vector<reconcile::Query> queries;
  std::vector<reconcile::Action> actions;
  std::optional<std::chrono::seconds> again;
};

bool has_analysis(const api::RolloutStep& step);  // checks or probes

// One look. `edited`: the steps aren't those that the status was judged by.
AnalysisPlan advance_analysis(const Snapshot& s, const api::RolloutStep& step, const Text& revision, bool edited,
                              api::AnalysisStatus& status);

// Somebody asked to try again: what was Inconclusive begins anew. False: nothing was.
bool restart_analysis(std::optional<api::AnalysisStatus>& status);

// How machines of the revision are: `unhealthy` of `updated` were available with it and aren't any more, `restarts` of their hosts.
// A message when that is more than the step's `health` allows.
std::optional<std::string> judge_health(const api::RolloutStep& step, std::int64_t unhealthy, std::int64_t updated, std::int64_t restarts);

// For the history.
void record_analysis(api::StepRecord& record, const std::optional<api::AnalysisStatus>& status);

}  // namespace endstate::machine_set
