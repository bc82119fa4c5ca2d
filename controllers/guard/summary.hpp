// The summary of a ChangeBudget for people: how full its limits are, cluster by cluster, how its breakers stand, which schedules are on,
// and whether the accounts are to be trusted. Pure. The account itself is the GuardLedger.
#pragma once
#include <vector>

#include "apis/v1alpha1/cluster.hpp"
#include "apis/v1alpha1/policy.hpp"
#include "controllers/guard/schedule.hpp"
#include "reconcile/cache/view.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::guard {

struct BudgetInput {
  reconcile::Ref<v1alpha1::ChangeBudget> budget;
  struct Account {
    reconcile::Key cluster;
    reconcile::Ref<v1alpha1::GuardLedger> ledger;  // null: nothing was granted there yet
    std::vector<std::int64_t> in_flight;           // by limit of the budget; none: nobody has counted
    bool too_wide = false;                         // its windows of scope FailureDomain aren't counted there
  };
  std::vector<Account> accounts;  // of the clusters that it selects, by key
  std::vector<ZoneFacts> zones;   // that its schedules name
  std::string missing;            // a MetricSource that a check names and that isn't there; empty: all are
  reconcile::WallTime now{};
};

reconcile::Plan plan_summary(const BudgetInput& in);

}  // namespace endstate::guard
