// What the cluster loop sees of a Hosted cluster's children, and which of their changes wake it.
#pragma once
#include "controllers/cluster/plan_hosted.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::cluster {

HostedFacts observe_hosted(const reconcile::Snapshot& given, const v1alpha1::Cluster& cluster);
std::vector<reconcile::Source> hosted_sources();

}  // namespace endstate::cluster
