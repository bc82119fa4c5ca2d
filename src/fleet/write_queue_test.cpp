#include "src/fleet/write_queue.hpp"

#include <catch2/catch.hpp>
#include <map>
#include <vector>

#include "reconcile/sim/sim_env.hpp"
#include "src/fleet/types.hpp"

using namespace endstate::fleet;
using namespace std::chrono_literals;
using reconcile::Call, reconcile::Code, reconcile::Error, reconcile::Result;

namespace {

struct Server final : reconcile::SimServer {
  std::function<Result<void>(const Call&)> answer = [](const Call&) { return Result<void>(); };
  std::vector<std::string> served;
  Reply serve(const Call& call) override {
    served.push_back(call.name);
    return {answer(call), {"stored"}};
  }
  Result<reconcile::Handle> serve_watch(const Call&, Push, End) override { return reconcile::fail(Code::invalid, "no watches here"); }
};

struct Rig {
  reconcile::SimWorld world;
  reconcile::SimEnv env{world, "fleet"};
  Server server;
  std::map<Ticket, int> answered, unanswered;
  std::map<Ticket, bool> wanted;
  std::size_t most_in_flight = 0;
  std::string last_body;
  WriteQueue queue;
  explicit Rig(std::uint64_t seed = 1, WriteQueueOptions options = {})
      : world(seed),
        queue(env, options,
              {.make = [this](Ticket t) -> std::optional<Call> {
                 if (!wanted[t]) return std::nullopt;
                 most_in_flight = std::max(most_in_flight, queue.in_flight() + 1);
                 return Call{.verb = reconcile::Verb::get, .resource = &reconcile::resource_of<SeenNode>, .name = std::to_string(t)};
               },
               .answered =
                   [this](Ticket t, const Result<void>&, std::string_view body) {
                     ++answered[t];
                     wanted[t] = false;
                     last_body = body;
                   },
               .unanswered = [this](Ticket t, const Error&) { ++unanswered[t]; }}) {
    env.serve("", server);
  }
  void want(Ticket t) {
    wanted[t] = true;
    queue.add(t);
  }
  bool idle() const { return queue.waiting() == 0 && queue.in_flight() == 0; }
};

}  // namespace

TEST_CASE("writes go out in order, a bounded number at a time, each once") {
  Rig rig;
  for (Ticket t = 0; t < 500; ++t) {
    rig.want(t);
    rig.want(t);
  }
  CHECK(rig.queue.waiting() == 500);
  CHECK(rig.queue.in_flight() == 0);  // never from inside add()
  REQUIRE(rig.world.run_until([&] { return rig.idle(); }, 60s));
  CHECK(rig.answered.size() == 500);
  for (const auto& [t, n] : rig.answered) CHECK(n == 1);
  CHECK(rig.most_in_flight == 32);
  CHECK(rig.last_body == "stored");
}

TEST_CASE("what can wait gets every fourth turn, and all of them when there is nothing else") {
  Rig rig(1, {.max_in_flight = 1});
  for (Ticket t = 0; t < 100; ++t) {
    rig.wanted[t] = true;
    rig.queue.add(t, Lane::patient);
  }
  for (Ticket t = 1000; t < 1030; ++t) rig.want(t);
  REQUIRE(rig.world.run_until([&] { return rig.idle(); }, 60s));
  REQUIRE(rig.server.served.size() == 130);
  int prompt = 0;
  for (std::size_t i = 0; i < 40; ++i) prompt += rig.server.served[i].size() == 4 ? 1 : 0;
  CHECK(prompt == 30);
}

TEST_CASE("what is no longer wanted when its turn comes is not written") {
  Rig rig;
  for (Ticket t = 0; t < 100; ++t) rig.want(t);
  for (Ticket t = 0; t < 100; t += 2) rig.wanted[t] = false;
  REQUIRE(rig.world.run_until([&] { return rig.idle(); }, 60s));
  CHECK(rig.server.served.size() == 50);
}

TEST_CASE("while the API server is away one write at a time asks, and then all go out") {
  Rig rig;
  rig.server.answer = [](const Call&) { return reconcile::fail(Code::unavailable, "connection refused"); };
  for (Ticket t = 0; t < 1000; ++t) rig.want(t);
  rig.world.run_for(1s);
  CHECK(rig.queue.paused());
  const auto before = rig.server.served.size();
  rig.world.run_for(60s);
  const auto asked = rig.server.served.size() - before;
  CHECK(asked >= 9);  // at least each 6.25 s
  CHECK(asked <= 25);
  CHECK(rig.queue.waiting() == 1000);
  rig.server.answer = [](const Call&) { return Result<void>(); };
  REQUIRE(rig.world.run_until([&] { return rig.idle(); }, 30s));
  CHECK(rig.answered.size() == 1000);
}

TEST_CASE("Retry-After is kept, within reason") {
  for (const auto& [said, at_least, at_most] : {std::tuple{3s, 3s, 5s}, std::tuple{86'400s, 60s, 80s}}) {
    Rig rig;
    bool first = true;
    rig.server.answer = [&, after = said](const Call&) -> Result<void> {
      if (!std::exchange(first, false)) return {};
      return reconcile::fail(Error{.code = Code::throttled, .message = "later", .retry_after = after});
    };
    rig.want(1);
    const auto began = rig.world.now();
    REQUIRE(rig.world.run_until([&] { return rig.idle(); }, 200s));
    CHECK(rig.world.now() - began >= at_least);
    CHECK(rig.world.now() - began <= at_most);
  }
}

TEST_CASE("one write that never gets an answer doesn't keep out the rest") {
  Rig rig;
  rig.server.answer = [](const Call& c) -> Result<void> {
    if (c.name == "7") return reconcile::fail(Code::maybe_done, "500");
    return {};
  };
  for (Ticket t = 0; t < 300; ++t) rig.want(t);
  rig.world.run_for(30s);
  CHECK(rig.answered.size() == 299);
  CHECK(rig.unanswered[7] > 1);
}

TEST_CASE("asked for again while it is in flight: whoever asked asks when it has ended") {
  Rig rig;
  rig.want(1);
  REQUIRE(rig.world.run_until([&] { return rig.queue.in_flight() == 1; }, 1s));
  rig.want(1);
  REQUIRE(rig.world.run_until([&] { return rig.idle(); }, 10s));
  CHECK(rig.server.served.size() == 1);
}

TEST_CASE("over a bad network everything is written in the end") {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    Rig rig(seed);
    rig.env.set_faults({.refused = 50, .reply_lost = 50, .request_lost = 20, .throttled = 50});
    for (Ticket t = 0; t < 100; ++t) rig.want(t);
    INFO("seed " << seed);
    REQUIRE(rig.world.run_until([&] { return rig.idle(); }, 30min));
    REQUIRE(rig.answered.size() == 100);
  }
}
