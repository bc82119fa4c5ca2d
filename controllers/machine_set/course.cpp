#include "controllers/machine_set/course.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "apis/v1alpha1/replica_failure.hpp"
#include "controllers/common/cut.hpp"
#include "controllers/machine_set/analysis.hpp"
#include "controllers/machine_set/audit.hpp"
#include "controllers/machine_set/preflight.hpp"
#include "controllers/machine_set/refusals.hpp"
#include "controllers/machine_set/verbs.hpp"

namespace endstate::machine_set {
namespace {

using api::ChangeResult, api::RolloutPhase;
using std::chrono::seconds;

constexpr std::size_t max_rejected = 20;  // of the API's list

// How the machines that have a revision are doing with it.
struct Tally {
  std::array<std::int64_t, 6> by_standing{};
  std::int64_t at = 0;           // live machines that have it
  std::int64_t restarts = 0;     // of their hosts, since they got it
  const Fact* failed = nullptr;  // the first one, for messages
  const Fact* lost = nullptr;
  std::int64_t operator[](Standing x) const { return by_standing[static_cast<std::size_t>(x)]; }
  std::int64_t testifying() const { return at - (*this)[Standing::excused]; }
};

// One pass of the state machine. Functions are short on purpose: each is one transition.
class Planner {
 public:
  Planner(const Snapshot& s, const Revisions& revisions, const Facts& facts, const std::optional<Problem>& blocked)
      : s_(s),
        rollout_(s.set->spec.rollout),
        revisions_(revisions),
        facts_(facts),
        blocked_(blocked),
        update_(revisions.update),
        replicas_(api::replicas(s.set->spec)),
        steps_(resolve_steps(rollout_, replicas_)),
        refusal_(refusal_of(s)) {
    c_.status = s.set->status.rollout.value_or(api::RolloutStatus{});
    c_.current = revisions.current;
    c_.rejected = s.set->status.rejected_revisions;
    c_.history = s.set->status.history;
    c_.handled = s.set->status.handled;
    c_.new_machines = c_.current;
  }

  Course run() {
    heed_clock();
    skip_pause();
    const bool asked = apply_verbs(s_, revisions_, steps_, c_) == Ask::reject;
    const auto before = c_.status;
    if (c_.current == update_)
      restore();
    else if (c_.is_rejected(update_)) {
      // A person says so: whatever onFailure allows.
      if (asked && c_.status.phase == RolloutPhase::paused) c_.status.phase = RolloutPhase::rolling_back;
      back();
    } else if (asked) {
      begin_unless_begun();
      reject(api::reason::rejected_by_user, "somebody rejected it", true);
    } else {
      forward();
    }
    count_permits();
    note_progress(before);
    return std::move(c_);
  }

 private:
  // The clock was set back: what began in the future began now. Else nothing would be over before that time comes again, and failures from
  // until then wouldn't count.
  void heed_clock() {
    const auto not_after_now = [&](WallTime& t) { t = std::min(t, s_.now); };
    auto& st = c_.status;
    for (auto* t : {&st.start_time, &st.step_start_time, &st.pause_start_time, &st.last_progress_time}) not_after_now(*t);
    if (st.analysis)
      for (auto& p : st.analysis->probes) not_after_now(p.start_time);
  }

  // The set, or its cluster, was paused until now: the clocks that were running stood still meanwhile. Since when it was, its condition
  // tells; the status that is written now has it no more.
  void skip_pause() {
    const auto* paused = reconcile::find_condition(s_.set->status.conditions, api::condition::paused);
    if (!paused || paused->status != api::ConditionStatus::true_ || paused->last_transition_time > s_.now) return;
    const auto pause = s_.now - paused->last_transition_time;
    auto& st = c_.status;
    if (st.pause_start_time != WallTime{}) st.pause_start_time += pause;
    if (st.last_progress_time != WallTime{}) st.last_progress_time += pause;
    if (!st.analysis) return;
    for (auto& p : st.analysis->probes)
      if (p.start_time != WallTime{} && p.end_time == WallTime{}) p.start_time += pause;
  }

  // ---- ways ----

  void restore() {
    c_.way = Course::Way::restore;
    c_.everyone_back = true;
    const auto off = count_off();
    auto& st = c_.status;
    if (!(st.revision == update_)) {
      const bool was_under_way = !st.revision.empty() && st.phase != RolloutPhase::complete && st.phase != RolloutPhase::rolled_back;
      close_history(ChangeResult::superseded, "the template went back to revision " + update_.str());
      // Nothing went through before: its machines (adopted ones, or the status was lost) are brought to it, and don't go back.
      const auto begin = st.revision.empty() ? RolloutPhase::progressing : RolloutPhase::rolling_back;
      start(off > 0 ? begin : RolloutPhase::complete);
      if (was_under_way || off > 0) note(false, "RolloutReverted", "back to revision " + update_.str());
    }
    const auto tally = count(update_);
    st.step = {};
    set_counts(tally, tally.at);
    st.target = replicas_;
    if (off > 0 && st.phase == RolloutPhase::complete) st.phase = RolloutPhase::progressing;  // another hand edited machines
    if (st.phase == RolloutPhase::paused) st.phase = RolloutPhase::progressing;
    if (cant_make())
      st.phase = st.phase == RolloutPhase::complete ? RolloutPhase::progressing : st.phase;
    else if (off == 0 && tally[Standing::pending] == 0)
      st.phase = RolloutPhase::complete;
    st.message = st.phase == RolloutPhase::complete ? Text()
                 : off == 0 && cant_make()
                     ? Text(refusal_->message)
                     : Text(std::to_string(off) + " machines don't have revision " + update_.str() + " yet and go back to it");
  }

  void back() {
    c_.way = Course::Way::back;
    auto& st = c_.status;
    const auto* why = rejection();
    if (!(st.revision == update_)) {  // an old template again, and a rejected one: it stays rejected
      close_history(ChangeResult::superseded, "the template went back to revision " + update_.str() + ", which is rejected");
      start(RolloutPhase::rolling_back);
    }
    const auto tally = count(update_);
    set_counts(tally, tally.at);
    st.target = 0;
    if (st.phase == RolloutPhase::paused && may_roll_back(tally.at)) st.phase = RolloutPhase::rolling_back;
    if (st.phase == RolloutPhase::paused) {
      const bool policy = api::action(rollout_.on_failure) == api::FailureAction::pause;
      const auto message =
          policy ? "onFailure says Pause: edit the template, or annotate endstate.dev/reject or endstate.dev/retry: " + update_.str()
                 : "going back would touch " + std::to_string(tally.at) +
                       " machines, more than onFailure.maxMachines: annotate endstate.dev/reject: " + update_.str() +
                       " to go back all the same, or endstate.dev/retry";
      st.message = "revision " + update_.str() + " is rejected (" + why->message.str() + "); " + message;
      c_.stalled = Problem{policy ? api::reason::revision_rejected : api::reason::rollback_too_large, st.message.str(), {}, {}};
      return;
    }
    go_back(*why);
  }

  void go_back(const api::RejectedRevision& why) {
    auto& st = c_.status;
    if (!revisions_.find(c_.current)) {
      st.message = "revision " + c_.current.str() + " is gone: nothing to go back to; edit the template";
      c_.stalled = Problem{api::reason::revision_not_found, st.message.str(), "ControllerRevision", c_.current};
      return;
    }
    c_.everyone_back = true;
    const auto off = count_off();
    if (off > 0)
      st.phase = RolloutPhase::rolling_back;
    else if (st.phase != RolloutPhase::rolled_back && count(c_.current)[Standing::pending] == 0) {
      st.phase = RolloutPhase::rolled_back;
      close_history(ChangeResult::rolled_back, why.message.str());
      note(true, "RolledBack", "revision " + update_.str() + asked_by() + " is rejected; every machine has revision " + c_.current.str());
    }
    st.message = "revision " + update_.str() + " was rejected at step " + why.step.str() + ": " + why.message.str() +
                 (st.phase == RolloutPhase::rolled_back ? ". Edit the template, or annotate endstate.dev/retry: " + update_.str()
                                                        : ". " + std::to_string(off) + " machines are on the way back");
    // On the way it is reconciling; once it is back somebody must say what is to be.
    Problem problem{
        st.phase == RolloutPhase::rolled_back ? api::reason::revision_rejected : api::reason::rolling_back, st.message.str(), {}, {}};
    (st.phase == RolloutPhase::rolled_back ? c_.stalled : c_.waiting) = std::move(problem);
  }

  void forward() {
    c_.way = Course::Way::forward;
    begin_unless_begun();
    identify();
    if (replicas_ == 0 && facts_.live.empty()) return complete();  // nothing to try it on
    auto& st = c_.status;
    if (blocked_) return wait(RolloutPhase::paused, *blocked_, false);
    if (st.step.empty()) {
      if (auto before_us = waits_for_set()) return wait(RolloutPhase::paused, *before_us, waits_in_a_ring());
      if (!cleared()) return;
      enter(0, count(update_).at);
    }
    const auto at = locate_step(steps_, st.step, st.updated);
    if (!(steps_[at].name == st.step)) enter(at, count(update_).at);
    auto hash = hash_of_steps(rollout_);
    steps_edited_ = !st.steps_hash.empty() && !(st.steps_hash == hash);
    st.steps_hash = hash;
    for (std::size_t i = at; i < steps_.size(); ++i) {
      if (i != at) enter(i, st.updated);
      if (!step(steps_[i], i)) return;
    }
  }

  // The pre-flight. True: nothing is in the way of the first machine.
  bool cleared() {
    const auto* to = revisions_.find(update_);
    if (!to) return false;  // the template's own is always there
    auto look = plan_preflight(s_, revisions_.find(c_.current), *to);
    auto& st = c_.status;
    const auto before = std::exchange(st.preflight, std::move(look.checks));
    for (auto& q : look.queries) c_.queries.push_back(std::move(q));
    if (before.empty())
      for (const auto& name : look.unknown)
        note(true, api::reason::unknown_preflight_check,
             "the annotation " + std::string(api::annotation::skip_preflight) + " names " + name +
                 ", which is no pre-flight check: it skips nothing. The checks are " + preflight_check_names());
    if (look.problem) {
      const bool failed = look.problem->reason == api::reason::preflight_failed;
      look_again(std::chrono::ceil<seconds>(look.again));
      wait(RolloutPhase::paused, *look.problem, look.needs_somebody);
      if (failed && !any_failed(before)) note(true, api::reason::preflight_failed, look.problem->message);
      return false;
    }
    if (!look.skipped.empty()) {
      std::string names;
      for (const auto check : look.skipped) names.append(names.empty() ? "" : ", ").append(reconcile::name_of(check));
      if (!c_.history.empty() && c_.history.back().revision == update_) c_.history.back().skipped_preflight = look.skipped;
      note(false, "PreflightSkipped", "somebody had these pre-flight checks of revision " + update_.str() + " skipped: " + names);
    }
    return true;
  }
  static bool any_failed(const std::vector<api::PreflightStatus>& checks) {
    return std::any_of(checks.begin(), checks.end(), [](const auto& c) { return c.result == api::PreflightResult::failed; });
  }

  // True: the step is passed and there is another one.
  bool step(const Step& step, std::size_t index) {
    auto& st = c_.status;
    const auto tally = count(update_);
    const bool shrinks = rollout_.steps.empty() && api::partition(rollout_) > 0;  // only a partition takes machines back
    const auto target = shrinks ? step.target : std::max(step.target, std::min(tally.testifying(), replicas_));
    set_counts(tally, target);
    c_.first_step = index == 0 && !step.last;
    c_.last_step = step.last;
    if (step.last) c_.new_machines = update_;
    if (tally[Standing::failed] > step.max_failed) {
      reject(failure_reason(tally), failure_message(tally), false);
      return false;
    }
    if (tally[Standing::lost] > 0 && tally[Standing::failed] + tally[Standing::lost] > step.max_failed) {
      wait(RolloutPhase::paused, lost_problem(tally), true);
      return false;
    }
    if (!healthy(step, tally)) return false;
    if (is_refused() && s_.since(std::max(st.last_progress_time, refused_since(s_))) >= api::progress_deadline(rollout_)) {
      reject(refusal_->reason.view(),
             "the API server has refused it for " + reconcile::format_duration(api::progress_deadline(rollout_)) + ": " + refusal_->message,
             false);
      return false;
    }
    // A machine that can't testify takes no place of a step, so that another one does; but what a partition keeps, it keeps.
    const auto places = step.last ? facts_.live_count() : target;
    c_.need = std::max<std::int64_t>(0, places - (step.last || shrinks ? tally.at : tally.testifying()));
    c_.quota = step.last ? std::max(replicas_, tally.at) : std::min(replicas_, target + (shrinks ? 0 : tally[Standing::excused]));
    c_.excess = shrinks ? std::max<std::int64_t>(0, tally.at - target) : 0;
    st.phase = RolloutPhase::progressing;
    st.message = "step " + step.name.str() + ": " + std::to_string(tally[Standing::good]) + " of " + std::to_string(target) +
                 " machines have revision " + update_.str() + " and are available";
    if (!satisfied(step, tally)) {
      if (tally.at == 0 && c_.need > 0 && !step.last && !candidates_remain())
        c_.waiting =
            Problem{api::reason::no_machine_to_update,
                    "step " + step.name.str() + ": no machine with a host that answers is there to try revision " + update_.str() + " on",
                    {},
                    {}};
      return false;
    }
    if (st.pause_start_time == WallTime{}) st.pause_start_time = s_.now;
    if (!gate(step)) return false;
    return pass(step, index);
  }

  // Machines are missing, and the API server refuses them.
  bool cant_make() const { return refusal_ && refusal_->reason == api::reason::failed_create && facts_.live_count() < replicas_; }
  // What this rollout moves by. A quota that keeps more machines away is no trouble of an in-place revision: that waits for room.
  bool is_refused() const {
    if (!refusal_) return false;
    const bool in_place = api::type(rollout_) == api::RolloutType::in_place;
    return (refusal_->reason == api::reason::failed_update) == in_place;
  }

  bool satisfied(const Step& step, const Tally& tally) const {
    if (step.last && cant_make()) return false;
    if (tally[Standing::pending] > 0 || c_.excess > 0) return false;
    if (c_.need > 0 && (step.last || candidates_remain())) return false;
    if (api::type(rollout_) == api::RolloutType::recreate && facts_.live_count() - tally.at > replicas_ - c_.quota) return false;
    // As large a share of the updated machines may be ill as of all machines may: more is a sign, less is a fleet's normal state.
    const auto ill = allowed_unavailable(rollout_, replicas_) * tally.at / std::max<std::int64_t>(1, replicas_);
    return tally[Standing::sick] <= ill && (tally[Standing::good] > 0 || step.target == 0);
  }

  // Before the last step only machines that can testify are taken: with a host, not silent, not paused.
  bool candidates_remain() const {
    if (api::type(rollout_) == api::RolloutType::recreate) return true;
    return std::any_of(facts_.live.begin(), facts_.live.end(),
                       [&](const Fact& f) { return !(f.revision == update_) && f.reachable && !f.paused; });
  }

  // The pause and the analysis of a step whose machines are well. True: go on.
  bool gate(const Step& step) {
    auto& st = c_.status;
    if (!step.spec || st.promoted_step == step.name) return true;
    if (step.spec->pause && !pause_over(step)) return false;
    if (c_.is_rejected(update_)) return false;
    return !has_analysis(*step.spec) || analysis_over(step);
  }

  bool analysis_over(const Step& step) {
    auto& st = c_.status;
    if (!st.analysis) st.analysis.emplace();
    auto found = advance_analysis(s_, *step.spec, update_, steps_edited_, *st.analysis);
    if (found.again) look_again(*found.again);
    if (found.result == AnalysisPlan::Result::passed) return true;
    if (found.result == AnalysisPlan::Result::failed) {
      reject(found.reason.view(), found.message, false);
      return false;
    }
    for (auto& q : found.queries) c_.queries.push_back(std::move(q));
    for (auto& a : found.actions) c_.actions.push_back(std::move(a));
    wait(RolloutPhase::paused, {found.reason, std::move(found.message), found.kind, found.name},
         found.result == AnalysisPlan::Result::inconclusive);
    return false;
  }

  // What the updated machines themselves say, from the step's beginning on.
  bool healthy(const Step& step, const Tally& tally) {
    if (!step.spec || !step.spec->analysis || !step.spec->analysis->health) return true;
    auto& st = c_.status;
    if (!st.analysis) st.analysis.emplace();
    st.analysis->step = step.name;
    st.analysis->unhealthy = tally[Standing::sick];
    st.analysis->restarts = tally.restarts;
    const auto bad = judge_health(*step.spec, tally[Standing::sick], tally.at, tally.restarts);
    if (bad) reject(api::reason::health_degraded, "step " + step.name.str() + ": " + *bad, false);
    return !bad;
  }

  bool pause_over(const Step& step) {
    const auto& pause = *step.spec->pause;
    const auto waited = s_.since(c_.status.pause_start_time);
    const bool promotion = pause.type == api::PauseType::promotion;
    const auto limit = promotion ? api::promotion_timeout(pause) : pause.seconds.value_or(seconds(0));
    if (waited >= limit) {
      if (promotion) reject(api::reason::promotion_timed_out, "nobody promoted it within " + reconcile::format_duration(limit), false);
      return !promotion;
    }
    look_again(limit - waited);
    const auto what = promotion ? "waits for the annotation endstate.dev/promote: " + update_.str() + "/" + step.name.str()
                                : "pauses until " + reconcile::format_rfc3339(s_.now + limit - waited);
    wait(RolloutPhase::paused,
         {promotion ? api::reason::waiting_for_promotion : api::reason::step_pause, "step " + step.name.str() + " " + what, {}, {}}, false);
    return false;
  }

  bool pass(const Step& step, std::size_t index) {
    record_step("Passed");
    if (step.last) {
      complete();
      return false;
    }
    if (index + 1 < steps_.size()) return true;
    wait(RolloutPhase::paused,
         {api::reason::partition_reached,
          "the partition keeps " + std::to_string(replicas_ - step.target) + " machines from revision " + update_.str(),
          {},
          {}},
         false);
    return false;
  }

  // ---- transitions ----

  void start(RolloutPhase phase) {
    c_.status = {};
    c_.status.revision = update_;
    c_.status.phase = phase;
    c_.status.start_time = c_.status.last_progress_time = s_.now;
  }

  void begin_unless_begun() {
    if (c_.status.revision == update_) return;
    close_history(ChangeResult::superseded, "revision " + update_.str() + " took its place");
    start(RolloutPhase::progressing);
    api::ChangeRecord record;
    record.revision = update_;
    record.from = c_.current;
    record.start_time = s_.now;
    if (const auto* to = revisions_.find(update_)) record.change = Text(change_text(revisions_.find(c_.current), *to));
    note(false, "RolloutStarted", "from revision " + c_.current.str() + " to " + update_.str() + ": " + record.change.str());
    c_.history.push_back(std::move(record));
    trim_history(c_.history);
  }

  // The record of the change that is under way; null: there is none.
  api::ChangeRecord* record() {
    if (c_.history.empty()) return nullptr;
    auto& last = c_.history.back();
    return last.revision == update_ && last.result == ChangeResult::none ? &last : nullptr;
  }
  // Who asked for it: known a moment after it has begun, as long as nobody edits again.
  void identify() {
    auto* change = record();
    if (!change || !change->field_manager.empty() || s_.now - change->start_time > ask_editor_for) return;
    if (!s_.editor) return c_.queries.push_back(ask_editor(*s_.set));
    if (s_.editor->manager.empty()) return;
    change->field_manager = s_.editor->manager;
    change->request_time = s_.editor->time;
    note(false, "RolloutRequested",
         "revision " + update_.str() + " was asked for by " + change->field_manager.str() + " at " +
             reconcile::format_rfc3339(change->request_time));
  }
  // Grants are counted while their traces stand: a machine that went back since names another revision now.
  void count_permits() {
    if (auto* change = record()) change->permits = std::max(change->permits, permits_seen(facts_, update_, change->start_time));
  }
  std::string asked_by() const { return c_.history.empty() || !(c_.history.back().revision == update_) ? "" : by_whom(c_.history.back()); }

  void enter(std::size_t index, std::int64_t reached) {
    auto& st = c_.status;
    st.step = steps_[index].name;
    st.step_start_time = s_.now;
    st.pause_start_time = {};
    st.analysis.reset();
    st.last_progress_time = s_.now;
    note(false, "StepStarted",
         "step " + st.step.str() + " of revision " + update_.str() + ", " + std::to_string(reached) + " machines have it" + asked_by());
  }

  void complete() {
    c_.status.phase = RolloutPhase::complete;
    c_.status.step = {};
    c_.status.analysis.reset();
    c_.status.message = {};
    c_.current = update_;
    c_.new_machines = update_;
    c_.need = 0;
    count_permits();
    note(false, "RolloutComplete", "every machine has revision " + update_.str() + asked_by());
    close_history(ChangeResult::complete, {});
  }

  void reject(std::string_view reason, const std::string& what, bool by_hand) {
    auto& st = c_.status;
    const auto message = what + brings();
    c_.need = c_.excess = c_.quota = 0;
    c_.new_machines = c_.current;
    if (c_.rejected.size() >= max_rejected) c_.rejected.erase(c_.rejected.begin());
    c_.rejected.push_back({.revision = update_,
                           .step = st.step,
                           .reason = reason,
                           .message = cut(message, 512),  // 20 of them must leave room in the status
                           .time = s_.now});
    note(true, "RevisionRejected", "revision " + update_.str() + asked_by() + " at step " + st.step.str() + ": " + message);
    count_permits();
    record_step("Rejected");
    close_history(ChangeResult::rejected, message);
    st.phase = by_hand || may_roll_back(count(update_).at) ? RolloutPhase::rolling_back : RolloutPhase::paused;
    st.pause_start_time = {};
    back();
  }

  bool may_roll_back(std::int64_t machines) const {
    const auto& on_failure = rollout_.on_failure;
    if (api::action(on_failure) == api::FailureAction::pause) return false;
    return !on_failure.max_machines || machines <= api::scaled(*on_failure.max_machines, replicas_, true);
  }

  void wait(RolloutPhase phase, Problem problem, bool needs_somebody) {
    auto& st = c_.status;
    st.phase = phase;
    st.message = problem.message;
    c_.need = 0;
    (needs_somebody ? c_.stalled : c_.waiting) = std::move(problem);
  }

  // What progressDeadlineSeconds counts from. The end of a pause is a change of phase; the end of a closed budget is plan_status's.
  void note_progress(const api::RolloutStatus& before) {
    auto& st = c_.status;
    if (st.updated != before.updated || st.failed != before.failed || st.lost != before.lost || !(st.step == before.step) ||
        st.phase != before.phase || !(st.revision == before.revision))
      st.last_progress_time = s_.now;
  }

  // ---- what it reads ----

  Tally count(const Text& revision) const {
    Tally tally;
    const Window window{.since = c_.status.start_time,
                        .lost_since = c_.status.step_start_time,
                        .creations = api::type(rollout_) == api::RolloutType::recreate};
    for (const auto& f : facts_.live) {
      if (!(f.revision == revision)) continue;
      ++tally.at;
      if (f.settled) tally.restarts += f.machine->status.restarts;
      const auto x = standing(f, revision, window);
      ++tally.by_standing[static_cast<std::size_t>(x)];
      if (x == Standing::failed && !tally.failed) tally.failed = &f;
      if (x == Standing::lost && !tally.lost) tally.lost = &f;
    }
    return tally;
  }

  std::int64_t count_off() const {
    return std::count_if(facts_.live.begin(), facts_.live.end(), [&](const Fact& f) { return !(f.revision == c_.current); });
  }

  void set_counts(const Tally& tally, std::int64_t target) {
    auto& st = c_.status;
    st.updated = tally[Standing::good];
    st.failed = tally[Standing::failed];
    st.lost = tally[Standing::lost];
    st.target = target;
  }

  // What the revision changes, for people: the failure's own words seldom name the version.
  std::string brings() const {
    const auto *to = revisions_.find(update_), *from = revisions_.find(c_.current);
    std::string out;
    if (!to || !from) return out;
    const auto& had = from->template_.spec.packages;
    for (const auto& slot : to->template_.spec.packages)
      if (std::find(had.begin(), had.end(), slot) == had.end())
        out.append(out.empty() ? " (it brings " : ", ").append(slot.name.view()).append(" ").append(slot.version_ref.name.view());
    if (!out.empty()) out.append(")");
    return out;
  }

  const api::RejectedRevision* rejection() const {
    for (const auto& r : c_.rejected)
      if (r.revision == update_) return &r;
    return nullptr;
  }

  static std::string_view failure_reason(const Tally& tally) {
    const auto& reason = tally.failed->machine->status.last_operation->reason;
    return reason.empty() ? api::reason::machine_failed : reason.view();
  }
  static std::string failure_message(const Tally& tally) {
    const auto& m = *tally.failed->machine;
    const auto& message = m.status.last_operation->message;
    std::string text = "machine " + m.metadata.name.str() + " failed";
    if (!message.empty()) text.append(": ").append(message.view().substr(0, 512));
    if (tally[Standing::failed] > 1) text.append(" (and ").append(std::to_string(tally[Standing::failed] - 1)).append(" more)");
    return text;
  }
  Problem lost_problem(const Tally& tally) const {
    const auto& name = tally.lost->machine->metadata.name;
    return {api::reason::machines_lost,
            std::to_string(tally[Standing::lost]) + " machines were lost with their hosts while they got revision " + update_.str() +
                ", the first is " + name.str() + ": repair or delete them, or annotate endstate.dev/promote: " + update_.str(),
            "Machine", name};
  }

  // The chain of those before us comes back to us, and none of them is through: nobody would ever begin.
  bool waits_in_a_ring() const {
    if (!s_.after) return false;
    const auto is_through = [](const Ref<api::MachineSet>& set) {
      return !set->status.rollout || set->status.rollout->phase == RolloutPhase::complete;
    };
    const auto& last = s_.after_that.empty() ? s_.after : s_.after_that.back();
    const auto& back_to = last->spec.rollout.after;
    return back_to && back_to->name == s_.set->metadata.name && !is_through(s_.after) &&
           std::none_of(s_.after_that.begin(), s_.after_that.end(), is_through);
  }
  std::string ring_text() const {
    if (s_.after_that.empty())
      return "this set and MachineSet " + s_.after->metadata.name.str() + " wait for each other: take rollout.after out of one of them";
    std::string names = s_.after->metadata.name.str();
    for (const auto& set : s_.after_that) names += " for " + set->metadata.name.str();
    return "MachineSets wait for each other in a ring: this one for " + names + " for this one; take rollout.after out of one of them";
  }
  // The other set is Complete, and wherever both have a slot, at our version.
  std::optional<Problem> waits_for_set() const {
    if (!rollout_.after) return std::nullopt;
    const auto& name = rollout_.after->name;
    const auto problem = [&](const std::string& why) { return Problem{api::reason::waiting_for_set, why, "MachineSet", name}; };
    if (name == s_.set->metadata.name) return problem("rollout.after names this set itself");
    if (!s_.after) return problem("MachineSet " + name.str() + ", which rollout.after names, doesn't exist");
    const auto& other = *s_.after;
    const auto& st = other.status;
    const bool is_complete = st.rollout && st.rollout->phase == RolloutPhase::complete && st.current_revision == st.update_revision &&
                             st.observed_generation == other.metadata.generation;
    if (!is_complete && waits_in_a_ring()) return problem(ring_text());
    if (!is_complete) return problem("MachineSet " + name.str() + " isn't Complete yet");
    for (const auto& slot : s_.set->spec.template_.spec.packages)
      for (const auto& theirs : other.spec.template_.spec.packages)
        if (theirs.name == slot.name && !(theirs.version_ref == slot.version_ref))
          return problem("MachineSet " + name.str() + " has " + theirs.version_ref.name.str() + " in slot " + slot.name.str() + ", not " +
                         slot.version_ref.name.str());
    return std::nullopt;
  }

  // ---- what it leaves behind ----

  void look_again(seconds after) {
    if (!c_.again || after < *c_.again) c_.again = after;
  }
  void note(bool warning, std::string_view reason, const std::string& text) {
    c_.events.push_back({.warning = warning, .reason = reason, .action = event_action(c_.status), .note = cut(text, 1024)});
  }
  // A rejected change ends twice: when it is rejected, and when everything is back.
  void close_history(ChangeResult result, std::string_view why) {
    if (c_.history.empty()) return;
    auto& last = c_.history.back();
    if (last.result != ChangeResult::none && !(last.result == ChangeResult::rejected && result == ChangeResult::rolled_back)) return;
    if (result == ChangeResult::superseded) record_step("Superseded");
    last.result = result;
    last.message = cut(why, 1024);
    last.end_time = s_.now;
    trim_history(c_.history);
    c_.metrics.push_back({.name = "rollouts_ended_total",
                          .help = "Changes of MachineSets by their end; one that is rejected and goes back ends twice.",
                          .label = "result",
                          .value = reconcile::name_of(result),
                          .duration = std::nullopt});
    c_.metrics.push_back({.name = "rollout_duration_seconds",
                          .help = "From the beginning of a change to its end.",
                          .label = "result",
                          .value = reconcile::name_of(result),
                          .duration = last.end_time - last.start_time});
  }
  // At its end, or when the revision is rejected or superseded in it.
  void record_step(std::string_view result) {
    const auto& st = c_.status;
    if (st.step.empty() || c_.history.empty() || !(c_.history.back().revision == st.revision)) return;
    auto& steps = c_.history.back().steps;
    api::StepRecord record{
        .name = st.step, .updated = st.updated, .failed = st.failed, .start_time = c_.status.step_start_time, .end_time = s_.now};
    record_analysis(record, c_.status.analysis);
    if (!steps.empty() && steps.back().name == st.step) return;  // the partition is reached again and again
    if (steps.size() < 20) steps.push_back(record);
    c_.metrics.push_back({.name = "rollout_steps_total",
                          .help = "Steps of rollouts by how they ended.",
                          .label = "result",
                          .value = result,
                          .duration = std::nullopt});
  }

  const Snapshot& s_;
  const api::Rollout& rollout_;
  const Revisions& revisions_;
  const Facts& facts_;
  const std::optional<Problem>& blocked_;
  const Text update_;
  const std::int64_t replicas_;
  const std::vector<Step> steps_;
  const std::optional<Problem> refusal_;
  bool steps_edited_ = false;
  Course c_;
};

}  // namespace

std::string event_action(const api::RolloutStatus& at) {
  return "Rollout" + (at.revision.empty() ? "" : "/" + at.revision.str()) + (at.step.empty() ? "" : "/" + at.step.str());
}

Course plan_course(const Snapshot& s, const Revisions& revisions, const Facts& facts, const std::optional<Problem>& blocked) {
  return Planner(s, revisions, facts, blocked).run();
}

}  // namespace endstate::machine_set
