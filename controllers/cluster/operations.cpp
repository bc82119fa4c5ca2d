#include "controllers/cluster/operations.hpp"

#include <algorithm>

#include "controllers/common/lock_write.hpp"

namespace endstate::cluster {

namespace api = v1alpha1;
using reconcile::WallTime;

std::vector<api::ClusterOperation> under_way(const std::vector<api::ClusterOperation>& before,
                                             const std::set<std::string, std::less<>>& unsettled, WallTime now) {
  std::vector<api::ClusterOperation> out;
  for (const auto& op : before) {
    const bool late = op.deadline != WallTime{} && op.deadline <= now;
    const bool moving = op.component.empty() ? !unsettled.empty() : unsettled.contains(op.component.view());
    const bool unseen = op.type == api::operation::control_plane_repair;
    if (!late && (moving || unseen || now - op.start_time < lock_shortest)) out.push_back(op);
  }
  return out;
}

bool lock_first(const api::Cluster& cluster, api::ClusterStatus status, WallTime now, reconcile::Plan& plan) {
  if (!plan.permit) return false;
  const auto id = plan.permit->id();
  const auto same = [&](const api::ClusterOperation& op) { return op.id == id; };
  if (std::any_of(cluster.status.operations.begin(), cluster.status.operations.end(), same)) return false;
  if (status.operations.size() >= max_operations) status.operations.erase(status.operations.begin());
  status.operations.push_back(
      {.id = id, .type = plan.permit->operation, .component = plan.permit->component, .start_time = now, .deadline = now + lock_life});
  status.blocked_by.reset();
  for (auto& a : plan.actions)
    if (a.guarded) ++a.stage;
  plan.actions.insert(plan.actions.begin(), lock_write(cluster, status, "the lock of what follows"));
  return true;
}

}  // namespace endstate::cluster
