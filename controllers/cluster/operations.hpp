// The locks of a control plane: what the guard has granted of ControlPlane* and CertificateRotation and hasn't come to its end
// (Cluster.status.operations). Written under the grant, before what it permits, as Machine.status.operation is; the guard counts what is
// under way by them. Pure.
#pragma once
#include <set>
#include <string>
#include <vector>

#include "apis/v1alpha1/cluster.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::cluster {

// A lock of which nobody sees the end (an etcd member's repair) counts no longer than this. A Teardown needs none: it ends with its
// Cluster.
inline constexpr std::chrono::seconds lock_life{900};
// A change that was just made may not be seen yet as unsettled.
inline constexpr std::chrono::seconds lock_shortest{5};
inline constexpr std::size_t max_operations = 8;  // as the CRD says

// Those that are still under way: not over by their deadline, and their component (any, where none is named) isn't settled.
std::vector<v1alpha1::ClusterOperation> under_way(const std::vector<v1alpha1::ClusterOperation>& before,
                                                  const std::set<std::string, std::less<>>& unsettled, reconcile::WallTime now);

// Puts the lock of `plan.permit` before the guarded actions of the plan: the status with the lock is the first of them, the others follow.
// Nothing is changed where there is no permit, or its lock stands already. True: the plan's own StatusWrite must not go out beside it.
bool lock_first(const v1alpha1::Cluster& cluster, v1alpha1::ClusterStatus status, reconcile::WallTime now, reconcile::Plan& plan);

}  // namespace endstate::cluster
