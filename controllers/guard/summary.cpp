#include "controllers/guard/summary.hpp"

#include <algorithm>

#include "controllers/guard/buckets.hpp"
#include "controllers/guard/plan.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::guard {

namespace api = v1alpha1;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t max_clusters = 64;  // as the field's description says
constexpr auto settle = 10s;              // at most so often: a summary is for people
constexpr auto look_again = 1h;           // at schedules, whatever the clock does meanwhile

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

// ---- schedules ----

struct Schedules {
  std::vector<api::ScheduleStatus> all;
  std::string wrong;                         // the first that can't be judged
  std::optional<reconcile::WallTime> turns;  // when the first of them goes on or off
};

Schedules look_at_schedules(const BudgetInput& in) {
  Schedules out;
  for (const auto& s : in.budget->spec.schedules) {
    const auto state = judge(s, zone_of(s, in.zones), in.now);
    out.all.push_back({.name = s.name, .on = state.on, .until = state.until.value_or(reconcile::WallTime{}), .message = state.error});
    if (!state.error.empty() && out.wrong.empty())
      out.wrong = "spec.schedules[" + s.name.str() + "]." + state.error + "; until it is corrected it holds the operations that it names";
    if (state.until && (!out.turns || *state.until < *out.turns)) out.turns = state.until;
  }
  return out;
}

// ---- breakers, trust ----

// Before the first write of an account there is none: what was known stays, the guard looks for it here when an account was lost.
bool is_written(const BudgetInput::Account& account) { return account.ledger && account.ledger->status.generation > 0; }

void put_breakers(api::ChangeBudgetStatus& status, const BudgetInput& in, const BudgetInput::Account& account) {
  if (!is_written(account)) {
    for (const auto& known : in.budget->status.breakers)
      if (known.cluster == account.cluster.str()) status.breakers.push_back(known);
    return;
  }
  for (const auto& b : account.ledger->status.breakers)
    if (b.budget == in.budget->metadata.name)
      status.breakers.push_back(
          {.cluster = account.cluster.str(), .state = b.state, .reason = b.reason, .message = b.message, .since = b.since});
}

std::chrono::seconds longest_window(const api::ChangeBudgetSpec& spec) {
  std::chrono::seconds longest{0};
  for (const auto& limit : spec.limits)
    for (const auto& w : limit.windows) longest = std::max(longest, w.duration + bucket_width(w.duration));
  return longest;
}

// The accounts whose windows still count as full for this budget.
void judge_trust(api::ChangeBudgetStatus& status, const BudgetInput& in, reconcile::Plan& plan) {
  std::string reason, message;
  std::size_t clusters = 0;
  for (const auto& account : in.accounts) {
    if (!account.ledger || !account.ledger->status.distrusted) continue;
    const auto& d = *account.ledger->status.distrusted;
    const auto until = d.time + longest_window(in.budget->spec);
    if (in.now >= until || ++clusters > 1) continue;
    reason = d.reason.str();
    message = "GuardLedger " + account.cluster.str() + " was not to be trusted at " + reconcile::format_rfc3339(d.time) + ": " +
              d.message.str() + "; its windows counted as full then, the last one is free again at " + reconcile::format_rfc3339(until);
  }
  if (clusters > 1) message += "; and " + std::to_string(clusters - 1) + " more";
  const auto value = clusters == 0 ? reconcile::ConditionStatus::true_ : reconcile::ConditionStatus::false_;
  set(status, in, api::condition::ledgers_trusted, value, clusters == 0 ? std::string(api::reason::ready) : reason, message);
  if (clusters > 0 && !reconcile::is_false(in.budget->status.conditions, api::condition::ledgers_trusted))
    plan.events.push_back({.warning = true, .reason = reason, .action = "Distrust", .note = std::string_view(message).substr(0, 1024)});
}

// `wrong`: a schedule that can't be judged; `missing`: a MetricSource that a check names and that isn't there.
void set_conditions(api::ChangeBudgetStatus& status, const BudgetInput& in, const std::string& wrong, const std::string& missing) {
  using enum reconcile::ConditionStatus;
  const auto& stalled = wrong.empty() ? missing : wrong;
  const auto why = wrong.empty() ? api::reason::metric_source_not_found : api::reason::schedule_invalid;
  const bool good = stalled.empty();
  set(status, in, api::condition::ready, good ? true_ : false_, good ? api::reason::ready : why, stalled);
  set(status, in, api::condition::reconciling, false_, api::reason::up_to_date, {});
  set(status, in, api::condition::stalled, good ? false_ : true_, good ? api::reason::not_stalled : why, stalled);
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
    put_breakers(status, in, account);
  }
  auto checks = plan_checks(budget, in.checked, in.answers, in.now);
  const bool answered = !(checks.status == budget.status.checks);
  status.checks = std::move(checks.status);
  auto schedules = look_at_schedules(in);
  status.schedules = std::move(schedules.all);
  set_conditions(status, in, schedules.wrong, checks.missing);

  reconcile::Plan plan;
  plan.queries = std::move(checks.queries);
  judge_trust(status, in, plan);
  // The annotation that resets a breaker is one-shot: it goes when the ledger says that the breaker is closed.
  const auto asked = budget.metadata.annotations.get(api::annotation::reset_breaker);
  const bool done = !asked.empty() && std::none_of(status.breakers.begin(), status.breakers.end(), [asked](const auto& b) {
    return b.cluster == asked && b.state != api::BreakerState::closed;
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
  plan.status =
      reconcile::StatusWrite{.kind = &reconcile::kind_of<api::ChangeBudget>,
                             .key = budget.metadata.key(),
                             .uid = budget.metadata.uid,
                             .resource_version = budget.metadata.resource_version,
                             .status = reconcile::encode(status),
                             .changed = !reconcile::same(status, budget.status),
                             // What the guard decides by is not only for people: an answer is stored when it is counted.
                             .settle = budget.status.observed_generation == budget.metadata.generation && !answered ? settle : 0s};
  if (is_busy(status)) plan.again = settle;  // windows empty by time alone
  if (schedules.turns) {
    const auto wait = std::clamp(std::chrono::ceil<std::chrono::milliseconds>(*schedules.turns - in.now), std::chrono::milliseconds(1'000),
                                 std::chrono::milliseconds(look_again));
    if (!plan.again || wait < *plan.again) plan.again = wait;
  } else if (!plan.again && reconcile::is_false(status.conditions, api::condition::ledgers_trusted)) {
    plan.again = std::chrono::milliseconds(60'000);
  }
  if (checks.again && (!plan.again || *checks.again < *plan.again)) plan.again = *checks.again;
  return plan;
}

}  // namespace endstate::guard
