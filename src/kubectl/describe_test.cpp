#include "src/kubectl/describe.hpp"

#include <catch2/catch.hpp>

#include "src/kubectl/preview_text.hpp"
#include "src/kubectl/top.hpp"

using namespace endstate::kubectl;
using reconcile::Ref, reconcile::WallTime;
using std::chrono::seconds;
namespace api = endstate::v1alpha1;
namespace machine_set = endstate::machine_set;

namespace {

const WallTime now{seconds(1'790'000'000)};

api::Machine machine(std::string_view name, api::MachinePhase phase, api::ConditionStatus ready, std::string_view reason) {
  api::Machine m;
  m.metadata.name = name;
  m.metadata.name_space = "default";
  m.metadata.labels.set(api::label::set_name, "workers");
  m.spec.cluster_name = "hz-a";
  m.status.phase = phase;
  m.status.host_ref = api::UidRef{"host-1", {}};
  m.status.node_ref = api::UidRef{"host-1", {}};
  reconcile::set_condition(m.status.conditions, {.type = "Ready", .status = ready, .reason = reason, .message = "said so"},
                           now - seconds(60));
  return m;
}
template <class T>
Ref<T> ref(T value) {
  return std::make_shared<const T>(std::move(value));
}

api::MachineSet a_set() {
  api::MachineSet set;
  set.metadata.name = "workers";
  set.metadata.name_space = "default";
  set.metadata.generation = 1;
  set.spec.cluster_name = "hz-a";
  set.spec.replicas = 3;
  set.status.observed_generation = 1;
  set.status.current_revision = "old";
  set.status.update_revision = "new";
  set.status.available_replicas = 2;
  set.status.up_to_date_replicas = 1;
  api::RolloutStatus r;
  r.revision = "new";
  r.step = "all";
  r.target = 3;
  r.updated = 1;
  r.blocked_by =
      api::BlockedBy{.kind = "ChangeBudget", .name = "default", .reason = "WindowFull", .message = "2 of 2", .since = now - seconds(90)};
  set.status.rollout = r;
  return set;
}

api::ChangeBudget a_budget() {
  api::ChangeBudget b;
  b.metadata.name = "default";
  b.spec.max_unavailable = api::IntOrPercent{20, true};
  api::BudgetLimit l;
  l.name = "updates";
  l.operations = {api::BudgetOperation::machine_update};
  l.windows = {{.duration = seconds(60), .max = 2}};
  b.spec.limits = {l};
  b.status.usage = {{.cluster = "default/hz-a", .limit = "updates", .in_flight = 1, .windows = {{.duration = seconds(60), .used = 2}}}};
  b.status.breakers = {{.cluster = "default/hz-a",
                        .state = api::BreakerState::open,
                        .reason = "TooManyFailures",
                        .message = "6 failed",
                        .since = now - seconds(30)}};
  return b;
}

bool has(const std::string& text, std::string_view what) {
  INFO(text);
  return text.find(what) != std::string::npos;
}

}  // namespace

TEST_CASE("a set's tree leads from the rollout to the machine that isn't fine, and to the budget that holds it", "[describe]") {
  auto failing = machine("workers-b", api::MachinePhase::failed, api::ConditionStatus::false_, "PackageFailed");
  api::MachinePackageStatus p;
  p.name = "kubelet";
  p.state = api::PackageState::failed;
  p.desired = api::PackageIdentity{"kubelet-2", {}, {}};
  p.message = "exit 1";
  failing.status.packages = {p};
  auto draining = machine("workers-c", api::MachinePhase::draining, api::ConditionStatus::false_, "Draining");
  draining.status.operation = api::Operation{
      .id = "g", .type = api::OperationType::update, .revision = "new", .start_time = now - seconds(10), .deadline = now + seconds(50)};
  reconcile::set_condition(draining.status.conditions,
                           {.type = "Drained", .status = api::ConditionStatus::false_, .reason = "DrainBlocked", .message = "pod web-0"},
                           now);
  const auto text = draw(tree_of(
      a_set(), {ref(machine("workers-a", api::MachinePhase::running, api::ConditionStatus::true_, "Ready")), ref(failing), ref(draining)},
      {ref(a_budget())}, now));
  CHECK(has(text, "MachineSet default/workers: 2 of 3 machines available, 1 up to date"));
  CHECK(has(text, "from revision old to new"));
  CHECK(has(text, "> step all: [######..............] 1/3"));
  CHECK(has(text, "held by ChangeBudget default for 1m30s: WindowFull: 2 of 2"));
  CHECK(has(text, "machines: Running 1, Draining 1, Failed 1"));
  CHECK(has(text, "workers-b  Failed on host-1, not ready for 1m"));
  CHECK(has(text, "package kubelet Failed (kubelet-2): exit 1"));
  CHECK(has(text, "Update to revision new for 10s, fails in 50s"));
  CHECK(has(text, "DrainBlocked: pod web-0"));
  CHECK(has(text, "2 of 2 in 1m (full)"));
  CHECK(has(text, "breaker Open for 30s: TooManyFailures: 6 failed"));
  CHECK_FALSE(has(text, "workers-a"));
}

TEST_CASE("a machine that comes up says what it waits for, and a set what the API server refuses", "[describe]") {
  api::Machine fresh;
  fresh.metadata.name = "workers-d";
  auto hostless = fresh, held = fresh;
  hostless.metadata.name = "workers-e";
  reconcile::set_condition(
      hostless.status.conditions,
      {.type = "HostClaimed", .status = api::ConditionStatus::false_, .reason = "NoFreeHost", .message = "no Host is free"}, now);
  held.metadata.name = "workers-f";
  held.status.blocked_by =
      api::BlockedBy{.kind = "ChangeBudget", .name = "default", .reason = "WindowFull", .message = "2 of 2", .since = now};
  auto set = a_set();
  reconcile::set_condition(
      set.status.conditions,
      {.type = "ReplicaFailure", .status = api::ConditionStatus::true_, .reason = "FailedCreate", .message = "exceeded quota: q"}, now);
  const auto text = draw(tree_of(set, {ref(fresh), ref(hostless), ref(held)}, {}, now));
  CHECK(has(text, "workers-d  Pending, waits: the operator hasn't begun with it"));
  CHECK(has(text, "workers-e  Pending, waits: NoFreeHost: no Host is free"));
  CHECK(has(text, "held by ChangeBudget default for 0s: WindowFull: 2 of 2"));
  CHECK(has(text, "ReplicaFailure True for 0s: FailedCreate: exceeded quota: q"));
}

TEST_CASE("of many machines in trouble the first are told, the rest is counted", "[describe]") {
  Refs<api::Machine> many;
  for (int i = 0; i < 50; ++i)
    many.push_back(ref(machine("m" + std::to_string(i), api::MachinePhase::failed, api::ConditionStatus::false_, "HostLost")));
  CHECK(has(draw(tree_of(a_set(), many, {}, now)), "... and 30 more that aren't fine"));
}

TEST_CASE("a cluster's tree: its sets, machines without one, budgets", "[describe]") {
  api::Cluster c;
  c.metadata.name = "hz-a";
  c.metadata.name_space = "default";
  auto alone = machine("alone", api::MachinePhase::pending, api::ConditionStatus::false_, "NoFreeHost");
  alone.metadata.labels = {};
  const auto text = draw(tree_of(c, {ref(a_set())}, {ref(alone)}, {}, nullptr, now));
  CHECK(has(text, "Cluster default/hz-a"));
  CHECK(has(text, "MachineSet default/workers"));
  CHECK(has(text, "machines without a set"));
  CHECK(has(text, "NoFreeHost"));
  CHECK(has(text, "no ChangeBudget selects it"));
}

TEST_CASE("a machine's tree", "[describe]") {
  auto m = machine("workers-a", api::MachinePhase::running, api::ConditionStatus::true_, "Ready");
  m.metadata.labels.set(api::label::revision, "new");
  m.status.revision = "old";
  const auto text = draw(tree_of(m, nullptr, now));
  CHECK(has(text, "Machine default/workers-a: Running"));
  CHECK(has(text, "revision old, should have new"));
  CHECK(has(text, "Ready True for 1m: Ready: said so"));
}

TEST_CASE("each machine that isn't fine has its reason: also one of which nothing is said yet, and pods that were left", "[describe]") {
  auto fresh = machine("fresh", api::MachinePhase::pending, api::ConditionStatus::false_, "x");
  fresh.status = {};
  fresh.metadata.creation_timestamp = now - seconds(3);
  auto refused = machine("refused", api::MachinePhase::joining, api::ConditionStatus::false_, "NodeRefused");
  refused.status.blocked_by = api::BlockedBy{
      .kind = "Node", .name = "host-1", .reason = "NodeRefused", .message = "a valid label must ...", .since = now - seconds(20)};
  auto left = machine("left", api::MachinePhase::deleting, api::ConditionStatus::false_, "Deleting");
  reconcile::set_condition(left.status.conditions,
                           {.type = "Drained", .status = api::ConditionStatus::true_, .reason = "PodsComeBack", .message = "shop-3"},
                           now - seconds(5));
  const auto text = draw(tree_of(a_set(), {ref(fresh), ref(refused), ref(left)}, {}, now));
  INFO(text);
  CHECK(has(text, "fresh  Pending, waits: the operator hasn't begun with it"));
  CHECK(has(text, "held by Node host-1 for 20s: NodeRefused: a valid label must ..."));
  CHECK(has(text, "Drained True for 5s: PodsComeBack: shop-3"));
}

TEST_CASE("top: the fleet on one screen", "[top]") {
  api::Cluster c;
  c.metadata.name = "hz-a";
  c.metadata.name_space = "default";
  auto busy = machine("b", api::MachinePhase::updating, api::ConditionStatus::false_, "Progressing");
  busy.status.operation = api::Operation{.id = "g", .type = api::OperationType::update};
  const Fleet fleet{.clusters = {ref(c)},
                    .sets = {ref(a_set())},
                    .machines = {ref(machine("a", api::MachinePhase::running, api::ConditionStatus::true_, "Ready")), ref(busy)},
                    .budgets = {ref(a_budget())},
                    .trouble = {"hosts can't be read: forbidden"}};
  const auto text = fleet_text(fleet, now);
  CHECK(has(text, "clusters 1  sets 1  machines 2  ready 1  unavailable 1  under way Update:1"));
  CHECK(has(text, "! hosts can't be read: forbidden"));
  CHECK(has(text, "[######..............] 1/3"));
  CHECK(has(text, "ChangeBudget default WindowFull"));
  CHECK(has(text, "2/2 in 1m"));
  CHECK(has(text, "Open TooManyFailures"));
  CHECK(has(fleet_json(fleet), R"("machines":2,"ready":1,"unavailable":1)"));
  CHECK(fit("a\nb\nc\nd\n", 3, 80) == "a\nb\n... and 2 more lines: make the terminal higher, or use --once\n");
  CHECK(fit("a\nb\n", 2, 1) == "a\nb\n");
  CHECK(fit("abc\n", 0, 0) == "abc\n");
}

TEST_CASE("a preview as text", "[preview]") {
  machine_set::Preview p;
  p.set = "workers";
  p.from = "old";
  p.to = "new";
  p.machine_time = seconds(60);
  machine_set::PreviewStep s;
  s.name = "canary";
  s.target = 1;
  s.end = seconds(360);
  s.updated = {"workers-a"};
  s.updates = 1;
  s.then = "pauses 5m";
  s.limits = {{.kind = "ChangeBudget", .name = "slow", .reason = "WindowFull", .message = "2 of 2", .machines = 4, .first = seconds(60)}};
  p.steps = {s};
  p.touched = 1;
  p.duration = seconds(360);
  p.problems = {"PackageNotFound: x"};
  p.assumptions = {"somebody promotes"};
  const auto text = preview_text(p, false);
  CHECK(has(text, "from revision old to new (an update of a machine takes about 1m)"));
  CHECK(has(text, "1. step canary (up to 1): 1 machine, from +0s to +6m"));
  CHECK(has(text, "update   workers-a"));
  CHECK(has(text, "held by  ChangeBudget slow: WindowFull: 2 of 2 (4 machines wait, first at +1m)"));
  CHECK(has(text, "then     pauses 5m"));
  CHECK(has(text, "REFUSED: PackageNotFound: x"));
  CHECK(has(text, "In all: 1 machine, about 6m."));
  CHECK(has(text, "Assumed: somebody promotes"));
  CHECK(has(preview_text(p, false, seconds(60)), "from +1m to +7m"));
}
