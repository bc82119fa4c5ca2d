// The summary of a ChangeBudget for people: how full its limits are, cluster by cluster, how its breakers stand, which schedules are on,
// and whether the accounts are to be trusted. Pure. The account itself is the GuardLedger.
#pragma once
#include <vector>

#include "apis/v1alpha1/cluster.hpp"
#include "apis/v1alpha1/policy.hpp"
#include "controllers/guard/checks.hpp"
#include "controllers/guard/schedule.hpp"
#include "reconcile/cache/view.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::guard {

struct BudgetInput {
  reconcile::Ref<v1alpha1::ChangeBudget> budget;
  struct Account {
    reconcile::Key cluster;
    reconcile::Ref<v1alpha1::GuardLedger> ledger;  // null: nothing was granted there yet
  };
  std::vector<Account> accounts;        // of the clusters that it selects, by key
  std::vector<ZoneFacts> zones;         // that its schedules name
  std::vector<CheckedCluster> checked;  // the same clusters, with what breaker.checks ask; none without a breaker
  Answers answers;
  reconcile::WallTime now{};
};

reconcile::Plan plan_summary(const BudgetInput& in);

}  // namespace endstate::guard
