#include "controllers/guard/summary.hpp"

#include <catch2/catch.hpp>

#include "controllers/guard/testing.hpp"

using namespace endstate;
using namespace endstate::guard;
using namespace endstate::guard::testing;
using namespace std::chrono_literals;

namespace {

struct Summary {
  std::shared_ptr<api::ChangeBudget> budget = std::make_shared<api::ChangeBudget>();
  std::shared_ptr<api::GuardLedger> ledger = std::make_shared<api::GuardLedger>();
  std::vector<ZoneFacts> zones;
  std::vector<BudgetInput::Account> others;  // before it
  std::vector<std::int64_t> in_flight;
  bool too_wide = false;
  WallTime now = start;

  Summary() {
    budget->metadata.name = "b";
    budget->metadata.generation = 1;
    ledger->status.generation = 1;
    auto& l = budget->spec.limits.emplace_back();
    l.name = "updates";
    l.operations = {api::BudgetOperation::machine_update};
    l.windows = {{3600s, 10}};
  }
  reconcile::Plan plan() const {
    auto accounts = others;
    accounts.push_back({.cluster = {"prod", "hz"}, .ledger = ledger, .in_flight = in_flight, .too_wide = too_wide});
    return plan_summary({.budget = budget, .accounts = accounts, .zones = zones, .now = now});
  }
  // What the plan would store, stored.
  std::string store() {
    const auto made = plan();
    last = made.status->status;
    events = made.events;
    return last;
  }
  bool says(std::string_view part) {
    store();
    return last.find(part) != std::string::npos;
  }
  void schedule(std::string_view cron, std::string_view zone = {}) {
    budget->spec.schedules.push_back({.name = "night",
                                      .type = api::ScheduleType::deny,
                                      .cron = cron,
                                      .time_zone = zone,
                                      .duration = 3600s,
                                      .operations = {api::BudgetOperation::machine_update}});
  }
  std::string last;
  std::vector<reconcile::EventNote> events;
};

}  // namespace

TEST_CASE("how full limits are, and that all is well", "[guard][summary]") {
  Summary s;
  s.ledger->status.windows = {{.budget = "b", .limit = "updates", .duration = 3600s, .buckets = {{start - 60s, 4}}}};
  s.in_flight = {1};
  CHECK(s.says(R"("usage":[{"cluster":"prod/hz","limit":"updates","inFlight":1,"windows":[{"durationSeconds":3600,"used":4}]}])"));
  for (const auto* part :
       {R"("type":"Ready","status":"True")", R"("type":"Stalled","status":"False")", R"("type":"LedgersTrusted","status":"True")"})
    CHECK(s.says(part));
  CHECK(s.events.empty());
}

TEST_CASE("schedules: which are on, until when, and looked at again then", "[guard][summary]") {
  Summary s;
  s.schedule("0 1 * * *");
  CHECK(s.says(R"("schedules":[{"name":"night","on":false,"until":"2026-11-23T01:00:00Z"}])"));
  CHECK(s.plan().again == 1h);
  s.now += 90min;
  CHECK(s.says(R"("schedules":[{"name":"night","on":true,"until":"2026-11-23T02:00:00Z"}])"));
  CHECK(s.plan().again == 30min);
}

TEST_CASE("a schedule that can't be judged stalls the budget: the field and the remedy are named", "[guard][summary]") {
  Summary s;
  SECTION("cron") {
    s.schedule("0 25 * * *");
    CHECK(s.says(
        R"("type":"Stalled","status":"True","reason":"ScheduleInvalid","message":"spec.schedules[night].cron: hour \"25\" is not in )"
        R"(0-23; until it is corrected it holds the operations that it names")"));
  }
  SECTION("time zone") {
    s.schedule("0 1 * * *", "Mars/Olympus");
    s.zones = {{.name = "Mars/Olympus", .error = "\"Mars/Olympus\" is no time zone; use an IANA name", .segments = {}}};
    CHECK(s.says(R"(spec.schedules[night].timeZone: \"Mars/Olympus\" is no time zone; use an IANA name; until)"));
  }
  CHECK(s.says(R"("type":"Ready","status":"False","reason":"ScheduleInvalid")"));
}

TEST_CASE("an account that was not trusted shows for as long as its windows are full, and is told once", "[guard][summary]") {
  Summary s;
  s.ledger->status.distrusted = api::LedgerDistrust{.reason = "LedgerEdited", .message = "its digest doesn't match", .time = start};
  s.now += 60s;
  CHECK(s.says(R"("type":"LedgersTrusted","status":"False","reason":"LedgerEdited")"));
  CHECK(
      s.says("GuardLedger prod/hz was not to be trusted at 2026-11-23T00:00:00Z: its digest doesn't match; its windows counted as full "
             "then, the last one is free again at 2026-11-23T01:01:00Z"));
  REQUIRE(s.events.size() == 1);
  CHECK(s.events[0].warning);
  CHECK(s.events[0].reason == "LedgerEdited");
  CHECK(s.plan().again);
  reconcile::set_condition(s.budget->status.conditions,
                           {.type = "LedgersTrusted", .status = ConditionStatus::false_, .reason = "LedgerEdited"}, s.now);
  s.store();
  CHECK(s.events.empty());
  s.now = start + 3660s;
  CHECK(s.says(R"("type":"LedgersTrusted","status":"True")"));
}

TEST_CASE("breakers are shown, half-open ones too; the annotation goes when its breaker is closed", "[guard][summary]") {
  Summary s;
  s.budget->metadata.annotations.set(api::annotation::reset_breaker, "prod/hz");
  for (const auto state : {api::BreakerState::open, api::BreakerState::half_open}) {
    s.ledger->status.breakers = {{.budget = "b", .state = state, .reason = "MetricFailed", .message = "m", .since = start}};
    CHECK(
        s.says(R"("breakers":[{"cluster":"prod/hz","state":")" + std::string(reconcile::name_of(state)) + R"(","reason":"MetricFailed")"));
    CHECK(s.plan().actions.empty());
  }
  s.ledger->status.breakers = {{.budget = "b", .reason = "ResetByUser", .since = start}};
  CHECK(s.plan().actions.size() == 1);
}

TEST_CASE("the 65th cluster: its open breaker is shown, and a reset goes by its own account", "[guard][summary]") {
  Summary s;
  for (int i = 0; i < 64; ++i) s.others.push_back({.cluster = {"prod", "a" + std::to_string(i)}, .ledger = s.ledger});
  auto own = std::make_shared<api::GuardLedger>(*s.ledger);
  own->status.breakers = {{.budget = "b", .state = api::BreakerState::open, .reason = "MetricFailed", .message = "m", .since = start}};
  s.ledger = own;
  s.budget->metadata.annotations.set(api::annotation::reset_breaker, "prod/hz");
  CHECK(s.says(R"("breakers":[{"cluster":"prod/hz","state":"Open","reason":"MetricFailed")"));
  CHECK(s.plan().actions.empty());
  own->status.breakers[0].state = api::BreakerState::closed;
  CHECK(s.plan().actions.size() == 1);
  s.budget->metadata.annotations.set(api::annotation::reset_breaker, "prod/nobody");
  CHECK(s.plan().actions.size() == 1);
}

TEST_CASE("a budget that can't be judged as it is written is Stalled, and says why", "[guard][summary]") {
  Summary s;
  SECTION("a word of a later version") {
    s.budget->spec.limits[0].operations = {static_cast<api::BudgetOperation>(reconcile::unknown_word_value("MachineDefragment"))};
    CHECK(s.says(R"("type":"Stalled","status":"True","reason":"BudgetUnreadable","message":"spec.limits[0].operations)"));
  }
  SECTION("too many windows times failure domains") {
    s.too_wide = true;
    CHECK(s.says(R"("type":"Stalled","status":"True","reason":"BudgetTooWide","message":"in Cluster prod/hz)"));
  }
}

TEST_CASE("what was known of a breaker stays while its account is gone: the guard looks for it there", "[guard][summary]") {
  Summary s;
  s.budget->status.breakers = {{.cluster = "prod/hz", .state = api::BreakerState::open, .reason = "MetricFailed", .since = start}};
  SECTION("deleted") { s.ledger = nullptr; }
  SECTION("made anew, not written yet") { s.ledger->status = {}; }
  CHECK(s.says(R"("breakers":[{"cluster":"prod/hz","state":"Open","reason":"MetricFailed")"));
}
