#include "controllers/cluster/break_glass.hpp"

#include <catch2/catch.hpp>

using namespace endstate;
using namespace endstate::cluster;
using namespace std::chrono_literals;
namespace api = v1alpha1;
using reconcile::WallTime;

namespace {

const WallTime start{std::chrono::sys_days(std::chrono::year(2026) / 11 / 30)};

struct Scene {
  api::Cluster cluster;
  WallTime now = start;
  void say(std::string_view text) { cluster.metadata.annotations.set(api::annotation::break_glass, text); }
  // Plans, stores; the reason of what was told.
  std::string pass() {
    const auto plan = plan_break_glass(cluster, now);
    cluster.status.break_glass = plan.status;
    again = plan.again;
    std::string told;
    for (const auto& e : plan.events) told += (told.empty() ? "" : " ") + e.reason.str();
    return told;
  }
  std::string state() const { return cluster.status.break_glass ? cluster.status.break_glass->state.str() : "none"; }
  std::optional<std::chrono::milliseconds> again;
};

}  // namespace

TEST_CASE("break-glass: until its time, at most 4 hours, told at its begin and end", "[break-glass]") {
  Scene s;
  CHECK(s.pass().empty());
  CHECK(s.state() == "none");
  std::chrono::seconds lasts{};
  SECTION("its time") {
    s.say("until=2026-11-30T01:00:00Z by=alice reason=the fix must go out");
    lasts = 1h;
  }
  SECTION("the longest") {
    s.say("until=2026-12-24T00:00:00Z by=alice reason=the fix must go out");
    lasts = 4h;
  }
  CHECK(s.pass() == "BreakGlass");
  CHECK(s.state() == "Active");
  CHECK(s.cluster.status.break_glass->by == "alice");
  CHECK(s.cluster.status.break_glass->reason == "the fix must go out");
  CHECK(s.again == lasts);
  s.now += lasts - 1s;
  CHECK(s.pass().empty());
  CHECK(s.state() == "Active");
  s.now += 1s;
  CHECK(s.pass() == "BreakGlassEnded");
  CHECK(s.state() == "Ended");
  // Git puts the same text back, or never took it off: it is not accepted twice.
  s.now += 10s;
  CHECK(s.pass().empty());
  s.cluster.metadata.annotations.erase(api::annotation::break_glass);
  CHECK(s.pass().empty());
  s.say(s.cluster.status.break_glass->text.view());
  CHECK(s.pass().empty());
  CHECK(s.state() == "Ended");
  s.say("until=2026-12-24T00:00:00Z by=alice reason=the second part of it");
  CHECK(s.pass() == "BreakGlass");
}

TEST_CASE("break-glass: ends when its annotation is taken away; another text takes its place", "[break-glass]") {
  Scene s;
  s.say("until=2026-11-30T02:00:00Z by=alice reason=the fix must go out");
  s.pass();
  s.now += 10min;
  SECTION("taken away") {
    s.cluster.metadata.annotations.erase(api::annotation::break_glass);
    CHECK(s.pass() == "BreakGlassEnded");
    CHECK(s.state() == "Ended");
    CHECK(s.cluster.status.break_glass->end_time == s.now);
  }
  SECTION("another") {
    s.say("until=2026-11-30T03:00:00Z by=bob reason=and another one");
    CHECK(s.pass() == "BreakGlassEnded BreakGlass");
    CHECK(s.cluster.status.break_glass->by == "bob");
    CHECK(s.again == 170min);
  }
}

TEST_CASE("break-glass: what isn't said as it must be is refused, once, with the cause", "[break-glass]") {
  const auto* text =
      GENERATE("yes please", "until=tomorrow by=alice reason=the fix must go out", "until=2026-11-30T02:00:00Z reason=12345678",
               "until=2026-11-30T02:00:00Z by= reason=12345678", "until=2026-11-30T02:00:00Z by=a b reason=12345678",
               "until=2026-11-30T02:00:00Z by=alice reason=short", "until=2026-11-29T23:59:59Z by=alice reason=too late for it");
  INFO(text);
  Scene s;
  s.say(text);
  CHECK(s.pass() == "BreakGlassRefused");
  CHECK(s.state() == "Refused");
  CHECK(s.pass().empty());
  Scene long_one;
  long_one.say("until=2026-11-30T02:00:00Z by=alice reason=" + std::string(600, 'x'));
  CHECK(long_one.pass() == "BreakGlassRefused");
  CHECK(long_one.pass().empty());
}
