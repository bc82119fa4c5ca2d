#include "reconcile/base/time.hpp"

#include <catch2/catch.hpp>

using namespace reconcile;
using namespace std::chrono_literals;

TEST_CASE("RFC 3339: what is written is read back", "[time]") {
  const WallTime t(1795404855s + 42us);
  CHECK(format_rfc3339(t) == "2026-11-23T03:34:15Z");
  CHECK(format_rfc3339_micro(t) == "2026-11-23T03:34:15.000042Z");
  CHECK(parse_rfc3339("2026-11-23T03:34:15.000042Z") == t);
  CHECK(parse_rfc3339("2026-11-23T11:34:15.000042999+08:00") == t);
  CHECK(parse_rfc3339("2026-11-22T22:04:15.000042-05:30") == t);
  CHECK(parse_rfc3339("2026-11-23t03:34:15.5z") == WallTime(1795404855s + 500000us));
  CHECK(parse_rfc3339("2016-12-31T23:59:60Z") == parse_rfc3339("2016-12-31T23:59:59Z"));
}

TEST_CASE("RFC 3339: what isn't one is refused", "[time]") {
  for (const auto* bad :
       {"", "2026", "2026-11-23", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-23T24:00:00Z", "2026-11-23T03:34:15",
        "2026-11-23T03:34:15.Z", "2026-11-23T03:34:15Zx", "2026-11-23T03:34:15+8:00", "-026-11-23T03:34:15Z", "2026-11-23T03:34:-1Z"})
    CHECK_FALSE(parse_rfc3339(bad).has_value());
}

TEST_CASE("ages read as kubectl prints them", "[time]") {
  CHECK(format_duration(0s) == "0s");
  CHECK(format_duration(45s) == "45s");
  CHECK(format_duration(200s) == "3m20s");
  CHECK(format_duration(2h + 5min + 3s) == "2h5m");
  CHECK(format_duration(76h) == "3d4h");
  CHECK(format_duration(-90s) == "-1m30s");
}
