#include "controllers/machine_set/refusals.hpp"

#include <algorithm>
#include <utility>

#include "apis/v1alpha1/replica_failure.hpp"
#include "controllers/common/cut.hpp"

namespace endstate::machine_set {
namespace {

using api::ConditionStatus;
using reconcile::Action, reconcile::Verb;

const api::Condition* stored(const Snapshot& s) {
  const auto* c = reconcile::find_condition(s.set->status.conditions, api::condition::replica_failure);
  return c && c->status == ConditionStatus::true_ ? c : nullptr;
}

std::string_view reason_of(Verb verb) {
  if (verb == Verb::create) return api::reason::failed_create;
  return verb == Verb::remove ? api::reason::failed_delete : api::reason::failed_update;
}
bool is_of(const Action& a, std::string_view reason) { return a.kind == &reconcile::kind_of<api::Machine> && reason_of(a.verb) == reason; }

Problem problem(const Snapshot& s, std::string_view reason, std::string_view message) {
  return {reason, std::string(cut(message, 1024)), "MachineSet", s.set->metadata.name};
}

// "Created machine a", "Created 3 machines: a, b, c".
void tell(const std::vector<Action>& actions, Verb verb, std::string_view reason, std::string_view did, const Text& action,
          std::vector<reconcile::EventNote>& out) {
  std::size_t count = 0;
  std::string names;
  for (const auto& a : actions) {
    if (a.kind != &reconcile::kind_of<api::Machine> || a.verb != verb) continue;
    ++count;
    if (names.size() < 1000) names.append(names.empty() ? "" : ", ").append(a.name.view());
  }
  if (count == 0) return;
  const auto note = std::string(did) + (count == 1 ? " machine " : " " + std::to_string(count) + " machines: ") + names;
  out.push_back({.warning = false, .reason = reason, .action = action, .note = cut(note, 1024)});
}

}  // namespace

std::optional<Problem> refusal_of(const Snapshot& s) {
  if (!s.refused.empty()) {
    const auto first = std::min_element(s.refused.begin(), s.refused.end(), [](const RefusedWrite& a, const RefusedWrite& b) {
      return std::pair(a.verb, a.name.view()) < std::pair(b.verb, b.name.view());
    });
    return problem(s, reason_of(first->verb), "machine " + first->name.str() + ": " + first->message);
  }
  if (const auto* c = stored(s)) return problem(s, c->reason.view(), c->message.view());
  return std::nullopt;
}

std::optional<Problem> standing_refusal(const Snapshot& s, const Wanted& wanted) {
  auto refusal = refusal_of(s);
  if (!refusal || !s.refused.empty()) return refusal;
  const bool still = refusal->reason == api::reason::failed_create   ? wanted.creations
                     : refusal->reason == api::reason::failed_delete ? wanted.deletions
                                                                     : wanted.edits;
  return still ? refusal : std::nullopt;
}

WallTime refused_since(const Snapshot& s) {
  const auto* c = stored(s);
  return c ? c->last_transition_time : s.now;
}

bool is_news(const Snapshot& s, const Problem& refusal) {
  const auto* c = stored(s);
  return !c || !(c->reason == refusal.reason);
}

void try_one(std::vector<Action>& actions, std::string_view reason) {
  bool tried = false;
  std::erase_if(actions, [&](const Action& a) { return is_of(a, reason) && std::exchange(tried, true); });
}

std::vector<reconcile::EventNote> tell_of(const std::vector<Action>& actions, const Text& action) {
  std::vector<reconcile::EventNote> out;
  tell(actions, Verb::create, api::reason::successful_create, "Created", action, out);
  tell(actions, Verb::remove, api::reason::successful_delete, "Deleted", action, out);
  return out;
}

api::MachineSetStatus unrecorded_status(const Snapshot& s) {
  auto status = s.set->status;
  status.observed_generation = s.set->metadata.generation;
  const Text message = cut("the template can't be recorded as a ControllerRevision: " + *s.refused_revision, 1024);
  const auto set = [&](std::string_view type, ConditionStatus value) {
    reconcile::set_condition(status.conditions,
                             {.type = type,
                              .status = value,
                              .reason = api::reason::failed_create,
                              .message = message,
                              .last_transition_time = s.now,
                              .observed_generation = s.set->metadata.generation},
                             s.now);
  };
  set(api::condition::replica_failure, ConditionStatus::true_);
  set(api::condition::stalled, ConditionStatus::true_);
  set(api::condition::ready, ConditionStatus::false_);
  set(api::condition::reconciling, ConditionStatus::false_);
  return status;
}

}  // namespace endstate::machine_set
