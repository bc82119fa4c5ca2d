#include "controllers/guard/zones.hpp"

#include <catch2/catch.hpp>

using namespace endstate::guard;
using namespace std::chrono_literals;
using reconcile::WallTime;
namespace api = endstate::v1alpha1;

namespace {

WallTime at(std::string_view text) { return *reconcile::parse_rfc3339(text); }

}  // namespace

TEST_CASE("the system's data says when clocks change", "[guard][zones]") {
  const auto now = at("2026-01-15T12:00:00Z");
  const auto berlin = zone_facts("Europe/Berlin", now);
  CHECK(berlin.error.empty());
  REQUIRE(berlin.segments.size() == 3);
  CHECK(berlin.segments[0].from <= now - schedule_past);
  CHECK(berlin.segments[0].offset == 1h);
  CHECK(berlin.segments[1].from == at("2026-03-29T01:00:00Z"));
  CHECK(berlin.segments[1].offset == 2h);
  CHECK(berlin.segments[2].from == at("2026-10-25T01:00:00Z"));
  CHECK(berlin.segments[2].offset == 1h);

  CHECK(zone_facts("Asia/Shanghai", now).segments.size() == 1);
  CHECK(zone_facts("Asia/Shanghai", now).segments[0].offset == 8h);
  CHECK(zone_facts("Australia/Lord_Howe", now).segments[0].offset == 11h);  // in summer; half an hour less in winter
  CHECK(zone_facts("Etc/GMT+5", now).segments[0].offset == -5h);
  CHECK(zone_facts("UTC", now).segments[0].offset == 0h);
}

TEST_CASE("the data reaches years ahead", "[guard][zones]") {
  const auto facts = zone_facts("America/New_York", at("2035-07-01T00:00:00Z"));
  REQUIRE_FALSE(facts.segments.empty());
  CHECK(facts.segments[0].offset == -4h);
}

TEST_CASE("what is no zone is an error in its facts", "[guard][zones]") {
  for (const auto* name : {"Mars/Olympus", "../../../etc/passwd", "Europe", "posixrules", "europe/berlin", "CET "}) {
    INFO(name);
    const auto facts = zone_facts(name, at("2026-01-15T12:00:00Z"));
    CHECK(facts.error.find(name) != std::string::npos);
    CHECK(facts.segments.empty());
  }
}

TEST_CASE("each zone that budgets name is told once, UTC needs none", "[guard][zones]") {
  auto budget = std::make_shared<api::ChangeBudget>();
  for (const auto* zone : {"Asia/Shanghai", "", "Europe/Berlin", "Asia/Shanghai"}) budget->spec.schedules.emplace_back().time_zone = zone;
  const auto zones = zones_of({budget, budget}, at("2026-01-15T12:00:00Z"));
  REQUIRE(zones.size() == 2);
  CHECK(zones[0].name == "Asia/Shanghai");
  CHECK(zones[1].name == "Europe/Berlin");
}
