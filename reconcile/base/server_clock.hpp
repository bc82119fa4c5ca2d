// ServerClock: what time it is by an API server's Date headers. Wall clocks stand in statuses and are compared by another process after a
// take-over, so all of them must be one: the API server's. A step of the local clock, or a node whose clock is wrong, changes nothing.
//
// The time is the monotonic clock and an offset, which is the median over the last 9 answers. Date has whole seconds, so the offset is
// moved only when it is wrong by more than one; a time that is handed out never trembles.
//
// take(): one thread. wall(): any thread.
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <optional>

#include "reconcile/base/time.hpp"

namespace reconcile {

class ServerClock {
 public:
  struct Jump {
    WallTime before, after;  // what one moment was called before and is called now
  };
  static constexpr std::size_t answers = 9;
  static constexpr std::chrono::seconds steady{1};    // an offset that is not further away is the same
  static constexpr std::chrono::seconds jump{5};      // more is told
  static constexpr std::chrono::seconds too_late{2};  // an answer that took longer says little of now

  explicit ServerClock(Now local) : offset_(local.wall.time_since_epoch() - whole(local.mono)) {}  // until the first answer

  // One answer: its Date, when it was asked for and when it came. A jump is told but for the first answer, before which nothing was done.
  std::optional<Jump> take(WallTime date, MonoTime sent, MonoTime received);
  WallTime wall(MonoTime mono) const { return WallTime(whole(mono) + offset_.load(std::memory_order_relaxed)); }

 private:
  static std::chrono::microseconds whole(MonoTime mono) { return std::chrono::floor<std::chrono::microseconds>(mono.time_since_epoch()); }
  std::atomic<std::chrono::microseconds> offset_;
  std::array<std::chrono::microseconds, answers> last_{};
  std::size_t count_ = 0;
};

}  // namespace reconcile
