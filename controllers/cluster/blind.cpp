#include "controllers/cluster/blind.hpp"

#include <algorithm>

namespace endstate::cluster {
namespace {

using reconcile::WallTime;
using v1alpha1::BlindGap;
using Gaps = std::vector<BlindGap>;

bool is_open(const Gaps& gaps) { return !gaps.empty() && gaps.back().end_time == WallTime{}; }

// Whole seconds, as the API keeps them; a gap is rather too long than too short.
WallTime down(WallTime t) { return std::chrono::floor<std::chrono::seconds>(t); }
WallTime up(WallTime t) { return std::chrono::ceil<std::chrono::seconds>(t); }

// Those that meet are one.
void open(Gaps& gaps, WallTime since) {
  while (!gaps.empty() && gaps.back().end_time >= since) {
    since = std::min(since, gaps.back().start_time);
    gaps.pop_back();
  }
  gaps.push_back({since, {}});
}

void keep_few(Gaps& gaps) {
  while (gaps.size() > max_gaps) {
    std::size_t nearest = 0;
    for (std::size_t i = 1; i + 1 < gaps.size(); ++i)
      if (gaps[i + 1].start_time - gaps[i].end_time < gaps[nearest + 1].start_time - gaps[nearest].end_time) nearest = i;
    gaps[nearest].end_time = gaps[nearest + 1].end_time;
    gaps.erase(gaps.begin() + static_cast<std::ptrdiff_t>(nearest) + 1);
  }
}

}  // namespace

Gaps note_blind(Gaps gaps, const reconcile::Sight& sight, WallTime now) {
  if (sight.since == WallTime{}) return gaps;  // nobody has looked yet
  if (sight.seen) {
    if (is_open(gaps)) gaps.back().end_time = std::max(up(sight.since), gaps.back().start_time);
    return gaps;
  }
  const auto since = down(sight.since);
  if (is_open(gaps)) {
    if (since >= gaps.back().start_time) return gaps;
    gaps.pop_back();  // nobody looked for longer than was known
  } else if (now - since < shortest_gap) {
    return gaps;
  }
  open(gaps, since);
  keep_few(gaps);
  return gaps;
}

std::optional<std::chrono::microseconds> until_noted(const Gaps& gaps, const reconcile::Sight& sight, WallTime now) {
  if (sight.seen || sight.since == WallTime{} || is_open(gaps)) return std::nullopt;
  return std::max<std::chrono::microseconds>(down(sight.since) + shortest_gap - now, std::chrono::milliseconds(100));
}

}  // namespace endstate::cluster
