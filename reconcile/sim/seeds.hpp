// How many seeds a simulation test explores: `usual` of them, or RECONCILE_SEEDS times as many (a night's run: RECONCILE_SEEDS=50).
#pragma once
#include <cstdint>
#include <cstdlib>

namespace reconcile {

inline std::uint64_t seeds(std::uint64_t usual) {
  const char* factor = std::getenv("RECONCILE_SEEDS");
  const auto times = factor ? std::strtoull(factor, nullptr, 10) : 1;
  return usual * (times ? times : 1);
}

}  // namespace reconcile
