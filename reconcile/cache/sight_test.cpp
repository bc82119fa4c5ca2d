#include "reconcile/cache/sight.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "reconcile/cache/caches.hpp"
#include "reconcile/sim/seeds.hpp"
#include "reconcile/sim/sim_api.hpp"
#include "reconcile/sim/toy.hpp"

using namespace reconcile;
using namespace std::chrono_literals;
using nlohmann::json;
using toy::Part, toy::Widget;

namespace {

const Resource& widgets = resource_of<Widget>;
const Resource& parts = resource_of<Part>;

// Refuses the watches of one kind.
struct Gate final : SimServer {
  explicit Gate(SimApi& a) : api(a) {}
  SimApi& api;
  std::string refused;
  Reply serve(const Call& call) override { return api.serve(call); }
  Result<Handle> serve_watch(const Call& call, Push push, End end) override {
    if (call.resource->plural == refused) return fail(Error{Code::forbidden, refused + " is forbidden", 0ms, "Forbidden"});
    return api.serve_watch(call, std::move(push), std::move(end));
  }
};

// An API server with some widgets and parts, seen by one process that probes it each 10 s as Connections do.
struct Seeing {
  SimWorld world;
  SimApi api;
  Gate gate{api};
  SimEnv env;
  Caches caches;
  int changes = 0;
  bool probing = true;
  Handle probe, timer;
  MonoTime answered{};

  explicit Seeing(int many = 3, std::uint64_t seed = 1, SimApiOptions api_options = {}, CachesOptions options = {}, SimFaults faults = {})
      : world(seed), api(world, std::move(api_options)), env(world, "p", faults), caches(env, seed_log("p"), std::move(options)) {
    env.serve("c", gate);
    for (int i = 0; i < many; ++i) make(widgets, "w" + std::to_string(i));
    make(parts, "p");
    caches.on_sight([this](std::string_view cluster) { changes += cluster == "c"; });
    caches.watch("c", {.kind = &kind_of<Widget>});
    caches.watch("c", {.kind = &kind_of<Part>});
    ask();
  }
  void ask() {
    timer = env.at(env.now().mono + 10s, [this] { ask(); });
    if (!probing) return;
    probe = env.call(
        {.cluster = "c", .path = "/readyz", .timeout = 5s}, [](std::string_view) {},
        [this](Result<void> end) {
          if (end) answered = env.now().mono;
          caches.unreachable("c", end ? std::nullopt : std::optional(answered));
        });
  }
  void make(const Resource& resource, const std::string& name) {
    const json body{{"metadata", {{"name", name}, {"namespace", "ns"}}}, {"spec", {{"color", "red"}}}};
    REQUIRE(api.request({.verb = Verb::create, .resource = &resource, .name_space = "ns", .body = body.dump()}));
  }
  Sight sight() const { return caches.sight("c"); }
  bool in_sight(std::chrono::nanoseconds limit) {
    return world.run_until([&] { return sight().seen; }, limit);
  }
  bool out_of_sight(std::chrono::nanoseconds limit) {
    return world.run_until([&] { return !sight().seen; }, limit);
  }
  WallTime wall() const { return env.now().wall; }
};

}  // namespace

TEST_CASE("sight: none before all has been read, then since that moment", "[sight]") {
  Seeing s;
  CHECK(!s.sight().seen);
  CHECK(s.sight().why == "not everything has been read yet");
  CHECK(!s.caches.sight("elsewhere").seen);
  REQUIRE(s.in_sight(2s));
  CHECK(s.sight().since <= s.wall());
  CHECK(s.sight().since > s.wall() - 1s);
  CHECK(s.sight().why.empty());
  CHECK(s.changes == 1);
  CHECK(s.api.writes.empty() == false);
}

TEST_CASE("sight: hours at rest never end it, whether the API server sends bookmarks or none", "[sight]") {
  for (const auto period : {60s, 86'400s}) {
    Seeing s(3, 1, {.bookmark_period = period}, {}, {.slowest = 400ms});
    REQUIRE(s.in_sight(10s));
    const auto since = s.sight().since;
    const auto until = s.world.now() + 2h;
    while (s.world.now() < until) {
      REQUIRE(s.sight().seen);
      s.world.run_for(500ms);
    }
    CHECK(s.sight().since == since);
    CHECK(s.changes == 1);
    for (const auto& w : s.caches.states()) CHECK(w.relists == 1);
  }
}

TEST_CASE("sight: a network that is cut ends it from the last contact on, whoever finds out", "[sight]") {
  for (const bool probing : {true, false}) {
    Seeing s;
    s.probing = probing;
    REQUIRE(s.in_sight(2s));
    s.world.run_for(20s);
    const auto contact = s.wall();
    s.make(widgets, "late");
    s.make(parts, "late");
    s.world.run_for(1s);
    s.env.cut("c", true);
    REQUIRE(s.out_of_sight(probing ? 40s : 76s));
    CHECK(s.sight().since >= contact);
    CHECK(s.sight().since <= contact + 1s);
    CHECK(!s.sight().why.empty());
    s.make(widgets, "unseen");
    s.world.run_for(3min);
    CHECK(!s.sight().seen);
    CHECK(s.sight().since <= contact + 1s);  // it doesn't move
    s.env.cut("c", false);
    const auto back = s.wall();
    REQUIRE(s.in_sight(2min));
    CHECK(s.sight().since >= back);
    CHECK(s.caches.get<Widget>("c", "ns", "unseen"));
    CHECK(s.changes == 3);
  }
}

TEST_CASE("sight: one lost probe is no news", "[sight]") {
  Seeing s;
  s.probing = false;
  REQUIRE(s.in_sight(2s));
  s.caches.unreachable("c", s.env.now().mono - 10s);
  CHECK(s.sight().seen);
  s.caches.unreachable("c", s.env.now().mono - 20s);
  CHECK(!s.sight().seen);
  CHECK(s.sight().why == "its API server does not answer");
}

// SIGSTOP: the kernel takes connections, nothing is refused, watches are silent as those of a resting kind are.
TEST_CASE("sight: a server that is frozen is found out, by its probe or by the watches alone", "[sight]") {
  for (const bool probing : {true, false}) {
    Seeing s(3, 1, {.bookmark_period = 86'400s});
    s.probing = probing;
    REQUIRE(s.in_sight(2s));
    s.world.run_for(200s);
    const auto frozen = s.wall();
    s.env.freeze("c", true);
    REQUIRE(s.out_of_sight(probing ? 40s : 76s));
    CHECK(s.sight().since <= frozen);
    CHECK(s.sight().since >= frozen - 70s);
    for (const auto& w : s.caches.states()) CHECK(w.lag >= (probing ? 5s : 70s));
    s.world.run_for(4min);
    CHECK(!s.sight().seen);
    s.env.freeze("c", false);
    const auto back = s.wall();
    s.make(widgets, "unseen");
    REQUIRE(s.in_sight(2min));
    CHECK(s.sight().since >= back);
    CHECK(s.caches.get<Widget>("c", "ns", "unseen"));
  }
}

// Finding 19: a watch that was asked for is not accepted before its header has come.
TEST_CASE("sight: a watch that the server never answers is no contact", "[sight]") {
  Seeing s;
  s.probing = false;
  REQUIRE(s.in_sight(2s));
  s.api.cut_watches();
  s.env.freeze("c", true);
  s.world.run_for(20s);  // asked for again, and "open" for many seconds
  for (const auto& w : s.caches.states()) CHECK(w.lag >= 19s);
  REQUIRE(s.out_of_sight(60s));
}

TEST_CASE("sight: comes back only when the caches have reached what was there when contact came back", "[sight]") {
  for_seeds(10, [](std::uint64_t seed) {
    INFO("seed " << seed);
    for (const int many : {3, 600}) {  // read anew, or waited for
      for (const bool streaming : {true, false}) {
        Seeing s(many, seed, {.streaming = streaming}, {}, {.refused = 20, .reply_lost = 20});
        REQUIRE(s.in_sight(5min));
        s.env.cut("c", true);
        REQUIRE(s.out_of_sight(80s));
        s.world.run_for(30s);
        s.make(widgets, "unseen");
        s.env.set_faults({.watch_lag = 20s});  // the watch is open again, and tells of the past
        const auto relists = [&s] {
          for (const auto& w : s.caches.states())
            if (w.kind == &kind_of<Widget>) return w.relists;
          return std::uint64_t{0};
        };
        const auto before = relists();
        bool whole = false;
        s.caches.on_sight([&](std::string_view) { whole = s.caches.get<Widget>("c", "ns", "unseen") != nullptr; });
        s.env.cut("c", false);
        REQUIRE(s.in_sight(5min));
        CHECK(whole);
        CHECK(relists() == before + (many > 500 ? 0 : 1));
      }
    }
  });
}

TEST_CASE("sight: a mark that no bookmark reaches is waited for 90 s, then all is read anew", "[sight]") {
  Seeing s(600, 1, {.bookmark_period = 86'400s});
  REQUIRE(s.in_sight(10s));
  s.env.cut("c", true);
  REQUIRE(s.out_of_sight(80s));
  s.make(parts, "moves the version that all kinds share");
  s.env.cut("c", false);
  CHECK(!s.in_sight(85s));
  CHECK(s.in_sight(60s));
}

TEST_CASE("sight: a list that takes its time is a gap, and its end is the end of it", "[sight]") {
  Seeing s;
  REQUIRE(s.in_sight(2s));
  s.world.run_for(10s);
  const auto contact = s.wall();
  s.api.forget_history();
  s.env.set_faults({.watch_lag = 100s});
  s.api.cut_watches();
  s.world.run_for(5s);
  s.env.set_faults({});  // those that are on their way
  REQUIRE(s.out_of_sight(80s));
  CHECK(s.sight().since <= contact);
  REQUIRE(s.in_sight(5min));
  CHECK(s.sight().since > contact + 100s);
}

TEST_CASE("sight: what may not be watched any more is not seen, if it is needed", "[sight]") {
  for (const bool needed : {true, false}) {
    Seeing s(3, 1, {}, {.needed = {needed ? &parts : &widgets}});
    REQUIRE(s.in_sight(2s));
    s.gate.refused = "parts";
    s.api.cut_watches();
    CHECK(s.out_of_sight(3min) == needed);
    if (!needed) continue;
    CHECK(s.sight().why == "parts may not be watched: parts is forbidden");
    s.gate.refused.clear();
    CHECK(s.in_sight(2min));
  }
}

TEST_CASE("sight: an etcd that was put back is read again before anyone judges by it", "[sight]") {
  Seeing s;
  REQUIRE(s.in_sight(2s));
  const auto saved = s.api.save();
  for (int i = 0; i < 20; ++i) s.make(widgets, "x" + std::to_string(i));
  s.world.run_for(5s);
  s.api.restore(saved);
  REQUIRE(s.out_of_sight(80s));
  REQUIRE(s.in_sight(2min));
  CHECK(s.caches.list<Widget>("c").size() == 3);
}

TEST_CASE("sight: a gap in which nobody looked is one of every connection, also of those that come late", "[sight]") {
  Seeing s;
  REQUIRE(s.in_sight(2s));
  s.world.run_for(10min);
  const auto since = s.wall() - 4min;
  s.caches.missed(since, "nobody led");
  CHECK(!s.sight().seen);
  CHECK(s.sight().since == since);
  CHECK(s.sight().why == "nobody led");
  s.world.run_for(14s);
  CHECK(!s.sight().seen);  // so that the gap is stored before it is used
  CHECK(s.in_sight(3s));
  s.env.serve("d", s.gate);
  s.caches.watch("d", {.kind = &kind_of<Widget>});
  CHECK(s.caches.sight("d").since == since);
  s.world.run_for(10min);
  s.env.serve("e", s.gate);
  s.caches.watch("e", {.kind = &kind_of<Widget>});
  CHECK(s.caches.sight("e").since == s.wall());
}
