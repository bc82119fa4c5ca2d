// plan: who uses a MachinePackageVersion or a ClusterPackageVersion. While anybody does, it carries the finalizer endstate.dev/in-use: a
// name that machines or control planes still need (or that is their way back) never stops meaning something. Pure.
#pragma once
#include <optional>
#include <vector>

#include "apis/v1alpha1/packages.hpp"
#include "reconcile/cache/view.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::package {

using reconcile::Ref, reconcile::Text, reconcile::WallTime;
namespace api = endstate::v1alpha1;

inline constexpr std::size_t max_users = 100;              // that status names
inline constexpr std::chrono::milliseconds settle{5'000};  // the list of users is written at most so often

struct Snapshot {
  const reconcile::Kind* kind = nullptr;  // of the version
  Ref<reconcile::ObjectMeta> metadata;
  Ref<api::PackageVersionStatus> status;
  std::int64_t users = 0;
  std::vector<api::ObjectRef> first_users;  // at most max_users: MachineSets, their revisions, Machines, HostAssignments; Clusters; by key
  // Everybody could be asked. Else an empty list means nothing: `unknown` says who could not.
  bool complete = true;
  std::string unknown;
  WallTime now{};  // whole seconds
};

// A snapshot of `version`, without its users.
template <class Version>
Snapshot snapshot_of(const Ref<Version>& version, WallTime now) {
  Snapshot s;
  s.kind = &reconcile::kind_of<Version>;
  s.metadata = Ref<reconcile::ObjectMeta>(version, &version->metadata);
  s.status = Ref<api::PackageVersionStatus>(version, &version->status);
  s.now = now;
  return s;
}

reconcile::Plan plan(const Snapshot& snapshot);

struct Planned {
  reconcile::Plan plan;
  std::optional<api::PackageVersionStatus> status;
};
Planned plan_in_full(const Snapshot& snapshot);

}  // namespace endstate::package
