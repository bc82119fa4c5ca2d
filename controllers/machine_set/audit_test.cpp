#include "controllers/machine_set/audit.hpp"

#include <catch2/catch.hpp>

#include "controllers/common/cut.hpp"
#include "controllers/machine_set/testing.hpp"

using namespace endstate::machine_set;
using namespace endstate::machine_set::testing;
using api::ChangeResult;
using reconcile::Verb;

namespace {

api::MachineTemplate with(std::vector<api::PackageSlot> packages) {
  auto t = template_of("x");
  t.spec.packages = std::move(packages);
  return t;
}
// An operation that was granted for it; it succeeded.
void grant(api::Machine& m, std::string_view version, WallTime when) {
  m.metadata.labels.set(api::label::revision, revision_for(version));
  m.spec = api::machine_spec(template_of(version).spec, "local");
  m.status.revision = revision_for(version);
  m.status.last_operation = api::LastOperation{
      .id = "g", .type = api::OperationType::update, .revision = revision_for(version), .start_time = when, .end_time = when};
}
std::size_t obey(Scene& scene, const Planned& p, std::string_view version) {
  const auto edits = actions_of(p, Verb::merge_patch, "Machine");
  for (const auto* a : edits)
    for (auto& m : scene.machines)
      if (m.metadata.name == a->name) grant(m, version, scene.now);
  return edits.size();
}
const api::ChangeRecord& last(const Scene& scene) {
  REQUIRE_FALSE(scene.set.status.history.empty());
  return scene.set.status.history.back();
}
std::string told(const Planned& p, std::string_view reason) {
  for (const auto& e : p.plan.events)
    if (e.reason == reason) return e.note.str();
  return {};
}
bool asks_who(const Planned& p) {
  return std::any_of(p.plan.queries.begin(), p.plan.queries.end(), [](const auto& q) { return q.id == editor_question; });
}
std::string long_text(std::size_t bytes) { return std::string(bytes, 'm'); }

}  // namespace

TEST_CASE("a text is cut between characters", "[audit]") {
  CHECK(endstate::cut("abc", 3) == "abc");
  CHECK(endstate::cut("abc", 2) == "ab");
  CHECK(endstate::cut("aä", 2) == "a");
  CHECK(endstate::cut("aä", 3) == "aä");
  CHECK(endstate::cut("€€", 5) == "€");
  CHECK(endstate::cut("€", 1).empty());
}

TEST_CASE("a change is told slot by slot", "[audit]") {
  const auto a = with({{.name = "kubelet", .version_ref = {"kubelet-1"}}, {.name = "cri", .version_ref = {"cri-1"}}});
  struct Row {
    api::MachineTemplate to;
    std::string_view text;
  };
  auto tainted = a;
  tainted.spec.taints = {{"gpu", "yes", api::TaintEffect::no_execute}};
  tainted.metadata.labels.set("pool", "others");
  const Row table[] = {
      {with({{.name = "kubelet", .version_ref = {"kubelet-2"}}, {.name = "cri", .version_ref = {"cri-1"}}}),
       "kubelet: kubelet-1 -> kubelet-2"},
      {with({{.name = "kubelet", .version_ref = {"kubelet-1"}}}), "cri: cri-1 -> none"},
      {with({{.name = "kubelet", .version_ref = {"kubelet-0"}},
             {.name = "npd", .version_ref = {"npd-1"}},
             {.name = "cri", .version_ref = {"cri-1"}}}),
       "kubelet: kubelet-1 -> kubelet-0, npd: none -> npd-1"},
      {with({{.name = "cri", .version_ref = {"cri-1"}}, {.name = "kubelet", .version_ref = {"kubelet-1"}}}), "the order of the packages"},
      {tainted, "taints, the Machines' labels or annotations"},
  };
  const auto from = revision_of(a, 1);
  for (const auto& row : table) CHECK(change_text(&from, revision_of(row.to, 2)) == row.text);
  CHECK(change_text(nullptr, from).empty());
}

TEST_CASE("a change that goes through: who, what, steps, permits, end", "[audit]") {
  auto scene = settled(5, "v1");
  scene.set.spec.rollout.steps = {step_of("canary", {1, false})};
  edit_template(scene, "v2");
  auto p = scene.pass();
  CHECK(asks_who(p));
  CHECK(told(p, "RolloutStarted").find("kubelet: v1 -> v2") != std::string::npos);
  CHECK(last(scene).change == "kubelet: v1 -> v2");
  CHECK(last(scene).from == revision_for("v1"));
  obey(scene, p, "v2");
  scene.editor = Editor{.manager = "kubectl-edit", .time = epoch + seconds(990)};
  p = scene.pass();
  CHECK(told(p, "RolloutRequested").find("kubectl-edit") != std::string::npos);
  CHECK(told(p, "StepStarted").find("asked for by kubectl-edit") != std::string::npos);
  CHECK(p.plan.status->first);  // told once: it is stored with it
  CHECK(last(scene).field_manager == "kubectl-edit");
  CHECK(last(scene).request_time == epoch + seconds(990));
  CHECK_FALSE(asks_who(scene.plan()));
  CHECK(told(scene.plan(), "RolloutRequested").empty());  // once
  obey(scene, p, "v2");
  for (int i = 0; i < 20 && last(scene).result == ChangeResult::none; ++i) {
    scene.now += seconds(5);
    obey(scene, scene.pass(), "v2");
  }
  const auto& change = last(scene);
  CHECK(change.result == ChangeResult::complete);
  CHECK(change.permits == 5);
  REQUIRE(change.steps.size() == 2);
  CHECK((change.steps[0].name == "canary" && change.steps[0].updated == 1));
  CHECK((change.steps[1].name == "rest" && change.steps[1].updated == 5));
  CHECK(change.steps[0].end_time <= change.steps[1].start_time);
  CHECK(change.end_time == scene.now);
}

TEST_CASE("a change that fails: which step, why, and that it went back; permits stay counted", "[audit]") {
  auto scene = settled(5, "v1");
  scene.set.spec.rollout.steps = {step_of("few", {2, false})};
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{2, false};
  scene.editor = Editor{.manager = "argocd", .time = epoch};
  edit_template(scene, "v2");
  auto p = scene.pass();
  CHECK(obey(scene, p, "v2") == 2);
  for (auto& m : scene.machines)
    if (m.metadata.name == actions_of(p, Verb::merge_patch, "Machine")[0]->name) {
      fail_update(m, scene.now + seconds(1));
      m.status.last_operation->start_time = scene.now;
    }
  scene.now += seconds(10);
  p = scene.pass();
  CHECK(told(p, "RevisionRejected").find("asked for by argocd") != std::string::npos);
  CHECK(last(scene).result == ChangeResult::rejected);
  CHECK(last(scene).message.view().find("kubelet: exit 1") != std::string_view::npos);
  REQUIRE(last(scene).steps.size() == 1);
  CHECK((last(scene).steps[0].name == "few" && last(scene).steps[0].failed == 1));
  CHECK(last(scene).permits == 2);
  obey(scene, p, "v1");
  for (auto& m : scene.machines) set_ready(m, api::ConditionStatus::true_, "Ready", scene.now);
  scene.now += seconds(10);
  p = scene.pass();
  CHECK(last(scene).result == ChangeResult::rolled_back);
  CHECK(last(scene).permits == 2);  // of the revision; the way back isn't counted here
  CHECK(told(p, "RolledBack").find("argocd") != std::string::npos);
  CHECK(scene.set.status.history.size() == 1);
}

TEST_CASE("a change that is superseded says by what, and keeps the step that it was in", "[audit]") {
  auto scene = settled(5, "v1");
  scene.set.spec.rollout.steps = {step_of("few", {2, false})};
  edit_template(scene, "v2");
  obey(scene, scene.pass(), "v2");
  scene.now += seconds(5);
  SECTION("by a third revision") {
    edit_template(scene, "v3");
    scene.pass();
    REQUIRE(scene.set.status.history.size() == 2);
    CHECK(scene.set.status.history[0].message.view().find(revision_for("v3").view()) != std::string_view::npos);
    CHECK(scene.set.status.history[1].result == ChangeResult::none);
  }
  SECTION("by the way back") {
    edit_template(scene, "v1");
    scene.pass();
    CHECK(scene.set.status.history[0].message.view().find("went back") != std::string_view::npos);
  }
  const auto& change = scene.set.status.history[0];
  CHECK(change.result == ChangeResult::superseded);
  REQUIRE(change.steps.size() == 1);
  CHECK(change.steps[0].name == "few");
  CHECK(change.end_time == scene.now);
}

TEST_CASE("who it was is asked for a while only, and what nobody says stays unknown", "[audit]") {
  auto scene = settled(5, "v1");
  scene.set.spec.rollout.steps = {step_of("canary", {1, false})};
  edit_template(scene, "v2");
  scene.pass();
  scene.editor = Editor{};  // the API server names nobody
  auto p = scene.pass();
  CHECK(last(scene).field_manager.empty());
  CHECK_FALSE(asks_who(p));
  scene.editor.reset();
  scene.now += ask_editor_for;
  CHECK(asks_who(scene.plan()));
  scene.now += seconds(1);
  CHECK_FALSE(asks_who(scene.plan()));
}

TEST_CASE("the history keeps within its bounds, the newest longest", "[audit]") {
  std::vector<api::ChangeRecord> history;
  for (int i = 0; i < 25; ++i) {
    api::ChangeRecord c;
    c.revision = Text("r" + std::to_string(i));
    c.message = long_text(1024);
    c.change = long_text(1024);
    for (int s = 0; s < 20; ++s) {
      api::StepRecord step;
      step.name = Text("step" + std::to_string(s));
      for (int m = 0; m < 16; ++m)
        step.metrics.push_back({.name = Text(long_text(60) + std::to_string(m)), .value = long_text(64), .good = 5});
      for (int m = 0; m < 8; ++m) step.probes.emplace_back(long_text(120) + std::to_string(m));
      c.steps.push_back(step);
    }
    history.push_back(c);
  }
  trim_history(history);
  CHECK(reconcile::encode(history).size() <= max_history_bytes);
  CHECK(history.back().revision == "r24");
  CHECK(history.size() > 10);
  std::vector<api::ChangeRecord> small(20);
  for (auto& c : small) c.revision = "r";
  small[0].steps.push_back({.name = "a", .metrics = {{.name = "m", .value = "1"}}});
  const auto before = small;
  trim_history(small);
  CHECK(small == before);
}

// etcd takes 1.5 MB an object and every watcher gets each version: a set's status stays far below, whatever happened to it.
TEST_CASE("a status at all its bounds at once is under 100 KB", "[audit]") {
  api::MachineSetStatus status;
  for (int i = 0; i < 20; ++i)
    status.rejected_revisions.push_back({.revision = Text(std::to_string(i) + "-2345678"),
                                         .step = long_text(63),
                                         .reason = long_text(64),
                                         .message = long_text(512),
                                         .time = epoch});
  for (int i = 0; i < 20; ++i) {
    api::ChangeRecord c;
    c.message = c.change = long_text(1024);
    c.steps.resize(20);
    for (auto& s : c.steps) s.metrics.resize(16, {.name = long_text(63), .value = long_text(64)});
    status.history.push_back(c);
  }
  trim_history(status.history);
  api::RolloutStatus rollout;
  rollout.message = long_text(1024);
  rollout.blocked_by =
      api::BlockedBy{.kind = long_text(63), .name = long_text(317), .reason = long_text(128), .message = long_text(1024), .since = epoch};
  rollout.preflight.resize(5, {.check = api::PreflightCheck::disk_room, .result = api::PreflightResult::failed, .message = long_text(512)});
  rollout.analysis.emplace();
  rollout.analysis->checks.resize(16, {.name = long_text(63), .value = long_text(64), .message = long_text(512), .time = epoch});
  rollout.analysis->probes.resize(
      8, {.name = long_text(63), .job = long_text(63), .message = long_text(512), .start_time = epoch, .end_time = epoch});
  status.rollout = rollout;
  status.selector = long_text(16 * 128);
  for (const auto* type : {"Ready", "Reconciling", "Stalled", "Available", "RollingOut", "ScalingUp", "ScalingDown", "UpToDate", "Paused"})
    status.conditions.push_back({.type = type,
                                 .status = api::ConditionStatus::true_,
                                 .reason = long_text(64),
                                 .message = long_text(1024),
                                 .last_transition_time = epoch,
                                 .observed_generation = 1});
  CHECK(reconcile::encode(status).size() < 100'000);
}
