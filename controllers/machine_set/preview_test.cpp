#include "controllers/machine_set/preview.hpp"

#include <catch2/catch.hpp>
#include <set>

#include "controllers/machine_set/preview_world.hpp"
#include "controllers/machine_set/testing.hpp"

using namespace endstate::machine_set;
using namespace endstate::machine_set::testing;
using reconcile::Text;
namespace api = endstate::v1alpha1;

namespace {

Ref<api::ChangeBudget> budget(std::string_view name, api::ChangeBudgetSpec spec) {
  auto b = std::make_shared<api::ChangeBudget>();
  b->metadata.name = name;
  b->spec = std::move(spec);
  return b;
}
api::BudgetLimit updates(std::vector<api::BudgetWindow> windows, std::optional<api::IntOrPercent> at_once = std::nullopt) {
  api::BudgetLimit l;
  l.name = "updates";
  l.operations = {api::BudgetOperation::machine_update};
  l.windows = std::move(windows);
  l.max_concurrent = at_once;
  return l;
}

Ref<api::MachinePackageVersion> package(std::string_view name, api::Disruption disruption = api::Disruption::restart_service) {
  auto p = std::make_shared<api::MachinePackageVersion>();
  p->metadata.name = name;
  p->spec.disruption = disruption;
  return p;
}

PreviewInput input(const Scene& scene) {
  const auto s = scene.snapshot();
  PreviewInput in{.set = s.set, .cluster = s.cluster, .machines = s.machines, .revisions = s.revisions, .after = s.after, .now = scene.now};
  in.packages = {package("v1"), package("v2"), package("v3")};
  return in;
}
Preview play(const Scene& scene) { return preview(input(scene)); }

Scene with_steps(std::int64_t replicas) {
  auto scene = settled(replicas, "v1");
  auto canary = step_of("canary", {1, false});
  canary.pause = api::Pause{.type = api::PauseType::duration, .seconds = seconds(300)};
  auto half = step_of("half", {50, true});
  half.pause = api::Pause{.type = api::PauseType::promotion};
  scene.set.spec.rollout.steps = {canary, half};
  return scene;
}

std::vector<std::string> names(const std::vector<Text>& all) {
  std::vector<std::string> out;
  for (const auto& t : all) out.push_back(t.str());
  return out;
}
bool says(const std::vector<Text>& all, std::string_view what) {
  return std::any_of(all.begin(), all.end(), [&](const Text& t) { return t.view().find(what) != std::string_view::npos; });
}

}  // namespace

TEST_CASE("nothing changes, nothing happens", "[preview]") {
  const auto told = play(settled(5, "v1"));
  CHECK(told.end == PreviewEnd::nothing);
  CHECK(told.steps.empty());
  CHECK(told.touched == 0);
  CHECK(told.problems.empty());
}

TEST_CASE("a change goes through its steps, each machine once", "[preview]") {
  auto scene = with_steps(10);
  edit_template(scene, "v2");
  scene.revisions.pop_back();  // it isn't stored yet: the preview makes it
  const auto told = play(scene);
  INFO(reconcile::encode(told));
  REQUIRE(told.end == PreviewEnd::complete);
  CHECK(told.from == revision_for("v1"));
  CHECK(told.to == revision_for("v2"));
  REQUIRE(told.steps.size() == 3);
  CHECK(told.steps[0].name == "canary");
  CHECK(told.steps[1].name == "half");
  CHECK(told.steps[2].name == "rest");
  CHECK(told.steps[0].updates == 1);
  CHECK(told.steps[1].updates == 4);
  CHECK(told.steps[2].updates == 5);
  CHECK(told.touched == 10);
  std::set<std::string> once;
  for (const auto& s : told.steps)
    for (const auto& m : s.updated) CHECK(once.insert(m.str()).second);
  CHECK(once.size() == 10);
  CHECK(told.steps[0].then == "pauses 5m");
  CHECK(told.steps[1].then == "waits for a person to promote it, at most 1d");
  CHECK(says(told.assumptions, "promotes"));
}

TEST_CASE("a cluster that can't be seen now: it is said, and played as if it could be", "[preview]") {
  auto scene = with_steps(10);
  edit_template(scene, "v2");
  scene.cluster.sight = {.seen = false, .since = scene.now, .why = "connection refused"};
  const auto told = play(scene);
  CHECK(told.end == PreviewEnd::complete);
  CHECK(says(told.warnings, "can't be seen now (connection refused)"));
}

TEST_CASE("machines that nobody owns are taken up, not made beside", "[preview]") {
  Scene scene;
  scene.set = set_of(3, "v1");
  auto in = input(scene);
  in.exists = false;
  for (const auto* name : {"a", "b"}) in.orphans.push_back(std::make_shared<api::Machine>(machine_of(scene.set, name, "v1")));
  const auto told = preview(in);
  INFO(reconcile::encode(told));
  CHECK(told.end == PreviewEnd::complete);
  CHECK(told.touched == 1);
  REQUIRE(told.steps.size() == 1);
  CHECK(told.steps[0].creations == 1);
  CHECK(says(told.assumptions, "2 machines that nobody owns"));
}

TEST_CASE("times: one machine at a time, its minute, the pause", "[preview]") {
  auto scene = with_steps(10);  // maxUnavailable: 10 % of 10
  edit_template(scene, "v2");
  const auto told = play(scene);
  INFO(reconcile::encode(told));
  REQUIRE(told.steps.size() == 3);
  CHECK(told.machine_time == seconds(60));
  CHECK(told.steps[0].begin == seconds(0));
  CHECK(told.steps[0].machines_done == seconds(60));
  CHECK(told.steps[0].end == seconds(360));
  CHECK(told.steps[1].end == seconds(600));
  CHECK(told.duration == seconds(900));
  CHECK(told.steps[1].most_at_once == 1);
  REQUIRE(told.steps[1].limits.size() == 1);
  CHECK(told.steps[1].limits[0].kind == "MachineSet");
  CHECK(told.steps[1].limits[0].message == "rollout.maxUnavailable: 1 at once");
}

TEST_CASE("how long a machine takes is what its neighbours took", "[preview]") {
  auto scene = settled(4, "v1");
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{4, false};
  int took = 100;
  for (auto& m : scene.machines) {
    api::LastOperation last;
    last.id = "g";
    last.type = api::OperationType::update;
    last.revision = m.status.revision;
    last.start_time = epoch;
    last.end_time = epoch + seconds(took += 10);
    m.status.last_operation = last;
  }
  edit_template(scene, "v2");
  auto told = play(scene);
  CHECK(told.machine_time == seconds(130));
  CHECK(told.duration == seconds(130));
  auto in = input(scene);
  in.machine_time = seconds(7);
  CHECK(preview(in).duration == seconds(7));
}

TEST_CASE("a package that drains is said, and takes longer", "[preview]") {
  auto scene = settled(1, "v1");
  edit_template(scene, "v2");
  auto in = input(scene);
  in.packages = {package("v1", api::Disruption::drain), package("v2", api::Disruption::drain)};
  const auto told = preview(in);
  CHECK(told.drains);
  CHECK(told.machine_time == default_machine_time + default_drain_time);
  CHECK(says(told.warnings, "drained"));
}

TEST_CASE("a budget's window and its name", "[preview]") {
  auto scene = settled(6, "v1");
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{100, true};
  edit_template(scene, "v2");
  auto in = input(scene);
  api::ChangeBudgetSpec spec;
  spec.limits = {updates({{.duration = seconds(600), .max = 2}})};
  in.budgets = {budget("slow", spec)};
  const auto told = preview(in);
  INFO(reconcile::encode(told));
  CHECK(told.end == PreviewEnd::complete);
  CHECK(told.touched == 6);
  REQUIRE(told.steps.size() == 1);
  REQUIRE(told.steps[0].limits.size() == 1);
  CHECK(told.steps[0].limits[0].kind == "ChangeBudget");
  CHECK(told.steps[0].limits[0].name == "slow");
  CHECK(told.steps[0].limits[0].reason == "WindowFull");
  CHECK(told.steps[0].limits[0].machines == 4);
  // 2 at once, 2 after the first window, 2 after the second.
  CHECK(told.duration >= seconds(2 * 600 + 60));
  CHECK(told.duration <= seconds(2 * 750 + 60));  // a preview may be late by a quarter of a wait
}

TEST_CASE("a budget that counts the whole cluster sees the others' trouble", "[preview]") {
  auto scene = settled(4, "v1");
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{4, false};
  edit_template(scene, "v2");
  auto in = input(scene);
  api::ChangeBudgetSpec spec;
  spec.max_unavailable = api::IntOrPercent{2, false};
  in.budgets = {budget("all", spec)};
  auto broken = machine_of(scene.set, "stranger", "v1");
  set_ready(broken, api::ConditionStatus::false_, "NodeUnhealthy", epoch);
  in.others = {std::make_shared<api::Machine>(broken)};
  const auto told = preview(in);
  INFO(reconcile::encode(told));
  CHECK(told.end == PreviewEnd::complete);
  REQUIRE(told.steps.size() == 1);
  CHECK(told.steps[0].most_at_once == 1);  // one place is taken already
  CHECK(told.steps[0].limits[0].reason == "MaxUnavailable");
  CHECK(told.duration == seconds(240));
}

TEST_CASE("a budget that allows nothing is where it ends", "[preview]") {
  auto scene = settled(2, "v1");
  edit_template(scene, "v2");
  auto in = input(scene);
  api::ChangeBudgetSpec spec;
  spec.limits = {updates({{.duration = seconds(60), .max = 0}})};
  in.budgets = {budget("never", spec)};
  const auto told = preview(in, {.length = std::chrono::hours(48)});
  CHECK(told.end == PreviewEnd::cut);
  CHECK(told.why == "the preview ends after 2 days; it goes on after that");
  REQUIRE(told.steps.size() == 1);
  CHECK(told.steps[0].limits[0].name == "never");
}

TEST_CASE("more machines, fewer machines", "[preview]") {
  SECTION("created by name") {
    auto scene = settled(3, "v1");
    scene.set.spec.replicas = 5;
    const auto told = play(scene);
    INFO(reconcile::encode(told));
    REQUIRE(told.steps.size() == 1);
    CHECK(told.steps[0].name == "replicas");
    CHECK(names(told.steps[0].created) ==
          std::vector<std::string>{machine_name("workers", "set-uid", 3), machine_name("workers", "set-uid", 4)});
    CHECK(told.end == PreviewEnd::complete);
  }
  SECTION("deleted by name, and the choice is the plan's own") {
    auto scene = settled(5, "v1");
    scene.machines[2].metadata.annotations.set(api::annotation::delete_machine, "");
    scene.set.spec.replicas = 4;
    const auto told = play(scene);
    REQUIRE(told.steps.size() == 1);
    CHECK(names(told.steps[0].deleted) == std::vector<std::string>{scene.machines[2].metadata.name.str()});
    CHECK(told.end == PreviewEnd::complete);
  }
  SECTION("no host is left") {
    auto scene = settled(3, "v1");
    scene.set.spec.replicas = 5;
    auto in = input(scene);
    in.free_hosts = std::vector<Text>{"hz/r1"};
    const auto told = preview(in);
    INFO(reconcile::encode(told));
    CHECK(told.end == PreviewEnd::stuck);
    REQUIRE(told.steps.size() == 1);
    REQUIRE(told.steps[0].limits.size() == 1);
    CHECK(told.steps[0].limits[0].reason == "NoFreeHost");
    CHECK(told.steps[0].limits[0].machines == 1);
  }
}

TEST_CASE("a set that doesn't exist yet", "[preview]") {
  Scene scene;
  scene.set = set_of(3, "v1");
  scene.set.metadata.uid = {};
  scene.set.metadata.finalizers.clear();
  auto in = input(scene);
  in.exists = false;
  const auto told = preview(in);
  INFO(reconcile::encode(told));
  CHECK(told.end == PreviewEnd::complete);
  REQUIRE(told.steps.size() == 1);
  CHECK(told.steps[0].creations == 3);
  CHECK(told.steps[0].created.empty());  // the API server gives the uid that names are made of
}

TEST_CASE("what must be solved first", "[preview]") {
  auto scene = settled(3, "v1");
  edit_template(scene, "nowhere");
  const auto told = play(scene);
  CHECK(told.end == PreviewEnd::stuck);
  CHECK(told.touched == 0);
  CHECK(says(told.problems, "PackageNotFound"));
  CHECK(says(told.problems, "nowhere"));
  scene = settled(3, "v1");
  edit_template(scene, "v2");
  scene.cluster.found = false;
  CHECK(says(play(scene).problems, "ClusterNotFound"));
}

TEST_CASE("a rejected revision is not tried", "[preview]") {
  auto scene = settled(3, "v1");
  edit_template(scene, "v2");
  scene.set.status.rejected_revisions.push_back(
      {.revision = revision_for("v2"), .step = "canary", .reason = "PackageFailed", .message = "exit 1"});
  const auto told = play(scene);
  INFO(reconcile::encode(told));
  CHECK(told.touched == 0);
  CHECK(told.end == PreviewEnd::rolled_back);
  CHECK(says(told.warnings, "was rejected at step canary"));
}

TEST_CASE("going back is without steps", "[preview]") {
  auto scene = with_steps(4);
  edit_template(scene, "v2");
  scene.pass();
  scene.machines[0] = machine_of(scene.set, scene.machines[0].metadata.name, "v2");
  scene.pass();
  edit_template(scene, "v1");
  const auto told = play(scene);
  INFO(reconcile::encode(told));
  CHECK(told.end == PreviewEnd::complete);
  REQUIRE(told.steps.size() == 1);
  CHECK(told.steps[0].name == "back");
  CHECK(names(told.steps[0].updated) == std::vector<std::string>{scene.machines[0].metadata.name.str()});
}

TEST_CASE("a rollout that is under way goes on from where it is", "[preview]") {
  auto scene = with_steps(10);
  edit_template(scene, "v2");
  scene.pass();
  auto& canary = scene.machines[0];
  canary = machine_of(scene.set, canary.metadata.name, "v2", scene.now);
  scene.pass();
  scene.now += seconds(100);
  scene.pass();
  const auto told = play(scene);
  INFO(reconcile::encode(told));
  CHECK(told.touched == 9);
  CHECK(told.steps[0].name == "canary");
  CHECK(told.steps[0].updates == 0);
  CHECK(told.steps[0].end == seconds(200));  // of the pause's 300
}

TEST_CASE("another set goes first: it says so, and goes on", "[preview]") {
  auto scene = settled(2, "v1");
  scene.set.spec.rollout.after = api::RolloutAfter{.kind = "MachineSet", .name = "staging"};
  edit_template(scene, "v2");
  const auto told = play(scene);
  INFO(reconcile::encode(told));
  CHECK(told.touched == 2);
  CHECK(says(told.assumptions, "staging"));
}

TEST_CASE("an analysis takes its time", "[preview]") {
  auto scene = settled(2, "v1");
  auto one = step_of("one", {1, false});
  one.analysis = api::Analysis{};
  api::MetricCheck check;
  check.name = "errors";
  check.interval = seconds(30);
  check.count = 4;
  one.analysis->checks = {check};
  scene.set.spec.rollout.steps = {one};
  edit_template(scene, "v2");
  const auto told = play(scene);
  INFO(reconcile::encode(told));
  CHECK(told.steps[0].end == seconds(60 + 120));
  CHECK(told.steps[0].then == "analysis: 1 check, 0 probes, about 2m");
  CHECK(says(told.assumptions, "analysis passes"));
}

TEST_CASE("a machine whose host is silent isn't finished, and says so", "[preview]") {
  auto scene = settled(3, "v1");
  scene.set.spec.rollout.max_unavailable = api::IntOrPercent{3, false};
  set_ready(scene.machines[1], api::ConditionStatus::unknown, api::reason::agent_silent, epoch);
  edit_template(scene, "v2");
  const auto told = play(scene);
  INFO(reconcile::encode(told));
  CHECK(told.touched == 3);
  CHECK(told.end == PreviewEnd::stuck);
  CHECK(says(told.problems, "ProgressDeadlineExceeded"));
  CHECK(says(told.warnings, "1 machine doesn't answer or is paused"));
  CHECK(says(told.warnings, scene.machines[1].metadata.name.view()));
}

TEST_CASE("Recreate replaces: one goes, one comes", "[preview]") {
  auto scene = settled(3, "v1");
  scene.set.spec.rollout.type = api::RolloutType::recreate;
  edit_template(scene, "v2");
  const auto told = play(scene);
  INFO(reconcile::encode(told));
  CHECK(told.end == PreviewEnd::complete);
  std::int64_t created = 0, deleted = 0;
  for (const auto& s : told.steps) {
    created += s.creations;
    deleted += s.deletions;
    CHECK(s.updates == 0);
  }
  CHECK(created == 3);
  CHECK(deleted == 3);
}

TEST_CASE("a partition is an end", "[preview]") {
  auto scene = settled(4, "v1");
  scene.set.spec.rollout.partition = 3;
  edit_template(scene, "v2");
  const auto told = play(scene);
  INFO(reconcile::encode(told));
  CHECK(told.end == PreviewEnd::partition);
  CHECK(told.touched == 1);
}

TEST_CASE("a paused set is told as if it were resumed, with a warning", "[preview]") {
  auto scene = settled(2, "v1");
  edit_template(scene, "v2");
  scene.set.spec.paused = true;
  const auto told = play(scene);
  CHECK(told.end == PreviewEnd::complete);
  CHECK(says(told.warnings, "paused"));
}

TEST_CASE("the input is left alone", "[preview]") {
  auto scene = with_steps(6);
  edit_template(scene, "v2");
  const auto in = input(scene);
  std::vector<std::string> before;
  for (const auto& m : in.machines) before.push_back(reconcile::encode(*m));
  const auto set = reconcile::encode(*in.set);
  const auto one = preview(in), two = preview(in);
  CHECK(one == two);
  CHECK(reconcile::encode(*in.set) == set);
  for (std::size_t i = 0; i < before.size(); ++i) CHECK(reconcile::encode(*in.machines[i]) == before[i]);
}

TEST_CASE("2,000 machines under a rate are told in bounded work", "[preview]") {
  auto scene = settled(2000, "v1");
  edit_template(scene, "v2");
  auto in = input(scene);
  api::ChangeBudgetSpec spec;
  spec.limits = {updates({{.duration = seconds(3600), .max = 500}}, api::IntOrPercent{50, false})};
  in.budgets = {budget("default", spec)};
  const auto told = preview(in);
  CHECK(told.end == PreviewEnd::complete);
  CHECK(told.touched == 2000);
  CHECK(told.steps[0].most_at_once == 50);
  CHECK(told.duration > seconds(3 * 3600));
  CHECK(told.duration < seconds(4 * 3600 + 1800));
}

namespace {

const PreviewCheck& check_of(const Preview& told, api::PreflightCheck check) {
  for (const auto& c : told.preflight)
    if (c.check == check) return c;
  throw std::logic_error("that check wasn't made");
}
Ref<api::MachinePackageVersion> kubelet(std::string_view name, std::string_view version, std::string_view url,
                                        std::optional<std::int64_t> size = std::nullopt) {
  auto p = std::make_shared<api::MachinePackageVersion>();
  p->metadata.name = name;
  p->spec.package_name = "kubelet";
  p->spec.version = version;
  p->spec.disruption = api::Disruption::restart_service;
  p->spec.install.artifacts = {{.arch = "amd64", .url = url, .sha256 = Text(std::string(64, 'a')), .size = size}};
  return p;
}
// A set of three at v1 whose template goes to v2.
PreviewInput release(Scene& scene, Ref<api::MachinePackageVersion> v2) {
  scene = settled(3, "v1");
  edit_template(scene, "v2");
  auto in = input(scene);
  in.packages = {kubelet("v1", "1.34.3", "https://mirror.test/old"), std::move(v2)};
  in.ledger.emplace();
  return in;
}
api::BudgetSchedule frozen(std::string_view name, std::string_view cron, seconds lasts) {
  api::BudgetSchedule s;
  s.name = name;
  s.type = api::ScheduleType::deny;
  s.cron = cron;
  s.duration = lasts;
  s.operations = {api::BudgetOperation::machine_update};
  return s;
}

using Check = api::PreflightCheck;

}  // namespace

TEST_CASE("the pre-flight is told as it would be found", "[preview][preflight]") {
  Scene scene;
  SECTION("all of it") {
    const auto told = preview(release(scene, kubelet("v2", "1.34.4", "https://mirror.test/new")));
    INFO(reconcile::encode(told));
    REQUIRE(told.preflight.size() == 5);
    CHECK(check_of(told, Check::version_skew).result == PreviewVerdict::passed);
    CHECK(check_of(told, Check::cluster_healthy).result == PreviewVerdict::passed);
    CHECK(check_of(told, Check::budget_open).result == PreviewVerdict::passed);
    CHECK(check_of(told, Check::artifacts_reachable).result == PreviewVerdict::skipped);  // a reserved name
    CHECK(check_of(told, Check::disk_room).result == PreviewVerdict::skipped);            // no size is given
    CHECK(told.problems.empty());
    CHECK(told.end == PreviewEnd::complete);
    CHECK(told.steps.size() == 1);
  }
  SECTION("what fails is refused, and what would follow is told") {
    const auto told = preview(release(scene, kubelet("v2", "1.35.0", "https://mirror.test/new")));
    INFO(reconcile::encode(told));
    const auto& skew = check_of(told, Check::version_skew);
    CHECK(skew.result == PreviewVerdict::failed);
    CHECK(skew.message.view().find("upgrade the control plane first") != std::string_view::npos);
    REQUIRE(told.problems.size() == 1);
    CHECK(says(told.problems, "PreflightFailed: the pre-flight check VersionSkew fails"));
    CHECK(says(told.assumptions, "is mended"));
    CHECK(told.end == PreviewEnd::complete);
    CHECK(told.touched == 3);
  }
  SECTION("a Cluster that isn't Ready, and a host without room") {
    auto in = release(scene, kubelet("v2", "1.34.4", "https://mirror.test/new", 1000));
    in.cluster.ready = api::ConditionStatus::false_;
    in.cluster.why_not_ready = "no answer";
    auto host = std::make_shared<api::Host>();
    host->metadata.name = in.machines[0]->status.host_ref->name;
    host->status.capacity.set("endstate.dev/free-disk", "2999");
    in.hosts = {host};
    const auto told = preview(in);
    INFO(reconcile::encode(told));
    CHECK(check_of(told, Check::cluster_healthy).result == PreviewVerdict::failed);
    CHECK(check_of(told, Check::disk_room).result == PreviewVerdict::failed);
    CHECK(check_of(told, Check::disk_room).message.view().find(host->metadata.name.view()) != std::string_view::npos);
    CHECK(told.problems.size() == 2);
  }
  SECTION("what the annotation leaves out doesn't refuse; a name that is no check is said") {
    auto in = release(scene, kubelet("v2", "1.35.0", "https://mirror.test/new"));
    auto set = std::make_shared<api::MachineSet>(*in.set);
    set->metadata.annotations.set(api::annotation::skip_preflight, "VersionSkew,Skew");
    in.set = set;
    const auto told = preview(in);
    INFO(reconcile::encode(told));
    CHECK(check_of(told, Check::version_skew).result == PreviewVerdict::skipped);
    CHECK(told.problems.empty());
    CHECK(says(told.warnings, "names Skew, which is no pre-flight check"));
  }
}

TEST_CASE("a pre-flight check that can't be judged here is unknown, with the reason, and holds nothing", "[preview][preflight]") {
  Scene scene;
  auto in = release(scene, kubelet("v2", "1.34.4", "https://mirror.corp/new"));
  in.cluster.version = {};
  in.unjudged = {{Check::budget_open, "you have no right to list changebudgets.endstate.dev"}};
  const auto told = preview(in);
  INFO(reconcile::encode(told));
  CHECK(check_of(told, Check::artifacts_reachable).result == PreviewVerdict::unknown);
  CHECK(check_of(told, Check::artifacts_reachable).message == "1 address, which the operator asks from where it runs: not asked from here");
  CHECK(check_of(told, Check::version_skew).result == PreviewVerdict::unknown);
  CHECK(check_of(told, Check::budget_open).result == PreviewVerdict::unknown);
  CHECK(check_of(told, Check::budget_open).message == "you have no right to list changebudgets.endstate.dev");
  CHECK(told.problems.empty());
  CHECK(says(told.assumptions, "can't be judged from here pass"));
  CHECK(told.end == PreviewEnd::complete);
}

TEST_CASE("a freeze window: which budget and schedule hold it, until when, and when it goes on", "[preview][preflight]") {
  Scene scene;
  auto in = release(scene, kubelet("v2", "1.34.4", "https://mirror.test/new"));
  in.now = epoch + std::chrono::hours(23);
  api::ChangeBudgetSpec spec;
  spec.schedules = {frozen("nights", "0 22 * * *", seconds(8 * 3600))};
  in.budgets = {budget("calm", spec)};
  auto told = preview(in);
  INFO(reconcile::encode(told));
  const auto& check = check_of(told, Check::budget_open);
  CHECK(check.result == PreviewVerdict::waits);
  CHECK(check.message == "ChangeBudget calm refuses (ScheduleClosed): schedule nights is on until 2026-11-24T06:00:00Z");
  CHECK(told.problems.empty());  // a clock ends it
  REQUIRE(told.steps.size() == 2);
  CHECK(told.steps[0].name == preview_step::preflight);
  CHECK(told.steps[0].begin == seconds(0));
  CHECK(told.steps[0].end == std::chrono::hours(7));  // to the second
  REQUIRE(told.steps[0].limits.size() == 1);
  CHECK(told.steps[0].limits[0].kind == "ChangeBudget");
  CHECK(told.steps[0].limits[0].name == "calm");
  CHECK(told.steps[0].limits[0].reason == api::reason::schedule_closed);
  CHECK(told.steps[0].limits[0].machines == 3);
  CHECK(told.steps[1].begin == std::chrono::hours(7));
  CHECK(told.end == PreviewEnd::complete);
  CHECK(told.duration == std::chrono::hours(7) + seconds(180));

  SECTION("one that begins while the rollout is under way holds the machines that are left") {
    in.now = epoch + std::chrono::hours(22) - seconds(90);
    told = preview(in);
    INFO(reconcile::encode(told));
    CHECK(check_of(told, Check::budget_open).result == PreviewVerdict::passed);
    REQUIRE(told.steps.size() == 1);
    const auto& limits = told.steps[0].limits;
    const auto held = std::find_if(limits.begin(), limits.end(), [](const PreviewLimit& l) { return l.name == "calm"; });
    REQUIRE(held != limits.end());
    CHECK(held->reason == api::reason::schedule_closed);
    CHECK(held->message.view().find("nights is on until 2026-11-24T06:00:00Z") != std::string_view::npos);
    CHECK(told.duration >= std::chrono::hours(8) + seconds(90));
    CHECK(told.end == PreviewEnd::complete);
  }
  SECTION("a schedule that can't be judged needs a person") {
    spec.schedules[0].time_zone = "Nowhere/Atlantis";
    in.budgets = {budget("calm", spec)};
    told = preview(in, {.length = std::chrono::hours(48)});
    INFO(reconcile::encode(told));
    CHECK(check_of(told, Check::budget_open).result == PreviewVerdict::failed);
    CHECK(says(told.problems, "BudgetOpen fails"));
  }
  SECTION("one that is on for ever: it is cut, and says by what it is held") {
    spec.schedules = {frozen("always", "* * * * *", seconds(3600))};
    in.budgets = {budget("calm", spec)};
    told = preview(in, {.length = std::chrono::hours(48)});
    INFO(reconcile::encode(told));
    CHECK(told.end == PreviewEnd::cut);
    CHECK(told.touched == 0);
    REQUIRE(told.steps.size() == 1);
    CHECK(told.steps[0].limits[0].name == "calm");
  }
  SECTION("two budgets that contradict: it never begins, and both are named") {
    const auto only = [](std::string_view name, std::string_view cron) {
      auto s = frozen(name, cron, seconds(4 * 3600));
      s.type = api::ScheduleType::allow;
      api::ChangeBudgetSpec out;
      out.schedules = {s};
      return out;
    };
    in.now = epoch + std::chrono::hours(9);
    in.budgets = {budget("mornings", only("am", "0 8 * * *")), budget("evenings", only("pm", "0 18 * * *"))};
    told = preview(in, {.length = std::chrono::hours(48)});
    INFO(reconcile::encode(told));
    CHECK(told.end == PreviewEnd::cut);
    CHECK(told.touched == 0);
    CHECK(check_of(told, Check::budget_open).result == PreviewVerdict::waits);
    REQUIRE(told.steps.size() == 1);
    REQUIRE(told.steps[0].limits.size() == 2);
    CHECK(told.steps[0].limits[0].name == "evenings");  // the one that says no now
    CHECK(told.steps[0].limits[0].first == seconds(0));
    CHECK(told.steps[0].limits[1].name == "mornings");
    CHECK(told.steps[0].limits[1].first >= std::chrono::hours(3));
  }
  SECTION("a rollout that is past its pre-flight is held by it no more") {
    auto under_way = std::make_shared<api::MachineSet>(*in.set);
    scene.now = in.now;
    scene.pass();
    scene.pass();
    REQUIRE(scene.set.status.rollout->step == "all");
    in.set = std::make_shared<api::MachineSet>(scene.set);
    told = preview(in);
    INFO(reconcile::encode(told));
    CHECK(told.preflight.empty());
  }
}
