// BudgetLoop: keeps ChangeBudget.status (summary.hpp). ChecksLoop: asks what breakers' checks ask, cluster by cluster (checks.hpp). They
// decide nothing: the guard does (ledger_guard.hpp).
#pragma once
#include "controllers/guard/checks.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::guard {

// What the guard has counted of a cluster, for people.
struct Usage {
  std::vector<std::int64_t> in_flight;  // by limit of that budget
  bool too_wide = false;
};

class BudgetLoop final : public reconcile::Loop {
 public:
  using Counter = std::function<Usage(const reconcile::Key& cluster, const v1alpha1::ChangeBudget& budget)>;
  explicit BudgetLoop(Counter count = {}) : count_(std::move(count)) {}
  std::string_view name() const override { return "budget"; }
  const reconcile::Kind& kind() const override;
  std::vector<reconcile::Source> sources() const override;
  std::function<reconcile::Plan()> observe(const reconcile::Snapshot& snapshot, const reconcile::Key& key) const override;

 private:
  Counter count_;
};

class ChecksLoop final : public reconcile::Loop {
 public:
  explicit ChecksLoop(CheckBook& book) : book_(book) {}
  std::string_view name() const override { return "checks"; }
  const reconcile::Kind& kind() const override;
  std::vector<reconcile::Source> sources() const override;
  std::function<reconcile::Plan()> observe(const reconcile::Snapshot& snapshot, const reconcile::Key& key) const override;

 private:
  CheckBook& book_;
};

}  // namespace endstate::guard
