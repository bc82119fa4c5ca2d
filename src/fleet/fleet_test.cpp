#include "src/fleet/fleet.hpp"

#include <catch2/catch.hpp>
#include <set>

#include "reconcile/json/decode.hpp"
#include "reconcile/json/encode.hpp"
#include "reconcile/sim/sim_api.hpp"
#include "src/fleet/report.hpp"

using namespace endstate::fleet;
using namespace std::chrono_literals;
namespace api = endstate::v1alpha1;
using reconcile::Call, reconcile::Code, reconcile::Verb;

namespace {

constexpr std::size_t fleet_size = 20;

struct Rig {
  reconcile::SimWorld world;
  reconcile::SimApi server{world};
  std::unique_ptr<reconcile::SimEnv> env;
  std::unique_ptr<Fleet> fleet;
  FleetOptions options;
  reconcile::SimFaults faults;
  reconcile::Pool pool;
  std::vector<std::string> bad_faults;
  std::map<std::string, int> sent;  // by verb, resource and object

  explicit Rig(std::uint64_t seed, double scale = 0) : world(seed) {
    options.hosts = fleet_size;
    options.settings.pace.scale = scale;
    options.inventory.seed = seed;
  }
  void start() {
    env = std::make_unique<reconcile::SimEnv>(world, "fleet", faults);
    env->serve("", server);
    env->on_send = [this](const Call& c) {
      if (c.verb != Verb::list && c.verb != Verb::watch && c.verb != Verb::get)
        ++sent[std::string(reconcile::verb_name(c.verb)) + " " + std::string(c.resource->plural) +
               (c.subresource.empty() ? "" : "/" + c.subresource)];
    };
    fleet = std::make_unique<Fleet>(
        *env, options,
        FleetHooks{.bad_fault = [this](const BadFault& b) { bad_faults.push_back(b.object.key().str() + ": " + b.message); }},
        reconcile::no_log());
    fleet->start();
  }
  void kill() {
    env->kill();
    fleet.reset();
  }
  bool until(const std::function<bool()>& done, std::chrono::nanoseconds limit = 10min) { return world.run_until(done, limit); }
  bool registered() {
    return until([&] { return fleet->figures().ready(); });
  }
  std::size_t in(HostState state) const { return fleet->figures().hosts[static_cast<std::size_t>(state)]; }

  std::string must(Call call) {
    auto r = server.request(std::move(call));
    if (!r) FAIL(r.error().message);
    return *r;
  }
  api::Host host(std::size_t index) {
    auto h = reconcile::decode<api::Host>(*server.get(reconcile::resource_of<api::Host>, "default", name(index)), pool);
    REQUIRE(h);
    return std::move(*h);
  }
  static std::string name(std::size_t index) { return host_facts({}, static_cast<std::uint32_t>(index)).name; }
  Assignment assignment(std::size_t index) {
    auto a = reconcile::decode<Assignment>(*server.get(reconcile::resource_of<Assignment>, "", host(index).metadata.uid), pool);
    REQUIRE(a);
    return std::move(*a);
  }
  static std::string spec(std::string_view kubelet, std::string_view revision, std::string_view machine, std::string_view state) {
    const auto package = [](std::string_view slot, std::string_view what, std::string_view version, std::string_view more) {
      const auto id = std::string(what) + "-" + std::string(version);
      return R"({"name":")" + std::string(slot) + R"(","version":{"name":")" + id + R"(","uid":"u","digest":"d-)" + id +
             R"("},"spec":{"packageName":")" + std::string(what) + R"(","version":")" + std::string(version) + R"(")" + std::string(more) +
             "}}";
    };
    return R"({"state":")" + std::string(state) + R"(","machineUID":")" + std::string(machine) + R"(","revision":")" +
           std::string(revision) + R"(","packages":[)" + package("runtime", "containerd", "1.7.20", R"(,"install":{"method":"Archive"})") +
           "," + package("kubelet", "kubelet", kubelet, R"(,"requires":[{"packageName":"containerd"}])") + "]}";
  }
  void assign(std::size_t index, std::string_view kubelet = "1.34.3", std::string_view revision = "r1", std::string_view state = "Active") {
    const auto uid = host(index).metadata.uid.str();
    const auto machine = "m-" + std::to_string(index);
    const auto body = R"({"apiVersion":"endstate.dev/v1alpha1","kind":"HostAssignment","metadata":{"name":")" + uid + R"("},"spec":)" +
                      spec(kubelet, revision, machine, state) + "}";
    if (server.get(reconcile::resource_of<Assignment>, "", uid))
      must({.verb = Verb::merge_patch,
            .resource = &reconcile::resource_of<Assignment>,
            .name = uid,
            .body = R"({"spec":)" + spec(kubelet, revision, machine, state) + "}"});
    else
      must({.verb = Verb::create, .resource = &reconcile::resource_of<Assignment>, .body = body});
  }
  void assign_all(std::string_view kubelet = "1.34.3", std::string_view revision = "r1", std::string_view state = "Active") {
    for (std::size_t i = 0; i < fleet_size; ++i) assign(i, kubelet, revision, state);
  }
  void annotate_host(std::size_t index, const std::string& value) {  // "": takes it away
    must({.verb = Verb::merge_patch,
          .resource = &reconcile::resource_of<api::Host>,
          .name_space = "default",
          .name = name(index),
          .body =
              R"({"metadata":{"annotations":{"fleet.endstate.dev/fault":)" + (value.empty() ? "null" : reconcile::quote(value)) + "}}}"});
  }
  void bind_pod(const std::string& pod, std::size_t index, const std::string& more = {}) {
    must({.verb = Verb::create,
          .resource = &reconcile::resource_of<Pod>,
          .name_space = "default",
          .body = R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")" + pod + R"("},"spec":{"nodeName":")" + name(index) +
                  R"(","containers":[{"name":"c","image":"i"}])" + more + R"(},"status":{"phase":"Pending"}})"});
  }
  std::string pod_phase(const std::string& pod) {
    const auto json = server.get(reconcile::resource_of<Pod>, "default", pod);
    if (!json) return "gone";
    auto p = reconcile::decode<Pod>(*json, pool);
    REQUIRE(p);
    return p->status.phase.str();
  }
};

}  // namespace

TEST_CASE("hosts of a business cluster are registered in the meta cluster, and do all else in their own", "[fleet]") {
  Rig rig(7);
  reconcile::SimApi business{rig.world};
  rig.env = std::make_unique<reconcile::SimEnv>(rig.world, "fleet", rig.faults);
  rig.env->serve("", rig.server);
  rig.env->serve("business", business);
  rig.options.business = "business";
  rig.fleet = std::make_unique<Fleet>(*rig.env, rig.options, FleetHooks{}, reconcile::no_log());
  rig.fleet->start();
  REQUIRE(rig.registered());
  CHECK(rig.server.count(reconcile::resource_of<api::Host>) == fleet_size);
  for (std::size_t i = 0; i < fleet_size; ++i) {
    const auto uid = rig.host(i).metadata.uid.str();
    REQUIRE(business.request({.verb = Verb::create,
                              .resource = &reconcile::resource_of<Assignment>,
                              .body = R"({"apiVersion":"endstate.dev/v1alpha1","kind":"HostAssignment","metadata":{"name":")" + uid +
                                      R"("},"spec":)" + Rig::spec("1.34.3", "r1", "m-" + std::to_string(i), "Active") + "}"}));
  }
  REQUIRE(rig.until([&] { return business.count(reconcile::resource_of<SeenNode>) == fleet_size; }));
  CHECK(rig.server.count(reconcile::resource_of<SeenNode>) == 0);
  CHECK(rig.server.count(reconcile::resource_of<Lease>) == 0);
  CHECK(business.count(reconcile::resource_of<Lease>) >= fleet_size);
  CHECK(business.count(reconcile::resource_of<api::Host>) == 0);
}

TEST_CASE("a fleet registers all its hosts once, and a second one of the same size does nothing") {
  Rig rig(1);
  rig.start();
  REQUIRE(rig.registered());
  CHECK(rig.server.count(reconcile::resource_of<api::Host>) == fleet_size);
  CHECK(rig.sent["create hosts"] == fleet_size);
  CHECK(rig.sent["apply hosts/status"] == fleet_size);
  CHECK(rig.in(HostState::free) == fleet_size);
  std::set<std::string> racks;
  for (std::size_t i = 0; i < fleet_size; ++i) {
    CHECK(rig.host(i).status.phase == api::HostPhase::ready);
    racks.insert(rig.host(i).spec.hardware.rack.str());
  }
  CHECK(racks.size() == 10);

  rig.kill();
  rig.sent.clear();
  rig.start();
  REQUIRE(rig.registered());
  rig.world.run_for(10min);
  CHECK(rig.sent.empty());
}

TEST_CASE("without delays a host costs four writes to join") {
  Rig rig(2);
  rig.options.settings.lease_period = 1h;  // none is renewed while we count
  rig.start();
  REQUIRE(rig.registered());
  rig.sent.clear();
  rig.assign_all();
  REQUIRE(rig.until([&] { return rig.in(HostState::ready) == fleet_size; }));
  rig.world.run_for(10s);
  CHECK(rig.server.count(reconcile::resource_of<SeenNode>) == fleet_size);
  CHECK(rig.sent["apply hostassignments/status"] == fleet_size);
  CHECK(rig.sent["create nodes"] == fleet_size);
  CHECK(rig.sent["create leases"] == 2 * fleet_size);
  // The real API server keeps the status that a Node is created with, the simulated one drops it as it does for every kind.
  CHECK(rig.sent["apply nodes/status"] <= static_cast<int>(fleet_size));
  CHECK(rig.fleet->figures().packages_applied == 2 * fleet_size);
}

TEST_CASE("over a bad network, with restarts of the fleet, every host ends where it should") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    Rig rig(seed, seed % 3 == 0 ? 0.0 : 1.0);
    rig.options.hosts = 8;
    rig.faults = {.refused = 30, .reply_lost = 30, .request_lost = 10, .throttled = 20, .watch_cut = 5};
    rig.start();
    INFO("seed " << seed);
    REQUIRE(rig.until([&] { return rig.fleet->figures().ready(); }, 1h));
    const auto all = [&](HostState state) { return rig.until([&] { return rig.in(state) == 8; }, 2h); };
    for (std::size_t i = 0; i < 8; ++i) rig.assign(i);
    rig.world.run_for(std::chrono::milliseconds(rig.world.random() % 30'000));
    if (seed % 2 == 0) rig.kill(), rig.start();
    REQUIRE(all(HostState::ready));
    for (std::size_t i = 0; i < 8; ++i) rig.assign(i, "1.34.4", "r2");
    rig.world.run_for(std::chrono::milliseconds(rig.world.random() % 30'000));
    if (seed % 4 == 0) rig.kill(), rig.start();
    REQUIRE(rig.until(
        [&] {
          for (std::size_t i = 0; i < 8; ++i) {
            const auto a = rig.assignment(i);
            if (!(a.status.observed_revision == "r2") || a.status.packages.size() != 2) return false;
            for (const auto& p : a.status.packages)
              if (p.state != api::PackageState::ready) return false;
          }
          return rig.in(HostState::ready) == 8;
        },
        2h));
    for (std::size_t i = 0; i < 8; ++i) rig.assign(i, "1.34.4", "r2", "Released");
    if (seed % 5 == 0) rig.kill(), rig.start();
    REQUIRE(rig.until(
        [&] {
          for (std::size_t i = 0; i < 8; ++i) {
            const auto a = rig.assignment(i);
            if (!a.status.packages.empty() || a.status.observed_generation != a.metadata.generation) return false;
          }
          return true;
        },
        2h));
    CHECK(rig.server.count(reconcile::resource_of<SeenNode>) == 8);  // deleting them is the machine loop's
  }
}

TEST_CASE("an outage of the API server is survived and caught up with") {
  Rig rig(3);
  rig.start();
  REQUIRE(rig.registered());
  rig.assign_all();
  REQUIRE(rig.until([&] { return rig.in(HostState::ready) == fleet_size; }));
  rig.server.stop();
  rig.world.run_for(3min);
  rig.server.start();
  rig.assign_all("1.34.4", "r2");
  const auto began = rig.world.now();
  REQUIRE(rig.until([&] {
    for (std::size_t i = 0; i < fleet_size; ++i)
      if (!(rig.assignment(i).status.observed_revision == "r2")) return false;
    return true;
  }));
  CHECK(rig.world.now() - began < 90s);
  rig.world.run_for(2min);
  CHECK_FALSE(rig.fleet->figures().writes_paused);
  CHECK(rig.fleet->figures().writes_waiting == 0);
}

TEST_CASE("pods run on ready nodes, and go as a kubelet lets them go") {
  Rig rig(4, 1.0);
  rig.start();
  REQUIRE(rig.registered());
  rig.bind_pod("early", 0);  // before its node is there
  rig.world.run_for(1min);
  CHECK(rig.pod_phase("early") == "Pending");
  rig.assign(0);
  REQUIRE(rig.until([&] { return rig.pod_phase("early") == "Running"; }));
  rig.bind_pod("late", 0);
  REQUIRE(rig.until([&] { return rig.pod_phase("late") == "Running"; }, 10s));
  rig.bind_pod("elsewhere", 5);  // its host is nobody's
  rig.world.run_for(1min);
  CHECK(rig.pod_phase("elsewhere") == "Pending");
  CHECK(rig.fleet->figures().pods[static_cast<std::size_t>(PodPhase::running)] == 2);

  rig.kill();  // a restart starts no pod again
  rig.sent.clear();
  rig.start();
  REQUIRE(rig.registered());
  rig.world.run_for(1min);
  CHECK(rig.sent["apply pods/status"] == 0);
  CHECK(rig.pod_phase("late") == "Running");
}

TEST_CASE("faults come and go with annotations, on a host or on a version") {
  Rig rig(5);
  rig.start();
  REQUIRE(rig.registered());
  rig.annotate_host(3, "InstallFails,package=kubelet-1.34.5");
  rig.world.run_for(2s);
  rig.assign_all();
  REQUIRE(rig.until([&] { return rig.in(HostState::ready) == fleet_size; }));
  rig.assign_all("1.34.5", "bad");
  REQUIRE(rig.until([&] { return rig.in(HostState::failed) == 1 && rig.in(HostState::ready) == fleet_size - 1; }));
  CHECK(rig.fleet->host(3).state() == HostState::failed);
  rig.annotate_host(3, "");
  REQUIRE(rig.until([&] { return rig.in(HostState::ready) == fleet_size; }, 1min));

  rig.must({.verb = Verb::create,
            .resource = &reconcile::resource_of<PackageNote>,
            .body = R"({"apiVersion":"endstate.dev/v1alpha1","kind":"MachinePackageVersion","metadata":{"name":"kubelet-1.34.6",)"
                    R"("annotations":{"fleet.endstate.dev/fault":"InstallFails"}},"spec":{}})"});
  rig.world.run_for(2s);
  rig.assign_all("1.34.6", "worse");
  REQUIRE(rig.until([&] { return rig.in(HostState::failed) == fleet_size; }));
  rig.assign_all("1.34.5", "bad");
  REQUIRE(rig.until([&] { return rig.in(HostState::ready) == fleet_size; }, 1min));

  CHECK(rig.bad_faults.empty());
  rig.annotate_host(1, "Installfails");
  rig.world.run_for(5s);
  REQUIRE(rig.bad_faults.size() == 1);
  CHECK_THAT(rig.bad_faults[0], Catch::Contains("default/host-0002") && Catch::Contains("no fault"));
  CHECK(rig.fleet->figures().bad_faults == 1);
  CHECK(rig.in(HostState::ready) == fleet_size);
}

TEST_CASE("objects of others are left alone") {
  Rig rig(6);
  rig.must({.verb = Verb::create,
            .resource = &reconcile::resource_of<api::Host>,
            .name_space = "default",
            .body = R"({"apiVersion":"endstate.dev/v1alpha1","kind":"Host","metadata":{"name":"real-1"},"spec":{"address":"192.0.2.1"}})"});
  rig.must({.verb = Verb::create,
            .resource = &reconcile::resource_of<Assignment>,
            .body = R"({"apiVersion":"endstate.dev/v1alpha1","kind":"HostAssignment","metadata":{"name":"another-uid"},"spec":)" +
                    Rig::spec("1.34.3", "r1", "m", "Active") + "}"});
  rig.must({.verb = Verb::create,
            .resource = &reconcile::resource_of<SeenNode>,
            .body = R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"real-1"}})"});
  rig.start();
  REQUIRE(rig.registered());
  rig.world.run_for(10min);
  CHECK(rig.sent["create hosts"] == fleet_size);
  CHECK(rig.sent["create nodes"] == 0);
  CHECK(rig.sent["apply hostassignments/status"] == 0);
  CHECK(rig.sent["create leases"] == 0);
}

TEST_CASE("the same seed plays the same run") {
  std::uint64_t trace[2];
  for (auto& t : trace) {
    Rig rig(7, 1.0);
    rig.faults = {.refused = 20, .reply_lost = 20};
    rig.start();
    REQUIRE(rig.registered());
    rig.assign_all();
    rig.world.run_for(5min);
    t = rig.world.trace();
  }
  CHECK(trace[0] == trace[1]);
}

TEST_CASE("the report tells how the fleet is") {
  reconcile::Metrics metrics("endstate_fleet");
  Report report(metrics);
  CHECK_FALSE(report.ready().ok);
  CHECK(report.alive(reconcile::MonoTime{} + 1h).ok);  // not started is not stuck
  Rig rig(8);
  rig.start();
  reconcile::Events events(*rig.env, {.controller = "endstate-fleet", .instance = "test"}, metrics, reconcile::no_log());
  auto hooks = report.hooks(events, [&] { return rig.world.now(); });
  hooks.counted(rig.fleet->figures());
  CHECK(report.ready().text == "waiting for the first lists");
  REQUIRE(rig.registered());
  rig.assign(0);
  REQUIRE(rig.until([&] { return rig.in(HostState::ready) == 1; }));
  hooks.counted(rig.fleet->figures());
  hooks.wrote("nodes", "done");
  CHECK(report.ready().ok);
  CHECK(report.ready().text == "20 of 20 hosts are registered");
  CHECK(report.alive(rig.world.now() + 20s).ok);
  CHECK_FALSE(report.alive(rig.world.now() + 31s).ok);
  const reconcile::ObjectMeta meta = rig.host(0).metadata;
  hooks.bad_fault({"Host", meta, "nonsense"});
  const auto text = metrics.text();
  for (const auto* line :
       {"endstate_fleet_hosts{state=\"ready\"} 1", "endstate_fleet_hosts{state=\"free\"} 19",
        "endstate_fleet_packages_applied_total{result=\"success\"} 2", "endstate_fleet_writes_total{resource=\"nodes\",result=\"done\"} 1",
        "endstate_fleet_bad_faults_total{kind=\"Host\"} 1", "endstate_fleet_hosts_serving{revision=\"r1\"} 1",
        "endstate_fleet_hosts_degraded{revision=\"r1\"} 0", "endstate_fleet_requests_total{result=\"error\",revision=\"r1\"} 0"})
    CHECK_THAT(text, Catch::Contains(line));
  rig.world.run_for(10s);
  CHECK(rig.server.count({"events.k8s.io", "v1", "events", "Event"}) == 1);
}

TEST_CASE("a silent fault of a version is told by the requests of its revision, and the series of a revision go with it") {
  reconcile::Metrics metrics("endstate_fleet");
  Report report(metrics);
  Rig rig(9);
  rig.options.faults = {*parse_fault("WorkFails,share=50%,package=kubelet-1.34.5")};
  rig.start();
  reconcile::Events events(*rig.env, {.controller = "endstate-fleet", .instance = "test"}, metrics, reconcile::no_log());
  auto hooks = report.hooks(events, [&] { return rig.world.now(); });
  REQUIRE(rig.registered());
  rig.assign_all();
  REQUIRE(rig.until([&] { return rig.in(HostState::ready) == fleet_size; }));
  hooks.counted(rig.fleet->figures());
  rig.world.run_for(10s);
  hooks.counted(rig.fleet->figures());
  CHECK_THAT(metrics.text(), Catch::Contains("endstate_fleet_requests_total{result=\"ok\",revision=\"r1\"} 2000") &&
                                 Catch::Contains("endstate_fleet_requests_total{result=\"error\",revision=\"r1\"} 0"));

  for (std::size_t i = 0; i < 10; ++i) rig.assign(i, "1.34.5", "bad");
  const auto served = [&](std::string_view revision) {
    for (const auto& s : rig.fleet->figures().serving)
      if (s.revision == revision) return s;
    return Serving{};
  };
  REQUIRE(rig.until([&] { return served("bad").hosts == 10; }));
  const auto failing = served("bad").failing;
  CHECK(failing > 0);
  CHECK(failing < 10);
  CHECK(served("r1").hosts == 10);
  CHECK(served("r1").failing == 0);
  REQUIRE(rig.until([&] { return rig.in(HostState::ready) == fleet_size; }));  // that is all that the cluster sees
  hooks.counted(rig.fleet->figures());
  rig.world.run_for(1s);
  hooks.counted(rig.fleet->figures());
  const auto value = [&](const std::string& series) {
    const auto text = metrics.text();
    const auto at = text.find("\n" + series + " ");
    REQUIRE(at != std::string::npos);
    return std::stod(text.substr(at + series.size() + 2));
  };
  CHECK(value("endstate_fleet_hosts_degraded{revision=\"bad\"}") == failing);
  const auto wrong = value("endstate_fleet_requests_total{result=\"error\",revision=\"bad\"}"),
             right = value("endstate_fleet_requests_total{result=\"ok\",revision=\"bad\"}");
  CHECK(wrong / (wrong + right) == Approx(failing / 10.0));

  rig.assign_all();
  REQUIRE(rig.until([&] { return served("r1").hosts == fleet_size; }));
  hooks.counted(rig.fleet->figures());
  CHECK_THAT(metrics.text(), !Catch::Contains("revision=\"bad\""));
}
