// What the machine_set loop's plans read of a Cluster; the preview reads it the same way.
#pragma once
#include "apis/v1alpha1/cluster.hpp"
#include "controllers/machine_set/snapshot.hpp"

namespace endstate::machine_set {

ClusterFacts facts_of(const api::Cluster& cluster);

}  // namespace endstate::machine_set
