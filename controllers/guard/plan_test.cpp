#include "controllers/guard/plan.hpp"

#include <catch2/catch.hpp>
#include <deque>

using namespace endstate;
using namespace endstate::guard;
using namespace std::chrono_literals;
using reconcile::ConditionStatus, reconcile::Granted, reconcile::IntOrPercent, reconcile::PermitRequest, reconcile::Ref, reconcile::Refused,
    reconcile::WallTime;
namespace api = v1alpha1;

namespace {

constexpr WallTime start{1'795'392'000s};

enum class State { available, unavailable, fresh, deleting };

struct World {
  std::vector<std::shared_ptr<api::Machine>> machines;
  std::vector<std::shared_ptr<api::ChangeBudget>> budgets;
  api::GuardLedgerStatus ledger;
  WallTime now = start;
  bool trusted = true;

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
    const auto* ready = reconcile::find_condition(m.status.conditions, "Ready");
    return {.cluster = {"prod", "hz"},
            .operation = operation,
            .subject = m.metadata.key(),
            .subject_uid = m.metadata.uid,
            .revision = "r2",
            .attempt = attempt,
            .domain = m.status.failure_domain,
            .already_unavailable = !m.status.node_ref || ready->status != ConditionStatus::true_};
  }
  // Decides and stores; true when it was granted.
  std::vector<reconcile::Verdict> decide(const std::vector<PermitRequest>& requests) {
    Snapshot s{.cluster = {"prod", "hz"},
               .budgets = {budgets.begin(), budgets.end()},
               .machines = {machines.begin(), machines.end()},
               .ledger = ledger,
               .trusted = trusted,
               .now = now};
    auto d = guard::decide(s, requests);
    CHECK((d.changed ? d.ledger.generation == ledger.generation + 1 : d.ledger.generation == ledger.generation));
    ledger = d.ledger;
    trusted = true;
    return d.verdicts;
  }
  std::string one(const PermitRequest& request) {
    const auto v = decide({request});
    if (const auto* refused = std::get_if<Refused>(&v.at(0))) return refused->name.str() + " " + refused->reason.str();
    return "granted";
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

}  // namespace

TEST_CASE("without a budget all is granted, and recorded", "[guard]") {
  World w;
  w.fleet(3);
  CHECK(w.one(w.ask(*w.machines[0])) == "granted");
  REQUIRE(w.ledger.grants.size() == 1);
  CHECK(w.ledger.grants[0].id == w.ask(*w.machines[0]).id());
  CHECK(w.ledger.generation == 1);
}

TEST_CASE("a grant asked for again is the same grant, and costs nothing", "[guard]") {
  World w;
  w.fleet(2);
  w.limit(w.budget()).windows = {{60s, 1}};
  CHECK(w.one(w.ask(*w.machines[0])) == "granted");
  const auto generation = w.ledger.generation;
  for (int i = 0; i < 5; ++i) CHECK(w.one(w.ask(*w.machines[0])) == "granted");
  CHECK(w.ledger.generation == generation);
  CHECK(w.one(w.ask(*w.machines[1])) == "b WindowFull");
}

TEST_CASE("maxUnavailable counts every cause, on machines that are wanted and were in service", "[guard]") {
  World w;
  w.fleet(20);
  w.budget().spec.max_unavailable = IntOrPercent{10, true};  // 2 of 20
  w.machine(State::fresh);
  w.machine(State::deleting);
  auto& ill = w.machine(State::unavailable);  // 21 in service now: still 2
  CHECK(w.one(w.ask(*w.machines[0])) == "granted");
  CHECK(w.one(w.ask(*w.machines[1])) == "b MaxUnavailable");
  CHECK(w.one(w.ask(ill)) == "granted");                                              // is unavailable already
  CHECK(w.one(w.ask(*w.machines[20])) == "granted");                                  // was never in service
  CHECK(w.one(w.ask(*w.machines[21], api::operation::machine_delete)) == "granted");  // is not wanted any more
  w.end(*w.machines[0]);
  CHECK(w.one(w.ask(*w.machines[1])) == "granted");
}

TEST_CASE("a percentage is rounded down and at least 1; a count is what it says", "[guard]") {
  World w;
  w.fleet(5);
  auto& b = w.budget();
  b.spec.max_unavailable = IntOrPercent{10, true};
  CHECK(w.one(w.ask(*w.machines[0])) == "granted");
  CHECK(w.one(w.ask(*w.machines[1])) == "b MaxUnavailable");
  b.spec.max_unavailable = IntOrPercent{0, false};
  w.end(*w.machines[0]);
  CHECK(w.one(w.ask(*w.machines[2])) == "b MaxUnavailable");
}

TEST_CASE("all budgets must agree; the refusal names the one that said no", "[guard]") {
  World w;
  w.fleet(30);
  w.limit(w.budget("a")).windows = {{60s, 10}};
  w.limit(w.budget("z")).max_concurrent = IntOrPercent{1, false};
  CHECK(w.one(w.ask(*w.machines[0])) == "granted");
  CHECK(w.one(w.ask(*w.machines[1])) == "z MaxConcurrent");
  // What z refused was not counted by a.
  CHECK(used(w.ledger.windows.at(0), w.now) == 1);
  const auto verdicts = w.decide({w.ask(*w.machines[2])});
  CHECK(std::get<Refused>(verdicts[0]).message == "limit l1: 1 are under way, 1 may be");
}

TEST_CASE("maxConcurrent is a share rounded up, of the scope", "[guard]") {
  World w;
  for (int i = 0; i < 12; ++i) w.machine(State::available, i < 6 ? "rack-1" : "rack-2");
  auto& l = w.limit(w.budget());
  l.scope = api::LimitScope::failure_domain;
  l.max_concurrent = IntOrPercent{10, true};  // 1 of each rack's 6
  CHECK(w.one(w.ask(*w.machines[0])) == "granted");
  CHECK(w.one(w.ask(*w.machines[1])) == "b MaxConcurrent");
  CHECK(w.one(w.ask(*w.machines[6])) == "granted");
}

TEST_CASE("windows of a failure domain are its own", "[guard]") {
  World w;
  for (int i = 0; i < 4; ++i) w.machine(State::available, i < 2 ? "rack-1" : "rack-2");
  auto& l = w.limit(w.budget());
  l.scope = api::LimitScope::failure_domain;
  l.windows = {{60s, 1}};
  CHECK(w.one(w.ask(*w.machines[0])) == "granted");
  CHECK(w.one(w.ask(*w.machines[1])) == "b WindowFull");
  CHECK(w.one(w.ask(*w.machines[2])) == "granted");
}

TEST_CASE("the way back is never held by windows, schedules or breakers, and is counted", "[guard]") {
  World w;
  w.fleet(10);
  auto& b = w.budget();
  w.limit(b, api::BudgetOperation::machine_rollback).windows = {{60s, 0}};
  b.spec.schedules = {{.name = "night",
                       .type = api::ScheduleType::deny,
                       .cron = "0 22 * * *",
                       .time_zone = {},
                       .duration = 3600s,
                       .operations = {api::BudgetOperation::machine_rollback, api::BudgetOperation::machine_update}}};
  CHECK(w.one(w.ask(*w.machines[0], api::operation::machine_update)) == "b ScheduleClosed");
  CHECK(w.one(w.ask(*w.machines[0], api::operation::machine_rollback)) == "granted");
  CHECK(used(w.ledger.windows.at(0), w.now) == 1);
}

TEST_CASE("failures open the breaker; a person or time closes it", "[guard]") {
  World w;
  w.fleet(10);
  auto& b = w.budget();
  b.spec.breaker = api::Breaker{.checks = {}, .failures = api::FailureLimit{1, 600s}, .reset = {}};
  for (int i = 0; i < 2; ++i) {
    CHECK(w.one(w.ask(*w.machines[i])) == "granted");
    w.end(*w.machines[i], api::operation::machine_update, api::OperationResult::failed);
  }
  CHECK(w.one(w.ask(*w.machines[2])) == "b BreakerOpen");
  CHECK(w.one(w.ask(*w.machines[2], api::operation::machine_rollback)) == "granted");
  w.now += 700s;
  CHECK(w.one(w.ask(*w.machines[3])) == "b BreakerOpen");  // manual by default
  b.metadata.annotations.set(api::annotation::reset_breaker, "prod/other");
  CHECK(w.one(w.ask(*w.machines[3])) == "b BreakerOpen");
  b.metadata.annotations.set(api::annotation::reset_breaker, "prod/hz");
  CHECK(w.one(w.ask(*w.machines[3])) == "granted");
}

TEST_CASE("a breaker that resets by itself closes when its failures are old", "[guard]") {
  World w;
  w.fleet(3);
  w.budget().spec.breaker = api::Breaker{.checks = {}, .failures = api::FailureLimit{0, 600s}, .reset = api::BreakerReset::automatic};
  CHECK(w.one(w.ask(*w.machines[0])) == "granted");
  w.end(*w.machines[0], api::operation::machine_update, api::OperationResult::failed);
  CHECK(w.one(w.ask(*w.machines[1])) == "b BreakerOpen");
  w.now += 300s;
  CHECK(w.one(w.ask(*w.machines[1])) == "b BreakerOpen");
  w.now += 320s;
  CHECK(w.one(w.ask(*w.machines[1])) == "granted");
}

TEST_CASE("a check that can't be judged holds forward changes", "[guard]") {
  World w;
  w.fleet(3);
  w.budget().spec.breaker = api::Breaker{.checks = {api::MetricCheck{}}, .failures = {}, .reset = {}};
  CHECK(w.one(w.ask(*w.machines[0])) == "b NotSupported");
  CHECK(w.one(w.ask(*w.machines[0], api::operation::machine_rollback)) == "granted");
}

TEST_CASE("a machine is never held by its own older grant", "[guard]") {
  World w;
  w.fleet(1);
  auto& b = w.budget();
  b.spec.max_unavailable = IntOrPercent{1, false};
  auto& l = w.limit(b);
  l.operations = {api::BudgetOperation::machine_update, api::BudgetOperation::machine_rollback};
  l.max_concurrent = IntOrPercent{1, false};
  CHECK(w.one(w.ask(*w.machines[0])) == "granted");
  CHECK(w.one(w.ask(*w.machines[0], api::operation::machine_rollback)) == "granted");
}

TEST_CASE("a grant ends with its operation, its machine, or its time", "[guard]") {
  World w;
  w.fleet(10);
  w.limit(w.budget()).max_concurrent = IntOrPercent{1, false};
  auto& m = *w.machines[0];
  const auto next = [&] { return w.one(w.ask(*w.machines[1])); };
  CHECK(w.one(w.ask(m)) == "granted");

  SECTION("its operation") {
    m.status.operation = api::Operation{.id = w.ask(m).id(), .type = {}, .owner = {}, .start_time = {}, .deadline = {}};
    w.now += 90s;
    CHECK(next() == "b MaxConcurrent");  // it is named, so it is under way
    w.end(m);
    CHECK(next() == "granted");
  }
  SECTION("never begun") {
    w.now += 59s;
    CHECK(next() == "b MaxConcurrent");  // the status that names it may be on its way
    w.now += 1s;
    CHECK(next() == "granted");
  }
  SECTION("its machine has gone") {
    w.machines.erase(w.machines.begin());
    CHECK(w.one(w.ask(*w.machines[1])) == "granted");
  }
  SECTION("its time") {
    m.status.operation = api::Operation{.id = w.ask(m).id(), .type = {}, .owner = {}, .start_time = {}, .deadline = {}};
    w.now += 3601s;
    CHECK(next() == "granted");
  }
}

TEST_CASE("a lost account counts as full, and opens again as its windows pass", "[guard]") {
  World w;
  w.machine(State::available, "rack-1");
  w.machine(State::available, "rack-2");
  auto& b = w.budget();
  w.limit(b).windows = {{60s, 5}, {3600s, 50}};
  auto& by_rack = w.limit(b, api::BudgetOperation::machine_delete);
  by_rack.scope = api::LimitScope::failure_domain;
  by_rack.windows = {{600s, 1}};
  w.trusted = false;
  CHECK(w.one(w.ask(*w.machines[0])) == "b WindowFull");
  CHECK(w.one(w.ask(*w.machines[1], api::operation::machine_delete)) == "b WindowFull");
  CHECK(w.one(w.ask(*w.machines[0], api::operation::machine_rollback)) == "granted");
  w.now += 120s;
  CHECK(w.one(w.ask(*w.machines[0])) == "b WindowFull");  // the hour
  w.now += 3660s;
  CHECK(w.one(w.ask(*w.machines[0])) == "granted");
}

TEST_CASE("a clock set back frees nothing; one set forward and back doesn't close for ever", "[guard]") {
  World w;
  w.fleet(4);
  w.limit(w.budget()).windows = {{60s, 1}};
  CHECK(w.one(w.ask(*w.machines[0])) == "granted");
  w.now -= 30s;
  CHECK(w.one(w.ask(*w.machines[1])) == "b WindowFull");
  w.now += 24h;
  CHECK(w.one(w.ask(*w.machines[1])) == "granted");
  w.now -= 24h;
  CHECK(w.one(w.ask(*w.machines[2])) == "b WindowFull");
  w.now += 62s;
  CHECK(w.one(w.ask(*w.machines[2])) == "granted");
}

TEST_CASE("the ledger is bounded", "[guard]") {
  World w;
  w.fleet(3'005);
  std::vector<PermitRequest> requests;
  for (const auto& m : w.machines) requests.push_back(w.ask(*m));
  const auto verdicts = w.decide(requests);
  CHECK(w.ledger.grants.size() == 3'000);
  CHECK(std::get<Refused>(verdicts.back()).reason == api::reason::ledger_full);
}

TEST_CASE("100,000 requests in 32 streams: never one over in any window, and not idle either", "[guard]") {
  constexpr std::array<api::BudgetWindow, 3> windows{{{60s, 20}, {300s, 60}, {3600s, 500}}};
  World w;
  w.fleet(32);
  auto& l = w.limit(w.budget());
  l.windows = {windows.begin(), windows.end()};
  std::uint64_t seed = 42;
  const auto random = [&seed] { return (seed = seed * 6364136223846793005ULL + 1442695040888963407ULL) >> 33; };
  std::deque<WallTime> granted;
  std::int64_t total = 0;
  std::vector<std::int64_t> attempt(32);
  for (int i = 0; i < 100'000; ++i) {
    w.now += std::chrono::milliseconds(random() % 1'200);
    const std::size_t stream = random() % 32;
    const auto request = w.ask(*w.machines[stream], api::operation::machine_update, attempt[stream]);
    Snapshot s{.cluster = {"prod", "hz"},
               .budgets = {w.budgets.begin(), w.budgets.end()},
               .machines = {w.machines.begin(), w.machines.end()},
               .ledger = w.ledger,
               .trusted = true,
               .now = w.now};
    const auto d = guard::decide(s, {request});
    w.ledger = d.ledger;
    w.ledger.grants.clear();  // the operation takes no time: rates are what is tested
    if (!std::holds_alternative<Granted>(d.verdicts[0])) continue;
    ++attempt[stream];
    ++total;
    granted.push_back(w.now);
    while (granted.front() <= w.now - 3600s) granted.pop_front();
    for (const auto& window : windows) {
      const auto in = std::count_if(granted.begin(), granted.end(), [&](WallTime t) { return t > w.now - window.duration; });
      if (in > window.max) FAIL("at request " << i << ": " << in << " in " << window.duration.count() << " s");
    }
  }
  const auto hours = std::chrono::duration<double>(w.now - start) / 1h;
  CHECK(static_cast<double>(total) > hours * 500 * 0.9);
}
