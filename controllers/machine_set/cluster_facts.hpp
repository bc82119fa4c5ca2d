// What the machine_set loop's plans read of a Cluster; the preview reads it the same way.
#pragma once
#include "apis/v1alpha1/cluster.hpp"
#include "controllers/machine_set/snapshot.hpp"

namespace endstate::machine_set {

// `sight`: of the cluster's connection, as it is at `now`.
ClusterFacts facts_of(const api::Cluster& cluster, const reconcile::Sight& sight, WallTime now);
// By the Cluster's own status alone, for who has no connection to it.
ClusterFacts facts_of(const api::Cluster& cluster, WallTime now);

}  // namespace endstate::machine_set
