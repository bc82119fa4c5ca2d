#include "src/kubectl/kinds.hpp"

#include "apis/v1alpha1/cluster.hpp"
#include "apis/v1alpha1/machine_set.hpp"
#include "apis/v1alpha1/policy.hpp"

namespace endstate::kubectl {

namespace api = v1alpha1;
using reconcile::kind_of;

const reconcile::Kind* kind_named(std::string_view api_version, std::string_view kind) {
  static constexpr const reconcile::Kind* all[] = {&kind_of<api::Cluster>,      &kind_of<api::ClusterPackageVersion>,
                                                   &kind_of<api::MachineSet>,   &kind_of<api::MachinePackageVersion>,
                                                   &kind_of<api::Machine>,      &kind_of<api::Host>,
                                                   &kind_of<api::ChangeBudget>, &kind_of<api::MetricSource>,
                                                   &kind_of<api::RepairPolicy>};
  for (const auto* k : all)
    if (k->resource->kind == kind && reconcile::api_version(*k->resource) == api_version) return k;
  return nullptr;
}

}  // namespace endstate::kubectl
