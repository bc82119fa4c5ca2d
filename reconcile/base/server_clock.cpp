#include "reconcile/base/server_clock.hpp"

#include <algorithm>

namespace reconcile {

using namespace std::chrono_literals;

std::optional<ServerClock::Jump> ServerClock::take(WallTime date, MonoTime sent, MonoTime received) {
  const bool first = count_ == 0;
  if (!first && received - sent > too_late) return std::nullopt;
  last_[count_++ % answers] = date.time_since_epoch() + 500ms - whole(received);  // the middle of its second
  auto sorted = last_;
  const auto end = sorted.begin() + static_cast<std::ptrdiff_t>(std::min(count_, answers));
  std::sort(sorted.begin(), end);
  const auto median = sorted[static_cast<std::size_t>(end - sorted.begin() - 1) / 2];
  const auto old = offset_.load(std::memory_order_relaxed);
  const auto moved = median > old ? median - old : old - median;
  if (moved <= steady) return std::nullopt;
  offset_.store(median, std::memory_order_relaxed);
  if (first || moved <= jump) return std::nullopt;
  return Jump{WallTime(whole(received) + old), WallTime(whole(received) + median)};
}

}  // namespace reconcile
