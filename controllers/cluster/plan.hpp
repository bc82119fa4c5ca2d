// plan: what to do about a Cluster now. Pure.
//
// Type External: connect to its API server with the kubeconfig of a Secret (the meta cluster itself, if none is named), say how the
// connection is, count its machines, and let it go only when nothing of it is left. Several Clusters may share one API server.
// Type Hosted: the control plane itself, as pods of the meta cluster (plan_hosted.hpp); then the same. An operator that isn't to run them
// (--hosted-control-planes) touches nothing of one, says so, and leaves its connection as it is.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "apis/v1alpha1/cluster.hpp"
#include "apis/v1alpha1/machine.hpp"
#include "apis/v1alpha1/machine_set.hpp"
#include "controllers/cluster/plan_hosted.hpp"
#include "reconcile/cache/view.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::cluster {

using reconcile::Ref, reconcile::Text, reconcile::WallTime;
namespace api = endstate::v1alpha1;

inline constexpr std::size_t max_actions = 100;            // of one pass
inline constexpr std::chrono::milliseconds settle{5'000};  // counters of machines that come and go are written at most so often

struct Snapshot {
  Ref<api::Cluster> cluster;
  reconcile::ConnectionState connection;      // of connection_of(*cluster)
  reconcile::Sight sight;                     // the same's
  std::vector<Ref<api::MachineSet>> sets;     // that name this cluster
  std::vector<Ref<api::Machine>> machines;    // that name this cluster
  bool hosted_on = true;                      // this operator runs Hosted control planes; else `hosted` is empty
  HostedFacts hosted;                         // of type Hosted
  std::optional<reconcile::Fact> rights;      // what was answered last (rights.hpp)
  std::optional<reconcile::Refused> refused;  // the guard's last answer
  bool fresh = true;                          // every cache is synced and its watch live: that nothing is left means something
  WallTime now{};                             // whole seconds, as the API keeps them
};

reconcile::Plan plan(const Snapshot& snapshot);

// The same, with the status as a value (tests, and whoever shows what would be done).
struct Planned {
  reconcile::Plan plan;
  std::optional<api::ClusterStatus> status;
};
Planned plan_in_full(const Snapshot& snapshot);

// What a process that doesn't lead connects to (reconcile::ManagerOptions::follow): what the Cluster's own words say, so that a take-over
// finds warm caches.
reconcile::ConnectWish standby_wish(const api::Cluster& cluster);

}  // namespace endstate::cluster
