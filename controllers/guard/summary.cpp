#include "controllers/guard/summary.hpp"

#include <algorithm>

#include "controllers/guard/plan.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::guard {

namespace api = v1alpha1;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t max_clusters = 64;  // as the field's description says
constexpr auto settle = 10s;              // at most so often: a summary is for people

std::int64_t in_flight(const api::GuardLedgerStatus& ledger, std::string_view path) {
  return std::count_if(ledger.grants.begin(), ledger.grants.end(), [path](const auto& g) {
    return std::any_of(g.limits.begin(), g.limits.end(), [path](const auto& l) { return l == path; });
  });
}

api::LimitUsage usage_of(const BudgetInput& in, const BudgetInput::Account& account, const api::BudgetLimit& limit) {
  api::LimitUsage usage;
  usage.cluster = account.cluster.str();
  usage.limit = limit.name;
  if (account.ledger) usage.in_flight = in_flight(account.ledger->status, in.budget->metadata.name.str() + "/" + limit.name.str());
  for (const auto& w : limit.windows) {
    api::WindowUsage window{.duration = w.duration};
    if (account.ledger)
      for (const auto& l : account.ledger->status.windows)
        if (l.budget == in.budget->metadata.name && l.limit == limit.name && l.duration == w.duration)
          window.used = std::max(window.used, used(l, in.now));  // of the failure domain that is the fullest
    usage.windows.push_back(window);
  }
  return usage;
}

bool is_busy(const api::ChangeBudgetStatus& status) {
  return std::any_of(status.usage.begin(), status.usage.end(), [](const auto& u) {
    return u.in_flight > 0 || std::any_of(u.windows.begin(), u.windows.end(), [](const auto& w) { return w.used > 0; });
  });
}

void set(api::ChangeBudgetStatus& status, const BudgetInput& in, std::string_view type, reconcile::ConditionStatus value,
         std::string_view reason, std::string_view message) {
  reconcile::set_condition(status.conditions,
                           {.type = type,
                            .status = value,
                            .reason = reason,
                            .message = message,
                            .last_transition_time = {},
                            .observed_generation = in.budget->metadata.generation},
                           in.now);
}

// What this version can't judge holds changes: that is to be seen before somebody waits for it.
std::string not_judged(const api::ChangeBudgetSpec& spec) {
  if (!spec.schedules.empty()) return "schedules can't be judged by this version: they hold the operations that they name";
  if (spec.breaker && !spec.breaker->checks.empty()) return "breaker.checks can't be judged by this version: they hold all forward changes";
  return {};
}

void set_conditions(api::ChangeBudgetStatus& status, const BudgetInput& in) {
  using enum reconcile::ConditionStatus;
  const auto stalled = not_judged(in.budget->spec);
  const bool good = stalled.empty();
  set(status, in, api::condition::ready, good ? true_ : false_, good ? api::reason::ready : api::reason::not_supported, stalled);
  set(status, in, api::condition::reconciling, false_, api::reason::up_to_date, {});
  set(status, in, api::condition::stalled, good ? false_ : true_, good ? api::reason::not_stalled : api::reason::not_supported, stalled);
}

}  // namespace

reconcile::Plan plan_summary(const BudgetInput& in) {
  const auto& budget = *in.budget;
  api::ChangeBudgetStatus status;
  status.observed_generation = budget.metadata.generation;
  status.conditions = budget.status.conditions;
  for (std::size_t i = 0; i < std::min(in.accounts.size(), max_clusters); ++i) {
    const auto& account = in.accounts[i];
    for (const auto& limit : budget.spec.limits) status.usage.push_back(usage_of(in, account, limit));
    if (!account.ledger) continue;
    for (const auto& b : account.ledger->status.breakers)
      if (b.budget == budget.metadata.name)
        status.breakers.push_back(
            {.cluster = account.cluster.str(), .state = b.state, .reason = b.reason, .message = b.message, .since = b.since});
  }
  set_conditions(status, in);

  reconcile::Plan plan;
  // The annotation that resets a breaker is one-shot: it goes when the ledger says that the breaker is closed.
  const auto asked = budget.metadata.annotations.get(api::annotation::reset_breaker);
  const bool done = !asked.empty() && std::none_of(status.breakers.begin(), status.breakers.end(), [asked](const auto& b) {
    return b.cluster == asked && b.state == api::BreakerState::open;
  });
  if (done)
    plan.actions.push_back(
        {.verb = reconcile::Verb::json_patch,
         .kind = &reconcile::kind_of<api::ChangeBudget>,
         .name = budget.metadata.name,
         .body = R"([{"op":"test","path":"/metadata/resourceVersion","value":)" + reconcile::quote(budget.metadata.resource_version) +
                 R"(},{"op":"remove","path":"/metadata/annotations/)" + reconcile::pointer(api::annotation::reset_breaker) + R"("}])",
         .uid = budget.metadata.uid,
         .resource_version = budget.metadata.resource_version,
         .why = "the breaker is closed"});
  plan.status = reconcile::StatusWrite{.kind = &reconcile::kind_of<api::ChangeBudget>,
                                       .key = budget.metadata.key(),
                                       .uid = budget.metadata.uid,
                                       .resource_version = budget.metadata.resource_version,
                                       .status = reconcile::encode(status),
                                       .changed = !reconcile::same(status, budget.status),
                                       .settle = budget.status.observed_generation == budget.metadata.generation ? settle : 0s};
  if (is_busy(status)) plan.again = settle;  // windows empty by time alone
  return plan;
}

}  // namespace endstate::guard
