// MetricSourceLoop: observe for the plan of a MetricSource (plan.hpp).
#pragma once
#include "reconcile/run/loop.hpp"

namespace endstate::metric_source {

class MetricSourceLoop final : public reconcile::Loop {
 public:
  std::string_view name() const override { return "metric_source"; }
  const reconcile::Kind& kind() const override;
  std::vector<reconcile::Source> sources() const override;
  std::function<reconcile::Plan()> observe(const reconcile::Snapshot& snapshot, const reconcile::Key& key) const override;
};

}  // namespace endstate::metric_source
