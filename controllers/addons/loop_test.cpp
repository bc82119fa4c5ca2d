// Add-ons from end to end: the loop under the real runtime, beside the cluster loop that keeps the connection, on two simulated API
// servers.
#include "controllers/addons/loop.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "apis/v1alpha1/packages.hpp"
#include "controllers/cluster/loop.hpp"
#include "controllers/guard/disruptive.hpp"
#include "reconcile/cache/caches.hpp"
#include "reconcile/kube/core.hpp"
#include "reconcile/kube/workloads.hpp"
#include "reconcile/run/manager.hpp"
#include "reconcile/sim/seeds.hpp"
#include "reconcile/sim/sim_api.hpp"
#include "reconcile/sim/toy.hpp"

using namespace reconcile;
using namespace std::chrono_literals;
using nlohmann::json;
namespace api = endstate::v1alpha1;

namespace {

constexpr Resource namespaces{"", "v1", "namespaces", "Namespace", false};
constexpr Resource crds{"apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false};
constexpr Resource roles{"rbac.authorization.k8s.io", "v1", "roles", "Role"};
constexpr Resource config_maps{"", "v1", "configmaps", "ConfigMap"};
constexpr Resource widgets{"example.com", "v1", "widgets", "Widget"};

constexpr auto deployment = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: coredns, namespace: dns}\nspec: {replicas: 2}\n";
constexpr auto space = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: dns}\n";
constexpr auto map = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: corefile, namespace: dns}\ndata: {a: b}\n";

struct Process {  // an operator
  SimEnv env;
  Caches caches;
  toy::ToyGuard guard{env};
  endstate::cluster::ClusterLoop cluster;  // not for Hosted control planes: it keeps the connection of one that another made
  endstate::addons::AddonsLoop addons;
  Metrics metrics{"test"};
  Manager manager;

  Process(SimWorld& world, SimApi& meta, SimApi& business, SimFaults faults, std::shared_ptr<endstate::addons::Kinds> kinds)
      : env(world, "op", faults),
        caches(env, seed_log("op"), {}),
        addons(std::move(kinds)),
        manager(env, caches, guard, {&cluster, &addons}, {.program = "endstate", .disruptive = endstate::guard::disruptive}, metrics,
                seed_log("op")) {
    env.serve("", meta);
    env.reachable("kubeconfig", business);
    manager.start();
  }
};

struct World {
  SimWorld world;
  SimApi meta{world}, business{world};
  std::shared_ptr<endstate::addons::Kinds> kinds = std::make_shared<endstate::addons::Kinds>();  // calls in flight outlive a process
  std::unique_ptr<Process> process;

  explicit World(std::uint64_t seed = 1) : world(seed) {
    must(meta, resource_of<Secret>, "prod", {{"metadata", {{"name", "hz-a-kubeconfig"}}}, {"data", {{"value", "a3ViZWNvbmZpZw=="}}}});
    must(meta, resource_of<api::Cluster>, "prod",
         {{"metadata", {{"name", "hz-a"}, {"finalizers", {"endstate.dev/cluster"}}}},
          {"spec", {{"controlPlane", {{"type", "Hosted"}}}, {"packageVersion", {{"name", "v1"}}}}}});
    status({{"phase", "Running"}, {"controlPlane", {{"certificates", {{{"name", "kubeconfig"}}}}}}});
    // A CRD's kind is served when the CRD is there, a namespaced object needs its namespace.
    business.admit = [this](const Call& call, const std::string&) -> std::optional<Error> {
      if (call.resource->kind == "Widget" && !business.get(crds, "", "widgets.example.com"))
        return Error{Code::not_found, "the server could not find the requested resource", 0ms, "NotFound"};
      if (call.resource->namespaced && call.name_space != "default" && !business.get(namespaces, "", call.name_space))
        return Error{Code::not_found, "namespaces \"" + call.name_space + "\" not found", 0ms, "NotFound"};
      if (call.resource->plural == refused) return Error{Code::invalid, "it is not as the schema says", 0ms, "Invalid"};
      return std::nullopt;
    };
  }
  std::string refused;  // a plural that the business cluster refuses

  static void must(SimApi& server, const Resource& resource, const std::string& ns, const json& body) {
    const auto made = server.request({.verb = Verb::create, .resource = &resource, .name_space = ns, .body = body.dump()});
    REQUIRE(made);
  }
  void status(const json& status) {
    REQUIRE(meta.request({.verb = Verb::merge_patch,
                          .resource = &resource_of<api::Cluster>,
                          .name_space = "prod",
                          .name = "hz-a",
                          .subresource = "status",
                          .body = json{{"status", status}}.dump()}));
  }
  void version(const std::string& name, const std::vector<std::pair<std::string, std::string>>& addons) {
    json list = json::array();
    for (const auto& [addon, manifest] : addons) list.push_back({{"name", addon}, {"manifest", manifest}});
    must(meta, resource_of<api::ClusterPackageVersion>, "", {{"metadata", {{"name", name}}}, {"spec", {{"addons", list}}}});
    went_through(name);
  }
  void went_through(const std::string& name) { status({{"controlPlane", {{"packageVersion", name}}}}); }
  void start(SimFaults faults = {}) {
    process.reset();
    process = std::make_unique<Process>(world, meta, business, faults, kinds);
  }
  json cluster() const { return json::parse(meta.get(resource_of<api::Cluster>, "prod", "hz-a").value_or("{}")); }
  json condition(const std::string& type) const {
    for (const auto& c : cluster().value("/status/conditions"_json_pointer, json::array()))
      if (c.value("type", "") == type) return c;
    return json::object();
  }
  json addon(const std::string& name) const {
    for (const auto& a : cluster().value("/status/addons"_json_pointer, json::array()))
      if (a.value("name", "") == name) return a;
    return json::object();
  }
  bool until(const std::string& reason, std::chrono::nanoseconds limit = 60s) {
    return world.run_until([&] { return condition("AddonsReady").value("reason", "") == reason; }, limit);
  }
  bool has(const Resource& resource, const std::string& ns, const std::string& name) const {
    return business.get(resource, ns, name).has_value();
  }
};

}  // namespace

TEST_CASE("a hosted cluster gets what its agents need, and its package's add-ons, and all of it is in status", "[addons]") {
  World w;
  w.version("v1", {{"dns", std::string(deployment) + map + space}});  // out of order
  w.start();
  REQUIRE(w.until("Ready"));
  CHECK(w.has(crds, "", "hostassignments.endstate.dev"));
  CHECK(w.has(namespaces, "", "endstate-system"));
  CHECK(w.has(roles, "endstate-system", "endstate-agents"));
  CHECK(w.has(resource_of<Deployment>, "dns", "coredns"));
  CHECK(w.addon("dns")["objects"].size() == 3);
  CHECK(w.addon("dns")["state"] == "Applied");
  CHECK_FALSE(w.addon("endstate")["hash"].get<std::string>().empty());
  // The cluster loop's part of status stands beside it.
  CHECK(w.condition("Connected")["status"] == "True");
  CHECK(w.process->metrics.text().find("test_unguarded_total") == std::string::npos);

  // Then it is quiet: everything is applied again once in a period, and nothing else is asked.
  const auto objects = w.addon("dns")["objects"].size() + w.addon("endstate")["objects"].size();
  std::size_t sent = 0;
  w.process->env.on_send = [&](const Call& call) {
    sent += call.cluster == "prod/hz-a" && call.resource != nullptr && call.verb == Verb::apply;
  };
  w.world.run_for(2h);
  CHECK(sent >= 10 * objects);
  CHECK(sent <= 16 * objects);
  CHECK(w.condition("AddonsReady")["reason"] == "Ready");
}

TEST_CASE("what drifts in a hosted cluster is put right within the period", "[addons]") {
  World w;
  w.version("v1", {{"dns", std::string(space) + deployment}});
  w.start();
  REQUIRE(w.until("Ready"));
  const Call edit{.verb = Verb::merge_patch,
                  .resource = &resource_of<Deployment>,
                  .name_space = "dns",
                  .name = "coredns",
                  .query = "fieldManager=somebody",
                  .body = R"({"spec":{"replicas":0}})"};
  REQUIRE(w.business.request(edit));
  REQUIRE(w.business.request({.verb = Verb::remove, .resource = &roles, .name_space = "endstate-system", .name = "endstate-agents"}));
  CHECK(w.world.run_until(
      [&] {
        const auto now = w.business.get(resource_of<Deployment>, "dns", "coredns");
        return w.has(roles, "endstate-system", "endstate-agents") && json::parse(*now)["spec"]["replicas"] == 2;
      },
      11min));
}

TEST_CASE("what the package drops is taken away, but no namespace, and nothing that another took over", "[addons]") {
  World w;
  w.version("v1", {{"dns", std::string(space) + deployment + map}, {"old", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: theirs}\n"}});
  w.start();
  REQUIRE(w.until("Ready"));
  REQUIRE(w.business.request({.verb = Verb::merge_patch,
                              .resource = &config_maps,
                              .name_space = "default",
                              .name = "theirs",
                              .body = R"({"metadata":{"labels":{"endstate.dev/addon":null}}})"}));
  SECTION("by a version that is good") {
    w.version("v2", {{"dns", deployment}});
    REQUIRE(w.world.run_until([&] { return !w.has(config_maps, "dns", "corefile"); }, 60s));
    REQUIRE(w.world.run_until([&] { return w.addon("dns")["objects"].size() == 1 && w.addon("old").empty(); }, 60s));
    CHECK(w.until("Ready"));
    CHECK((w.has(namespaces, "", "dns") && w.has(config_maps, "default", "theirs") && w.has(resource_of<Deployment>, "dns", "coredns")));
  }
  SECTION("not by a version that can't be read: who knows what is in it") {
    w.version("v2", {{"dns", "apiVersion: v1\nkind: [\n"}});
    REQUIRE(w.until("AddonInvalid"));
    CHECK(w.condition("AddonsReady")["message"].get<std::string>().starts_with("add-on dns: document 1 (from line 1): "));
    w.world.run_for(30min);
    CHECK((w.has(config_maps, "dns", "corefile") && w.has(resource_of<Deployment>, "dns", "coredns")));
    CHECK(w.addon("dns")["objects"].size() == 3);
    w.went_through("v1");  // a rollback
    CHECK(w.until("Ready"));
  }
}

TEST_CASE("one object that the cluster refuses is named, holds nothing else up, and is tried again", "[addons]") {
  World w;
  w.refused = "deployments";
  w.version("v1", {{"dns", std::string(space) + deployment}, {"second", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: second}\n"}});
  w.start();
  REQUIRE(w.until("AddonFailed"));
  CHECK(w.condition("AddonsReady")["message"] == "add-on dns: Deployment dns/coredns: it is not as the schema says");
  REQUIRE(w.world.run_until([&] { return w.has(config_maps, "default", "second") && !w.addon("second").value("hash", "").empty(); }, 60s));
  REQUIRE(w.world.run_until([&] { return !w.addon("endstate").value("hash", "").empty(); }, 60s));
  std::size_t tries = 0;
  w.process->env.on_send = [&](const Call& call) {
    tries += call.resource != nullptr && call.resource->plural == "deployments" && call.verb == Verb::apply;
  };
  w.world.run_for(10min);
  CHECK(tries >= 5);
  CHECK(tries <= 40);
  w.refused.clear();
  CHECK(w.until("Ready"));
}

TEST_CASE("an object waits for its CRD: one beside it, or one that the cluster gets from elsewhere", "[addons]") {
  World w;
  const std::string widget = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\n";
  const std::string crd =
      "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.com}\nspec:\n  group: "
      "example.com\n  scope: Namespaced\n  names: {kind: Widget, plural: widgets}\n";
  SECTION("beside it") {
    w.version("v1", {{"widget", widget}, {"crd", crd}});
    w.start();
    REQUIRE(w.until("Ready"));
    CHECK(w.has(widgets, "default", "w"));
  }
  SECTION("from elsewhere") {
    w.version("v1", {{"widget", widget}});
    w.start();
    REQUIRE(w.until("AddonFailed"));
    CHECK(w.condition("AddonsReady")["message"].get<std::string>().find("knows no Widget of example.com/v1") != std::string::npos);
  }
}

TEST_CASE("whatever fails on the way, and however often the operator is killed, all of it is applied and nothing is forgotten",
          "[addons][seeds]") {
  for_seeds(15, [](std::uint64_t seed) {
    World w(seed);
    w.version("v1", {{"dns", std::string(space) + deployment + map}});
    const SimFaults faults{.refused = 50, .reply_lost = 50, .request_lost = 50, .throttled = 20};
    w.start(faults);
    for (int i = 0; i < 3; ++i) {
      w.world.run_for(w.world.between(100ms, 4s));
      w.start(faults);
    }
    w.version("v2", {{"dns", std::string(space) + deployment}});
    for (int i = 0; i < 3; ++i) {
      w.world.run_for(w.world.between(100ms, 4s));
      w.start(faults);
    }
    const auto done = [&] {
      return w.condition("AddonsReady").value("reason", "") == "Ready" && w.addon("dns").value("objects", json::array()).size() == 2 &&
             !w.has(config_maps, "dns", "corefile") && w.has(resource_of<Deployment>, "dns", "coredns");
    };
    REQUIRE(w.world.run_until(done, 20min));
  });
}
