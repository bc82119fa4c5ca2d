// The checks of a breaker from end to end: ChecksLoop under the real runtime, on a simulated API server and a simulated Prometheus.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "apis/v1alpha1/cluster.hpp"
#include "apis/v1alpha1/policy.hpp"
#include "controllers/guard/loop.hpp"
#include "reconcile/cache/caches.hpp"
#include "reconcile/run/manager.hpp"
#include "reconcile/sim/seeds.hpp"
#include "reconcile/sim/sim_api.hpp"
#include "reconcile/sim/toy.hpp"

using namespace reconcile;
using namespace std::chrono_literals;
using nlohmann::json;
namespace api = endstate::v1alpha1;

namespace {

// The guard's part: keeps what is told.
struct Book final : endstate::guard::CheckBook {
  std::vector<api::LedgerChecks> kept;
  std::vector<api::LedgerChecks> checks(const Key&) const override { return kept; }
  void answered(const Key&, std::vector<api::LedgerChecks> checks) override { kept = std::move(checks); }
};

struct World {
  SimWorld world{5};
  SimApi server{world};
  SimEnv env{world, "op"};
  Caches caches{env, seed_log("op"), {}};
  toy::ToyGuard guard{env};
  Book book;
  endstate::guard::ChecksLoop loop{book};
  Metrics metrics{"test"};
  Manager manager{env, caches, guard, {&loop}, {.program = "endstate"}, metrics, seed_log("op")};
  std::string number = "0";  // what Prometheus answers; empty: it is down
  std::vector<std::string> asked;

  World() {
    env.serve("", server);
    env.on_http = [this](const HttpCall& call) -> Result<HttpAnswer> {
      asked.push_back(call.url);
      if (number.empty()) return fail(Code::unavailable, "connection refused");
      return HttpAnswer{200, R"({"status":"success","data":{"resultType":"scalar","result":[1,")" + number + "\"]}}"};
    };
    manager.start();
  }
  template <class T>
  void create(const json& body) {
    const Call call{
        .verb = Verb::create, .resource = &resource_of<T>, .name_space = resource_of<T>.namespaced ? "prod" : "", .body = body.dump()};
    const auto made = server.request(call);
    REQUIRE(made);
  }
  api::CheckStatus check() const { return book.kept.empty() || book.kept[0].checks.empty() ? api::CheckStatus() : book.kept[0].checks[0]; }
  bool until(api::CheckResult result) {
    return world.run_until([&] { return check().result == result; }, 60s);
  }
};

}  // namespace

TEST_CASE("a breaker's checks are asked for ever, and how they stand is told at once", "[guard][checks]") {
  World w;
  w.create<api::Cluster>({{"metadata", {{"name", "blue"}, {"namespace", "prod"}}}, {"spec", {{"controlPlane", {{"type", "External"}}}}}});
  const json check{{"name", "errors"},
                   {"sourceRef", {{"name", "prom"}}},
                   {"query", "errors{c=\"$(cluster)\"}"},
                   {"operator", "Less"},
                   {"threshold", "1"},
                   {"intervalSeconds", 5},
                   {"failureLimit", 1},
                   {"errorLimit", 1}};
  w.create<api::ChangeBudget>({{"metadata", {{"name", "b"}}}, {"spec", {{"breaker", {{"checks", {check}}}}}}});
  REQUIRE(w.until(api::CheckResult::inconclusive));  // its source isn't there
  CHECK(w.check().message == "MetricSource prod/prom doesn't exist");
  w.create<api::MetricSource>(
      {{"metadata", {{"name", "prom"}, {"namespace", "prod"}}}, {"spec", {{"prometheus", {{"address", "http://prom"}}}}}});
  REQUIRE(w.until(api::CheckResult::passed));
  CHECK(w.asked.at(0).find("blue") != std::string::npos);
  const auto before = w.asked.size();
  w.world.run_for(60s);
  CHECK(w.asked.size() - before >= 10);
  CHECK(w.asked.size() - before <= 13);
  w.number = "7";
  REQUIRE(w.until(api::CheckResult::failed));
  CHECK(w.check().value == "7");
  w.number.clear();
  REQUIRE(w.until(api::CheckResult::inconclusive));
  w.number = "0";
  REQUIRE(w.until(api::CheckResult::passed));
}
