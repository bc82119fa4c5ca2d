#include "controllers/machine_set/status.hpp"

#include <algorithm>

#include "controllers/common/cut.hpp"

namespace endstate::machine_set {
namespace {

using api::ConditionStatus, api::RolloutPhase;
using std::chrono::seconds;

class Writer {
 public:
  Writer(const Snapshot& s, const Revisions& revisions, const Facts& facts, Course course, const Verdicts& verdicts)
      : s_(s), revisions_(revisions), facts_(facts), course_(std::move(course)), v_(verdicts), replicas_(api::replicas(s.set->spec)) {}

  NewStatus run() {
    auto& st = out_.status;
    st.observed_generation = s_.set->metadata.generation;
    st.replicas = facts_.total();
    st.ready_replicas = facts_.ready;
    st.available_replicas = facts_.available;
    st.up_to_date_replicas =
        std::count_if(facts_.live.begin(), facts_.live.end(), [&](const Fact& f) { return f.settled && f.revision == revisions_.update; });
    st.current_revision = course_.current;
    st.update_revision = revisions_.update;
    st.rejected_revisions = std::move(course_.rejected);
    st.rollout = std::move(course_.status);
    st.rollout->message = cut(st.rollout->message, 1024);
    st.rollout->blocked_by = blocked_by();
    if (const auto& old = s_.set->status.rollout; old && old->blocked_by && !st.rollout->blocked_by)
      st.rollout->last_progress_time = s_.now;
    st.selector = selector_text(s_.set->spec.selector.match_labels);
    st.history = std::move(course_.history);
    st.handled = std::move(course_.handled);
    deadline();
    conditions();
    return std::move(out_);
  }

 private:
  bool moving() const {
    const auto phase = out_.status.rollout->phase;
    return phase == RolloutPhase::progressing || phase == RolloutPhase::rolling_back;
  }

  // Our own maxUnavailable, what the guard said to the first machine that waits, or what the course waits for.
  std::optional<api::BlockedBy> blocked_by() const {
    std::optional<Problem> problem = v_.refusal ? v_.refusal : v_.moves.held;
    if (!problem && moving()) problem = refusal();
    if (!problem && course_.stalled && !course_.stalled->kind.empty()) problem = course_.stalled;
    if (!problem && course_.waiting && !course_.waiting->kind.empty()) problem = course_.waiting;
    if (!problem) return std::nullopt;
    api::BlockedBy out{
        .kind = problem->kind, .name = problem->name, .reason = problem->reason, .message = cut(problem->message, 1024), .since = s_.now};
    const auto& old = s_.set->status.rollout;
    if (old && old->blocked_by && old->blocked_by->kind == out.kind && old->blocked_by->name == out.name &&
        old->blocked_by->reason == out.reason)
      out.since = old->blocked_by->since;
    return out;
  }
  std::optional<Problem> refusal() const {
    for (const auto& f : facts_.live) {
      const auto& said = f.machine->status.blocked_by;
      if (!said || f.in_flight || f.settled || !f.born) continue;
      return Problem{said->reason, "machine " + f.machine->metadata.name.str() + ": " + said->message.str(), said->kind, said->name};
    }
    return std::nullopt;
  }

  // Grants without progress. Not while a budget is closed: that isn't the rollout's fault, and status says so anyway.
  void deadline() {
    const auto& st = *out_.status.rollout;
    if (v_.paused || v_.deleting || !moving() || (st.blocked_by && !(st.blocked_by->kind == "MachineSet"))) return;
    const auto limit = api::progress_deadline(s_.set->spec.rollout);
    const auto waited = s_.since(st.last_progress_time);
    if (waited < limit) {
      out_.again = limit - waited;
      return;
    }
    late_ = Problem{api::reason::progress_deadline_exceeded,
                    "no machine got on for " + reconcile::format_duration(limit) + ": " +
                        (st.blocked_by ? st.blocked_by->message.str() : st.message.str()),
                    {},
                    {}};
  }

  std::optional<Problem> stalled() const {
    if (v_.blocked) return v_.blocked;
    if (course_.stalled) return course_.stalled;
    if (v_.replicas.problem) return v_.replicas.problem;
    return late_;
  }

  void conditions() {
    const auto problem = stalled();
    const auto phase = out_.status.rollout->phase;
    const bool scaling_up = facts_.live_count()<replicas_, scaling_down = facts_.total()> replicas_;
    const bool ready = !v_.deleting && phase == RolloutPhase::complete && !course_.waiting && facts_.live_count() == replicas_ &&
                       !scaling_down && facts_.available >= replicas_ && out_.status.observed_generation == s_.set->metadata.generation;
    const auto why = not_ready(problem, scaling_up, scaling_down);
    set("Ready", ready, ready ? Problem{api::reason::ready, count_text(), {}, {}} : why);
    const bool works = !ready && !problem && !v_.paused;
    set("Reconciling", works, works ? why : Problem{ready ? Text(api::reason::ready) : why.reason, "", {}, {}});
    set("Stalled", problem.has_value(), problem.value_or(Problem{api::reason::not_stalled, "", {}, {}}));
    const bool enough = facts_.available >= replicas_ - allowed_unavailable(s_.set->spec.rollout, replicas_);
    set("Available", enough, {enough ? api::reason::available : api::reason::not_available, count_text(), {}, {}});
    rolling_out(phase);
    set("ScalingUp", scaling_up, {scaling_up ? api::reason::scaling_up : api::reason::not_scaling_up, scale_text(scaling_up), {}, {}});
    set("ScalingDown", scaling_down,
        {scaling_down ? api::reason::scaling_down : api::reason::not_scaling_down, scale_text(scaling_down), {}, {}});
    const bool new_ = out_.status.up_to_date_replicas == facts_.live_count() && facts_.live_count() >= replicas_;
    set("UpToDate", new_, {new_ ? api::reason::up_to_date : api::reason::not_up_to_date, "", {}, {}});
    if (v_.refusal) set("ReplicaFailure", true, *v_.refusal);
    if (v_.paused) set("Paused", true, {api::reason::paused, paused_text(), {}, {}});
  }

  Problem not_ready(const std::optional<Problem>& problem, bool scaling_up, bool scaling_down) const {
    const auto& st = *out_.status.rollout;
    if (v_.deleting) return {api::reason::deleting, std::to_string(facts_.total()) + " machines are left", {}, {}};
    if (v_.paused) return {api::reason::paused, paused_text(), {}, {}};
    if (problem) return *problem;
    if (v_.refusal) return *v_.refusal;
    if (course_.waiting) return *course_.waiting;
    if (st.phase == RolloutPhase::rolling_back) return {api::reason::rolling_back, st.message.str(), {}, {}};
    if (st.phase != RolloutPhase::complete) return {api::reason::rolling_out, st.message.str(), {}, {}};
    if (scaling_up) return {api::reason::scaling_up, count_text(), {}, {}};
    if (scaling_down) return {api::reason::scaling_down, scale_text(true), {}, {}};
    return {api::reason::not_available, count_text(), {}, {}};
  }

  void rolling_out(RolloutPhase phase) {
    const auto& st = *out_.status.rollout;
    if (phase == RolloutPhase::complete || phase == RolloutPhase::rolled_back)
      return set("RollingOut", false,
                 {phase == RolloutPhase::complete ? api::reason::not_rolling_out : api::reason::rolled_back, st.message.str(), {}, {}});
    std::string_view reason = api::reason::rolling_out;
    if (phase == RolloutPhase::rolling_back)
      reason = api::reason::rolling_back;
    else if (course_.waiting)
      reason = course_.waiting->reason;
    else if (course_.stalled)
      reason = course_.stalled->reason;
    set("RollingOut", true, {reason, st.message.str(), {}, {}});
  }

  std::string count_text() const {
    return std::to_string(facts_.available) + " of " + std::to_string(replicas_) + " machines are available";
  }
  std::string scale_text(bool scaling) const {
    if (!scaling) return {};
    return std::to_string(facts_.total()) + " machines, " + std::to_string(facts_.deleting.size()) + " of them going; " +
           std::to_string(replicas_) + " are wanted";
  }
  std::string paused_text() const {
    return s_.cluster.paused ? "its Cluster is paused" : "spec.paused or the annotation endstate.dev/paused says so";
  }

  void set(std::string_view type, bool status, Problem problem) {
    const auto* old = reconcile::find_condition(s_.set->status.conditions, type);
    const auto value = status ? ConditionStatus::true_ : ConditionStatus::false_;
    api::Condition c{.type = type,
                     .status = value,
                     .reason = problem.reason,
                     .message = cut(problem.message, 1024),
                     .last_transition_time = old && old->status == value ? old->last_transition_time : s_.now,
                     .observed_generation = s_.set->metadata.generation};
    reconcile::set_condition(out_.status.conditions, std::move(c), s_.now);
  }

  const Snapshot& s_;
  const Revisions& revisions_;
  const Facts& facts_;
  Course course_;
  const Verdicts& v_;
  const std::int64_t replicas_;
  std::optional<Problem> late_;
  NewStatus out_;
};

}  // namespace

NewStatus plan_status(const Snapshot& s, const Revisions& revisions, const Facts& facts, Course course, const Verdicts& verdicts) {
  return Writer(s, revisions, facts, std::move(course), verdicts).run();
}

Text selector_text(const api::Labels& match_labels) {
  std::string out;
  for (const auto& [key, value] : match_labels) {
    if (!out.empty()) out += ',';
    out.append(key.view()).append("=").append(value.view());
  }
  return out;
}

}  // namespace endstate::machine_set
