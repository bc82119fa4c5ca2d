// Chance: a host's own dice. Everything random about a host comes from its seed, so that a run can be repeated.
#pragma once
#include <chrono>
#include <cstdint>

namespace endstate::fleet {

class Chance {
 public:
  explicit Chance(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {  // splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014)
    state_ += 0x9e3779b97f4a7c15U;
    auto z = state_;
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31U);
  }
  double share() { return static_cast<double>(next() >> 11U) * 0x1.0p-53; }  // [0, 1)
  // Between low and high, times scale.
  std::chrono::nanoseconds between(std::chrono::nanoseconds low, std::chrono::nanoseconds high, double scale = 1.0) {
    const auto span = static_cast<double>((high - low).count());
    return std::chrono::nanoseconds(static_cast<std::int64_t>((static_cast<double>(low.count()) + span * share()) * scale));
  }

 private:
  std::uint64_t state_;
};

}  // namespace endstate::fleet
