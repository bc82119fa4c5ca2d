#include "controllers/guard/schedule.hpp"

#include <algorithm>

#include "controllers/guard/cron.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::guard {

namespace api = v1alpha1;
using namespace std::chrono_literals;
using reconcile::WallTime;
using std::chrono::local_seconds, std::chrono::seconds, std::chrono::sys_seconds;

namespace {

const ZoneFacts& utc() {
  static const ZoneFacts facts{.segments = {{WallTime::min(), 0s}}};
  return facts;
}

local_seconds shown(sys_seconds moment, seconds offset) { return local_seconds(moment.time_since_epoch() + offset); }
sys_seconds moment_of(local_seconds shown, seconds offset) { return sys_seconds(shown.time_since_epoch() - offset); }

// The starts of one segment [from, to), and before them the one that stands for what fell into the gap at its beginning.
bool each_start_of(const Cron& cron, const ZoneSegment* before, const ZoneSegment& segment, sys_seconds from, sys_seconds to,
                   const std::function<bool(sys_seconds)>& found) {
  const auto begin = std::chrono::ceil<seconds>(segment.from);
  if (before && !cron.any_hour && begin >= from && begin < to && segment.offset > before->offset) {
    const bool in_gap = !each_match(cron, shown(begin, before->offset), shown(begin, segment.offset), [](auto) { return false; });
    if (in_gap && !found(begin)) return false;
  }
  // Shown once already, before the clocks were set back.
  const auto again_until = before && !cron.any_hour ? shown(begin, before->offset) : local_seconds::min();
  const auto first = std::max(from, begin);
  if (first >= to) return true;
  return each_match(cron, shown(first, segment.offset), shown(to, segment.offset),
                    [&](local_seconds at) { return at < again_until || found(moment_of(at, segment.offset)); });
}

// Every start in [from, to), in order; `found` returns false to stop.
void each_start(const Cron& cron, const ZoneFacts& zone, sys_seconds from, sys_seconds to, const std::function<bool(sys_seconds)>& found) {
  for (std::size_t i = 0; i < zone.segments.size(); ++i) {
    const auto end = i + 1 < zone.segments.size() ? std::min(to, std::chrono::ceil<seconds>(zone.segments[i + 1].from)) : to;
    const auto* before = i > 0 ? &zone.segments[i - 1] : nullptr;
    if (end > from && !each_start_of(cron, before, zone.segments[i], from, end, found)) return;
  }
}

}  // namespace

const ZoneFacts* zone_of(const api::BudgetSchedule& schedule, const std::vector<ZoneFacts>& zones) {
  if (schedule.time_zone.empty()) return &utc();
  const auto it = std::find_if(zones.begin(), zones.end(), [&](const ZoneFacts& z) { return z.name == schedule.time_zone; });
  return it == zones.end() ? nullptr : &*it;
}

ScheduleState judge(const api::BudgetSchedule& schedule, const ZoneFacts* zone, WallTime now) {
  const auto cron = parse_cron(schedule.cron.view());
  if (!cron) return {.error = "cron: " + cron.error().message};
  if (!zone) return {.error = "timeZone: nothing is known of \"" + schedule.time_zone.str() + "\" yet"};
  if (!zone->error.empty()) return {.error = "timeZone: " + zone->error};
  const auto second = std::chrono::floor<seconds>(now);
  std::optional<sys_seconds> end, next;  // of what is on now; of the start that comes
  each_start(*cron, *zone, second - schedule.duration + 1s, second + schedule_future, [&](sys_seconds start) {
    if (start <= second || (end && start <= *end)) {
      end = start + schedule.duration;
      return true;
    }
    next = start;
    return false;
  });
  if (!end) return {.on = false, .until = next};
  if (*end >= second + schedule_future) return {.on = true};
  return {.on = true, .until = *end};
}

const ScheduleState& ScheduleCache::state(const api::BudgetSchedule& schedule, const ZoneFacts* zone, WallTime now) {
  constexpr std::size_t max_known = 1'024;
  constexpr auto longest = 1h;  // then the zone's rules are asked anew
  if (known_.size() >= max_known) known_.clear();
  auto& entry = known_[reconcile::encode(schedule)];
  if (now >= entry.from && now < entry.until) return entry.state;
  entry.state = judge(schedule, zone, now);
  entry.from = now;
  // What can't be judged is judged again at once: facts may come.
  entry.until = !entry.state.error.empty() ? now : std::min<WallTime>(entry.state.until.value_or(now + longest), now + longest);
  return entry.state;
}

}  // namespace endstate::guard
