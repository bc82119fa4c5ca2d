// Which seeds a simulation test explores: 1 to `usual`; RECONCILE_SEEDS=50 makes it 50 times as many (a night's run), RECONCILE_SEED=106
// replays that one, with its log on stderr.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <iostream>

#include "reconcile/base/log.hpp"

namespace reconcile {

inline std::uint64_t seed_setting(const char* name) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : 0;
}
inline std::uint64_t seeds(std::uint64_t usual) {
  const auto times = seed_setting("RECONCILE_SEEDS");
  return usual * (times ? times : 1);
}
template <class F>
void for_seeds(std::uint64_t usual, F f) {
  if (const auto one = seed_setting("RECONCILE_SEED")) return f(one);
  for (std::uint64_t seed = 1, last = seeds(usual); seed <= last; ++seed) f(seed);
}
// Silent, unless one seed is replayed.
inline Log seed_log(std::string_view who = {}) {
  if (!seed_setting("RECONCILE_SEED")) return no_log();
  return [who = std::string(who)](Level, std::string_view message, std::initializer_list<LogField> fields) {
    std::cerr << who << ": " << message;
    for (const auto& f : fields) std::cerr << ' ' << f.key << '=' << f.value;
    std::cerr << '\n';
  };
}

}  // namespace reconcile
