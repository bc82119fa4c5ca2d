// The steps of a rollout, resolved to counts.
#pragma once
#include <string>
#include <vector>

#include "controllers/machine_set/snapshot.hpp"

namespace endstate::machine_set {

struct Step {
  Text name;
  std::int64_t target = 0;  // so many machines have the new revision at its end
  // More failures than this, of all since the rollout began, reject the revision. Never less than an earlier step allowed: what was
  // tolerated once would else condemn it later. The implied step tolerates what the last given one does.
  std::int64_t max_failed = 0;
  const api::RolloutStep* spec = nullptr;  // its pause and analysis; null: of the implied last step
  bool last = false;                       // every machine; new machines get the new revision from here on
};

// Never empty. Counts round up; a share under 100% is at least 1 and leaves at least one machine; they never fall. A last step of all
// machines is implied ("rest", or "all" where no steps are given); with a partition that one keeps so many back and isn't the last.
std::vector<Step> resolve_steps(const api::Rollout& rollout, std::int64_t replicas);

std::string hash_of_steps(const api::Rollout& rollout);

// Where a rollout stands: the step of that name; if it was edited away, the last one that is reached already, else the first. So an edit
// of the steps never takes a machine back, and never jumps over a pause that is still ahead.
std::size_t locate_step(const std::vector<Step>& steps, const Text& name, std::int64_t reached);

// maxUnavailable as a count: floor, at least 1 unless the user says 0.
std::int64_t allowed_unavailable(const api::Rollout& rollout, std::int64_t replicas);
// maxSurge as a count, rounded up; 0 in place.
std::int64_t allowed_surge(const api::Rollout& rollout, std::int64_t replicas);

}  // namespace endstate::machine_set
