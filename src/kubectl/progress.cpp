#include "src/kubectl/progress.hpp"

#include <algorithm>

#include "controllers/machine_set/steps.hpp"
#include "src/kubectl/args.hpp"
#include "src/kubectl/verbs.hpp"

namespace endstate::kubectl {
namespace {

namespace api = v1alpha1;
using api::RolloutPhase;
using Verdict = Progress::Verdict;

const api::Condition* true_condition(const api::MachineSet& set, std::string_view type) {
  const auto* c = reconcile::find_condition(set.status.conditions, type);
  return c && c->status == api::ConditionStatus::true_ ? c : nullptr;
}

// Waits that a verb ends, a person's decision: not a failure.
bool is_for_a_person(std::string_view reason) {
  for (const auto r : {api::reason::waiting_for_promotion, api::reason::machines_lost, api::reason::analysis_inconclusive,
                       api::reason::rollback_too_large})
    if (reason == r) return true;
  return false;
}

std::string step_text(const api::MachineSet& set, const api::RolloutStatus& rollout) {
  if (rollout.step.empty()) return {};
  const auto steps = machine_set::resolve_steps(set.spec.rollout, api::replicas(set.spec));
  std::size_t at = 0;
  while (at < steps.size() && !(steps[at].name == rollout.step)) ++at;
  std::string out = "step " + rollout.step.str();
  if (at < steps.size()) out += " (" + std::to_string(at + 1) + " of " + std::to_string(steps.size()) + ")";
  return out + ": ";
}

std::string counts(const api::MachineSet& set, const api::RolloutStatus& rollout) {
  std::string out = std::to_string(rollout.updated) + " of " + std::to_string(rollout.target) + " machines updated and available";
  if (rollout.target < api::replicas(set.spec)) out += ", " + std::to_string(api::replicas(set.spec)) + " in all";
  if (rollout.failed > 0) out += ", " + std::to_string(rollout.failed) + " failed";
  if (rollout.lost > 0) out += ", " + std::to_string(rollout.lost) + " lost";
  if (const auto& b = rollout.blocked_by)
    out += "; held by " + b->kind.str() + (b->name.empty() ? "" : " " + b->name.str()) + " (" + b->reason.str() + "): " + b->message.str();
  return out;
}

std::string why(const api::Condition& c) { return c.reason.str() + (c.message.empty() ? "" : ": " + c.message.str()); }

Progress of_paused(const api::MachineSet& set, const api::RolloutStatus& rollout) {
  const auto* rolling = reconcile::find_condition(set.status.conditions, api::condition::rolling_out);
  const auto reason = rolling ? rolling->reason.view() : std::string_view();
  const std::string message = rollout.message.empty() ? counts(set, rollout) : rollout.message.str();
  if (rejection(set, set.status.update_revision)) return {Verdict::failed, message};
  if (is_for_a_person(reason)) return {Verdict::waits, message};
  if (const auto* stalled = true_condition(set, api::condition::stalled)) return {Verdict::failed, why(*stalled)};
  return {Verdict::going, message};
}

}  // namespace

Progress progress_of(const api::MachineSet& set) {
  const auto& st = set.status;
  if (set.metadata.deleting()) return {Verdict::failed, "is being deleted, " + std::to_string(st.replicas) + " machines are left"};
  if (is_paused_by_annotation(set))
    return {Verdict::waits, "is paused; resume it with: kubectl endstate rollout resume machineset/" + set.metadata.name.str()};
  if (set.spec.paused.value_or(false)) return {Verdict::waits, "is paused by its spec.paused"};
  if (!st.observed_generation || !set.metadata.generation || *st.observed_generation < *set.metadata.generation)
    return {Verdict::going, "waiting for the operator to see the last edit"};
  if (true_condition(set, api::condition::paused)) return {Verdict::waits, "its Cluster is paused"};
  if (!st.rollout) return {Verdict::going, "waiting for the operator to begin"};
  const auto& rollout = *st.rollout;
  const bool back_by_user = st.update_revision == st.current_revision;
  switch (rollout.phase) {
    case RolloutPhase::complete:
      if (true_condition(set, api::condition::ready))
        return {Verdict::complete, "is complete: " + std::to_string(st.available_replicas) + " of " +
                                       std::to_string(api::replicas(set.spec)) + " machines are available with revision " +
                                       st.update_revision.str()};
      break;
    case RolloutPhase::rolled_back: return {Verdict::failed, "was rolled back: " + rollout.message.str()};
    case RolloutPhase::rolling_back:
      if (!back_by_user) return {Verdict::failed, "is rolling back: " + rollout.message.str()};
      break;
    case RolloutPhase::paused: return of_paused(set, rollout);
    case RolloutPhase::progressing: break;
  }
  if (const auto* stalled = true_condition(set, api::condition::stalled)) return {Verdict::failed, why(*stalled)};
  if (rollout.phase == RolloutPhase::complete) {
    const auto* ready = reconcile::find_condition(st.conditions, api::condition::ready);
    return {Verdict::going, ready ? why(*ready) : "waiting for its machines"};
  }
  return {Verdict::going,
          step_text(set, rollout) + (rollout.step.empty() && !rollout.message.empty() ? rollout.message.str() : counts(set, rollout))};
}

int exit_code_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::complete: return exit_code::good;
    case Verdict::failed: return exit_code::no;
    case Verdict::waits: return exit_code::waits;
    case Verdict::going: break;
  }
  return exit_code::pending;
}

std::string bar(std::int64_t done, std::int64_t all, int width) {
  const auto filled = all <= 0 ? width : static_cast<int>(std::clamp<std::int64_t>(done, 0, all) * width / all);
  return "[" + std::string(static_cast<std::size_t>(filled), '#') + std::string(static_cast<std::size_t>(width - filled), '.') + "] " +
         std::to_string(done) + "/" + std::to_string(all);
}

}  // namespace endstate::kubectl
