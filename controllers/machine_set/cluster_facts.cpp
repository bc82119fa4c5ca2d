#include "controllers/machine_set/cluster_facts.hpp"

#include "controllers/common/machine_state.hpp"

namespace endstate::machine_set {

ClusterFacts facts_of(const api::Cluster& cluster) {
  ClusterFacts out{.found = true,
                   .deleting = cluster.metadata.deleting(),
                   .paused = is_paused(cluster),
                   .hosted = cluster.spec.control_plane.type == api::ControlPlaneType::hosted,
                   .connection = connection_of(cluster),
                   .ready = api::ConditionStatus::unknown,
                   .why_not_ready = {},
                   .version = cluster.status.control_plane.version};
  if (const auto* ready = reconcile::find_condition(cluster.status.conditions, api::condition::ready)) {
    out.ready = ready->status;
    if (ready->status != api::ConditionStatus::true_) out.why_not_ready = ready->message;
  }
  return out;
}

}  // namespace endstate::machine_set
