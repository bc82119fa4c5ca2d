#include "controllers/cluster/plan.hpp"

#include <catch2/catch.hpp>

#include "controllers/common/machine_state.hpp"

using namespace endstate::cluster;
using api::ClusterPhase, api::ConditionStatus;
using reconcile::Verb;
using std::chrono::seconds;

namespace {

struct Scene {
  api::Cluster cluster;
  reconcile::ConnectionState connection{.known = true, .reachable = ConditionStatus::true_, .message = {}, .version = "v1.34.4"};
  std::vector<api::MachineSet> sets;
  std::vector<api::Machine> machines;
  reconcile::Sight sight;
  bool fresh = true, hosted_on = true, hosted_synced = false;
  WallTime now{seconds(1'000'000)};

  Scene() {
    cluster.metadata.name = "hz-a";
    cluster.metadata.name_space = "prod";
    cluster.metadata.uid = "c1";
    cluster.metadata.resource_version = "5";
    cluster.metadata.finalizers = {api::finalizer::cluster};
    cluster.spec.control_plane.type = api::ControlPlaneType::external;
  }
  Planned plan() const {
    Snapshot s;
    s.cluster = std::make_shared<api::Cluster>(cluster);
    s.connection = connection;
    s.sight = sight;
    for (const auto& x : sets) s.sets.push_back(std::make_shared<api::MachineSet>(x));
    for (const auto& x : machines) s.machines.push_back(std::make_shared<api::Machine>(x));
    s.fresh = fresh;
    s.hosted_on = hosted_on;
    s.hosted.synced = hosted_synced;
    s.now = now;
    return plan_in_full(s);
  }
  Planned pass() {
    auto p = plan();
    if (p.status) cluster.status = *p.status;
    return p;
  }
  void add_machine(std::string_view name, bool ready) {
    api::Machine m;
    m.metadata.name = name;
    m.metadata.name_space = "prod";
    m.metadata.uid = Text("uid-" + std::string(name));
    m.metadata.labels.set(api::label::revision, "r1");
    m.status.revision = ready ? "r1" : "";
    m.status.phase = ready ? api::MachinePhase::running : api::MachinePhase::failed;
    m.status.conditions = {{.type = "Ready",
                            .status = ready ? ConditionStatus::true_ : ConditionStatus::false_,
                            .reason = "X",
                            .message = {},
                            .observed_generation = {}}};
    machines.push_back(m);
  }
  void add_set(std::string_view name) {
    api::MachineSet s;
    s.metadata.name = name;
    s.metadata.name_space = "prod";
    s.metadata.uid = Text("uid-" + std::string(name));
    sets.push_back(s);
  }
};

bool is(const Planned& p, std::string_view type, ConditionStatus status, std::string_view reason) {
  const auto* c = p.status ? reconcile::find_condition(p.status->conditions, type) : nullptr;
  if (!c) return false;
  INFO(type << ": " << c->reason.view() << ": " << c->message.view());
  CHECK(c->reason == reason);
  return c->status == status;
}
bool is(const Planned& p, std::string_view type, bool status, std::string_view reason) {
  return is(p, type, status ? ConditionStatus::true_ : ConditionStatus::false_, reason);
}

}  // namespace

TEST_CASE("a cluster gets its finalizer first, and is connected meanwhile", "[cluster]") {
  Scene scene;
  scene.cluster.metadata.finalizers.clear();
  scene.cluster.spec.control_plane.kubeconfig_secret = api::NameRef{"kc"};
  const auto p = scene.plan();
  REQUIRE(p.plan.actions.size() == 1);
  CHECK((p.plan.actions[0].verb == Verb::merge_patch && p.plan.actions[0].resource_version == "5"));
  REQUIRE(p.plan.connections.size() == 1);
  const auto& wish = p.plan.connections[0];
  CHECK((wish.connected && wish.cluster == "prod/hz-a" && wish.secret_namespace == "prod" && wish.secret_name == "kc"));
  CHECK_FALSE(p.plan.status);
}

TEST_CASE("how the connection is", "[cluster]") {
  Scene scene;
  scene.cluster.spec.control_plane.kubeconfig_secret = api::NameRef{"kc"};
  auto p = scene.pass();
  CHECK(is(p, "Connected", true, "Connected"));
  CHECK(is(p, "Ready", true, "Ready"));
  CHECK(is(p, "Reconciling", false, "Ready"));
  CHECK(is(p, "Stalled", false, "NotStalled"));
  CHECK((p.status->phase == ClusterPhase::running && p.status->control_plane.version == "v1.34.4"));
  CHECK_FALSE(scene.plan().plan.status->changed);

  scene.connection = {.known = true, .reachable = ConditionStatus::false_, .message = "connection refused", .version = "v1.34.4"};
  p = scene.pass();
  CHECK(is(p, "Ready", false, "ConnectionLost"));
  CHECK(is(p, "Reconciling", true, "ConnectionLost"));
  CHECK(p.status->phase == ClusterPhase::failed);

  scene.connection.reachable = ConditionStatus::unknown;  // neither healthy nor broken
  p = scene.pass();
  CHECK(is(p, "Ready", ConditionStatus::unknown, "Connecting"));
  CHECK(p.status->phase == ClusterPhase::running);

  Scene fresh;
  fresh.connection = {};
  p = fresh.pass();
  CHECK(is(p, "Connected", ConditionStatus::unknown, "Connecting"));
  CHECK(p.status->phase == ClusterPhase::provisioning);
}

TEST_CASE("a Secret that is missing or can't be used is named, and heals", "[cluster]") {
  Scene scene;
  scene.cluster.spec.control_plane.kubeconfig_secret = api::NameRef{"kc"};
  scene.connection = {.known = false, .reachable = {}, .message = "Secret prod/kc: secrets \"kc\" not found", .version = {}};
  auto p = scene.pass();
  CHECK(is(p, "Stalled", true, "SecretNotFound"));
  CHECK(is(p, "Ready", false, "SecretNotFound"));
  CHECK(is(p, "Reconciling", false, "SecretNotFound"));
  REQUIRE(p.status->blocked_by);
  CHECK((p.status->blocked_by->kind == "Secret" && p.status->blocked_by->name == "kc"));
  CHECK(p.plan.connections[0].connected);  // asked for all the time
  scene.connection.message = "Secret prod/kc: data.value: expected a kubeconfig in base64";
  CHECK(is(scene.pass(), "Stalled", true, "SecretNotUsable"));
  scene.connection = {.known = true, .reachable = ConditionStatus::true_, .message = {}, .version = "v1.33.1"};
  p = scene.pass();
  CHECK(is(p, "Ready", true, "Ready"));
  CHECK_FALSE(p.status->blocked_by);
}

TEST_CASE("the meta cluster itself needs no connection; a Secret that is taken out ends one", "[cluster]") {
  Scene scene;
  CHECK(endstate::connection_of(scene.cluster).empty());
  CHECK_FALSE(scene.plan().plan.connections[0].connected);
  scene.cluster.spec.control_plane.kubeconfig_secret = api::NameRef{"kc"};
  CHECK(endstate::connection_of(scene.cluster) == "prod/hz-a");
}

TEST_CASE("a process that doesn't lead connects to what the leader does", "[cluster]") {
  Scene scene;
  auto& c = scene.cluster;
  CHECK_FALSE(endstate::cluster::standby_wish(c).connected);
  c.spec.control_plane.kubeconfig_secret = api::NameRef{"kc"};
  const auto leads = scene.plan().plan.connections.at(0), waits = endstate::cluster::standby_wish(c);
  CHECK(waits.connected);
  CHECK((waits.cluster == leads.cluster && waits.secret_name == leads.secret_name && waits.secret_namespace == leads.secret_namespace));
  c.metadata.deletion_timestamp = scene.now;
  CHECK(endstate::cluster::standby_wish(c).connected);  // until the leader's part is done
  c.metadata.finalizers.clear();
  CHECK_FALSE(endstate::cluster::standby_wish(c).connected);
  SECTION("a Hosted one has a kubeconfig when its status names it") {
    c.metadata.deletion_timestamp.reset();
    c.spec.control_plane.type = api::ControlPlaneType::hosted;
    CHECK_FALSE(endstate::cluster::standby_wish(c).connected);
    c.status.control_plane.certificates.push_back({.name = "kubeconfig"});
    CHECK(endstate::cluster::standby_wish(c).connected);
    CHECK(endstate::cluster::standby_wish(c).secret_name == c.metadata.name.str() + "-kubeconfig");
  }
}

TEST_CASE("a Hosted cluster is never the meta cluster", "[cluster]") {  // more of it: plan_hosted_test.cpp
  Scene scene;
  scene.cluster.spec.control_plane.type = api::ControlPlaneType::hosted;
  CHECK(endstate::connection_of(scene.cluster) == "prod/hz-a");
}

TEST_CASE("machines are counted, and counters may wait", "[cluster]") {
  Scene scene;
  scene.pass();
  scene.add_machine("m1", true);
  scene.add_machine("m2", false);
  const auto p = scene.plan();
  REQUIRE(p.status->machines);
  CHECK((p.status->machines->replicas == 2 && p.status->machines->ready_replicas == 1 && p.status->machines->failed_replicas == 1 &&
         p.status->machines->up_to_date_replicas == 1));
  CHECK(is(p, "MachinesReady", false, "NotReady"));
  CHECK((p.plan.status->changed && p.plan.status->settle == settle));
  scene.connection.reachable = ConditionStatus::false_;
  CHECK(scene.plan().plan.status->settle.count() == 0);
}

TEST_CASE("a cluster with machines doesn't go", "[cluster]") {
  Scene scene;
  scene.add_set("s1");
  scene.add_machine("m1", true);
  scene.cluster.metadata.deletion_timestamp = scene.now;
  SECTION("until they are gone") {
    auto p = scene.pass();
    CHECK(p.plan.actions.empty());
    CHECK(is(p, "Stalled", true, "MachinesRemain"));
    CHECK(is(p, "Deleting", true, "MachinesRemain"));
    const auto* c = reconcile::find_condition(p.status->conditions, "Stalled");
    CHECK(c->message.view().find("1 MachineSets and 1 Machines") != std::string_view::npos);
    CHECK(p.status->phase == ClusterPhase::deleting);
    scene.sets[0].metadata.deletion_timestamp = scene.now;
    scene.machines[0].metadata.deletion_timestamp = scene.now;
    CHECK(is(scene.pass(), "Stalled", false, "NotStalled"));  // it waits for time only
    scene.sets.clear();
    scene.machines.clear();
    p = scene.plan();
    REQUIRE(p.plan.actions.size() == 1);
    CHECK(p.plan.actions[0].body == R"([{"op":"test","path":"/metadata/uid","value":"c1"},)"
                                    R"({"op":"test","path":"/metadata/finalizers/0","value":"endstate.dev/cluster"},)"
                                    R"({"op":"remove","path":"/metadata/finalizers/0"}])");
    CHECK((!p.plan.connections[0].connected && !p.plan.status));
  }
  SECTION("Cascading: its sets, then its machines, then it") {
    scene.cluster.metadata.annotations.set(api::annotation::delete_protection, "Cascading");
    auto p = scene.pass();
    REQUIRE(p.plan.actions.size() == 1);
    CHECK((p.plan.actions[0].kind->resource->kind == "MachineSet" && p.plan.actions[0].uid == "uid-s1"));
    CHECK(is(p, "Reconciling", true, "Deleting"));
    scene.sets[0].metadata.deletion_timestamp = scene.now;
    CHECK(scene.plan().plan.actions.empty());
    scene.sets.clear();
    p = scene.plan();
    REQUIRE(p.plan.actions.size() == 1);
    CHECK((p.plan.actions[0].kind->resource->kind == "Machine" && p.plan.actions[0].verb == Verb::remove));
    scene.machines.clear();
    CHECK(scene.plan().plan.actions[0].verb == Verb::json_patch);
  }
  SECTION("Cascading, but a set is protected") {
    scene.cluster.metadata.annotations.set(api::annotation::delete_protection, "Cascading");
    scene.sets[0].metadata.annotations.set(api::annotation::delete_protection, "Always");
    const auto p = scene.pass();
    CHECK(p.plan.actions.empty());
    CHECK(is(p, "Stalled", true, "DeleteProtected"));
  }
  SECTION("Always: not even when nothing is left") {
    scene.sets.clear();
    scene.machines.clear();
    scene.cluster.metadata.annotations.set(api::annotation::delete_protection, "Always");
    const auto p = scene.pass();
    CHECK(p.plan.actions.empty());
    CHECK(is(p, "Stalled", true, "DeleteProtected"));
    CHECK(is(p, "Ready", false, "DeleteProtected"));
  }
  SECTION("paused: nothing of it is deleted") {
    scene.cluster.metadata.annotations.set(api::annotation::delete_protection, "Cascading");
    scene.cluster.spec.paused = true;
    const auto p = scene.pass();
    CHECK(p.plan.actions.empty());
    CHECK(is(p, "Paused", true, "Paused"));
  }
  SECTION("an empty list from a cache that is behind means nothing") {
    scene.sets.clear();
    scene.machines.clear();
    scene.fresh = false;
    const auto p = scene.plan();
    CHECK((p.plan.actions.empty() && p.plan.connections.empty() && p.plan.again));
  }
  SECTION("another's finalizer is left alone") {
    scene.cluster.metadata.finalizers = {"other/one"};
    const auto p = scene.plan();
    CHECK((p.plan.actions.empty() && !p.plan.connections[0].connected));
  }
}

TEST_CASE("a cluster that is lost says what becomes of its machines", "[cluster]") {
  Scene scene;
  scene.cluster.spec.control_plane.kubeconfig_secret = api::NameRef{"kc"};
  scene.cluster.metadata.deletion_timestamp = scene.now;
  scene.add_machine("a", true);
  const auto says = [&] { return reconcile::find_condition(scene.plan().status->conditions, "Deleting")->message.str(); };
  CHECK(says().find("force-delete") == std::string::npos);
  scene.connection.reachable = ConditionStatus::false_;
  CHECK(says().find("15 min") != std::string::npos);
  CHECK(says().find("force-delete") != std::string::npos);
  CHECK(scene.plan().plan.connections[0].connected);
}

TEST_CASE("a Hosted cluster's connection outlives its kubeconfig Secret until its last Machine is gone", "[cluster]") {
  Scene scene;
  scene.cluster.spec.control_plane.type = api::ControlPlaneType::hosted;
  scene.hosted_synced = true;
  scene.cluster.metadata.deletion_timestamp = scene.now;  // with its namespace: the Secret went first
  scene.add_machine("a", true);
  CHECK(scene.plan().plan.connections[0].connected);
  scene.machines.clear();
  CHECK_FALSE(scene.plan().plan.connections[0].connected);
}

TEST_CASE("a cascade takes a bounded number in a pass", "[cluster]") {
  Scene scene;
  for (int i = 0; i < 250; ++i) scene.add_machine("m" + std::to_string(i), true);
  scene.cluster.metadata.deletion_timestamp = scene.now;
  scene.cluster.metadata.annotations.set(api::annotation::delete_protection, "Cascading");
  CHECK(scene.plan().plan.actions.size() == max_actions);
}

TEST_CASE("an operator that isn't to run Hosted control planes says so, and touches nothing of one", "[cluster]") {
  Scene scene;
  scene.hosted_on = false;
  scene.cluster.spec.control_plane.type = api::ControlPlaneType::hosted;
  scene.connection = {};
  SECTION("a new one: not even a finalizer, which nothing would take off") {
    scene.cluster.metadata.finalizers.clear();
    const auto p = scene.plan();
    CHECK(p.plan.actions.empty());
    CHECK(is(p, "Stalled", true, "HostedControlPlanesOff"));
    CHECK(is(p, "Ready", false, "HostedControlPlanesOff"));
    CHECK(reconcile::find_condition(p.status->conditions, "Ready")->message.view().find("--hosted-control-planes") !=
          std::string_view::npos);
    REQUIRE(p.status->blocked_by);
    CHECK(p.status->blocked_by->reason == "HostedControlPlanesOff");
  }
  SECTION("one that was run before: its connection stays, and with it its machines") {
    scene.cluster.status.control_plane.certificates = {{.name = "kubeconfig", .not_after = {}, .fingerprints = {}}};
    scene.connection = {.known = true, .reachable = ConditionStatus::true_, .message = {}, .version = "v1.34.4"};
    const auto p = scene.plan();
    CHECK(p.plan.actions.empty());
    CHECK(is(p, "Connected", true, "Connected"));
    CHECK(is(p, "Ready", false, "HostedControlPlanesOff"));
    REQUIRE(p.plan.connections.size() == 1);
    CHECK((p.plan.connections[0].connected && p.plan.connections[0].secret_name == "hz-a-kubeconfig"));
    CHECK(p.status->control_plane.certificates.size() == 1);
  }
  SECTION("one that is deleted waits: what it is made of can't be seen") {
    scene.cluster.metadata.deletion_timestamp = scene.now;
    const auto p = scene.plan();
    CHECK(p.plan.actions.empty());
    CHECK(is(p, "Stalled", true, "HostedControlPlanesOff"));
  }
  SECTION("External ones go on as ever") {
    scene.cluster.spec.control_plane.type = api::ControlPlaneType::external;
    scene.connection = {.known = true, .reachable = ConditionStatus::true_, .message = {}, .version = "v1.34.4"};
    CHECK(is(scene.plan(), "Ready", true, "Ready"));
  }
}

TEST_CASE("break-glass: the loop stores that it was accepted, and looks again when it ends", "[cluster][break-glass]") {
  Scene s;
  s.pass();
  s.cluster.metadata.annotations.set(api::annotation::break_glass,
                                     "until=" + reconcile::format_rfc3339(s.now + seconds(600)) + " by=alice reason=the fix must go out");
  auto p = s.pass();
  CHECK(p.plan.status->changed);
  CHECK(p.plan.status->settle == seconds(0));
  REQUIRE(p.plan.events.size() == 1);
  CHECK(p.plan.events[0].reason == "BreakGlass");
  CHECK(p.plan.again == seconds(600));
  CHECK(s.cluster.status.break_glass->state == "Active");
  CHECK(s.pass().plan.events.empty());
  s.now += seconds(600);
  CHECK(s.pass().plan.events.at(0).reason == "BreakGlassEnded");
}

TEST_CASE("a time when the cluster could not be seen is written twice: while it lasts, and when it is over", "[sight]") {
  Scene scene;
  scene.pass();
  REQUIRE(scene.cluster.status.control_plane.version == "v1.34.4");
  scene.sight = {.seen = false, .since = scene.now - seconds(10), .why = "its API server does not answer"};
  const auto early = scene.pass();
  CHECK(!early.plan.status->changed);
  CHECK(early.plan.again == std::chrono::milliseconds(21'000));
  scene.now += seconds(21);
  const auto noted = scene.pass();
  CHECK(noted.plan.status->changed);
  CHECK(noted.plan.status->settle == std::chrono::milliseconds(0));
  CHECK(noted.plan.events.empty());
  CHECK(scene.cluster.status.blind == std::vector<api::BlindGap>{{scene.now - seconds(31), {}}});
  scene.now += seconds(100);
  CHECK(!scene.pass().plan.status->changed);
  scene.sight = {.seen = true, .since = scene.now};
  CHECK(scene.pass().plan.status->changed);
  CHECK(scene.cluster.status.blind == std::vector<api::BlindGap>{{scene.now - seconds(131), scene.now}});
  scene.now += seconds(100);
  CHECK(!scene.pass().plan.status->changed);
}

TEST_CASE("a cluster that was never connected has not been lost from sight", "[sight]") {
  Scene scene;
  scene.connection = {.known = true, .reachable = ConditionStatus::false_, .message = "connection refused", .version = {}};
  scene.sight = {.seen = false, .since = scene.now - seconds(1'000), .why = "x"};
  CHECK(scene.pass().status->blind.empty());
}

TEST_CASE("a jump of the clock is a gap, and told", "[sight]") {
  Scene scene;
  scene.pass();
  scene.sight = {.seen = false, .since = scene.now - seconds(600), .why = "the meta API server's clock jumped ahead by 600 s"};
  const auto p = scene.pass();
  CHECK(scene.cluster.status.blind.size() == 1);
  REQUIRE(p.plan.events.size() == 1);
  CHECK(p.plan.events[0].reason == api::reason::clock_jump);
  CHECK(scene.pass().plan.events.empty());
}

TEST_CASE("a cluster that shows more objects than are taken from one is not connected, and says which", "[sight]") {
  Scene scene;
  scene.pass();
  scene.sight = {.seen = false, .since = scene.now, .why = "too many objects: 200001 of 30 MiB, 200000 of them leases; at most ..."};
  const auto p = scene.pass();
  CHECK(is(p, "Connected", ConditionStatus::false_, "TooManyObjects"));
  CHECK(is(p, "Ready", ConditionStatus::false_, "TooManyObjects"));
  scene.sight = {.seen = true, .since = scene.now};
  CHECK(is(scene.pass(), "Connected", ConditionStatus::true_, "Connected"));
}
