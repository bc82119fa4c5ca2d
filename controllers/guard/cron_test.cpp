#include "controllers/guard/cron.hpp"

#include <catch2/catch.hpp>

using namespace endstate::guard;
using namespace std::chrono;
using namespace std::chrono_literals;

namespace {

std::string error_of(std::string_view text) {
  const auto cron = parse_cron(text);
  return cron ? std::string() : cron.error().message;
}

// The first moments after 2026-11-25 10:00, a Wednesday, as "25 10:30 ".
std::string first(std::string_view text, int n = 3) {
  const auto cron = parse_cron(text);
  REQUIRE(cron);
  std::string out;
  const local_days from = local_days(2026y / November / 25);
  each_match(*cron, from + 10h, from + days(1500), [&](local_seconds at) {
    const year_month_day day{floor<days>(at)};
    const hh_mm_ss time{at - floor<days>(at)};
    if (!out.empty()) out += ", ";
    out += std::to_string(static_cast<unsigned>(day.month())) + "/" + std::to_string(static_cast<unsigned>(day.day())) + " " +
           std::to_string(time.hours().count()) + ":" + std::to_string(time.minutes().count());
    return --n > 0;
  });
  return out;
}

}  // namespace

TEST_CASE("when a cron expression comes", "[guard][cron]") {
  CHECK(first("* * * * *") == "11/25 10:0, 11/25 10:1, 11/25 10:2");
  CHECK(first("0 22 * * *") == "11/25 22:0, 11/26 22:0, 11/27 22:0");
  CHECK(first("*/20 * * * *") == "11/25 10:0, 11/25 10:20, 11/25 10:40");
  CHECK(first("5,50-52/2 9-11/2 * * *", 5) == "11/25 11:5, 11/25 11:50, 11/25 11:52, 11/26 9:5, 11/26 9:50");
  CHECK(first("0 0 1 jan *") == "1/1 0:0, 1/1 0:0, 1/1 0:0");
  CHECK(first("0 0 * Jan-FEB mon") == "1/4 0:0, 1/11 0:0, 1/18 0:0");
  CHECK(first("0 9 * * mon-fri", 4) == "11/26 9:0, 11/27 9:0, 11/30 9:0, 12/1 9:0");
  CHECK(first("0 9 * * 0") == first("0 9 * * 7"));
  CHECK(first("0 9 * * sun", 1) == "11/29 9:0");
  CHECK(first("0 9 * * 5-7") == "11/27 9:0, 11/28 9:0, 11/29 9:0");
  CHECK(first("0 0 29 2 *", 1) == "2/29 0:0");  // 2028
}

TEST_CASE("day of month and day of week: one is enough when both are restricted", "[guard][cron]") {
  CHECK(first("0 9 1 * fri", 3) == "11/27 9:0, 12/1 9:0, 12/4 9:0");
  CHECK(first("0 9 1 * *", 2) == "12/1 9:0, 1/1 9:0");
  CHECK(first("0 9 * * fri", 2) == "11/27 9:0, 12/4 9:0");
  CHECK(first("0 9 */2 * fri", 2) == "11/27 9:0, 12/11 9:0");  // a field that begins with * restricts together with the other one
}

TEST_CASE("what is wrong with a cron expression is said", "[guard][cron]") {
  CHECK(error_of("0 22 * *") == "has 4 fields, not 5: minute, hour, day of month, month, day of week");
  CHECK(error_of("0 22 * * * *") == "has 6 fields, not 5: minute, hour, day of month, month, day of week");
  CHECK(error_of("") == "has 1 fields, not 5: minute, hour, day of month, month, day of week");
  CHECK(error_of("61 22 * * *") == "minute \"61\" is not in 0-59");
  CHECK(error_of("0 24 * * *") == "hour \"24\" is not in 0-23");
  CHECK(error_of("0 0 0 * *") == "day of month \"0\" is not in 1-31");
  CHECK(error_of("0 0 * 13 *") == "month \"13\" is not in 1-12");
  CHECK(error_of("0 0 * * 8") == "day of week \"8\" is not in 0-7");
  CHECK(error_of("0 0 * * fri-mon") == "day of week \"fri-mon\" runs backwards: write it as two ranges");
  CHECK(error_of("*/0 0 * * *") == "minute \"*/0\" has a step that is not in 1-59");
  CHECK(error_of("5/10 0 * * *") == "minute \"5/10\" has a step but no range");
  CHECK(error_of("1,,2 0 * * *") == "minute \"\" is not in 0-59");
  CHECK(error_of("1, 0 * * *") == "minute \"\" is not in 0-59");
  CHECK(error_of("-1 0 * * *") == "minute \"-1\" is not in 0-59");
  CHECK(error_of("1- 0 * * *") == "minute \"1-\" is not in 0-59");
  CHECK(error_of("+1 0 * * *") == "minute \"+1\" is not in 0-59");
  CHECK(error_of("99999999999 0 * * *") == "minute \"99999999999\" is not in 0-59");
  CHECK(error_of("0 0 * march *") == "month \"march\" is not in 1-12");
  CHECK(error_of("@daily") == "has 1 fields, not 5: minute, hour, day of month, month, day of week");
  CHECK(error_of("0 0 30 2 *") == "never comes: none of its months has such a day");
  CHECK(error_of("0 0 31 4,6 *") == "never comes: none of its months has such a day");
  CHECK(error_of("0 0 30 2 mon").empty());  // on Mondays
}
