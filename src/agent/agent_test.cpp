// The agent on a simulated API server, with a machine in a folder.
#include "src/agent/agent.hpp"

#include <algorithm>
#include <catch2/catch.hpp>

#include "reconcile/json/decode.hpp"
#include "reconcile/json/encode.hpp"
#include "reconcile/kube/core.hpp"
#include "reconcile/kube/url.hpp"
#include "reconcile/sim/sim_api.hpp"
#include "src/agent/testing.hpp"

namespace endstate::agent::testing {
namespace {

using namespace std::chrono_literals;
using reconcile::Call, reconcile::Verb;

struct Rig : Machine {
  reconcile::SimWorld world{7};
  reconcile::SimApi server{world};
  std::unique_ptr<FaultHost> fault;
  std::unique_ptr<Engine> engine;
  std::unique_ptr<reconcile::SimEnv> env;
  std::unique_ptr<Agent> agent;
  std::vector<std::string> told, watched;
  std::map<std::string, int> sent;
  reconcile::Pool pool;

  void start(reconcile::SimFaults faults = {}) {
    fault = host();
    engine = std::make_unique<Engine>(*fault, settings());
    env = std::make_unique<reconcile::SimEnv>(world, "agent", faults);
    env->serve("", server);
    env->on_send = [this](const Call& c) {
      if (!reconcile::is_read(c.verb))
        ++sent[std::string(reconcile::verb_name(c.verb)) + " " + std::string(c.resource->plural) + "/" + c.name];
    };
    AgentOptions options{.host_uid = "h-uid", .identity = "h1", .version = "1"};
    options.watch = [this](const std::vector<std::string>& paths) { watched = paths; };
    agent = std::make_unique<Agent>(*env, *engine, std::move(options), reconcile::no_log(),
                                    [this](const Told& t, const Text&) { told.push_back(t.reason); });
    agent->start();
    agent->follow();
  }
  void kill() {
    env->kill();
    agent.reset();
    engine.reset();
  }
  void must(Call call) {
    auto done = server.request(std::move(call));
    if (!done) FAIL(done.error().message);
  }
  void assign(const Order& order, std::string_view name = "h-uid") {
    api::HostAssignment a;
    a.metadata.name = name;
    a.spec = order.spec;
    const auto body = reconcile::encode_object("endstate.dev/v1alpha1", "HostAssignment", reconcile::type_of<api::HostAssignment>, &a);
    const bool there = server.get(reconcile::resource_of<api::HostAssignment>, {}, name).has_value();
    must({.verb = there ? Verb::merge_patch : Verb::create,
          .resource = &reconcile::resource_of<api::HostAssignment>,
          .name = there ? std::string(name) : "",
          .body = there ? R"({"spec":)" + reconcile::encode(order.spec) + "}" : body});
  }
  api::HostAssignment read() {
    return reconcile::decode<api::HostAssignment>(*server.get(reconcile::resource_of<api::HostAssignment>, {}, "h-uid"), pool).value();
  }
  bool is_ready(std::string_view version) {
    const auto a = read();
    return a.status.packages.size() == 1 && a.status.packages[0].state == api::PackageState::ready && a.status.packages[0].actual &&
           a.status.packages[0].actual->name == version && a.status.observed_generation == a.metadata.generation &&
           a.status.observed_revision == a.spec.revision;
  }
  bool until(const std::function<bool()>& done, std::chrono::nanoseconds limit = 10min) { return world.run_until(done, limit); }
};

}  // namespace

TEST_CASE("an agent obeys its own assignment, reports, and lives", "[agent]") {
  Rig r;
  r.start();
  r.assign(order_of({make_package(r, {.slot = "other", .version = "1"})}), "another-host");
  r.assign(order_of({make_package(r, {.slot = "runtime", .version = "1"})}));
  REQUIRE(r.until([&] { return r.is_ready("runtime-1"); }));
  const auto a = r.read();
  CHECK(a.status.agent->boot_id == "boot-1");
  CHECK(a.status.capacity.has("endstate.dev/free-disk"));
  CHECK(find_condition(a.status.conditions, "RuntimeReady")->status == reconcile::ConditionStatus::true_);
  CHECK(find_condition(a.status.conditions, "NetworkReady")->status == reconcile::ConditionStatus::true_);
  CHECK_FALSE(outside_view(r.disk.path()).contains("/usr/local/bin/other"));
  CHECK(r.told == std::vector<std::string>{"Installed"});

  SECTION("and writes nothing but its Lease while all is well") {
    r.sent.clear();
    r.world.run_for(30min);
    CHECK(r.sent.size() == 1);
    CHECK(r.sent["patch leases/host-h-uid"] >= 26);
    CHECK(r.sent["patch leases/host-h-uid"] <= 34);
  }
  SECTION("what its packages own is watched, and looked at as soon as it changes") {
    const auto has = [&](const std::string& path) { return std::find(r.watched.begin(), r.watched.end(), path) != r.watched.end(); };
    REQUIRE(r.until([&] { return has("/usr/local/bin/runtime"); }));
    CHECK(has("/var/lib/endstate/current/runtime"));
    r.world.run_for(11s);
    std::filesystem::remove(r.at("/usr/local/bin/runtime"));
    r.agent->look();
    r.world.run_for(1s);
    CHECK(outside_view(r.disk.path()).contains("/usr/local/bin/runtime"));
  }
  SECTION("an update, while replies are lost and watches break") {
    r.env->set_faults({.refused = 200, .reply_lost = 200, .watch_cut = 200});
    r.assign(order_of({make_package(r, {.slot = "runtime", .version = "2"})}, "g2"));
    CHECK(r.until([&] { return r.is_ready("runtime-2"); }, 30min));
  }
  SECTION("a fresh agent has nothing to do, and tells nothing that is known") {
    r.kill();
    r.sent.clear();
    r.start();
    r.world.run_for(5s);
    CHECK(r.sent == std::map<std::string, int>{{"patch leases/host-h-uid", 1}});
    for (const auto& what : r.fault->log) CHECK(what == "");
  }
  SECTION("without its assignment the host stays what it is, and what drifts is put right") {
    r.must({.verb = Verb::remove, .resource = &reconcile::resource_of<api::HostAssignment>, .name = "h-uid"});
    r.world.run_for(1min);
    std::filesystem::remove(r.at("/usr/local/bin/runtime"));
    r.world.run_for(1min);
    CHECK(outside_view(r.disk.path()).contains("/usr/local/bin/runtime"));
    r.sent.clear();
    r.world.run_for(10min);
    CHECK(r.sent.empty());
  }
  SECTION("without an API server, too, also after the host has restarted") {
    r.server.stop();
    r.kill();
    r.reboot();
    r.start();
    std::filesystem::remove(r.at("/usr/local/bin/runtime"));
    r.world.run_for(10min);
    CHECK(outside_view(r.disk.path()).contains("/usr/local/bin/runtime"));
    r.server.start();
    CHECK(r.until([&] { return r.read().status.agent->boot_id == "boot-2"; }));
  }
  SECTION("released it wipes, says so, and is another Machine's") {
    auto released = order_of({});
    released.spec.state = api::AssignmentState::released;
    r.assign(released);
    REQUIRE(r.until([&] {
      const auto now = r.read();
      return now.status.observed_generation == now.metadata.generation && now.status.packages.empty() &&
             find_condition(now.status.conditions, "Wiped");
    }));
    CHECK_FALSE(outside_view(r.disk.path()).contains("/usr/local/bin/runtime"));
    r.must({.verb = Verb::remove, .resource = &reconcile::resource_of<api::HostAssignment>, .name = "h-uid"});
    r.world.run_for(1min);
    r.assign(order_of({make_package(r, {.slot = "tool", .version = "1"})}, "g5", "m-2"));
    CHECK(r.until([&] { return r.is_ready("tool-1"); }));
    CHECK(r.until([&] { return r.server.count(reconcile::resource_of<reconcile::Lease>) > 0; }));
  }
  SECTION("a host that can't be worked on is told") {
    put(r.at("/var/lib/endstate/journal.json"), "{}x");
    r.kill();
    r.start();
    r.assign(order_of({make_package(r, {.slot = "runtime", .version = "2"})}, "g2"));
    r.world.run_for(2min);
    CHECK_FALSE(r.is_ready("runtime-2"));
    const auto now = r.read();
    REQUIRE(find_condition(now.status.conditions, "HostWorkable"));
    CHECK(find_condition(now.status.conditions, "HostWorkable")->status == reconcile::ConditionStatus::false_);
    CHECK(now.status.observed_generation == 1);
    CHECK(outside_view(r.disk.path()).at("/usr/local/bin/runtime") == "link to: runtime 1\n");
  }
}

}  // namespace endstate::agent::testing
