#include "controllers/machine_set/replicas.hpp"

#include <algorithm>
#include <stdexcept>

#include "controllers/machine_set/delete_order.hpp"
#include "controllers/machine_set/write.hpp"

namespace endstate::machine_set {
namespace {

bool recreates(const Snapshot& s) { return api::type(s.set->spec.rollout) == api::RolloutType::recreate; }

// What Recreate may have above replicas now. While a rollout moves, its own deletions bring the number back; while it stands still, only
// the successors that are not available yet are tolerated: what they replace is still needed.
std::int64_t surge(const Snapshot& s, const Revisions& revisions, const Facts& facts, const Course& course) {
  if (!recreates(s)) return 0;
  const auto& goal = course.everyone_back ? course.current : revisions.update;
  std::int64_t old = 0, unsteady = 0;
  for (const auto& f : facts.live) {
    old += !(f.revision == goal);
    unsteady += f.revision == goal && !f.steady;
  }
  const auto most = allowed_surge(s.set->spec.rollout, api::replicas(s.set->spec));
  if (old == 0) return 0;
  return course.everyone_back || course.quota > 0 ? most : std::min(most, unsteady);
}

// Recreate makes what it replaces at the revision that it goes to; everything else is new machines' revision.
std::int64_t at_goal_first(const Snapshot& s, const Facts& facts, const Course& course) {
  if (!recreates(s)) return 0;
  if (!course.everyone_back) return course.need;
  return std::count_if(facts.live.begin(), facts.live.end(), [&](const Fact& f) { return !(f.revision == course.current); });
}

void create(const Snapshot& s, const Revisions& revisions, const Facts& facts, const Course& course, std::int64_t limit, std::int64_t kept,
            std::size_t room, Replicas& out) {
  const auto missing = limit - facts.total();
  auto at_goal = at_goal_first(s, facts, course);
  const auto& goal_revision = course.everyone_back ? course.current : revisions.update;
  const auto count = std::min<std::int64_t>({missing, static_cast<std::int64_t>(room), static_cast<std::int64_t>(s.free_names.size())});
  auto places = api::replicas(s.set->spec) - kept - facts.total();  // surge is for machines at the goal only
  for (std::int64_t i = 0; i < count; ++i) {
    const bool goal = at_goal-- > 0;
    if (!goal && places <= 0) break;
    --places;
    const auto* revision = revisions.find(goal ? goal_revision : course.new_machines);
    if (!revision) {
      out.problem = Problem{api::reason::revision_not_found,
                            "revision " + course.new_machines.str() + " is gone: no machine can be made of it; edit the template",
                            "ControllerRevision", course.new_machines};
      break;
    }
    out.actions.push_back(create_machine(*s.set, *revision, s.free_names[static_cast<std::size_t>(i)]));
  }
  if (facts.total() + static_cast<std::int64_t>(out.actions.size()) > limit)
    throw std::logic_error("machine_set: more machines than its cap");
}

void remove(const Snapshot& s, const Revisions& revisions, const Facts& facts, const Course& course, std::size_t room, Replicas& out) {
  const auto in_flight = static_cast<std::int64_t>(facts.deleting.size());
  const auto order = delete_order(facts, revisions, course);
  const auto wanted = std::min({out.surplus, std::max<std::int64_t>(0, max_deleting - in_flight), static_cast<std::int64_t>(room)});
  for (const auto* f : order) {
    if (static_cast<std::int64_t>(out.going.size()) >= wanted) break;
    out.going.push_back(f);
    out.actions.push_back(delete_machine(*f->machine, "more machines than spec.replicas"));
  }
  if (out.surplus > static_cast<std::int64_t>(order.size()))
    out.problem = Problem{api::reason::machines_protected,
                          std::to_string(out.surplus - static_cast<std::int64_t>(order.size())) +
                              " machines too many carry the annotation endstate.dev/delete-protection: take it off those that may go",
                          "MachineSet", s.set->metadata.name};
}

}  // namespace

Replicas plan_replicas(const Snapshot& s, const Revisions& revisions, const Facts& facts, const Course& course,
                       const std::optional<Problem>& blocked, std::int64_t kept, std::size_t room) {
  Replicas out;
  const auto replicas = api::replicas(s.set->spec);
  const auto limit = replicas + surge(s, revisions, facts, course);
  const auto may_be_made = limit - kept;
  out.missing = std::max<std::int64_t>(0, replicas - facts.live_count());
  out.surplus = std::max<std::int64_t>(0, facts.live_count() - limit);
  if (out.surplus > 0)
    remove(s, revisions, facts, course, room, out);
  else if (may_be_made > facts.total() && s.fresh && !blocked)
    create(s, revisions, facts, course, may_be_made, kept, room, out);
  return out;
}

}  // namespace endstate::machine_set
