// ClusterPackageLoop: observe for the plan of a ClusterPackageVersion (plan.hpp). Used is one that a Hosted Cluster names, that went
// through last there (its way back), or that a release under way comes by.
#pragma once
#include "reconcile/run/loop.hpp"

namespace endstate::package {

class ClusterPackageLoop final : public reconcile::Loop {
 public:
  std::string_view name() const override { return "cluster_package"; }
  const reconcile::Kind& kind() const override;
  std::vector<reconcile::Source> sources() const override;
  std::function<reconcile::Plan()> observe(const reconcile::Snapshot& snapshot, const reconcile::Key& key) const override;
};

}  // namespace endstate::package
