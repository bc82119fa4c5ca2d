#include "controllers/guard/checks.hpp"

#include <algorithm>

#include "controllers/common/metric_check.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::guard {

namespace api = v1alpha1;
using std::chrono::seconds;

namespace {

constexpr std::size_t max_clusters = 64, max_questions = 32;  // questions: as many as the runtime asks for a plan

// What was known of a check; a new one begins as Running.
api::CheckStatus known(const api::ChangeBudget& budget, const reconcile::Key& cluster, const reconcile::Text& name) {
  for (const auto& c : budget.status.checks)
    if (c.cluster == cluster.str())
      for (const auto& s : c.checks)
        if (s.name == name) return s;
  api::CheckStatus fresh;
  fresh.name = name;
  return fresh;
}

const api::MetricSource* source_of(const CheckedCluster& cluster, const reconcile::Text& name) {
  for (const auto& s : cluster.sources)
    if (s->metadata.name == name) return s.get();
  return nullptr;
}

struct Due {
  reconcile::WallTime last{};
  reconcile::Query query;
};

class Run {
 public:
  Run(const Answers& answers, reconcile::WallTime now, ChecksPlan& out) : answers_(answers), now_(now), out_(out) {}

  void check(const CheckedCluster& cluster, const api::MetricCheck& spec, api::CheckStatus& status) {
    const auto* source = source_of(cluster, spec.source_ref.name);
    if (!source) return no_source(cluster, spec, status);
    const auto text =
        metrics::expand(spec.query.view(), {.name_space = cluster.cluster.name_space.view(), .cluster = cluster.cluster.name.view()});
    auto query = metrics::question({}, *source, text);
    query.id = "check/" + cluster.cluster.str() + "/" + spec.name.str() + "/" + reconcile::hash_of(query.http->url);
    query.max_age = api::interval(spec);
    if (const auto it = answers_.find(query.id); it != answers_.end()) metrics::advance_endless(status, spec, it->second);
    const auto due = metrics::due_in(spec, status, now_);
    if (due.count() > 0) return look_again(due);
    due_.push_back({status.time, std::move(query)});
  }

  // Who was asked longest ago comes first, so that none starves; what doesn't fit is asked when these have been answered.
  void finish() {
    std::stable_sort(due_.begin(), due_.end(), [](const Due& a, const Due& b) { return a.last < b.last; });
    for (std::size_t i = 0; i < std::min(due_.size(), max_questions); ++i) out_.queries.push_back(std::move(due_[i].query));
  }

 private:
  // An error like any other that hides the answer, at the same pace: the guard must not take an old good answer for a fresh one.
  void no_source(const CheckedCluster& cluster, const api::MetricCheck& spec, api::CheckStatus& status) {
    const auto why = "MetricSource " + cluster.cluster.name_space.str() + "/" + spec.source_ref.name.str() + " doesn't exist";
    if (out_.missing.empty()) out_.missing = "breaker.checks[" + spec.name.str() + "]: " + why + ": create it, or edit the check";
    const auto due = metrics::due_in(spec, status, now_);
    if (due.count() > 0) return look_again(due);
    metrics::advance_endless(status, spec, {.kind = metrics::Answer::Kind::error, .message = why, .time = now_});
    look_again(api::interval(spec));
  }
  void look_again(seconds after) {
    if (!out_.again || after < *out_.again) out_.again = after;
  }

  const Answers& answers_;
  const reconcile::WallTime now_;
  ChecksPlan& out_;
  std::vector<Due> due_;
};

}  // namespace

ChecksPlan plan_checks(const api::ChangeBudget& budget, const std::vector<CheckedCluster>& clusters, const Answers& answers,
                       reconcile::WallTime now) {
  ChecksPlan out;
  if (!budget.spec.breaker || budget.spec.breaker->checks.empty()) return out;
  Run run(answers, std::chrono::floor<seconds>(now), out);
  for (std::size_t i = 0; i < std::min(clusters.size(), max_clusters); ++i) {
    api::BudgetChecks of;
    of.cluster = clusters[i].cluster.str();
    for (const auto& spec : budget.spec.breaker->checks) {
      auto status = known(budget, clusters[i].cluster, spec.name);
      run.check(clusters[i], spec, status);
      of.checks.push_back(std::move(status));
    }
    out.status.push_back(std::move(of));
  }
  run.finish();
  return out;
}

}  // namespace endstate::guard
