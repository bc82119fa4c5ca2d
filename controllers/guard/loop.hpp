// BudgetLoop: observe for the summary of a ChangeBudget (summary.hpp). It decides nothing: the guard does (ledger_guard.hpp).
#pragma once
#include "reconcile/run/loop.hpp"

namespace endstate::guard {

class BudgetLoop final : public reconcile::Loop {
 public:
  std::string_view name() const override { return "budget"; }
  const reconcile::Kind& kind() const override;
  std::vector<reconcile::Source> sources() const override;
  std::function<reconcile::Plan()> observe(const reconcile::Snapshot& snapshot, const reconcile::Key& key) const override;
};

}  // namespace endstate::guard
