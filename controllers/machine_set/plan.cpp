#include "controllers/machine_set/plan.hpp"

#include <algorithm>

#include "controllers/common/cut.hpp"
#include "controllers/machine_set/adoption.hpp"
#include "controllers/machine_set/course.hpp"
#include "controllers/machine_set/facts.hpp"
#include "controllers/machine_set/moves.hpp"
#include "controllers/machine_set/refusals.hpp"
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
constexpr std::chrono::seconds blind_again{5};           // sight comes back without an event; a look costs nothing
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
         !(old.rejected_revisions == now.rejected_revisions) || !(old.handled == now.handled) ||
         !(old.rollout->revision == now.rollout->revision) || old.rollout->phase != now.rollout->phase ||
         !(old.rollout->step == now.rollout->step) || !(old.rollout->promoted_step == now.rollout->promoted_step) ||
         old.rollout->start_time != now.rollout->start_time || old.rollout->step_start_time != now.rollout->step_start_time ||
         old.rollout->pause_start_time != now.rollout->pause_start_time || analysis_moved(old.rollout->analysis, now.rollout->analysis) ||
         audit_moved(old, now);
}

void write_status(const Snapshot& s, api::MachineSetStatus status, Planned& out, bool at_once = false) {
  const auto& set = *s.set;
  const bool changed = !(status == set.status);
  const bool first = changed && (at_once || must_come_first(set.status, status));
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

// What the API server refused in the last pass, as far as it is still wanted. True: it is news, and nothing more is done in this pass than
// telling it.
bool heed_refusal(const Snapshot& s, const Replicas& replicas, Verdicts& verdicts, reconcile::Plan& plan, const Text& about) {
  Wanted wanted{.creations = replicas.missing > 0, .deletions = replicas.surplus > 0, .edits = false};
  for (const auto& a : plan.actions) {
    if (a.kind != &reconcile::kind_of<api::Machine>) continue;
    (a.verb == reconcile::Verb::create ? wanted.creations : a.verb == reconcile::Verb::remove ? wanted.deletions : wanted.edits) = true;
  }
  verdicts.refusal = standing_refusal(s, wanted);
  const auto hold = [&] {
    std::erase_if(plan.actions, [](const Action& a) { return a.kind == &reconcile::kind_of<api::Machine>; });
    look_again(plan, 1s);
  };
  if (verdicts.refusal && is_news(s, *verdicts.refusal)) {
    hold();
    plan.events.push_back(
        {.warning = true, .reason = verdicts.refusal->reason, .action = about, .note = cut(verdicts.refusal->message, 1024)});
    return true;
  }
  if (verdicts.refusal && !plan.events.empty()) {  // a try that fails would take what else is to be told with it
    hold();
  } else if (verdicts.refusal) {
    if (!s.refused.empty()) try_one(plan.actions, verdicts.refusal->reason.view());
    look_again(plan, refused_again);
  }
  for (auto& e : tell_of(plan.actions, about)) plan.events.push_back(std::move(e));
  return false;
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
  course.handled = s.set->status.handled;
  return course;
}

Planned stand_still(const Snapshot& s, const Revisions& revisions, const Facts& facts) {
  Planned out;
  Verdicts verdicts;
  verdicts.paused = true;
  write_status(s, plan_status(s, revisions, facts, standing_course(s, revisions), verdicts).status, out);
  return out;
}

// There is something that would be done if its cluster could be seen.
bool has_work(const Snapshot& s, const Revisions& revisions, const Facts& facts, const api::RolloutStatus& rollout) {
  if (rollout.phase != api::RolloutPhase::complete && rollout.phase != api::RolloutPhase::rolled_back) return true;
  if (!(rollout.revision == revisions.update) || facts.live_count() != api::replicas(s.set->spec)) return true;
  return std::any_of(facts.live.begin(), facts.live.end(), [&](const Fact& f) { return !(f.revision == revisions.current); });
}

// Its cluster can't be seen. Who can't see changes nothing there: no machine forward, back or for replicas; and the course stands where it
// stood, for what it would go by is old. What was asked for meanwhile is done on return.
Planned wait_for_sight(const Snapshot& s, const Revisions& revisions, const Facts& facts) {
  Planned out;
  Verdicts verdicts;
  verdicts.blocked = references(s);
  auto course = standing_course(s, revisions);
  bool news = false;
  if (!verdicts.blocked && has_work(s, revisions, facts, course.status)) {
    const auto& sight = s.cluster.sight;
    course.waiting = Problem{
        api::reason::waiting_for_connection,
        "Cluster " + s.set->spec.cluster_name.str() + " can't be seen" +
            (sight.since == WallTime{} ? ""
                                       : " since " + reconcile::format_rfc3339(std::chrono::floor<std::chrono::seconds>(sight.since))) +
            (sight.why.empty() ? "" : " (" + sight.why + ")") + ": no machine is changed before it is",
        "Cluster", s.set->spec.cluster_name};
    const auto& said = course.status.blocked_by;
    news = !said || !(said->reason == course.waiting->reason);
    if (news)
      out.plan.events.push_back({.warning = true,
                                 .reason = course.waiting->reason,
                                 .action = event_action(course.status),
                                 .note = cut(course.waiting->message, 1024)});
  }
  write_status(s, plan_status(s, revisions, facts, std::move(course), verdicts).status, out, news);
  look_again(out.plan, blind_again);
  return out;
}

// The machines go first, in bounded numbers, each by its own loop; then the finalizer. Revisions go by their owner reference. Also while
// its cluster can't be seen: that is a person's last word, what it does there is each machine's own to wait with, and it must end
// (force-delete) where the cluster never comes back.
Planned tear_down(const Snapshot& s, const Revisions& revisions, const Facts& facts) {
  Planned out;
  auto& plan = out.plan;
  const auto& meta = s.set->metadata;
  if (!meta.has_finalizer(api::finalizer::machine_set)) return out;
  if (meta.has_finalizer(orphan_finalizer)) {
    // A person lets the machines go: none of them is touched, now or when the garbage collector is through. Our finalizer goes at once, for
    // once theirs is off we might still see machines that aren't the set's any more.
    plan.actions = let_revisions_go(s);
    plan.actions.push_back(remove_finalizer(*s.set));
    plan.actions.back().stage = 1;
    return out;
  }
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
      // Not if its owner was taken off since: it was let go (--cascade=orphan) while nobody of us looked.
      plan.actions.back().resource_version = f.machine->metadata.resource_version;
    }
    if (kept_machines > 0 && facts.deleting.empty() && plan.actions.empty())
      course.stalled = Problem{api::reason::machines_protected,
                               std::to_string(kept_machines) + " machines carry the annotation endstate.dev/delete-protection: take it off",
                               "MachineSet", meta.name};
  }
  const bool told = heed_refusal(s, {}, verdicts, plan, event_action(course.status));
  write_status(s, plan_status(s, revisions, facts, std::move(course), verdicts).status, out, told);
  return out;
}

// The template can't be recorded: nothing is made of it, and it says why.
Planned say_unrecorded(const Snapshot& s, Revisions revisions) {
  Planned out;
  auto status = unrecorded_status(s);
  const bool news = !(status == s.set->status);
  if (news)
    out.plan.events.push_back({.warning = true,
                               .reason = api::reason::failed_create,
                               .action = "Record",
                               .note = reconcile::find_condition(status.conditions, api::condition::replica_failure)->message});
  else
    out.plan.actions = std::move(revisions.actions);
  out.plan.again = news ? 1s : refused_again;
  write_status(s, std::move(status), out, true);
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
  Adoption adoption;
  if (!blocked) adoption = plan_adoption(s, facts.total(), event_action(course.status), room(plan));
  verdicts.replicas = plan_replicas(s, revisions, facts, course, adoption.problem ? adoption.problem : no_new, adoption.places, room(plan));
  if (adoption.problem) verdicts.replicas.problem = adoption.problem;
  add(plan, std::move(verdicts.replicas.actions));
  add(plan, std::move(adoption.actions));
  verdicts.moves = plan_moves(s, revisions, facts, course, verdicts.replicas.going, room(plan));
  add(plan, std::move(verdicts.moves.actions));
  if (plan.actions.empty()) plan.actions = plan_history_trim(s, revisions);
  plan.events = std::move(course.events);
  for (auto& q : adoption.queries) plan.queries.push_back(std::move(q));
  const bool told = heed_refusal(s, verdicts.replicas, verdicts, plan, event_action(course.status));
  if (!verdicts.refusal)  // all of them are done in this pass
    for (auto& e : adoption.events) plan.events.push_back(std::move(e));
  plan.metrics = std::move(course.metrics);
  for (auto& q : course.queries) plan.queries.push_back(std::move(q));
  look_again(plan, course.again);
  look_again(plan, facts.next_available);
  auto next = plan_status(s, revisions, facts, std::move(course), verdicts);
  look_again(plan, next.again);
  write_status(s, std::move(next.status), out, told);
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
  if (!s.set->metadata.deleting() && !is_paused(s) && !s.orphan_revisions.empty()) {
    Planned first;
    first.plan.actions = adopt_revisions(s);
    return first;
  }
  auto revisions = plan_revisions(s);
  if (!s.set->metadata.deleting() && !is_paused(s) && revisions.is_new()) {
    // Recorded before the status names it: a status that leads to a revision that nobody knows could lead nowhere.
    if (s.refused_revision) return say_unrecorded(s, std::move(revisions));
    Planned first;
    first.plan.actions = std::move(revisions.actions);
    return first;
  }
  const auto facts = judge(s, revisions);
  if (s.set->metadata.deleting()) return tear_down(s, revisions, facts);
  if (is_paused(s)) return stand_still(s, revisions, facts);
  if (!s.cluster.sight.seen) return wait_for_sight(s, revisions, facts);
  return drive(s, std::move(revisions), facts);
}

reconcile::Plan plan(const Snapshot& snapshot) { return plan_in_full(snapshot).plan; }

}  // namespace endstate::machine_set
