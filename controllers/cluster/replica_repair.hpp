// plan_repair: a replica of the API server, the controller manager or the scheduler that stays unwell is isolated, then made anew. Pure.
//
//   isolated   its label endstate.dev/component gets another value: no Service leads to it, and its Deployment, which misses it now, makes
//              another one at once
//   removed    by the eviction API, when all that are wanted are ready again, or after isolated_for
//
// One at a time, and only when all others of its component are ready: what ails several isn't cured by restarts. Not during a release,
// which judges its own pods. A component whose replicas were made anew max_repairs times without an hour of rest is reported, and tried
// again once an hour.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "controllers/cluster/plan_hosted.hpp"

namespace endstate::cluster {

inline constexpr std::int64_t max_repairs = 3;
inline constexpr std::chrono::seconds repair_rest{3600};
inline constexpr std::chrono::seconds unwell_for{180};   // not ready so long, once it had started
inline constexpr std::chrono::seconds start_takes{600};  // not ready so long, and it never started
inline constexpr std::int64_t crashes = 3;               // restarts, and waiting for the next
inline constexpr std::chrono::seconds isolated_for{600};
inline constexpr std::string_view isolated_suffix = "-isolated";

struct RepairInput {
  const Site& site;
  const HostedFacts& facts;
  const std::vector<v1alpha1::ReplicaRepair>& before;
  WallTime now{};
};
struct RepairPlan {
  std::vector<reconcile::Action> actions;  // guarded, at most one
  std::string permit;                      // the pod
  std::string event;
  std::vector<v1alpha1::ReplicaRepair> repairs;  // as they stand when the action has been done
  std::optional<HostedProblem> problem;
};
RepairPlan plan_repair(const RepairInput& input);

// Evicted by its uid, guarded: PodDisruptionBudgets are asked.
reconcile::Action evict(const reconcile::Pod& pod, std::string why);
bool is_isolated(const reconcile::Pod& pod);

}  // namespace endstate::cluster
