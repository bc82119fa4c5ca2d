// The analysis of a step from end to end: the loop under the real runtime, on a simulated API server and a simulated Prometheus, with
// machines that obey at once.
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

// One operator.
struct Process {
  SimEnv env;
  Caches caches;
  toy::ToyGuard guard;
  Metrics metrics{"test"};
  Manager manager;
  Process(SimWorld& world, SimApi& server, SimFaults faults)
      : env(world, "op", faults),
        caches(env, seed_log("op"), {}),
        guard(env),
        manager(env, caches, guard, {&the_sets, &the_sources}, {.program = "endstate"}, metrics, seed_log("op")) {
    env.serve("", server);
  }
};

struct World {
  SimWorld world;
  SimApi server{world};
  SimFaults faults;
  std::unique_ptr<Process> process;
  std::string number = "0.01";  // what Prometheus answers; empty: it is down
  int asked = 0;                // not counting vector(1)
  std::string job_condition;    // what becomes of Jobs; empty: they run

  explicit World(std::uint64_t seed, SimFaults f = {}) : world(seed), faults(f) { restart(); }
  void restart() {
    process.reset();
    process = std::make_unique<Process>(world, server, faults);
    process->env.on_http = [this](const HttpCall& call) { return answer(call); };
    process->manager.start();
  }
  Result<HttpAnswer> answer(const HttpCall& call) {
    const bool up = call.url.ends_with("query=vector%281%29");
    asked += up ? 0 : 1;
    if (number.empty()) return fail(Code::unavailable, "connection refused");
    const json value{1700000000, up ? "1" : number};
    return HttpAnswer{
        200, json{{"status", "success"}, {"data", {{"resultType", "vector"}, {"result", {{{"metric", json::object()}, {"value", value}}}}}}}
                 .dump()};
  }

  template <class T>
  void create(const json& body, std::string_view name_space = "default") {
    auto object = body;
    if (resource_of<T>.namespaced) object["metadata"]["namespace"] = name_space;
    const Call call{.verb = Verb::create,
                    .resource = &resource_of<T>,
                    .name_space = resource_of<T>.namespaced ? std::string(name_space) : "",
                    .body = object.dump()};
    const auto made = server.request(call);
    REQUIRE(made);
  }
  template <class T>
  void patch(const std::string& name, const json& body, const std::string& subresource = {}) {
    const auto done = server.request({.verb = Verb::merge_patch,
                                      .resource = &resource_of<T>,
                                      .name_space = "default",
                                      .name = name,
                                      .subresource = subresource,
                                      .body = body.dump()});
    REQUIRE(done);
  }
  json set() const { return json::parse(server.get(resource_of<api::MachineSet>, "default", "web").value_or("{}")); }
  json rollout() const { return set().value("/status/rollout"_json_pointer, json::object()); }
  std::string phase() const { return rollout().value("phase", ""); }
  int with_package(const std::string& package) const {
    int n = 0;
    for (const auto& text : server.list(resource_of<api::Machine>))
      n += json::parse(text)["spec"]["packages"][0]["versionRef"]["name"] == package;
    return n;
  }
  std::string stalled() const {
    const auto now = set();
    for (const auto& c : now["status"]["conditions"])
      if (c["type"] == "Stalled" && c["status"] == "True") return c["reason"].get<std::string>() + ": " + c["message"].get<std::string>();
    return {};
  }

  // Machines are what they should be, Jobs end as the test says.
  void obey() {
    for (const auto& text : server.list(resource_of<api::Machine>)) {
      const auto m = json::parse(text);
      const auto& revision = m["metadata"]["labels"]["endstate.dev/revision"];
      if (m.value("/status/revision"_json_pointer, "") == revision) continue;
      const std::string name = m["metadata"]["name"];
      const json ref{{"name", "h-" + name}, {"uid", "h-" + name}};
      const json ready{{"type", "Ready"}, {"status", "True"}, {"reason", "Ready"}, {"lastTransitionTime", "2026-01-01T00:00:00Z"}};
      patch<api::Machine>(
          name, {{"status", {{"phase", "Running"}, {"revision", revision}, {"hostRef", ref}, {"nodeRef", ref}, {"conditions", {ready}}}}},
          "status");
    }
    for (const auto& text : server.list(resource_of<Job>)) {
      const auto j = json::parse(text);
      if (job_condition.empty() || j.contains("status")) continue;
      patch<Job>(
          j["metadata"]["name"],
          {{"status", {{"conditions", {{{"type", job_condition}, {"status", "True"}, {"reason", "Backoff"}, {"message", "exit 1"}}}}}}},
          "status");
    }
  }
  bool until(const std::function<bool()>& done, std::chrono::seconds limit) {
    for (std::chrono::seconds t{}; t < limit; t += 1s) {
      obey();
      world.run_for(1s);
      if (done()) return true;
    }
    return false;
  }

  void make(const json& analysis) {
    for (const char* name : {"k-1", "k-2"})
      create<api::MachinePackageVersion>(
          {{"metadata", {{"name", name}}},
           {"spec", {{"packageName", "k"}, {"version", "1"}, {"install", {{"method", "Archive"}, {"artifacts", json::array()}}}}}});
    create<api::Cluster>({{"metadata", {{"name", "blue"}}}, {"spec", {{"controlPlane", {{"type", "External"}}}}}});
    create<api::MetricSource>({{"metadata", {{"name", "prom"}}}, {"spec", {{"prometheus", {{"address", "http://prom"}}}}}});
    const json packages{{{"name", "k"}, {"versionRef", {{"name", "k-1"}}}}};
    const json steps{{{"name", "canary"}, {"updated", 2}, {"analysis", analysis}}, {{"name", "all"}, {"updated", "100%"}}};
    create<api::MachineSet>({{"metadata", {{"name", "web"}, {"annotations", {{"endstate.dev/skip-preflight", "all"}}}}},
                             {"spec",
                              {{"clusterName", "blue"},
                               {"replicas", 10},
                               {"selector", {{"matchLabels", {{"pool", "web"}}}}},
                               {"template", {{"metadata", {{"labels", {{"pool", "web"}}}}}, {"spec", {{"packages", packages}}}}},
                               {"rollout", {{"steps", steps}}}}}});
    REQUIRE(until([&] { return phase() == "Complete" && with_package("k-1") == 10; }, 60s));
    patch<api::MachineSet>("web",
                           {{"spec", {{"template", {{"spec", {{"packages", {{{"name", "k"}, {"versionRef", {{"name", "k-2"}}}}}}}}}}}}});
  }
  bool complete() const { return phase() == "Complete" && with_package("k-2") == 10; }
  bool back() const { return phase() == "RolledBack" && with_package("k-1") == 10; }
};

json check(const std::string& source = "prom") {
  return {{"name", "errors"},
          {"sourceRef", {{"name", source}}},
          {"query", "errors{set=\"$(set)\"}"},
          {"operator", "Less"},
          {"threshold", "0.05"},
          {"intervalSeconds", 10},
          {"count", 3},
          {"errorLimit", 2}};
}
json checks() { return {{"checks", {check()}}}; }
json probes() {
  return {{"probes",
           {{{"name", "smoke"},
             {"timeoutSeconds", 60},
             {"jobTemplate", {{"spec", {{"template", {{"spec", {{"containers", json::array()}}}}}}}}}}}}};
}

}  // namespace

TEST_CASE("analysis from end to end: good numbers, each asked once an interval and counted once", "[analysis]") {
  World w(1);
  w.make(checks());
  REQUIRE(w.until([&] { return w.with_package("k-2") == 2; }, 20s));
  REQUIRE(w.until([&] { return w.complete(); }, 60s));
  CHECK(w.asked == 3);
  const auto step = w.set()["status"]["history"].back()["steps"][0];
  CHECK(step["metrics"][0]["good"] == 3);
  CHECK(step["metrics"][0]["value"] == "0.01");
}

TEST_CASE("analysis from end to end: a bad number goes back, an outage waits and heals, and calls a person past its limit", "[analysis]") {
  World w(2);
  SECTION("bad") {
    w.number = "0.2";
    w.make(checks());
    REQUIRE(w.until([&] { return w.back(); }, 60s));
    CHECK(w.set()["status"]["rejectedRevisions"][0]["reason"] == "AnalysisFailed");
    CHECK(w.asked == 1);
  }
  SECTION("an outage") {
    w.make(checks());
    REQUIRE(w.until([&] { return w.rollout().contains("analysis"); }, 20s));
    w.number.clear();
    REQUIRE(w.until([&] { return w.stalled().find("AnalysisInconclusive") == 0; }, 60s));
    CHECK(w.stalled().find("connection refused") != std::string::npos);
    CHECK(w.with_package("k-2") == 2);
    w.number = "0";
    CHECK_FALSE(w.until([&] { return w.with_package("k-2") > 2; }, 60s));
    const std::string revision = w.rollout()["revision"];
    w.patch<api::MachineSet>("web", {{"metadata", {{"annotations", {{"endstate.dev/retry", revision}}}}}});
    REQUIRE(w.until([&] { return w.complete(); }, 90s));
  }
  SECTION("a source that comes late") {
    w.make({{"checks", {check("late")}}});
    REQUIRE(w.until([&] { return w.stalled().find("MetricSourceNotFound") == 0; }, 60s));
    w.create<api::MetricSource>({{"metadata", {{"name", "late"}}}, {"spec", {{"prometheus", {{"address", "http://late"}}}}}});
    REQUIRE(w.until([&] { return w.complete(); }, 60s));
  }
}

TEST_CASE("analysis from end to end: a Job that is done passes, one that fails rejects, one that is deleted is made once more",
          "[analysis][probe]") {
  World w(3);
  SECTION("done") {
    w.make(probes());
    REQUIRE(w.until([&] { return w.server.count(resource_of<Job>) == 1; }, 20s));
    const auto job = json::parse(w.server.list(resource_of<Job>)[0]);
    CHECK(job["metadata"]["namespace"] == "default");
    CHECK(job["spec"]["backoffLimit"] == 0);
    CHECK_FALSE(w.until([&] { return w.with_package("k-2") > 2; }, 20s));
    w.job_condition = "Complete";
    REQUIRE(w.until([&] { return w.complete(); }, 30s));
    CHECK(w.server.writes["create jobs"] == 1);
  }
  SECTION("failed") {
    w.job_condition = "Failed";
    w.make(probes());
    REQUIRE(w.until([&] { return w.back(); }, 60s));
    CHECK(w.set()["status"]["rejectedRevisions"][0]["reason"] == "ProbeFailed");
    SECTION("tried again: another Job in its place") {
      w.job_condition = "Complete";
      const std::string revision = w.rollout()["revision"];
      w.patch<api::MachineSet>("web", {{"metadata", {{"annotations", {{"endstate.dev/retry", revision}}}}}});
      REQUIRE(w.until([&] { return w.complete(); }, 60s));
      CHECK(w.server.writes["create jobs"] >= 2);
    }
  }
  SECTION("deleted") {
    w.make(probes());
    for (int i = 0; i < 2; ++i) {
      REQUIRE(w.until([&] { return w.server.count(resource_of<Job>) == 1; }, 20s));
      w.world.run_for(8s);  // it has been seen
      const std::string name = json::parse(w.server.list(resource_of<Job>)[0])["metadata"]["name"];
      REQUIRE(w.server.request({.verb = Verb::remove, .resource = &resource_of<Job>, .name_space = "default", .name = name}));
    }
    REQUIRE(w.until([&] { return w.back(); }, 60s));
  }
  SECTION("refused by the API server") {
    w.server.admit = [](const Call& call, const std::string&) -> std::optional<Error> {
      if (call.resource->plural != "jobs") return std::nullopt;
      return Error{Code::invalid, "Job.batch is invalid: spec.template.spec.containers: Required value"};
    };
    w.make(probes());
    REQUIRE(w.until([&] { return w.back(); }, 60s));
    CHECK(w.set()["status"]["rejectedRevisions"][0]["message"].get<std::string>().find("containers: Required value") != std::string::npos);
  }
}

TEST_CASE("analysis from end to end: whatever the network loses, and whenever the operator dies, no answer counts twice", "[analysis]") {
  for_seeds(20, [](std::uint64_t seed) {
    INFO("seed " << seed);
    World w(seed, {.refused = 20, .reply_lost = 40, .request_lost = 20, .fastest = 1ms, .slowest = 300ms, .watch_lag = 500ms});
    w.make({{"checks", checks()["checks"]}, {"probes", probes()["probes"]}});
    w.job_condition = "Complete";
    REQUIRE(w.until([&] { return w.rollout().contains("analysis"); }, 120s));
    for (int i = 0; i < 3; ++i) {
      w.until([&] { return w.complete(); }, std::chrono::seconds(1 + w.world.random() % 12));
      w.restart();
    }
    REQUIRE(w.until([&] { return w.complete(); }, 600s));
    const auto metrics = w.set()["status"]["history"].back()["steps"][0]["metrics"][0];
    CHECK(metrics["good"] == 3);
    CHECK(w.asked >= 3);
  });
}
