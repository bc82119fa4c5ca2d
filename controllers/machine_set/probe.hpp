// A probe of a step: a Job in the business cluster that must succeed. Its whole state is a ProbeStatus; a Job is found by its name,
// which is made of set, revision, step and probe, and known by its annotation and uid.
#pragma once
#include <string>

#include "controllers/machine_set/snapshot.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::machine_set {

// Where a probe stands: in which analysis of which step.
struct ProbeSite {
  const api::MachineSet& set;
  const std::string& connection;  // of the business cluster
  Text revision, step;
  WallTime begun{};                        // the analysis: a Job of an earlier one isn't believed
  const std::vector<api::BlindGap>& gaps;  // of that cluster: its clock stands still in them
};

// "<set>-<hash>", at most 63 characters: a Job's name is a label of its pods.
std::string job_name(const ProbeSite& site, const Text& probe);
// Query::id of the question for its Job, for that Job's pods (at most 5), for the events that say why there are none.
std::string probe_query(const Text& step, const Text& probe);
inline constexpr std::string_view job_prefix = "probe/", pods_prefix = "probe-pods/", events_prefix = "probe-events/";
// What the answer about the events says: the API server's words.
std::vector<std::string> read_failed_creates(const std::string& body);

// No pod of its Job has ever run, as far as is known: whatever becomes of the Job then says nothing about the revision.
bool never_ran(const api::ProbeStatus& status);

// The Job from the user's template: name, namespace, our labels and annotation; and where the template says nothing: backoffLimit 0 (a
// failure is an answer, not an accident), activeDeadlineSeconds (the probe's timeout), ttlSecondsAfterFinished 3600, restartPolicy Never.
// Code::invalid: the template is no object.
reconcile::Result<std::string> job_of(const ProbeSite& site, const api::JobProbe& probe, const std::string& attempt);

struct ProbePlan {
  std::vector<reconcile::Query> queries;
  std::vector<reconcile::Action> actions;
  std::string unreadable;  // not empty: its time is over, and how it stands can't be found out; why
  bool waits = false;      // no pod of it runs (yet): status.message says why
};
// One look at a probe that runs: `seen` is what the last query found out, `refusal` why the last creation was refused; null: nothing.
// Passed when the Job is Complete; Failed when it has Failed, isn't done in time, was deleted twice, or can't be made. A Job that can't be
// read, that can't be made for a reason that may pass, or of which no pod ever ran (a quota, no room, no image), is neither.
ProbePlan advance_probe(const ProbeSite& site, const api::JobProbe& probe, const JobSeen* seen, const reconcile::Error* refusal,
                        WallTime now, api::ProbeStatus& status);

}  // namespace endstate::machine_set
