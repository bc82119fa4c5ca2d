#include "controllers/cluster/operations.hpp"

#include <algorithm>

#include "reconcile/json/encode.hpp"

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

namespace {

reconcile::Action status_action(const api::Cluster& cluster, const api::ClusterStatus& status) {
  const auto& meta = cluster.metadata;
  std::string body =
      "{\"apiVersion\":\"endstate.dev/v1alpha1\",\"kind\":\"Cluster\",\"metadata\":{\"name\":" + reconcile::quote(meta.name) +
      ",\"namespace\":" + reconcile::quote(meta.name_space) + ",\"uid\":" + reconcile::quote(meta.uid) +
      ",\"resourceVersion\":" + reconcile::quote(meta.resource_version) + "},\"status\":" + reconcile::encode(status) + "}";
  return {.verb = reconcile::Verb::apply,
          .kind = &reconcile::kind_of<api::Cluster>,
          .name_space = meta.name_space,
          .name = meta.name,
          .subresource = "status",
          .body = std::move(body),
          .uid = meta.uid,
          .resource_version = meta.resource_version,
          .stage = 0,
          .guarded = true,
          .why = "the lock of what follows"};
}

}  // namespace

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
  plan.actions.insert(plan.actions.begin(), status_action(cluster, status));
  return true;
}

}  // namespace endstate::cluster
