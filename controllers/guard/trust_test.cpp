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
  SECTION("a bucket made smaller") { w.ledger.windows.at(0).counts = "AAA="; }  // no gap, none begun
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

TEST_CASE("an account that was lost knows again what is under way, at any age of its Cluster", "[guard][trust]") {
  auto w = begun();
  const bool is_new = GENERATE(true, false);
  w.ledger = {};
  if (!is_new) w.doubt = Doubt{api::reason::ledger_missing, "it was missing"};
  CHECK(w.one(w.ask(*w.machines[1])) == "b MaxConcurrent");
  CHECK(w.one(w.ask(*w.machines[0])) == "granted");  // its own goes on
  CHECK(w.ledger.distrusted.has_value() == !is_new);
}

TEST_CASE("an older operator, after helm rollback, finds the account of this version edited: closed", "[guard][trust]") {
  auto w = begun();
  w.decide({});
  // What it knows of the ledger; the rest it doesn't decode.
  auto known = w.ledger;
  known.domains.clear();
  known.domain_windows.clear();
  known.open = {};
  known.seen = {};
  known.checks.clear();
  w.ledger = known;
  CHECK(w.one(w.ask(*w.machines[1], api::operation::machine_delete)) == "granted");  // no limit names it
  CHECK(doubted(w) == "LedgerEdited");
}

TEST_CASE("a ledger of the version before is taken over once: it gives no grant and fills no window", "[guard][trust]") {
  World w;
  for (int i = 0; i < 6; ++i) w.machine(i == 5 ? State::fresh : State::available, i < 3 ? "rack-1" : "rack-2");
  auto& b = w.budget();
  auto& updates = w.limit(b);
  updates.windows = {{3600s, 3}};
  auto& racks = w.limit(b);
  racks.scope = api::LimitScope::failure_domain;
  racks.windows = {{3600s, 1}};
  auto& creations = w.limit(b, api::BudgetOperation::machine_create);
  creations.max_concurrent = IntOrPercent{1, false};
  const auto grant = [&](int machine, std::string_view operation) {
    const auto request = w.ask(*w.machines[static_cast<std::size_t>(machine)], operation);
    w.ledger.grants.push_back({.id = request.id(),
                               .machine_uid = request.subject_uid,
                               .machine = request.subject.name,
                               .operation = operation,
                               .revision = "r2",
                               .domain = request.domain,
                               .limits = {"b/l1", "b/l2"},
                               .grant_time = start - 300s,
                               .expire_time = start + 3600s});
    return request;
  };
  const auto update = grant(0, api::operation::machine_update);
  w.begin(*w.machines[0], update);
  grant(5, api::operation::machine_create);  // its claim says nothing
  w.ledger.windows = {{.budget = "b", .limit = "l1", .duration = 3600s, .buckets = {{start - 300s, 1}}},
                      {.budget = "b", .limit = "l2", .domain = "rack-1", .duration = 3600s, .buckets = {{start - 300s, 1}}}};
  w.ledger.generation = 41;
  seal(w.ledger, start - 290s);
  w.decide({});
  CHECK(doubted(w) == "trusted");
  REQUIRE(w.ledger.grants.size() == 1);
  CHECK(w.ledger.grants[0].operation == "MachineCreate");
  CHECK(w.ledger.domain_windows.size() == 1);
  CHECK(w.one(w.ask(*w.machines[1])) == "b WindowFull");  // of its rack
  CHECK(w.one(w.ask(*w.machines[3])) == "granted");
  CHECK(w.one(w.ask(w.machine(State::fresh), api::operation::machine_create)) == "b MaxConcurrent");
  w.end(*w.machines[5], api::operation::machine_create);
  CHECK(w.one(w.ask(*w.machines[6], api::operation::machine_create)) == "granted");
}

TEST_CASE("a meta cluster that was restored: a host at work by a grant that nobody knows counts until its agent has reported",
          "[guard][trust]") {
  World w;
  w.fleet(5);
  auto& l = w.limit(w.budget());
  l.windows = {{3600s, 9}};
  l.max_concurrent = IntOrPercent{1, false};
  auto a = std::make_shared<api::HostAssignment>();
  a->metadata.name = "host";
  a->metadata.generation = 5;
  a->spec = {.state = api::AssignmentState::active, .machine_uid = w.machines[0]->metadata.uid, .revision = "r9", .grant_id = "of-before"};
  w.assignments.push_back(a);
  w.decide({});
  CHECK(doubted(w) == "trusted");  // no account yet
  CHECK(w.one(w.ask(*w.machines[1])) == "b MaxConcurrent");
  w.ledger.generation = 4;
  w.ledger.seen = {"7", "7", "7"};
  seal(w.ledger, w.now);
  SECTION("nobody knows it: the account is old") {
    CHECK(w.one(w.ask(*w.machines[1])) == "b MaxConcurrent");
    CHECK(doubted(w) == "LedgerOld");
    a->status.observed_generation = 5;
    a->status.observed_revision = "r9";
    CHECK(w.one(w.ask(*w.machines[1])) == "b LedgerOld");
  }
  SECTION("its permit was given, and its lock isn't seen yet") {
    w.ledger.grants = {{.id = "of-before", .machine_uid = w.machines[0]->metadata.uid, .operation = "MachineUpdate", .grant_time = w.now}};
    seal(w.ledger, w.now);
    CHECK(w.one(w.ask(*w.machines[1])) == "b MaxConcurrent");
    CHECK(doubted(w) == "trusted");
  }
  SECTION("its Machine names it") {
    w.machines[0]->status.operation = api::Operation{.id = "of-before", .type = api::OperationType::update, .start_time = w.now - 60s};
    CHECK(w.one(w.ask(*w.machines[1])) == "b MaxConcurrent");
    CHECK(doubted(w) == "trusted");
  }
  SECTION("it has ended") {
    w.machines[0]->status.last_operation = api::LastOperation{.id = "of-before", .type = api::OperationType::update};
    CHECK(w.one(w.ask(*w.machines[1])) == "granted");
  }
  SECTION("its agent has reported") {
    a->status.observed_generation = 5;
    a->status.observed_revision = "r9";
    CHECK(w.one(w.ask(*w.machines[1])) == "granted");
    CHECK(doubted(w) == "trusted");
  }
}
