// MachineSetLoop: observe for the plan of a MachineSet (plan.hpp). Copies pointers out of the caches; the few ControllerRevisions are
// decoded on the worker, with the plan.
#pragma once
#include "reconcile/run/loop.hpp"

namespace endstate::machine_set {

class MachineSetLoop final : public reconcile::Loop {
 public:
  std::string_view name() const override { return "machine_set"; }
  const reconcile::Kind& kind() const override;
  std::vector<reconcile::Source> sources() const override;
  std::function<reconcile::Plan()> observe(const reconcile::Snapshot& snapshot, const reconcile::Key& key) const override;
};

}  // namespace endstate::machine_set
