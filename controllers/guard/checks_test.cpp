#include "controllers/guard/checks.hpp"

#include <catch2/catch.hpp>

using namespace endstate::guard;
namespace api = endstate::v1alpha1;
using api::CheckResult;
using endstate::metrics::Answer;
using std::chrono::seconds;

namespace {

const reconcile::WallTime start{std::chrono::sys_days(std::chrono::year(2026) / 11 / 23)};

struct Scene {
  api::ChangeBudget budget;
  std::vector<CheckedCluster> clusters;
  Answers answers;
  reconcile::WallTime now = start;

  explicit Scene(int n) {
    api::MetricCheck c;
    c.name = "errors";
    c.source_ref.name = "prom";
    c.query = "errors{c=\"$(namespace)/$(cluster)\"}";
    c.operator_ = api::CheckOperator::less;
    c.threshold = "1";
    c.failure_limit = 1;
    c.error_limit = 1;
    budget.spec.breaker.emplace().checks = {c};
    api::MetricSource source;
    source.metadata.name = "prom";
    source.metadata.name_space = "ns";
    source.spec.prometheus.address = "http://prom";
    for (int i = 0; i < n; ++i)
      clusters.push_back({{"ns", reconcile::Text("c" + std::to_string(i))}, {std::make_shared<api::MetricSource>(source)}});
  }
  ChecksPlan pass() {
    auto p = plan_checks(budget, clusters, answers, now);
    budget.status.checks = p.status;
    return p;
  }
  void answer(const ChecksPlan& p, const std::string& number) {
    answers.clear();
    for (const auto& q : p.queries) {
      answers[q.id] = {.kind = Answer::Kind::error, .message = "silent", .time = now};
      if (!number.empty()) answers[q.id] = {.kind = Answer::Kind::number, .value = std::stod(number), .text = number, .time = now};
    }
  }
  const api::CheckStatus& check(std::size_t i = 0) const { return budget.status.checks.at(i).checks.at(0); }
};

}  // namespace

TEST_CASE("budget checks: asked at their interval for each cluster, and never done", "[guard][checks]") {
  Scene s(2);
  auto p = s.pass();
  REQUIRE(p.queries.size() == 2);
  CHECK(p.queries[1].http->url.find("ns%2Fc1") != std::string::npos);
  CHECK(s.check().result == CheckResult::running);
  s.answer(p, "0");
  p = s.pass();
  CHECK(p.queries.empty());
  CHECK(p.again == seconds(60));
  CHECK(s.check(1).result == CheckResult::passed);
  for (const char* number : {"5", "5"}) {
    s.now += seconds(60);
    p = s.pass();
    REQUIRE(p.queries.size() == 2);
    s.answer(p, number);
    s.pass();
  }
  CHECK(s.check().result == CheckResult::failed);
  CHECK(s.check().bad == 2);
  CHECK(s.check().message == "5, wanted < 1");
  s.now += seconds(60);
  s.answer(s.pass(), "0");
  s.pass();
  CHECK(s.check().result == CheckResult::passed);
  s.budget.spec.breaker.reset();
  CHECK(s.pass().status.empty());
}

TEST_CASE("budget checks: a source that doesn't exist is an error at the same pace, named, and heals", "[guard][checks]") {
  Scene s(1);
  s.answer(s.pass(), "0");
  s.pass();
  const auto sources = std::exchange(s.clusters[0].sources, {});
  auto p = s.pass();
  CHECK(p.missing.find("MetricSource ns/prom doesn't exist") != std::string::npos);
  CHECK(s.check().result == CheckResult::passed);  // the last answer is fresh still
  for (int i = 0; i < 2; ++i) {
    s.now += seconds(60);
    s.pass();
    s.pass();  // once for each interval
  }
  CHECK(s.check().errors == 2);
  CHECK(s.check().result == CheckResult::inconclusive);
  s.clusters[0].sources = sources;
  s.now += seconds(60);
  s.answer(s.pass(), "0");
  CHECK(s.pass().missing.empty());
  CHECK(s.check().result == CheckResult::passed);
}

TEST_CASE("budget checks: with many clusters none starves", "[guard][checks]") {
  Scene s(100);
  auto p = s.pass();
  CHECK(p.status.size() == 64);
  CHECK(p.queries.size() == 32);
  s.answer(p, "0");
  p = s.pass();
  CHECK(p.queries.size() == 32);
  s.answer(p, "0");
  s.pass();
  for (std::size_t i = 0; i < 64; ++i) CHECK(s.check(i).result == CheckResult::passed);
}
