// What a Hosted cluster is made of, as branches of its tree. Pure.
#pragma once
#include <vector>

#include "apis/v1alpha1/cluster.hpp"
#include "reconcile/kube/workloads.hpp"
#include "src/kubectl/text.hpp"

namespace endstate::kubectl {

// Of its Deployments and its StatefulSet: what was read of them; null: they can't be read with the user's rights.
void tell_control_plane(const v1alpha1::Cluster& cluster, const std::vector<reconcile::Workload>* workloads, reconcile::WallTime now,
                        Tree& root);

}  // namespace endstate::kubectl
