#include "controllers/guard/breakers.hpp"

#include <algorithm>

#include "controllers/guard/buckets.hpp"

namespace endstate::guard {

namespace api = v1alpha1;
using namespace std::chrono_literals;
using api::BreakerState;
using reconcile::Refused, reconcile::WallTime;

namespace {

constexpr std::size_t max_breakers = 64;  // as the field's description says
constexpr auto soon = std::chrono::milliseconds(2'000);
constexpr auto later = std::chrono::milliseconds(30'000);

const api::CheckStatus* answer_to(const api::ChangeBudget& budget, const api::GuardLedgerStatus& ledger, const api::MetricCheck& check) {
  for (const auto& of : ledger.checks)
    if (of.budget == budget.metadata.name)
      for (const auto& c : of.checks)
        if (c.name == check.name) return &c;
  return nullptr;
}

// Older than three questions: whoever should ask doesn't. One from the future is of a clock that was set.
bool is_fresh(const api::MetricCheck& check, const api::CheckStatus& answer, WallTime now) {
  const auto limit = std::max<std::chrono::seconds>(60s, 3 * interval(check));
  return answer.time >= now - limit && answer.time <= now + limit;
}

struct Checks {
  std::string failed, unknown;  // what to say; empty: none is
};

// `since`: only answers after that moment speak against the cluster.
Checks look(const api::ChangeBudget& budget, const api::GuardLedgerStatus& ledger, WallTime since, WallTime now) {
  Checks out;
  for (const auto& check : budget.spec.breaker->checks) {
    const auto* answer = answer_to(budget, ledger, check);
    const std::string name = "check " + check.name.str();
    std::string unknown;
    if (!answer)
      unknown = name + " has no answer yet";
    else if (!is_fresh(check, *answer, now))
      unknown = name + " was answered last at " + reconcile::format_rfc3339(answer->time) + ": is its MetricSource reachable?";
    else if (answer->result == api::CheckResult::failed && answer->time > since)
      out.failed = name + " failed" + (answer->value.empty() ? std::string() : " with " + answer->value.str()) +
                   (answer->message.empty() ? std::string() : ": " + answer->message.str());
    else if (answer->result != api::CheckResult::passed)
      unknown = name + " is " + std::string(reconcile::name_of(answer->result)) +
                (answer->message.empty() ? std::string() : ": " + answer->message.str());
    if (out.unknown.empty()) out.unknown = unknown;
    if (!out.failed.empty()) return out;
  }
  return out;
}

// Of a closed breaker with a history: only what came after it was closed can open it.
WallTime judged_since(const api::LedgerBreaker* breaker) {
  return breaker ? std::chrono::floor<std::chrono::seconds>(breaker->since) : WallTime{};
}

std::string how_to_close(const api::ChangeBudget& budget, std::string_view cluster) {
  return "kubectl annotate changebudget " + budget.metadata.name.str() + " " + std::string(api::annotation::reset_breaker) + "=" +
         std::string(cluster);
}

}  // namespace

api::LedgerBreaker* Breakers::find(const api::ChangeBudget& budget) const {
  for (auto& b : ledger_.breakers)
    if (b.budget == budget.metadata.name) return &b;
  return nullptr;
}

api::LedgerBreaker& Breakers::entry(const api::ChangeBudget& budget) {
  if (auto* found = find(budget)) return *found;
  drop_strangers();
  ledger_.breakers.push_back({.budget = budget.metadata.name});
  return ledger_.breakers.back();
}

// An open breaker outlives its budget: who deletes and makes it again must not close it by that. But the list is bounded.
void Breakers::drop_strangers() {
  if (ledger_.breakers.size() < max_breakers) return;
  std::erase_if(ledger_.breakers, [&](const api::LedgerBreaker& b) {
    return std::none_of(snapshot_.budgets.begin(), snapshot_.budgets.end(), [&](const auto& x) { return x->metadata.name == b.budget; });
  });
}

void Breakers::open(api::LedgerBreaker& breaker, std::string_view reason, std::string message) {
  breaker.state = BreakerState::open;
  breaker.since = snapshot_.now;
  breaker.reason = reason;
  breaker.message = std::string_view(message).substr(0, 1024);
  breaker.trials.clear();
  breaker.succeeded = 0;
}

void Breakers::ended(const reconcile::Text& id, const api::Machine* machine) {
  const auto* last =
      machine && machine->status.last_operation && machine->status.last_operation->id == id ? &*machine->status.last_operation : nullptr;
  const bool failed = last && last->result == api::OperationResult::failed;
  for (const auto& budget : snapshot_.budgets) {
    if (!budget->spec.breaker) continue;
    if (auto* breaker = find(*budget); breaker && std::erase(breaker->trials, id) > 0) {
      if (last && last->result == api::OperationResult::succeeded) ++breaker->succeeded;
      if (failed) open(*breaker, api::reason::too_many_operations_failed, "a trial failed, on machine " + machine->metadata.name.str());
    }
    const auto& rule = budget->spec.breaker->failures;
    if (!failed || !rule) continue;
    auto& breaker = entry(*budget);
    drop_old(breaker.failures, rule->duration, snapshot_.now);
    put(breaker.failures, rule->duration, snapshot_.now, 1);
    const auto count = sum(breaker.failures, rule->duration, snapshot_.now);
    if (count <= rule->max || breaker.state != BreakerState::closed) continue;
    open(breaker, api::reason::too_many_operations_failed,
         std::to_string(count) + " operations failed within " + reconcile::format_duration(rule->duration) + ", the last one on machine " +
             machine->metadata.name.str());
  }
}

bool Breakers::turn() {
  bool changed = false;
  for (const auto& budget : snapshot_.budgets)
    if (budget->spec.breaker) changed = turn_one(*budget) || changed;
  return changed;
}

bool Breakers::turn_one(const api::ChangeBudget& budget) {
  const auto& rule = *budget.spec.breaker;
  const auto cluster = snapshot_.cluster.str();
  const WallTime now = snapshot_.now;
  auto* breaker = find(budget);
  bool changed = false;
  if (breaker) {
    if (rule.failures && pull_back(breaker->failures, rule.failures->duration, now)) changed = true;
    if (breaker->since > now) {  // the clock was set back: else a cooldown would last as long as that
      breaker->since = now;
      changed = true;
    }
    // A trial whose grant is no more (the account was lost) is none.
    changed = std::erase_if(breaker->trials,
                            [&](const reconcile::Text& id) {
                              return !fleet_.under_way(id) &&
                                     std::none_of(ledger_.grants.begin(), ledger_.grants.end(), [&](const auto& g) { return g.id == id; });
                            }) > 0 ||
              changed;
    const bool by_hand =
        breaker->state != BreakerState::closed && budget.metadata.annotations.get(api::annotation::reset_breaker) == cluster;
    const bool tried = breaker->state == BreakerState::half_open && breaker->succeeded >= trials(rule);
    if (by_hand || tried) {
      *breaker = {.budget = breaker->budget, .since = now};
      if (by_hand) breaker->reason = api::reason::reset_by_user;
      changed = true;
    }
  }
  const auto checks = look(budget, ledger_, judged_since(breaker), now);
  if (!checks.failed.empty()) {
    if (breaker && breaker->state == BreakerState::open) return changed;  // it stays so for as long as they fail
    open(entry(budget), api::reason::metric_failed, checks.failed);
    return true;
  }
  if (breaker && breaker->state == BreakerState::open && reset(rule) == api::BreakerReset::automatic &&
      now >= breaker->since + cooldown(rule)) {
    breaker->state = BreakerState::half_open;
    breaker->since = now;
    changed = true;
  }
  return changed;
}

void Breakers::restore() {
  const auto cluster = snapshot_.cluster.str();
  for (const auto& budget : snapshot_.budgets)
    for (const auto& said : budget->status.breakers) {
      if (!(said.cluster == cluster) || said.state == BreakerState::closed) continue;
      auto& breaker = entry(*budget);
      if (breaker.state != BreakerState::closed) continue;
      open(breaker, said.reason.view(), said.message.str());
      breaker.since = said.since;
    }
}

std::optional<Refused> Breakers::hold(const api::ChangeBudget& budget) const {
  if (!budget.spec.breaker) return std::nullopt;
  const auto& rule = *budget.spec.breaker;
  const auto cluster = snapshot_.cluster.str();
  const auto no = [&](std::string_view reason, std::string message, std::chrono::milliseconds again) {
    return Refused{
        .kind = "ChangeBudget", .name = budget.metadata.name, .reason = reason, .message = std::move(message), .retry_after = again};
  };
  const auto* breaker = find(budget);
  if (breaker && breaker->state == BreakerState::open) {
    const std::string why = "the breaker is open since " + reconcile::format_rfc3339(breaker->since) + ": " + breaker->message.str() + "; ";
    if (reset(rule) == api::BreakerReset::manual)
      return no(api::reason::breaker_open, why + "close it with: " + how_to_close(budget, cluster), later);
    return no(api::reason::breaker_open,
              why + "it tries again at " + reconcile::format_rfc3339(breaker->since + cooldown(rule)) +
                  ", if no check fails then; to close it now: " + how_to_close(budget, cluster),
              later);
  }
  if (const auto checks = look(budget, ledger_, judged_since(breaker), snapshot_.now); !checks.unknown.empty())
    return no(api::reason::metrics_unknown, checks.unknown + "; no forward change until it passes", later);
  if (breaker && breaker->state == BreakerState::half_open) {
    const auto used = static_cast<std::int64_t>(breaker->trials.size()) + breaker->succeeded;
    if (used >= trials(rule))
      return no(api::reason::trial_running,
                "the breaker is half-open: " + std::to_string(breaker->succeeded) + " of " + std::to_string(trials(rule)) +
                    " trials have succeeded, " + std::to_string(breaker->trials.size()) + " are under way",
                soon);
  }
  return std::nullopt;
}

void Breakers::let_through(const api::ChangeBudget& budget, const reconcile::Text& id) {
  auto* breaker = budget.spec.breaker ? find(budget) : nullptr;
  if (breaker && breaker->state == BreakerState::half_open) breaker->trials.push_back(id);
}

void Breakers::withdraw(const reconcile::Text& id) {
  for (auto& breaker : ledger_.breakers) std::erase(breaker.trials, id);
}

}  // namespace endstate::guard
