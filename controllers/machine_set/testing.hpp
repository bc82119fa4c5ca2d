// Builders for this folder's tests: a set, its revisions, and machines in a few typical states.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "controllers/machine_set/names.hpp"
#include "controllers/machine_set/plan.hpp"
#include "controllers/machine_set/snapshot.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::machine_set::testing {

using std::chrono::seconds;

inline const WallTime epoch{std::chrono::sys_days(std::chrono::year(2026) / 11 / 23)};

// A template that is told apart by the version of its one package.
inline api::MachineTemplate template_of(std::string_view version) {
  api::MachineTemplate t;
  t.metadata.labels = {{"pool", "workers"}};
  t.spec.packages = {{.name = "kubelet", .version_ref = {version}}};
  return t;
}
inline Revision revision_of(const api::MachineTemplate& t, std::int64_t number, std::string_view set = "workers") {
  Revision r;
  r.canonical = canonical_template(t);
  r.hash = reconcile::hash_of(r.canonical);
  r.name = revision_name(set, r.hash);
  r.uid = Text("uid-" + r.name.str());
  r.resource_version = "1";
  r.number = number;
  r.template_ = t;
  return r;
}
inline Text revision_for(std::string_view version) { return revision_of(template_of(version), 1).hash; }

inline api::MachineSet set_of(std::int64_t replicas, std::string_view version) {
  api::MachineSet set;
  set.metadata.name = "workers";
  set.metadata.name_space = "default";
  set.metadata.uid = "set-uid";
  set.metadata.resource_version = "7";
  set.metadata.generation = 1;
  set.metadata.finalizers = {api::finalizer::machine_set};
  set.spec.cluster_name = "local";
  set.spec.replicas = replicas;
  set.spec.selector.match_labels = {{"pool", "workers"}};
  set.spec.template_ = template_of(version);
  return set;
}

inline void set_ready(api::Machine& m, api::ConditionStatus status, std::string_view reason, WallTime now) {
  api::Condition c;
  c.type = api::condition::ready;
  c.status = status;
  c.reason = reason;
  reconcile::set_condition(m.status.conditions, c, now);
}

// A machine that does its work at that revision.
inline api::Machine machine_of(const api::MachineSet& set, std::string_view name, std::string_view version, WallTime since = epoch) {
  api::Machine m;
  const auto r = revision_of(template_of(version), 1);
  m.metadata.name = name;
  m.metadata.name_space = set.metadata.name_space;
  m.metadata.uid = Text("uid-" + std::string(name));
  m.metadata.resource_version = "1";
  m.metadata.creation_timestamp = since;
  m.metadata.labels = {{"pool", "workers"}, {api::label::revision, r.hash.view()}};
  m.metadata.finalizers = {api::finalizer::machine};
  m.spec = api::machine_spec(r.template_.spec, set.spec.cluster_name);
  m.status.phase = api::MachinePhase::running;
  m.status.host_ref = api::UidRef{Text("host-" + std::string(name)), {}};
  m.status.node_ref = m.status.host_ref;
  m.status.revision = r.hash;
  set_ready(m, api::ConditionStatus::true_, api::reason::ready, since);
  return m;
}

// The update to its label's revision failed.
inline void fail_update(api::Machine& m, WallTime when) {
  api::LastOperation last;
  last.id = "g";
  last.type = api::OperationType::update;
  last.revision = m.metadata.labels.get(api::label::revision);
  last.result = api::OperationResult::failed;
  last.reason = "PackageFailed";
  last.message = "kubelet: exit 1";
  last.end_time = when;
  m.status.last_operation = last;
  m.status.operation.reset();
  m.status.revision = {};
  set_ready(m, api::ConditionStatus::false_, "PackageFailed", when);
}

// Everything that a plan reads, as values that a test edits.
struct Scene {
  api::MachineSet set;
  std::vector<api::Machine> machines;
  std::vector<Revision> revisions;
  ClusterFacts cluster{.found = true, .ready = api::ConditionStatus::true_, .version = "v1.34.4"};
  std::optional<PreflightInput> preflight = PreflightInput{};
  std::optional<Editor> editor;
  std::optional<api::MachineSet> after;
  std::vector<Text> unknown_packages, taken_revision_names;
  std::vector<api::MetricSource> metric_sources;
  std::map<std::string, metrics::Answer, std::less<>> answers;
  std::map<std::string, JobSeen, std::less<>> jobs;
  std::map<std::string, reconcile::Error, std::less<>> refused_jobs;
  std::vector<api::Machine> orphans;
  std::vector<reconcile::Ref<reconcile::ControllerRevision>> orphan_revisions;
  bool may_adopt = false;
  std::vector<RefusedWrite> refused;
  std::optional<std::string> refused_revision;
  bool fresh = true;
  WallTime now = epoch + seconds(1000);

  Snapshot snapshot() const {
    Snapshot s;
    s.set = std::make_shared<api::MachineSet>(set);
    s.cluster = cluster;
    s.preflight = preflight;
    s.editor = editor;
    for (const auto& m : machines) s.machines.push_back(std::make_shared<api::Machine>(m));
    s.revisions = revisions;
    if (after) s.after = std::make_shared<api::MachineSet>(*after);
    s.unknown_packages = unknown_packages;
    s.taken_revision_names = taken_revision_names;
    for (const auto& m : metric_sources) s.metric_sources.push_back(std::make_shared<api::MetricSource>(m));
    s.answers = answers;
    s.jobs = jobs;
    s.refused_jobs = refused_jobs;
    for (const auto& m : orphans) s.orphans.push_back(std::make_shared<api::Machine>(m));
    s.orphan_revisions = orphan_revisions;
    s.may_adopt = may_adopt;
    s.refused = refused;
    s.refused_revision = refused_revision;
    s.fresh = fresh;
    s.now = now;
    for (std::uint64_t ordinal = 0; s.free_names.size() < max_actions; ++ordinal) {
      const Text name = machine_name(set.metadata.name, set.metadata.uid, ordinal);
      bool used = false;
      for (const auto& m : machines) used = used || m.metadata.name == name;
      for (const auto& n : s.free_names) used = used || n == name;
      if (!used) s.free_names.push_back(name);
    }
    return s;
  }
  Planned plan() const { return plan_in_full(snapshot()); }
  // Plans, and stores the status that it wants, as if it had been written.
  Planned pass() {
    auto p = plan();
    if (p.status) set.status = *p.status;
    return p;
  }
};

// A set without machines yet, whose template is recorded.
inline Scene unborn(std::int64_t replicas, std::string_view version) {
  Scene scene;
  scene.set = set_of(replicas, version);
  scene.revisions = {revision_of(template_of(version), 1)};
  return scene;
}
// A set of `replicas` machines that all do their work at `version`; the status says so.
inline Scene settled(std::int64_t replicas, std::string_view version) {
  Scene scene;
  scene.set = set_of(replicas, version);
  scene.revisions = {revision_of(template_of(version), 1)};
  for (std::int64_t i = 0; i < replicas; ++i)
    scene.machines.push_back(machine_of(scene.set, machine_name("workers", "set-uid", static_cast<std::uint64_t>(i)), version));
  scene.pass();
  return scene;
}
// The user edits the template; its revision is recorded.
inline void edit_template(Scene& scene, std::string_view version) {
  scene.set.spec.template_ = template_of(version);
  scene.set.metadata.generation = *scene.set.metadata.generation + 1;
  for (const auto& r : scene.revisions)
    if (r.hash == revision_for(version)) return;
  scene.revisions.push_back(revision_of(scene.set.spec.template_, static_cast<std::int64_t>(scene.revisions.size()) + 1));
}

inline api::RolloutStep step_of(std::string_view name, api::IntOrPercent updated) {
  api::RolloutStep s;
  s.name = name;
  s.updated = updated;
  return s;
}

inline std::vector<const reconcile::Action*> actions_of(const Planned& p, reconcile::Verb verb, std::string_view kind) {
  std::vector<const reconcile::Action*> out;
  for (const auto& a : p.plan.actions)
    if (a.verb == verb && a.kind->resource->kind == kind) out.push_back(&a);
  return out;
}
inline const api::Condition* condition(const Planned& p, std::string_view type) {
  return p.status ? reconcile::find_condition(p.status->conditions, type) : nullptr;
}

}  // namespace endstate::machine_set::testing
