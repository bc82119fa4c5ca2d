#include "controllers/guard/trust.hpp"

#include <catch2/catch.hpp>

#include "controllers/guard/testing.hpp"
#include "reconcile/json/encode.hpp"

using namespace endstate;
using namespace endstate::guard;
using namespace endstate::guard::testing;
using namespace std::chrono_literals;

namespace {

std::string doubted(const World& w) { return w.doubted ? std::string(w.doubted->reason) : "trusted"; }

// One update of machine 0 has been granted, and has begun.
World begun() {
  World w;
  w.fleet(5);
  auto& l = w.limit(w.budget());
  l.windows = {{3600s, 3}};
  l.max_concurrent = IntOrPercent{1, false};
  auto& m = *w.machines[0];
  REQUIRE(w.one(w.ask(m)) == "granted");
  m.status.operation = api::Operation{
      .id = w.ask(m).id(), .type = api::OperationType::update, .revision = "r2", .start_time = w.now + 5s, .deadline = w.now + 1800s};
  return w;
}

}  // namespace

TEST_CASE("every change is sealed with its time, and read back it is trusted", "[guard][trust]") {
  auto w = begun();
  CHECK(w.ledger.time == start);
  CHECK_FALSE(w.ledger.digest.empty());
  w.now += 1500ms;
  w.decide({});
  CHECK(doubted(w) == "trusted");
  CHECK(w.one(w.ask(*w.machines[1], api::operation::machine_delete)) == "granted");
  CHECK(w.ledger.time == start + 1s);  // whole seconds, as they are stored
}

TEST_CASE("what is edited by hand is found, whatever it is", "[guard][trust]") {
  auto w = begun();
  SECTION("usage emptied") { w.ledger.windows.clear(); }
  SECTION("a bucket made smaller") { w.ledger.windows.at(0).buckets.at(0).used = 0; }
  SECTION("a grant taken out") { w.ledger.grants.clear(); }
  SECTION("a breaker closed") { w.ledger.breakers.push_back({.budget = "b"}); }
  SECTION("the generation") { w.ledger.generation = 0; }
  SECTION("the time") { w.ledger.time = w.now + 1h; }
  SECTION("the digest taken away") { w.ledger.digest = {}; }
  const auto no = w.refusal(w.ask(*w.machines[1], api::operation::machine_update));
  CHECK(doubted(w) == "LedgerEdited");
  CHECK(no.reason == "MaxConcurrent");  // what is under way by the machine's own word still is
  w.end(*w.machines[0]);
  w.machines[0]->status.operation.reset();
  const auto full = w.refusal(w.ask(*w.machines[1]));
  CHECK(full.reason == "LedgerEdited");
  CHECK(
      full.message.find("limit l1: its window of 1h counts as full since 2026-11-23T00:00:00Z, when the GuardLedger was not to be trusted: "
                        "it was changed by somebody else") == 0);
  CHECK(doubted(w) == "trusted");  // once: what was written since is ours
  w.now += 3660s;
  CHECK(w.one(w.ask(*w.machines[1])) == "granted");
}

TEST_CASE("a copy from before what is under way is found, by a process that never saw the newer one", "[guard][trust]") {
  World w;
  w.fleet(5);
  w.limit(w.budget()).windows = {{3600s, 3}};
  REQUIRE(w.one(w.ask(*w.machines[1], api::operation::machine_delete)) == "granted");
  const auto backup = w.ledger;
  w.now += 300s;
  auto& m = *w.machines[0];
  REQUIRE(w.one(w.ask(m)) == "granted");
  const auto id = w.ask(m).id();

  SECTION("it is under way") {
    m.status.operation = api::Operation{.id = id, .type = api::OperationType::update, .revision = "r2", .start_time = w.now};
    w.decide({});
    CHECK(doubted(w) == "trusted");
    w.ledger = backup;
    CHECK(w.one(w.ask(*w.machines[2])) == "b LedgerOld");
    CHECK(doubted(w) == "LedgerOld");
    CHECK(w.one(w.ask(m)) == "granted");  // its own operation goes on
  }
  SECTION("it has ended") {
    w.end(m);
    m.status.last_operation->type = api::OperationType::update;
    m.status.last_operation->revision = "r2";
    m.status.last_operation->start_time = w.now;
    w.decide({});
    CHECK(doubted(w) == "trusted");
    w.ledger = backup;
    CHECK(w.one(w.ask(*w.machines[2])) == "b LedgerOld");
  }
  SECTION("two clocks may differ by a minute") {
    m.status.operation = api::Operation{.id = id, .type = api::OperationType::update, .revision = "r2", .start_time = backup.time + 60s};
    w.ledger = backup;
    w.decide({});
    CHECK(doubted(w) == "trusted");
  }
  SECTION("an operation that no guard has granted is no evidence") {
    m.status.operation = api::Operation{.id = "by-hand", .type = api::OperationType::update, .revision = "r2", .start_time = w.now};
    w.ledger = backup;
    w.decide({});
    CHECK(doubted(w) == "trusted");
  }
}

TEST_CASE("a ledger of the version before, without time and digest, is trusted", "[guard][trust]") {
  auto w = begun();
  w.ledger.time = {};
  w.ledger.digest = {};
  w.now += 1h;
  w.decide({});
  CHECK(doubted(w) == "trusted");
}

TEST_CASE("a clock that is set back doesn't make a new account look old", "[guard][trust]") {
  auto w = begun();
  w.now -= 24h;
  auto& m = *w.machines[1];
  REQUIRE(w.one(w.ask(m, api::operation::machine_delete)) == "granted");
  CHECK(w.ledger.time == start);
  m.status.operation = api::Operation{
      .id = w.ask(m, api::operation::machine_delete).id(), .type = api::OperationType::delete_, .revision = "r2", .start_time = w.now};
  w.decide({});
  CHECK(doubted(w) == "trusted");
}

TEST_CASE("an account that was lost knows again what is under way", "[guard][trust]") {
  auto w = begun();
  const auto id = w.ask(*w.machines[0]).id();
  w.ledger = {};
  w.doubt = Doubt{api::reason::ledger_missing, "it was missing"};
  w.decide({});
  REQUIRE(w.ledger.grants.size() == 1);
  const auto& grant = w.ledger.grants[0];
  CHECK(grant.id == id);
  CHECK(grant.operation == "MachineUpdate");
  CHECK(grant.limits == std::vector<reconcile::Text>{"b/l1"});
  CHECK(grant.expire_time == start + 2400s);
  REQUIRE(w.ledger.distrusted);
  CHECK(w.ledger.distrusted->reason == "LedgerMissing");
}
