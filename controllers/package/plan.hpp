// plan: who uses a MachinePackageVersion. While anybody does, it carries the finalizer endstate.dev/in-use: a name that machines still need
// (or that is their way back) never stops meaning something. Pure.
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
  Ref<api::MachinePackageVersion> version;
  std::int64_t users = 0;
  std::vector<api::ObjectRef> first_users;  // at most max_users: MachineSets, their revisions, Machines, HostAssignments, each by key
  // Everybody could be asked. Else an empty list means nothing: `unknown` says who could not.
  bool complete = true;
  std::string unknown;
  WallTime now{};  // whole seconds
};

reconcile::Plan plan(const Snapshot& snapshot);

struct Planned {
  reconcile::Plan plan;
  std::optional<api::PackageVersionStatus> status;
};
Planned plan_in_full(const Snapshot& snapshot);

}  // namespace endstate::package
