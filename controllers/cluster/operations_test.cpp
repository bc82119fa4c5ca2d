#include "controllers/cluster/operations.hpp"

#include <catch2/catch.hpp>

using namespace endstate;
using namespace endstate::cluster;
using namespace std::chrono_literals;
namespace api = v1alpha1;

namespace {
constexpr reconcile::WallTime now{std::chrono::seconds(1'000'000)};
api::ClusterOperation op(std::string_view type, std::string_view component, std::chrono::seconds age) {
  return {.id = "g1", .type = type, .component = component, .start_time = now - age, .deadline = now - age + lock_life};
}
}  // namespace

TEST_CASE("a control plane's lock ends when its component has settled, or by its deadline", "[guard][hosted]") {
  const auto update = op("ControlPlaneUpdate", "apiserver", 60s);
  CHECK(under_way({update}, {"apiserver"}, now).size() == 1);
  CHECK(under_way({update}, {"scheduler"}, now).empty());
  CHECK(under_way({op("ControlPlaneRollback", "", 60s)}, {"scheduler"}, now).size() == 1);
  CHECK(under_way({op("ControlPlaneUpdate", "apiserver", 1s)}, {}, now).size() == 1);  // what was just applied isn't seen yet
  CHECK(under_way({op("ControlPlaneUpdate", "apiserver", 1000s)}, {"apiserver"}, now).empty());
  CHECK(under_way({op("ControlPlaneRepair", "", 60s)}, {}, now).size() == 1);
}

TEST_CASE("the lock goes out under the permit, before what it permits, and once", "[guard][hosted]") {
  api::Cluster c;
  c.metadata.name_space = "prod";
  c.metadata.name = "hz-a";
  c.metadata.uid = "u1";
  c.metadata.resource_version = "7";
  reconcile::Plan plan;
  plan.permit = reconcile::PermitRequest{.cluster = c.metadata.key(),
                                         .operation = "ControlPlaneUpdate",
                                         .subject = c.metadata.key(),
                                         .subject_uid = "u1",
                                         .revision = "v2/apiserver",
                                         .component = "apiserver"};
  plan.actions.push_back({.name = "free"});
  plan.actions.push_back({.name = "held", .guarded = true});
  REQUIRE(lock_first(c, c.status, now, plan));
  REQUIRE(plan.actions.size() == 3);
  CHECK(plan.actions[0].subresource == "status");
  CHECK(plan.actions[0].guarded);
  CHECK(plan.actions[0].body.find(plan.permit->id()) != std::string::npos);
  CHECK(plan.actions[1].stage == 0);
  CHECK(plan.actions[2].stage == 1);

  c.status.operations = {{.id = plan.permit->id(), .type = "ControlPlaneUpdate"}};
  reconcile::Plan again;
  again.permit = plan.permit;
  CHECK_FALSE(lock_first(c, c.status, now, again));
  CHECK(again.actions.empty());
}
