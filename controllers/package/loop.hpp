// PackageLoop: observe for the plan of a MachinePackageVersion (plan.hpp).
#pragma once
#include "reconcile/run/loop.hpp"

namespace endstate::package {

class PackageLoop final : public reconcile::Loop {
 public:
  std::string_view name() const override { return "package"; }
  const reconcile::Kind& kind() const override;
  std::vector<reconcile::Source> sources() const override;
  std::function<reconcile::Plan()> observe(const reconcile::Snapshot& snapshot, const reconcile::Key& key) const override;
};

}  // namespace endstate::package
