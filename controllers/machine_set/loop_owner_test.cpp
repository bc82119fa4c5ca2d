// What a set's writes meet at an API server: quotas, machines that nobody owns, and a garbage collector that lets them go.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "apis/v1alpha1/cluster.hpp"
#include "apis/v1alpha1/machine_set.hpp"
#include "apis/v1alpha1/packages.hpp"
#include "apis/v1alpha1/policy.hpp"
#include "controllers/machine_set/loop.hpp"
#include "controllers/metric_source/loop.hpp"
#include "reconcile/cache/caches.hpp"
#include "reconcile/kube/core.hpp"
#include "reconcile/run/manager.hpp"
#include "reconcile/sim/seeds.hpp"
#include "reconcile/sim/sim_api.hpp"
#include "reconcile/sim/toy.hpp"

using namespace reconcile;
using namespace std::chrono_literals;
using nlohmann::json;
namespace api = endstate::v1alpha1;

namespace {

const endstate::machine_set::MachineSetLoop the_sets;
const endstate::metric_source::MetricSourceLoop the_sources;

struct World {
  SimWorld world;
  SimApi server{world};
  SimEnv env{world, "op", {}};
  Caches caches{env, seed_log("op"), {}};
  toy::ToyGuard guard{env};
  Metrics metrics{"test"};
  Manager manager{env, caches, guard, {&the_sets, &the_sources}, {.program = "endstate"}, metrics, seed_log("op")};

  explicit World(std::uint64_t seed) : world(seed) {
    env.serve("", server);
    manager.start();
    create<api::MachinePackageVersion>(
        {{"metadata", {{"name", "k-1"}}},
         {"spec", {{"packageName", "k"}, {"version", "1"}, {"install", {{"method", "Archive"}, {"artifacts", json::array()}}}}}});
    create<api::Cluster>({{"metadata", {{"name", "blue"}}}, {"spec", {{"controlPlane", {{"type", "External"}}}}}});
  }
  template <class T>
  void create(json object) {
    if (resource_of<T>.namespaced) object["metadata"]["namespace"] = "default";
    REQUIRE(server.request({.verb = Verb::create,
                            .resource = &resource_of<T>,
                            .name_space = resource_of<T>.namespaced ? "default" : "",
                            .body = object.dump()}));
  }
  template <class T>
  Result<std::string> patch(const std::string& name, const json& body) {
    return server.request(
        {.verb = Verb::merge_patch, .resource = &resource_of<T>, .name_space = "default", .name = name, .body = body.dump()});
  }
  void make_set(int replicas) {
    const json packages{{{"name", "k"}, {"versionRef", {{"name", "k-1"}}}}};
    create<api::MachineSet>({{"metadata", {{"name", "web"}}},
                             {"spec",
                              {{"clusterName", "blue"},
                               {"replicas", replicas},
                               {"selector", {{"matchLabels", {{"pool", "web"}}}}},
                               {"template", {{"metadata", {{"labels", {{"pool", "web"}}}}}, {"spec", {{"packages", packages}}}}}}}});
  }
  json set() const { return json::parse(server.get(resource_of<api::MachineSet>, "default", "web").value_or("{}")); }
  std::vector<json> machines() const {
    std::vector<json> out;
    for (const auto& text : server.list(resource_of<api::Machine>)) out.push_back(json::parse(text));
    return out;
  }
  std::string owner(const json& m) const { return m.value("/metadata/ownerReferences/0/uid"_json_pointer, ""); }
  json condition(const std::string& type) const {
    const auto now = set();
    for (const auto& c : now.value("/status/conditions"_json_pointer, json::array()))
      if (c["type"] == type) return c;
    return {};
  }
  bool until(const std::function<bool()>& done, std::chrono::seconds limit) {
    for (std::chrono::seconds t{}; t < limit; t += 1s) {
      world.run_for(1s);
      if (done()) return true;
    }
    return false;
  }
  // As kubectl delete --cascade=orphan and kube-controller-manager do it.
  void orphan() {
    const auto finalizers = set()["metadata"]["finalizers"];
    auto with = finalizers;
    with.push_back("orphan");
    REQUIRE(patch<api::MachineSet>("web", {{"metadata", {{"finalizers", with}}}}));
    REQUIRE(server.request({.verb = Verb::remove, .resource = &resource_of<api::MachineSet>, .name_space = "default", .name = "web"}));
    for (const auto& m : machines()) REQUIRE(patch<api::Machine>(m["metadata"]["name"], {{"metadata", {{"ownerReferences", nullptr}}}}));
    for (const auto& text : server.list(resource_of<ControllerRevision>))
      REQUIRE(patch<ControllerRevision>(json::parse(text)["metadata"]["name"], {{"metadata", {{"ownerReferences", nullptr}}}}));
    const auto left = set();
    if (left.empty()) return;
    json rest = json::array();
    for (const auto& f : left["metadata"]["finalizers"])
      if (f != "orphan") rest.push_back(f);
    REQUIRE(patch<api::MachineSet>("web", {{"metadata", {{"finalizers", rest}}}}));
  }
};

}  // namespace

TEST_CASE("a quota that refuses machines is told at the set, in its words, and the rest is made when it goes", "[owner]") {
  World w(1);
  std::size_t most = 3;
  w.server.admit = [&](const Call& call, const std::string&) -> std::optional<Error> {
    if (call.verb != Verb::create || call.resource->plural != "machines" || w.server.count(resource_of<api::Machine>) < most)
      return std::nullopt;
    return Error{Code::forbidden, "machines.endstate.dev is forbidden: exceeded quota: q", 0ms, "Forbidden"};
  };
  w.make_set(5);
  REQUIRE(w.until([&] { return w.condition("ReplicaFailure").value("status", "") == "True"; }, 10s));
  CHECK(w.condition("ReplicaFailure")["reason"] == "FailedCreate");
  CHECK(w.condition("ReplicaFailure")["message"].get<std::string>().find("exceeded quota: q") != std::string::npos);
  CHECK(w.set().value("/status/rollout/blockedBy/message"_json_pointer, "").find("exceeded quota: q") != std::string::npos);
  CHECK(w.condition("UpToDate")["status"] == "False");
  CHECK(w.machines().size() == 3);
  REQUIRE(w.until([&] { return w.server.count({"events.k8s.io", "v1", "events", "Event"}) > 0; }, 30s));
  w.world.run_for(120s);  // it stays said
  CHECK(w.condition("ReplicaFailure")["status"] == "True");
  most = 100;
  REQUIRE(w.until([&] { return w.machines().size() == 5; }, 20s));
  REQUIRE(w.until([&] { return w.condition("ReplicaFailure").empty(); }, 20s));
}

TEST_CASE("orphaned and made again: every machine is let go, and taken up by the new set under its old revision", "[owner]") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    INFO("seed " << seed);
    World w(seed);
    w.make_set(3);
    REQUIRE(w.until([&] { return w.machines().size() == 3; }, 20s));
    w.world.run_for(2s);
    const auto before = w.machines();
    w.orphan();
    REQUIRE(w.until([&] { return w.set().empty(); }, 20s));
    REQUIRE(w.machines().size() == 3);
    for (const auto& m : w.machines()) {
      CHECK_FALSE(m["metadata"].contains("deletionTimestamp"));
      CHECK(w.owner(m).empty());
    }
    for (const auto& text : w.server.list(resource_of<ControllerRevision>)) CHECK(w.owner(json::parse(text)).empty());
    w.make_set(3);
    const auto mine = [&] {
      const auto all = w.machines();
      return std::all_of(all.begin(), all.end(), [&](const json& m) { return w.owner(m) == w.set()["metadata"]["uid"]; });
    };
    REQUIRE(w.until(mine, 20s));
    w.world.run_for(5s);
    const auto after = w.machines();
    REQUIRE(after.size() == 3);
    for (std::size_t i = 0; i < 3; ++i) {
      CHECK(after[i]["metadata"]["uid"] == before[i]["metadata"]["uid"]);
      CHECK(after[i]["metadata"]["labels"]["endstate.dev/revision"] == before[i]["metadata"]["labels"]["endstate.dev/revision"]);
    }
    CHECK(w.server.count(resource_of<ControllerRevision>) == 1);
  }
}

TEST_CASE("a machine that nobody owns is no reason to make others, nor is one too many taken", "[owner]") {
  World w(1);
  const auto bare = [&](const std::string& name) {
    w.create<api::Machine>({{"metadata", {{"name", name}, {"labels", {{"pool", "web"}}}}},
                            {"spec", {{"clusterName", "blue"}, {"packages", {{{"name", "k"}, {"versionRef", {{"name", "k-1"}}}}}}}}});
  };
  bare("a");
  bare("b");
  w.make_set(1);
  REQUIRE(w.until([&] { return w.condition("Stalled").value("reason", "") == "TooManyToAdopt"; }, 10s));
  CHECK(w.machines().size() == 2);
  REQUIRE(w.patch<api::MachineSet>("web", {{"spec", {{"replicas", 3}}}}));
  REQUIRE(w.until([&] { return w.machines().size() == 3 && !w.owner(w.machines()[0]).empty() && !w.owner(w.machines()[1]).empty(); }, 10s));
}

TEST_CASE("what stands in another namespace is no part of a set, whatever owner it names", "[owner]") {
  World w(1);
  w.make_set(2);
  REQUIRE(w.until([&] { return w.set().value("/status/replicas"_json_pointer, 0) == 2; }, 20s));
  const std::string uid = w.set()["metadata"]["uid"];
  const auto forge = [&]<class T>(const T*, json object) {
    object["metadata"]["namespace"] = "theirs";
    object["metadata"]["ownerReferences"] = {
        {{"apiVersion", "endstate.dev/v1alpha1"}, {"kind", "MachineSet"}, {"name", "web"}, {"uid", uid}, {"controller", true}}};
    REQUIRE(w.server.request({.verb = Verb::create, .resource = &resource_of<T>, .name_space = "theirs", .body = object.dump()}));
  };
  const auto in = [&](const std::string& name_space) {
    const auto all = w.machines();
    return std::count_if(all.begin(), all.end(), [&](const json& m) { return m["metadata"]["namespace"] == name_space; });
  };
  for (const std::string name : {"a", "b", "c"})
    forge(static_cast<const api::Machine*>(nullptr),
          {{"metadata", {{"name", name}, {"labels", {{"pool", "web"}}}}},
           {"spec", {{"clusterName", "blue"}, {"packages", {{{"name", "k"}, {"versionRef", {{"name", "k-1"}}}}}}}}});
  auto revision = json::parse(w.server.list(resource_of<ControllerRevision>).at(0));
  const json meta{{"name", revision["metadata"]["name"]}, {"labels", revision["metadata"]["labels"]}};
  revision["metadata"] = meta;
  revision["revision"] = 99;
  forge(static_cast<const ControllerRevision*>(nullptr), revision);
  REQUIRE(w.patch<api::MachineSet>("web", {{"spec", {{"replicas", 3}, {"template", {{"spec", {{"labels", {{"x", "y"}}}}}}}}}}));
  w.world.run_for(60s);
  CHECK(in("default") == 3);
  CHECK(in("theirs") == 3);
  CHECK(w.set().value("/status/replicas"_json_pointer, 0) == 3);
  std::vector<int> numbers;
  for (const auto& text : w.server.list(resource_of<ControllerRevision>, "default")) numbers.push_back(json::parse(text)["revision"]);
  std::sort(numbers.begin(), numbers.end());
  CHECK(numbers == std::vector{1, 2});  // not 100: theirs is none of its history
}

TEST_CASE("another namespace's revision or MetricSource wakes no set", "[owner]") {
  World w(1);
  w.create<api::MachineSet>(
      {{"metadata", {{"name", "web"}}},
       {"spec",
        {{"clusterName", "blue"},
         {"paused", true},
         {"selector", {{"matchLabels", {{"pool", "web"}}}}},
         {"template", {{"metadata", {{"labels", {{"pool", "web"}}}}}}},
         {"rollout",
          {{"steps",
            {{{"name", "canary"},
              {"updated", 1},
              {"analysis", {{"checks", {{{"name", "errors"}, {"sourceRef", {{"name", "prometheus"}}}, {"query", "x"}}}}}}}}}}}}}});
  w.world.run_for(5s);
  ControllerRevision revision;
  revision.metadata.labels.set(api::label::set_uid, w.set()["metadata"]["uid"].get<std::string>());
  api::MetricSource metrics;
  metrics.metadata.name = "prometheus";
  const auto woken = [&](const Kind& kind, const void* object) {
    std::size_t n = 0;
    for (const auto& source : the_sets.sources())
      if (source.kind == &kind) source.keys(w.caches, "", nullptr, object, [&](const Key&) { ++n; });
    return n;
  };
  for (const auto* name_space : {"default", "theirs"}) {
    INFO(name_space);
    revision.metadata.name_space = metrics.metadata.name_space = name_space;
    const std::size_t n = std::string_view(name_space) == "default" ? 1 : 0;
    CHECK(woken(kind_of<ControllerRevision>, &revision) == n);
    CHECK(woken(kind_of<api::MetricSource>, &metrics) == n);
  }
}
