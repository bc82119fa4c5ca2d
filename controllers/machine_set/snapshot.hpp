// What the machine_set loop's plan sees: immutable, complete, and nothing of the API itself. observe (loop.cpp) fills it.
#pragma once
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "apis/v1alpha1/cluster.hpp"
#include "apis/v1alpha1/machine_set.hpp"
#include "apis/v1alpha1/packages.hpp"
#include "apis/v1alpha1/policy.hpp"
#include "controllers/common/elapsed.hpp"
#include "controllers/common/metric_answer.hpp"
#include "controllers/guard/schedule.hpp"
#include "reconcile/cache/sight.hpp"
#include "reconcile/cache/view.hpp"
#include "reconcile/kube/core.hpp"

namespace endstate::machine_set {

using reconcile::Ref, reconcile::Text, reconcile::WallTime;
namespace api = endstate::v1alpha1;

inline constexpr std::size_t max_actions = 100;  // of one pass (README: so that a burst never starves another key)
// Deletions that a set has under way at once. A deletion can't be taken back; a mistaken `replicas: 0` can, for the machines
// that weren't asked to go yet.
inline constexpr std::int64_t max_deleting = 100;

// A ControllerRevision of the set, decoded. `canonical` is the encoding of its template: what makes two revisions the same.
struct Revision {
  Text hash, name, uid, resource_version;  // hash: what stands in labels and status; name: <set>-<hash>
  std::int64_t number = 0;
  api::MachineTemplate template_;
  std::string canonical;
  bool owned = true;  // the set is its owner; false: only its label says whose it is
};

struct ClusterFacts {
  bool found = false, deleting = false, paused = false;
  std::string waits_for;                 // a Hosted one can't take machines yet: what is missing there; empty: it can
  std::string connection{};              // of the business cluster: where probes run
  reconcile::Sight sight{.seen = true};  // of that connection
  std::vector<api::BlindGap> gaps{};     // when it couldn't be seen, until now (common/elapsed.hpp)
  api::ConditionStatus ready{};
  Text why_not_ready{}, version{};  // version: of its API server; empty: not known yet
};

// What the pre-flight (preflight.hpp) reads beside the rest; gathered only while one is near.
struct ArtifactAnswer {
  int status = 0;  // 0: none came, and `error` says why
  std::string error;
};
struct MachineHost {
  Text revision;  // of the machine's label
  Ref<api::Host> host;
};
struct PreflightInput {
  std::vector<Ref<api::MachinePackageVersion>> packages;       // that the template names and that exist
  std::map<std::string, ArtifactAnswer, std::less<>> answers;  // by the question's id
  std::vector<Ref<api::ChangeBudget>> budgets;                 // that select the cluster, by name
  std::vector<guard::ZoneFacts> zones;                         // of all zones that their schedules name
  Ref<api::GuardLedger> ledger;                                // null: the cluster has no account yet
  std::vector<Ref<api::Machine>> cluster_machines;             // all of the cluster; none when there is no budget or no account
  std::vector<MachineHost> hosts;                              // of machines that stay; none when no artifact says its size
  bool known = true;                                           // false: a cache is not filled yet
};

// Who wrote the template last, as the API server names them, and when.
struct Editor {
  Text manager;
  WallTime time{};
};

// What was found out about a probe's Job. Neither: it doesn't exist.
struct JobSeen {
  std::optional<reconcile::Job> job;
  std::optional<reconcile::Error> error;
  std::optional<std::vector<reconcile::Pod>> pods{};  // nullopt: not asked for yet, or they can't be read
  std::vector<std::string> failed_creates{};          // why no pod could be made, in the API server's words (events of the Job)
};

// A write of a Machine that the API server refused in the last pass, and its words.
struct RefusedWrite {
  reconcile::Verb verb{};
  Text name;
  std::string message;
};

inline constexpr std::size_t max_waves = 32;  // sets that wait for each other in a row: so far a ring is looked for

// Whom the set `after` waits for, whom that one waits for, and so on; ends before a set that is in the chain already, is `set` itself or
// doesn't exist. `find`: the namespace's set by that name, or null.
template <class Find>
std::vector<Ref<api::MachineSet>> chain_after(const api::MachineSet& set, const Ref<api::MachineSet>& after, const Find& find) {
  std::vector<Ref<api::MachineSet>> out;
  for (auto at = after; at && at->spec.rollout.after && out.size() < max_waves; at = out.back()) {
    const auto& name = at->spec.rollout.after->name;
    bool seen = name == set.metadata.name || name == after->metadata.name;
    for (const auto& other : out) seen = seen || name == other->metadata.name;
    auto next = seen ? Ref<api::MachineSet>() : find(name);
    if (!next) break;
    out.push_back(std::move(next));
  }
  return out;
}

struct Snapshot {
  Ref<api::MachineSet> set;
  ClusterFacts cluster;
  std::vector<Ref<api::Machine>> machines;                           // whose controller is this set (by uid); by key
  std::vector<Revision> revisions;                                   // labelled with the set's uid
  std::vector<Ref<api::Machine>> orphans;                            // that nobody owns and that could be the set's (adoption.hpp)
  std::vector<Ref<reconcile::ControllerRevision>> orphan_revisions;  // that a set of this name left behind, and that can be read
  bool may_adopt = false;                              // the API server itself says, since these were seen, that the set is there and stays
  Ref<api::MachineSet> after;                          // that spec.rollout.after names; null: none is named, or it isn't there
  std::vector<Ref<api::MachineSet>> after_that;        // whom that one waits for, and so on: as chain_after gives it
  std::optional<PreflightInput> preflight;             // nullopt: none was near when this was made
  std::optional<Editor> editor;                        // asked for when a change begins; nullopt: not known
  std::vector<Text> unknown_packages;                  // MachinePackageVersions that the template names and that don't exist
  std::vector<Text> free_names;                        // for new machines, in order; at least as many as are missing, or max_actions
  std::vector<Text> taken_revision_names;              // ControllerRevisions that exist and aren't the set's
  std::vector<Ref<api::MetricSource>> metric_sources;  // that the steps' checks name, as far as they exist
  std::map<std::string, metrics::Answer, std::less<>> answers;        // of those to the checks' questions, by Query::id
  std::map<std::string, JobSeen, std::less<>> jobs;                   // of the probes, by Query::id
  std::map<std::string, reconcile::Error, std::less<>> refused_jobs;  // why the last creation of one failed, by its name
  std::vector<RefusedWrite> refused;                                  // of the last pass
  std::optional<std::string> refused_revision;                        // why the template can't be recorded
  bool fresh = true;                                                  // every cache is synced and its watch live: absences mean something
  WallTime now{};  // whole seconds, as the API keeps them: a status with finer times would never equal what is read back

  // How long ago, without the times when its cluster couldn't be seen: the only clock of deadlines, pauses and soaks here.
  std::chrono::seconds since(WallTime start) const {
    return std::chrono::duration_cast<std::chrono::seconds>(elapsed(start, now, cluster.gaps));
  }
};

}  // namespace endstate::machine_set
