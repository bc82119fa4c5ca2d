#include "controllers/guard/plan.hpp"

#include <catch2/catch.hpp>
#include <deque>
#include <random>

#include "controllers/guard/testing.hpp"

using namespace endstate;
using namespace endstate::guard;
using namespace endstate::guard::testing;
using namespace std::chrono_literals;

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

TEST_CASE("a grant by which nothing has begun for a while counts from when it is asked for again", "[guard]") {
  World w;
  w.fleet(3);
  w.limit(w.budget()).windows = {{60s, 2}};
  CHECK(w.one(w.ask(*w.machines[0])) == "granted");
  w.now += 40s;
  CHECK(w.one(w.ask(*w.machines[0])) == "granted");
  REQUIRE(w.ledger.grants.size() == 1);
  CHECK(w.ledger.grants[0].grant_time == w.now);
  CHECK(w.one(w.ask(*w.machines[1])) == "granted");  // it counts once
  w.now += 30s;                                      // 70 s after it was granted first
  CHECK(w.one(w.ask(*w.machines[2])) == "b WindowFull");
  w.now += 32s;
  CHECK(w.one(w.ask(*w.machines[2])) == "granted");
}

TEST_CASE("a window bounds what begins in it, however long the guard takes and whoever is killed in between", "[guard]") {
  constexpr std::int64_t most = 5;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    INFO("seed " << seed);
    std::mt19937_64 chance(seed);
    const auto up_to = [&](std::uint64_t n) { return std::chrono::milliseconds(chance() % n); };
    World w;
    w.fleet(60);
    w.limit(w.budget()).windows = {{10s, most}, {60s, 4 * most}};
    std::vector<WallTime> begun;
    for (auto& m : w.machines) {
      // Passes that look, wait for the guard, and are killed now and then when they have their grant; at last one begins.
      for (bool begins = false; !begins; w.now += up_to(700)) {
        auto request = w.ask(*m);
        request.begins = std::chrono::floor<std::chrono::seconds>(w.now);
        w.now += up_to(chance() % 5 == 0 ? 6'000 : 900);
        if (w.one(request) != "granted") continue;
        if (chance() % 4 == 0) {
          w.now += up_to(4'000);
          continue;
        }
        begun.push_back(request.begins);
        m->status.operation = api::Operation{
            .id = request.id(), .type = api::OperationType::update, .start_time = request.begins, .deadline = request.begins + 600s};
        begins = true;
      }
    }
    std::sort(begun.begin(), begun.end());
    for (const auto& [length, max] : {std::pair{10s, most}, {60s, 4 * most}})
      for (std::size_t i = 0; i < begun.size(); ++i) {
        const auto in_it = std::count_if(begun.begin(), begun.end(), [&](auto t) { return t <= begun[i] && t > begun[i] - length; });
        REQUIRE(in_it <= max);
      }
  }
}

TEST_CASE("such a grant is refused where there is no room for it any more", "[guard]") {
  World w;
  w.fleet(3);
  auto& b = w.budget();
  w.limit(b).windows = {{10s, 1}};
  CHECK(w.one(w.ask(*w.machines[0])) == "granted");
  w.now += 12s;
  CHECK(w.one(w.ask(*w.machines[1])) == "granted");
  w.now += 6s;
  CHECK(w.one(w.ask(*w.machines[0])) == "b WindowFull");
  CHECK(w.ledger.grants.size() == 1);
}

TEST_CASE("what is under way goes on, in its grant's time and after it", "[guard]") {
  World w;
  w.fleet(3);
  w.limit(w.budget()).windows = {{3600s, 1}};
  auto& m = *w.machines[0];
  const auto request = w.ask(m);
  CHECK(w.one(request) == "granted");
  m.status.operation = api::Operation{
      .id = request.id(), .type = api::OperationType::update, .revision = "r2", .start_time = start, .deadline = start + 7200s};
  w.now += 600s;
  w.decide({});
  CHECK(w.ledger.grants.empty());  // its lock is seen
  const auto generation = w.ledger.generation;
  CHECK(w.one(request) == "granted");
  CHECK(w.ledger.generation == generation);
  w.now += 6'000s;  // its grant was for an hour; its operation may take two
  CHECK(w.one(request) == "granted");
  CHECK(w.one(w.ask(*w.machines[1])) == "granted");
  w.now += 3'700s;  // past its deadline by far: its place is free, and what is left of it may still be done
  CHECK(w.one(w.ask(*w.machines[2])) == "granted");
  CHECK(w.one(request) == "granted");
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

TEST_CASE("what we can't see is not unavailable: disturbing it costs", "[guard]") {
  struct Row {
    ConditionStatus status;
    std::string_view reason;
    bool costs;
  };
  const Row row = GENERATE(Row{ConditionStatus::true_, "Ready", true}, Row{ConditionStatus::false_, "PackageFailed", false},
                           Row{ConditionStatus::unknown, "NodeUnhealthy", false}, Row{ConditionStatus::unknown, "AgentSilent", false},
                           Row{ConditionStatus::unknown, "HostLost", false}, Row{ConditionStatus::unknown, "ConnectionLost", true},
                           Row{ConditionStatus::unknown, "ClusterNotFound", true}, Row{ConditionStatus::unknown, "", true});
  INFO(row.reason);
  World w;
  w.fleet(4);
  w.budget().spec.max_unavailable = IntOrPercent{1, false};
  for (auto& m : w.machines)
    reconcile::set_condition(m->status.conditions, {.type = "Ready", .status = row.status, .reason = row.reason}, start);
  int granted = 0;
  for (auto& m : w.machines) granted += w.one(w.ask(*m)) == "granted" ? 1 : 0;
  CHECK(granted == (row.costs ? 1 : 4));
}

TEST_CASE("out of sight nothing is done to machines, but what a person forces; control planes go on", "[guard]") {
  World w;
  w.fleet(2);
  w.sight = {.seen = false, .since = start, .why = "connection refused"};
  for (const auto operation :
       {api::operation::machine_create, api::operation::machine_update, api::operation::machine_rollback, api::operation::machine_repair,
        api::operation::machine_reinstall, api::operation::machine_delete, api::operation::close_scheduling}) {
    INFO(operation);
    const auto no = w.refusal(w.ask(*w.machines[0], operation));
    CHECK(no.kind == "Cluster");
    CHECK(no.name == "hz");
    CHECK(no.reason == "WaitingForConnection");
    CHECK(no.message == "nothing is changed there while it can't be seen: connection refused");
  }
  CHECK(w.ledger.grants.empty());
  for (const auto operation : {api::operation::control_plane_update, api::operation::control_plane_rollback,
                               api::operation::control_plane_repair, api::operation::certificate_rotation, api::operation::teardown})
    CHECK(w.one(w.ask(*w.machines[0], operation)) == "granted");
  auto forced = w.ask(*w.machines[1], api::operation::machine_delete);
  forced.forced = true;
  CHECK(w.one(forced) == "granted");
  // What was granted before it went out of sight waits, too.
  w.sight = {.seen = true};
  REQUIRE(w.one(w.ask(*w.machines[0])) == "granted");
  w.sight = {.seen = false};
  CHECK(w.one(w.ask(*w.machines[0])) == "hz WaitingForConnection");
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
                       .cron = "0 0 * * *",
                       .time_zone = {},
                       .duration = 3600s,
                       .operations = {api::BudgetOperation::machine_rollback, api::BudgetOperation::machine_update}}};
  CHECK(w.one(w.ask(*w.machines[0], api::operation::machine_update)) == "b ScheduleClosed");
  CHECK(w.one(w.ask(*w.machines[0], api::operation::machine_rollback)) == "granted");
  CHECK(used(w.ledger.windows.at(0), w.now) == 1);
}

TEST_CASE("schedules: Deny holds while on, Allow unless one is on, the message says until when", "[guard]") {
  using Type = api::ScheduleType;
  World w;  // a Monday, 00:00 UTC
  w.fleet(2);
  auto& b = w.budget();
  const auto schedule = [&](std::string_view name, Type type, std::string_view cron, std::chrono::seconds duration) {
    b.spec.schedules.push_back({.name = name,
                                .type = type,
                                .cron = cron,
                                .time_zone = {},
                                .duration = duration,
                                .operations = {api::BudgetOperation::machine_update}});
  };
  const auto ask = [&] { return w.refusal(w.ask(*w.machines[0])); };

  SECTION("Deny") {
    schedule("freeze", Type::deny, "0 0 * * mon", 3600s);
    CHECK(ask().reason == "ScheduleClosed");
    CHECK(ask().message == "schedule freeze is on until 2026-11-23T01:00:00Z");
    CHECK(ask().retry_after == 30s);
    CHECK(w.one(w.ask(*w.machines[0], api::operation::machine_delete)) == "granted");  // isn't named
    w.now += 3590s;
    CHECK(ask().retry_after == 10s);
    w.now += 10s;
    CHECK(ask().reason == "granted");
  }
  SECTION("Allow") {
    schedule("day", Type::allow, "0 9 * * *", 3600s);
    schedule("noon", Type::allow, "0 12 * * *", 3600s);
    CHECK(ask().message == "no schedule of type Allow is on; day is the next, at 2026-11-23T09:00:00Z");
    w.now += 9h + 30min;
    CHECK(ask().reason == "granted");
    w.now += 1h;
    CHECK(w.refusal(w.ask(*w.machines[1])).message == "no schedule of type Allow is on; noon is the next, at 2026-11-23T12:00:00Z");
  }
  SECTION("Allow and Deny at once: Deny wins") {
    schedule("day", Type::allow, "0 0 * * *", 7200s);
    schedule("freeze", Type::deny, "0 0 * * *", 3600s);
    CHECK(ask().message == "schedule freeze is on until 2026-11-23T01:00:00Z");
    w.now += 1h;
    CHECK(ask().reason == "granted");
  }
  SECTION("one that can't be judged holds what it names") {
    schedule("day", Type::allow, "0 0 * * *", 7200s);
    schedule("odd", Type::allow, "0 25 * * *", 7200s);
    CHECK(ask().reason == "ScheduleInvalid");
    CHECK(ask().message == "schedule odd: cron: hour \"25\" is not in 0-23; it holds what it names until it is corrected");
    CHECK(w.one(w.ask(*w.machines[0], api::operation::machine_delete)) == "granted");
    CHECK(w.one(w.ask(*w.machines[0], api::operation::certificate_rotation)) == "granted");
    CHECK(w.one(w.ask(*w.machines[0], api::operation::machine_rollback)) == "granted");
  }
  SECTION("a zone that nobody knows") {
    schedule("day", Type::allow, "0 0 * * *", 7200s);
    b.spec.schedules[0].time_zone = "Mars/Olympus";
    w.zones = {{.name = "Mars/Olympus", .error = "\"Mars/Olympus\" is no time zone", .segments = {}}};
    CHECK(ask().reason == "ScheduleInvalid");
  }
}

TEST_CASE("budgets that contradict: all must agree, the one that says no for the longest is named, the others are listed", "[guard]") {
  World w;
  w.fleet(3);
  const auto operations = std::vector{api::BudgetOperation::machine_update};
  w.budget("by-day").spec.schedules = {
      {.name = "day", .type = api::ScheduleType::allow, .cron = "0 8 * * *", .time_zone = {}, .duration = 12h, .operations = operations}};
  w.budget("by-night").spec.schedules = {
      {.name = "day", .type = api::ScheduleType::deny, .cron = "0 8 * * *", .time_zone = {}, .duration = 12h, .operations = operations}};
  for (int hour = 0; hour < 48; ++hour) {  // one of them always says no
    const auto no = w.refusal(w.ask(*w.machines[0]));
    CHECK(no.reason == "ScheduleClosed");
    CHECK(no.name == (hour % 24 >= 8 && hour % 24 < 20 ? "by-night" : "by-day"));
    w.now += 1h;
  }
  auto& slow = w.budget("windows");
  w.limit(slow).windows = {{10s, 0}};
  auto& few = w.budget("few");
  few.spec.max_unavailable = IntOrPercent{0, false};
  const auto no = w.refusal(w.ask(*w.machines[0]));
  CHECK(no.name == "by-day");
  CHECK(no.message.find("; refused by windows (WindowFull), few (MaxUnavailable) too") != std::string::npos);
  CHECK(no.retry_after == 30s);
  CHECK(w.one(w.ask(*w.machines[0], api::operation::machine_rollback)) == "few MaxUnavailable");
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
    w.begin(m, w.ask(m));
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
    w.begin(m, w.ask(m), 3000s);
    w.now += 3599s;  // past its deadline its loop ends it
    CHECK(next() == "b MaxConcurrent");
    w.now += 1s;
    CHECK(next() == "granted");
  }
  SECTION("its time, while it could be seen") {
    w.begin(m, w.ask(m), 3000s);
    w.now += 3601s;
    w.gaps = {{start + 100s, start + 200s}};
    CHECK(next() == "b MaxConcurrent");
    w.now += 99s;
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
  w.doubt = Doubt{api::reason::ledger_missing, "it was missing"};
  CHECK(w.one(w.ask(*w.machines[0])) == "b LedgerMissing");
  CHECK(w.one(w.ask(*w.machines[1], api::operation::machine_delete)) == "b LedgerMissing");
  CHECK(w.one(w.ask(*w.machines[0], api::operation::machine_rollback)) == "granted");
  w.now += 120s;
  CHECK(w.one(w.ask(*w.machines[0])) == "b LedgerMissing");  // the hour
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

TEST_CASE("permits whose lock isn't seen are bounded; what is under way is not", "[guard]") {
  World w;
  w.fleet(3'005);
  std::vector<PermitRequest> requests;
  for (const auto& m : w.machines) requests.push_back(w.ask(*m));
  const auto verdicts = w.decide(requests);
  CHECK(w.ledger.grants.size() == max_pending);
  CHECK(std::get<Refused>(verdicts.back()).reason == api::reason::ledger_full);
  for (std::size_t i = 0; i < 3'000; ++i) w.begin(*w.machines[i], requests[i]);
  CHECK(w.one(requests[3'001]) == "granted");
  CHECK(w.ledger.grants.size() == 1);
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
               .own = true,
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
