#include "e2e/bench/table_world.hpp"

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "controllers/common/machine_state.hpp"
#include "controllers/machine_set/names.hpp"
#include "reconcile/json/decode.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::bench {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using reconcile::Action, reconcile::MonoTime, reconcile::Ref, reconcile::Text, reconcile::Verb, reconcile::WallTime;
namespace api = v1alpha1;

constexpr std::size_t max_per_write = 500;  // requests that the guard decides in one write (ledger_guard.cpp)

template <class T>
T read(const std::string& text, reconcile::Pool& pool) {
  auto out = reconcile::decode<T>(text, pool);
  if (!out) throw std::logic_error(out.error().message + " in " + text);
  return std::move(*out);
}

machine_set::Revision revision_of(const api::MachineSet& set, std::int64_t number) {
  machine_set::Revision r;
  r.template_ = set.spec.template_;
  r.canonical = machine_set::canonical_template(r.template_);
  r.hash = reconcile::hash_of(r.canonical);
  r.name = machine_set::revision_name(set.metadata.name, r.hash);
  r.uid = Text("uid-" + r.name.str());
  r.resource_version = "1";
  r.number = number;
  return r;
}

api::RolloutStep step_of(std::string_view name, api::IntOrPercent updated) {
  api::RolloutStep s;
  s.name = name;
  s.updated = updated;
  return s;
}

Ref<api::ChangeBudget> budget() {
  api::ChangeBudget b;
  b.metadata.name = "default";
  b.spec.max_unavailable = api::IntOrPercent{10, true};
  api::BudgetLimit limit;
  limit.name = "updates";
  limit.operations = {api::BudgetOperation::machine_update};
  limit.windows = {{60s, 100'000}, {300s, 100'000}, {3600s, 100'000}, {86'400s, 100'000}};
  limit.max_concurrent = api::IntOrPercent{10, true};
  b.spec.limits = {limit};
  return std::make_shared<api::ChangeBudget>(b);
}

}  // namespace

TableWorld::TableWorld(std::size_t machines) {
  now_ = start_ = {MonoTime(1'000'000s), WallTime(std::chrono::sys_days(std::chrono::year(2026) / 11 / 25))};
  api::Cluster cluster;
  cluster.metadata.name = "c";
  cluster.metadata.name_space = "default";
  cluster_ = std::make_shared<api::Cluster>(cluster);
  budgets_ = {budget()};
  api::MachineSet set;
  set.metadata = {.name = "workers", .name_space = "default", .uid = "set-uid", .resource_version = "7", .generation = 1};
  set.metadata.finalizers = {api::finalizer::machine_set};
  // Nobody answers questions here, and what they cost is not what is measured.
  set.metadata.annotations.set(api::annotation::skip_preflight, "all");
  set.spec.cluster_name = "c";
  set.spec.replicas = static_cast<std::int64_t>(machines);
  set.spec.selector.match_labels = {{"pool", "workers"}};
  set.spec.template_.metadata.labels = {{"pool", "workers"}};
  set.spec.template_.spec.packages = {{.name = "runtime", .version_ref = {"v0"}}, {.name = "kubelet", .version_ref = {"v0"}}};
  set.spec.rollout.max_unavailable = api::IntOrPercent{10, true};
  set.spec.rollout.steps = {step_of("canary", {1, false}), step_of("few", {5, true}), step_of("quarter", {25, true}),
                            step_of("all", {100, true})};
  set_ = std::make_shared<api::MachineSet>(set);
  revisions_ = {revision_of(set, 1)};
  rows_.reserve(machines);
  for (std::size_t i = 0; i < machines; ++i) add_machine(i);
  for (int i = 0; i < 20; ++i) tick();  // until every status says what is
  writes_ = {};
}

// In service for an hour, at rest: its status is what the machine loop's own plan makes of it.
void TableWorld::add_machine(std::size_t index) {
  const auto number = std::to_string(index);
  const Text name = machine_set::machine_name("workers", "set-uid", index);
  const auto& revision = revisions_.front();
  Row row;
  api::Host host;
  host.metadata = {.name = Text("host-" + number), .name_space = "default", .uid = Text("hu-" + number), .resource_version = "7"};
  host.metadata.finalizers = {"endstate.dev/claimed"};
  host.spec.hardware.idc = "idc-a";
  host.spec.hardware.rack = Text("rack-" + std::to_string(index % 20));
  host.spec.consumer_ref = {.kind = "Machine", .name_space = "default", .name = name, .uid = Text("mu-" + number)};
  host.status.agent = api::Agent{"0.1.0", Text("boot-" + number)};
  row.host = std::make_shared<api::Host>(host);
  api::HostAssignment a;
  a.metadata = {.name = host.metadata.uid,
                .uid = Text("au-" + number),
                .resource_version = "8",
                .generation = 1,
                .creation_timestamp = now_.wall - 1h};
  a.spec = {.state = api::AssignmentState::active,
            .machine_uid = Text("mu-" + number),
            .node_name = host.metadata.name,
            .revision = revision.hash,
            .grant_id = "g"};
  a.status.observed_generation = 1;
  a.status.observed_revision = revision.hash;
  a.status.agent = host.status.agent;
  for (const auto* slot : {"runtime", "kubelet"}) {
    const auto version = package("v0");
    api::ResolvedPackage p;
    p.name = slot;
    p.spec.raw = reconcile::encode(version->spec);
    p.version = {version->metadata.name, version->metadata.uid, reconcile::hash_of(p.spec.raw)};
    a.status.packages.push_back({.name = slot, .actual = p.version, .state = api::PackageState::ready});
    a.spec.packages.push_back(std::move(p));
  }
  row.assignment = std::make_shared<api::HostAssignment>(a);
  reconcile::Node node;
  node.metadata = {.name = host.metadata.name, .uid = Text("nu-" + number), .resource_version = "9"};
  node.metadata.annotations = {{api::annotation::machine, Text("default/" + name.str())},
                               {api::annotation::machine_uid, Text("mu-" + number)}};
  node.metadata.labels = {{api::label::cluster_name, "c"}};
  node.status.conditions.push_back({.type = "Ready", .status = api::ConditionStatus::true_});
  row.node = std::make_shared<reconcile::Node>(node);
  api::Machine m;
  m.metadata = {.name = name,
                .name_space = "default",
                .uid = Text("mu-" + number),
                .resource_version = "5",
                .generation = 1,
                .creation_timestamp = now_.wall - 1h};
  m.metadata.labels = {
      {"pool", "workers"}, {api::label::revision, revision.hash}, {api::label::set_name, "workers"}, {api::label::cluster_name, "c"}};
  m.metadata.finalizers = {api::finalizer::machine};
  m.metadata.owner_references = {
      {.api_version = "endstate.dev/v1alpha1", .kind = "MachineSet", .name = "workers", .uid = "set-uid", .controller = true}};
  m.spec = api::machine_spec(revision.template_.spec, "c");
  m.status.node_ref = {host.metadata.name, node.metadata.uid};
  m.status.last_operation = {.id = "g", .type = api::OperationType::create, .revision = revision.hash, .end_time = now_.wall - 1h};
  // As a cache holds it: decoded, its strings shared with all others of the same text.
  row.machine = std::make_shared<api::Machine>(read<api::Machine>(reconcile::encode(m), pool_));
  row.differs_since = MonoTime::min();
  by_name_[name] = rows_.size();
  rows_.push_back(std::move(row));
}

Ref<api::MachinePackageVersion> TableWorld::package(const std::string& version) const {
  api::MachinePackageVersion v;
  v.metadata = {.name = version, .uid = Text("pu-" + version), .resource_version = "1"};
  v.spec.package_name = "kubelet";
  v.spec.version = version;
  v.spec.disruption = api::Disruption::restart_service;
  return std::make_shared<api::MachinePackageVersion>(v);
}

void TableWorld::change(const std::string& version) {
  auto set = *set_;
  set.spec.template_.spec.packages[1].version_ref.name = version;
  set.metadata.generation = *set.metadata.generation + 1;
  set_ = std::make_shared<api::MachineSet>(std::move(set));
}

bool TableWorld::complete() const {
  const auto& s = set_->status;
  return s.observed_generation == set_->metadata.generation && s.rollout && s.rollout->phase == api::RolloutPhase::complete &&
         s.current_revision == s.update_revision && s.ready_replicas == static_cast<std::int64_t>(rows_.size());
}

double TableWorld::share_updated() const {
  return static_cast<double>(set_->status.up_to_date_replicas) / static_cast<double>(rows_.size());
}

machine_set::Snapshot TableWorld::set_snapshot() const {
  machine_set::Snapshot s;
  s.set = set_;
  s.cluster.found = true;
  s.machines.reserve(rows_.size());
  for (const auto& row : rows_) s.machines.push_back(row.machine);
  s.revisions = revisions_;
  s.now = std::chrono::floor<std::chrono::seconds>(now_.wall);
  return s;
}

guard::Snapshot TableWorld::guard_snapshot() const {
  guard::Snapshot s;
  s.cluster = cluster_->metadata.key();
  s.budgets = budgets_;
  s.machines.reserve(rows_.size());
  for (const auto& row : rows_) s.machines.push_back(row.machine);
  s.ledger = ledger_;
  s.own = true;
  s.now = now_.wall;
  return s;
}

reconcile::PermitRequest TableWorld::request(std::size_t index) const {
  const auto& m = *rows_[index].machine;
  return {.cluster = cluster_->metadata.key(),
          .operation = api::operation::machine_update,
          .subject = m.metadata.key(),
          .subject_uid = m.metadata.uid,
          .revision = "another",
          .domain = m.status.failure_domain};
}

// ---- time ----

bool TableWorld::is_resting(const Row& row) const {
  const auto& m = *row.machine;
  return row.work.empty() && row.differs_since == MonoTime::min() && !m.status.operation &&
         m.metadata.labels.get(api::label::revision) == m.status.revision.view() && m.status.observed_generation == m.metadata.generation;
}

void TableWorld::tick() {
  now_.mono += tick_length;
  now_.wall += tick_length;
  for (auto& row : rows_) {
    if (is_resting(row)) continue;
    hosts(row);
    pass(row);
  }
  ask();
  pass_of_set();
}

// The host of that machine: works on what is assigned, and reports each state.
void TableWorld::hosts(Row& row) {
  if (row.work.empty() && !is_observed(*row.assignment)) {
    const auto within = [&](std::chrono::milliseconds low, std::chrono::milliseconds high) {
      return std::chrono::milliseconds(std::uniform_int_distribution<std::int64_t>(low.count(), high.count())(chance_));
    };
    // As the fleet simulator's (src/fleet/packages.cpp).
    auto at = now_.mono;
    row.work.emplace_back(at, api::PackageState::pending);
    row.work.emplace_back(at += within(1s, 4s), api::PackageState::applying);
    row.work.emplace_back(at += within(2s, 6s), api::PackageState::probing);
    row.work.emplace_back(at += within(500ms, 2s), api::PackageState::ready);
  }
  while (!row.work.empty() && row.work.front().first <= now_.mono) {
    auto a = *row.assignment;
    const auto state = row.work.front().second;
    row.work.erase(row.work.begin());
    a.status.observed_generation = a.metadata.generation;
    a.status.observed_revision = a.spec.revision;
    for (std::size_t i = 0; i < a.spec.packages.size(); ++i) {
      auto& report = a.status.packages[i];
      const auto& wanted = a.spec.packages[i].version;
      if (report.actual == wanted) continue;
      report.state = state;
      if (state == api::PackageState::ready) report.actual = wanted;
    }
    a.metadata.resource_version = next_version();
    row.assignment = std::make_shared<api::HostAssignment>(std::move(a));
  }
}

// ---- the machine loop ----

machine::Input TableWorld::input(const Row& row) const {
  machine::Input in;
  in.now = now_;
  in.machine = row.machine;
  in.cluster = cluster_;
  in.set = set_;
  in.host = row.host;
  in.assignment = row.assignment;
  in.node = row.node;
  in.agent_silence = 10s;
  in.health = {.in_service = rows_.size(), .ill = 0};
  for (const auto& slot : row.machine->spec.packages) {
    const auto version = slot.version_ref.name.str();
    in.packages.push_back({slot.name, slot.version_ref.name, package(version)});
  }
  in.refused = row.refused;
  in.refused_at = row.refused_at;
  return in;
}

void TableWorld::pass(Row& row) {
  if (!row.held.empty()) return;  // the guard hasn't answered
  auto plan = machine::plan(input(row));
  if (plan.permit) {
    for (const auto& a : plan.actions)
      if (a.guarded) row.held.push_back(a);
    requests_.emplace_back(static_cast<std::size_t>(&row - rows_.data()), *plan.permit);
  }
  for (const auto& a : plan.actions)
    if (!a.guarded) write(row, a);
  if (plan.status && !plan.permit) write_status(row, *plan.status);
}

// One write for all that asked at once, and none where nothing was granted or given back.
void TableWorld::ask() {
  for (std::size_t first = 0; first < requests_.size(); first += max_per_write) {
    const auto last = std::min(requests_.size(), first + max_per_write);
    std::vector<reconcile::PermitRequest> group;
    for (auto i = first; i < last; ++i) group.push_back(requests_[i].second);
    auto decision = guard::decide(guard_snapshot(), group);
    if (decision.changed) ++writes_.ledger;
    ledger_ = std::move(decision.ledger);
    for (auto i = first; i < last; ++i) {
      auto& row = rows_[requests_[i].first];
      const auto held = std::exchange(row.held, {});
      if (const auto* no = std::get_if<reconcile::Refused>(&decision.verdicts[i - first])) {
        row.refused = *no;
        row.refused_at = now_.mono;
        continue;
      }
      row.refused.reset();
      for (std::uint8_t stage = 0; stage < 4; ++stage)
        for (const auto& a : held)
          if (a.stage == stage) write(row, a);
    }
  }
  requests_.clear();
}

void TableWorld::write_status(Row& row, const reconcile::StatusWrite& status) {
  if (!status.changed) {
    row.differs_since = MonoTime::min();
    return;
  }
  if (row.differs_since == MonoTime::min()) row.differs_since = now_.mono;
  if (now_.mono - row.differs_since < status.settle) return;
  store_status(row, status.status, false);
}

void TableWorld::store_status(Row& row, const std::string& json, bool lock) {
  auto m = *row.machine;
  const bool had = m.status.operation.has_value();
  m.status = read<api::MachineStatus>(json, pool_);
  m.metadata.resource_version = next_version();
  ++(lock ? writes_.machine_locks : had && !m.status.operation ? writes_.machine_ends : writes_.machine_progress);
  row.machine = std::make_shared<api::Machine>(std::move(m));
  row.differs_since = MonoTime::min();
}

void TableWorld::write(Row& row, const Action& action) {
  const auto kind = action.kind->resource->kind;
  if (kind == "Machine" && action.verb == Verb::apply && action.subresource == "status")
    return store_status(row, json::parse(action.body).at("status").dump(), true);
  if (kind == "Machine" && action.verb == Verb::merge_patch) {
    auto object = json::parse(reconcile::encode(*row.machine));
    object.merge_patch(json::parse(action.body));
    auto m = read<api::Machine>(object.dump(), pool_);
    m.metadata.resource_version = next_version();
    if (!(m.spec == row.machine->spec)) m.metadata.generation = *m.metadata.generation + 1;
    row.machine = std::make_shared<api::Machine>(std::move(m));
    ++writes_.machine_specs;
    return;
  }
  if (kind == "HostAssignment" && action.verb == Verb::update) {
    auto a = read<api::HostAssignment>(action.body, pool_);
    a.status = row.assignment->status;
    a.metadata.resource_version = next_version();
    a.metadata.generation = *row.assignment->metadata.generation + 1;
    row.assignment = std::make_shared<api::HostAssignment>(std::move(a));
    ++writes_.assignments;
    return;
  }
  throw std::logic_error("this world doesn't know how to " + std::string(reconcile::verb_name(action.verb)) + " a " + std::string(kind));
}

// ---- the machine_set loop ----

void TableWorld::pass_of_set() {
  const auto planned = machine_set::plan_in_full(set_snapshot());
  const auto& status = planned.plan.status;
  const auto store = [&] {
    auto set = *set_;
    set.status = *planned.status;
    set.metadata.resource_version = next_version();
    set_ = std::make_shared<api::MachineSet>(std::move(set));
    set_differs_since_ = MonoTime::min();
    ++writes_.set;
  };
  const bool changed = status && status->changed && planned.status;
  if (changed && status->first) store();
  for (const auto& action : planned.plan.actions) {
    if (action.kind->resource->kind == "Machine") {
      write(row_of(action.name), action);
    } else if (action.kind->resource->kind == "ControllerRevision" && action.verb == Verb::create) {
      revisions_.push_back(revision_of(*set_, static_cast<std::int64_t>(revisions_.size()) + 1));
      ++writes_.others;
    } else {
      throw std::logic_error("this world doesn't know how to " + std::string(reconcile::verb_name(action.verb)) + " " + action.name.str());
    }
  }
  if (!changed) {
    set_differs_since_ = MonoTime::min();
  } else if (!status->first) {
    if (set_differs_since_ == MonoTime::min()) set_differs_since_ = now_.mono;
    if (now_.mono - set_differs_since_ >= status->settle) store();
  }
}

}  // namespace endstate::bench
