#include "reconcile/run/events.hpp"

#include <catch2/catch.hpp>

#include "reconcile/sim/sim_api.hpp"

using namespace reconcile;
using namespace std::chrono_literals;
using Catch::Contains;

namespace {

constexpr Resource event_resource{"events.k8s.io", "v1", "events", "Event"};

struct World {
  explicit World(SimFaults faults = {}) : env(world, "operator", faults) { env.serve("", api); }
  SimWorld world{7};
  SimApi api{world};
  SimEnv env;
  Metrics metrics{"toy"};
  Events events{env, {.controller = "toy-loop", .instance = "toy-0"}, metrics, no_log()};
  Regarding machine{"endstate.dev/v1alpha1", "Machine", {"prod", "m1"}, "u1"};
  EventNote note{.warning = true, .reason = "PackageFailed", .action = "Update", .note = "kubelet: exit code 1"};

  std::vector<std::string> stored() const { return api.list(event_resource, "prod"); }
};

}  // namespace

TEST_CASE("an event says who, what and about whom", "[events]") {
  World w;
  w.events.emit(w.machine, w.note);
  w.world.run_for(2s);
  REQUIRE(w.stored().size() == 1);
  CHECK_THAT(w.stored()[0], Contains("\"reason\":\"PackageFailed\"") && Contains("\"type\":\"Warning\"") &&
                                Contains("\"reportingController\":\"toy-loop\"") && Contains("\"reportingInstance\":\"toy-0\"") &&
                                Contains("\"uid\":\"u1\"") && Contains("\"name\":\"m1.") && !Contains("series"));
}

TEST_CASE("an event of a cluster-scoped object lives in default", "[events]") {
  World w;
  w.events.emit({"endstate.dev/v1alpha1", "ChangeBudget", {"", "b"}, "u2"}, w.note);
  w.world.run_for(2s);
  CHECK(w.api.list(event_resource, "default").size() == 1);
}

TEST_CASE("the same again becomes a series, written at most once a minute", "[events]") {
  World w;
  for (int i = 0; i < 100; ++i) {
    w.events.emit(w.machine, w.note);
    w.world.run_for(1s);
  }
  REQUIRE(w.stored().size() == 1);
  CHECK(w.api.writes["create events"] == 1);
  CHECK(w.api.writes["patch events"] == 1);
  w.world.run_for(10min);
  CHECK_THAT(w.stored()[0], Contains("\"count\":100"));
  CHECK(w.api.writes["patch events"] == 2);
  w.events.emit(w.machine, w.note);  // after the silence: a new one
  w.world.run_for(2s);
  CHECK(w.stored().size() == 2);
}

TEST_CASE("a source that talks too much about one object is cut; others are heard", "[events]") {
  World w;
  for (int i = 0; i < 40; ++i) w.events.emit(w.machine, {.reason = "Reason" + std::to_string(i), .action = "A", .note = "n"});
  w.world.run_for(10s);
  CHECK(w.stored().size() == 25);
  CHECK_THAT(w.metrics.text(), Contains("toy_events_total{result=\"spam\"} 15"));
  w.events.emit({"endstate.dev/v1alpha1", "Machine", {"prod", "m2"}, "u3"}, w.note);
  w.world.run_for(5min);
  w.events.emit(w.machine, w.note);  // one more each five minutes
  w.world.run_for(5s);
  CHECK(w.stored().size() == 27);
}

TEST_CASE("what waits is bounded while the server is down, and told when it is back", "[events]") {
  World w;
  w.api.stop();
  for (int i = 0; i < 1'200; ++i) w.events.emit({"v1", "Node", {"prod", "n" + std::to_string(i)}, std::to_string(i)}, w.note);
  w.world.run_for(30s);
  CHECK_THAT(w.metrics.text(), Contains("toy_events_total{result=\"dropped\"} 200"));
  w.api.start();
  w.world.run_for(10min);
  CHECK(w.stored().size() == 1'000);
}

TEST_CASE("lost replies and refusals neither lose nor double an event", "[events]") {
  World w({.refused = 200, .reply_lost = 200, .request_lost = 100, .throttled = 100});
  for (int i = 0; i < 20; ++i) w.events.emit(w.machine, {.reason = "R" + std::to_string(i), .action = "A", .note = "n"});
  w.world.run_for(5min);
  CHECK(w.stored().size() == 20);
}

TEST_CASE("the end sends what waits and the last counts, within its bound", "[events]") {
  World w;
  for (int i = 0; i < 5; ++i) w.events.emit(w.machine, w.note);
  w.world.run_for(1s);
  w.events.emit(w.machine, w.note);
  bool done = false;
  w.events.flush(5s, [&] { done = true; });
  REQUIRE(w.world.run_until([&] { return done; }, 5s));
  CHECK_THAT(w.stored()[0], Contains("\"count\":6"));

  World down;
  down.api.stop();
  down.events.emit(down.machine, down.note);
  done = false;
  const auto began = down.world.now();
  down.events.flush(5s, [&] { done = true; });
  REQUIRE(down.world.run_until([&] { return done; }, 1min));
  CHECK(down.world.now() - began <= 5s);
}
