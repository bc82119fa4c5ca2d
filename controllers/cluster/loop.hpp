// ClusterLoop: observe for the plan of a Cluster (plan.hpp).
#pragma once
#include "reconcile/run/loop.hpp"

namespace endstate::cluster {

class ClusterLoop final : public reconcile::Loop {
 public:
  std::string_view name() const override { return "cluster"; }
  const reconcile::Kind& kind() const override;
  std::vector<reconcile::Source> sources() const override;
  std::function<reconcile::Plan()> observe(const reconcile::Snapshot& snapshot, const reconcile::Key& key) const override;
};

}  // namespace endstate::cluster
