#include "controllers/guard/schedule.hpp"

#include <catch2/catch.hpp>

using namespace endstate::guard;
using namespace std::chrono_literals;
using reconcile::WallTime;
namespace api = endstate::v1alpha1;

namespace {

WallTime at(std::string_view text) {
  const auto time = reconcile::parse_rfc3339(text);
  REQUIRE(time);
  return *time;
}

// Berlin's clocks: forward on 2026-03-29, 02:00 to 03:00; back on 2026-10-25, 03:00 to 02:00.
ZoneFacts berlin() {
  return {.name = "Europe/Berlin",
          .segments = {{at("2025-10-26T01:00:00Z"), 1h}, {at("2026-03-29T01:00:00Z"), 2h}, {at("2026-10-25T01:00:00Z"), 1h}}};
}

api::BudgetSchedule schedule(std::string_view cron, std::chrono::seconds duration, std::string_view zone = "Europe/Berlin") {
  return {.name = "s", .type = api::ScheduleType::deny, .cron = cron, .time_zone = zone, .duration = duration};
}

std::string state(const api::BudgetSchedule& s, std::string_view now) {
  const std::vector<ZoneFacts> zones{berlin()};
  const auto got = judge(s, zone_of(s, zones), at(now));
  if (!got.error.empty()) return got.error;
  return (got.on ? "on until " : "off until ") + (got.until ? reconcile::format_rfc3339(*got.until) : "ever");
}

}  // namespace

TEST_CASE("a schedule is on from its start for its duration", "[guard][schedule]") {
  const auto night = schedule("0 22 * * *", 8h, "");
  CHECK(state(night, "2026-11-25T21:59:59Z") == "off until 2026-11-25T22:00:00Z");
  CHECK(state(night, "2026-11-25T22:00:00Z") == "on until 2026-11-26T06:00:00Z");
  CHECK(state(night, "2026-11-26T05:59:59.999Z") == "on until 2026-11-26T06:00:00Z");
  CHECK(state(night, "2026-11-26T06:00:00Z") == "off until 2026-11-26T22:00:00Z");
}

TEST_CASE("starts that overlap prolong it", "[guard][schedule]") {
  CHECK(state(schedule("0 9-11 * * *", 90min, ""), "2026-11-25T09:10:00Z") == "on until 2026-11-25T12:30:00Z");
  CHECK(state(schedule("0 9,10 * * *", 1h, ""), "2026-11-25T09:10:00Z") == "on until 2026-11-25T11:00:00Z");  // they touch
  CHECK(state(schedule("0 0 * * *", 24h, ""), "2026-11-25T09:10:00Z") == "on until ever");
  CHECK(state(schedule("0 0 1 1 *", 168h, ""), "2027-01-07T23:00:00Z") == "on until 2027-01-08T00:00:00Z");
  CHECK(state(schedule("0 0 29 2 *", 1h, ""), "2026-11-25T00:00:00Z") == "off until ever");  // not within a year
}

TEST_CASE("it goes by the clocks of its zone", "[guard][schedule]") {
  const auto night = schedule("0 22 * * *", 8h);
  CHECK(state(night, "2026-07-01T20:00:00Z") == "on until 2026-07-02T04:00:00Z");
  CHECK(state(night, "2026-12-01T20:30:00Z") == "off until 2026-12-01T21:00:00Z");
  // Its length is in real time: through the change it ends an hour later, or earlier, by the clocks.
  CHECK(state(night, "2026-03-28T23:00:00Z") == "on until 2026-03-29T05:00:00Z");
  CHECK(state(night, "2026-10-24T23:00:00Z") == "on until 2026-10-25T04:00:00Z");
}

TEST_CASE("a start in the gap begins at the first moment after it", "[guard][schedule]") {
  const auto s = schedule("30 2 * * *", 20min);
  CHECK(state(s, "2026-03-28T02:00:00Z") == "off until 2026-03-29T01:00:00Z");  // 03:00, as 02:30 isn't shown
  CHECK(state(s, "2026-03-29T01:00:00Z") == "on until 2026-03-29T01:20:00Z");
  CHECK(state(s, "2026-03-29T01:20:00Z") == "off until 2026-03-30T00:30:00Z");
  // Several starts in it are one.
  CHECK(state(schedule("0,20,40 2 * * *", 10min), "2026-03-29T00:59:59Z") == "off until 2026-03-29T01:00:00Z");
  CHECK(state(schedule("0,20,40 2 * * *", 10min), "2026-03-29T01:10:00Z") == "off until 2026-03-30T00:00:00Z");
  // Its borders: 01:59 is shown, 03:00 is shown.
  CHECK(state(schedule("59 1 * * *", 60s), "2026-03-29T00:58:59Z") == "off until 2026-03-29T00:59:00Z");
  CHECK(state(schedule("0 3 * * *", 60s), "2026-03-29T00:58:59Z") == "off until 2026-03-29T01:00:00Z");
}

TEST_CASE("a start that is shown twice begins once, at the first", "[guard][schedule]") {
  const auto s = schedule("30 2 * * *", 20min);
  CHECK(state(s, "2026-10-25T00:00:00Z") == "off until 2026-10-25T00:30:00Z");
  CHECK(state(s, "2026-10-25T00:30:00Z") == "on until 2026-10-25T00:50:00Z");
  CHECK(state(s, "2026-10-25T00:50:00Z") == "off until 2026-10-26T01:30:00Z");
  // Its borders: 01:59 and 03:00 are shown once.
  CHECK(state(schedule("0 2 * * *", 60s), "2026-10-25T00:01:00Z") == "off until 2026-10-26T01:00:00Z");
  CHECK(state(schedule("0 3 * * *", 60s), "2026-10-25T00:01:00Z") == "off until 2026-10-25T02:00:00Z");
}

TEST_CASE("with every hour it goes by the clock as it runs", "[guard][schedule]") {
  const auto s = schedule("*/15 * * * *", 15min);
  for (const auto* now : {"2026-03-29T00:59:00Z", "2026-03-29T01:00:00Z", "2026-10-25T00:59:00Z", "2026-10-25T01:30:00Z"})
    CHECK(state(s, now) == "on until ever");
  const auto half = schedule("30 * * * *", 10min);
  CHECK(state(half, "2026-03-29T00:40:00Z") == "off until 2026-03-29T01:30:00Z");  // 02:30 is skipped
  CHECK(state(half, "2026-10-25T00:40:00Z") == "off until 2026-10-25T01:30:00Z");  // 02:30 again
}

TEST_CASE("what can't be judged says which field is wrong", "[guard][schedule]") {
  CHECK(state(schedule("0 25 * * *", 1h), "2026-11-25T00:00:00Z") == "cron: hour \"25\" is not in 0-23");
  CHECK(state(schedule("0 2 * * *", 1h, "Mars/Olympus"), "2026-11-25T00:00:00Z") == "timeZone: nothing is known of \"Mars/Olympus\" yet");
  const std::vector<ZoneFacts> zones{{.name = "Mars/Olympus", .error = "unknown", .segments = {}}};
  const auto s = schedule("0 2 * * *", 1h, "Mars/Olympus");
  CHECK(judge(s, zone_of(s, zones), at("2026-11-25T00:00:00Z")).error == "timeZone: unknown");
}

// Against a slow reading of the same rule: every minute of the year is asked what the clocks show.
TEST_CASE("a year of minutes agrees with what the clocks show", "[guard][schedule]") {
  const auto zone = berlin();
  const auto s = schedule("15 1,2,3 * * *", 10min);
  for (auto now = at("2026-01-01T00:00:00Z"); now < at("2026-12-31T00:00:00Z"); now += 7min) {
    bool on = false;
    for (auto start = now - 9min - 59s; start <= now && !on; start += 1s) {
      if (start.time_since_epoch() % 60s != 0s) continue;
      std::chrono::seconds offset{};
      for (const auto& segment : zone.segments)
        if (segment.from <= start) offset = segment.offset;
      const auto minute = std::chrono::floor<std::chrono::minutes>((start + offset).time_since_epoch()) % 24h;
      const bool second_time = start >= at("2026-10-25T01:00:00Z") && start < at("2026-10-25T02:00:00Z");
      on = (minute == 75min || minute == 135min || minute == 195min) && !second_time;
      on = on || start == at("2026-03-29T01:00:00Z");  // 02:15
    }
    const auto got = judge(s, &zone, now);
    if (got.on != on) FAIL(reconcile::format_rfc3339(now));
  }
}

TEST_CASE("what was judged is known until it changes: a year of starts is walked once", "[guard][schedule]") {
  ScheduleCache cache;
  const auto night = schedule("0 22 * * *", 8h, "");
  const std::vector<ZoneFacts> none;
  const auto* utc = zone_of(night, none);
  const auto said = [&](std::string_view now) {
    const auto& got = cache.state(night, utc, at(now));
    return (got.on ? "on " : "off ") + reconcile::format_rfc3339(got.until.value_or(WallTime{}));
  };
  CHECK(said("2026-11-25T21:59:00Z") == "off 2026-11-25T22:00:00Z");
  CHECK(said("2026-11-25T21:59:59Z") == "off 2026-11-25T22:00:00Z");
  CHECK(said("2026-11-25T22:00:00Z") == "on 2026-11-26T06:00:00Z");
  CHECK(said("2026-11-25T21:00:00Z") == "off 2026-11-25T22:00:00Z");  // a clock that was set back
  CHECK(said("2026-11-26T06:00:00Z") == "off 2026-11-26T22:00:00Z");
  // Each minute for two minutes: 525,600 starts a year. 10,000 questions would take minutes if each of them walked.
  const auto always = schedule("* * * * *", 2min, "");
  for (int i = 0; i < 10'000; ++i) REQUIRE(cache.state(always, utc, at("2026-11-25T00:00:00Z") + i * 100ms).on);
  const auto wrong = schedule("0 25 * * *", 1h, "");
  CHECK_FALSE(cache.state(wrong, utc, at("2026-11-25T00:00:00Z")).error.empty());
}
