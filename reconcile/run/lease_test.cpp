#include "reconcile/run/lease.hpp"

#include <catch2/catch.hpp>
#include <deque>
#include <nlohmann/json.hpp>

#include "reconcile/kube/core.hpp"
#include "reconcile/kube/kind.hpp"
#include "reconcile/sim/seeds.hpp"
#include "reconcile/sim/sim_api.hpp"

using namespace reconcile;
using namespace std::chrono_literals;

namespace {

const Resource& leases = resource_of<reconcile::Lease>;

LeaseOptions options(std::string identity) { return {.name_space = "sys", .name = "op", .identity = std::move(identity)}; }

struct Candidate {
  SimEnv env;
  Leadership lease;
  int acquired = 0, lost = 0;
  Candidate(SimWorld& world, SimApi& api, const std::string& identity, SimFaults faults = {})
      : env(world, identity, faults), lease(env, options(identity), no_log()) {
    env.serve("", api);
    lease.start([this](bool leading) { ++(leading ? acquired : lost); });
  }
  bool acts() const { return lease.may_act(env.now().mono); }
};

nlohmann::json spec(const SimApi& api) { return nlohmann::json::parse(*api.get(leases, "sys", "op")).at("spec"); }

}  // namespace

TEST_CASE("lease: options that can't work are refused") {
  CHECK(validate(options("a")));
  auto o = options("a");
  o.renew_deadline = o.duration;
  CHECK_FALSE(validate(o));
  o = options("a");
  o.retry_period = 9s;
  CHECK_FALSE(validate(o));
  CHECK_FALSE(validate(options("")));
  o = options("a");
  o.duration = 15'500ms;
  CHECK_FALSE(validate(o));
  SimWorld world(1);
  SimEnv env(world, "a");
  CHECK_THROWS_AS(Leadership(env, options(""), no_log()), std::invalid_argument);
}

TEST_CASE("lease: one leads, the other waits; a clean release hands over at once, with the next generation") {
  SimWorld world(7);
  SimApi api(world);
  Candidate a(world, api, "a");
  REQUIRE(world.run_until([&] { return a.acts(); }, 1s));
  Candidate b(world, api, "b");
  world.run_for(5min);
  CHECK(a.acts());
  CHECK_FALSE(b.acts());
  CHECK(a.acquired == 1);
  CHECK(spec(api)["holderIdentity"] == "a");
  CHECK(spec(api)["leaseDurationSeconds"] == 15);
  CHECK(a.lease.generation() == 0);

  bool done = false;
  a.lease.release([&] { done = true; });
  CHECK_FALSE(a.acts());
  const auto from = world.now();
  REQUIRE(world.run_until([&] { return b.acts(); }, 10s));
  CHECK(world.now() - from < 1s);
  CHECK(done);
  CHECK(b.lease.generation() == 1);
  CHECK(a.lost == 0);
  world.run_for(1min);
  CHECK(b.acts());
  CHECK_FALSE(a.acts());
}

TEST_CASE("lease: a dead holder's lease is taken when it has not changed for its duration, and not before") {
  SimWorld world(3);
  SimApi api(world);
  auto a = std::make_unique<Candidate>(world, api, "a");
  Candidate b(world, api, "b");
  REQUIRE(world.run_until([&] { return a->acts() || b.acts(); }, 5s));
  if (b.acts()) return;  // the seed decides who is first; this one is a's
  world.run_for(20s);
  a->env.kill();
  const auto from = world.now();
  REQUIRE(world.run_until([&] { return b.acts(); }, 1min));
  CHECK(world.now() - from > 12s);  // the last renewal may be 2 s and a bit old
  CHECK(world.now() - from < 20s);
  CHECK(b.lease.generation() == 1);
}

TEST_CASE("lease: a restarted process takes its own lease at once, as another generation; its ghost stops") {
  SimWorld world(4);
  SimApi api(world);
  auto a = std::make_unique<Candidate>(world, api, "a");
  REQUIRE(world.run_until([&] { return a->acts(); }, 5s));
  world.run_for(20s);
  Candidate again(world, api, "a");
  REQUIRE(world.run_until([&] { return again.acts(); }, 1s));
  CHECK(again.lease.generation() == 1);
  REQUIRE(world.run_until([&] { return !a->acts(); }, 4s));  // the first was alive after all: it learns it at its next renewal
  world.run_for(1min);
  CHECK(again.acts());
  CHECK_FALSE(a->acts());
  CHECK(a->lost == 1);
}

TEST_CASE("lease: jeopardy ends the right to act before the lease can end") {
  SimWorld world(5);
  SimApi api(world);
  Candidate a(world, api, "a");
  REQUIRE(world.run_until([&] { return a.acts(); }, 5s));
  world.run_for(30s);
  api.stop();
  const auto from = world.now();
  REQUIRE(world.run_until([&] { return a.lost == 1; }, 1min));
  CHECK(world.now() - from <= 10s);
  CHECK_FALSE(a.acts());
  CHECK(a.lease.write_margin() == 5s);
  api.start();
  REQUIRE(world.run_until([&] { return a.acts(); }, 10s));
  CHECK(a.lease.generation() == 1);  // every acquisition has a generation of its own
}

TEST_CASE("lease: a lease that others took, or that was deleted, is not ours any more") {
  SimWorld world(6);
  SimApi api(world);
  Candidate a(world, api, "a");
  REQUIRE(world.run_until([&] { return a.acts(); }, 5s));
  REQUIRE(api.request({.verb = Verb::merge_patch,
                       .resource = &leases,
                       .name_space = "sys",
                       .name = "op",
                       .body = R"({"spec":{"holderIdentity":"x","leaseTransitions":9}})"}));
  REQUIRE(world.run_until([&] { return a.lost == 1; }, 5s));
  world.run_for(10s);
  CHECK_FALSE(a.acts());
  REQUIRE(api.request({.verb = Verb::remove, .resource = &leases, .name_space = "sys", .name = "op"}));
  REQUIRE(world.run_until([&] { return a.acts(); }, 10s));
}

// The promise itself, checked at every step of many worlds: nobody acts while another does, whatever is lost, paused or set.
TEST_CASE("lease: never two act at once") {
  int handovers = 0;
  for_seeds(300, [&](std::uint64_t seed) {
    SimWorld world(seed);
    SimApi api(world);
    const SimFaults faults{.refused = 60,
                           .reply_lost = 100,
                           .request_lost = 60,
                           .throttled = 20,
                           .watch_cut = 50,
                           .fastest = 1ms,
                           .slowest = seed % 3 ? 50ms : 2s};
    std::deque<std::unique_ptr<Candidate>> processes;
    std::map<std::int64_t, const Candidate*> generations;
    int serial = 0;
    const auto spawn = [&] { processes.push_back(std::make_unique<Candidate>(world, api, "p" + std::to_string(serial++), faults)); };
    spawn();
    spawn();
    const auto until = world.now() + 4min;
    MonoTime next_trouble = world.now() + 5s;
    const Candidate* last = nullptr;
    while (world.now() < until && world.step()) {
      const Candidate* acting = nullptr;
      for (const auto& p : processes) {
        if (!p->acts()) continue;
        INFO("seed " << seed);
        REQUIRE(acting == nullptr);
        acting = p.get();
        // One generation, one holder.
        const auto [it, first] = generations.emplace(p->lease.generation(), p.get());
        REQUIRE(it->second == p.get());
      }
      if (acting && acting != last) {
        ++handovers;
        last = acting;
      }
      if (world.now() < next_trouble) continue;
      next_trouble = world.now() + world.between(3s, 30s);
      auto& p = *processes[world.random() % processes.size()];
      switch (world.random() % 6) {
        case 0: p.env.pause(world.between(1s, 40s)); break;
        case 1: p.env.jump_wall(std::chrono::hours(static_cast<int>(world.random() % 48) - 24)); break;
        case 2: p.env.kill(); break;  // it stays as it was in memory: may_act() must end by itself
        case 3: p.env.cut("", world.random() % 2 == 0); break;
        case 4: api.cut_watches(); break;
        default: p.lease.release([] {}); break;
      }
      if (processes.size() < 8) spawn();
    }
  });
  CHECK(handovers > 2);  // the simulation does something
}

TEST_CASE("lease: a seed replays exactly") {
  const auto run = [] {
    SimWorld world(99);
    SimApi api(world);
    Candidate a(world, api, "a", {.refused = 100, .reply_lost = 100}), b(world, api, "b", {.refused = 100, .reply_lost = 100});
    world.run_for(2min);
    return std::pair(world.trace(), world.steps());
  };
  CHECK(run() == run());
}

TEST_CASE("lease: who acquires it knows since when nobody had renewed it") {
  SimWorld world(9);
  SimApi api(world);
  std::optional<Candidate> a(std::in_place, world, api, "a");
  REQUIRE(world.run_until([&] { return a->acts(); }, 1s));
  CHECK(!a->lease.unrenewed_since());  // it is new
  world.run_for(5min);
  const auto last = *parse_rfc3339(spec(api)["renewTime"].get<std::string>());
  a->env.kill();
  world.run_for(10min);
  Candidate b(world, api, "b");
  REQUIRE(world.run_until([&] { return b.acts(); }, 1min));
  CHECK(b.lease.unrenewed_since() == last);
  SECTION("the same process, too, that was cut off") {
    world.run_for(1min);
    b.env.cut("", true);
    const auto lost = b.env.now().wall;
    world.run_for(3min);
    CHECK(!b.acts());
    b.env.cut("", false);
    REQUIRE(world.run_until([&] { return b.acts(); }, 2min));
    CHECK(*b.lease.unrenewed_since() <= lost);
    CHECK(*b.lease.unrenewed_since() > lost - 5s);
  }
}
