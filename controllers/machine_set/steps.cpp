#include "controllers/machine_set/steps.hpp"

#include <algorithm>

#include "reconcile/json/encode.hpp"

namespace endstate::machine_set {
namespace {

std::int64_t target_of(const api::IntOrPercent& updated, std::int64_t replicas) {
  const auto count = api::scaled(updated, replicas, true);
  if (!updated.percent || updated.value >= 100) return count;
  return std::min(replicas, std::max<std::int64_t>(1, std::min(count, replicas - 1)));
}

std::int64_t tolerated_of(const api::IntOrPercent& max_failed, std::int64_t target) {
  return max_failed.percent ? api::scaled(max_failed, target, false) : max_failed.value;
}

Text implied_name(const api::Rollout& rollout) {
  if (rollout.steps.empty()) return "all";
  const auto used = [&](const std::string& name) {
    return std::any_of(rollout.steps.begin(), rollout.steps.end(), [&](const api::RolloutStep& s) { return s.name == name; });
  };
  std::string name = "rest";
  for (int i = 2; used(name); ++i) name = "rest-" + std::to_string(i);
  return name;
}

}  // namespace

std::vector<Step> resolve_steps(const api::Rollout& rollout, std::int64_t replicas) {
  std::vector<Step> out;
  std::int64_t reached = 0, tolerated = 0;
  api::IntOrPercent max_failed{};
  for (const auto& s : rollout.steps) {
    reached = std::max(reached, target_of(s.updated, replicas));
    max_failed = api::max_failed(s);
    tolerated = std::max(tolerated, tolerated_of(max_failed, reached));
    out.push_back(
        {.name = s.name, .target = reached, .max_failed = tolerated, .spec = &s, .last = s.updated.percent && s.updated.value >= 100});
    if (out.back().last) return out;
  }
  const auto partition = std::min(api::partition(rollout), replicas);
  reached = std::max(reached, replicas - partition);
  out.push_back({.name = implied_name(rollout),
                 .target = reached,
                 .max_failed = std::max(tolerated, tolerated_of(max_failed, reached)),
                 .spec = nullptr,
                 .last = partition == 0});
  return out;
}

std::string hash_of_steps(const api::Rollout& rollout) { return reconcile::hash_of(reconcile::encode(rollout.steps)); }

std::size_t locate_step(const std::vector<Step>& steps, const Text& name, std::int64_t reached) {
  for (std::size_t i = 0; i < steps.size(); ++i)
    if (steps[i].name == name) return i;
  std::size_t at = 0;
  for (std::size_t i = 1; i < steps.size(); ++i)
    if (steps[i].target <= reached) at = i;
  return at;
}

std::int64_t allowed_unavailable(const api::Rollout& rollout, std::int64_t replicas) {
  const auto value = api::max_unavailable(rollout);
  return value.value == 0 ? 0 : std::max<std::int64_t>(1, api::scaled(value, replicas, false));
}

std::int64_t allowed_surge(const api::Rollout& rollout, std::int64_t replicas) {
  return api::type(rollout) == api::RolloutType::recreate ? api::scaled(api::max_surge(rollout), replicas, true) : 0;
}

}  // namespace endstate::machine_set
