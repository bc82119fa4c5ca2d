// RightsComplete from end to end: the cluster loop under the real runtime, on two simulated API servers.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "apis/v1alpha1/cluster.hpp"
#include "controllers/cluster/loop.hpp"
#include "controllers/guard/disruptive.hpp"
#include "reconcile/cache/caches.hpp"
#include "reconcile/kube/secret.hpp"
#include "reconcile/run/manager.hpp"
#include "reconcile/sim/seeds.hpp"
#include "reconcile/sim/sim_api.hpp"
#include "reconcile/sim/toy.hpp"

using namespace reconcile;
using namespace std::chrono_literals;
using nlohmann::json;
namespace api = endstate::v1alpha1;

namespace {

json rules(std::vector<std::string> groups) {
  return {{"status", {{"incomplete", false}, {"resourceRules", {{{"verbs", {"*"}}, {"apiGroups", groups}, {"resources", {"*"}}}}}}}};
}
const json everything = rules({"*"});
const json without_storage = rules({"", "endstate.dev", "batch", "events.k8s.io", "coordination.k8s.io", "rbac.authorization.k8s.io",
                                    "admissionregistration.k8s.io", "certificates.k8s.io"});

struct World {
  SimWorld world{1};
  SimApi meta{world}, business{world};
  SimEnv env{world, "op", {}};
  Caches caches{env, seed_log("op"), {}};
  toy::ToyGuard guard{env};
  endstate::cluster::ClusterLoop cluster;
  Metrics metrics{"test"};
  Manager manager{env,     caches,        guard, {&cluster}, {.program = "endstate", .disruptive = endstate::guard::disruptive},
                  metrics, seed_log("op")};
  Result<std::string> answer = everything.dump();
  int asked = 0;

  World() {
    business.review = [this](const Call& call) {
      CHECK(call.resource->plural == "selfsubjectrulesreviews");
      ++asked;
      return answer;
    };
    must(resource_of<SecretData>, {{"metadata", {{"name", "far"}}}, {"data", {{"value", "a3ViZWNvbmZpZw=="}}}});
    must(resource_of<api::Cluster>, {{"metadata", {{"name", "far"}, {"finalizers", {"endstate.dev/cluster"}}}},
                                     {"spec", {{"controlPlane", {{"type", "External"}, {"kubeconfigSecret", {{"name", "far"}}}}}}}});
    env.serve("", meta);
    env.reachable("kubeconfig", business);
    manager.start();
  }
  void must(const Resource& resource, const json& body) {
    REQUIRE(meta.request({.verb = Verb::create, .resource = &resource, .name_space = "prod", .body = body.dump()}));
  }
  json condition(const std::string& type) const {
    const auto object = json::parse(meta.get(resource_of<api::Cluster>, "prod", "far").value_or("{}"));
    for (const auto& c : object.value("/status/conditions"_json_pointer, json::array()))
      if (c.value("type", "") == type) return c;
    return json::object();
  }
  bool until(const std::string& reason, std::chrono::nanoseconds limit = 90s) {
    return world.run_until([&] { return condition("RightsComplete").value("reason", "") == reason; }, limit);
  }
  int status_writes() {
    int all = 0;
    for (const auto& [what, count] : meta.writes)
      if (what.ends_with(" clusters/status")) all += count;
    return all;
  }
};

}  // namespace

TEST_CASE("a Cluster says what endstate lacks there, and that it lacks nothing when it is granted", "[rights]") {
  World w;
  w.answer = without_storage.dump();
  REQUIRE(w.until("RightsMissing"));
  CHECK(w.condition("RightsComplete")["message"].get<std::string>().starts_with("volumeattachments (list)"));
  CHECK(w.condition("Ready")["status"] == "True");  // nothing waits for it
  w.answer = everything.dump();
  REQUIRE(w.until("RightsComplete"));
  CHECK(w.condition("RightsComplete")["status"] == "True");
}

TEST_CASE("rights that stay as they are cost an ask each hour and no write", "[rights]") {
  World w;
  REQUIRE(w.until("RightsComplete"));
  w.world.run_for(10s);
  const int asked = w.asked, written = w.status_writes();
  w.world.run_for(3h);
  CHECK(w.asked - asked == 3);
  CHECK(w.status_writes() == written);
}

TEST_CASE("an API server that doesn't say what endstate may do leaves it unknown, and costs no write each minute", "[rights]") {
  World w;
  w.answer = fail(Code::forbidden, "selfsubjectrulesreviews is forbidden");
  REQUIRE(w.until("RightsUnknown"));
  CHECK(w.condition("RightsComplete")["status"] == "Unknown");
  CHECK(w.condition("Ready")["status"] == "True");
  w.world.run_for(10s);
  const int written = w.status_writes();
  w.world.run_for(10min);
  CHECK(w.status_writes() == written);
  w.answer = everything.dump();
  CHECK(w.until("RightsComplete"));
}
