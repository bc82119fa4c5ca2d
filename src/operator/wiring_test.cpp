// The whole operator on simulated API servers, with a simulated fleet: what holds only if its parts know of each other.
#include "src/operator/wiring.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "apis/v1alpha1/machine.hpp"
#include "apis/v1alpha1/machine_set.hpp"
#include "apis/v1alpha1/packages.hpp"
#include "apis/v1alpha1/policy.hpp"
#include "reconcile/kube/base64.hpp"
#include "reconcile/kube/core.hpp"
#include "reconcile/kube/workloads.hpp"
#include "reconcile/sim/seeds.hpp"
#include "reconcile/sim/sim_api.hpp"
#include "src/fleet/fleet.hpp"

using namespace endstate;
using namespace std::chrono_literals;
using nlohmann::json;
using reconcile::Call, reconcile::resource_of, reconcile::SimApi, reconcile::SimEnv, reconcile::SimWorld, reconcile::Verb;
namespace api = v1alpha1;

namespace {

constexpr std::string_view kubeconfig_text =
    R"({"current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],"clusters":[{"name":"c","cluster":{"server":"https://business:6443","certificate-authority-data":"Q0E="}}],"users":[{"name":"u","user":{"token":"operators"}}]})";

// An operator's process. Its time is the meta API server's, as main.cpp has it; `wrong`: by how much its own clock is.
struct Operator {
  SimEnv env;
  reconcile::Metrics metrics{"endstate"};
  reconcile::Leadership leadership;
  Wiring wiring;
  std::vector<std::string> machine_statuses;  // what it wrote there

  Operator(SimWorld& world, SimApi& meta, SimApi& business, const std::string& name, std::chrono::microseconds wrong)
      : env(world, name),
        leadership(env, {.name_space = "endstate-system", .name = "endstate-operator", .identity = name}, reconcile::seed_log(name)),
        wiring(env, leadership, {.identity = name}, metrics, reconcile::seed_log(name)) {
    env.serve("", meta);
    env.reachable(std::string(kubeconfig_text), business);
    env.jump_wall(wrong);
    env.follow_server_time();
    env.clock_jumped = [this](auto before, auto after) { wiring.clock_jumped(before, after); };
    env.on_send = [this](const Call& c) {
      if (c.resource == &resource_of<api::Machine> && c.subresource == "status" && c.verb != Verb::get) machine_statuses.push_back(c.body);
    };
    wiring.start();
    leadership.start([this](bool leading) { wiring.lead(leading, nobody_led(leadership, env.now().wall)); });
  }
};

struct World {
  SimWorld world;
  SimApi meta{world}, business{world};
  SimEnv hosts_env{world, "fleet"};
  std::unique_ptr<fleet::Fleet> hosts;
  std::unique_ptr<Operator> op;

  // `far`: the machines' cluster is another one, by a kubeconfigSecret.
  explicit World(std::uint64_t seed, std::uint32_t size, bool far = false) : world(seed) {
    for (const std::string version : {"k-1", "k-2", "k-3"})
      create<api::MachinePackageVersion>("", {{"metadata", {{"name", version}}},
                                              {"spec",
                                               {{"packageName", "kubelet"},
                                                {"version", "1.34." + version.substr(2)},
                                                {"install", {{"method", "Archive"}, {"artifacts", json::array()}}}}}});
    json plane{{"type", "External"}};
    if (far) {
      plane["kubeconfigSecret"] = {{"name", "kc"}};
      create<reconcile::Secret>("default", {{"metadata", {{"name", "kc"}}}, {"data", {{"value", reconcile::to_base64(kubeconfig_text)}}}});
    }
    create<api::Cluster>("default", {{"metadata", {{"name", "blue"}}}, {"spec", {{"controlPlane", plane}}}});
    hosts_env.serve("", meta);
    hosts_env.serve("business", business);
    hosts_env.follow_server_time();
    fleet::FleetOptions options;
    options.hosts = size;
    options.settings.pace.scale = 1;
    if (far) options.business = "business";
    hosts = std::make_unique<fleet::Fleet>(hosts_env, options, fleet::FleetHooks{}, reconcile::no_log());
    hosts->start();
  }
  void lead(const std::string& name, std::chrono::microseconds wrong = 0s) {
    op = std::make_unique<Operator>(world, meta, business, name, wrong);
  }
  void kill() { op->env.kill(); }  // and its lease runs out

  template <class T>
  void create(const std::string& name_space, json object) {
    object["apiVersion"] = reconcile::api_version(resource_of<T>);
    object["kind"] = resource_of<T>.kind;
    const auto made = meta.request({.verb = Verb::create, .resource = &resource_of<T>, .name_space = name_space, .body = object.dump()});
    REQUIRE(made);
  }
  template <class T>
  void patch(const std::string& name_space, const std::string& name, const json& body) {
    REQUIRE(meta.request(
        {.verb = Verb::merge_patch, .resource = &resource_of<T>, .name_space = name_space, .name = name, .body = body.dump()}));
  }
  void make_set(int replicas) {
    create<api::MachineSet>("default", {{"metadata", {{"name", "web"}, {"annotations", {{"endstate.dev/skip-preflight", "all"}}}}},
                                        {"spec",
                                         {{"clusterName", "blue"},
                                          {"replicas", replicas},
                                          {"selector", {{"matchLabels", {{"pool", "web"}}}}},
                                          {"rollout", {{"maxUnavailable", replicas}, {"machineTimeoutSeconds", 300}}},
                                          {"template", {{"metadata", {{"labels", {{"pool", "web"}}}}}, {"spec", packages("k-1")}}}}}});
  }
  static json packages(const std::string& version) { return {{"packages", {{{"name", "kubelet"}, {"versionRef", {{"name", version}}}}}}}; }
  void upgrade(const std::string& version) {
    patch<api::MachineSet>("default", "web", {{"spec", {{"template", {{"spec", packages(version)}}}}}});
  }
  void budget(const json& spec) { create<api::ChangeBudget>("", {{"metadata", {{"name", "b"}}}, {"spec", spec}}); }
  std::vector<json> machines() const {
    std::vector<json> out;
    for (const auto& text : meta.list(resource_of<api::Machine>)) out.push_back(json::parse(text));
    return out;
  }
  template <class F>
  int count(F matches) const {
    const auto all = machines();
    return static_cast<int>(std::count_if(all.begin(), all.end(), matches));
  }
  static std::string ready(const json& m) {
    for (const auto& c : m.value("/status/conditions"_json_pointer, json::array()))
      if (c["type"] == "Ready") return c["status"].get<std::string>() + "/" + c.value("reason", "");
    return {};
  }
  int are_ready() const {
    return count([](const json& m) { return ready(m).starts_with("True"); });
  }
  int under_way() const {
    return count([](const json& m) { return m.contains("/status/operation"_json_pointer); });
  }
  // Of updates, by how they ended.
  int ended(const std::string& result) const {
    return count([&](const json& m) {
      return m.value("/status/lastOperation/type"_json_pointer, "") == "Update" &&
             m.value("/status/lastOperation/result"_json_pointer, "") == result;
    });
  }
  bool tells_open() const {
    return op->metrics.text().find("endstate_guard_breaker_open{budget=\"b\",cluster=\"default/blue\"} 1") != std::string::npos;
  }
  json the_budget() const { return json::parse(meta.get(resource_of<api::ChangeBudget>, "", "b").value_or("{}")); }
  bool until(const std::function<bool()>& done, std::chrono::nanoseconds limit = 10min) {
    for (const auto end = world.now() + limit; world.now() < end; world.run_for(200ms))
      if (done()) return true;
    return done();
  }
  // All `replicas` machines of the set serve.
  void settle(int replicas) {
    make_set(replicas);
    REQUIRE(until([&] { return are_ready() == replicas; }));
  }
};

constexpr auto updates = [](json limit) {
  limit["name"] = "updates";
  limit["operations"] = json::array({"MachineUpdate"});
  return json{{"limits", json::array({limit})}};
};

}  // namespace

TEST_CASE("a fleet is made, and updated", "[operator]") {
  World w(1, 5);
  w.lead("a");
  w.settle(5);
  w.upgrade("k-2");
  CHECK(w.until([&] { return w.ended("Succeeded") == 5 && w.are_ready() == 5; }));
}

TEST_CASE("who was refused by a budget begins as soon as another has ended, not when it looks again", "[operator]") {
  World w(2, 5);
  w.lead("a");
  w.settle(5);
  w.budget(updates({{"maxConcurrent", 1}}));
  w.world.run_for(5s);
  w.upgrade("k-2");
  int most = 0;
  std::chrono::nanoseconds idle{};
  for (auto last = w.world.now(); w.ended("Succeeded") < 5 && w.world.now() < last + 20min;) {
    w.world.run_for(100ms);
    most = std::max(most, w.under_way());
    if (w.under_way() == 0 && w.ended("Succeeded") > 0 && w.ended("Succeeded") < 5) idle += 100ms;
  }
  CHECK(w.ended("Succeeded") == 5);
  CHECK(most == 1);
  CHECK(idle < 4 * 5s);  // four times from one to the next; who stands in line looks again by itself each 30 s
}

TEST_CASE("a breaker's metric opens it, for a successor too, and an update waits until a person closes it", "[operator]") {
  World w(3, 3);
  std::string errors = "0";
  const auto prometheus = [&](const reconcile::HttpCall&) -> reconcile::Result<reconcile::HttpAnswer> {
    return reconcile::HttpAnswer{200, R"({"status":"success","data":{"resultType":"scalar","result":[1,")" + errors + "\"]}}"};
  };
  const auto opened = [&] { return w.tells_open(); };
  w.lead("a");
  w.op->env.on_http = prometheus;
  w.settle(3);
  w.create<api::MetricSource>("default", {{"metadata", {{"name", "prom"}}}, {"spec", {{"prometheus", {{"address", "http://prom"}}}}}});
  auto spec = updates({{"maxConcurrent", 10}});
  spec["breaker"] = {{"checks",
                      {{{"name", "errors"},
                        {"sourceRef", {{"name", "prom"}}},
                        {"query", "errors"},
                        {"operator", "Less"},
                        {"threshold", "1"},
                        {"intervalSeconds", 5},
                        {"failureLimit", 1}}}}};
  w.budget(spec);
  REQUIRE(w.until([&] { return w.the_budget().value("/status/checks/0/checks/0/result"_json_pointer, "") == "Passed"; }, 2min));
  CHECK_FALSE(opened());
  errors = "7";
  CHECK(w.until(opened, 2min));
  w.kill();
  w.lead("b");
  w.op->env.on_http = prometheus;
  errors = "0";
  CHECK(w.until(opened, 1min));
  w.upgrade("k-2");
  w.world.run_for(2min);
  CHECK(w.ended("Succeeded") == 0);
  CHECK(w.under_way() == 0);
  w.patch<api::ChangeBudget>("", "b", {{"metadata", {{"annotations", {{"endstate.dev/reset-breaker", "default/blue"}}}}}});
  CHECK(w.until([&] { return w.ended("Succeeded") == 3; }));
}

TEST_CASE("a successor tells that a breaker is open though nobody asks the guard anything", "[operator]") {
  World w(9, 3);
  w.lead("a");
  w.settle(3);
  auto spec = updates({{"maxConcurrent", 10}});
  spec["breaker"] = {{"failures", {{"max", 0}, {"durationSeconds", 3600}}}};
  w.budget(spec);
  w.patch<api::MachinePackageVersion>("", "k-2", {{"metadata", {{"annotations", {{"fleet.endstate.dev/fault", "InstallFails"}}}}}});
  w.world.run_for(5s);
  w.upgrade("k-2");
  REQUIRE(w.until([&] { return w.tells_open(); }, 20min));
  REQUIRE(w.until([&] { return w.under_way() == 0 && w.are_ready() == 3; }, 20min));
  w.kill();
  w.lead("b");
  CHECK(w.until([&] { return w.tells_open(); }, 90s));
}

TEST_CASE("a successor that has no connection to a cluster yet says nothing of its machines", "[operator]") {
  World w(4, 4, true);
  w.lead("a");
  w.settle(4);
  w.world.run_for(10min);
  w.kill();
  w.lead("b");
  w.op->env.cut("default/blue", true);
  w.world.run_for(4min);
  CHECK(w.op->leadership.may_act(w.op->env.now().mono));
  CHECK(w.op->machine_statuses.empty());
  CHECK(w.are_ready() == 4);
  w.op->env.cut("default/blue", false);
  w.world.run_for(5min);
  CHECK(w.are_ready() == 4);
  for (const auto& body : w.op->machine_statuses) CHECK(body.find("ConnectionLost") == std::string::npos);
  w.upgrade("k-2");
  CHECK(w.until([&] { return w.ended("Succeeded") == 4; }));
}

TEST_CASE("a local clock that is wrong, or jumps, ends nothing, frees no window and begins nothing", "[operator][time]") {
  const auto wrong = GENERATE(std::chrono::seconds(1h), std::chrono::seconds(-1h));
  INFO(wrong.count());
  World w(5, 6);
  w.lead("a");
  w.settle(6);
  w.budget(updates({{"windows", {{{"durationSeconds", 3600}, {"max", 3}}}}}));
  w.upgrade("k-2");
  REQUIRE(w.until([&] { return w.under_way() == 3; }, 1min));
  w.kill();
  w.lead("b", wrong);
  REQUIRE(w.until([&] { return w.op->leadership.may_act(w.op->env.now().mono); }, 1min));
  CHECK(w.ended("Failed") == 0);
  for (int i = 0; i < 20; ++i) {
    w.op->env.jump_wall(i % 2 == 0 ? -2 * wrong : 2 * wrong);
    w.world.run_for(30s);
    CHECK(w.ended("Failed") == 0);
    CHECK(w.ended("Succeeded") + w.under_way() == 3);
  }
  CHECK(w.ended("Succeeded") == 3);
  CHECK(w.are_ready() == 6);
  CHECK(w.op->metrics.text().find("endstate_clock_jumps_total 0") != std::string::npos);
  CHECK(w.until([&] { return w.ended("Succeeded") == 6; }, 70min));  // when the window is over by the server's time
}

TEST_CASE("a local clock that is wrong, or jumps, ends no break-glass and prolongs none", "[operator][time]") {
  const auto wrong = GENERATE(std::chrono::seconds(1h), std::chrono::seconds(-1h));
  INFO(wrong.count());
  World w(7, 1);
  w.lead("a", wrong);
  REQUIRE(w.until([&] { return w.op->leadership.may_act(w.op->env.now().mono); }, 1min));
  const auto until = w.world.wall() + 30min;
  w.patch<api::Cluster>(
      "default", "blue",
      {{"metadata",
        {{"annotations",
          {{"endstate.dev/break-glass", "until=" + reconcile::format_rfc3339(until) + " by=alice reason=it can't wait"}}}}}});
  const auto is = [&](const std::string& state) {
    const auto cluster = json::parse(w.meta.get(resource_of<api::Cluster>, "default", "blue").value_or("{}"));
    return cluster.value("/status/breakGlass/state"_json_pointer, "") == state;
  };
  REQUIRE(w.until([&] { return is("Active"); }, 1min));
  for (int i = 0; i < 28; ++i) {
    w.op->env.jump_wall(i % 2 == 0 ? -2 * wrong : 2 * wrong);
    w.world.run_for(1min);
    CHECK(is("Active"));
  }
  CHECK(w.until([&] { return is("Ended"); }, 3min));
}

TEST_CASE("the meta API server's clock jumps ahead: what was under way isn't late by it", "[operator][time]") {
  World w(6, 3);
  w.lead("a");
  w.settle(3);
  w.upgrade("k-2");
  REQUIRE(w.until([&] { return w.under_way() == 3; }, 1min));
  w.op->env.jump_server(2h);
  w.hosts_env.jump_server(2h);
  CHECK(w.until([&] { return w.op->metrics.text().find("endstate_clock_jumps_total 1") != std::string::npos; }, 2min));
  CHECK(w.until([&] { return w.ended("Succeeded") == 3; }));
  CHECK(w.ended("Failed") == 0);
}

TEST_CASE("an operator of the last release over objects of a newer one: no grant, no crash, nothing read again and again",
          "[operator][unreadable]") {
  World w(8, 4);
  w.lead("a");
  w.settle(4);
  w.kill();
  // Words and shapes that this version doesn't know: of a budget that would hold all updates, and of objects beside what it works on.
  w.budget({{"limits", {{{"name", "all"}, {"operations", {"MachineUpdate"}}, {"maxConcurrent", {{"perRack", 1}}}}}}});
  w.create<api::Cluster>("default", {{"metadata", {{"name", "newer"}}}, {"spec", {{"controlPlane", "elsewhere"}}}});
  w.create<api::Machine>("default", {{"metadata", {{"name", "newer"}}}, {"spec", {{"clusterName", "blue"}, {"packages", "none"}}}});
  w.create<api::MachineSet>("default", {{"metadata", {{"name", "newer"}}}, {"spec", {{"clusterName", "blue"}, {"replicas", "many"}}}});
  w.upgrade("k-2");
  w.lead("b");
  w.world.run_for(2min);
  std::map<std::string, int> reads;
  w.op->env.on_send = [&](const Call& c) {
    if (c.verb == Verb::list || c.verb == Verb::watch) ++reads[std::string(c.resource->plural)];
  };
  w.world.run_for(30min);
  CHECK(w.ended("Succeeded") + w.ended("Failed") + w.under_way() == 0);
  CHECK(w.are_ready() == 4);
  for (const auto& [plural, n] : reads) {
    INFO(plural << " " << n);
    CHECK(n <= 14);  // a watch lasts 5 minutes and more; two caches of one kind
  }
  w.patch<api::ChangeBudget>("", "b",
                             {{"spec", {{"limits", {{{"name", "all"}, {"operations", {"MachineUpdate"}}, {"maxConcurrent", 4}}}}}}});
  CHECK(w.until([&] { return w.ended("Succeeded") == 4; }));
}
