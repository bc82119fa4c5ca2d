// What a person does in the middle of a rollout: edits its steps, deletes its machines, applies the same file again and again, upgrades
// endstate. The plain course of a rollout is in plan_test.cpp, thousands of random ones are in simulation_test.cpp.
#include <catch2/catch.hpp>

#include "controllers/machine_set/testing.hpp"

using namespace endstate::machine_set;
using namespace endstate::machine_set::testing;
using api::RolloutPhase;
using reconcile::Verb;

namespace {

std::vector<std::string> edited(const Planned& p) {
  std::vector<std::string> names;
  for (const auto* a : actions_of(p, Verb::merge_patch, "Machine")) names.push_back(a->name.str());
  return names;
}
// All edits are taken and succeed at once.
void obey(Scene& scene, const Planned& p, std::string_view version) {
  for (const auto& name : edited(p))
    for (auto& m : scene.machines)
      if (m.metadata.name == name) {
        m.metadata.labels.set(api::label::revision, revision_for(version));
        m.spec = api::machine_spec(template_of(version).spec, "local");
        m.status.revision = revision_for(version);
      }
}
std::int64_t at(const Scene& scene, std::string_view version) {
  return std::count_if(scene.machines.begin(), scene.machines.end(),
                       [&](const api::Machine& m) { return m.metadata.labels.get(api::label::revision) == revision_for(version).view(); });
}
Scene under_way(std::vector<api::RolloutStep> steps) {
  auto scene = settled(10, "v1");
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{3, false};
  scene.set.spec.rollout.steps = std::move(steps);
  edit_template(scene, "v2");
  return scene;
}
// Passes until nothing moves; no machine ever goes back. The most that have v2 at the end.
std::int64_t run_on(Scene& scene, std::string_view version = "v2") {
  for (int i = 0; i < 30; ++i) {
    const auto before = at(scene, version);
    obey(scene, scene.pass(), version);
    REQUIRE(at(scene, version) >= before);
    scene.now += seconds(1);
  }
  return at(scene, version);
}
api::RolloutStep waiting_step(std::string_view name, api::IntOrPercent updated) {
  auto s = step_of(name, updated);
  s.pause = api::Pause{};
  s.pause->type = api::PauseType::promotion;
  return s;
}
void promote(Scene& scene) {
  scene.set.metadata.annotations.set(api::annotation::promote,
                                     Text(scene.set.status.rollout->revision.str() + "/" + scene.set.status.rollout->step.str()));
  scene.pass();
  scene.set.metadata.annotations.erase(api::annotation::promote);
}

}  // namespace

TEST_CASE("steps that are edited under way neither take machines back nor jump over a pause", "[machine_set]") {
  auto scene = under_way({step_of("few", {3, false}), waiting_step("half", {50, true})});
  CHECK(run_on(scene) == 5);
  REQUIRE(scene.set.status.rollout->step == "half");
  SECTION("the step becomes smaller: it stands where it stood, and waits as before") {
    scene.set.spec.rollout.steps = {step_of("few", {1, false}), waiting_step("half", {20, true})};
    CHECK(run_on(scene) == 5);
    CHECK(scene.set.status.rollout->step == "half");
    CHECK(scene.set.status.rollout->phase == RolloutPhase::paused);
  }
  SECTION("the step becomes larger: more get it, then it waits") {
    scene.set.spec.rollout.steps = {step_of("few", {3, false}), waiting_step("half", {70, true})};
    CHECK(run_on(scene) == 7);
    CHECK(scene.set.status.rollout->phase == RolloutPhase::paused);
  }
  SECTION("the step is renamed: its pause is still ahead") {
    scene.set.spec.rollout.steps = {step_of("few", {3, false}), waiting_step("fifty", {50, true})};
    CHECK(run_on(scene) == 5);
    CHECK(scene.set.status.rollout->step == "fifty");
    CHECK(scene.set.status.rollout->phase == RolloutPhase::paused);
  }
  SECTION("a step with a pause is put in further on: it stops there") {
    scene.set.spec.rollout.steps = {step_of("few", {3, false}), waiting_step("half", {50, true}), waiting_step("most", {80, true})};
    CHECK(run_on(scene) == 5);
    promote(scene);
    CHECK(run_on(scene) == 8);
    CHECK(scene.set.status.rollout->step == "most");
  }
  SECTION("all steps are taken out: the rest follows under maxUnavailable") {
    scene.set.spec.rollout.steps.clear();
    const auto p = scene.pass();
    CHECK(edited(p).size() == 3);
    obey(scene, p, "v2");
    CHECK(run_on(scene) == 10);
    CHECK(scene.set.status.rollout->phase == RolloutPhase::complete);
  }
}

TEST_CASE("machines that are deleted by hand in a step are made up for, within maxUnavailable", "[machine_set]") {
  auto scene = under_way({waiting_step("few", {3, false})});
  obey(scene, scene.pass(), "v2");
  scene.pass();
  REQUIRE(scene.set.status.rollout->phase == RolloutPhase::paused);
  std::vector<std::string> gone;
  for (auto& m : scene.machines)
    if (gone.size() < 2 && m.metadata.labels.get(api::label::revision) == revision_for("v2").view()) {
      gone.push_back(m.metadata.name.str());
      m.metadata.deletion_timestamp = scene.now;
    }
  // Two are on their way out: one more may be disturbed, and the step isn't reached any more.
  auto p = scene.pass();
  CHECK(edited(p).size() == 1);
  CHECK(p.status->rollout->phase == RolloutPhase::progressing);
  CHECK(p.status->rollout->updated == 1);
  obey(scene, p, "v2");
  CHECK(edited(scene.pass()).size() == 1);
  // They are gone. Their successors are of the revision that goes back, for the step counts those that were updated.
  std::erase_if(scene.machines, [](const api::Machine& m) { return m.metadata.deleting(); });
  p = scene.plan();
  const auto created = actions_of(p, Verb::create, "Machine");
  REQUIRE(created.size() == 2);
  for (const auto* a : created) CHECK(a->body.find(revision_for("v1").view()) != std::string::npos);
}

TEST_CASE("the same file applied again and again changes nothing, before and after a rejection", "[machine_set]") {
  auto scene = under_way({step_of("few", {1, false})});
  auto p = scene.pass();
  const auto name = edited(p).at(0);
  const auto again = [&] {  // another order of keys, a trailing blank: the content is what counts
    scene.set.metadata.generation = *scene.set.metadata.generation + 1;
    return scene.pass();
  };
  obey(scene, p, "v2");
  const auto start = scene.set.status.rollout->start_time;
  scene.now += seconds(5);
  again();
  CHECK(scene.set.status.rollout->start_time == start);
  for (auto& m : scene.machines)
    if (m.metadata.name == name) fail_update(m, scene.now);
  p = again();
  REQUIRE(p.status->rejected_revisions.size() == 1);
  obey(scene, p, "v1");
  for (auto& m : scene.machines) set_ready(m, api::ConditionStatus::true_, "Ready", scene.now);
  for (int i = 0; i < 50; ++i) {
    scene.now += seconds(3);
    scene.set.spec.replicas = 10 + i % 2;  // and scaled meanwhile
    p = again();
    REQUIRE(edited(p).empty());
    REQUIRE(p.status->rejected_revisions.size() == 1);
    REQUIRE(p.status->history.size() == 1);
  }
  CHECK(p.status->history.back().result == api::ChangeResult::rolled_back);
}

// Written down: an endstate that gives them another hash rolls every fleet at its own upgrade.
TEST_CASE("a revision's hash is of the template's content alone, and stays what it was", "[machine_set]") {
  CHECK(revision_for("v1").str() == "b7ftdpc9kk");
  api::MachineTemplate t = template_of("kubelet-1.34.4");
  t.metadata.annotations = {{"team", "infra"}};
  t.spec.packages.push_back({.name = "containerd", .version_ref = {"containerd-1.7.27"}});
  t.spec.readiness_gates = {{"NetworkReady"}};
  t.spec.taints = {{"gpu", "yes", api::TaintEffect::no_execute}};
  t.spec.labels = {{"zone", "a"}};
  t.spec.deletion.node_drain_timeout = seconds(600);
  CHECK(revision_of(t, 1).hash.str() == "pshrd4nsr2");
  CHECK(canonical_template(t) ==
        R"({"metadata":{"labels":{"pool":"workers"},"annotations":{"team":"infra"}},"spec":{"packages":[{"name")"
        R"(:"kubelet","versionRef":{"name":"kubelet-1.34.4"}},{"name":"containerd","versionRef":{"name":"containerd-1.7.2)"
        R"(7"}}],"readinessGates":[{"conditionType":"NetworkReady"}],"taints":[{"key":"gpu","value":"yes","effect":"NoExe)"
        R"(cute"}],"labels":{"zone":"a"},"deletion":{"nodeDrainTimeoutSeconds":600}}})");
}

TEST_CASE("InPlace fails closed: no machine is ever deleted for it", "[machine_set]") {
  auto scene = under_way({});
  for (int round = 0; round < 5; ++round) {
    const auto p = scene.pass();
    CHECK(actions_of(p, Verb::remove, "Machine").empty());
    CHECK(actions_of(p, Verb::create, "Machine").empty());
    for (const auto& name : edited(p))
      for (auto& m : scene.machines)
        if (m.metadata.name == name) {
          const bool forward = scene.set.status.rejected_revisions.empty();
          m.metadata.labels.set(api::label::revision, revision_for(forward ? "v2" : "v1"));
          m.spec = api::machine_spec(template_of(forward ? "v2" : "v1").spec, "local");
          fail_update(m, scene.now);  // neither the way forward nor the way back works on it
        }
    scene.now += seconds(60);
  }
  REQUIRE(scene.set.status.rejected_revisions.size() == 1);
  CHECK(scene.set.status.rejected_revisions[0].reason == "PackageFailed");
  CHECK(scene.set.status.rejected_revisions[0].message.view().find("kubelet: exit 1") != std::string_view::npos);
}

TEST_CASE("sets that wait for each other say so", "[machine_set]") {
  auto scene = under_way({});
  scene.set.spec.rollout.after = api::RolloutAfter{.kind = "MachineSet", .name = "others"};
  auto others = settled(2, "v1").set;
  others.metadata.name = "others";
  others.spec.rollout.after = api::RolloutAfter{.kind = "MachineSet", .name = "workers"};
  others.status.rollout->phase = RolloutPhase::paused;
  scene.after = others;
  const auto p = scene.pass();
  CHECK(edited(p).empty());
  const auto* stalled = condition(p, "Stalled");
  CHECK(stalled->status == api::ConditionStatus::true_);
  CHECK(stalled->reason == api::reason::waiting_for_set);
  CHECK(stalled->message.view().find("each other") != std::string_view::npos);
}

namespace {

// Another set of the namespace, in the middle of a rollout, that waits for `after`.
Ref<api::MachineSet> waiting_set(std::string_view name, std::string_view after) {
  auto set = std::make_shared<api::MachineSet>(settled(2, "v1").set);
  set->metadata.name = name;
  set->spec.rollout.after = api::RolloutAfter{.kind = "MachineSet", .name = after};
  set->status.rollout->phase = RolloutPhase::paused;
  return set;
}

}  // namespace

TEST_CASE("a ring of sets of any length is told, and only while nobody in it is through", "[machine_set]") {
  auto scene = under_way({});
  scene.set.spec.rollout.after = api::RolloutAfter{.kind = "MachineSet", .name = "a"};
  std::map<std::string, Ref<api::MachineSet>> all{
      {"a", waiting_set("a", "b")}, {"b", waiting_set("b", "c")}, {"c", waiting_set("c", "workers")}};
  const auto find = [&](const Text& name) { return all.contains(name.str()) ? all.at(name.str()) : Ref<api::MachineSet>(); };
  const auto stalled = [&] {
    auto s = scene.snapshot();
    s.after = find("a");
    s.after_that = chain_after(*s.set, s.after, find);
    const auto p = plan_in_full(s);
    CHECK(edited(p).empty());
    return *condition(p, "Stalled");
  };
  SECTION("three others") {
    const auto c = stalled();
    CHECK(c.status == api::ConditionStatus::true_);
    CHECK(c.reason == api::reason::waiting_for_set);
    CHECK(c.message.view().find("in a ring: this one for a for b for c for this one") != std::string_view::npos);
  }
  SECTION("one of them is through: it isn't held, and the next one follows") {
    auto done = std::make_shared<api::MachineSet>(*all["b"]);
    done->status.rollout->phase = RolloutPhase::complete;
    all["b"] = done;
    CHECK(stalled().status == api::ConditionStatus::false_);
  }
  SECTION("a ring that we only lead to isn't ours") {
    all["c"] = waiting_set("c", "a");
    CHECK(stalled().status == api::ConditionStatus::false_);
  }
  SECTION("a chain that ends") {
    all.erase("c");
    CHECK(stalled().status == api::ConditionStatus::false_);
  }
  SECTION("a ring longer than is looked for ends the look") {
    for (int i = 0; i < 100; ++i) {
      const auto name = "s" + std::to_string(i), next = "s" + std::to_string(i + 1);
      all[name] = waiting_set(name, next);
    }
    all["c"] = waiting_set("c", "s0");
    CHECK(chain_after(scene.set, find("a"), find).size() == max_waves);
    CHECK(stalled().status == api::ConditionStatus::false_);
  }
}

TEST_CASE("a clock that is set back neither prolongs a pause nor hides a failure", "[machine_set]") {
  auto paused = step_of("few", {1, false});
  paused.pause = api::Pause{.type = api::PauseType::duration, .seconds = seconds(600)};
  auto scene = under_way({paused});
  CHECK(run_on(scene) == 1);
  REQUIRE(scene.set.status.rollout->phase == RolloutPhase::paused);
  scene.now -= std::chrono::hours(24 * 365);
  CHECK(run_on(scene) == 1);
  SECTION("it lasts no longer than it should from then on") {
    scene.now += seconds(600);
    CHECK(run_on(scene) == 10);
    CHECK(scene.set.status.rollout->phase == RolloutPhase::complete);
  }
  SECTION("a failure counts") {
    for (auto& m : scene.machines)
      if (m.metadata.labels.get(api::label::revision) == revision_for("v2").view()) fail_update(m, scene.now);
    scene.pass();
    REQUIRE(scene.set.status.rejected_revisions.size() == 1);
    CHECK(scene.set.status.rejected_revisions[0].revision == revision_for("v2"));
  }
  SECTION("nobody is late for it") {
    const auto p = scene.pass();
    CHECK(condition(p, "Stalled")->status == api::ConditionStatus::false_);
  }
}

TEST_CASE("a clock that jumps ahead ends a pause early, and nothing else", "[machine_set]") {
  auto paused = step_of("few", {1, false});
  paused.pause = api::Pause{.type = api::PauseType::duration, .seconds = seconds(600)};
  auto scene = under_way({paused, waiting_step("half", {50, true})});
  CHECK(run_on(scene) == 1);
  scene.now += std::chrono::hours(24 * 365);
  CHECK(run_on(scene) == 5);  // maxUnavailable, maxFailed and the next step's gate hold as before
  CHECK(scene.set.status.rejected_revisions.empty());
  CHECK(scene.set.status.rollout->step == "half");
}

TEST_CASE("each step's end is counted once", "[machine_set]") {
  auto scene = under_way({waiting_step("few", {1, false})});
  std::map<std::string, int> ended;
  const auto pass = [&] {
    const auto p = scene.pass();
    for (const auto& m : p.plan.metrics)
      if (m.name == "rollout_steps_total") ++ended[m.value.str()];
    for (const auto& name : edited(p))
      for (auto& m : scene.machines)
        if (m.metadata.name == name) m = machine_of(scene.set, name, "v2");
    scene.now += seconds(60);
  };
  for (int i = 0; i < 3; ++i) pass();
  CHECK(ended.empty());  // it waits for a person
  SECTION("passed") {
    scene.set.metadata.annotations.set(api::annotation::promote, revision_for("v2"));
    pass();
    scene.set.metadata.annotations.erase(api::annotation::promote);
    for (int i = 0; i < 20; ++i) pass();
    CHECK(scene.set.status.rollout->phase == RolloutPhase::complete);
    CHECK(ended == std::map<std::string, int>{{"Passed", 2}});
  }
  SECTION("rejected") {
    scene.set.metadata.annotations.set(api::annotation::reject, revision_for("v2"));
    pass();
    CHECK(ended == std::map<std::string, int>{{"Rejected", 1}});
  }
  SECTION("superseded") {
    edit_template(scene, "v3");
    pass();
    CHECK(ended == std::map<std::string, int>{{"Superseded", 1}});
  }
}

TEST_CASE("a set that is paused isn't late, and its clocks go on where they stood", "[machine_set]") {
  auto scene = under_way({step_of("few", {1, false})});
  auto p = scene.pass();
  scene.machines[0].status.revision = {};  // the canary is being worked on, and takes its time
  for (auto& m : scene.machines)
    if (m.metadata.name == edited(p)[0]) {
      m.metadata.labels.set(api::label::revision, revision_for("v2"));
      m.spec = api::machine_spec(template_of("v2").spec, "local");
    }
  scene.now += seconds(3000);
  scene.pass();
  scene.set.spec.paused = true;
  p = scene.pass();
  scene.now += seconds(100'000);
  p = scene.pass();
  CHECK(condition(p, "Stalled")->status == api::ConditionStatus::false_);
  scene.set.spec.paused.reset();
  p = scene.pass();
  CHECK(condition(p, "Stalled")->status == api::ConditionStatus::false_);
  scene.now += seconds(599);
  CHECK(condition(scene.pass(), "Stalled")->status == api::ConditionStatus::false_);
  scene.now += seconds(1);
  CHECK(condition(scene.pass(), "Stalled")->reason == api::reason::progress_deadline_exceeded);
}
