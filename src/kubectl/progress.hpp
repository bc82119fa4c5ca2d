// How a rollout stands, in one line and one verdict. Pure.
#pragma once
#include <cstdint>
#include <string>

#include "apis/v1alpha1/machine_set.hpp"

namespace endstate::kubectl {

struct Progress {
  enum class Verdict : std::uint8_t { going, complete, failed, waits } verdict{};
  std::string line;  // without the set's name
};

Progress progress_of(const v1alpha1::MachineSet& set);

// The exit code of a verdict when nobody waits any longer.
int exit_code_of(Progress::Verdict verdict);

// "[#####.....] 12/20", `width` characters between the brackets; ASCII, so that it is right in every terminal and log.
std::string bar(std::int64_t done, std::int64_t all, int width);

}  // namespace endstate::kubectl
