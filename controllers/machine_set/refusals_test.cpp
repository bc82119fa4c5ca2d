// What the API server refuses stands at the set, in its words, and ends.
#include "controllers/machine_set/refusals.hpp"

#include <catch2/catch.hpp>

#include "controllers/machine_set/testing.hpp"

using namespace endstate::machine_set;
using namespace endstate::machine_set::testing;
using api::RolloutPhase;
using reconcile::Verb;

namespace {

const std::string words = "machines.endstate.dev \"x\" is forbidden: exceeded quota: q, requested: count/machines.endstate.dev=1";

bool holds(const Planned& p, std::string_view type, std::string_view reason) {
  const auto* c = condition(p, type);
  return c && c->status == api::ConditionStatus::true_ && c->reason == reason;
}
std::vector<std::string> told(const Planned& p, std::string_view reason) {
  std::vector<std::string> out;
  for (const auto& e : p.plan.events)
    if (e.reason == reason) out.push_back(e.note.str());
  return out;
}
std::size_t count(const Planned& p, Verb verb) { return actions_of(p, verb, "Machine").size(); }
// All of a verb are refused, as the runtime remembers it.
void refuse(Scene& scene, const Planned& p, Verb verb) {
  scene.refused.clear();
  for (const auto* a : actions_of(p, verb, "Machine")) scene.refused.push_back({verb, a->name, words});
}

}  // namespace

TEST_CASE("a quota that refuses machines stands at the set, is told once, and one is tried at a time", "[machine_set][refusal]") {
  auto scene = unborn(200, "v1");
  auto p = scene.pass();
  REQUIRE(count(p, Verb::create) == max_actions);
  CHECK(told(p, "SuccessfulCreate").size() == 1);  // sent when all of it succeeded
  refuse(scene, p, Verb::create);

  p = scene.pass();  // told before it is tried again
  CHECK(p.plan.actions.empty());
  REQUIRE(told(p, "FailedCreate").size() == 1);
  CHECK(told(p, "FailedCreate")[0].find(words) != std::string::npos);
  CHECK(p.plan.status->first);
  CHECK(holds(p, "ReplicaFailure", "FailedCreate"));
  CHECK(condition(p, "Ready")->reason == "FailedCreate");
  CHECK(condition(p, "UpToDate")->status == api::ConditionStatus::false_);
  CHECK_FALSE(p.status->rollout->phase == RolloutPhase::complete);
  REQUIRE(p.status->rollout->blocked_by);
  CHECK(p.status->rollout->blocked_by->message.view().find("exceeded quota: q") != std::string_view::npos);

  refuse(scene, p, Verb::create);  // that pass wrote nothing: nothing is remembered of it
  REQUIRE(scene.refused.empty());
  p = scene.pass();
  CHECK(holds(p, "ReplicaFailure", "FailedCreate"));
  refuse(scene, p, Verb::create);
  p = scene.pass();
  CHECK(count(p, Verb::create) == 1);
  CHECK((told(p, "FailedCreate").empty() && p.plan.again && *p.plan.again <= seconds(15)));

  scene.now += seconds(3600);
  CHECK(holds(scene.pass(), "Stalled", "ProgressDeadlineExceeded"));

  scene.refused.clear();  // the quota is gone
  p = scene.pass();
  CHECK(count(p, Verb::create) == max_actions);
  for (std::int64_t i = 0; i < 200; ++i)
    scene.machines.push_back(machine_of(scene.set, machine_name("workers", "set-uid", static_cast<std::uint64_t>(i)), "v1"));
  p = scene.pass();
  CHECK(condition(p, "ReplicaFailure") == nullptr);
  CHECK(p.status->rollout->phase == RolloutPhase::complete);
  CHECK_FALSE(p.status->rollout->blocked_by);
  CHECK(holds(p, "Ready", "Ready"));
}

TEST_CASE("edits that are refused end: failed at the progress deadline, and back", "[machine_set][refusal]") {
  auto scene = settled(10, "v1");
  scene.set.spec.rollout.steps = {step_of("canary", {1, false})};
  edit_template(scene, "v2");
  auto p = scene.pass();
  REQUIRE(count(p, Verb::merge_patch) == 1);
  for (int i = 0; i < 3; ++i) {
    refuse(scene, p, Verb::merge_patch);
    p = scene.pass();
  }
  CHECK(holds(p, "ReplicaFailure", "FailedUpdate"));
  CHECK(p.status->rejected_revisions.empty());
  scene.now += seconds(3599);
  refuse(scene, p, Verb::merge_patch);
  p = scene.pass();
  CHECK(p.status->rejected_revisions.empty());
  scene.now += seconds(1);
  p = scene.pass();
  REQUIRE(p.status->rejected_revisions.size() == 1);
  CHECK(p.status->rejected_revisions[0].reason == "FailedUpdate");
  CHECK(p.status->rejected_revisions[0].message.view().find("exceeded quota") != std::string_view::npos);
  scene.refused.clear();
  p = scene.pass();
  CHECK(p.status->rollout->phase == RolloutPhase::rolled_back);
  CHECK(condition(p, "ReplicaFailure") == nullptr);
}

TEST_CASE("Recreate whose successors are refused goes back at its deadline, not before; the refusal must have stood that long",
          "[machine_set][refusal]") {
  auto scene = settled(4, "v1");
  scene.set.spec.rollout.type = api::RolloutType::recreate;
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{1, false};
  edit_template(scene, "v2");
  auto p = scene.pass();
  REQUIRE(count(p, Verb::remove) == 1);
  CHECK(told(p, "SuccessfulDelete") ==
        std::vector<std::string>{"Deleted machine " + actions_of(p, Verb::remove, "Machine")[0]->name.str()});
  std::erase_if(scene.machines, [&](const auto& m) { return m.metadata.name == actions_of(p, Verb::remove, "Machine")[0]->name; });
  p = scene.pass();
  REQUIRE(count(p, Verb::create) == 1);
  scene.now += seconds(3500);  // for another cause
  scene.pass();
  refuse(scene, p, Verb::create);
  scene.pass();
  scene.now += seconds(200);
  p = scene.pass();
  CHECK(p.status->rejected_revisions.empty());
  scene.now += seconds(3400);
  p = scene.pass();
  REQUIRE(p.status->rejected_revisions.size() == 1);
  CHECK(p.status->rejected_revisions[0].reason == "FailedCreate");
}

TEST_CASE("a quota for more machines is no verdict on an in-place revision: it isn't complete, and isn't rejected",
          "[machine_set][refusal]") {
  auto scene = settled(3, "v1");
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{3, false};
  scene.set.spec.replicas = 4;
  edit_template(scene, "v2");
  auto p = scene.pass();
  refuse(scene, p, Verb::create);
  for (const auto* a : actions_of(p, Verb::merge_patch, "Machine"))
    for (auto& m : scene.machines)
      if (m.metadata.name == a->name) m = machine_of(scene.set, a->name.view(), "v2");
  p = scene.pass();
  refuse(scene, p, Verb::create);
  scene.now += seconds(4000);
  for (int i = 0; i < 3; ++i) p = scene.pass();
  CHECK(p.status->rejected_revisions.empty());
  CHECK(p.status->rollout->phase == RolloutPhase::progressing);
  CHECK(holds(p, "ReplicaFailure", "FailedCreate"));
}

TEST_CASE("deletions that are refused are told, of a set that shrinks and of one that goes", "[machine_set][refusal]") {
  auto scene = settled(3, "v1");
  SECTION("shrinks") { scene.set.spec.replicas = 1; }
  SECTION("goes") { scene.set.metadata.deletion_timestamp = scene.now; }
  auto p = scene.pass();
  REQUIRE(count(p, Verb::remove) >= 2);
  refuse(scene, p, Verb::remove);
  p = scene.pass();
  CHECK(p.plan.actions.empty());
  CHECK(told(p, "FailedDelete").size() == 1);
  CHECK(holds(p, "ReplicaFailure", "FailedDelete"));
  CHECK(count(scene.pass(), Verb::remove) == 1);
}

TEST_CASE("a template that can't be recorded is told", "[machine_set][refusal]") {
  Scene scene;
  scene.set = set_of(3, "v1");
  scene.refused_revision = "controllerrevisions.apps \"workers-x\" is forbidden: exceeded quota: q";
  auto p = scene.pass();
  CHECK(p.plan.actions.empty());
  CHECK(told(p, "FailedCreate").size() == 1);
  CHECK(holds(p, "Stalled", "FailedCreate"));
  CHECK(condition(p, "Stalled")->message.view().find("exceeded quota: q") != std::string_view::npos);
  p = scene.pass();
  CHECK((p.plan.actions.size() == 1 && p.plan.events.empty() && !p.plan.status->changed));
  scene.refused_revision.reset();
  scene.revisions = {revision_of(template_of("v1"), 1)};
  p = scene.pass();
  CHECK(count(p, Verb::create) == 3);
  for (const auto* a : actions_of(p, Verb::create, "Machine")) scene.machines.push_back(machine_of(scene.set, a->name.view(), "v1"));
  p = scene.pass();
  CHECK((condition(p, "ReplicaFailure") == nullptr && p.status->rollout->phase == RolloutPhase::complete));
}
