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
  std::shared_ptr<api::ChangeBudget> budget = std::make_shared<api::ChangeBudget>();
  ChecksInput in{.cluster = {"ns", "blue"}, .now = start};

  explicit Scene(int checks = 1) {
    budget->metadata.name = "b";
    budget->spec.breaker.emplace();
    for (int i = 0; i < checks; ++i) {
      api::MetricCheck c;
      c.name = i == 0 ? "errors" : "errors-" + std::to_string(i);
      c.source_ref.name = "prom";
      c.query = "errors{c=\"$(namespace)/$(cluster)\"}" + std::to_string(i);
      c.operator_ = api::CheckOperator::less;
      c.threshold = "1";
      c.failure_limit = 1;
      c.error_limit = 1;
      budget->spec.breaker->checks.push_back(c);
    }
    api::MetricSource source;
    source.metadata.name = "prom";
    source.metadata.name_space = "ns";
    source.spec.prometheus.address = "http://prom";
    in.sources = {std::make_shared<api::MetricSource>(source)};
    in.budgets = {budget};
  }
  ChecksPlan pass() {
    auto p = plan_checks(in);
    in.known = p.checks;
    return p;
  }
  void answer(const ChecksPlan& p, const std::string& number) {
    in.answers.clear();
    for (const auto& q : p.queries) {
      in.answers[q.id] = {.kind = Answer::Kind::error, .message = "silent", .time = in.now};
      if (!number.empty()) in.answers[q.id] = {.kind = Answer::Kind::number, .value = std::stod(number), .text = number, .time = in.now};
    }
  }
  const api::CheckStatus& check(std::size_t i = 0) const { return in.known.at(0).checks.at(i); }
};

}  // namespace

TEST_CASE("budget checks: asked at their interval for a cluster, and never done", "[guard][checks]") {
  Scene s;
  auto p = s.pass();
  REQUIRE(p.queries.size() == 1);
  CHECK(p.queries[0].http->url.find("ns%2Fblue") != std::string::npos);
  CHECK(s.check().result == CheckResult::running);
  s.answer(p, "0");
  p = s.pass();
  CHECK(p.queries.empty());
  CHECK(p.again == seconds(60));
  CHECK(s.check().result == CheckResult::passed);
  for (const char* number : {"5", "5"}) {
    s.in.now += seconds(60);
    p = s.pass();
    REQUIRE(p.queries.size() == 1);
    s.answer(p, number);
    s.pass();
  }
  CHECK(s.check().result == CheckResult::failed);
  CHECK(s.check().bad == 2);
  CHECK(s.check().message == "5, wanted < 1");
  s.in.now += seconds(60);
  s.answer(s.pass(), "0");
  s.pass();
  CHECK(s.check().result == CheckResult::passed);
  s.budget->spec.breaker.reset();
  CHECK(s.pass().checks.empty());
}

TEST_CASE("budget checks: a source that doesn't exist is an error at the same pace, named, and heals", "[guard][checks]") {
  Scene s;
  s.answer(s.pass(), "0");
  s.pass();
  const auto sources = std::exchange(s.in.sources, {});
  s.pass();
  CHECK(missing_source(*s.budget, s.in.cluster, s.in.sources).find("MetricSource ns/prom doesn't exist") != std::string::npos);
  CHECK(s.check().result == CheckResult::passed);  // the last answer is fresh still
  for (int i = 0; i < 2; ++i) {
    s.in.now += seconds(60);
    s.pass();
    s.pass();  // once for each interval
  }
  CHECK(s.check().errors == 2);
  CHECK(s.check().result == CheckResult::inconclusive);
  s.in.sources = sources;
  s.in.now += seconds(60);
  s.answer(s.pass(), "0");
  s.pass();
  CHECK(missing_source(*s.budget, s.in.cluster, s.in.sources).empty());
  CHECK(s.check().result == CheckResult::passed);
}

TEST_CASE("budget checks: with many of them none starves", "[guard][checks]") {
  Scene s(50);
  auto p = s.pass();
  CHECK(p.queries.size() == 32);
  s.answer(p, "0");
  p = s.pass();
  CHECK(p.queries.size() == 18);
  s.answer(p, "0");
  s.pass();
  for (std::size_t i = 0; i < 50; ++i) CHECK(s.check(i).result == CheckResult::passed);
}
