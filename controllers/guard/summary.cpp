#include "controllers/guard/summary.hpp"

#include <algorithm>

#include "controllers/guard/buckets.hpp"
#include "controllers/guard/domain_windows.hpp"
#include "controllers/guard/plan.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::guard {

namespace api = v1alpha1;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t max_clusters = 64;   // as the field's description says
constexpr std::size_t max_breakers = 256;  // the same
constexpr auto settle = 10s;               // at most so often: a summary is for people
constexpr auto look_again = 1h;            // at schedules, whatever the clock does meanwhile

void put_usage(api::ChangeBudgetStatus& status, const BudgetInput& in, const BudgetInput::Account& account) {
  auto ledger = account.ledger ? account.ledger->status : api::GuardLedgerStatus();
  const DomainWindows domains(ledger);
  const auto& budget = in.budget->metadata.name;
  for (std::size_t i = 0; i < in.budget->spec.limits.size(); ++i) {
    const auto& limit = in.budget->spec.limits[i];
    api::LimitUsage usage{.cluster = account.cluster.str(), .limit = limit.name, .windows = {}};
    if (i < account.in_flight.size()) usage.in_flight = account.in_flight[i];
    for (const auto& w : limit.windows) {
      // Of scope FailureDomain: of the domain that is the fullest.
      api::WindowUsage window{.duration = w.duration, .used = domains.fullest(budget, limit.name, w.duration, in.now)};
      for (const auto& l : ledger.windows)
        if (l.budget == budget && l.limit == limit.name && l.duration == w.duration) window.used = std::max(window.used, used(l, in.now));
      usage.windows.push_back(window);
    }
    status.usage.push_back(std::move(usage));
  }
}

// For people: the guard decides by what the accounts say.
void put_checks(api::ChangeBudgetStatus& status, const BudgetInput& in, const BudgetInput::Account& account) {
  if (!account.ledger) return;
  for (const auto& c : account.ledger->status.checks)
    if (c.budget == in.budget->metadata.name) status.checks.push_back({.cluster = account.cluster.str(), .checks = c.checks});
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

// Of the clusters that aren't shown otherwise only those whose breaker isn't closed: who lost an account finds here what held.
void put_breakers(api::ChangeBudgetStatus& status, const BudgetInput& in, const BudgetInput::Account& account, bool is_shown) {
  const auto put = [&](const api::BreakerStatus& b) {
    if ((is_shown || b.state != api::BreakerState::closed) && status.breakers.size() < max_breakers) status.breakers.push_back(b);
  };
  if (!is_written(account)) {
    for (const auto& known : in.budget->status.breakers)
      if (known.cluster == account.cluster.str()) put(known);
    return;
  }
  for (const auto& b : account.ledger->status.breakers)
    if (b.budget == in.budget->metadata.name)
      put({.cluster = account.cluster.str(), .state = b.state, .reason = b.reason, .message = b.message, .since = b.since});
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

struct Trouble {
  std::string_view reason;
  std::string message;
};

// The first of what keeps it from being judged as it is written.
std::optional<Trouble> trouble_of(const BudgetInput& in, const std::string& wrong_schedule) {
  if (const auto word = reconcile::find_unknown_word(in.budget->spec); !word.empty())
    return Trouble{api::reason::budget_unreadable,
                   "spec." + word +
                       " is a word that this version of endstate doesn't know: nothing forward is "
                       "done in the clusters that it selects until endstate is upgraded, or the budget edited"};
  if (!wrong_schedule.empty()) return Trouble{api::reason::schedule_invalid, wrong_schedule};
  for (const auto& account : in.accounts)
    if (account.too_wide)
      return Trouble{api::reason::budget_too_wide,
                     "in Cluster " + account.cluster.str() +
                         " its windows of scope FailureDomain, times the failure domains, are more than can be "
                         "counted: what they name isn't permitted forward there; use fewer, or scope Cluster"};
  if (!in.missing.empty()) return Trouble{api::reason::metric_source_not_found, in.missing};
  return std::nullopt;
}

void set_conditions(api::ChangeBudgetStatus& status, const BudgetInput& in, const std::optional<Trouble>& trouble) {
  using enum reconcile::ConditionStatus;
  const std::string_view message = trouble ? std::string_view(trouble->message).substr(0, 1024) : std::string_view();
  set(status, in, api::condition::ready, trouble ? false_ : true_, trouble ? trouble->reason : api::reason::ready, message);
  set(status, in, api::condition::reconciling, false_, api::reason::up_to_date, {});
  set(status, in, api::condition::stalled, trouble ? true_ : false_, trouble ? trouble->reason : api::reason::not_stalled, message);
}

// The annotation that resets a breaker is one-shot: it goes when the account of the cluster that it names says that the breaker is closed.
bool is_reset_done(const BudgetInput& in, std::string_view asked) {
  for (const auto& account : in.accounts) {
    if (account.cluster.str() != asked) continue;
    if (!is_written(account)) return false;
    const auto& all = account.ledger->status.breakers;
    return std::none_of(all.begin(), all.end(),
                        [&](const auto& b) { return b.budget == in.budget->metadata.name && b.state != api::BreakerState::closed; });
  }
  return true;  // it selects no such cluster
}

}  // namespace

reconcile::Plan plan_summary(const BudgetInput& in) {
  const auto& budget = *in.budget;
  api::ChangeBudgetStatus status;
  status.observed_generation = budget.metadata.generation;
  status.conditions = budget.status.conditions;
  for (std::size_t i = 0; i < in.accounts.size(); ++i) {
    const bool is_shown = i < max_clusters;
    put_breakers(status, in, in.accounts[i], is_shown);
    if (!is_shown) continue;
    put_usage(status, in, in.accounts[i]);
    put_checks(status, in, in.accounts[i]);
  }
  auto schedules = look_at_schedules(in);
  status.schedules = std::move(schedules.all);
  set_conditions(status, in, trouble_of(in, schedules.wrong));

  reconcile::Plan plan;
  judge_trust(status, in, plan);
  const auto asked = budget.metadata.annotations.get(api::annotation::reset_breaker);
  const bool done = !asked.empty() && is_reset_done(in, asked);
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
  if (schedules.turns) {
    const auto wait = std::clamp(std::chrono::ceil<std::chrono::milliseconds>(*schedules.turns - in.now), std::chrono::milliseconds(1'000),
                                 std::chrono::milliseconds(look_again));
    if (!plan.again || wait < *plan.again) plan.again = wait;
  } else if (!plan.again && reconcile::is_false(status.conditions, api::condition::ledgers_trusted)) {
    plan.again = std::chrono::milliseconds(60'000);
  }
  return plan;
}

}  // namespace endstate::guard
