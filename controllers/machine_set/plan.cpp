#include "controllers/machine_set/plan.hpp"

#include <algorithm>

#include "controllers/machine_set/course.hpp"
#include "controllers/machine_set/facts.hpp"
#include "controllers/machine_set/moves.hpp"
#include "controllers/machine_set/replicas.hpp"
#include "controllers/machine_set/revisions.hpp"
#include "controllers/machine_set/status.hpp"
#include "controllers/machine_set/write.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::machine_set {
namespace {

using reconcile::Action;
using namespace std::chrono_literals;

constexpr std::chrono::milliseconds stale_again{1'000};
constexpr std::string_view orphan_finalizer = "orphan";  // metav1.FinalizerOrphanDependents: the garbage collector is cutting the ties

bool is_paused(const Snapshot& s) {
  return s.set->spec.paused.value_or(false) || s.set->metadata.annotations.has(api::annotation::paused) || s.cluster.paused;
}

// What CEL can't see, and what the API server should have refused.
std::optional<Problem> references(const Snapshot& s) {
  const auto& spec = s.set->spec;
  const auto cluster = [&](std::string_view reason, const std::string& what) {
    return Problem{reason, "Cluster " + spec.cluster_name.str() + " " + what, "Cluster", spec.cluster_name};
  };
  if (spec.selector.match_labels.empty() || !spec.template_.metadata.labels.contains(spec.selector.match_labels))
    return Problem{api::reason::invalid_spec, "spec.selector doesn't match spec.template.metadata.labels: give the template these labels",
                   "MachineSet", s.set->metadata.name};
  if (!s.cluster.found) return cluster(api::reason::cluster_not_found, "doesn't exist in namespace " + s.set->metadata.name_space.str());
  if (s.cluster.deleting) return cluster(api::reason::cluster_deleting, "is being deleted: no machines are made for it");
  if (!s.cluster.waits_for.empty())
    return cluster(api::reason::waiting_for_control_plane, "can't take machines yet: " + s.cluster.waits_for);
  if (s.unknown_packages.empty()) return std::nullopt;
  std::string names;
  for (const auto& name : s.unknown_packages) names.append(names.empty() ? "" : ", ").append(name.view());
  return Problem{api::reason::package_not_found, "MachinePackageVersion " + names + " doesn't exist: create it, or edit the template",
                 "MachinePackageVersion", s.unknown_packages.front()};
}

// An answer is counted once, and a Job is believed by what is stored about it; how the machines are may settle.
bool analysis_moved(const std::optional<api::AnalysisStatus>& old, const std::optional<api::AnalysisStatus>& now) {
  if (!old || !now) return old.has_value() != now.has_value();
  return !(old->step == now->step) || old->start_time != now->start_time || !(old->checks == now->checks) || !(old->probes == now->probes);
}

// What checks before the first machine found, and who asked for the change: told by an event when it is found.
bool audit_moved(const api::MachineSetStatus& old, const api::MachineSetStatus& now) {
  const auto result = [](const api::PreflightStatus& c) { return std::pair(c.check, c.result); };
  const auto editor = [](const api::MachineSetStatus& st) { return st.history.empty() ? Text() : st.history.back().field_manager; };
  return !(editor(old) == editor(now)) || !std::ranges::equal(old.rollout->preflight, now.rollout->preflight, {}, result, result);
}

// What must be stored before anything moves: a restart must neither forget a rejection nor take a step twice. And what events tell of: one
// that goes out with a status that isn't stored yet goes out again with the next pass.
bool must_come_first(const api::MachineSetStatus& old, const api::MachineSetStatus& now) {
  if (!old.rollout) return true;
  return !(old.current_revision == now.current_revision) || !(old.update_revision == now.update_revision) ||
         !(old.rejected_revisions == now.rejected_revisions) || !(old.rollout->revision == now.rollout->revision) ||
         old.rollout->phase != now.rollout->phase || !(old.rollout->step == now.rollout->step) ||
         !(old.rollout->promoted_step == now.rollout->promoted_step) || old.rollout->start_time != now.rollout->start_time ||
         old.rollout->step_start_time != now.rollout->step_start_time || analysis_moved(old.rollout->analysis, now.rollout->analysis) ||
         audit_moved(old, now);
}

void write_status(const Snapshot& s, api::MachineSetStatus status, Planned& out) {
  const auto& set = *s.set;
  const bool changed = !(status == set.status);
  const bool first = changed && must_come_first(set.status, status);
  out.plan.status = reconcile::StatusWrite{.kind = &reconcile::kind_of<api::MachineSet>,
                                           .key = set.metadata.key(),
                                           .uid = set.metadata.uid,
                                           .resource_version = set.metadata.resource_version,
                                           .status = changed ? reconcile::encode(status) : std::string(),
                                           .changed = changed,
                                           .first = first,
                                           .settle = first ? 0ms : settle};
  out.status = std::move(status);
}

void look_again(reconcile::Plan& plan, std::optional<std::chrono::seconds> after) {
  if (!after) return;
  const auto at = std::max<std::chrono::milliseconds>(*after, 1s);
  if (!plan.again || at < *plan.again) plan.again = at;
}

void add(reconcile::Plan& plan, std::vector<Action> actions) {
  for (auto& a : actions) plan.actions.push_back(std::move(a));
}
std::size_t room(const reconcile::Plan& plan) { return max_actions - std::min(max_actions, plan.actions.size()); }

// A course that stands where it stood: for a set that nobody touches.
Course standing_course(const Snapshot& s, const Revisions& revisions) {
  Course course;
  if (s.set->status.rollout) {
    course.status = *s.set->status.rollout;
  } else {
    course.status.revision = revisions.update;
    course.status.phase = api::RolloutPhase::complete;
  }
  course.current = revisions.current;
  course.rejected = s.set->status.rejected_revisions;
  course.history = s.set->status.history;
  return course;
}

Planned stand_still(const Snapshot& s, const Revisions& revisions, const Facts& facts) {
  Planned out;
  Verdicts verdicts;
  verdicts.paused = true;
  write_status(s, plan_status(s, revisions, facts, standing_course(s, revisions), verdicts).status, out);
  return out;
}

// The machines go first, in bounded numbers, each by its own loop; then the finalizer. Revisions go by their owner reference.
Planned tear_down(const Snapshot& s, const Revisions& revisions, const Facts& facts) {
  Planned out;
  auto& plan = out.plan;
  const auto& meta = s.set->metadata;
  if (!meta.has_finalizer(api::finalizer::machine_set)) return out;
  if (meta.has_finalizer(orphan_finalizer)) return out;
  if (s.machines.empty()) {
    plan.actions.push_back(remove_finalizer(*s.set));
    return out;
  }
  Verdicts verdicts;
  verdicts.deleting = true;
  verdicts.paused = is_paused(s);
  const bool kept = meta.annotations.get(api::annotation::delete_protection) == api::protection::always;
  auto course = standing_course(s, revisions);
  if (kept)
    course.stalled = Problem{api::reason::delete_protected,
                             "the annotation endstate.dev/delete-protection: Always keeps its machines: take it off to let them go",
                             "MachineSet", meta.name};
  if (!kept && !verdicts.paused) {
    auto may_go = max_deleting - static_cast<std::int64_t>(facts.deleting.size());
    std::int64_t kept_machines = 0;
    for (const auto& f : facts.live) {
      kept_machines += f.protected_;
      if (f.protected_ || may_go-- <= 0) continue;
      plan.actions.push_back(delete_machine(*f.machine, "its set is being deleted"));
    }
    if (kept_machines > 0 && facts.deleting.empty() && plan.actions.empty())
      course.stalled = Problem{api::reason::machines_protected,
                               std::to_string(kept_machines) + " machines carry the annotation endstate.dev/delete-protection: take it off",
                               "MachineSet", meta.name};
  }
  write_status(s, plan_status(s, revisions, facts, std::move(course), verdicts).status, out);
  return out;
}

Planned drive(const Snapshot& s, Revisions revisions, const Facts& facts) {
  Planned out;
  auto& plan = out.plan;
  const auto blocked = references(s);
  auto course = plan_course(s, revisions, facts, blocked);
  add(plan, std::move(revisions.actions));
  for (auto& a : course.actions) {
    a.stage = 2;  // asked-for things are taken off last, when they are done
    plan.actions.push_back(std::move(a));
  }
  Verdicts verdicts;
  verdicts.blocked = blocked;
  // The current revision's packages are in use and can't go, so only what is made of the template waits for an unknown one.
  const bool for_template = blocked && blocked->reason == api::reason::package_not_found;
  const auto no_new = for_template && !(course.new_machines == revisions.update) ? std::nullopt : blocked;
  verdicts.replicas = plan_replicas(s, revisions, facts, course, no_new, room(plan));
  add(plan, std::move(verdicts.replicas.actions));
  verdicts.moves = plan_moves(s, revisions, facts, course, verdicts.replicas.going, room(plan));
  add(plan, std::move(verdicts.moves.actions));
  if (plan.actions.empty()) plan.actions = plan_history_trim(s, revisions);
  plan.events = std::move(course.events);
  plan.metrics = std::move(course.metrics);
  for (auto& q : course.queries) plan.queries.push_back(std::move(q));
  look_again(plan, course.again);
  look_again(plan, facts.next_available);
  auto next = plan_status(s, revisions, facts, std::move(course), verdicts);
  look_again(plan, next.again);
  write_status(s, std::move(next.status), out);
  return out;
}

}  // namespace

Planned plan_in_full(const Snapshot& s) {
  if (!s.fresh) {
    Planned wait;
    wait.plan.again = stale_again;
    return wait;
  }
  if (!s.set->metadata.deleting() && !s.set->metadata.has_finalizer(api::finalizer::machine_set)) {
    Planned first;
    first.plan.actions.push_back(add_finalizer(*s.set));
    return first;
  }
  auto revisions = plan_revisions(s);
  if (!s.set->metadata.deleting() && !is_paused(s) && revisions.is_new()) {
    // Recorded before the status names it: a status that leads to a revision that nobody knows could lead nowhere.
    Planned first;
    first.plan.actions = std::move(revisions.actions);
    return first;
  }
  const auto facts = judge(s, revisions);
  if (s.set->metadata.deleting()) return tear_down(s, revisions, facts);
  if (is_paused(s)) return stand_still(s, revisions, facts);
  return drive(s, std::move(revisions), facts);
}

reconcile::Plan plan(const Snapshot& snapshot) { return plan_in_full(snapshot).plan; }

}  // namespace endstate::machine_set
