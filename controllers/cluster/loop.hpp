// ClusterLoop: observe for the plan of a Cluster (plan.hpp).
#pragma once
#include "reconcile/run/loop.hpp"

namespace endstate::cluster {

struct ClusterLoopOptions {
  bool hosted = false;  // of Hosted control planes too: their children, Secrets among them, are then watched and written
};

class ClusterLoop final : public reconcile::Loop {
 public:
  explicit ClusterLoop(ClusterLoopOptions options = {}) : options_(options) {}
  std::string_view name() const override { return "cluster"; }
  const reconcile::Kind& kind() const override;
  std::vector<reconcile::Source> sources() const override;
  std::function<reconcile::Plan()> observe(const reconcile::Snapshot& snapshot, const reconcile::Key& key) const override;

 private:
  ClusterLoopOptions options_;
};

}  // namespace endstate::cluster
