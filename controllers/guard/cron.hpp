// Cron: when something begins, in five fields as in crontab(5): minute, hour, day of month, month, day of week. Pure.
//
//   field   *  or a list of items separated by commas: a, a-b, each with an optional step: */s, a-b/s
//   names   jan..dec, sun..sat (three letters, any case), also in ranges; day of week: 0 and 7 are Sunday
//   days    when both day fields are restricted (neither begins with *), either of them is enough (Vixie's rule, POSIX crontab)
//
// Debian has no C++ library for it (docs/decisions/0006-cron-and-time-zones.md).
#pragma once
#include <bitset>
#include <chrono>
#include <functional>
#include <string_view>

#include "reconcile/base/result.hpp"

namespace endstate::guard {

struct Cron {
  std::bitset<60> minutes;
  std::bitset<24> hours;
  std::bitset<32> days;      // 1-31
  std::bitset<13> months;    // 1-12
  std::bitset<7> weekdays;   // 0: Sunday
  bool any_hour = false;     // the hour began with *: it goes by the clock as it runs, through a change of the offset too
  bool any_day = false;      // the day of month began with *
  bool any_weekday = false;  // the day of week began with *

  bool on(std::chrono::year_month_day day) const;
};

// Code::invalid with what is wrong and what may be there. An expression that never comes (30 February) is wrong too.
reconcile::Result<Cron> parse_cron(std::string_view text);

// Each moment in [from, to) of a clock on the wall, in order; `found` returns false to stop. Returns whether it went to the end.
bool each_match(const Cron& cron, std::chrono::local_seconds from, std::chrono::local_seconds to,
                const std::function<bool(std::chrono::local_seconds)>& found);

}  // namespace endstate::guard
