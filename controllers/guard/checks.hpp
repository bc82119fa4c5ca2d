// The checks of budgets' breakers: asked for each cluster that they select, for ever. Pure. How they stand is a part of the cluster's
// account (GuardLedgerStatus::checks), and the guard decides by that (it must also see that an answer is fresh: CheckStatus::time).
#pragma once
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "apis/v1alpha1/policy.hpp"
#include "controllers/common/metric_answer.hpp"
#include "reconcile/cache/view.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::guard {

using Answers = std::map<std::string, metrics::Answer, std::less<>>;  // by Query::id

struct ChecksInput {
  reconcile::Key cluster;
  std::vector<reconcile::Ref<v1alpha1::ChangeBudget>> budgets;  // that select it, and have checks
  std::vector<reconcile::Ref<v1alpha1::MetricSource>> sources;  // of its namespace
  std::vector<v1alpha1::LedgerChecks> known;
  Answers answers;
  reconcile::WallTime now{};
};
struct ChecksPlan {
  std::vector<v1alpha1::LedgerChecks> checks;
  std::vector<reconcile::Query> queries;
  std::optional<std::chrono::seconds> again;
};
// At most 32 questions are asked in a pass, those that are due for longest first; of at most 64 budgets.
ChecksPlan plan_checks(const ChecksInput& in);

// A source that a check names and that isn't there, for people; empty: all are. `sources`: of the cluster's namespace.
std::string missing_source(const v1alpha1::ChangeBudget& budget, const reconcile::Key& cluster,
                           const std::vector<reconcile::Ref<v1alpha1::MetricSource>>& sources);

// Who keeps how the checks stand: the guard, in the accounts.
class CheckBook {
 public:
  virtual ~CheckBook() = default;
  virtual std::vector<v1alpha1::LedgerChecks> checks(const reconcile::Key& cluster) const = 0;
  virtual void answered(const reconcile::Key& cluster, std::vector<v1alpha1::LedgerChecks> checks) = 0;
};

}  // namespace endstate::guard
