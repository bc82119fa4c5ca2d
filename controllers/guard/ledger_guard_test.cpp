#include "controllers/guard/ledger_guard.hpp"

#include <catch2/catch.hpp>

#include "apis/v1alpha1/cluster.hpp"
#include "controllers/guard/ledger_guard_fleets.hpp"
#include "reconcile/cache/caches.hpp"
#include "reconcile/json/decode.hpp"
#include "reconcile/json/encode.hpp"
#include "reconcile/sim/sim_api.hpp"

using namespace endstate;
using namespace endstate::guard;
using namespace std::chrono_literals;
using reconcile::Call, reconcile::Granted, reconcile::Key, reconcile::PermitRequest, reconcile::Refused, reconcile::Result, reconcile::Verb,
    reconcile::Verdict;
namespace api = v1alpha1;

namespace {

template <class T>
std::string manifest(const T& object) {
  const auto& r = reconcile::resource_of<T>;
  return reconcile::encode_object(reconcile::api_version(r), r.kind, reconcile::type_of<T>, &object);
}

// An operator's process: an Env, its caches, its guard.
struct Process {
  Process(reconcile::SimWorld& world, reconcile::SimApi& server, std::string name, reconcile::SimFaults faults = {})
      : env(world, std::move(name), faults) {
    env.serve("", server);
    for (const auto& source : LedgerGuard::sources()) caches.watch("", {.kind = source.kind});
  }
  reconcile::SimEnv env;
  reconcile::Caches caches{env, reconcile::no_log()};
  bool leads = true;
  reconcile::Metrics metrics{"endstate"};
  LedgerGuard guard{env, caches, [this] { return leads; }, metrics, reconcile::no_log()};
};

struct World {
  explicit World(std::uint64_t seed = 1) : world(seed) {}
  reconcile::SimWorld world;
  reconcile::SimApi server{world};

  template <class T>
  void store(T object) {
    Call call{.verb = Verb::create,
              .resource = &reconcile::resource_of<T>,
              .name_space = object.metadata.name_space.str(),
              .body = manifest(object)};
    REQUIRE(server.request(call));
    if constexpr (requires { object.status.node_ref; }) {
      call = {.verb = Verb::merge_patch,
              .resource = call.resource,
              .name_space = call.name_space,
              .name = object.metadata.name.str(),
              .subresource = "status",
              .body = "{\"status\":" + reconcile::encode(object.status) + "}"};
      REQUIRE(server.request(call));
    }
  }
  void cluster(std::string_view kubeconfig = {}) {
    endstate::v1alpha1::Cluster c;
    c.metadata.name = "hz";
    c.metadata.name_space = "prod";
    c.spec.control_plane.type = api::ControlPlaneType::external;
    if (!kubeconfig.empty()) c.spec.control_plane.kubeconfig_secret = api::NameRef{kubeconfig};
    store(c);
  }
  void machines(int n) {
    for (int i = 0; i < n; ++i) {
      api::Machine m;
      m.metadata.name = "m" + std::to_string(i);
      m.metadata.name_space = "prod";
      m.spec.cluster_name = "hz";
      m.status.node_ref = api::UidRef{};
      reconcile::set_condition(m.status.conditions, {.type = "Ready", .status = reconcile::ConditionStatus::true_, .reason = "Ready"},
                               world.wall());
      store(m);
    }
  }
  void budget(std::vector<api::BudgetWindow> windows, api::Breaker breaker = {.failures = api::FailureLimit{100, 600s}},
              std::int64_t at_once = 0) {
    api::ChangeBudget b;
    b.metadata.name = "b";
    b.spec.breaker = std::move(breaker);
    auto& l = b.spec.limits.emplace_back();
    l.name = "updates";
    l.operations = {api::BudgetOperation::machine_update};
    l.windows = std::move(windows);
    if (at_once > 0) l.max_concurrent = api::IntOrPercent{at_once, false};
    store(b);
  }
  PermitRequest request(int machine, std::int64_t attempt = 0) {
    const auto found =
        reconcile::decode<api::Machine>(*server.get(reconcile::resource_of<api::Machine>, "prod", "m" + std::to_string(machine)), pool);
    return {.cluster = {"prod", "hz"},
            .operation = api::operation::machine_update,
            .subject = found->metadata.key(),
            .subject_uid = found->metadata.uid,
            .revision = "r2",
            .attempt = attempt};
  }
  api::GuardLedger ledger() {
    const auto text = server.get(reconcile::resource_of<api::GuardLedger>, "prod", "hz");
    REQUIRE(text);
    return *reconcile::decode<api::GuardLedger>(*text, pool);
  }
  // The machine loop has written its lock: the machine goes by that grant.
  void begin(const PermitRequest& request) {
    lock(request);
    world.run_for(1s);  // until caches have it
  }
  void end(const PermitRequest& request, const std::string& result = "Succeeded") {
    REQUIRE(server.request({.verb = Verb::merge_patch,
                            .resource = &reconcile::resource_of<api::Machine>,
                            .name_space = "prod",
                            .name = request.subject.name.str(),
                            .subresource = "status",
                            .body = R"({"status":{"operation":null,"lastOperation":{"id":")" + request.id() +
                                    R"(","type":"Update","result":")" + result + R"("}}})"}));
    world.run_for(200ms);
  }
  void touch_cluster() {
    REQUIRE(server.request({.verb = Verb::merge_patch,
                            .resource = &reconcile::resource_of<api::Cluster>,
                            .name_space = "prod",
                            .name = "hz",
                            .body = R"({"metadata":{"annotations":{"a":"b"}}})"}));
  }
  void lock(const PermitRequest& request) {
    REQUIRE(server.request({.verb = Verb::merge_patch,
                            .resource = &reconcile::resource_of<api::Machine>,
                            .name_space = "prod",
                            .name = request.subject.name.str(),
                            .subresource = "status",
                            .body = R"({"status":{"operation":{"id":")" + request.id() +
                                    R"(","type":"Update","revision":"r2","startTime":")" + reconcile::format_rfc3339(world.wall()) +
                                    R"(","deadline":")" + reconcile::format_rfc3339(world.wall() + 3h) + "\"}}}"}));
  }
  // "granted", a refusal's reason, or an error.
  std::string ask(Process& p, std::vector<PermitRequest> requests) {
    std::string got;
    p.guard.ask(std::move(requests), [&](Result<std::vector<Verdict>> v) { got = text(v); });
    CHECK(got.empty());  // never from inside the call
    REQUIRE(world.run_until([&] { return !got.empty(); }, 5min));
    return got;
  }
  static std::string text(const Result<std::vector<Verdict>>& v) {
    if (!v) return "error: " + v.error().message;
    if (const auto* refused = std::get_if<Refused>(&v->at(0))) return refused->reason.str();
    return "granted";
  }
  static int untrusted(const Process& p) {
    const auto text = p.metrics.text();
    const std::string name = "endstate_guard_ledger_untrusted_total{cluster=\"prod/hz\"} ";
    const auto at = text.find(name);
    return at == std::string::npos ? 0 : std::stoi(text.substr(at + name.size()));
  }
  int writes() { return server.writes["update guardledgers/status"]; }
  reconcile::Pool pool;
};

}  // namespace

TEST_CASE("a grant is stored before it is answered, in a ledger that belongs to the Cluster", "[ledger]") {
  World w;
  w.cluster();
  w.machines(2);
  Process p(w.world, w.server, "operator");
  CHECK(w.ask(p, {w.request(0)}) == "CachesNotSynced");
  w.world.run_for(5s);
  CHECK(w.ask(p, {w.request(0)}) == "granted");
  const auto ledger = w.ledger();
  REQUIRE(ledger.status.grants.size() == 1);
  CHECK(ledger.status.grants[0].machine == "m0");
  REQUIRE(ledger.metadata.controller());
  CHECK(ledger.metadata.controller()->kind == "Cluster");
  // Asked again, it is the same, and not written again.
  const int before = w.writes();
  CHECK(w.ask(p, {w.request(0)}) == "granted");
  CHECK(w.writes() == before);
}

TEST_CASE("out of sight nothing is granted, nor what was granted before", "[ledger]") {
  World w;
  w.machines(3);
  reconcile::SimApi business(w.world);
  Process p(w.world, w.server, "operator");
  std::string cut;
  SECTION("the business cluster") {
    w.cluster("kubeconfig");
    p.env.serve("prod/hz", business);
    w.world.run_for(5s);
    CHECK(w.ask(p, {w.request(0)}) == "WaitingForConnection");  // not connected yet
    p.caches.watch("prod/hz", {.kind = &reconcile::kind_of<api::HostAssignment>});
    cut = "prod/hz";
  }
  SECTION("the meta cluster") { w.cluster(); }
  w.world.run_for(5s);
  CHECK(w.ask(p, {w.request(0)}) == "granted");
  for (int probes = 0; probes < 2; ++probes) p.caches.unreachable(cut, p.env.now().mono);
  w.world.run_for(1s);
  CHECK(w.ask(p, {w.request(0)}) == "WaitingForConnection");
  CHECK(w.ask(p, {w.request(1)}) == "WaitingForConnection");
  auto forced = w.request(2);
  forced.forced = true;
  CHECK(w.ask(p, {forced}) == "granted");
  p.caches.unreachable(cut, std::nullopt);
  w.world.run_for(100s);  // until the caches have what happened meanwhile
  CHECK(w.ask(p, {w.request(1)}) == "granted");
}

TEST_CASE("requests that come together cost one write", "[ledger]") {
  World w;
  w.cluster();
  w.machines(150);
  Process p(w.world, w.server, "operator");
  w.world.run_for(5s);
  int answered = 0;
  for (int i = 0; i < 150; ++i)
    p.guard.ask({w.request(i)}, [&](const Result<std::vector<Verdict>>& v) { answered += World::text(v) == "granted" ? 1 : 0; });
  REQUIRE(w.world.run_until([&] { return answered == 150; }, 1min));
  CHECK(w.writes() <= 3);  // 1 per 50 at the most
}

TEST_CASE("a process that doesn't lead grants nothing", "[ledger]") {
  World w;
  w.cluster();
  w.machines(1);
  Process p(w.world, w.server, "operator");
  w.world.run_for(5s);
  p.leads = false;
  CHECK(w.ask(p, {w.request(0)}) == "error: not the leader: nothing was granted");
  CHECK(w.server.count(reconcile::resource_of<api::GuardLedger>) == 0);
}

TEST_CASE("a ledger that is missing counts as full, unless the Cluster is new", "[ledger]") {
  World w;
  w.cluster();
  w.machines(5);
  w.budget({{3600s, 2}});
  Process p(w.world, w.server, "operator");
  w.world.run_for(5s);
  CHECK(w.ask(p, {w.request(0)}) == "granted");  // new
  const auto remove = [&] {
    REQUIRE(w.server.request(
        {.verb = Verb::remove, .resource = &reconcile::resource_of<api::GuardLedger>, .name_space = "prod", .name = "hz"}));
  };
  SECTION("deleted under a running operator") {
    w.world.run_for(11min);
    remove();
    CHECK(w.ask(p, {w.request(1)}) == "LedgerMissing");
    CHECK(w.ledger().status.generation > 0);
    CHECK(w.untrusted(p) == 1);
  }
  SECTION("deleted while none ran, the Cluster is old") {
    w.world.run_for(20min);
    remove();
    Process next(w.world, w.server, "next");
    w.world.run_for(5s);
    CHECK(w.ask(next, {w.request(1)}) == "LedgerMissing");
    CHECK(w.untrusted(next) == 1);
    CHECK(w.ask(next, {w.request(1)}) == "LedgerMissing");  // until its windows have passed
    CHECK(w.untrusted(next) == 1);                          // but found once
    w.world.run_for(3700s);
    CHECK(w.ask(next, {w.request(1)}) == "granted");
  }
  SECTION("deleted while the Cluster is new") {
    w.world.run_for(1min);
    remove();
    CHECK(w.ask(p, {w.request(1)}) == "granted");
    CHECK(w.untrusted(p) == 0);
  }
  SECTION("deleted between a decision and its write") {
    w.world.run_for(11min);
    std::string got;
    w.server.admit = [&](const Call& call, const std::string&) -> std::optional<reconcile::Error> {
      if (call.resource->plural != "guardledgers" || call.verb != Verb::update) return std::nullopt;
      w.server.admit = nullptr;
      return reconcile::Error{reconcile::Code::not_found, "gone"};
    };
    p.guard.ask({w.request(1)}, [&](Result<std::vector<Verdict>> v) { got = World::text(v); });
    remove();
    REQUIRE(w.world.run_until([&] { return !got.empty(); }, 1min));
    CHECK(got == "LedgerMissing");
  }
}

TEST_CASE("a namespace that is being deleted needs no account: locks and memory bound what goes", "[ledger]") {
  World w;
  w.cluster();
  w.machines(5);
  w.budget({{3600s, 3}}, {.failures = api::FailureLimit{100, 600s}}, 1);
  Process p(w.world, w.server, "operator");
  w.world.run_for(5s);
  CHECK(w.ask(p, {w.request(4)}) == "granted");
  w.begin(w.request(4));
  w.end(w.request(4));
  w.world.run_for(20min);  // no longer new: an account that is missing would count as full
  w.server.admit = [&](const Call& call, const std::string&) -> std::optional<reconcile::Error> {
    if (call.resource->plural != "guardledgers" || call.verb != Verb::create) return std::nullopt;
    return reconcile::Error{reconcile::Code::forbidden,
                            "guardledgers.endstate.dev \"hz\" is forbidden: unable to create new content in namespace prod because it is "
                            "being terminated"};
  };
  REQUIRE(
      w.server.request({.verb = Verb::remove, .resource = &reconcile::resource_of<api::GuardLedger>, .name_space = "prod", .name = "hz"}));
  w.world.run_for(1s);
  CHECK(w.ask(p, {w.request(0)}) == "granted");
  CHECK(w.ask(p, {w.request(1)}) == "MaxConcurrent");
  w.begin(w.request(0));
  CHECK(w.ask(p, {w.request(1)}) == "MaxConcurrent");
  SECTION("the same process: windows count too") {
    w.end(w.request(0));
    for (const int i : {1, 2}) {
      CHECK(w.ask(p, {w.request(i)}) == "granted");
      w.begin(w.request(i));
      w.end(w.request(i));
    }
    CHECK(w.ask(p, {w.request(3)}) == "WindowFull");
    w.world.run_for(3700s);
    CHECK(w.ask(p, {w.request(3)}) == "granted");
    CHECK(w.untrusted(p) == 0);
  }
  SECTION("who comes after it knows what is under way") {
    Process next(w.world, w.server, "next");
    w.world.run_for(5s);
    CHECK(w.ask(next, {w.request(1)}) == "MaxConcurrent");
    w.end(w.request(0));
    CHECK(w.ask(next, {w.request(1)}) == "granted");
  }
  CHECK_FALSE(w.server.get(reconcile::resource_of<api::GuardLedger>, "prod", "hz"));
}

TEST_CASE("a ledger that somebody wrote into isn't trusted, by any process", "[ledger]") {
  World w;
  w.cluster();
  w.machines(5);
  w.budget({{3600s, 2}});
  Process p(w.world, w.server, "operator");
  w.world.run_for(5s);
  CHECK(w.ask(p, {w.request(0)}) == "granted");
  w.begin(w.request(0));
  w.world.run_for(20min);
  const auto edit = [&](std::string status) {
    REQUIRE(w.server.request({.verb = Verb::merge_patch,
                              .resource = &reconcile::resource_of<api::GuardLedger>,
                              .name_space = "prod",
                              .name = "hz",
                              .subresource = "status",
                              .body = "{\"status\":" + status + "}"}));
  };
  SECTION("its usage emptied, under a running operator") {
    edit(R"({"windows":[]})");
    CHECK(w.ask(p, {w.request(1)}) == "LedgerEdited");
    CHECK(w.untrusted(p) == 1);
  }
  SECTION("its usage emptied, while none ran") {
    edit(R"({"windows":[]})");
    Process next(w.world, w.server, "next");
    w.world.run_for(5s);
    CHECK(w.ask(next, {w.request(1)}) == "LedgerEdited");
    CHECK(w.ask(p, {w.request(1)}) == "LedgerEdited");  // both know by the ledger
  }
  SECTION("all of it taken away") {
    edit(R"({"generation":null,"time":null,"digest":null,"windows":null,"grants":null})");
    Process next(w.world, w.server, "next");
    w.world.run_for(5s);
    CHECK(w.ask(next, {w.request(1)}) == "LedgerMissing");
  }
}

TEST_CASE("an older copy isn't trusted: not by who saw the newer one, nor by who sees what is under way", "[ledger]") {
  World w;
  w.cluster();
  w.machines(5);
  w.budget({{3600s, 3}});
  Process p(w.world, w.server, "operator");
  w.world.run_for(5s);
  CHECK(w.ask(p, {w.request(0)}) == "granted");
  const auto backup = w.ledger().status;
  w.world.run_for(5min);
  CHECK(w.ask(p, {w.request(1)}) == "granted");
  const auto restore = [&] {
    auto now = w.ledger();
    now.status = backup;
    REQUIRE(w.server.request({.verb = Verb::update,
                              .resource = &reconcile::resource_of<api::GuardLedger>,
                              .name_space = "prod",
                              .name = "hz",
                              .subresource = "status",
                              .body = manifest(now)}));
  };
  SECTION("under a running operator") {
    restore();
    CHECK(w.ask(p, {w.request(2)}) == "LedgerOld");
  }
  SECTION("through a restart") {
    p.env.kill();
    const auto request = w.request(1);
    w.begin(request);
    restore();
    Process next(w.world, w.server, "next");
    w.world.run_for(5s);
    CHECK(w.ask(next, {w.request(2)}) == "LedgerOld");
    CHECK(w.ask(next, {request}) == "granted");  // what is under way goes on
  }
}

TEST_CASE("a clock that jumps, forward and back, lets no more through than it pretends to have passed", "[ledger]") {
  World w;
  w.cluster();
  w.machines(6);
  w.budget({{3600s, 1}});
  Process p(w.world, w.server, "operator");
  w.world.run_for(5s);
  CHECK(w.ask(p, {w.request(0)}) == "granted");
  p.env.jump_wall(-2h);
  CHECK(w.ask(p, {w.request(1)}) == "WindowFull");
  p.env.jump_wall(5h);
  CHECK(w.ask(p, {w.request(1)}) == "granted");
  p.env.jump_wall(-3h);
  CHECK(w.ask(p, {w.request(2)}) == "WindowFull");
  CHECK(w.untrusted(p) == 0);
  w.world.run_for(3700s);  // what the jump left behind doesn't count for ever
  CHECK(w.ask(p, {w.request(2)}) == "granted");
}

TEST_CASE("what the guard does is measured", "[ledger]") {
  World w;
  w.cluster();
  w.machines(3);
  w.budget({{3600s, 2}});
  Process p(w.world, w.server, "operator");
  w.world.run_for(5s);
  CHECK(w.ask(p, {w.request(0), w.request(1), w.request(2)}) == "granted");
  CHECK(w.ask(p, {w.request(0)}) == "granted");  // found again: not counted
  w.begin(w.request(0));
  w.begin(w.request(1));
  w.world.run_for(1min);
  const auto text = p.metrics.text();
  for (const auto* line :
       {R"(endstate_guard_grants_total{operation="MachineUpdate"} 2)", R"(endstate_guard_refusals_total{budget="b",reason="WindowFull"} 1)",
        R"(endstate_guard_window_used_ratio{budget="b",cluster="prod/hz",limit="updates",window="3600s"} 1)",
        R"(endstate_guard_breaker_open{budget="b",cluster="prod/hz"} 0)"}) {
    INFO(line << "\n" << text);
    CHECK(text.find(line) != std::string::npos);
  }
  p.leads = false;  // who leads tells
  w.ask(p, {w.request(0)});
  CHECK(p.metrics.text().find("guard_breaker_open{") == std::string::npos);
}

TEST_CASE("a breaker turns though nobody asks", "[ledger]") {
  World w;
  w.cluster();
  w.machines(3);
  w.budget({{3600s, 5}}, api::Breaker{.failures = api::FailureLimit{0, 600s}, .reset = api::BreakerReset::automatic});
  Process p(w.world, w.server, "operator");
  w.world.run_for(5s);
  const auto request = w.request(0);
  CHECK(w.ask(p, {request}) == "granted");
  REQUIRE(w.server.request({.verb = Verb::merge_patch,
                            .resource = &reconcile::resource_of<api::Machine>,
                            .name_space = "prod",
                            .name = "m0",
                            .subresource = "status",
                            .body = R"({"status":{"lastOperation":{"id":")" + request.id() + R"(","type":"Update","result":"Failed"}}})"}));
  w.world.run_for(1min);
  REQUIRE(w.ledger().status.breakers.size() == 1);
  CHECK(w.ledger().status.breakers[0].state == api::BreakerState::open);
  w.world.run_for(11min);
  CHECK(w.ledger().status.breakers[0].state == api::BreakerState::half_open);
}

TEST_CASE("an operator that was killed after the write finds its grant again", "[ledger]") {
  World w;
  w.cluster();
  w.machines(2);
  w.budget({{60s, 1}});
  auto first = std::make_unique<Process>(w.world, w.server, "first");
  w.world.run_for(5s);
  bool answered = false;
  first->guard.ask({w.request(0)}, [&](const Result<std::vector<Verdict>>&) { answered = true; });
  REQUIRE(w.world.run_until([&] { return w.writes() == 1; }, 1min));  // stored, the reply is on its way
  first->env.kill();
  w.world.run_for(1s);
  CHECK_FALSE(answered);
  Process second(w.world, w.server, "second");
  SECTION("what begins when it was counted: nothing is written again") {
    w.world.run_for(2s);
    auto request = w.request(0);
    request.begins = w.ledger().status.grants.at(0).grant_time;
    CHECK(w.ask(second, {request}) == "granted");
    CHECK(w.writes() == 1);
  }
  SECTION("what begins later counts from then, once") {
    w.world.run_for(35s);
    CHECK(w.ask(second, {w.request(0)}) == "granted");
    CHECK(w.writes() == 2);
    w.world.run_for(30s);  // the first time that it was granted has left the window: what begins by it has not
  }
  CHECK(w.ask(second, {w.request(1)}) == "WindowFull");
}

TEST_CASE("what is under way is answered at once, though decisions on others wait", "[ledger]") {
  World w;
  w.cluster();
  w.machines(3);
  w.budget({{3600s, 3}});
  Process p(w.world, w.server, "operator");
  w.world.run_for(5s);
  const auto request = w.request(0);
  CHECK(w.ask(p, {request}) == "granted");
  w.begin(request);
  const auto began = w.world.now();
  std::optional<reconcile::MonoTime> known, fresh;
  p.guard.ask({w.request(1)}, [&](const Result<std::vector<Verdict>>&) { fresh = w.world.now(); });
  p.guard.ask({request}, [&](const Result<std::vector<Verdict>>& v) {
    CHECK(World::text(v) == "granted");
    known = w.world.now();
  });
  CHECK_FALSE(known);  // never from inside the call
  REQUIRE(w.world.run_until([&] { return known && fresh; }, 10s));
  CHECK(*known - began < 1ms);
  CHECK(*fresh > *known);
  p.leads = false;
  CHECK(w.ask(p, {request}) != "granted");
}

TEST_CASE("what is under way goes on when its grant has expired", "[ledger]") {
  World w;
  w.cluster();
  w.machines(3);
  w.budget({{86'400s, 1}});
  Process p(w.world, w.server, "operator");
  w.world.run_for(5s);
  const auto request = w.request(0);
  CHECK(w.ask(p, {request}) == "granted");
  w.begin(request);
  w.world.run_for(3h);
  CHECK(w.ask(p, {w.request(1)}) == "WindowFull");
  CHECK(w.ask(p, {request}) == "granted");
  CHECK(w.ledger().status.grants.empty());  // its lock says it
}

TEST_CASE("a successor decides only when its caches have reached what its predecessor had seen", "[ledger]") {
  World w;
  w.cluster();
  w.machines(3);
  w.budget({{3600s, 3}});
  Process p(w.world, w.server, "operator");
  w.world.run_for(5s);
  CHECK(w.ask(p, {w.request(0)}) == "granted");
  w.begin(w.request(0));
  p.env.kill();
  auto ledger = w.ledger();
  CHECK(reconcile::version_number(ledger.status.seen.machines.view()) > 0);
  const auto seen = [&](std::string_view version) {
    ledger.status.seen = {version, version, version};
    seal(ledger.status, w.world.wall());
    REQUIRE(w.server.request({.verb = Verb::merge_patch,
                              .resource = &reconcile::resource_of<api::GuardLedger>,
                              .name_space = "prod",
                              .name = "hz",
                              .subresource = "status",
                              .body = "{\"status\":" + reconcile::encode(ledger.status) + "}"}));
  };
  SECTION("it has") {
    Process next(w.world, w.server, "next");
    w.world.run_for(5s);
    CHECK(w.ask(next, {w.request(1)}) == "granted");
    CHECK(w.untrusted(next) == 0);
  }
  SECTION("it will, in a moment") {
    const auto version = std::to_string(reconcile::version_number(w.ledger().metadata.resource_version.view()) + 3);
    seen(version);
    Process next(w.world, w.server, "next");
    w.world.run_for(5s);
    CHECK(w.ask(next, {w.request(1)}) == "CachesNotSynced");
    for (int i = 0; i < 6; ++i) w.begin(w.request(0));
    api::Host host;
    host.metadata.name = "h";
    host.metadata.name_space = "prod";
    w.store(host);
    w.touch_cluster();
    w.world.run_for(1s);
    CHECK(w.ask(next, {w.request(1)}) == "granted");
    CHECK(w.untrusted(next) == 0);
  }
  SECTION("never: the meta cluster was restored") {
    seen("99999999");
    Process next(w.world, w.server, "next");
    w.world.run_for(5s);
    CHECK(w.ask(next, {w.request(1)}) == "CachesNotSynced");
    w.world.run_for(95s);
    CHECK(w.ask(next, {w.request(1)}) == "LedgerOld");
    CHECK(w.untrusted(next) == 1);
  }
}

TEST_CASE("a Cluster that is made again under its name has an account of its own", "[ledger]") {
  World w;
  w.cluster();
  w.machines(3);
  w.budget({{3600s, 1}});
  Process p(w.world, w.server, "operator");
  w.world.run_for(5s);
  CHECK(w.ask(p, {w.request(0)}) == "granted");
  w.begin(w.request(0));
  w.world.run_for(20min);
  const auto remove = [&](const reconcile::Resource& resource) {
    REQUIRE(w.server.request({.verb = Verb::remove, .resource = &resource, .name_space = "prod", .name = "hz"}));
  };
  const auto old = w.ledger();
  remove(reconcile::resource_of<api::GuardLedger>);
  remove(reconcile::resource_of<api::Cluster>);
  w.cluster();
  auto left = old;  // the garbage collector hasn't come yet
  left.metadata.uid = {};
  left.metadata.resource_version = {};
  left.metadata.owner_references.clear();
  REQUIRE(w.server.request(
      {.verb = Verb::create, .resource = &reconcile::resource_of<api::GuardLedger>, .name_space = "prod", .body = manifest(left)}));
  w.world.run_for(5s);
  CHECK(w.ask(p, {w.request(1)}) == "LedgerMissing");
  remove(reconcile::resource_of<api::GuardLedger>);
  w.world.run_for(5s);
  CHECK(w.ask(p, {w.request(1)}) == "granted");  // what was counted for the other one doesn't count here
  CHECK(w.untrusted(p) == 0);
  CHECK(w.ledger().spec.cluster_uid != old.spec.cluster_uid);
}

TEST_CASE("a budget of words that this version doesn't know holds forward changes, not the way back", "[ledger]") {
  World w;
  w.cluster();
  w.machines(3);
  Process p(w.world, w.server, "operator");
  w.world.run_for(5s);
  const auto budget = [&](const std::string& spec) {
    REQUIRE(w.server.request(
        {.verb = Verb::create,
         .resource = &reconcile::resource_of<api::ChangeBudget>,
         .body = R"({"apiVersion":"endstate.dev/v1alpha1","kind":"ChangeBudget","metadata":{"name":"new"},"spec":)" + spec + "}"}));
    w.world.run_for(1s);
  };
  bool selects = true;
  SECTION("an operation") { budget(R"({"limits":[{"name":"l","operations":["MachineDefragment"],"maxConcurrent":1}]})"); }
  SECTION("it can't be decoded") { budget(R"({"limits":"none"})"); }
  SECTION("nor can its selector") { budget(R"({"clusterSelector":7,"limits":"none"})"); }
  SECTION("a selector's word") { budget(R"({"clusterSelector":{"matchExpressions":[{"key":"a","operator":"Like","values":["b"]}]}})"); }
  SECTION("it is for others") {
    budget(R"({"clusterSelector":{"matchLabels":{"tier":"gold"}},"limits":"none"})");
    selects = false;
  }
  CHECK(w.ask(p, {w.request(0)}) == (selects ? "BudgetUnreadable" : "granted"));
  auto back = w.request(1);
  back.operation = api::operation::machine_rollback;
  CHECK(w.ask(p, {back}) == "granted");
  // A process that starts now knows it as well.
  Process next(w.world, w.server, "next");
  w.world.run_for(5s);
  CHECK(w.ask(next, {w.request(2)}) == (selects ? "BudgetUnreadable" : "granted"));
}

TEST_CASE("who was refused stands in line, and is told as soon as there is room", "[ledger]") {
  World w;
  w.cluster();
  w.machines(40);
  w.budget({{3600s, 1'000}}, {}, 10);
  Process p(w.world, w.server, "operator");
  std::vector<std::string> told;
  p.guard.on_room = [&](const PermitRequest& r) { told.push_back(r.subject.name.str()); };
  w.world.run_for(5s);
  std::vector<PermitRequest> all;
  for (int i = 0; i < 40; ++i) all.push_back(w.request(i));
  int granted = 0, refused = 0;
  p.guard.ask(all, [&](const Result<std::vector<Verdict>>& v) {
    for (const auto& verdict : *v) {
      const auto* no = std::get_if<Refused>(&verdict);
      granted += no ? 0 : 1;
      refused += no && no->reason == "MaxConcurrent" && no->retry_after >= 30s ? 1 : 0;
    }
  });
  REQUIRE(w.world.run_until([&] { return granted + refused == 40; }, 10s));
  CHECK(granted == 10);
  for (int i = 0; i < 10; ++i) w.begin(all[static_cast<std::size_t>(i)]);
  w.world.run_for(5s);
  CHECK(told.empty());
  for (int i = 0; i < 3; ++i) w.end(all[static_cast<std::size_t>(i)]);
  w.world.run_for(2s);
  CHECK(told == std::vector<std::string>{"m10", "m11", "m12"});
}

TEST_CASE("a new leader looks at the accounts, whether somebody asks or not", "[ledger]") {
  World w;
  w.cluster();
  w.machines(3);
  w.budget({{3600s, 5}}, api::Breaker{.failures = api::FailureLimit{0, 600s}});
  Process p(w.world, w.server, "operator");
  w.world.run_for(5s);
  CHECK(w.ask(p, {w.request(0)}) == "granted");
  w.begin(w.request(0));
  w.world.run_for(40s);
  CHECK_FALSE(w.ledger().status.open.empty());
  p.env.kill();
  w.end(w.request(0), "Failed");
  Process next(w.world, w.server, "next");
  w.world.run_for(5s);
  next.guard.lead(true);
  w.world.run_for(5s);
  REQUIRE(w.ledger().status.breakers.size() == 1);
  CHECK(w.ledger().status.breakers[0].state == api::BreakerState::open);
  CHECK(next.metrics.text().find("guard_breaker_open{budget=\"b\",cluster=\"prod/hz\"} 1") != std::string::npos);
}

TEST_CASE("what is under way, counted change by change, is what counting from nothing finds", "[ledger]") {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    World w(seed);
    w.cluster();
    w.machines(20);
    Process p(w.world, w.server, "operator");
    w.world.run_for(5s);
    for (int i = 0; i < 200; ++i) {
      const int m = static_cast<int>(w.world.random() % 20);
      if (w.world.random() % 2)
        w.begin(w.request(m, i));
      else
        w.end(w.request(m, i));
    }
    w.world.run_for(3min);
    CHECK(p.metrics.text().find("guard_recounts_total") != std::string::npos);
    CHECK(p.metrics.text().find("guard_recount_mismatches_total{") == std::string::npos);
  }
}

TEST_CASE("a business cluster's word counts in its own Cluster's account, whatever it names", "[ledger]") {
  World w;
  w.cluster();
  w.machines(1);
  reconcile::SimApi theirs(w.world);
  Process p(w.world, w.server, "operator");
  p.env.serve("theirs/far", theirs);
  for (const auto* connection : {"theirs/far", ""}) p.caches.watch(connection, {.kind = &reconcile::kind_of<api::HostAssignment>});
  Fleets fleets(
      p.env, p.caches, [] { return true; }, p.metrics, reconcile::no_log());
  fleets.follow(p.caches);
  w.world.run_for(5s);
  api::HostAssignment forged;
  forged.metadata.name = "h-uid";
  forged.metadata.annotations.set(api::annotation::machine, "prod/m0");
  forged.metadata.labels.set(api::label::cluster_name, "hz");
  forged.spec.machine_uid = w.request(0).subject_uid;
  forged.spec.state = api::AssignmentState::active;
  forged.spec.grant_id = "0123456789abcdef";
  forged.spec.revision = "r2";
  const auto put = [&](reconcile::SimApi& server) {
    REQUIRE(server.request({.verb = Verb::create, .resource = &reconcile::resource_of<api::HostAssignment>, .body = manifest(forged)}));
    w.world.run_for(5s);
  };
  put(theirs);
  CHECK(fleets.of({"prod", "hz"}).locks() == 0);
  put(w.server);  // the same word in the Cluster's own connection is of a lock that was lost
  CHECK(fleets.of({"prod", "hz"}).locks() == 1);
}

TEST_CASE("creations one after the other, 40 a second, cost about a write a second", "[ledger]") {
  World w;
  w.cluster();
  w.machines(600);
  Process p(w.world, w.server, "operator");
  w.world.run_for(5s);
  const int before = w.writes();
  int granted = 0;
  for (int i = 0; i < 600; ++i) {
    const auto request = w.request(i);
    p.guard.ask({request}, [&, request](const Result<std::vector<Verdict>>& v) {
      granted += World::text(v) == "granted" ? 1 : 0;
      w.lock(request);
    });
    w.world.run_for(25ms);
  }
  REQUIRE(w.world.run_until([&] { return granted == 600; }, 10s));
  CHECK(w.writes() - before <= 20);  // in 15 s
}

TEST_CASE("two rivals over a bad network never spend one window twice", "[ledger]") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    World w(seed);
    w.cluster();
    w.machines(30);
    w.budget({{3600s, 10}});
    const reconcile::SimFaults faults{.refused = 50, .reply_lost = 80, .request_lost = 50, .throttled = 30, .watch_cut = 20};
    Process a(w.world, w.server, "a", faults), b(w.world, w.server, "b", faults);
    w.world.run_for(30s);
    int granted = 0, open = 0;
    for (int i = 0; i < 30; ++i) {
      Process& p = i % 2 ? a : b;
      ++open;
      p.guard.ask({w.request(i)}, [&](const Result<std::vector<Verdict>>& v) {
        --open;
        granted += World::text(v) == "granted" ? 1 : 0;
      });
      w.world.run_for(std::chrono::milliseconds(w.world.random() % 100));
    }
    INFO("seed " << seed);
    REQUIRE(w.world.run_until([&] { return open == 0; }, 10min));
    CHECK(granted <= 10);
    if (!w.server.get(reconcile::resource_of<api::GuardLedger>, "prod", "hz")) continue;
    // What was granted is in the ledger; what was stored but whose answer was lost is there too, and counts.
    CHECK(static_cast<int>(w.ledger().status.grants.size()) >= granted);
    CHECK(w.ledger().status.grants.size() <= 10);
  }
}
