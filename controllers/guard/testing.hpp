// A world for the guard's rules: a fleet, budgets, a ledger that is decided on and kept. Only for tests.
#pragma once
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "controllers/guard/plan.hpp"

namespace endstate::guard::testing {

using namespace std::chrono_literals;
using reconcile::ConditionStatus, reconcile::Granted, reconcile::IntOrPercent, reconcile::PermitRequest, reconcile::Ref, reconcile::Refused,
    reconcile::WallTime;
namespace api = v1alpha1;

inline constexpr WallTime start{1'795'392'000s};

enum class State { available, unavailable, fresh, deleting };

struct World {
  std::vector<std::shared_ptr<api::Machine>> machines;
  std::vector<std::shared_ptr<api::ChangeBudget>> budgets;
  api::GuardLedgerStatus ledger;
  WallTime now = start;
  std::optional<Doubt> doubt;  // of the next decision
  std::vector<ZoneFacts> zones;
  reconcile::Sight sight{.seen = true};
  std::optional<Doubt> doubted;  // of the last decision

  api::Machine& machine(State state = State::available, std::string_view domain = "rack-1") {
    auto m = std::make_shared<api::Machine>();
    m->metadata.name = "m" + std::to_string(machines.size());
    m->metadata.uid = "uid-" + m->metadata.name.str();
    m->status.failure_domain = domain;
    if (state != State::fresh) m->status.node_ref = api::UidRef{};
    if (state == State::deleting) m->metadata.deletion_timestamp = start;
    reconcile::set_condition(m->status.conditions,
                             {.type = "Ready",
                              .status = state == State::available ? ConditionStatus::true_ : ConditionStatus::false_,
                              .reason = "Ready",
                              .message = {},
                              .last_transition_time = {},
                              .observed_generation = {}},
                             start);
    machines.push_back(m);
    return *m;
  }
  void fleet(int n) {
    for (int i = 0; i < n; ++i) machine();
  }
  api::ChangeBudget& budget(std::string_view name = "b") {
    auto b = std::make_shared<api::ChangeBudget>();
    b->metadata.name = name;
    budgets.push_back(b);
    return *b;
  }
  api::BudgetLimit& limit(api::ChangeBudget& b, api::BudgetOperation operation = api::BudgetOperation::machine_update) {
    auto& l = b.spec.limits.emplace_back();
    l.name = "l" + std::to_string(b.spec.limits.size());
    l.operations = {operation};
    return l;
  }
  PermitRequest ask(const api::Machine& m, std::string_view operation = api::operation::machine_update, std::int64_t attempt = 0) const {
    return {.cluster = {"prod", "hz"},
            .operation = operation,
            .subject = m.metadata.key(),
            .subject_uid = m.metadata.uid,
            .revision = "r2",
            .attempt = attempt,
            .domain = m.status.failure_domain};
  }
  // Decides and stores.
  std::vector<reconcile::Verdict> decide(const std::vector<PermitRequest>& requests) {
    Snapshot s{.cluster = {"prod", "hz"},
               .budgets = {budgets.begin(), budgets.end()},
               .machines = {machines.begin(), machines.end()},
               .ledger = ledger,
               .zones = zones,
               .doubt = doubt,
               .sight = sight,
               .now = now};
    auto d = guard::decide(s, requests);
    if (d.ledger.generation != ledger.generation + (d.changed ? 1 : 0)) throw std::logic_error("the generation counts changes");
    if (d.changed) ledger = d.ledger;  // as LedgerGuard does
    doubt.reset();
    doubted = d.doubt;
    return d.verdicts;
  }
  std::string one(const PermitRequest& request) {
    const auto v = decide({request});
    if (const auto* refused = std::get_if<Refused>(&v.at(0))) return refused->name.str() + " " + refused->reason.str();
    return "granted";
  }
  Refused refusal(const PermitRequest& request) {
    const auto v = decide({request});
    const auto* refused = std::get_if<Refused>(&v.at(0));
    return refused ? *refused : Refused{.reason = "granted"};
  }
  void end(api::Machine& m, std::string_view operation = api::operation::machine_update,
           api::OperationResult result = api::OperationResult::succeeded) {
    m.status.last_operation = api::LastOperation{.id = ask(m, operation).id(),
                                                 .type = {},
                                                 .revision = {},
                                                 .attempt = 0,
                                                 .result = result,
                                                 .reason = {},
                                                 .message = {},
                                                 .start_time = {},
                                                 .end_time = {}};
  }
};

}  // namespace endstate::guard::testing
