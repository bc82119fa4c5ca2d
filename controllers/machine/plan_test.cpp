// The pure plan of a machine, on snapshots made by hand: what it writes, to the byte where that matters, and what a pass costs.
// Whole lives are in loop_test.cpp and loop_life_test.cpp.
#include "controllers/machine/plan.hpp"

#include <catch2/catch.hpp>
#include <chrono>

#include "controllers/guard/testing.hpp"
#include "controllers/machine/pass.hpp"

using namespace endstate::machine;
using reconcile::Action, reconcile::Verb;
using namespace std::chrono_literals;

namespace {

const WallTime start = WallTime(1'700'000'000s);

template <class T>
Ref<T> changed(const Ref<T>& object, const std::function<void(T&)>& edit) {
  auto copy = std::make_shared<T>(*object);
  edit(*copy);
  return copy;
}

Ref<api::MachinePackageVersion> version(const char* name, api::Disruption disruption) {
  api::MachinePackageVersion v;
  v.metadata = {.name = name, .name_space = {}, .uid = std::string("uid-") + name, .resource_version = "1"};
  v.spec.package_name = "kubelet";
  v.spec.disruption = disruption;
  return std::make_shared<api::MachinePackageVersion>(v);
}

// A machine in service, at rest.
Input in_service() {
  Input in;
  in.now = {reconcile::MonoTime(1000s), start + 1h};
  in.agent_silence = 10s;
  api::Cluster cluster;
  cluster.metadata.name = "c";
  cluster.metadata.name_space = "default";
  in.cluster = std::make_shared<api::Cluster>(cluster);
  in.packages = {{"kubelet", "k-1", version("k-1", api::Disruption::none)}};
  api::Host host;
  host.metadata = {.name = "h1", .name_space = "default", .uid = "host-uid", .resource_version = "7"};
  host.metadata.finalizers = {"endstate.dev/claimed"};
  host.spec.consumer_ref = {.kind = "Machine", .name_space = "default", .name = "m1", .uid = "m-uid"};
  in.host = std::make_shared<api::Host>(host);
  api::HostAssignment a;
  a.metadata = {
      .name = "host-uid", .name_space = {}, .uid = "a-uid", .resource_version = "8", .generation = 1, .creation_timestamp = start};
  a.spec = {.state = api::AssignmentState::active, .machine_uid = "m-uid", .node_name = "h1", .revision = "rev1", .grant_id = "g"};
  a.spec.packages.push_back({.name = "kubelet", .version = {"k-1", "uid-k-1", "d"}, .spec = {}});
  a.status.observed_generation = 1;
  a.status.observed_revision = "rev1";
  a.status.packages.push_back({.name = "kubelet", .actual = {}, .state = api::PackageState::ready});
  in.assignment = std::make_shared<api::HostAssignment>(a);
  Node node;
  node.metadata = {.name = "h1", .name_space = {}, .uid = "n-uid", .resource_version = "9"};
  node.metadata.annotations = {{"endstate.dev/machine", "default/m1"}, {"endstate.dev/machine-uid", "m-uid"}};
  node.metadata.labels = {{"endstate.dev/cluster-name", "c"}};
  node.status.conditions.push_back({.type = "Ready", .status = ConditionStatus::true_});
  in.node = std::make_shared<Node>(node);
  api::Machine m;
  m.metadata = {.name = "m1", .name_space = "default", .uid = "m-uid", .resource_version = "5", .generation = 1};
  m.metadata.labels = {{"endstate.dev/revision", "rev1"}};
  m.metadata.finalizers = {"endstate.dev/machine"};
  m.spec.cluster_name = "c";
  m.spec.packages = {{"kubelet", {"k-1"}}};
  m.status.node_ref = {"h1", "n-uid"};
  m.status.last_operation = {.id = "g", .type = api::OperationType::create, .revision = "rev1"};
  in.machine = std::make_shared<api::Machine>(m);
  // What the plan itself says of it: a pass later it is at rest.
  Pass p(in);
  assess(p);
  judge_gates(p);
  plan_settle(p);
  finish_status(p);
  in.machine = changed<api::Machine>(in.machine, [&](auto& x) { x.status = p.status; });
  return in;
}

Input with_taints(Input in, std::vector<reconcile::Taint> taints) {
  in.node = changed<Node>(in.node, [&](Node& n) { n.spec.taints = taints; });
  return in;
}

const Action* find(const reconcile::Plan& plan, std::string_view plural, std::string_view subresource = {}) {
  for (const Action& a : plan.actions)
    if (a.kind->resource->plural == plural && a.subresource == subresource) return &a;
  return nullptr;
}

}  // namespace

TEST_CASE("at rest nothing is written, and the agent's silence is looked for in time") {
  const auto out = plan(in_service());
  CHECK(out.actions.empty());
  CHECK_FALSE(out.permit);
  REQUIRE(out.status);
  CHECK_FALSE(out.status->changed);
  CHECK(out.again == 171'000ms);  // fresh for 180 s, 10 s of them are over
}

TEST_CASE("opening takes off our taints only, each where it was seen") {
  const auto out = plan(with_taints(in_service(), {{.key = "node.kubernetes.io/unreachable", .value = {}, .effect = "NoExecute"},
                                                   {.key = "endstate.dev/not-ready", .value = {}, .effect = "NoSchedule"},
                                                   {.key = "theirs", .value = "x", .effect = "NoSchedule"},
                                                   {.key = "endstate.dev/isolated", .value = "machine", .effect = "NoSchedule"}}));
  REQUIRE(out.actions.size() == 1);
  CHECK(out.actions[0].verb == Verb::json_patch);
  CHECK(out.actions[0].uid == "n-uid");
  CHECK(out.actions[0].resource_version.empty());  // a heartbeat meanwhile is no conflict
  CHECK(
      out.actions[0].body ==
      R"([{"op":"test","path":"/spec/taints/3/key","value":"endstate.dev/isolated"},{"op":"test","path":"/spec/taints/3/effect","value":"NoSchedule"},{"op":"remove","path":"/spec/taints/3"},)"
      R"({"op":"test","path":"/spec/taints/1/key","value":"endstate.dev/not-ready"},{"op":"test","path":"/spec/taints/1/effect","value":"NoSchedule"},{"op":"remove","path":"/spec/taints/1"}])");
  CHECK_FALSE(out.actions[0].guarded);  // opening disturbs nobody
}

TEST_CASE("a Host of another namespace is never written to, whatever the caches say") {
  auto in = in_service();
  const auto elsewhere = changed<api::Host>(in.host, [](api::Host& h) { h.metadata.name_space = "theirs"; });
  SECTION("claimed for this very machine: it frees and hands over nothing") {
    in.host = elsewhere;
    in.assignment = nullptr;
    CHECK_THROWS_AS(plan(in), std::logic_error);
    in = in_service();
    in.more_hosts = {elsewhere};
    CHECK_THROWS_AS(plan(in), std::logic_error);
  }
  SECTION("claimed there by whoever has this machine's uid") {
    in.host = changed<api::Host>(elsewhere, [](api::Host& h) { h.spec.consumer_ref->name_space = "theirs"; });
    in.assignment = nullptr;
    CHECK_THROWS_AS(plan(in), std::logic_error);
  }
  SECTION("free: it isn't claimed") {
    in.host = nullptr;
    in.assignment = nullptr;
    in.node = nullptr;
    in.machine = changed<api::Machine>(in.machine, [](api::Machine& m) { m.status = {}; });
    in.candidate = changed<api::Host>(elsewhere, [](api::Host& h) { h.spec.consumer_ref.reset(); });
    CHECK_THROWS_AS(plan(in), std::logic_error);
  }
  SECTION("within the namespace, for another machine") {
    in.more_hosts = {changed<api::Host>(in.host, [](api::Host& h) { h.spec.consumer_ref->uid = "another"; })};
    CHECK_THROWS_AS(plan(in), std::logic_error);
  }
}

TEST_CASE("another's isolation is never taken off") {
  const auto out = plan(with_taints(in_service(), {{.key = "endstate.dev/isolated", .value = "repair", .effect = "NoSchedule"}}));
  CHECK(out.actions.empty());
}

TEST_CASE("a first taint is added under the version of the whole node, a further one is not") {
  auto in = in_service();
  in.packages = {{"kubelet", "k-2", version("k-2", api::Disruption::reboot)}};
  in.machine = changed<api::Machine>(in.machine, [](auto& m) { m.metadata.labels.set("endstate.dev/revision", "rev2"); });
  const auto body = [](const Input& x) { return find(plan(x), "nodes")->body; };
  CHECK(
      body(in) ==
      R"([{"op":"test","path":"/metadata/resourceVersion","value":"9"},{"op":"add","path":"/spec/taints","value":[{"key":"endstate.dev/isolated","value":"machine","effect":"NoSchedule"}]}])");
  CHECK(body(with_taints(in, {{.key = "theirs", .value = {}, .effect = "NoSchedule"}})) ==
        R"([{"op":"add","path":"/spec/taints/-","value":{"key":"endstate.dev/isolated","value":"machine","effect":"NoSchedule"}}])");
}

TEST_CASE("a lock is a guarded write by compare-and-swap, before what it permits") {
  auto in = in_service();
  in.packages = {{"kubelet", "k-2", version("k-2", api::Disruption::restart_service)}};
  in.machine = changed<api::Machine>(in.machine, [](auto& m) { m.metadata.labels.set("endstate.dev/revision", "rev2"); });
  const auto out = plan(in);
  REQUIRE(out.permit);
  CHECK(out.permit->operation == "MachineUpdate");
  CHECK(out.permit->revision == "rev2");
  CHECK_FALSE(out.status);  // the lock carries it
  REQUIRE(out.actions.size() == 2);
  const Action& lock = out.actions[0];
  CHECK(lock.verb == Verb::apply);
  CHECK(lock.subresource == "status");
  CHECK(lock.stage == 0);
  CHECK(lock.guarded);
  CHECK(lock.body.find(R"("uid":"m-uid","resourceVersion":"5")") != std::string::npos);
  CHECK(lock.body.find(R"("operation":{"id":")" + out.permit->id() + R"(","type":"Update")") != std::string::npos);
  const Action& assign = out.actions[1];
  CHECK(assign.verb == Verb::update);
  CHECK(assign.stage == 1);
  CHECK(assign.guarded);
  CHECK(assign.body.find(R"("grantID":")" + out.permit->id() + '"') != std::string::npos);
  CHECK(assign.body.find(R"("status")") == std::string::npos);
}

TEST_CASE("the way back is told from the way forward by the set") {
  struct Case {
    const char *rejected, *current, *back_to;
    std::string_view operation;
  };
  for (const Case& c : {Case{"rev1", "rev0", "", "MachineRollback"},  // what it has is rejected
                        Case{"", "rev2", "", "MachineUpdate"},        // a straggler of a rollout that is complete goes forward
                        Case{"", "rev2", "rev2", "MachineRollback"},  // its set takes it back to this
                        Case{"", "rev2", "rev0", "MachineUpdate"},    // and not to this
                        Case{"", "rev1", "", "MachineUpdate"}, Case{"rev9", "rev1", "", "MachineUpdate"}}) {
    auto in = in_service();
    in.packages = {{"kubelet", "k-2", version("k-2", api::Disruption::none)}};
    in.machine = changed<api::Machine>(in.machine, [&](auto& m) {
      m.metadata.labels.set("endstate.dev/revision", "rev2");
      if (*c.back_to) m.metadata.annotations.set("endstate.dev/rollback-to", c.back_to);
    });
    api::MachineSet set;
    set.status.current_revision = c.current;
    if (*c.rejected) set.status.rejected_revisions.push_back({.revision = c.rejected});
    in.set = std::make_shared<api::MachineSet>(set);
    INFO(c.rejected << " " << c.current);
    const auto permit = plan(in).permit;
    CHECK(permit->operation == c.operation);
    // What the guard makes of that word: a full window, an open breaker and a freeze hold the way forward alone.
    endstate::guard::testing::World guard;
    guard.machine().metadata.uid = permit->subject_uid;
    auto& budget = guard.budget();
    budget.spec.limits.push_back({.name = "all",
                                  .operations = {api::BudgetOperation::machine_update, api::BudgetOperation::machine_rollback},
                                  .windows = {{3600s, 0}}});
    const auto verdict = guard.one(*permit);
    CHECK(verdict == (c.operation == "MachineRollback" ? "granted" : "b WindowFull"));
  }
}

TEST_CASE("only what changes decides whether a machine is drained") {
  struct Case {
    api::Disruption kubelet, runtime;
    bool kubelet_changes, drains;
  };
  for (const Case& c :
       {Case{api::Disruption::none, api::Disruption::reboot, true, false}, Case{api::Disruption::drain, api::Disruption::none, true, true},
        Case{api::Disruption::reboot, api::Disruption::none, true, true},
        Case{api::Disruption::restart_service, api::Disruption::drain, true, false}}) {
    auto in = in_service();
    in.assignment = changed<api::HostAssignment>(in.assignment, [](auto& a) {
      a.spec.packages.push_back({.name = "runtime", .version = {"r-1", "uid-r-1", "d"}, .spec = {}});
    });
    in.packages = {{"kubelet", "k-2", version("k-2", c.kubelet)}, {"runtime", "r-1", version("r-1", c.runtime)}};
    in.machine = changed<api::Machine>(in.machine, [](auto& m) { m.metadata.labels.set("endstate.dev/revision", "rev2"); });
    CHECK((find(plan(in), "nodes") != nullptr) == c.drains);
  }
}

TEST_CASE("the same packages under a digest of another endstate are the same") {
  auto in = in_service();
  in.assignment =
      changed<api::HostAssignment>(in.assignment, [](auto& a) { a.spec.packages[0].version.digest = "of-another-version-of-endstate"; });
  CHECK(plan(in).actions.empty());
}

TEST_CASE("progress waits, what matters is written at once") {
  auto in = in_service();
  SECTION("a condition of a machine in service is what closing is judged by: at once") {
    in.node = changed<Node>(in.node, [](Node& n) { n.status.conditions[0].status = ConditionStatus::false_; });
    const auto out = plan(in);
    CHECK(out.status->changed);
    CHECK(out.status->settle == 0ms);
  }
  SECTION("a message is progress") {
    in.assignment = changed<api::HostAssignment>(in.assignment, [](auto& a) { a.status.packages[0].message = "verified"; });
    const auto out = plan(in);
    CHECK(out.status->changed);
    CHECK(out.status->settle == progress_settle);
  }
  SECTION("under a lock the packages' turn is progress, and waits longer; its end is written at once") {
    in.machine = changed<api::Machine>(in.machine, [](auto& m) {
      m.status.operation = api::Operation{.id = "g2", .type = api::OperationType::update, .revision = "rev1", .deadline = start + 2h};
      m.status.phase = api::MachinePhase::updating;
      for (auto& c : m.status.conditions)
        if (c.type == "Ready") c.status = ConditionStatus::false_;
    });
    auto busy = in;
    busy.assignment =
        changed<api::HostAssignment>(in.assignment, [](auto& a) { a.status.packages[0].state = api::PackageState::applying; });
    const auto out = plan(busy);
    CHECK(out.status->changed);
    CHECK(out.status->settle == 20s);
    const auto end = plan(in);
    CHECK(end.status->changed);
    CHECK(end.status->settle == 0ms);
  }
  SECTION("a lost connection is written when it lasts") {
    const auto at = [&](std::chrono::seconds blind) {
      in.sight = {.seen = false, .since = in.now.wall - blind, .why = "refused"};
      in.blind_message = "Cluster c can't be seen: refused";
      const auto out = plan(in);
      CHECK(out.actions.empty());
      return out.status->changed;
    };
    CHECK_FALSE(at(blind_settle - 1s));
    CHECK(at(blind_settle));
    // Not all at once: of 10,000 machines each has a second of its own.
    in.cluster = changed<api::Cluster>(in.cluster, [](api::Cluster& c) { c.status.machines = api::ClusterMachines{.replicas = 10'000}; });
    int written = 0;
    std::map<int, int> by_second;
    for (int i = 0; i < 1000; ++i) {
      in.machine = changed<api::Machine>(in.machine, [&](api::Machine& m) { m.metadata.name = "m-" + std::to_string(i); });
      CHECK_FALSE(at(blind_settle - 1s));
      CHECK(at(blind_settle + 1000s));
      written += at(blind_settle + 500s);
    }
    CHECK(written > 400);
    CHECK(written < 600);
  }
}

TEST_CASE("what a machine that is gone left behind goes only when it was released and wiped") {
  const auto in = in_service();
  Remains r{.cluster = {"default", "c"}, .connection = "", .assignment = in.assignment, .host = in.host, .node = in.node};
  CHECK(plan_remains({r}, start).actions.empty());  // Active: a missing Machine alone never wipes a host
  r.assignment = changed<api::HostAssignment>(r.assignment, [](auto& a) { a.spec.state = api::AssignmentState::released; });
  CHECK(plan_remains({r}, start).actions.empty());  // its agent has not said that it is wiped
  r.assignment = changed<api::HostAssignment>(r.assignment, [](auto& a) { a.status.packages.clear(); });
  const auto out = plan_remains({r}, start);
  REQUIRE(out.actions.size() == 2);
  CHECK(out.actions[0].kind->resource->plural == "nodes");
  CHECK(out.actions[1].kind->resource->plural == "hostassignments");
  CHECK(out.actions[1].uid == "a-uid");
}

// An update to rev2 is under way, its host hasn't done it yet, and its deadline was 10 min ago.
static Input late_update() {
  auto in = in_service();
  in.assignment = changed<api::HostAssignment>(in.assignment, [](api::HostAssignment& a) { a.spec.revision = "rev2"; });
  in.machine = changed<api::Machine>(in.machine, [&](api::Machine& m) {
    m.metadata.labels = {{"endstate.dev/revision", "rev2"}};
    m.status.operation = api::Operation{.id = "g2", .type = api::OperationType::update, .revision = "rev2"};
    m.status.operation->start_time = in.now.wall - 40min;
    m.status.operation->deadline = in.now.wall - 10min;
  });
  return in;
}

TEST_CASE("an update that is late has failed") {
  const auto out = plan(late_update());
  CHECK(out.status->status.find(R"("operation":)") == std::string::npos);
  CHECK(out.status->status.find(R"("reason":"MachineTimedOut")") != std::string::npos);
}

TEST_CASE("clocks don't run while the cluster can't be seen") {
  auto in = late_update();  // 30 min from 40 min ago
  const auto now = std::chrono::floor<std::chrono::seconds>(in.now.wall);
  const auto is_late = [&] { return plan(in).status->status.find("MachineTimedOut") != std::string::npos; };
  REQUIRE(is_late());
  SECTION("the gap isn't counted") {
    in.gaps = {{now - 30min, now - 15min}};
    CHECK_FALSE(is_late());
    CHECK(plan(in).again <= 5min);
    in.gaps = {{now - 30min, now - 21min}};
    CHECK(is_late());
    in.gaps = {{now - 3h, now - 45min}};  // before it began
    CHECK(is_late());
  }
  SECTION("and what was done meanwhile has 90 s to be heard") {
    in.sight.since = now - 89s;
    CHECK_FALSE(is_late());
    CHECK(plan(in).again == 1000ms);
    in.sight.since = now - 90s;
    CHECK(is_late());
  }
  SECTION("a creation") {
    in.machine = changed<api::Machine>(in.machine, [&](api::Machine& m) {
      m.status.node_ref.reset();
      m.status.operation.reset();
      m.status.last_operation.reset();
    });
    in.node = nullptr;
    in.assignment = changed<api::HostAssignment>(in.assignment, [&](auto& a) { a.metadata.creation_timestamp = now - 40min; });
    REQUIRE(is_late());
    in.gaps = {{now - 30min, now - 15min}};
    CHECK_FALSE(is_late());
  }
  SECTION("a gate that was False before isn't held against an open node") {
    in = in_service();
    in.node = changed<Node>(in.node, [](Node& n) { n.status.conditions[0].status = ConditionStatus::false_; });
    in.machine = changed<api::Machine>(in.machine, [&](api::Machine& m) {
      reconcile::set_condition(m.status.conditions,
                               {.type = "NodeReady",
                                .status = ConditionStatus::false_,
                                .reason = "NodeUnhealthy",
                                .message = {},
                                .last_transition_time = now - 10min},
                               now - 10min);
    });
    REQUIRE(plan(in).permit);
    in.gaps = {{now - 10min + 5s, now - 5s}};
    CHECK_FALSE(plan(in).permit);
    in.gaps = {{now - 10min + 5s, now - 25s}};
    CHECK(plan(in).permit);
  }
}

TEST_CASE("an agent's word lasts as long as its Lease says") {
  auto in = in_service();
  const auto alive = [&](std::chrono::seconds silence, std::chrono::seconds lasts) {
    in.agent_silence = silence;
    in.agent_lasts = lasts;
    return plan(in).status->status.find(R"("reason":"AgentSilent")") == std::string::npos;
  };
  CHECK(alive(180s, 180s));
  CHECK_FALSE(alive(181s, 180s));
  CHECK(alive(2700s, 2700s));
  CHECK_FALSE(alive(2701s, 2700s));
}

TEST_CASE("a Host that is enrolled anew: its agent may report by its new number, at once and without a permit") {
  auto in = in_service();
  const auto patch = [&] { return !plan(in).actions.empty(); };
  CHECK_FALSE(patch());
  in.host = changed<api::Host>(in.host, [](api::Host& h) { h.status.identity = 2; });
  const auto out = plan(in);
  REQUIRE(out.actions.size() == 1);
  CHECK(out.actions[0].verb == Verb::merge_patch);
  CHECK(out.actions[0].body == R"({"spec":{"identity":2}})");
  CHECK_FALSE(out.actions[0].guarded);
  in.assignment = changed<api::HostAssignment>(in.assignment, [](api::HostAssignment& a) { a.spec.identity = 2; });
  CHECK_FALSE(patch());
}

TEST_CASE("clocks don't run through a pause") {
  auto in = late_update();
  const auto pause = [&](std::chrono::minutes since) {
    in.machine = changed<api::Machine>(in.machine, [&](api::Machine& m) {
      reconcile::set_condition(m.status.conditions,
                               {.type = "Paused",
                                .status = ConditionStatus::true_,
                                .reason = "Paused",
                                .message = {},
                                .last_transition_time = in.now.wall - since},
                               in.now.wall - since);
    });
  };
  pause(25min);
  const auto out = plan(in);
  CHECK(out.status->changed);
  CHECK(out.status->status.find("MachineTimedOut") == std::string::npos);
  CHECK(out.status->status.find(R"("deadline":")" + reconcile::format_rfc3339(in.now.wall + 15min)) != std::string::npos);
  CHECK(out.status->status.find(R"("type":"Paused")") == std::string::npos);  // so that it is given once
  CHECK(out.again <= 15min);
}

TEST_CASE("a pause and a blind gap are counted once, also where they overlap") {
  auto in = late_update();
  const auto now = std::chrono::floor<std::chrono::seconds>(in.now.wall);
  in.machine = changed<api::Machine>(in.machine, [&](api::Machine& m) {
    m.status.operation->drain_start_time = now - 35min;
    reconcile::set_condition(
        m.status.conditions,
        {.type = "Paused", .status = ConditionStatus::true_, .reason = "Paused", .message = {}, .last_transition_time = now - 25min},
        now - 25min);
  });
  in.gaps = {{now - 30min, now - 15min}};  // 5 min before the pause, 10 min in it; 15 min of the pause were seen
  const auto out = plan(in);
  // 40 min ago until the pause began 15 min passed, 5 of them blind: 20 of its 30 min are left.
  CHECK(out.status->status.find(R"("deadline":")" + reconcile::format_rfc3339(now + 5min)) != std::string::npos);
}

TEST_CASE("what was done while nobody looked is done, not late") {
  auto in = late_update();
  in.assignment = changed<api::HostAssignment>(in.assignment, [](api::HostAssignment& a) { a.status.observed_revision = "rev2"; });
  const auto out = plan(in);
  CHECK(out.status->status.find("MachineTimedOut") == std::string::npos);
  CHECK(out.status->status.find(R"("result":"Succeeded")") != std::string::npos);
}

TEST_CASE("a pass is cheap", "[.bench]") {
  const auto in = in_service();
  const auto from = std::chrono::steady_clock::now();
  for (int i = 0; i < 10'000; ++i) REQUIRE(plan(in).actions.empty());
  const auto took = std::chrono::steady_clock::now() - from;
  const double each = std::chrono::duration<double, std::micro>(took).count() / 10'000;
  WARN(each << " us a pass");
}
