#include "controllers/machine_set/cluster_facts.hpp"

#include "controllers/common/machine_state.hpp"

namespace endstate::machine_set {
namespace {

std::string why_not(const api::Cluster& c) {
  for (const auto type : {api::condition::control_plane_ready, api::condition::addons_ready})
    if (const auto* found = reconcile::find_condition(c.status.conditions, type); found && found->status != api::ConditionStatus::true_)
      return std::string(type) + " is not True: " + found->message.str();
  return "its control plane isn't there";
}

}  // namespace

ClusterFacts facts_of(const api::Cluster& cluster, const reconcile::Sight& sight, WallTime now) {
  ClusterFacts out{.found = true,
                   .deleting = cluster.metadata.deleting(),
                   .paused = is_paused(cluster),
                   .waits_for = takes_machines(cluster) ? std::string() : why_not(cluster),
                   .connection = connection_of(cluster),
                   .sight = sight,
                   .gaps = blind_gaps(cluster, sight, now),
                   .ready = api::ConditionStatus::unknown,
                   .why_not_ready = {},
                   .version = cluster.status.control_plane.version};
  if (const auto* ready = reconcile::find_condition(cluster.status.conditions, api::condition::ready)) {
    out.ready = ready->status;
    if (ready->status != api::ConditionStatus::true_) out.why_not_ready = ready->message;
  }
  return out;
}

ClusterFacts facts_of(const api::Cluster& cluster, WallTime now) {
  reconcile::Sight sight{.seen = true};
  for (const auto& gap : cluster.status.blind)
    if (gap.end_time == WallTime{}) sight = {.seen = false, .since = gap.start_time, .why = "its API server doesn't answer endstate"};
  return facts_of(cluster, sight, now);
}

}  // namespace endstate::machine_set
