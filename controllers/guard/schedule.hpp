// Schedules of a ChangeBudget: whether one is on, and until when. Pure: what a time zone's clocks show is a fact in the snapshot.
//
// A schedule is on from each start that its cron names, for its duration; starts that overlap prolong it. When the clocks change:
//   set forward  a start that falls into the gap begins at the first moment after it
//   set back     a start that the clocks show twice begins once, at the first
// With an hour of * or */n a schedule goes by the clock as it runs: what is skipped is skipped, what comes twice comes twice (as in Vixie's
// cron), so that "every 15 minutes" has no hole of an hour.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "apis/v1alpha1/policy.hpp"

namespace endstate::guard {

// What the clocks of a zone show: from `from` on, local time is UTC plus `offset`, until the next segment.
struct ZoneSegment {
  reconcile::WallTime from{};
  std::chrono::seconds offset{};
};
struct ZoneFacts {
  reconcile::Text name{};  // as in the schedule; empty: UTC
  std::string error{};     // not empty: nobody knows this zone
  std::vector<ZoneSegment> segments{};
};

// How far a schedule is looked at: the facts reach at least this far behind and before now.
inline constexpr std::chrono::seconds schedule_past = std::chrono::days(9);
inline constexpr std::chrono::seconds schedule_future = std::chrono::days(366);

struct ScheduleState {
  bool on = false;
  std::optional<reconcile::WallTime> until{};  // when that changes; absent: not within a year
  std::string error{};                         // not empty: it can't be judged; names the field and what may be there
};

// `zone`: of the schedule's time zone; null: no facts were asked for, which can't be judged either.
ScheduleState judge(const v1alpha1::BudgetSchedule& schedule, const ZoneFacts* zone, reconcile::WallTime now);

// What was judged, until it changes: of a schedule that is on every minute a year's starts have to be looked at. For one thread.
class ScheduleCache {
 public:
  const ScheduleState& state(const v1alpha1::BudgetSchedule& schedule, const ZoneFacts* zone, reconcile::WallTime now);

 private:
  struct Entry {
    ScheduleState state;
    reconcile::WallTime from{}, until{};  // as what was judged holds
  };
  std::map<std::string, Entry> known_;  // by all that the schedule says
};

// Of the zones in the facts, the one that the schedule names. UTC needs no facts.
const ZoneFacts* zone_of(const v1alpha1::BudgetSchedule& schedule, const std::vector<ZoneFacts>& zones);

}  // namespace endstate::guard
