#include "controllers/machine_set/facts.hpp"

#include "controllers/guard/availability.hpp"
#include "controllers/machine_set/write.hpp"

namespace endstate::machine_set {
namespace {

// The revision whose template the machine's spec is. A label alone is not believed: an edit by hand must be seen.
class Reader {
 public:
  explicit Reader(const Revisions& revisions) : revisions_(revisions) {}
  const Revision* operator()(const api::Machine& m, std::string_view hash) {
    if (!last_ || last_->hash != hash) last_ = revisions_.find(hash);
    return last_ && stands_for(m, last_->template_) ? last_ : nullptr;
  }

 private:
  const Revisions& revisions_;
  const Revision* last_ = nullptr;  // neighbours mostly have the same one
};

// The machine loop says so on the conditions AgentAlive and Ready; a machine without a host has no agent to be silent.
bool agent_silent(const api::MachineStatus& status, const api::Condition* ready) {
  const auto says = [](const api::Condition* c) {
    return c && c->status != api::ConditionStatus::true_ && (c->reason == api::reason::agent_silent || c->reason == api::reason::host_lost);
  };
  return says(ready) || says(reconcile::find_condition(status.conditions, api::condition::agent_alive));
}

}  // namespace

Facts judge(const Snapshot& s, const Revisions& revisions) {
  Facts out;
  out.live.reserve(s.machines.size());
  Reader read(revisions);
  const auto min_ready = api::min_ready(s.set->spec.rollout);
  for (const auto& m : s.machines) {
    const auto& status = m->status;
    Fact f;
    f.machine = m.get();
    f.deleting = m->metadata.deleting();
    const auto wish = m->metadata.labels.get(api::label::revision);
    if (const auto* r = read(*m, wish)) f.revision = r->hash;
    if (!m->metadata.annotations.empty()) {
      f.delete_first = m->metadata.annotations.has(api::annotation::delete_machine);
      f.protected_ = m->metadata.annotations.has(api::annotation::delete_protection);
      f.paused = m->metadata.annotations.has(api::annotation::paused);
    }
    f.paused = f.paused || m->spec.paused.value_or(false);
    const auto* ready = reconcile::find_condition(status.conditions, api::condition::ready);
    f.has_host = status.host_ref.has_value();
    f.reachable = f.has_host && !agent_silent(status, ready);
    f.ready = ready && ready->status == api::ConditionStatus::true_;
    const bool unknown = ready && ready->status == api::ConditionStatus::unknown;
    f.unseen = unknown && !guard::is_out_of_service(*m);
    if (f.ready) {
      const auto for_long = s.since(ready->last_transition_time);
      // Ready since a time that is yet to come: our clock went back. How long it has been is not known, that it is Ready is.
      f.available = for_long >= min_ready || ready->last_transition_time > s.now;
      if (!f.available && (!out.next_available || min_ready - for_long < *out.next_available)) out.next_available = min_ready - for_long;
    }
    f.in_flight = status.operation.has_value();
    f.born = status.node_ref.has_value();
    f.settled = !f.in_flight && !status.revision.empty() && status.revision == wish;
    f.steady = f.available && f.settled && !f.deleting;
    if (f.deleting) {
      out.deleting.push_back(f);
      continue;
    }
    out.ready += f.ready;
    out.available += f.available;
    out.steady += f.steady;
    out.unknown += unknown && f.born;
    out.live.push_back(f);
  }
  return out;
}

Standing standing(const Fact& f, const Text& r, const Window& window) {
  const auto& status = f.machine->status;
  if (f.steady && status.revision == r) return Standing::good;
  if (!f.has_host || (!f.born && !window.creations)) return window.creations ? Standing::pending : Standing::excused;
  const bool excused = f.machine->metadata.annotations.get(api::annotation::was_unavailable) == r.view();
  if (!f.reachable) {
    const auto* ready = reconcile::find_condition(status.conditions, api::condition::ready);
    const bool long_ago = ready && ready->last_transition_time < window.lost_since;
    return excused ? Standing::excused : long_ago ? Standing::sick : Standing::lost;
  }
  if (f.in_flight) return Standing::pending;
  if (f.settled && status.revision == r) return f.ready || f.unseen ? Standing::pending : Standing::sick;
  const auto& last = status.last_operation;
  if (!last || !(last->revision == r)) return Standing::pending;
  switch (last->result) {
    case api::OperationResult::succeeded:
    case api::OperationResult::superseded: return Standing::pending;
    case api::OperationResult::lost:
      return excused ? Standing::excused : last->end_time < window.lost_since ? Standing::sick : Standing::lost;
    case api::OperationResult::failed: break;
  }
  if (excused) return Standing::excused;
  return last->end_time < window.since ? Standing::pending : Standing::failed;
}

}  // namespace endstate::machine_set
