#include "controllers/package/loop_cluster.hpp"

#include <set>

#include "apis/v1alpha1/cluster.hpp"
#include "controllers/package/plan.hpp"

namespace endstate::package {
namespace {

using reconcile::Key, reconcile::kind_of, reconcile::View;
using Enqueue = std::function<void(Key)>;

std::set<std::string> versions_of(const api::Cluster& c) {
  const auto& plane = c.status.control_plane;
  std::set<std::string> names;
  const auto add = [&](const Text& name) {
    if (!name.empty()) names.insert(name.str());
  };
  if (c.spec.package_version) add(c.spec.package_version->name);
  add(plane.package_version);
  for (const auto& step : plane.upgrade_plan) {
    if (step.state == api::PlanStepState::done && !(step.to == plane.package_version)) add(step.to);  // its pods may be of it
    if (step.state != api::PlanStepState::done) add(step.to), add(step.from);
  }
  return names;
}

constexpr reconcile::Index clusters_by_version = reconcile::index<api::Cluster>("cluster-package", [](const api::Cluster& c, auto& emit) {
  for (const auto& name : versions_of(c)) emit(name);
});

void cluster_changed(const View&, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
  const auto names = [](const void* c) { return c ? versions_of(*static_cast<const api::Cluster*>(c)) : std::set<std::string>(); };
  const auto old_names = names(before), new_names = names(after);
  for (const auto& n : old_names)
    if (!new_names.contains(n)) enqueue({{}, n});
  for (const auto& n : new_names)
    if (!old_names.contains(n)) enqueue({{}, n});
}

}  // namespace

const reconcile::Kind& ClusterPackageLoop::kind() const { return kind_of<api::ClusterPackageVersion>; }

std::function<reconcile::Plan()> ClusterPackageLoop::observe(const reconcile::Snapshot& given, const Key& key) const {
  const auto version = given.view.get<api::ClusterPackageVersion>("", {}, key.name);
  if (!version) return nullptr;
  auto s = snapshot_of(version, std::chrono::floor<std::chrono::seconds>(given.now.wall));
  for (const auto& c : given.view.by_index<api::Cluster>("", clusters_by_version, key.name)) {
    ++s.users;
    if (s.first_users.size() < max_users)
      s.first_users.push_back({.kind = "Cluster", .name_space = c->metadata.name_space, .name = c->metadata.name});
  }
  s.complete = given.view.synced<api::Cluster>("") && given.view.lag<api::Cluster>("").count() == 0;
  if (!s.complete) s.unknown = "the meta cluster's caches are not up to date";
  return [s = std::move(s)] { return plan(s); };
}

std::vector<reconcile::Source> ClusterPackageLoop::sources() const {
  return {{.kind = &kind_of<api::ClusterPackageVersion>,
           .keys =
               [](const View&, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
                 enqueue(static_cast<const api::ClusterPackageVersion*>(after ? after : before)->metadata.key());
               }},
          {.kind = &kind_of<api::Cluster>, .keys = cluster_changed}};
}

}  // namespace endstate::package
