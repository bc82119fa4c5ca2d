#include "controllers/package/plan.hpp"

#include <catch2/catch.hpp>

#include "apis/v1alpha1/names.hpp"

using namespace endstate::package;
using reconcile::Verb;
using std::chrono::seconds;

namespace {

struct Scene {
  api::MachinePackageVersion version;
  std::vector<api::ObjectRef> users;
  std::int64_t count = 0;
  bool complete = true;

  Scene() {
    version.metadata.name = "kubelet-1.34.4";
    version.metadata.uid = "p1";
    version.metadata.resource_version = "3";
  }
  void used_by(std::string_view kind, std::string_view name) {
    ++count;
    if (users.size() < max_users) users.push_back({.kind = kind, .name_space = "default", .name = name});
  }
  Planned plan() const {
    auto s = snapshot_of<api::MachinePackageVersion>(std::make_shared<api::MachinePackageVersion>(version), WallTime(seconds(1000)));
    s.users = count;
    s.first_users = users;
    s.complete = complete;
    if (!complete) s.unknown = "Cluster prod/hz-a doesn't answer";
    return plan_in_full(s);
  }
};
bool is(const Planned& p, std::string_view type, bool status, std::string_view reason) {
  const auto* c = p.status ? reconcile::find_condition(p.status->conditions, type) : nullptr;
  if (!c) return false;
  CHECK(c->reason == reason);
  return c->status == (status ? api::ConditionStatus::true_ : api::ConditionStatus::false_);
}

}  // namespace

TEST_CASE("a package version that is used carries the finalizer and says by whom", "[package]") {
  Scene scene;
  auto p = scene.plan();
  CHECK(p.plan.actions.empty());
  CHECK(is(p, "Ready", true, "NotInUse"));
  scene.used_by("MachineSet", "workers");
  p = scene.plan();
  REQUIRE(p.plan.actions.size() == 1);
  CHECK((p.plan.actions[0].verb == Verb::merge_patch && p.plan.actions[0].resource_version == "3" && !p.plan.status));
  scene.version.metadata.finalizers = {api::finalizer::in_use};
  for (int i = 0; i < 300; ++i) scene.used_by("Machine", "m" + std::to_string(i));
  p = scene.plan();
  CHECK(p.plan.actions.empty());
  CHECK((p.status->in_use_count == 301 && p.status->in_use_by.size() == max_users));
  CHECK(is(p, "Ready", true, "InUse"));
  CHECK(p.plan.status->settle == settle);
}

TEST_CASE("it goes when nobody uses it any more, and not before", "[package]") {
  Scene scene;
  scene.version.metadata.finalizers = {"other/one", api::finalizer::in_use};
  scene.version.metadata.deletion_timestamp = WallTime(seconds(900));
  scene.used_by("Machine", "m1");
  auto p = scene.plan();
  CHECK(p.plan.actions.empty());
  CHECK(is(p, "Stalled", true, "InUse"));
  CHECK(reconcile::find_condition(p.status->conditions, "Stalled")->message.view().find("Machine default/m1") != std::string_view::npos);
  scene.users.clear();
  scene.count = 0;
  scene.complete = false;  // a cluster that can't be asked may have hosts that use it
  p = scene.plan();
  CHECK((p.plan.actions.empty() && p.plan.again));
  CHECK(is(p, "Stalled", true, "InUse"));
  scene.complete = true;
  p = scene.plan();
  REQUIRE(p.plan.actions.size() == 1);
  CHECK(p.plan.actions[0].body.find(R"("/metadata/finalizers/1")") != std::string::npos);
}

TEST_CASE("a version on its way out takes no new finalizer", "[package]") {
  Scene scene;
  scene.version.metadata.finalizers = {"other/one"};
  scene.version.metadata.deletion_timestamp = WallTime(seconds(900));
  scene.used_by("Machine", "m1");
  CHECK(scene.plan().plan.actions.empty());  // the API server refuses new finalizers then
}

TEST_CASE("a cluster package version is held the same way", "[package]") {
  api::ClusterPackageVersion version;
  version.metadata.name = "v1.34.4-r1";
  version.metadata.uid = "c1";
  version.metadata.resource_version = "7";
  auto s = snapshot_of<api::ClusterPackageVersion>(std::make_shared<api::ClusterPackageVersion>(version), WallTime(seconds(1000)));
  s.users = 1;
  s.first_users = {{.kind = "Cluster", .name_space = "prod", .name = "hz-a"}};
  auto p = plan_in_full(s);
  REQUIRE(p.plan.actions.size() == 1);
  CHECK(p.plan.actions[0].kind == &reconcile::kind_of<api::ClusterPackageVersion>);
  version.metadata.finalizers = {api::finalizer::in_use};
  s.metadata = std::make_shared<reconcile::ObjectMeta>(version.metadata);
  p = plan_in_full(s);
  REQUIRE(p.plan.status);
  CHECK(p.plan.status->kind == &reconcile::kind_of<api::ClusterPackageVersion>);
  CHECK(reconcile::find_condition(p.status->conditions, "Ready")->message == "used by Cluster prod/hz-a");
}
