#include "controllers/metric_source/plan.hpp"

#include <catch2/catch.hpp>

using namespace endstate::metric_source;
using api::ConditionStatus;
using namespace std::chrono_literals;

namespace {

const reconcile::WallTime start{std::chrono::sys_days(std::chrono::year(2026) / 11 / 23)};
const std::string one = R"({"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]}]}})";

struct Scene {
  api::MetricSource source;
  std::optional<reconcile::Fact> answer;
  reconcile::WallTime now = start;

  Scene() {
    source.metadata.name = "prom";
    source.metadata.name_space = "ns";
    source.metadata.uid = "u";
    source.metadata.resource_version = "1";
    source.metadata.generation = 1;
    source.spec.prometheus.address = "http://prom:9090";
  }
  void answered(reconcile::Result<std::string> body, int status) {
    reconcile::Fact f;
    f.body = std::move(body);
    f.status = status;
    answer = f;
  }
  Planned plan() const {
    Snapshot s;
    s.source = std::make_shared<api::MetricSource>(source);
    s.answer = answer;
    s.now = now;
    return plan_in_full(s);
  }
  Planned pass() {
    auto p = plan();
    source.status = p.status;
    return p;
  }
};

const api::Condition& condition(const Planned& p, std::string_view type) {
  const auto* c = reconcile::find_condition(p.status.conditions, type);
  REQUIRE(c);
  return *c;
}

}  // namespace

TEST_CASE("metric source: asked, answered, silent, back", "[metric_source]") {
  Scene scene;
  auto p = scene.pass();
  CHECK(condition(p, "Reachable").status == ConditionStatus::unknown);
  CHECK(condition(p, "Reconciling").status == ConditionStatus::true_);
  REQUIRE(p.plan.queries.size() == 1);
  CHECK(p.plan.queries[0].http->url == "http://prom:9090/api/v1/query?query=vector%281%29");

  scene.answered(one, 200);
  p = scene.pass();
  CHECK(condition(p, "Reachable").status == ConditionStatus::true_);
  CHECK(condition(p, "Ready").status == ConditionStatus::true_);
  CHECK(condition(p, "Stalled").status == ConditionStatus::false_);
  CHECK(p.plan.again == 60s);
  CHECK(p.plan.queries[0].max_age < 60s);
  CHECK_FALSE(scene.plan().plan.status->changed);  // nothing is written while nothing changes

  scene.now += 60s;
  scene.answered(reconcile::fail(reconcile::Code::unavailable, "GET http://prom: failed after 3 ms"), 0);
  p = scene.pass();
  CHECK(condition(p, "Reachable").status == ConditionStatus::false_);
  CHECK(condition(p, "Reachable").reason == "NotReachable");
  CHECK(condition(p, "Stalled").status == ConditionStatus::true_);
  CHECK(condition(p, "Ready").message == "GET http://prom: failed after 3 ms");
  CHECK(condition(p, "Ready").last_transition_time == scene.now);
  CHECK(p.plan.again == 15s);
  scene.answered(reconcile::fail(reconcile::Code::unavailable, "GET http://prom: failed after 17 ms"), 0);
  CHECK_FALSE(scene.plan().plan.status->changed);

  scene.answered(one, 200);
  CHECK(condition(scene.pass(), "Ready").status == ConditionStatus::true_);
}

TEST_CASE("metric source: what is missing is named, what isn't Prometheus is told", "[metric_source]") {
  Scene scene;
  scene.source.spec.prometheus.secret_ref = api::NameRef{"prom-token"};
  CHECK(scene.plan().plan.queries[0].http->bearer_token->name == "prom-token");
  scene.answered(reconcile::fail(reconcile::Code::not_found, "Secret ns/prom-token: doesn't exist"), 0);
  CHECK(condition(scene.pass(), "Stalled").message == "Secret ns/prom-token: doesn't exist");
  scene.answered("<html>", 200);
  CHECK(condition(scene.pass(), "Stalled").message.view().find("HTML") != std::string_view::npos);
  scene.answered(R"({"status":"success","data":{"resultType":"scalar","result":[1,"2"]}})", 200);
  CHECK(condition(scene.pass(), "Stalled").message.view().find("is this a Prometheus") != std::string_view::npos);
}

TEST_CASE("metric source: a new leader keeps what is known, and forgets it with another spec", "[metric_source]") {
  Scene scene;
  scene.answered(one, 200);
  scene.pass();
  scene.answer.reset();
  CHECK(condition(scene.plan(), "Reachable").status == ConditionStatus::true_);
  CHECK_FALSE(scene.plan().plan.status->changed);
  scene.source.metadata.generation = 2;
  CHECK(condition(scene.plan(), "Reachable").status == ConditionStatus::unknown);
  scene.source.metadata.deletion_timestamp = start;
  CHECK_FALSE(scene.plan().plan.status);
}
