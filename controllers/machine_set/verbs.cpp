#include "controllers/machine_set/verbs.hpp"

#include <algorithm>

#include "controllers/common/cut.hpp"
#include "controllers/machine_set/analysis.hpp"
#include "controllers/machine_set/write.hpp"

namespace endstate::machine_set {
namespace {

void done(const Snapshot& s, Course& course, std::string_view key, bool warning, std::string_view reason, std::string note) {
  course.actions.push_back(remove_annotation(*s.set, key));
  course.events.push_back({.warning = warning, .reason = reason, .action = event_action(course.status), .note = Text(note)});
}

// As it is kept: status.handled holds 253 bytes.
Text word(std::string_view value) { return Text(cut(value, 253)); }
std::string again(std::string_view key, std::string_view value) {
  return "the annotation " + std::string(key) + ": " + std::string(value) +
         " was carried out before and isn't again (does Git put it back?): " + std::string(value.substr(0, value.find('@'))) +
         "@<anything else> is a new word";
}

// The rollout starts anew: failures from before don't count, and machines that failed get another attempt (plan_moves sees to that).
void retry(const Snapshot& s, const Revisions& revisions, Course& course) {
  constexpr auto key = api::annotation::retry;
  if (!s.set->metadata.annotations.has(key)) return;
  const auto value = s.set->metadata.annotations.get(key);
  const auto asked = parse_request(value);
  const bool handled = course.handled.retry == word(value);
  const auto it = std::find_if(course.rejected.begin(), course.rejected.end(),
                               [&](const api::RejectedRevision& r) { return r.revision == asked.revision; });
  const bool wanted =
      it != course.rejected.end() || (revisions.update == asked.revision && !handled && restart_analysis(course.status.analysis));
  if (wanted && handled) return done(s, course, key, true, api::reason::retry_ignored, again(key, value));
  if (wanted) course.handled.retry = word(value);
  if (wanted && it == course.rejected.end())
    return done(s, course, key, false, "RetryAccepted", "the analysis of step " + course.status.step.str() + " is tried again");
  if (it == course.rejected.end()) {
    // Already stored by a pass that died before it took the annotation off, or a mistake: either way there is nothing to do.
    return done(s, course, key, false, "RetryDone", "revision " + std::string(asked.revision) + " is not rejected");
  }
  course.rejected.erase(it);
  if (revisions.update == asked.revision) course.status = {};  // begins anew
  done(s, course, key, false, "RetryAccepted", "revision " + std::string(asked.revision) + " is tried again");
}

// A promotion that names its step may come early and waits for it. One without is for the pause that stands now.
void promote(const Snapshot& s, const Revisions& revisions, const std::vector<Step>& steps, Course& course) {
  constexpr auto key = api::annotation::promote;
  if (!s.set->metadata.annotations.has(key)) return;
  auto& st = course.status;
  const auto value = s.set->metadata.annotations.get(key);
  const auto asked = parse_request(value);
  const auto ignored = [&](const std::string& why) { done(s, course, key, true, api::reason::promotion_ignored, why); };
  if (!(revisions.update == asked.revision) || !(st.revision == revisions.update) || course.is_rejected(revisions.update) ||
      course.current == revisions.update)
    return ignored("no rollout of revision " + std::string(asked.revision) + " is under way");
  if (course.handled.promote == word(value)) return ignored(again(key, value));
  const auto index_of = [&](std::string_view name) {
    return std::find_if(steps.begin(), steps.end(), [&](const Step& step) { return step.name == name; }) - steps.begin();
  };
  if (!asked.step.empty() && !(st.step == asked.step)) {
    const auto at = index_of(asked.step);
    if (at == static_cast<std::ptrdiff_t>(steps.size())) return ignored("there is no step " + std::string(asked.step));
    if (at < index_of(st.step)) return ignored("step " + std::string(asked.step) + " is past");
    return;  // early: it waits for its step
  }
  const bool at_gate = st.phase == api::RolloutPhase::paused && !st.step.empty();
  if (!at_gate) {
    if (asked.step.empty()) ignored("the rollout isn't paused");
    return;
  }
  course.handled.promote = word(value);
  if (st.lost > 0) st.step_start_time = s.now;  // paused for lost machines: those are accepted
  if (st.pause_start_time != WallTime{}) st.promoted_step = st.step;
  done(s, course, key, false, "Promoted", "step " + st.step.str() + " of revision " + st.revision.str());
}

}  // namespace

Request parse_request(std::string_view value) {
  value = value.substr(0, value.find('@'));
  const auto slash = value.find('/');
  return {value.substr(0, slash), slash == std::string_view::npos ? std::string_view() : value.substr(slash + 1)};
}

Ask apply_verbs(const Snapshot& s, const Revisions& revisions, const std::vector<Step>& steps, Course& course) {
  retry(s, revisions, course);
  promote(s, revisions, steps, course);
  constexpr auto key = api::annotation::reject;
  if (!s.set->metadata.annotations.has(key)) return Ask::nothing;
  const auto value = s.set->metadata.annotations.get(key);
  const auto asked = parse_request(value);
  if (course.handled.reject == word(value) && !course.is_rejected(revisions.update)) {
    done(s, course, key, true, api::reason::rejection_ignored, again(key, value));
    return Ask::nothing;
  }
  if (!(revisions.update == asked.revision) || course.current == revisions.update) {
    done(s, course, key, true, api::reason::rejection_ignored, "no rollout of revision " + std::string(asked.revision) + " is under way");
    return Ask::nothing;
  }
  course.handled.reject = word(value);
  done(s, course, key, false, "RejectionAccepted", "revision " + std::string(asked.revision));
  return Ask::reject;
}

}  // namespace endstate::machine_set
