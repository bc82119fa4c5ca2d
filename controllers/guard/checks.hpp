// The checks of budgets' breakers: asked for each selected cluster, for ever. Pure; the whole state is ChangeBudgetStatus::checks, and
// the guard decides by that (it must also see that an answer is fresh: CheckStatus::time).
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

struct CheckedCluster {
  reconcile::Key cluster;
  // MetricSources of its namespace that the checks name, as far as they exist.
  std::vector<reconcile::Ref<v1alpha1::MetricSource>> sources;
};
using Answers = std::map<std::string, metrics::Answer, std::less<>>;  // by Query::id

struct ChecksPlan {
  std::vector<v1alpha1::BudgetChecks> status;
  std::vector<reconcile::Query> queries;
  std::optional<std::chrono::seconds> again;
  std::string missing;  // a source that doesn't exist, for people; empty: all are there
};
// Of at most 64 clusters (as the status' description says). At most 32 questions are asked in a pass, those that are due for longest first.
ChecksPlan plan_checks(const v1alpha1::ChangeBudget& budget, const std::vector<CheckedCluster>& clusters, const Answers& answers,
                       reconcile::WallTime now);

}  // namespace endstate::guard
