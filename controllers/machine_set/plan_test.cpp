#include "controllers/machine_set/plan.hpp"

#include <catch2/catch.hpp>
#include <ctime>
#include <set>

#include "controllers/machine_set/cluster_facts.hpp"
#include "controllers/machine_set/testing.hpp"

using namespace endstate::machine_set;
using namespace endstate::machine_set::testing;
using api::ConditionStatus, api::RolloutPhase;
using reconcile::Verb;

namespace {

bool is(const Planned& p, std::string_view type, bool status, std::string_view reason) {
  const auto* c = condition(p, type);
  if (!c) return false;
  INFO(type << ": " << c->reason.view() << ": " << c->message.view());
  CHECK(c->reason == reason);
  return c->status == (status ? ConditionStatus::true_ : ConditionStatus::false_);
}
std::vector<std::string> edited(const Planned& p) {
  std::vector<std::string> names;
  for (const auto* a : actions_of(p, Verb::merge_patch, "Machine")) names.push_back(a->name.str());
  return names;
}
api::Machine& machine(Scene& scene, std::string_view name) {
  for (auto& m : scene.machines)
    if (m.metadata.name == name) return m;
  throw std::logic_error("no such machine");
}
// The machine took the edit: its wish is the version; unfinished, so that its own loop has it to do.
void take_edit(Scene& scene, std::string_view name, std::string_view version) {
  auto& m = machine(scene, name);
  m.metadata.labels.set(api::label::revision, revision_for(version));
  m.spec = api::machine_spec(template_of(version).spec, "local");
}
void finish_edit(Scene& scene, std::string_view name) {
  auto& m = machine(scene, name);
  m.status.revision = m.metadata.labels.get(api::label::revision);
}
// All edits of a plan are taken and succeed at once.
void obey(Scene& scene, const Planned& p, std::string_view version) {
  for (const auto& name : edited(p)) {
    take_edit(scene, name, version);
    finish_edit(scene, name);
  }
}
Scene with_canary(std::int64_t replicas, std::vector<api::RolloutStep> steps) {
  auto scene = settled(replicas, "v1");
  scene.set.spec.rollout.steps = std::move(steps);
  edit_template(scene, "v2");
  return scene;
}
api::RolloutStep paused_step(std::string_view name, api::IntOrPercent updated, api::PauseType type, int wait) {
  auto s = step_of(name, updated);
  s.pause = api::Pause{};
  s.pause->type = type;
  (type == api::PauseType::duration ? s.pause->seconds : s.pause->timeout) = seconds(wait);
  return s;
}

}  // namespace

// ---- machines come and go ----

TEST_CASE("a Hosted cluster takes machines when what they need there has been applied, whatever else of it fails later", "[machine_set]") {
  api::Cluster c;
  c.spec.control_plane.type = api::ControlPlaneType::external;
  CHECK(facts_of(c, epoch).waits_for.empty());
  c.spec.control_plane.type = api::ControlPlaneType::hosted;
  CHECK(facts_of(c, epoch).waits_for == "its control plane isn't there");
  reconcile::set_condition(c.status.conditions,
                           {.type = "AddonsReady",
                            .status = api::ConditionStatus::false_,
                            .reason = "ApplyingAddons",
                            .message = "add-on endstate is being applied"},
                           {});
  CHECK(facts_of(c, epoch).waits_for == "AddonsReady is not True: add-on endstate is being applied");
  c.status.addons = {{.name = "dns", .state = api::AddonState::applied, .hash = "h", .message = {}, .objects = {}},
                     {.name = "endstate", .state = api::AddonState::pending, .hash = {}, .message = {}, .objects = {}}};
  CHECK_FALSE(facts_of(c, epoch).waits_for.empty());
  c.status.addons[1].hash = "h";
  c.status.addons[1].state = api::AddonState::failed;
  CHECK(facts_of(c, epoch).waits_for.empty());
}

TEST_CASE("the finalizer comes before anything else", "[machine_set]") {
  Scene scene;
  scene.set = set_of(3, "v1");
  scene.set.metadata.finalizers.clear();
  const auto p = scene.plan();
  REQUIRE(p.plan.actions.size() == 1);
  CHECK(p.plan.actions[0].body.find("endstate.dev/machine-set") != std::string::npos);
  CHECK_FALSE(p.plan.status);
}

TEST_CASE("a template is recorded before anything is made of it, or said about it", "[machine_set]") {
  Scene scene;
  scene.set = set_of(3, "v1");
  const auto p = scene.plan();
  REQUIRE(p.plan.actions.size() == 1);
  CHECK_FALSE(p.plan.status);
  const auto& a = p.plan.actions[0];
  CHECK((a.verb == Verb::create && a.kind->resource->kind == "ControllerRevision" && a.name == "workers-" + revision_for("v1").str()));
  CHECK(a.body.find(R"("labels":{"endstate.dev/set-uid":"set-uid"})") != std::string::npos);
  CHECK(a.body.find(R"("data":{"metadata":{"labels":{"pool":"workers"}},"spec":{"packages":)") != std::string::npos);
}

TEST_CASE("missing machines are made in parallel, at most a pass's worth, after the status", "[machine_set]") {
  auto scene = unborn(250, "v1");
  const auto p = scene.pass();
  CHECK(p.plan.actions.size() == max_actions);
  const auto machines = actions_of(p, Verb::create, "Machine");
  CHECK(machines.size() == max_actions);
  std::set<std::string> names;
  for (const auto* a : machines) {
    CHECK(a->stage == 1);
    names.insert(a->name.str());
  }
  CHECK(names.size() == machines.size());
  REQUIRE(p.plan.status);
  CHECK((p.plan.status->changed && p.plan.status->first));
  CHECK(p.status->current_revision == revision_for("v1"));
  CHECK(p.status->rollout->phase == RolloutPhase::complete);
  CHECK(p.status->selector == "pool=workers");
  CHECK(is(p, "Ready", false, "ScalingUp"));
  CHECK(is(p, "ScalingUp", true, "ScalingUp"));
}

TEST_CASE("a cache that hasn't seen the last creations proposes the same names", "[machine_set]") {
  const auto scene = unborn(5, "v1");
  const auto a = scene.plan(), b = scene.plan();
  REQUIRE(a.plan.actions.size() == b.plan.actions.size());
  for (std::size_t i = 0; i < a.plan.actions.size(); ++i) CHECK(a.plan.actions[i].name == b.plan.actions[i].name);
}

TEST_CASE("nothing is made without what it needs, and it heals", "[machine_set]") {
  auto scene = unborn(3, "v1");
  const auto made = [&] { return actions_of(scene.plan(), Verb::create, "Machine").size(); };
  CHECK(made() == 3);
  SECTION("no cluster") {
    scene.cluster = {};
    CHECK(is(scene.plan(), "Stalled", true, "ClusterNotFound"));
    CHECK(condition(scene.plan(), "Stalled")->message.view().find("local") != std::string_view::npos);
    CHECK(made() == 0);
    scene.cluster.found = true;
  }
  SECTION("the cluster goes") {
    scene.cluster.deleting = true;
    CHECK(is(scene.plan(), "Stalled", true, "ClusterDeleting"));
    CHECK(made() == 0);
    scene.cluster.deleting = false;
  }
  SECTION("a Hosted cluster that has no CRD of HostAssignment yet") {
    scene.cluster.waits_for = "its control plane isn't there";
    CHECK(is(scene.plan(), "Stalled", true, "WaitingForControlPlane"));
    CHECK(made() == 0);
    scene.cluster.waits_for.clear();
  }
  SECTION("an unknown package") {
    scene.unknown_packages = {"v1"};
    CHECK(is(scene.plan(), "Stalled", true, "PackageNotFound"));
    CHECK(condition(scene.plan(), "Stalled")->message.view().find("MachinePackageVersion v1") != std::string_view::npos);
    CHECK(made() == 0);
    scene.unknown_packages.clear();
  }
  SECTION("a selector that doesn't match its own template") {
    scene.set.spec.selector.match_labels = {{"pool", "others"}};
    CHECK(is(scene.plan(), "Stalled", true, "InvalidSpec"));
    CHECK(scene.plan().plan.actions.empty());
    scene.set.spec.selector.match_labels = {{"pool", "workers"}};
  }
  SECTION("an empty selector") {
    scene.set.spec.selector.match_labels = {};
    CHECK(scene.plan().plan.actions.empty());
    scene.set.spec.selector.match_labels = {{"pool", "workers"}};
  }
  SECTION("a cache that is behind") {
    scene.fresh = false;
    const auto p = scene.plan();
    CHECK((p.plan.actions.empty() && !p.plan.status && p.plan.again));
    scene.fresh = true;
  }
  CHECK(made() == 3);
}

TEST_CASE("a machine on its way out still has its place", "[machine_set]") {
  auto scene = settled(3, "v1");
  scene.machines[0].metadata.deletion_timestamp = scene.now;
  CHECK(scene.plan().plan.actions.empty());
  scene.machines.erase(scene.machines.begin());
  CHECK(actions_of(scene.plan(), Verb::create, "Machine").size() == 1);
}

TEST_CASE("too many machines go by uid, in bounded numbers, and protected ones stay", "[machine_set]") {
  auto scene = settled(150, "v1");
  scene.set.spec.replicas = 120;
  auto p = scene.plan();
  const auto gone = actions_of(p, Verb::remove, "Machine");
  CHECK(gone.size() == 30);
  CHECK(!gone[0]->uid.empty());
  scene.set.spec.replicas = 0;
  CHECK(actions_of(scene.plan(), Verb::remove, "Machine").size() == 100);
  for (int i = 0; i < 60; ++i) scene.machines[static_cast<std::size_t>(i)].metadata.deletion_timestamp = scene.now;
  CHECK(actions_of(scene.plan(), Verb::remove, "Machine").size() == 40);  // 100 under way; the rest can still be saved
  scene.set.spec.replicas = 100;
  CHECK(scene.plan().plan.actions.empty());

  auto kept = settled(3, "v1");
  for (auto& m : kept.machines) m.metadata.annotations.set(api::annotation::delete_protection, "Always");
  kept.set.spec.replicas = 2;
  p = kept.plan();
  CHECK(p.plan.actions.empty());
  CHECK(is(p, "Stalled", true, "MachinesProtected"));
}

TEST_CASE("counters are written when they have settled, what matters at once", "[machine_set]") {
  auto scene = settled(10, "v1");
  CHECK_FALSE(scene.plan().plan.status->changed);
  set_ready(scene.machines[0], ConditionStatus::false_, "NotReady", scene.now);
  auto p = scene.plan();
  CHECK((p.plan.status->changed && !p.plan.status->first && p.plan.status->settle == settle));
  CHECK(p.status->ready_replicas == 9);
  edit_template(scene, "v2");
  p = scene.plan();
  CHECK((p.plan.status->changed && p.plan.status->first && p.plan.status->settle.count() == 0));
}

TEST_CASE("a set that is paused, or whose cluster is, is only looked at", "[machine_set]") {
  auto scene = settled(5, "v1");
  edit_template(scene, "v2");
  scene.set.spec.replicas = 9;
  SECTION("spec") { scene.set.spec.paused = true; }
  SECTION("annotation") { scene.set.metadata.annotations.set(api::annotation::paused, ""); }
  SECTION("cluster") { scene.cluster.paused = true; }
  const auto p = scene.plan();
  CHECK(p.plan.actions.empty());
  CHECK(is(p, "Paused", true, "Paused"));
  CHECK(is(p, "Reconciling", false, "Paused"));
}

// ---- revisions ----

TEST_CASE("an old template takes its old revision again, by content", "[machine_set]") {
  auto scene = settled(1, "v1");
  edit_template(scene, "v2");
  scene.pass();
  scene.set.spec.template_ = template_of("v1");
  const auto p = scene.plan();
  CHECK(p.status->update_revision == revision_for("v1"));
  const auto raised = actions_of(p, Verb::merge_patch, "ControllerRevision");
  REQUIRE(raised.size() == 1);
  CHECK(raised[0]->body == R"({"revision":3})");
  CHECK(!raised[0]->resource_version.empty());
}

TEST_CASE("two templates with one hash, or a stranger with the name, get another name", "[machine_set]") {
  Scene scene;
  scene.set = set_of(1, "v1");
  auto other = revision_of(template_of("v1"), 1);
  other.template_ = template_of("v9");
  other.canonical = canonical_template(other.template_);  // the same hash, another content
  SECTION("ours") { scene.revisions = {other}; }
  SECTION("a stranger's") { scene.taken_revision_names = {other.name}; }
  const auto p = scene.plan();
  const auto made = actions_of(p, Verb::create, "ControllerRevision");
  REQUIRE(made.size() == 1);
  CHECK_FALSE(made[0]->name == other.name);
}

TEST_CASE("old revisions are trimmed, never those in use", "[machine_set]") {
  auto scene = settled(2, "v1");
  for (int i = 2; i <= 6; ++i) scene.revisions.push_back(revision_of(template_of("v" + std::to_string(i)), i));
  scene.revisions[0].number = 7;
  scene.set.spec.revision_history_limit = 2;
  take_edit(scene, scene.machines[0].metadata.name.view(), "v3");
  finish_edit(scene, scene.machines[0].metadata.name.view());
  scene.machines[0].metadata.deletion_timestamp = scene.now;  // so that there is nothing else to do
  const auto planned = scene.plan();                          // the actions are its own
  const auto gone = actions_of(planned, Verb::remove, "ControllerRevision");
  REQUIRE(gone.size() == 2);  // of 2, 4, 5, 6 the newest two stay; 3 is on a machine
  CHECK((gone[0]->name == scene.revisions[1].name && gone[1]->name == scene.revisions[3].name));
}

TEST_CASE("a current revision that was never recorded, and that no machine has, leads nowhere: it is forgotten", "[machine_set]") {
  auto scene = unborn(3, "v2");
  scene.set.status.current_revision = revision_for("v1");
  const auto p = scene.plan();
  CHECK(p.status->current_revision == revision_for("v2"));
  CHECK(actions_of(p, Verb::create, "Machine").size() == 3);
}

TEST_CASE("a status that is lost is guessed from the machines", "[machine_set]") {
  auto scene = settled(5, "v1");
  edit_template(scene, "v2");
  scene.set.status = {};
  const auto p = scene.plan();
  CHECK(p.status->current_revision == revision_for("v1"));
  CHECK(p.status->rollout->phase == RolloutPhase::progressing);
}

// ---- forward ----

TEST_CASE("the canary is one machine that is well; the step is stored first", "[machine_set]") {
  auto scene = with_canary(10, {step_of("canary", {1, false})});
  set_ready(scene.machines[0], ConditionStatus::false_, "NotReady", scene.now);
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{2, false};
  const auto p = scene.pass();
  REQUIRE(edited(p).size() == 1);
  CHECK_FALSE(edited(p)[0] == scene.machines[0].metadata.name.view());
  CHECK(p.plan.status->first);
  CHECK((p.status->rollout->step == "canary" && p.status->rollout->target == 1 && p.status->rollout->phase == RolloutPhase::progressing));
  CHECK(is(p, "RollingOut", true, "RollingOut"));
  CHECK(p.status->history.back().from == revision_for("v1"));
  take_edit(scene, edited(p)[0], "v2");
  CHECK(edited(scene.plan()).empty());  // that one is on its way
}

TEST_CASE("canaries are spread over failure domains", "[machine_set]") {
  auto scene = with_canary(12, {step_of("few", {3, false})});
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{3, false};
  for (std::size_t i = 0; i < 12; ++i) scene.machines[i].status.failure_domain = i < 8 ? "a" : i < 11 ? "b" : "c";
  std::set<std::string> domains;
  for (const auto& name : edited(scene.plan())) domains.insert(machine(scene, name).status.failure_domain.str());
  CHECK(domains == std::set<std::string>{"a", "b", "c"});
}

TEST_CASE("machines are picked as asked", "[machine_set]") {
  auto scene = with_canary(10, {step_of("canary", {1, false})});
  scene.set.spec.rollout.pick = api::Pick::by_annotation;
  scene.machines[7].metadata.annotations.set(api::annotation::update_order, "-1");
  scene.machines[3].metadata.annotations.set(api::annotation::update_order, "5");
  scene.machines[2].metadata.annotations.set(api::annotation::update_order, "soon");
  CHECK(edited(scene.plan()) == std::vector<std::string>{scene.machines[7].metadata.name.str()});
  scene.set.spec.rollout.pick = api::Pick::random;
  const auto once = edited(scene.plan());
  CHECK(once.size() == 1);
  CHECK(once == edited(scene.plan()));  // chance, but the same in every pass
}

TEST_CASE("no more than maxUnavailable at a time, whatever the cause", "[machine_set]") {
  auto scene = with_canary(10, {});
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{3, false};
  CHECK(edited(scene.plan()).size() == 3);
  set_ready(scene.machines[0], ConditionStatus::false_, "NotReady", scene.now);
  set_ready(scene.machines[1], ConditionStatus::unknown, "NodeUnhealthy", scene.now);
  auto names = edited(scene.plan());  // the two that are ill cost nothing and go first; one place is left
  REQUIRE(names.size() == 3);
  CHECK((names[0] == scene.machines[0].metadata.name.view() && names[1] == scene.machines[1].metadata.name.view()));
  const auto p = scene.plan();
  CHECK(actions_of(p, Verb::merge_patch, "Machine")[0]->body.find("endstate.dev/was-unavailable\":\"" + revision_for("v2").str()) !=
        std::string::npos);
  CHECK(actions_of(p, Verb::merge_patch, "Machine")[2]->body.find("was-unavailable") == std::string::npos);
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{2, false};
  CHECK(edited(scene.pass()).size() == 2);
  CHECK_FALSE(scene.set.status.rollout->blocked_by);  // its own machines use it up: it works
  for (const auto i : {0, 1}) finish_edit(scene, scene.machines[static_cast<std::size_t>(i)].metadata.name.view());
  scene.machines[0].status.host_ref.reset();  // two that will not come back by themselves
  scene.machines[1].status.host_ref.reset();
  names = edited(scene.pass());
  const auto& blocked = scene.set.status.rollout->blocked_by;
  REQUIRE(blocked);
  CHECK((blocked->kind == "MachineSet" && blocked->reason == "MaxUnavailable"));
}

TEST_CASE("a machine that came up but isn't available long enough counts as unavailable", "[machine_set]") {
  auto scene = with_canary(10, {});
  scene.set.spec.rollout.min_ready = seconds(60);
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{1, false};
  auto first = scene.pass();
  obey(scene, first, "v2");
  machine(scene, edited(first)[0]).status.conditions[0].last_transition_time = scene.now;
  const auto p = scene.plan();
  CHECK(edited(p).empty());
  REQUIRE(p.plan.again);
  CHECK(*p.plan.again == seconds(60));
  scene.now += seconds(60);
  CHECK(edited(scene.plan()).size() == 1);
}

TEST_CASE("steps follow each other to the end", "[machine_set]") {
  auto scene = with_canary(10, {step_of("canary", {1, false}), step_of("half", {50, true})});
  std::vector<std::string> seen;
  std::size_t most = 0;
  for (int i = 0; i < 40 && scene.set.status.rollout->phase != RolloutPhase::complete || i == 0; ++i) {
    const auto p = scene.pass();
    const auto step = scene.set.status.rollout->step.str();
    if (seen.empty() || seen.back() != step) seen.push_back(step);
    most = std::max(most, edited(p).size());
    obey(scene, p, "v2");
    scene.now += seconds(5);
  }
  CHECK(seen == std::vector<std::string>{"canary", "half", "rest", ""});
  CHECK(most == 1);
  CHECK(scene.set.status.current_revision == revision_for("v2"));
  CHECK(scene.set.status.up_to_date_replicas == 10);
  const auto& change = scene.set.status.history.back();
  CHECK((change.result == api::ChangeResult::complete && change.steps.size() == 3 && change.steps[1].updated == 5));
  CHECK(is(scene.pass(), "Ready", true, "Ready"));
}

TEST_CASE("new machines get the current revision until the last step", "[machine_set]") {
  auto scene = with_canary(4, {step_of("canary", {1, false})});
  scene.set.spec.replicas = 6;
  const auto body_of_new = [](const Planned& p) { return actions_of(p, Verb::create, "Machine").at(0)->body; };
  CHECK(body_of_new(scene.pass()).find(revision_for("v1").view()) != std::string::npos);
  scene.set.spec.rollout.steps.clear();
  CHECK(body_of_new(scene.plan()).find(revision_for("v2").view()) != std::string::npos);
}

TEST_CASE("a pause of a duration ends by itself, once the machines are well", "[machine_set]") {
  auto scene = with_canary(10, {paused_step("canary", {1, false}, api::PauseType::duration, 600)});
  obey(scene, scene.pass(), "v2");
  auto p = scene.pass();
  CHECK(edited(p).empty());
  CHECK((p.status->rollout->phase == RolloutPhase::paused && p.status->rollout->pause_start_time == scene.now));
  CHECK(is(p, "RollingOut", true, "StepPause"));
  REQUIRE(p.plan.again);
  CHECK(*p.plan.again == seconds(600));
  scene.now += seconds(599);
  CHECK(edited(scene.pass()).empty());
  scene.now += seconds(1);
  p = scene.pass();
  CHECK((p.status->rollout->step == "rest" && edited(p).size() == 1 && p.plan.status->first));
}

TEST_CASE("a pause for a promotion waits for it", "[machine_set]") {
  auto scene = with_canary(10, {paused_step("canary", {1, false}, api::PauseType::promotion, 3600)});
  obey(scene, scene.pass(), "v2");
  auto p = scene.pass();
  CHECK(is(p, "RollingOut", true, "WaitingForPromotion"));
  const auto rev = revision_for("v2").str();
  const auto& annotations = scene.set.metadata.annotations;
  const auto say = [&](const std::string& value) { scene.set.metadata.annotations.set(api::annotation::promote, Text(value)); };
  const auto removed = [](const Planned& x) { return actions_of(x, Verb::json_patch, "MachineSet").size() == 1; };
  SECTION("by its revision") { say(rev); }
  SECTION("by revision and step") { say(rev + "/canary"); }
  SECTION("another revision's is taken off and changes nothing") {
    say("xxxxxxxxxx");
    p = scene.pass();
    CHECK((removed(p) && p.status->rollout->step == "canary"));
    say(rev);
  }
  SECTION("a step that doesn't exist") {
    say(rev + "/nope");
    p = scene.pass();
    CHECK((removed(p) && p.status->rollout->step == "canary"));
    say(rev);
  }
  p = scene.pass();
  CHECK((removed(p) && p.status->rollout->step == "rest" && p.status->rollout->promoted_step == "canary" && p.plan.status->first));
  // It dies before it takes the annotation off: the next pass must not promote again.
  p = scene.pass();
  CHECK((removed(p) && p.status->rollout->step == "rest"));
  CHECK(annotations.has(api::annotation::promote));
}

TEST_CASE("a promotion that names its step may come early", "[machine_set]") {
  auto scene = with_canary(10, {paused_step("canary", {1, false}, api::PauseType::promotion, 3600)});
  const auto first = scene.pass();
  scene.set.metadata.annotations.set(api::annotation::promote, Text(revision_for("v2").str() + "/canary"));
  CHECK(actions_of(scene.pass(), Verb::json_patch, "MachineSet").empty());  // it waits
  obey(scene, first, "v2");
  scene.pass();
  const auto p = scene.pass();
  CHECK(p.status->rollout->step == "rest");
  CHECK(actions_of(p, Verb::json_patch, "MachineSet").size() == 1);
}

TEST_CASE("a promotion that nobody gives fails the rollout", "[machine_set]") {
  auto scene = with_canary(10, {paused_step("canary", {1, false}, api::PauseType::promotion, 3600)});
  obey(scene, scene.pass(), "v2");
  scene.pass();
  scene.now += seconds(3600);
  const auto p = scene.pass();
  REQUIRE(p.status->rejected_revisions.size() == 1);
  CHECK(p.status->rejected_revisions[0].reason == "PromotionTimedOut");
  CHECK(p.status->rollout->phase == RolloutPhase::rolling_back);
  CHECK(edited(p).size() == 1);
}

TEST_CASE("a step with an analysis is not passed silently", "[machine_set]") {
  auto canary = step_of("canary", {1, false});
  canary.analysis = api::Analysis{};
  canary.analysis->checks.push_back({.name = "errors", .source_ref = {"prom"}, .query = "up", .threshold = "1"});
  auto scene = with_canary(10, {canary});
  obey(scene, scene.pass(), "v2");
  auto p = scene.pass();
  CHECK(p.status->rollout->phase == RolloutPhase::paused);
  CHECK(is(p, "Stalled", true, "MetricSourceNotFound"));
  scene.set.metadata.annotations.set(api::annotation::promote, revision_for("v2"));
  p = scene.pass();
  CHECK(p.status->rollout->step == "rest");
}

TEST_CASE("a rollout waits for the set that it comes after", "[machine_set]") {
  auto scene = settled(5, "v1");
  scene.set.spec.rollout.after = api::RolloutAfter{.kind = "MachineSet", .name = "staging"};
  edit_template(scene, "v2");
  auto p = scene.pass();
  CHECK(is(p, "RollingOut", true, "WaitingForSet"));
  CHECK((p.status->rollout->blocked_by && p.status->rollout->blocked_by->name == "staging"));
  auto staging = settled(2, "v1").set;
  staging.metadata.name = "staging";
  scene.after = staging;
  CHECK(is(scene.pass(), "RollingOut", true, "WaitingForSet"));  // complete, but at other versions
  scene.after = settled(2, "v2").set;
  scene.after->status.rollout->phase = RolloutPhase::progressing;
  CHECK(edited(scene.pass()).empty());
  scene.after->status.rollout->phase = RolloutPhase::complete;
  p = scene.pass();
  CHECK(edited(p).size() == 1);
  scene.after->status.rollout->phase = RolloutPhase::progressing;  // once it has begun, it goes on
  obey(scene, p, "v2");
  CHECK(edited(scene.pass()).size() == 1);
  scene.set.spec.rollout.after->name = "workers";
  edit_template(scene, "v3");
  CHECK(condition(scene.pass(), "RollingOut")->message.view().find("itself") != std::string_view::npos);
}

TEST_CASE("an unknown package stops the way forward, never the way back", "[machine_set]") {
  auto scene = with_canary(10, {step_of("canary", {1, false})});
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{2, false};  // the machine that is missing counts
  scene.unknown_packages = {"v2"};
  auto p = scene.pass();
  CHECK(edited(p).empty());
  CHECK(is(p, "Stalled", true, "PackageNotFound"));
  scene.machines.pop_back();
  p = scene.plan();  // a missing machine is made of the current revision
  CHECK(actions_of(p, Verb::create, "Machine").size() == 1);
  scene.unknown_packages.clear();
  CHECK(edited(scene.pass()).size() == 1);
}

TEST_CASE("a partition keeps machines back, and takes them back when it is raised", "[machine_set]") {
  auto scene = settled(5, "v1");
  scene.set.spec.rollout.partition = 3;
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{5, false};
  edit_template(scene, "v2");
  auto p = scene.pass();
  CHECK(edited(p).size() == 2);
  obey(scene, p, "v2");
  p = scene.pass();
  CHECK(is(p, "RollingOut", true, "PartitionReached"));
  CHECK(edited(p).empty());
  scene.set.spec.rollout.partition = 4;
  p = scene.pass();
  REQUIRE(edited(p).size() == 1);
  CHECK(actions_of(p, Verb::merge_patch, "Machine")[0]->body.find(revision_for("v1").view()) != std::string::npos);
  obey(scene, p, "v1");
  CHECK(edited(scene.pass()).empty());
  scene.set.spec.rollout.partition = 0;
  CHECK(edited(scene.pass()).size() == 4);
}

TEST_CASE("machines that can't testify come last, and don't hold the end", "[machine_set]") {
  auto scene = with_canary(4, {step_of("most", {3, false})});
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{4, false};
  scene.machines[0].status.host_ref.reset();
  scene.machines[0].status.node_ref.reset();
  scene.machines[0].status.conditions.clear();
  set_ready(scene.machines[1], ConditionStatus::unknown, "AgentSilent", scene.now);
  auto p = scene.pass();
  CHECK(edited(p).size() == 2);
  obey(scene, p, "v2");
  p = scene.pass();  // nobody else could testify: the step is done, the last one takes the rest
  CHECK(p.status->rollout->step == "rest");
  CHECK(edited(p).size() == 2);
  for (const auto* a : actions_of(p, Verb::merge_patch, "Machine")) {
    take_edit(scene, a->name, "v2");
    machine(scene, a->name).metadata.annotations.set(api::annotation::was_unavailable, revision_for("v2"));
  }
  p = scene.pass();
  CHECK(p.status->rollout->phase == RolloutPhase::complete);
  CHECK(is(p, "Ready", false, "NotAvailable"));
}

// ---- trouble ----

TEST_CASE("a failure rejects the revision, first in status, then everything goes back", "[machine_set]") {
  auto scene = with_canary(10, {step_of("canary", {2, false})});
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{2, false};
  auto p = scene.pass();
  const auto names = edited(p);
  REQUIRE(names.size() == 2);
  obey(scene, p, "v2");
  fail_update(machine(scene, names[0]), scene.now + seconds(5));
  scene.now += seconds(10);
  p = scene.pass();
  REQUIRE(p.status->rejected_revisions.size() == 1);
  const auto& why = p.status->rejected_revisions[0];
  CHECK((why.revision == revision_for("v2") && why.step == "canary" && why.reason == "PackageFailed"));
  CHECK(why.message.view().find(names[0]) != std::string_view::npos);
  CHECK(why.message.view().ends_with("kubelet: exit 1 (it brings kubelet v2)"));
  CHECK(p.plan.status->first);
  CHECK(p.status->rollout->phase == RolloutPhase::rolling_back);
  CHECK(edited(p).size() == 2);  // the failed one costs nothing, the other fits into maxUnavailable
  CHECK(edited(p)[0] == names[0]);
  CHECK(is(p, "Reconciling", true, "RollingBack"));
  obey(scene, p, "v1");
  set_ready(machine(scene, names[0]), ConditionStatus::true_, "Ready", scene.now);
  p = scene.pass();
  CHECK(p.status->rollout->phase == RolloutPhase::rolled_back);
  CHECK(p.status->history.back().result == api::ChangeResult::rolled_back);
  CHECK(is(p, "Stalled", true, "RevisionRejected"));
  CHECK(is(p, "RollingOut", false, "RolledBack"));
  CHECK(p.status->current_revision == revision_for("v1"));

  SECTION("it stays rejected through scaling, another template, and back") {
    scene.set.spec.replicas = 12;
    p = scene.pass();
    CHECK(actions_of(p, Verb::create, "Machine").at(0)->body.find(revision_for("v1").view()) != std::string::npos);
    CHECK(edited(p).empty());
    scene.set.spec.replicas = 10;
    edit_template(scene, "v3");
    CHECK(edited(scene.pass()).size() == 2);
    edit_template(scene, "v2");
    p = scene.pass();
    CHECK(edited(p).empty());
    CHECK(is(p, "Stalled", true, "RevisionRejected"));
  }
  SECTION("a retry tries again, and old failures don't count") {
    scene.set.metadata.annotations.set(api::annotation::retry, revision_for("v2"));
    p = scene.pass();
    CHECK(p.status->rejected_revisions.empty());
    CHECK(actions_of(p, Verb::json_patch, "MachineSet").size() == 1);
    CHECK((edited(p).size() == 2 && p.plan.status->first));
  }
  SECTION("the old template again is simply complete") {
    edit_template(scene, "v1");
    p = scene.pass();
    CHECK(p.status->rollout->phase == RolloutPhase::complete);
    CHECK(is(p, "Ready", true, "Ready"));
  }
}

TEST_CASE("tolerated failures let a step pass", "[machine_set]") {
  auto canary = step_of("canary", {2, false});
  canary.max_failed = api::IntOrPercent{1, false};
  auto scene = with_canary(20, {canary});
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{3, false};
  auto p = scene.pass();
  obey(scene, p, "v2");
  fail_update(machine(scene, edited(p)[0]), scene.now + seconds(1));
  p = scene.pass();
  CHECK((p.status->rollout->step == "rest" && p.status->rollout->failed == 1 && p.status->rejected_revisions.empty()));
}

TEST_CASE("what failed before, or was ill before, doesn't condemn", "[machine_set]") {
  auto scene = with_canary(10, {});
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{2, false};
  auto p = scene.pass();
  obey(scene, p, "v2");
  auto& m = machine(scene, edited(p)[0]);
  SECTION("before the rollout began") { fail_update(m, scene.now - seconds(60)); }
  SECTION("unavailable when it got the revision") {
    fail_update(m, scene.now + seconds(1));
    m.metadata.annotations.set(api::annotation::was_unavailable, revision_for("v2"));
  }
  p = scene.pass();
  CHECK(p.status->rejected_revisions.empty());
  CHECK(p.status->rollout->phase == RolloutPhase::progressing);
}

TEST_CASE("a rollback that is not allowed stands still and calls a person", "[machine_set]") {
  auto scene = with_canary(10, {step_of("canary", {3, false})});
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{3, false};
  auto p = scene.pass();
  obey(scene, p, "v2");
  fail_update(machine(scene, edited(p)[0]), scene.now + seconds(1));
  const bool by_policy = GENERATE(true, false);
  auto& on_failure = scene.set.spec.rollout.on_failure;
  if (by_policy)
    on_failure.action = api::FailureAction::pause;
  else
    on_failure.max_machines = api::IntOrPercent{2, false};
  const std::string_view reason = by_policy ? "RevisionRejected" : "RollbackTooLarge";
  p = scene.pass();
  CHECK(edited(p).empty());
  CHECK(p.status->rollout->phase == RolloutPhase::paused);
  CHECK(p.status->rejected_revisions.size() == 1);
  CHECK(is(p, "Stalled", true, reason));
  SECTION("a person rejects it: then it goes back all the same") {
    scene.set.metadata.annotations.set(api::annotation::reject, revision_for("v2"));
    p = scene.pass();
    CHECK(p.status->rollout->phase == RolloutPhase::rolling_back);
    CHECK(edited(p).size() == 3);
    CHECK(p.status->rejected_revisions.size() == 1);
  }
  SECTION("the policy is edited") {
    scene.set.spec.rollout.on_failure = {};
    p = scene.pass();
    CHECK(edited(p).size() == 3);
  }
  SECTION("a retry tells the machine that failed") {
    scene.set.metadata.annotations.set(api::annotation::retry, revision_for("v2"));
    scene.now += seconds(10);
    p = scene.pass();
    const auto patches = actions_of(p, Verb::merge_patch, "Machine");
    REQUIRE(patches.size() == 1);
    CHECK(patches[0]->body == R"({"metadata":{"annotations":{"endstate.dev/retry":")" + revision_for("v2").str() + R"("}}})");
    CHECK(p.status->rollout->failed == 0);
  }
}

TEST_CASE("a person rejects a revision under way", "[machine_set]") {
  auto scene = with_canary(10, {step_of("canary", {1, false})});
  obey(scene, scene.pass(), "v2");
  scene.set.metadata.annotations.set(api::annotation::reject, revision_for("v2"));
  scene.set.spec.rollout.on_failure.action = api::FailureAction::pause;  // a person's word counts more
  auto p = scene.pass();
  REQUIRE(p.status->rejected_revisions.size() == 1);
  CHECK(p.status->rejected_revisions[0].reason == "RejectedByUser");
  CHECK(edited(p).size() == 1);
  auto calm = settled(3, "v1");
  calm.set.metadata.annotations.set(api::annotation::reject, revision_for("v1"));
  p = calm.pass();  // the current revision can't be rejected: there is nothing to go back to
  CHECK(p.status->rejected_revisions.empty());
  CHECK(actions_of(p, Verb::json_patch, "MachineSet").size() == 1);
}

TEST_CASE("lost machines pause and don't condemn", "[machine_set]") {
  auto scene = with_canary(10, {step_of("canary", {1, false})});
  auto p = scene.pass();
  const auto name = edited(p)[0];
  take_edit(scene, name, "v2");
  auto& m = machine(scene, name);
  scene.now += seconds(60);
  set_ready(m, ConditionStatus::unknown, "AgentSilent", scene.now);
  p = scene.pass();
  CHECK((p.status->rollout->phase == RolloutPhase::paused && p.status->rollout->lost == 1 && p.status->rejected_revisions.empty()));
  CHECK(is(p, "Stalled", true, "MachinesLost"));
  CHECK((p.status->rollout->blocked_by && p.status->rollout->blocked_by->name == name));
  SECTION("it comes back") {
    finish_edit(scene, name);
    set_ready(m, ConditionStatus::true_, "Ready", scene.now);
    CHECK(scene.pass().status->rollout->step == "rest");
  }
  SECTION("a person accepts the loss") {
    scene.set.metadata.annotations.set(api::annotation::promote, revision_for("v2"));
    scene.now += seconds(60);
    p = scene.pass();
    CHECK(p.status->rollout->phase == RolloutPhase::progressing);
    CHECK(p.status->rollout->step_start_time == scene.now);
  }
  SECTION("it is replaced: another canary is taken") {
    std::erase_if(scene.machines, [&](const api::Machine& x) { return x.metadata.name == name; });
    scene.set.spec.replicas = 9;
    p = scene.pass();
    CHECK(edited(p).size() == 1);
  }
}

// ---- words ----

TEST_CASE("a word that was carried out isn't again, though Git puts it back; a new one is", "[machine_set]") {
  const auto annotate = [](Scene& scene, std::string_view key, const std::string& value) {
    scene.set.metadata.annotations.set(key, Text(value));
  };
  const auto warned = [](const Planned& p, std::string_view reason) {
    return std::any_of(p.plan.events.begin(), p.plan.events.end(), [&](const auto& e) { return e.warning && e.reason == reason; });
  };
  const auto taken_off = [](const Planned& p) { return actions_of(p, Verb::json_patch, "MachineSet").size() == 1; };
  const auto r = revision_for("v2").str();
  SECTION("retry") {
    auto scene = with_canary(10, {step_of("canary", {1, false})});
    const auto fail_once = [&] {
      scene.now += seconds(10);
      auto p = scene.pass();
      if (edited(p).empty()) return false;
      obey(scene, p, "v2");
      fail_update(machine(scene, edited(p)[0]), scene.now);
      p = scene.pass();
      obey(scene, p, "v1");
      for (auto& m : scene.machines) set_ready(m, ConditionStatus::true_, "Ready", scene.now);
      scene.pass();
      return true;
    };
    REQUIRE(fail_once());
    CHECK(scene.set.status.handled.retry.empty());  // as of an older version
    annotate(scene, api::annotation::retry, r);
    auto p = scene.pass();
    CHECK((taken_off(p) && p.plan.status->first && p.status->handled.retry == r && p.status->rejected_revisions.empty()));
    // It dies before it takes the annotation off: no second try, and no warning.
    p = scene.pass();
    CHECK((taken_off(p) && !warned(p, "RetryIgnored")));
    scene.set.metadata.annotations.erase(api::annotation::retry);
    obey(scene, p, "v1");
    REQUIRE(fail_once());
    for (int i = 0; i < 6; ++i) {  // applied again and again
      annotate(scene, api::annotation::retry, r);
      p = scene.pass();
      CHECK((taken_off(p) && warned(p, "RetryIgnored") && edited(p).empty() && p.status->rejected_revisions.size() == 1));
      scene.set.metadata.annotations.erase(api::annotation::retry);
    }
    annotate(scene, api::annotation::retry, r + "@again");
    p = scene.pass();
    CHECK((p.status->rejected_revisions.empty() && p.status->handled.retry == r + "@again"));
  }
  SECTION("promote") {
    auto scene = with_canary(
        10, {paused_step("a", {1, false}, api::PauseType::promotion, 3600), paused_step("b", {2, false}, api::PauseType::promotion, 3600)});
    obey(scene, scene.pass(), "v2");
    scene.pass();
    annotate(scene, api::annotation::promote, r);
    auto p = scene.pass();
    REQUIRE(p.status->rollout->step == "b");
    CHECK(p.status->handled.promote == r);
    obey(scene, p, "v2");
    scene.set.metadata.annotations.erase(api::annotation::promote);
    scene.pass();
    annotate(scene, api::annotation::promote, r);
    p = scene.pass();
    CHECK((p.status->rollout->step == "b" && taken_off(p) && warned(p, "PromotionIgnored")));
    annotate(scene, api::annotation::promote, r + "@2");
    CHECK(scene.pass().status->rollout->step == "rest");
  }
  SECTION("reject") {
    auto scene = with_canary(10, {step_of("canary", {1, false})});
    scene.pass();
    annotate(scene, api::annotation::reject, r);
    auto p = scene.pass();
    CHECK((p.status->rejected_revisions.size() == 1 && p.status->handled.reject == r));
    scene.set.metadata.annotations.erase(api::annotation::reject);
    scene.pass();
    annotate(scene, api::annotation::retry, r);
    scene.pass();
    scene.set.metadata.annotations.erase(api::annotation::retry);
    annotate(scene, api::annotation::reject, r);
    p = scene.pass();
    CHECK((p.status->rejected_revisions.empty() && warned(p, "RejectionIgnored")));
    annotate(scene, api::annotation::reject, r + "@b");
    CHECK(scene.pass().status->rejected_revisions.size() == 1);
  }
}

TEST_CASE("only a way back is called one: what is put right after a rollout goes forward", "[machine_set]") {
  const auto said_back = [](const Planned& p) {
    std::size_t n = 0;
    for (const auto* a : actions_of(p, Verb::merge_patch, "Machine"))
      n += a->body.find("endstate.dev/rollback-to\":\"") != std::string::npos;
    return n;
  };
  auto scene = with_canary(10, {step_of("few", {3, false})});
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{3, false};
  auto p = scene.pass();
  CHECK(said_back(p) == 0);
  obey(scene, p, "v2");
  SECTION("the template goes back") {
    edit_template(scene, "v1");
    p = scene.pass();
    CHECK((edited(p).size() == 3 && said_back(p) == 3));
  }
  SECTION("rejected, and a machine that had missed the rollout before") {
    take_edit(scene, scene.machines[9].metadata.name.view(), "v0");
    scene.revisions.push_back(revision_of(template_of("v0"), 0));
    finish_edit(scene, scene.machines[9].metadata.name.view());
    set_ready(scene.machines[9], ConditionStatus::false_, "NotReady", scene.now);
    scene.set.spec.rollout.max_unavailable = api::IntOrPercent{9, false};
    scene.set.metadata.annotations.set(api::annotation::reject, revision_for("v2"));
    p = scene.pass();
    CHECK((edited(p).size() == 4 && said_back(p) == 3));
  }
  SECTION("a straggler of a rollout that is through") {
    scene.set.spec.rollout.steps.clear();
    for (auto& m : scene.machines) {
      take_edit(scene, m.metadata.name.view(), "v2");
      finish_edit(scene, m.metadata.name.view());
    }
    REQUIRE(scene.pass().status->rollout->phase == RolloutPhase::complete);
    take_edit(scene, scene.machines[0].metadata.name.view(), "v1");
    finish_edit(scene, scene.machines[0].metadata.name.view());
    p = scene.pass();
    CHECK((edited(p).size() == 1 && said_back(p) == 0));
    CHECK_FALSE(p.status->rollout->phase == RolloutPhase::rolling_back);
  }
  SECTION("a raised partition") {
    scene.set.spec.rollout.steps.clear();
    scene.set.spec.rollout.partition = 9;
    p = scene.pass();
    CHECK((edited(p).size() == 2 && said_back(p) == 2));
  }
}

// ---- who can't see changes nothing ----

TEST_CASE("machines that we lost sight of are no machines that are ill: nothing moves, and was-unavailable isn't said of them",
          "[machine_set]") {
  auto scene = with_canary(100, {step_of("few", {10, false}), step_of("half", {50, false})});
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{10, false};
  scene.pass();
  for (std::size_t i = 0; i < 20; ++i) {
    take_edit(scene, scene.machines[i].metadata.name.view(), "v2");
    finish_edit(scene, scene.machines[i].metadata.name.view());
  }
  REQUIRE(edited(scene.pass()).size() == 10);
  const auto lose = [&](std::size_t from, std::size_t to) {
    for (auto i = from; i < to; ++i) set_ready(scene.machines[i], ConditionStatus::unknown, "ConnectionLost", scene.now);
  };
  SECTION("all of them") {
    lose(0, 100);
    const auto p = scene.pass();
    CHECK(edited(p).empty());
    CHECK(p.status->rejected_revisions.empty());
    REQUIRE(p.status->rollout->blocked_by);
    CHECK((p.status->rollout->blocked_by->reason == "WaitingForConnection" && p.status->rollout->blocked_by->kind == "Cluster"));
  }
  SECTION("some: they take up room, for they may be ill, and go last") {
    lose(20, 26);
    const auto p = scene.pass();
    const auto names = edited(p);
    REQUIRE(names.size() == 10);
    std::size_t well = 0;
    for (const auto& name : names) well += machine(scene, name).status.conditions[0].status == ConditionStatus::true_;
    CHECK(well == 4);
    for (const auto* a : actions_of(p, Verb::merge_patch, "Machine")) CHECK(a->body.find("was-unavailable\":\"") == std::string::npos);
  }
  SECTION("the way back stands still as well") {
    scene.set.metadata.annotations.set(api::annotation::reject, revision_for("v2"));
    lose(0, 100);
    const auto p = scene.pass();
    CHECK(p.status->rejected_revisions.size() == 1);
    CHECK(edited(p).empty());
  }
  SECTION("a rack that is lost is an event of the cluster too") {
    for (std::size_t i = 20; i < 31; ++i) set_ready(scene.machines[i], ConditionStatus::unknown, "NodeUnhealthy", scene.now);
    const auto p = scene.pass();
    CHECK(edited(p).empty());
    REQUIRE(p.status->rollout->blocked_by);
    CHECK(p.status->rollout->blocked_by->reason == "MaxUnavailable");
  }
}

TEST_CASE("while its cluster can't be seen a set writes no machine, and goes on when it can", "[machine_set]") {
  auto scene = with_canary(10, {step_of("canary", {1, false})});
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{2, false};
  auto p = scene.pass();
  obey(scene, p, "v2");
  const auto began = scene.now;
  const auto blind = [&](bool is_blind) {
    scene.cluster.sight = {.seen = !is_blind, .since = began, .why = "connection refused"};
    scene.cluster.gaps = {{began, scene.now}};
  };
  const auto machine_writes = [](const Planned& x) {
    return actions_of(x, Verb::merge_patch, "Machine").size() + actions_of(x, Verb::create, "Machine").size() +
           actions_of(x, Verb::remove, "Machine").size();
  };
  scene.now += seconds(10);
  blind(true);
  SECTION("forward") {}
  SECTION("back") { edit_template(scene, "v1"); }
  SECTION("by a person's word") { scene.set.metadata.annotations.set(api::annotation::reject, revision_for("v2")); }
  SECTION("more machines") { scene.set.spec.replicas = 20; }
  SECTION("fewer machines") { scene.set.spec.replicas = 3; }
  SECTION("one that is gone") { scene.machines.pop_back(); }
  SECTION("a failure that was seen before") { fail_update(machine(scene, edited(p)[0]), scene.now); }
  SECTION("an unknown package doesn't hide it") {
    scene.unknown_packages = {"v2"};
    fail_update(machine(scene, edited(p)[0]), scene.now);
    CHECK(machine_writes(scene.pass()) == 0);
    scene.unknown_packages.clear();
  }
  p = scene.pass();
  CHECK(machine_writes(p) == 0);
  REQUIRE(p.status->rollout->blocked_by);
  CHECK((p.status->rollout->blocked_by->reason == "WaitingForConnection" && p.status->rollout->blocked_by->name == "local"));
  CHECK(p.status->rollout->blocked_by->message.view().find("connection refused") != std::string_view::npos);
  CHECK(is(p, "Ready", false, "WaitingForConnection"));
  REQUIRE(p.plan.again);
  CHECK(*p.plan.again <= seconds(5));
  CHECK_FALSE(scene.plan().plan.status->changed);
  scene.now += seconds(9000);
  blind(true);
  p = scene.pass();
  CHECK(machine_writes(p) == 0);
  CHECK(is(p, "Stalled", false, "NotStalled"));  // no deadline runs meanwhile
  blind(false);
  std::size_t writes = 0;
  for (int i = 0; i < 3; ++i) writes += machine_writes(scene.pass());
  CHECK(writes > 0);
  const auto& blocked = scene.set.status.rollout->blocked_by;
  CHECK((!blocked || !(blocked->reason == "WaitingForConnection")));
}

TEST_CASE("a set with nothing to do says nothing of a cluster that can't be seen; one that is deleted lets its machines go",
          "[machine_set]") {
  auto scene = settled(3, "v1");
  scene.cluster.sight = {.seen = false};
  auto p = scene.plan();
  CHECK_FALSE(p.plan.status->changed);
  CHECK(is(p, "Ready", true, "Ready"));
  scene.set.metadata.deletion_timestamp = scene.now;
  CHECK(actions_of(scene.plan(), Verb::remove, "Machine").size() == 3);
}

TEST_CASE("pauses, promotions, minReady and the progress deadline stand still while the cluster can't be seen", "[machine_set]") {
  const auto gap = [](Scene& scene, int length) {
    scene.cluster.gaps.push_back({scene.now, scene.now + seconds(length)});
    scene.now += seconds(length);
  };
  SECTION("a pause") {
    auto scene = with_canary(10, {paused_step("canary", {1, false}, api::PauseType::duration, 600)});
    obey(scene, scene.pass(), "v2");
    scene.pass();
    scene.now += seconds(100);
    gap(scene, 1000);
    auto p = scene.pass();
    CHECK(edited(p).empty());
    REQUIRE(p.plan.again);
    CHECK(*p.plan.again == seconds(500));
    CHECK(p.status->rollout->message.view().find(reconcile::format_rfc3339(scene.now + seconds(500))) != std::string_view::npos);
    scene.now += seconds(500);
    CHECK(scene.pass().status->rollout->step == "rest");
  }
  SECTION("a promotion") {
    auto scene = with_canary(10, {paused_step("canary", {1, false}, api::PauseType::promotion, 3600)});
    obey(scene, scene.pass(), "v2");
    scene.pass();
    gap(scene, 4000);
    CHECK(scene.pass().status->rejected_revisions.empty());
    scene.now += seconds(3600);
    CHECK(scene.pass().status->rejected_revisions.size() == 1);
  }
  SECTION("minReadySeconds") {
    auto scene = with_canary(10, {});
    scene.set.spec.rollout.min_ready = seconds(60);
    const auto first = scene.pass();
    obey(scene, first, "v2");
    machine(scene, edited(first)[0]).status.conditions[0].last_transition_time = scene.now;
    gap(scene, 100);
    CHECK(edited(scene.plan()).empty());
    scene.now += seconds(60);
    CHECK(edited(scene.plan()).size() == 1);
  }
  SECTION("the progress deadline") {
    auto scene = with_canary(10, {step_of("canary", {1, false})});
    take_edit(scene, edited(scene.pass())[0], "v2");
    scene.pass();
    gap(scene, 4000);
    CHECK(is(scene.pass(), "Stalled", false, "NotStalled"));
    scene.now += seconds(3600);
    CHECK(is(scene.pass(), "Stalled", true, "ProgressDeadlineExceeded"));
  }
}

TEST_CASE("a third template supersedes what is under way", "[machine_set]") {
  auto scene = with_canary(10, {step_of("few", {3, false})});
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{3, false};
  obey(scene, scene.pass(), "v2");
  edit_template(scene, "v3");
  const auto p = scene.pass();
  CHECK((p.status->rollout->revision == revision_for("v3") && p.status->current_revision == revision_for("v1")));
  CHECK(p.status->history[0].result == api::ChangeResult::superseded);
  REQUIRE(edited(p).size() == 3);
  for (const auto& name : edited(p))  // of a revision that was given up first: nobody else is disturbed
    CHECK(machine(scene, name).metadata.labels.get(api::label::revision) == revision_for("v2").view());
}

TEST_CASE("the template goes back while machines are on their way", "[machine_set]") {
  auto scene = with_canary(10, {step_of("few", {3, false})});
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{3, false};
  obey(scene, scene.pass(), "v2");
  edit_template(scene, "v1");
  auto p = scene.pass();
  CHECK(p.status->rollout->phase == RolloutPhase::rolling_back);
  CHECK(edited(p).size() == 3);
  CHECK(is(p, "RollingOut", true, "RollingBack"));
  obey(scene, p, "v1");
  p = scene.pass();
  CHECK(p.status->rollout->phase == RolloutPhase::complete);
}

TEST_CASE("machines of a rejected revision go home even while another one begins", "[machine_set]") {
  auto scene = with_canary(10, {step_of("few", {3, false})});
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{4, false};
  auto p = scene.pass();
  obey(scene, p, "v2");
  const auto failed = edited(p)[0];
  fail_update(machine(scene, failed), scene.now + seconds(1));
  scene.pass();
  edit_template(scene, "v3");
  p = scene.pass();
  bool home = false;
  for (const auto* a : actions_of(p, Verb::merge_patch, "Machine"))
    if (a->name == failed) home = a->body.find(revision_for("v1").view()) != std::string::npos;
  CHECK(home);
}

TEST_CASE("an edit by another hand is put right", "[machine_set]") {
  auto scene = settled(5, "v1");
  scene.machines[2].spec.packages[0].version_ref.name = "by-hand";
  const auto p = scene.pass();
  CHECK(edited(p) == std::vector<std::string>{scene.machines[2].metadata.name.str()});
}

TEST_CASE("no progress for long is said, but not while a budget is closed", "[machine_set]") {
  auto scene = with_canary(10, {step_of("canary", {1, false})});
  auto p = scene.pass();
  const auto name = edited(p)[0];
  take_edit(scene, name, "v2");
  p = scene.pass();
  REQUIRE(p.plan.again);
  CHECK(*p.plan.again == seconds(3600));
  machine(scene, name).status.blocked_by =
      api::BlockedBy{.kind = "ChangeBudget", .name = "default", .reason = "WindowFull", .message = "20 of 20 in 60 s"};
  scene.now += seconds(4000);
  p = scene.pass();
  CHECK(is(p, "Stalled", false, "NotStalled"));
  REQUIRE(p.status->rollout->blocked_by);
  CHECK((p.status->rollout->blocked_by->kind == "ChangeBudget" && p.status->rollout->blocked_by->reason == "WindowFull"));
  const auto since = p.status->rollout->blocked_by->since;
  scene.now += seconds(10);
  CHECK(scene.pass().status->rollout->blocked_by->since == since);
  machine(scene, name).status.blocked_by.reset();
  p = scene.pass();  // the clock begins anew when it opens
  CHECK(is(p, "Stalled", false, "NotStalled"));
  scene.now += seconds(3600);
  p = scene.pass();
  CHECK(is(p, "Stalled", true, "ProgressDeadlineExceeded"));
}

TEST_CASE("a rejected revision without a way back says so", "[machine_set]") {
  auto scene = with_canary(10, {step_of("canary", {1, false})});
  auto p = scene.pass();
  obey(scene, p, "v2");
  fail_update(machine(scene, edited(p)[0]), scene.now + seconds(1));
  scene.revisions.erase(scene.revisions.begin());
  p = scene.pass();
  CHECK(edited(p).empty());
  CHECK(is(p, "Stalled", true, "RevisionNotFound"));
}

// ---- Recreate ----

TEST_CASE("Recreate with a surge makes first and deletes when it is covered", "[machine_set]") {
  auto scene = settled(3, "v1");
  scene.set.spec.rollout.type = api::RolloutType::recreate;
  scene.set.spec.rollout.max_surge = api::IntOrPercent{1, false};
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{0, false};
  edit_template(scene, "v2");
  auto p = scene.pass();
  const auto made = actions_of(p, Verb::create, "Machine");
  REQUIRE(made.size() == 1);
  CHECK(made[0]->body.find(revision_for("v2").view()) != std::string::npos);
  CHECK(actions_of(p, Verb::remove, "Machine").empty());
  CHECK(edited(p).empty());
  auto born = machine_of(scene.set, made[0]->name.view(), "v2", scene.now);
  set_ready(born, ConditionStatus::false_, "Progressing", scene.now);
  born.status.revision = {};
  scene.machines.push_back(born);
  CHECK(scene.pass().plan.actions.empty());  // not there yet
  scene.machines.back() = machine_of(scene.set, made[0]->name.view(), "v2", scene.now);
  CHECK(actions_of(scene.pass(), Verb::remove, "Machine").size() == 1);
}

TEST_CASE("Recreate without a surge deletes first, within maxUnavailable", "[machine_set]") {
  auto scene = settled(10, "v1");
  scene.set.spec.rollout.type = api::RolloutType::recreate;
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{2, false};
  scene.set.spec.rollout.steps = {step_of("canary", {1, false})};
  edit_template(scene, "v2");
  auto p = scene.pass();
  CHECK(actions_of(p, Verb::remove, "Machine").size() == 1);  // the step replaces one
  scene.set.spec.rollout.steps.clear();
  CHECK(actions_of(scene.plan(), Verb::remove, "Machine").size() == 2);
}

// ---- the end ----

TEST_CASE("a set goes when its machines are gone", "[machine_set]") {
  auto scene = settled(150, "v1");
  scene.set.metadata.deletion_timestamp = scene.now;
  auto p = scene.pass();
  CHECK(actions_of(p, Verb::remove, "Machine").size() == 100);
  CHECK(is(p, "Ready", false, "Deleting"));
  SECTION("to the last one") {
    scene.machines.clear();
    p = scene.plan();
    REQUIRE(p.plan.actions.size() == 1);
    CHECK((p.plan.actions[0].verb == Verb::json_patch && !p.plan.status));
  }
  SECTION("not while it is protected") {
    scene.set.metadata.annotations.set(api::annotation::delete_protection, "Always");
    p = scene.plan();
    CHECK(p.plan.actions.empty());
    CHECK(is(p, "Stalled", true, "DeleteProtected"));
  }
  SECTION("not while it is paused") {
    scene.set.spec.paused = true;
    CHECK(scene.plan().plan.actions.empty());
  }
  SECTION("not while the garbage collector orphans its machines") {
    scene.set.metadata.finalizers.emplace_back("orphan");
    CHECK(actions_of(scene.plan(), Verb::remove, "Machine").empty());
  }
  SECTION("a protected machine holds it, and it says so") {
    for (auto& m : scene.machines) m.metadata.annotations.set(api::annotation::delete_protection, "Always");
    p = scene.plan();
    CHECK(p.plan.actions.empty());
    CHECK(is(p, "Stalled", true, "MachinesProtected"));
  }
  SECTION("without our finalizer there is nothing to do") {
    scene.set.metadata.finalizers.clear();
    CHECK((scene.plan().plan.actions.empty() && !scene.plan().plan.status));
  }
}

TEST_CASE("a plan over 10,000 machines", "[.bench]") {
  auto scene = settled(10'000, "v1");
  scene.set.spec.rollout.steps = {step_of("canary", {1, true})};
  edit_template(scene, "v2");
  for (std::size_t i = 0; i < scene.machines.size(); ++i) scene.machines[i].status.failure_domain = Text("rack-" + std::to_string(i % 200));
  const auto s = scene.snapshot();
  const auto begin = std::clock();  // CPU time: a busy machine must not matter
  std::size_t actions = 0;
  constexpr int rounds = 50;
  for (int i = 0; i < rounds; ++i) actions += plan(s).actions.size();
  const auto took = 1000.0 * static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC / rounds;
  WARN("plan over 10,000 machines, 100 edits: " << took << " ms");
  CHECK(actions == rounds * max_actions);
}
