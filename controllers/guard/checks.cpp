#include "controllers/guard/checks.hpp"

#include <algorithm>

#include "controllers/common/metric_check.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::guard {

namespace api = v1alpha1;
using std::chrono::seconds;

namespace {

constexpr std::size_t max_budgets = 64, max_questions = 32;  // questions: as many as the runtime asks for a plan

// What was known of a check; a new one begins as Running.
api::CheckStatus known(const std::vector<api::LedgerChecks>& all, const reconcile::Text& budget, const reconcile::Text& name) {
  for (const auto& c : all)
    if (c.budget == budget)
      for (const auto& s : c.checks)
        if (s.name == name) return s;
  api::CheckStatus fresh;
  fresh.name = name;
  return fresh;
}

const api::MetricSource* source_of(const std::vector<reconcile::Ref<api::MetricSource>>& sources, const reconcile::Text& name) {
  for (const auto& s : sources)
    if (s->metadata.name == name) return s.get();
  return nullptr;
}

std::string is_missing(const reconcile::Key& cluster, const api::MetricCheck& spec) {
  return "MetricSource " + cluster.name_space.str() + "/" + spec.source_ref.name.str() + " doesn't exist";
}

struct Due {
  reconcile::WallTime last{};
  reconcile::Query query;
};

class Run {
 public:
  Run(const ChecksInput& in, ChecksPlan& out) : in_(in), now_(std::chrono::floor<seconds>(in.now)), out_(out) {}

  void check(const reconcile::Text& budget, const api::MetricCheck& spec, api::CheckStatus& status) {
    const auto* source = source_of(in_.sources, spec.source_ref.name);
    if (!source) return no_source(spec, status);
    const auto text = metrics::expand(spec.query.view(), {.name_space = in_.cluster.name_space.view(), .cluster = in_.cluster.name.view()});
    auto query = metrics::question({}, *source, text);
    query.id = "check/" + budget.str() + "/" + spec.name.str() + "/" + reconcile::hash_of(query.http->url);
    query.max_age = api::interval(spec);
    if (const auto it = in_.answers.find(query.id); it != in_.answers.end()) metrics::advance_endless(status, spec, it->second);
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
  void no_source(const api::MetricCheck& spec, api::CheckStatus& status) {
    const auto due = metrics::due_in(spec, status, now_);
    if (due.count() > 0) return look_again(due);
    metrics::advance_endless(status, spec, {.kind = metrics::Answer::Kind::error, .message = is_missing(in_.cluster, spec), .time = now_});
    look_again(api::interval(spec));
  }
  void look_again(seconds wait) { out_.again = out_.again ? std::min(*out_.again, wait) : wait; }

  const ChecksInput& in_;
  reconcile::WallTime now_;
  ChecksPlan& out_;
  std::vector<Due> due_;
};

}  // namespace

ChecksPlan plan_checks(const ChecksInput& in) {
  ChecksPlan out;
  Run run(in, out);
  for (const auto& budget : in.budgets) {
    if (!budget->spec.breaker || budget->spec.breaker->checks.empty()) continue;
    if (out.checks.size() >= max_budgets) break;
    api::LedgerChecks of{.budget = budget->metadata.name, .checks = {}};
    for (const auto& spec : budget->spec.breaker->checks) {
      auto status = known(in.known, budget->metadata.name, spec.name);
      run.check(budget->metadata.name, spec, status);
      of.checks.push_back(std::move(status));
    }
    out.checks.push_back(std::move(of));
  }
  run.finish();
  return out;
}

std::string missing_source(const api::ChangeBudget& budget, const reconcile::Key& cluster,
                           const std::vector<reconcile::Ref<api::MetricSource>>& sources) {
  if (!budget.spec.breaker) return {};
  for (const auto& spec : budget.spec.breaker->checks)
    if (!source_of(sources, spec.source_ref.name))
      return "breaker.checks[" + spec.name.str() + "]: " + is_missing(cluster, spec) + ": create it, or edit the check";
  return {};
}

}  // namespace endstate::guard
