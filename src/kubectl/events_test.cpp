#include "src/kubectl/events.hpp"

#include <catch2/catch.hpp>

#include "reconcile/json/decode.hpp"

using namespace endstate::kubectl;
using reconcile::Ref, reconcile::WallTime;
using std::chrono::seconds;

namespace {

Ref<Event> read(const std::string& json) {
  reconcile::Pool pool;
  auto e = reconcile::decode<Event>(json, pool);
  if (!e) throw std::runtime_error(e.error().message);
  return std::make_shared<const Event>(std::move(*e));
}
// Far more of the object than is told: what a real API server answers.
Ref<Event> event(const std::string& reason, const std::string& time, const std::string& more = "") {
  return read(R"({"kind":"Event","apiVersion":"events.k8s.io/v1","metadata":{"name":"workers.1","namespace":"default"},"action":"Rollout",)"
              R"("deprecatedSource":{},"deprecatedFirstTimestamp":null,"deprecatedLastTimestamp":null,"note":"said so","eventTime":")" +
              time + "\",\"type\":\"Normal\",\"reason\":\"" + reason + "\"" + more + "}");
}
const WallTime now = *reconcile::parse_rfc3339("2026-11-25T22:00:00Z");

}  // namespace

TEST_CASE("events are told with the newest first, and how often", "[kubectl]") {
  Tree root{"MachineSet default/workers"};
  tell_events(
      {event("StepStarted", "2026-11-25T21:58:00.289704Z"),
       event("PreflightFailed", "2026-11-25T21:00:00.000000Z", R"(,"series":{"count":7,"lastObservedTime":"2026-11-25T21:59:30.000000Z"})"),
       read(R"({"metadata":{"name":"x"},"eventTime":null,"deprecatedFirstTimestamp":"2026-11-25T21:00:00Z",)"
            R"("deprecatedLastTimestamp":"2026-11-25T21:50:00Z","deprecatedCount":3,"type":"Warning","reason":"Old","note":""})")},
      now, root);
  CHECK(draw(root) ==
        "MachineSet default/workers\n"
        "└── events\n"
        "    ├── 30s ago (7 times), PreflightFailed: said so\n"
        "    ├── 1m59s ago, StepStarted: said so\n"
        "    └── 10m ago (3 times), Warning Old\n");
}

TEST_CASE("many events are ten, and a number; none is nothing", "[kubectl]") {
  Tree root{"x"};
  tell_events({}, now, root);
  CHECK(root.below.empty());
  std::vector<Ref<Event>> many(25, event("StepStarted", "2026-11-25T21:58:00.289704Z"));
  tell_events(many, now, root);
  REQUIRE(root.below.size() == 1);
  REQUIRE(root.below[0].below.size() == events_told + 1);
  CHECK(root.below[0].below.back().text == "... and 15 older ones");
}
