#include "controllers/guard/breakers.hpp"

#include <catch2/catch.hpp>

#include "controllers/guard/testing.hpp"

using namespace endstate;
using namespace endstate::guard;
using namespace endstate::guard::testing;
using namespace std::chrono_literals;
using api::BreakerReset, api::CheckResult, api::OperationResult;

namespace {

struct Scene : World {
  explicit Scene(api::Breaker rule) {
    fleet(40);
    b = &budget();
    b->spec.breaker = std::move(rule);
  }
  std::string next() { return one(ask(*machines.at(static_cast<std::size_t>(at)))); }  // asks for the next machine
  // Begins on the next machine and ends it so.
  void run(OperationResult result) {
    auto& m = *machines.at(static_cast<std::size_t>(at++));
    INFO("machine " << m.metadata.name.str());
    REQUIRE(one(ask(m)) == "granted");
    end(m, api::operation::machine_update, result);
  }
  std::string state() {
    decide({});
    const auto it = std::find_if(ledger.breakers.begin(), ledger.breakers.end(), [](const auto& x) { return x.budget == "b"; });
    return it == ledger.breakers.end() ? "none" : std::string(reconcile::name_of(it->state)) + " " + it->reason.str();
  }
  void check(CheckResult result, std::chrono::seconds age = 0s, std::string_view value = "0.5") {
    checks = {
        {.budget = "b", .checks = {{.name = "errors", .result = result, .value = value, .message = "of 100 requests", .time = now - age}}}};
  }
  api::ChangeBudget* b;
  int at = 0;
};

api::Breaker on_failures(std::int64_t max, std::optional<BreakerReset> reset = {}) {
  return {.failures = api::FailureLimit{max, 600s}, .reset = reset};
}
api::Breaker on_check(std::optional<BreakerReset> reset = {}) {
  api::MetricCheck check;
  check.name = "errors";
  return {.checks = {check}, .reset = reset};
}

}  // namespace

TEST_CASE("failures open the breaker, and by default only a person closes it", "[guard][breaker]") {
  Scene w(on_failures(1));
  w.run(OperationResult::failed);
  CHECK(w.state() == "Closed ");
  w.run(OperationResult::lost);  // says nothing of the change
  w.run(OperationResult::superseded);
  w.run(OperationResult::succeeded);
  CHECK(w.state() == "Closed ");
  w.run(OperationResult::failed);
  CHECK(w.state() == "Open TooManyOperationsFailed");
  const auto no = w.refusal(w.ask(*w.machines[9]));
  CHECK(no.reason == "BreakerOpen");
  CHECK(no.message.find("2 operations failed within 10m, the last one on machine m4; close it with: kubectl annotate changebudget b "
                        "endstate.dev/reset-breaker=prod/hz") != std::string::npos);
  CHECK(w.one(w.ask(*w.machines[9], api::operation::machine_rollback)) == "granted");
  w.now += 24h;
  CHECK(w.next() == "b BreakerOpen");
  w.b->metadata.annotations.set(api::annotation::reset_breaker, "prod/other");
  CHECK(w.next() == "b BreakerOpen");
  w.b->metadata.annotations.set(api::annotation::reset_breaker, "prod/hz");
  CHECK(w.next() == "granted");
  CHECK(w.state() == "Closed ResetByUser");
  CHECK(w.ledger.breakers.at(0).failures.empty());
}

TEST_CASE("failures that are old enough don't count", "[guard][breaker]") {
  Scene w(on_failures(1));
  w.run(OperationResult::failed);
  w.state();
  w.now += 620s;
  w.run(OperationResult::failed);
  CHECK(w.state() == "Closed ");
}

TEST_CASE("an Automatic breaker tries again after its cooldown, with so many trials", "[guard][breaker]") {
  auto rule = on_failures(0, BreakerReset::automatic);
  rule.cooldown = 300s;
  rule.trials = 2;
  Scene w(rule);
  w.run(OperationResult::failed);
  CHECK(w.next() == "b BreakerOpen");
  w.now += 299s;
  CHECK(w.next() == "b BreakerOpen");
  w.now += 1s;
  CHECK(w.state() == "HalfOpen TooManyOperationsFailed");
  const auto first = w.at++, second = w.at++;
  CHECK(w.one(w.ask(*w.machines[static_cast<std::size_t>(first)])) == "granted");
  CHECK(w.one(w.ask(*w.machines[static_cast<std::size_t>(second)])) == "granted");
  CHECK(w.one(w.ask(*w.machines[static_cast<std::size_t>(second)])) == "granted");  // the same, asked again
  CHECK(w.next() == "b TrialRunning");
  CHECK(w.one(w.ask(*w.machines[9], api::operation::machine_rollback)) == "granted");  // is no trial
  const auto end = [&](int machine, OperationResult result) {
    w.end(*w.machines[static_cast<std::size_t>(machine)], api::operation::machine_update, result);
  };
  end(first, OperationResult::succeeded);
  CHECK(w.next() == "b TrialRunning");

  SECTION("all succeeded: closed, counting from nothing") {
    end(second, OperationResult::succeeded);
    CHECK(w.state() == "Closed ");
    CHECK(w.ledger.breakers.at(0).failures.empty());
    CHECK(w.next() == "granted");
  }
  SECTION("one failed: open, for another cooldown") {
    w.now += 60s;
    end(second, OperationResult::failed);
    CHECK(w.state() == "Open TooManyOperationsFailed");
    w.now += 299s;
    CHECK(w.next() == "b BreakerOpen");
    w.now += 1s;
    CHECK(w.next() == "granted");
  }
  SECTION("one that says nothing frees its place") {
    end(second, OperationResult::lost);
    CHECK(w.next() == "granted");
  }
  SECTION("by hand at once") {
    w.b->metadata.annotations.set(api::annotation::reset_breaker, "prod/hz");
    CHECK(w.state() == "Closed ResetByUser");
  }
}

TEST_CASE("a failure from before it was half-open doesn't open it again", "[guard][breaker]") {
  Scene w(on_failures(0, BreakerReset::automatic));
  auto& slow = *w.machines[30];
  REQUIRE(w.one(w.ask(slow)) == "granted");
  slow.status.operation = api::Operation{.id = w.ask(slow).id(), .start_time = w.now};
  w.run(OperationResult::failed);
  w.state();
  w.now += 601s;
  CHECK(w.state() == "HalfOpen TooManyOperationsFailed");
  w.end(slow, api::operation::machine_update, OperationResult::failed);
  CHECK(w.state() == "HalfOpen TooManyOperationsFailed");
}

TEST_CASE("a check that failed opens the breaker, and names itself and its value", "[guard][breaker]") {
  Scene w(on_check());
  w.check(CheckResult::failed);
  CHECK(w.state() == "Open MetricFailed");
  const auto no = w.refusal(w.ask(*w.machines[0]));
  CHECK(no.reason == "BreakerOpen");
  CHECK(no.message.find("check errors failed with 0.5: of 100 requests") != std::string::npos);
  CHECK(w.one(w.ask(*w.machines[0], api::operation::machine_rollback)) == "granted");
  // What heals by itself doesn't close it: by default a person does.
  w.now += 1h;
  w.check(CheckResult::passed);
  CHECK(w.state() == "Open MetricFailed");
  w.b->metadata.annotations.set(api::annotation::reset_breaker, "prod/hz");
  CHECK(w.next() == "granted");
}

TEST_CASE("closed by hand, only a newer answer opens it again, and none of the old ones is good", "[guard][breaker]") {
  Scene w(on_check());
  w.check(CheckResult::failed);
  w.state();
  w.now += 10s;
  w.b->metadata.annotations.set(api::annotation::reset_breaker, "prod/hz");
  CHECK(w.state() == "Closed ResetByUser");
  w.b->metadata.annotations = {};
  CHECK(w.next() == "b MetricsUnknown");
  w.now += 60s;
  w.check(CheckResult::failed);
  CHECK(w.next() == "b BreakerOpen");
}

TEST_CASE("a check without a fresh and clear answer holds, and opens nothing", "[guard][breaker]") {
  Scene w(on_check());
  const auto held = [&](std::string_view part) {
    const auto no = w.refusal(w.ask(*w.machines[0]));
    CHECK(no.reason == "MetricsUnknown");
    INFO(no.message);
    CHECK(no.message.find(part) != std::string::npos);
    CHECK(w.one(w.ask(*w.machines[1], api::operation::machine_rollback)) == "granted");
    CHECK(w.state() == "none");
  };
  held("check errors has no answer yet");
  w.check(CheckResult::running);
  held("check errors is Running");
  w.check(CheckResult::inconclusive);
  held("check errors is Inconclusive: of 100 requests");
  w.check(CheckResult::passed, 181s);
  held("check errors was answered last at");
  w.check(CheckResult::failed, 181s);  // too old to speak against anything
  held("check errors was answered last at");
  w.check(CheckResult::passed, -1h);  // from a clock that was set
  held("check errors was answered last at");
  w.check(CheckResult::passed, 180s);
  CHECK(w.one(w.ask(*w.machines[0])) == "granted");
  // However short the interval, a minute is no silence.
  w.b->spec.breaker->checks[0].interval = 5s;
  w.check(CheckResult::passed, 60s);
  CHECK(w.one(w.ask(*w.machines[2])) == "granted");
  w.check(CheckResult::passed, 61s);
  CHECK(w.one(w.ask(*w.machines[3])) == "b MetricsUnknown");
}

TEST_CASE("an Automatic breaker stays open for as long as a check fails", "[guard][breaker]") {
  Scene w(on_check(BreakerReset::automatic));
  w.check(CheckResult::failed);
  CHECK(w.state() == "Open MetricFailed");
  w.now += 601s;
  w.check(CheckResult::failed);
  CHECK(w.state() == "Open MetricFailed");
  w.now += 1s;
  w.check(CheckResult::passed);
  CHECK(w.state() == "HalfOpen MetricFailed");
  w.run(OperationResult::succeeded);
  CHECK(w.state() == "Closed ");
}

TEST_CASE("a check that fails while half-open opens it", "[guard][breaker]") {
  auto rule = on_check(BreakerReset::automatic);
  rule.failures = api::FailureLimit{0, 600s};
  Scene w(rule);
  w.check(CheckResult::passed);
  w.run(OperationResult::failed);
  w.state();
  w.now += 601s;
  w.check(CheckResult::passed);
  CHECK(w.state() == "HalfOpen TooManyOperationsFailed");
  w.now += 60s;
  w.check(CheckResult::failed);
  CHECK(w.state() == "Open MetricFailed");
}

TEST_CASE("a clock that jumps neither closes a breaker nor keeps it open for ever", "[guard][breaker]") {
  auto rule = on_failures(0, BreakerReset::automatic);
  Scene w(rule);
  w.run(OperationResult::failed);
  w.state();
  w.now -= 48h;
  CHECK(w.next() == "b BreakerOpen");
  w.now += 600s;
  CHECK(w.state() == "HalfOpen TooManyOperationsFailed");
}

TEST_CASE("an open breaker outlives its budget, and the account", "[guard][breaker]") {
  Scene w(on_failures(0));
  w.run(OperationResult::failed);
  w.state();
  SECTION("its budget is made again") {
    const auto kept = std::exchange(w.budgets, {});
    w.state();
    w.budgets = kept;
    CHECK(w.next() == "b BreakerOpen");
  }
  SECTION("the account is lost") {
    const auto b = w.ledger.breakers.at(0);
    w.b->status.breakers = {{.cluster = "prod/hz", .state = b.state, .reason = b.reason, .message = b.message, .since = b.since}};
    w.ledger = {};
    w.doubt = Doubt{api::reason::ledger_missing, "it was missing"};
    CHECK(w.next() == "b BreakerOpen");
    CHECK(w.ledger.breakers.at(0).since == b.since);
  }
}

TEST_CASE("the list of breakers is bounded", "[guard][breaker]") {
  World w;
  w.fleet(1);
  for (int i = 0; i < 100; ++i) w.ledger.breakers.push_back({.budget = "gone-" + std::to_string(i)});
  seal(w.ledger, w.now);
  auto& b = w.budget();
  b.spec.breaker = on_failures(0);
  REQUIRE(w.one(w.ask(*w.machines[0])) == "granted");
  w.end(*w.machines[0], api::operation::machine_update, OperationResult::failed);
  w.decide({});
  REQUIRE(w.ledger.breakers.size() == 1);
  CHECK(w.ledger.breakers[0].budget == "b");
}
