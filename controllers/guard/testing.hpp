// A world for the guard's rules: a fleet, budgets, a ledger that is decided on and kept. Only for tests.
#pragma once
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "controllers/common/operation_name.hpp"
#include "controllers/guard/plan.hpp"

namespace endstate::guard::testing {

using namespace std::chrono_literals;
using reconcile::ConditionStatus, reconcile::Granted, reconcile::IntOrPercent, reconcile::PermitRequest, reconcile::Ref, reconcile::Refused,
    reconcile::WallTime;
namespace api = v1alpha1;

inline constexpr WallTime start{1'795'392'000s};

inline constexpr std::string_view cluster_uid = "uid-of-hz";

enum class State { available, unavailable, fresh, deleting };

struct World {
  std::vector<std::shared_ptr<api::Machine>> machines;
  std::vector<std::shared_ptr<api::Host>> hosts;
  std::vector<std::shared_ptr<api::HostAssignment>> assignments;
  std::vector<std::shared_ptr<api::ChangeBudget>> budgets;
  std::shared_ptr<api::Cluster> object = std::make_shared<api::Cluster>();
  api::GuardLedgerStatus ledger;
  std::vector<api::LedgerChecks> checks;
  std::vector<UnreadableBudget> unreadable;
  bool break_glass = false;
  std::vector<api::BlindGap> gaps;
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
  World() {
    object->metadata.name = "hz";
    object->metadata.uid = cluster_uid;
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
  // The lock is written: the machine goes by that request's grant.
  void begin(api::Machine& m, const PermitRequest& request, std::chrono::seconds lasts = 1800s) const {
    m.status.operation = api::Operation{.id = request.id(),
                                        .type = type_of(request.operation),
                                        .revision = request.revision,
                                        .attempt = request.attempt,
                                        .start_time = now,
                                        .deadline = now + lasts};
  }
  static api::OperationType type_of(std::string_view operation) {
    for (const auto type : {api::OperationType::create, api::OperationType::rollback, api::OperationType::repair,
                            api::OperationType::reinstall, api::OperationType::delete_})
      if (operation_name(type) == operation) return type;
    return api::OperationType::update;
  }
  // A host is claimed for it by that grant.
  api::Host& claim(const api::Machine& m, std::string_view grant) {
    auto h = std::make_shared<api::Host>();
    h->metadata.name = "host-of-" + m.metadata.name.str();
    h->metadata.name_space = "prod";
    h->metadata.uid = "uid-" + h->metadata.name.str();
    h->spec.consumer_ref = api::ConsumerRef{.kind = "Machine", .name_space = "prod", .name = m.metadata.name, .uid = m.metadata.uid};
    if (!grant.empty()) h->metadata.annotations.set(api::annotation::grant, grant);
    hosts.push_back(h);
    return *h;
  }
  // Of the control plane.
  PermitRequest ask_plane(std::string_view operation, std::string_view component = {}) const {
    return {.cluster = {"prod", "hz"},
            .operation = operation,
            .subject = {"prod", "hz"},
            .subject_uid = cluster_uid,
            .revision = "v2/" + std::string(component),
            .component = component};
  }
  // Decides and stores.
  std::vector<reconcile::Verdict> decide(const std::vector<PermitRequest>& requests) {
    Snapshot s{.cluster = {"prod", "hz"},
               .budgets = {budgets.begin(), budgets.end()},
               .unreadable = unreadable,
               .object = object,
               .machines = {machines.begin(), machines.end()},
               .hosts = {hosts.begin(), hosts.end()},
               .assignments = {assignments.begin(), assignments.end()},
               .ledger = ledger,
               .checks = checks,
               .seen = {"7", "7", "7"},
               .zones = zones,
               .doubt = doubt,
               .break_glass = break_glass,
               .sight = sight,
               .gaps = gaps,
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
    if (m.status.operation && m.status.operation->id == ask(m, operation).id()) m.status.operation.reset();
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
