// A set takes up machines that nobody owns, and lets its own go when a person says so.
#include "controllers/machine_set/adoption.hpp"

#include <catch2/catch.hpp>

#include "controllers/machine_set/testing.hpp"
#include "controllers/machine_set/write.hpp"

using namespace endstate::machine_set;
using namespace endstate::machine_set::testing;
using api::RolloutPhase;
using reconcile::Verb;

namespace {

// The same set, made again: new uid, and nothing known of before.
Scene made_again(std::int64_t replicas, std::string_view version) {
  Scene scene;
  scene.set = set_of(replicas, version);
  return scene;
}
api::Machine orphan(const Scene& scene, std::string_view name, std::string_view version) {
  auto m = machine_of(scene.set, name, version);
  m.metadata.owner_references.clear();
  return m;
}
reconcile::Ref<reconcile::ControllerRevision> left_behind(std::string_view version) {
  auto r = std::make_shared<reconcile::ControllerRevision>();
  const auto of = revision_of(template_of(version), 1);
  r->metadata.name = of.name;
  r->metadata.name_space = "default";
  r->metadata.uid = of.uid;
  r->metadata.resource_version = "3";
  r->metadata.labels.set(api::label::set_uid, "uid-of-before");
  r->data.raw = reconcile::Text(stored_template(of.template_));
  return r;
}
std::vector<const reconcile::Action*> adopted(const Planned& p) {
  std::vector<const reconcile::Action*> out;
  for (const auto* a : actions_of(p, Verb::merge_patch, "Machine"))
    if (a->body.find("ownerReferences") != std::string::npos) out.push_back(a);
  return out;
}

}  // namespace

TEST_CASE("who may be adopted", "[machine_set][adoption]") {
  const Scene scene = made_again(3, "v1");
  auto m = orphan(scene, "a", "v1");
  CHECK(may_be_adopted(scene.set, m));
  SECTION("not of another namespace") { m.metadata.name_space = "other"; }
  SECTION("not of another cluster") { m.spec.cluster_name = "other"; }
  SECTION("not without the labels") { m.metadata.labels.set("pool", "others"); }
  SECTION("not on its way out") { m.metadata.deletion_timestamp = scene.now; }
  SECTION("not paused") { m.metadata.annotations.set(api::annotation::paused, ""); }
  SECTION("not somebody's") {
    m.metadata.owner_references = {owner_of(scene.set)};
    m.metadata.owner_references[0].uid = "another";
  }
  CHECK_FALSE(may_be_adopted(scene.set, m));
}

TEST_CASE("a set that is made again has its machines back: asked first, one patch each, and no machine beside them",
          "[machine_set][adoption]") {
  auto scene = made_again(3, "v1");
  scene.orphan_revisions = {left_behind("v1")};
  for (const auto* name : {"a", "b", "c"}) scene.orphans.push_back(orphan(scene, name, "v1"));

  auto p = scene.pass();  // revisions first: the template is found again under its name
  REQUIRE(p.plan.actions.size() == 1);
  CHECK(p.plan.actions[0].kind->resource->kind == "ControllerRevision");
  CHECK(p.plan.actions[0].body.find(R"("endstate.dev/set-uid":"set-uid")") != std::string::npos);
  CHECK(p.plan.actions[0].body.find(R"("controller":true)") != std::string::npos);
  CHECK((p.plan.actions[0].uid == scene.orphan_revisions[0]->metadata.uid && p.plan.actions[0].resource_version == "3"));
  scene.orphan_revisions.clear();
  scene.revisions = {revision_of(template_of("v1"), 1)};

  p = scene.pass();  // is the set still there?
  CHECK(p.plan.actions.empty());
  REQUIRE(p.plan.queries.size() == 1);
  CHECK((p.plan.queries[0].name == "workers" && p.plan.queries[0].id.starts_with("adopt/")));

  scene.may_adopt = true;
  p = scene.pass();
  REQUIRE(adopted(p).size() == 3);
  CHECK(actions_of(p, Verb::create, "Machine").empty());
  for (const auto* a : adopted(p)) {
    CHECK(a->body.find(R"("uid":"set-uid")") != std::string::npos);
    CHECK((!a->uid.empty() && a->resource_version == "1"));
  }
  CHECK(std::any_of(p.plan.events.begin(), p.plan.events.end(), [](const auto& e) { return e.reason == "Adopted"; }));

  scene.machines = std::exchange(scene.orphans, {});
  scene.may_adopt = false;
  p = scene.pass();
  CHECK(p.plan.actions.empty());
  CHECK(p.status->rollout->phase == RolloutPhase::complete);
}

TEST_CASE("fewer than are wanted: the rest is made; a fact of other machines' question is none", "[machine_set][adoption]") {
  auto scene = made_again(5, "v1");
  scene.revisions = {revision_of(template_of("v1"), 1)};
  scene.orphans = {orphan(scene, "a", "v1"), orphan(scene, "b", "v1")};
  const auto p = scene.pass();
  CHECK(actions_of(p, Verb::create, "Machine").size() == 3);
  std::vector<reconcile::Ref<api::Machine>> one{std::make_shared<api::Machine>(scene.orphans[0])};
  CHECK_FALSE(p.plan.queries[0].id == adoption_question(one));
}

TEST_CASE("more than are wanted: none is taken, none is made, and it says so", "[machine_set][adoption]") {
  auto scene = made_again(3, "v1");
  scene.revisions = {revision_of(template_of("v1"), 1)};
  scene.may_adopt = true;
  for (const auto* name : {"a", "b", "c", "d"}) scene.orphans.push_back(orphan(scene, name, "v1"));
  SECTION("of a new set") {}
  SECTION("of one that has some") {
    scene.orphans.pop_back();
    scene.machines = {machine_of(scene.set, "x", "v1")};
  }
  const auto p = scene.pass();
  CHECK((adopted(p).empty() && actions_of(p, Verb::create, "Machine").empty() && actions_of(p, Verb::remove, "Machine").empty()));
  const auto* stalled = condition(p, "Stalled");
  REQUIRE(stalled);
  CHECK((stalled->status == api::ConditionStatus::true_ && stalled->reason == "TooManyToAdopt"));
}

TEST_CASE("machines of an older revision that is known go through the steps; of one that isn't, they are brought up, and not back",
          "[machine_set][adoption]") {
  auto scene = made_again(4, "v2");
  scene.set.spec.rollout.steps = {step_of("canary", {1, false})};
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{2, false};
  scene.revisions = {revision_of(template_of("v2"), 2)};
  const bool known = GENERATE(true, false);
  if (known) scene.revisions.push_back(revision_of(template_of("v1"), 1));
  for (const auto* name : {"a", "b", "c", "d"}) scene.orphans.push_back(orphan(scene, name, "v1"));
  scene.pass();
  scene.machines = std::exchange(scene.orphans, {});
  auto p = scene.pass();
  CHECK(p.status->rejected_revisions.empty());
  CHECK(actions_of(p, Verb::merge_patch, "Machine").size() == (known ? 1U : 2U));
  for (const auto* a : actions_of(p, Verb::merge_patch, "Machine")) {
    CHECK(a->body.find(revision_for("v2").view()) != std::string::npos);
    CHECK(a->body.find("rollback-to\":\"") == std::string::npos);
  }
  if (known) CHECK((p.status->current_revision == revision_for("v1") && p.status->rollout->step == "canary"));
}

TEST_CASE("a set that can't be seen through, is paused or goes adopts nobody", "[machine_set][adoption]") {
  auto scene = made_again(3, "v1");
  scene.revisions = {revision_of(template_of("v1"), 1)};
  scene.orphans = {orphan(scene, "a", "v1")};
  scene.may_adopt = true;
  SECTION("blind") { scene.cluster.sight = {.seen = false}; }
  SECTION("paused") { scene.set.spec.paused = true; }
  SECTION("deleted") { scene.set.metadata.deletion_timestamp = scene.now; }
  CHECK(adopted(scene.plan()).empty());
}

TEST_CASE("--cascade=orphan: no machine is touched, revisions are let go, the finalizer goes at once", "[machine_set][adoption]") {
  auto scene = settled(3, "v1");
  scene.set.metadata.deletion_timestamp = scene.now;
  scene.set.metadata.finalizers = {api::finalizer::machine_set, "orphan"};
  const auto p = scene.plan();
  REQUIRE(p.plan.actions.size() == 2);
  const auto& let_go = p.plan.actions[0];
  CHECK((let_go.verb == Verb::merge_patch && let_go.kind->resource->kind == "ControllerRevision"));
  CHECK(let_go.body == R"({"metadata":{"ownerReferences":null}})");
  const auto& finalizer = p.plan.actions[1];
  CHECK((finalizer.verb == Verb::json_patch && finalizer.stage > let_go.stage));
  CHECK(finalizer.body.find("endstate.dev/machine-set") != std::string::npos);
}

TEST_CASE("a set that goes deletes a machine only as it was seen: one that was let go meanwhile stays", "[machine_set][adoption]") {
  auto scene = settled(2, "v1");
  scene.set.metadata.deletion_timestamp = scene.now;
  const auto p = scene.plan();
  for (const auto* a : actions_of(p, Verb::remove, "Machine")) CHECK(!a->resource_version.empty());
}
