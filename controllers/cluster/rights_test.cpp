#include "controllers/cluster/rights.hpp"

#include <catch2/catch.hpp>

#include "apis/v1alpha1/names.hpp"

using namespace endstate::cluster;
using endstate::v1alpha1::ConditionStatus;
using reconcile::Fact, reconcile::WallTime;
using namespace std::chrono_literals;
namespace api = endstate::v1alpha1;

namespace {

const WallTime start{std::chrono::seconds(1'800'000'000)};
constexpr auto everything = R"({"status":{"incomplete":false,"resourceRules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"]}]}})";
constexpr auto nothing = R"({"status":{"incomplete":false,"resourceRules":[]}})";
constexpr auto some = R"({"status":{"incomplete":true,"evaluationError":"webhook","resourceRules":[]}})";

api::Cluster external() {
  api::Cluster c;
  c.metadata.name = "far";
  c.metadata.name_space = "prod";
  c.spec.control_plane.type = api::ControlPlaneType::external;
  c.spec.control_plane.kubeconfig_secret.emplace().name = "far";
  return c;
}
Fact fact(reconcile::Result<std::string> body) { return {.body = std::move(body), .time = start}; }

}  // namespace

TEST_CASE("rights: asked at connect, hourly, and each minute while something is missing", "[rights]") {
  const auto c = external();
  const auto first = plan_rights(c, true, nullptr, start);
  REQUIRE(first.query);
  CHECK(first.query->cluster == "prod/far");
  CHECK(first.query->body.find("SelfSubjectRulesReview") != std::string::npos);
  CHECK_FALSE(first.line);
  CHECK(first.query->max_age == 0ms);  // what was answered to other credentials isn't used
  CHECK(first.again == 1s);            // nor does it keep from being asked, when it is too young to be asked for at once

  const auto good = fact(std::string(everything)), bad = fact(std::string(nothing));
  CHECK(plan_rights(c, true, &good, start).query->max_age == 1h);
  CHECK(plan_rights(c, true, &good, start + 10min).again == 50min);
  CHECK(plan_rights(c, true, &good, start + 2h).again == 1s);
  CHECK(plan_rights(c, true, &bad, start).query->max_age == 1min);
}

TEST_CASE("rights: what the condition says", "[rights]") {
  struct Row {
    reconcile::Result<std::string> answer;
    ConditionStatus status;
    std::string_view reason, part;
  };
  const Row table[] = {
      {std::string(everything), ConditionStatus::true_, "RightsComplete", ""},
      {std::string(nothing), ConditionStatus::false_, "RightsMissing", "kubectl endstate rights"},
      {std::string(some), ConditionStatus::unknown, "RightsUnknown", "webhook"},
      {std::string("<html>"), ConditionStatus::unknown, "RightsUnknown", "something else"},
      {reconcile::fail(reconcile::Code::forbidden, "may not"), ConditionStatus::unknown, "RightsUnknown", "may not"},
      {reconcile::fail(reconcile::Code::unavailable, "x"), ConditionStatus::unknown, "RightsUnknown", "not answered"},
  };
  for (const auto& row : table) {
    const auto answer = fact(row.answer);
    const auto line = plan_rights(external(), true, &answer, start).line;
    REQUIRE(line);
    CAPTURE(line->message);
    CHECK(line->status == row.status);
    CHECK(line->reason == row.reason);
    CHECK(line->message.find(row.part) != std::string::npos);
    CHECK(line->message.size() < 1024);
  }
}

TEST_CASE("rights: a network that fails in other words each time is no news", "[rights]") {
  const auto first = fact(reconcile::fail(reconcile::Code::maybe_done, "timed out after 10001 milliseconds"));
  const auto second = fact(reconcile::fail(reconcile::Code::maybe_done, "timed out after 10002 milliseconds"));
  CHECK(plan_rights(external(), true, &first, start).line->message == plan_rights(external(), true, &second, start).line->message);
}

TEST_CASE("rights: who isn't asked", "[rights]") {
  auto c = external();
  bool connected = true;
  SECTION("the meta cluster itself") { c.spec.control_plane.kubeconfig_secret.reset(); }
  SECTION("a Hosted one, whose administrator endstate is") { c.spec.control_plane.type = api::ControlPlaneType::hosted; }
  SECTION("one that can't be reached") { connected = false; }
  SECTION("one that goes") { c.metadata.deletion_timestamp = start; }
  const auto answer = fact(std::string(everything));
  const auto p = plan_rights(c, connected, &answer, start);
  CHECK_FALSE(p.query);
  CHECK_FALSE(p.line);
}
