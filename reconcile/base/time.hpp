// The two clocks, and RFC 3339. There is no now() here: only an Env knows the time (env.hpp).
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace reconcile {

struct MonoClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<MonoClock>;
  static constexpr bool is_steady = true;
};
using MonoTime = MonoClock::time_point;                             // deadlines, leases, freshness; never jumps
using WallTime = std::chrono::sys_time<std::chrono::microseconds>;  // only what is written to or read from the API
struct Now {
  MonoTime mono{};
  WallTime wall{};
};

// metav1.MicroTime; a plain WallTime is metav1.Time (whole seconds when written).
struct MicroTime {
  WallTime time{};
  friend bool operator==(const MicroTime&, const MicroTime&) = default;
};

// "2026-11-23T03:34:15Z"; fractions are cut (metav1.Time's format).
std::string format_rfc3339(WallTime time);
// "2026-11-23T03:34:15.000001Z" (metav1.MicroTime's format).
std::string format_rfc3339_micro(WallTime time);
// Any RFC 3339 date-time (RFC 3339 section 5.6): offsets, any number of fraction digits (past 6 cut), a leap second as :59.
std::optional<WallTime> parse_rfc3339(std::string_view text);

// "45s", "3m20s", "2h5m", "3d4h": at most two units, as kubectl prints an age.
std::string format_duration(std::chrono::seconds duration);

}  // namespace reconcile
