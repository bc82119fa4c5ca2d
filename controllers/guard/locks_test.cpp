// What is under way is known by locks, and the ledger keeps only what isn't seen: the races between the two.
#include <catch2/catch.hpp>

#include "controllers/guard/account.hpp"
#include "controllers/guard/packing.hpp"
#include "controllers/guard/testing.hpp"
#include "reconcile/json/encode.hpp"

using namespace endstate;
using namespace endstate::guard;
using namespace endstate::guard::testing;
using namespace std::chrono_literals;

namespace {

api::BudgetLimit& at_once(World& w, std::int64_t n, api::BudgetOperation operation = api::BudgetOperation::machine_update) {
  auto& l = w.limit(w.budget("b" + std::to_string(w.budgets.size())), operation);
  l.max_concurrent = IntOrPercent{n, false};
  return l;
}

}  // namespace

TEST_CASE("a permit counts until its lock is seen, then the lock does: never both", "[guard][locks]") {
  World w;
  w.fleet(5);
  at_once(w, 2);
  const auto first = w.ask(*w.machines[0]);
  CHECK(w.one(first) == "granted");
  CHECK(w.one(w.ask(*w.machines[1])) == "granted");
  CHECK(w.one(w.ask(*w.machines[2])) == "b0 MaxConcurrent");
  w.begin(*w.machines[0], first);
  CHECK(w.one(w.ask(*w.machines[2])) == "b0 MaxConcurrent");
  CHECK(w.ledger.grants.size() == 1);
  w.end(*w.machines[0]);
  CHECK(w.one(w.ask(*w.machines[2])) == "granted");
}

TEST_CASE("the operator died between a permit and its lock: after 60 s it counts nowhere", "[guard][locks]") {
  World w;
  w.fleet(5);
  at_once(w, 1).windows = {{3600s, 1}};
  CHECK(w.one(w.ask(*w.machines[0])) == "granted");
  w.now += 59s;
  CHECK(w.one(w.ask(*w.machines[1])) == "b0 MaxConcurrent");
  w.now += 1s;
  CHECK(w.one(w.ask(*w.machines[1])) == "granted");  // its place, and its part of the window
  CHECK(w.one(w.ask(*w.machines[2])) == "b0 MaxConcurrent");
  // One whose lock is seen keeps its part for as long as the window is.
  w.begin(*w.machines[1], w.ask(*w.machines[1]));
  w.now += 70s;
  w.end(*w.machines[1]);
  CHECK(w.one(w.ask(*w.machines[2])) == "b0 WindowFull");
}

TEST_CASE("a creation is under way by its claim, from the grant until the machine is in service or it has ended", "[guard][locks]") {
  World w;
  for (int i = 0; i < 4; ++i) w.machine(State::fresh);
  at_once(w, 1, api::BudgetOperation::machine_create);
  auto& m = *w.machines[0];
  const auto request = w.ask(m, api::operation::machine_create);
  const auto next = [&] { return w.one(w.ask(*w.machines[1], api::operation::machine_create)); };
  CHECK(w.one(request) == "granted");
  w.claim(m, request.id());
  w.now += 600s;
  CHECK(next() == "b0 MaxConcurrent");
  CHECK(w.ledger.grants.empty());
  CHECK(w.one(request) == "granted");  // asked again it costs nothing
  CHECK(w.ledger.grants.empty());
  SECTION("in service") { m.status.node_ref = api::UidRef{}; }
  SECTION("failed") { w.end(m, api::operation::machine_create, api::OperationResult::failed); }
  SECTION("its machine has gone") { w.machines.erase(w.machines.begin()); }
  CHECK(w.one(w.ask(*w.machines.back(), api::operation::machine_create)) == "granted");
}

TEST_CASE("a claim of an older version is not under way by our account", "[guard][locks]") {
  World w;
  for (int i = 0; i < 2; ++i) w.machine(State::fresh);
  at_once(w, 1, api::BudgetOperation::machine_create);
  w.claim(*w.machines[0], {});
  CHECK(w.one(w.ask(*w.machines[1], api::operation::machine_create)) == "granted");
}

TEST_CASE("a machine that we closed for pods counts until it is open", "[guard][locks]") {
  World w;
  w.fleet(4);
  at_once(w, 1, api::BudgetOperation::close_scheduling);
  auto& m = *w.machines[0];
  CHECK(w.one(w.ask(m, api::operation::close_scheduling)) == "granted");
  const auto open = [&](ConditionStatus status, std::string_view reason, std::string_view message = {}) {
    reconcile::set_condition(m.status.conditions, {.type = "SchedulingOpen", .status = status, .reason = reason, .message = message},
                             w.now);
  };
  open(ConditionStatus::false_, "SchedulingClosed");
  w.now += 1h;
  CHECK(w.one(w.ask(*w.machines[1], api::operation::close_scheduling)) == "b0 MaxConcurrent");
  CHECK(w.ledger.grants.empty());
  SECTION("open again") { open(ConditionStatus::true_, "SchedulingOpen"); }
  SECTION("a person closed it") { open(ConditionStatus::false_, "SchedulingClosed", "a person closed the node"); }
  CHECK(w.one(w.ask(*w.machines[1], api::operation::close_scheduling)) == "granted");
}

TEST_CASE("control planes: a permit holds until its lock is seen, and isn't charged twice", "[guard][locks]") {
  World w;
  w.fleet(1);
  auto& l = at_once(w, 1, api::BudgetOperation::control_plane_update);
  l.windows = {{86'400s, 2}};
  const auto first = w.ask_plane(api::operation::control_plane_update, "etcd");
  CHECK(w.one(first) == "granted");
  for (int i = 0; i < 5; ++i) {  // an apply that meets a 409 asks again
    w.now += 30s;
    CHECK(w.one(first) == "granted");
  }
  CHECK(w.one(w.ask_plane(api::operation::control_plane_update, "apiserver")) == "b0 MaxConcurrent");
  SECTION("an older loop writes no lock: until it expires") {
    w.now += 3600s;
    CHECK(w.one(w.ask_plane(api::operation::control_plane_update, "apiserver")) == "granted");
  }
  SECTION("by its lock") {
    w.object->status.operations = {
        {.id = first.id(), .type = "ControlPlaneUpdate", .component = "etcd", .start_time = w.now, .deadline = w.now + 7200s}};
    w.now += 3700s;
    CHECK(w.one(first) == "granted");
    CHECK(w.one(w.ask_plane(api::operation::control_plane_update, "apiserver")) == "b0 MaxConcurrent");
    CHECK(w.ledger.grants.empty());
    SECTION("done") { w.object->status.operations.clear(); }
    SECTION("late") { w.now += 3600s; }
    CHECK(w.one(w.ask_plane(api::operation::control_plane_update, "apiserver")) == "granted");
    CHECK(w.one(w.ask_plane(api::operation::control_plane_update, "scheduler")) == "b0 MaxConcurrent");
  }
}

TEST_CASE("failed, then rolled back at once: it still counts as a failure, also under a new leader", "[guard][locks]") {
  World w;
  w.fleet(5);
  w.budget().spec.breaker = api::Breaker{.failures = api::FailureLimit{0, 600s}};
  auto& m = *w.machines[0];
  const auto update = w.ask(m);
  CHECK(w.one(update) == "granted");
  w.begin(m, update);
  w.decide({});
  CHECK(w.ledger.grants.empty());
  CHECK(unpack_ids(w.ledger.open.view()) == std::vector{short_id(update.id())});
  w.now += 300s;
  w.end(m, api::operation::machine_update, api::OperationResult::failed);
  CHECK(w.one(w.ask(m, api::operation::machine_rollback)) == "granted");
  w.begin(m, w.ask(m, api::operation::machine_rollback));
  CHECK(w.one(w.ask(*w.machines[1])) == "b BreakerOpen");
  CHECK(w.ledger.breakers.at(0).failures.at(0).used == 1);
  for (int i = 0; i < 3; ++i) w.decide({});
  CHECK(w.ledger.breakers.at(0).failures.at(0).used == 1);  // once
}

TEST_CASE("what is under way is kept by its ids only where failures are counted", "[guard][locks]") {
  World w;
  w.fleet(2);
  w.limit(w.budget()).windows = {{60s, 9}};
  CHECK(w.one(w.ask(*w.machines[0])) == "granted");
  w.begin(*w.machines[0], w.ask(*w.machines[0]));
  w.decide({});
  CHECK(w.ledger.open.empty());
}

TEST_CASE("windows of failure domains are exact, small, and read as they were written", "[guard][locks]") {
  World w;
  for (int i = 0; i < 900; ++i) w.machine(State::available, "idc-a/rack-" + std::to_string(i % 300));
  auto& b = w.budget();
  for (const auto operation : {api::BudgetOperation::machine_update, api::BudgetOperation::machine_delete}) {
    auto& l = w.limit(b, operation);
    l.scope = api::LimitScope::failure_domain;
    l.windows = {{3600s, 1}, {86'400s, 2}};
  }
  const auto go = [&](int machine, std::string_view operation = api::operation::machine_update) {
    auto& m = *w.machines[static_cast<std::size_t>(machine)];
    const auto request = w.ask(m, operation);
    const auto said = w.one(request);
    if (said == "granted") w.begin(m, request);
    return said;
  };
  for (int i = 0; i < 300; ++i) {
    REQUIRE(go(i) == "granted");
    CHECK(go(300 + i) == "b WindowFull");
  }
  CHECK(w.ledger.domains.size() == 300);
  CHECK(reconcile::encode(w.ledger).size() < 24'000);
  w.now += 3599s;
  CHECK(go(300) == "b WindowFull");
  w.now += 302s;  // one part of the window late, at the most
  CHECK(go(300) == "granted");
  w.now += 3901s;
  CHECK(go(600) == "b WindowFull");  // the day
  w.now += 86'400s;
  CHECK(go(600) == "granted");
}

TEST_CASE("an account that was lost can be stored again with 300 failure domains", "[guard][locks]") {
  World w;
  for (int i = 0; i < 300; ++i) w.machine(State::available, "idc-a/rack-" + std::to_string(i));
  auto& b = w.budget();
  for (int k = 0; k < 2; ++k) {
    auto& l = w.limit(b);
    l.scope = api::LimitScope::failure_domain;
    l.windows = {{60s, 5}, {600s, 10}, {3600s, 20}, {86'400s, 40}};
  }
  w.doubt = Doubt{api::reason::ledger_missing, "it was missing"};
  CHECK(w.one(w.ask(*w.machines[0])) == "b LedgerMissing");
  CHECK(w.ledger.domain_windows.size() == 8);
  CHECK(w.ledger.windows.empty());
  CHECK(reconcile::encode(w.ledger).size() < 40'000);
  w.now += 86'400s + 7'200s;
  CHECK(w.one(w.ask(*w.machines[0])) == "granted");
}

TEST_CASE("too many windows times failure domains: the budget holds what it names, and the way back isn't counted", "[guard][locks]") {
  World w;
  for (int i = 0; i < 400; ++i) w.machine(State::available, "rack-" + std::to_string(i));
  auto& fits = w.budget("a");
  auto& wide = w.budget("b");
  for (auto* b : {&fits, &wide}) {
    auto& l = w.limit(*b);
    l.operations = {api::BudgetOperation::machine_update, api::BudgetOperation::machine_rollback};
    l.scope = api::LimitScope::failure_domain;
    l.windows = {{60s, 9}, {600s, 9}, {3600s, 9}, {86'400s, 9}};
  }
  const auto no = w.refusal(w.ask(*w.machines[0]));
  CHECK(no.name == "b");
  CHECK(no.reason == "BudgetTooWide");
  CHECK(w.one(w.ask(*w.machines[0], api::operation::machine_rollback)) == "granted");
  CHECK(w.ledger.domain_windows.size() == 4);                                        // those of `a`
  CHECK(w.one(w.ask(*w.machines[1], api::operation::machine_delete)) == "granted");  // isn't named
}

TEST_CASE("an unreadable budget holds all that is forward, break-glass or not", "[guard][locks]") {
  World w;
  w.fleet(3);
  w.unreadable = {{"new", "spec.limits[0].operations[0]: MachineDefragment isn't known"}};
  w.break_glass = GENERATE(true, false);
  CHECK(w.one(w.ask(*w.machines[0])) == "new BudgetUnreadable");
  CHECK(w.one(w.ask(*w.machines[0], api::operation::machine_rollback)) == "granted");
}

TEST_CASE("break-glass lifts schedules, windows, breakers and maxConcurrent; never maxUnavailable, nor sight", "[guard][locks]") {
  World w;
  w.fleet(5);
  auto& b = w.budget();
  b.spec.max_unavailable = IntOrPercent{2, false};
  b.spec.breaker = api::Breaker{.failures = api::FailureLimit{0, 600s}};
  b.spec.schedules = {{.name = "never",
                       .type = api::ScheduleType::deny,
                       .cron = "* * * * *",
                       .time_zone = {},
                       .duration = 3600s,
                       .operations = {api::BudgetOperation::machine_update}}};
  auto& l = w.limit(b);
  l.windows = {{3600s, 0}};
  l.max_concurrent = IntOrPercent{0, false};
  w.ledger.breakers = {{.budget = "b", .state = api::BreakerState::open, .since = start}};
  seal(w.ledger, w.now);
  CHECK(w.one(w.ask(*w.machines[0])) != "granted");
  w.break_glass = true;
  CHECK(w.one(w.ask(*w.machines[0])) == "granted");
  CHECK(used(w.ledger.windows.at(0), w.now) == 1);  // counted all the same
  CHECK(w.one(w.ask(*w.machines[1])) == "granted");
  CHECK(w.one(w.ask(*w.machines[2])) == "b MaxUnavailable");
  w.sight = {.seen = false};
  CHECK(w.one(w.ask(*w.machines[1])) == "hz WaitingForConnection");
}

TEST_CASE("packed: what is written is read", "[guard][locks]") {
  for (std::size_t n = 0; n < 40; ++n) {
    std::string bytes;
    for (std::size_t i = 0; i < n; ++i) bytes += static_cast<char>(i * 37 + n);
    CHECK(unbase64(base64(bytes)) == bytes);
  }
  CHECK(base64("any carnal pleas") == "YW55IGNhcm5hbCBwbGVhcw==");
  CHECK_FALSE(unbase64("a"));
  CHECK_FALSE(unbase64("ab=d"));
  CHECK_FALSE(unbase64("ab!d"));
  const std::vector<std::uint64_t> ids{1, 0xfedcba9876543210, ~0ULL};
  CHECK(unpack_ids(pack_ids(ids)) == ids);
  CHECK(unpack_ids("not base64!").empty());
  std::string numbers;
  for (const std::uint64_t n : {0ULL, 127ULL, 128ULL, 1'000'000ULL, ~0ULL}) put_number(numbers, n);
  std::string_view rest = numbers;
  for (const std::uint64_t n : {0ULL, 127ULL, 128ULL, 1'000'000ULL, ~0ULL}) CHECK(take_number(rest) == n);
  CHECK_FALSE(take_number(rest));
}
