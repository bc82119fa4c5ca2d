#include "controllers/machine_set/preview.hpp"

#include <algorithm>
#include <set>

#include "controllers/machine_set/preflight.hpp"
#include "controllers/machine_set/preview_world.hpp"
#include "controllers/machine_set/steps.hpp"

namespace endstate::machine_set {
namespace {

using std::chrono::duration_cast, std::chrono::seconds;
using namespace std::chrono_literals;

constexpr std::size_t max_same_moment = 2'000;  // passes without the clock moving: 100 edits each
constexpr int max_idle = 500;                   // looks in a row that found nothing to do
constexpr auto longest_look = seconds(900);

std::string join(const std::vector<std::string>& parts) {
  std::string out;
  for (const auto& p : parts) out.append(out.empty() ? "" : "; ").append(p);
  return out;
}

// How long an analysis takes when every answer is good: its checks run side by side, its probes too.
seconds analysis_time(const api::Analysis& a) {
  seconds longest{0};
  for (const auto& check : a.checks) longest = std::max(longest, api::interval(check) * api::count(check));
  return longest;
}

std::string count_of(std::size_t n, std::string_view what) { return std::to_string(n) + " " + std::string(what) + (n == 1 ? "" : "s"); }

// What comes after a step's machines, for people.
std::string then_of(const api::RolloutStep& step) {
  std::vector<std::string> parts;
  if (step.pause && step.pause->type == api::PauseType::duration)
    parts.push_back("pauses " + reconcile::format_duration(step.pause->seconds.value_or(0s)));
  if (step.pause && step.pause->type == api::PauseType::promotion)
    parts.push_back("waits for a person to promote it, at most " + reconcile::format_duration(api::promotion_timeout(*step.pause)));
  if (step.analysis && !(step.analysis->checks.empty() && step.analysis->probes.empty()))
    parts.push_back("analysis: " + count_of(step.analysis->checks.size(), "check") + ", " +
                    count_of(step.analysis->probes.size(), "probe") + ", about " +
                    reconcile::format_duration(analysis_time(*step.analysis)));
  return join(parts);
}

// Nothing answers questions here: an analysis that passes is a pause as long as it takes.
void take_out_analysis(api::Rollout& rollout) {
  for (auto& step : rollout.steps) {
    if (!step.analysis) continue;
    const auto takes = analysis_time(*step.analysis);
    step.analysis.reset();
    if (takes == 0s) continue;
    if (!step.pause) step.pause = api::Pause{};
    if (step.pause->type == api::PauseType::duration) step.pause->seconds = step.pause->seconds.value_or(0s) + takes;
  }
}

class Player {
 public:
  Player(const PreviewInput& in, const PreviewBounds& bounds) : in_(in), bounds_(bounds), world_(in), began_(in.now) {
    out_.name_space = in.set->metadata.name_space;
    out_.set = in.set->metadata.name;
    out_.machine_time = world_.update_time();
    out_.drains = world_.drains();
    prepare();
  }

  Preview run() {
    const auto size = in_.machines.size() + static_cast<std::size_t>(std::max<std::int64_t>(0, api::replicas(in_.set->spec))) + 1;
    const auto rounds = std::min(bounds_.rounds, bounds_.work / size + 10);
    std::size_t here = 0;
    for (std::size_t round = 0;; ++round) {
      if (round >= rounds || here > max_same_moment) return cut("after " + std::to_string(round) + " rounds");
      const auto planned = plan_in_full(world_.snapshot());
      const bool moved = take(planned);
      const bool granted = permits();
      if (moved || granted || past_gate() || past_preflight()) {
        ++here;
        idle_ = 0;
        continue;
      }
      if (is_over()) break;
      if (!advance(planned.plan)) {
        stuck();
        break;
      }
      here = 0;
      if (world_.now - began_ > bounds_.length) return cut("after " + std::to_string(bounds_.length.count() / 24) + " days");
    }
    return finish();
  }

 private:
  seconds since_begin() const { return duration_cast<seconds>(world_.now - began_); }
  const api::MachineSetStatus& status() const { return world_.set.status; }
  bool forward() const {
    const auto& st = status();
    const bool rejected = std::any_of(st.rejected_revisions.begin(), st.rejected_revisions.end(),
                                      [&](const api::RejectedRevision& r) { return r.revision == st.update_revision; });
    return !(st.update_revision == st.current_revision) && !rejected;
  }
  void warn(std::string text) { out_.warnings.emplace_back(text); }
  void assume(const std::string& text) {
    const auto same = [&](const Text& t) { return t == text; };
    if (std::none_of(out_.assumptions.begin(), out_.assumptions.end(), same)) out_.assumptions.emplace_back(text);
  }

  // ---- before it begins ----

  void prepare() {
    auto& set = world_.set;
    if (set.metadata.deleting()) out_.problems.emplace_back("the set is being deleted: nothing else is done with it");
    if (set.spec.paused.value_or(false) || set.metadata.annotations.has(api::annotation::paused))
      warn("the set is paused: nothing of this happens before somebody resumes it");
    if (in_.cluster.paused) warn("its Cluster is paused: nothing of this happens before somebody resumes it");
    if (!in_.cluster.sight.seen)
      warn("its Cluster can't be seen now (" + in_.cluster.sight.why + "): nothing of this happens before it can");
    if (!in_.orphans.empty())
      assume(count_of(in_.orphans.size(), "machine") + " that nobody owns and that its selector matches are taken up first");
    set.spec.paused.reset();
    set.metadata.annotations.erase(api::annotation::paused);
    asked_skips_ = Text(set.metadata.annotations.get(api::annotation::skip_preflight));
    skip_checks(false);
    const bool analysis = std::any_of(set.spec.rollout.steps.begin(), set.spec.rollout.steps.end(),
                                      [](const api::RolloutStep& s) { return s.analysis.has_value(); });
    if (analysis) assume("each analysis passes, in the time that its good answers take");
    take_out_analysis(set.spec.rollout);
    if (!in_.packages) warn("package versions can't be read: whether the template's exist, and whether they drain, is not known");
    if (!in_.ledger_trusted) warn("there is no GuardLedger to trust: its windows count as full now");
    if (world_.drains()) warn("its packages want each machine drained: PodDisruptionBudgets may make it slower than this");
  }

  // ---- a pass ----

  // Stores the status that the plan wants, does what it wants, and notes what happened. True: something changed.
  bool take(const Planned& planned) {
    bool moved = !planned.plan.actions.empty();
    if (planned.status) {
      moved = moved || !(*planned.status == status());
      world_.set.status = *planned.status;
      world_.set.status.observed_generation = world_.set.metadata.generation;
      first_status();
      look_at_preflight();
      follow_steps();
      note_stalls();
    }
    const auto touched = world_.apply(planned.plan);
    for (const auto& t : touched) note(t);
    note_own_limit(planned.plan, touched.empty());
    return moved;
  }

  void first_status() {
    if (!out_.to.empty()) return;
    out_.from = status().current_revision;
    out_.to = status().update_revision;
    for (const auto& r : status().rejected_revisions)
      if (r.revision == out_.to)
        warn("revision " + out_.to.str() + " was rejected at step " + r.step.str() + " (" + r.reason.str() + ": " + r.message.str() +
             "): it is not tried again. To try it: kubectl endstate rollout retry machineset/" + out_.set.str());
  }

  // ---- the pre-flight ----

  // In the play only the budget is looked at, for it is the one that a clock may open; what else is wrong is told once, and what follows
  // is as if it were mended.
  void skip_checks(bool budget_too) {
    using api::PreflightCheck;
    std::string names;
    for (const auto check :
         {PreflightCheck::artifacts_reachable, PreflightCheck::version_skew, PreflightCheck::cluster_healthy, PreflightCheck::disk_room})
      names.append(names.empty() ? "" : ",").append(reconcile::name_of(check));
    world_.set.metadata.annotations.set(api::annotation::skip_preflight, budget_too ? "all" : Text(names));
  }

  const Unjudged* unjudged(api::PreflightCheck check) const {
    for (const auto& u : in_.unjudged)
      if (u.check == check) return &u;
    return nullptr;
  }

  // All five as the user's rollout will find them: once, when it comes to them. A rollout that is past them already isn't held by them.
  void look_at_preflight() {
    const auto& rollout = status().rollout;
    if (!out_.preflight.empty() || !rollout || rollout->preflight.empty() || !forward()) return;
    const auto& had = in_.set->status.rollout;
    if (had && had->revision == rollout->revision && had->start_time == rollout->start_time && !had->step.empty()) return;
    auto s = world_.snapshot(true);
    const auto revisions = plan_revisions(s);
    const auto* to = revisions.find(status().update_revision);
    if (to == nullptr) return;
    auto set = std::make_shared<api::MachineSet>(*s.set);
    set->metadata.annotations.set(api::annotation::skip_preflight, asked_skips_);
    s.set = std::move(set);
    const auto look = plan_preflight(s, revisions.find(status().current_revision), *to);
    for (const auto& c : look.checks) tell_check(c, look);
    for (const auto& name : look.unknown)
      warn("the annotation " + std::string(api::annotation::skip_preflight) + " names " + name +
           ", which is no pre-flight check: they are " + preflight_check_names());
    const bool left_out = std::find(look.skipped.begin(), look.skipped.end(), api::PreflightCheck::budget_open) != look.skipped.end();
    if (left_out || unjudged(api::PreflightCheck::budget_open) != nullptr) skip_checks(true);
  }

  void tell_check(const api::PreflightStatus& c, const Preflight& look) {
    PreviewCheck out{.check = c.check, .result = PreviewVerdict::passed, .message = c.message};
    const auto* blind = unjudged(c.check);
    if (c.result == api::PreflightResult::skipped) {
      out.result = PreviewVerdict::skipped;
    } else if (blind != nullptr) {
      out.result = PreviewVerdict::unknown;
      out.message = blind->why;
    } else if (c.result == api::PreflightResult::pending) {
      out.result = PreviewVerdict::unknown;
      if (c.check == api::PreflightCheck::artifacts_reachable)
        out.message = Text(std::to_string(look.queries.size()) +
                           (look.queries.size() == 1 ? " address, which the operator asks" : " addresses, which the operator asks") +
                           " from where it runs: not asked from here");
    } else if (c.result == api::PreflightResult::failed) {
      const bool clock = c.check == api::PreflightCheck::budget_open && look.refusal && a_clock_ends(*look.refusal);
      out.result = clock ? PreviewVerdict::waits : PreviewVerdict::failed;
      if (!clock) refuse(c.check);
    }
    if (out.result == PreviewVerdict::unknown) assume("pre-flight checks that can't be judged from here pass");
    out_.preflight.push_back(std::move(out));
  }

  void refuse(api::PreflightCheck check) {
    const std::string name(reconcile::name_of(check));
    const Text text(std::string(api::reason::preflight_failed) + ": the pre-flight check " + name +
                    " fails. Mend it, or leave it out by the annotation " + std::string(api::annotation::skip_preflight) + ": " + name);
    if (std::find(out_.problems.begin(), out_.problems.end(), text) == out_.problems.end()) out_.problems.push_back(text);
    assume("what pre-flight checks find is mended, or left out");
  }

  // The rollout stands before its first machine, for a budget. True: it goes on, or a moment has come at which it may.
  bool past_preflight() {
    const auto& rollout = status().rollout;
    if (!rollout || !forward() || !rollout->step.empty() || rollout->phase != api::RolloutPhase::paused) return false;
    const auto* why = reconcile::find_condition(status().conditions, api::condition::rolling_out);
    if (why == nullptr || !(why->reason == api::reason::preflight_failed)) return false;
    auto s = world_.snapshot(true);
    const auto no = refusal(s);
    if (!no) return false;
    if (!a_clock_ends(*no)) {
      refuse(api::PreflightCheck::budget_open);
      skip_checks(true);
      return true;
    }
    auto& held = step_named(Text(preview_step::preflight));
    const auto waiting = std::count_if(s.machines.begin(), s.machines.end(), [&](const Ref<api::Machine>& m) {
      return !(m->metadata.labels.get(api::label::revision) == status().update_revision);
    });
    const auto held_by = [&](const reconcile::Refused& refused, WallTime at) {
      limit(held, {.kind = refused.kind,
                   .name = refused.name,
                   .reason = refused.reason,
                   .message = Text(refused.message),
                   .machines = waiting,
                   .first = duration_cast<seconds>(at - began_)});
    };
    held_by(*no, world_.now);
    world_.now = opens_at(std::move(s), held_by);
    world_.finish_due();
    step_named(Text(preview_step::preflight)).end = since_begin();
    return world_.now - began_ <= bounds_.length;
  }

  static bool a_clock_ends(const reconcile::Refused& no) {
    return no.reason == api::reason::window_full || no.reason == api::reason::schedule_closed;
  }
  std::optional<reconcile::Refused> refusal(const Snapshot& s) const {
    const auto revisions = plan_revisions(s);
    const auto* to = revisions.find(status().update_revision);
    return to == nullptr ? std::nullopt : plan_preflight(s, revisions.find(status().current_revision), *to).refusal;
  }

  // The first moment, to the second, at which no budget refuses; not after the next machine is done (that may change it), nor past the
  // preview's end. Strides grow, so that a long wait is few looks: a gap that is shorter than a stride (15 minutes, or a 16th of the
  // wait) may be missed.
  template <class Note>
  WallTime opens_at(Snapshot s, const Note& note) const {
    auto end = std::max<WallTime>(world_.now + 1s, began_ + bounds_.length + 1s);
    if (const auto due = world_.next_due()) end = std::clamp<WallTime>(*due, world_.now + 1s, end);
    auto shut = world_.now, open = end;
    while (shut < end) {
      const auto waited = duration_cast<seconds>(shut - world_.now);
      const auto at = std::min<WallTime>(end, shut + std::clamp<seconds>(waited / 4, 1s, std::max(longest_look, waited / 16)));
      s.now = at;
      const auto no = refusal(s);
      if (!no) {
        open = at;
        break;
      }
      note(*no, at);  // another budget may have taken over
      shut = at;
    }
    while (open - shut > 1s) {
      s.now = shut + duration_cast<seconds>(open - shut) / 2;
      (refusal(s) ? shut : open) = s.now;
    }
    return open;
  }

  // Steps that pass within one pass never stand in the status: history has them.
  void follow_steps() {
    if (!status().rollout) return;
    if (!status().history.empty() && status().history.back().revision == out_.to && status().history.back().start_time >= began_)
      for (const auto& record : status().history.back().steps) step_named(record.name);
    if (!forward() || status().rollout->step.empty()) {
      close_steps({});
      return;
    }
    auto& step = step_named(status().rollout->step);
    step.target = status().rollout->target;
    if (status().rollout->pause_start_time != WallTime{} && step.machines_done == seconds(0)) step.machines_done = since_begin();
    close_steps(step.name);
  }

  void close_steps(const Text& but) {
    for (auto& s : out_.steps)
      if (!(s.name == but) && open_.erase(s.name)) s.end = since_begin();
  }

  PreviewStep& step_named(const Text& name) {
    for (auto& s : out_.steps)
      if (s.name == name) return s;
    PreviewStep step;
    step.name = name;
    step.begin = step.end = since_begin();
    for (const auto& spec : in_.set->spec.rollout.steps)
      if (spec.name == name) step.then = then_of(spec);
    for (const auto& s : resolve_steps(world_.set.spec.rollout, api::replicas(world_.set.spec)))
      if (s.name == name) step.target = s.target;
    open_.insert(name);
    out_.steps.push_back(std::move(step));
    return out_.steps.back();
  }

  // What is being done now belongs to the rollout's step; else it is about the number of machines, or on the way back.
  PreviewStep& current_step(PreviewWorld::Touch what) {
    if (forward() && status().rollout && !status().rollout->step.empty()) return step_named(status().rollout->step);
    return step_named(Text(what == PreviewWorld::Touch::update ? preview_step::back : preview_step::replicas));
  }

  void note(const PreviewWorld::Touched& t) {
    auto& step = current_step(t.what);
    open_.insert(step.name);
    touched_.insert(t.machine);
    switch (t.what) {
      case PreviewWorld::Touch::update: step.updated.push_back(t.machine); break;
      case PreviewWorld::Touch::create:
        if (in_.exists) step.created.push_back(t.machine);
        ++step.creations;
        break;
      case PreviewWorld::Touch::remove: step.deleted.push_back(t.machine); break;
    }
    step.updates = static_cast<std::int64_t>(step.updated.size());
    step.deletions = static_cast<std::int64_t>(step.deleted.size());
  }

  void limit(PreviewLimit found) {
    if (out_.steps.empty()) return;
    found.first = since_begin();
    limit(forward() && !status().rollout->step.empty() ? step_named(status().rollout->step) : out_.steps.back(), std::move(found));
  }
  void limit(PreviewStep& step, PreviewLimit found) {
    for (auto& l : step.limits)
      if (l.kind == found.kind && l.name == found.name && l.reason == found.reason) {
        l.machines = std::max(l.machines, found.machines);
        return;
      }
    step.limits.push_back(std::move(found));
  }

  // The set's own maxUnavailable: machines of the step are left, and the plan takes none of them now.
  void note_own_limit(const reconcile::Plan& plan, bool idle) {
    const auto& rollout = status().rollout;
    if (!rollout || rollout->phase != api::RolloutPhase::progressing || !idle || !plan.actions.empty() || world_.somebody_waits()) return;
    const auto left = rollout->target - rollout->updated - world_.working();
    if (left <= 0 || world_.working() == 0) return;
    const auto most = allowed_unavailable(world_.set.spec.rollout, api::replicas(world_.set.spec));
    limit({.kind = "MachineSet",
           .name = out_.set,
           .reason = api::reason::max_unavailable,
           .message = Text("rollout.maxUnavailable: " + std::to_string(most) + " at once"),
           .machines = left});
  }

  void note_stalls() {
    const auto* stalled = reconcile::find_condition(status().conditions, api::condition::stalled);
    if (!stalled || stalled->status != api::ConditionStatus::true_) return;
    if (status().rollout && status().rollout->phase == api::RolloutPhase::rolled_back) return;  // said by the warning
    const Text text = stalled->reason.str() + ": " + stalled->message.str();
    if (std::find(out_.problems.begin(), out_.problems.end(), text) == out_.problems.end() && out_.problems.size() < 20)
      out_.problems.push_back(text);
  }

  // ---- the guard ----

  bool permits() {
    ask_again_.reset();
    std::vector<PreviewWorld::Refusal> refusals;
    const bool any = world_.ask(refusals);
    if (!out_.steps.empty()) {
      auto& step =
          forward() && status().rollout && !status().rollout->step.empty() ? step_named(status().rollout->step) : out_.steps.back();
      step.most_at_once = std::max(step.most_at_once, world_.working());
    }
    for (const auto& r : refusals) {
      limit({.kind = r.why.kind, .name = r.why.name, .reason = r.why.reason, .message = Text(r.why.message), .machines = r.machines});
      // What such a place waits for is the end of an operation, which the world tells. A clock is looked at more seldom the longer it
      // has kept us: the preview may be late by a quarter of the wait, by at most 15 minutes or a 16th of it.
      if (world_.next_due() && (r.why.reason == api::reason::max_concurrent || r.why.reason == api::reason::max_unavailable)) continue;
      const auto least = std::chrono::ceil<seconds>(r.why.retry_after);
      const auto waited = refused_since_ ? duration_cast<seconds>(world_.now - *refused_since_) : 0s;
      const auto after = std::clamp<seconds>(waited / 4, least, std::max({longest_look, waited / 16, least}));
      if (r.why.retry_after > 0ms && (!ask_again_ || after < *ask_again_)) ask_again_ = after;
    }
    if (any || refusals.empty())
      refused_since_.reset();
    else if (!refused_since_)
      refused_since_ = world_.now;
    return any;
  }

  // ---- gates that a person opens ----

  // A promotion, another set: somebody does it at once here. True: something was opened.
  bool past_gate() {
    const auto& rollout = status().rollout;
    if (!rollout || rollout->phase != api::RolloutPhase::paused || !forward()) return false;
    const auto* why = reconcile::find_condition(status().conditions, api::condition::rolling_out);
    if (!why) return false;
    auto& set = world_.set;
    if (why->reason == api::reason::waiting_for_promotion && !set.metadata.annotations.has(api::annotation::promote)) {
      assume("somebody promotes each step at once: the time that people take is not counted");
      set.metadata.annotations.set(api::annotation::promote, Text(rollout->revision.str() + "/" + rollout->step.str() + "@preview"));
      return true;
    }
    if (why->reason == api::reason::waiting_for_set && set.spec.rollout.after) {
      assume("it waits: " + why->message.str() + ". What follows is as if it were Complete");
      set.spec.rollout.after.reset();
      return true;
    }
    return false;
  }

  // ---- the clock ----

  bool is_over() const {
    const auto& rollout = status().rollout;
    if (!rollout || !world_.at_rest()) return false;
    const bool still = rollout->phase == api::RolloutPhase::complete || rollout->phase == api::RolloutPhase::rolled_back;
    return still && world_.live() == api::replicas(world_.set.spec);
  }

  bool advance(const reconcile::Plan& plan) {
    auto next = world_.next_due();
    const auto sooner = [&](WallTime t) {
      if (!next || t < *next) next = t;
    };
    if (ask_again_) sooner(world_.now + *ask_again_);
    if (plan.again && ++idle_ < max_idle) sooner(world_.now + std::max<seconds>(1s, std::chrono::ceil<seconds>(*plan.again)));
    if (!next) return false;
    world_.now = std::max<WallTime>(*next, world_.now + 1s);
    world_.finish_due();
    return true;
  }

  // ---- the end ----

  void stuck() {
    const auto& rollout = status().rollout;
    const auto* why = reconcile::find_condition(status().conditions, api::condition::rolling_out);
    const auto* ready = reconcile::find_condition(status().conditions, api::condition::ready);
    if (why && why->reason == api::reason::partition_reached) {
      out_.end = PreviewEnd::partition;
      out_.why = why->message;
      return;
    }
    out_.end = PreviewEnd::stuck;
    if (rollout && rollout->blocked_by)
      out_.why = rollout->blocked_by->message;
    else if (ready && ready->status != api::ConditionStatus::true_)
      out_.why = ready->message;
  }

  Preview cut(const std::string& where) {
    out_.end = PreviewEnd::cut;
    out_.why = Text("the preview ends " + where + "; it goes on after that");
    return finish();
  }

  void warn_of_mute() {
    const auto mute = world_.never_done();
    if (mute.empty()) return;
    std::string who;
    for (std::size_t i = 0; i < std::min<std::size_t>(mute.size(), 5); ++i) who.append(i ? ", " : "").append(mute[i].view());
    warn(mute.size() == 1 ? "1 machine doesn't answer or is paused, so it would not finish: " + who
                          : std::to_string(mute.size()) + " machines don't answer or are paused, so they would not finish: " + who +
                                (mute.size() > 5 ? ", ..." : ""));
  }

  Preview finish() {
    close_steps({});
    warn_of_mute();
    std::erase_if(out_.steps, [](const PreviewStep& s) { return !in_rollout(s) && s.updates + s.creations + s.deletions == 0; });
    for (auto& s : out_.steps)
      if (s.machines_done == 0s) s.machines_done = s.end;
    out_.touched = static_cast<std::int64_t>(touched_.size());
    out_.duration = since_begin();
    if (out_.end == PreviewEnd::complete) {
      if (status().rollout && status().rollout->phase == api::RolloutPhase::rolled_back && !(out_.from == out_.to))
        out_.end = PreviewEnd::rolled_back;
      else if (touched_.empty() && out_.from == out_.to)
        out_.end = PreviewEnd::nothing;
    }
    return std::move(out_);
  }
  static bool in_rollout(const PreviewStep& s) { return !(s.name == preview_step::replicas) && !(s.name == preview_step::back); }

  const PreviewInput& in_;
  const PreviewBounds& bounds_;
  PreviewWorld world_;
  const WallTime began_;
  Preview out_;
  Text asked_skips_;  // what the user's annotation leaves out
  std::set<Text> open_, touched_;
  std::optional<seconds> ask_again_;
  std::optional<WallTime> refused_since_;
  int idle_ = 0;
};

}  // namespace

Preview preview(const PreviewInput& in, const PreviewBounds& bounds) {
  if (in.machines.size() > max_preview_machines || api::replicas(in.set->spec) > static_cast<std::int64_t>(max_preview_machines)) {
    Preview out;
    out.set = in.set->metadata.name;
    out.name_space = in.set->metadata.name_space;
    out.end = PreviewEnd::cut;
    out.why = "the set has more machines than a preview plays";
    return out;
  }
  return Player(in, bounds).run();
}

}  // namespace endstate::machine_set
