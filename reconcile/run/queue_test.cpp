#include "reconcile/run/queue.hpp"

#include <catch2/catch.hpp>
#include <random>

using namespace reconcile;
using namespace std::chrono_literals;

namespace {

const Key a{"ns", "a"}, b{"ns", "b"}, c{"", "c"};
constexpr MonoTime t0{1h};
Queue no_gap() { return Queue({.gap = 0ns}); }

}  // namespace

TEST_CASE("queue: first in, first out, each key once") {
  Queue q = no_gap();
  q.add(a, Priority::high, t0);
  q.add(b, Priority::high, t0);
  q.add(a, Priority::high, t0);
  CHECK(q.depth(t0) == 2);
  CHECK(q.take(t0) == a);
  CHECK(q.take(t0) == b);
  CHECK(q.take(t0) == std::nullopt);
  CHECK(q.out() == 2);
}

TEST_CASE("queue: a key that is out waits for its return, and comes again once") {
  Queue q = no_gap();
  q.add(a, Priority::high, t0);
  REQUIRE(q.take(t0) == a);
  q.add(a, Priority::high, t0);
  q.add(a, Priority::high, t0);
  CHECK(q.take(t0) == std::nullopt);
  CHECK(q.next_due(t0) == std::nullopt);
  q.add(b, Priority::high, t0);
  q.done(a, t0);
  CHECK(q.take(t0) == b);  // at the end
  CHECK(q.take(t0) == a);
  q.done(a, t0);
  CHECK(q.take(t0) == std::nullopt);
}

TEST_CASE("queue: delayed adds keep the earliest time") {
  Queue q = no_gap();
  q.add_after(a, 10s, t0);
  q.add_after(a, 5s, t0);
  q.add_after(a, 20s, t0);
  CHECK(q.next_due(t0) == t0 + 5s);
  CHECK(q.take(t0 + 4999ms) == std::nullopt);
  CHECK(q.take(t0 + 5s) == a);
  q.add_after(a, 9s, t0 + 5s);  // while it is out, too
  q.add_after(a, 3s, t0 + 5s);
  q.done(a, t0 + 6s);
  CHECK(q.take(t0 + 7999ms) == std::nullopt);
  CHECK(q.take(t0 + 8s) == a);
  q.done(a, t0 + 8s);
  q.add_after(a, 10s, t0 + 8s);
  q.add(a, Priority::low, t0 + 8s);  // now is earlier
  CHECK(q.take(t0 + 8s) == a);
}

TEST_CASE("queue: what changed goes before lists and resyncs, and raises what waits") {
  Queue q = no_gap();
  q.add(a, Priority::low, t0);
  q.add(b, Priority::low, t0);
  q.add(c, Priority::high, t0);
  q.add(b, Priority::high, t0);
  CHECK(q.take(t0) == c);
  CHECK(q.take(t0) == b);
  CHECK(q.take(t0) == a);
}

TEST_CASE("queue: a key rests after a pass, so that a burst is one pass") {
  Queue q({.gap = 200ms});
  q.add(a, Priority::high, t0);
  REQUIRE(q.take(t0) == a);
  q.add(a, Priority::high, t0 + 1ms);
  q.done(a, t0 + 10ms);
  q.add(a, Priority::high, t0 + 11ms);
  CHECK(q.next_due(t0 + 11ms) == t0 + 210ms);
  CHECK(q.take(t0 + 209ms) == std::nullopt);
  CHECK(q.take(t0 + 210ms) == a);
  q.done(a, t0 + 211ms);
  q.add(b, Priority::high, t0 + 212ms);  // others don't rest
  CHECK(q.take(t0 + 212ms) == b);
}

TEST_CASE("queue: failures back off by powers of two, up to a limit, until they are forgotten") {
  Queue q = no_gap();
  std::chrono::nanoseconds expected = 5ms;
  MonoTime now = t0;
  for (int i = 0; i < 30; ++i) {
    CHECK(q.add_failed(a, now) == std::min<std::chrono::nanoseconds>(expected, 1000s));
    CHECK(q.failures(a) == i + 1);
    now = *q.next_due(now);
    REQUIRE(q.take(now) == a);
    q.done(a, now);
    expected *= expected < 1000s ? 2 : 1;
  }
  q.forget(a);
  CHECK(q.failures(a) == 0);
  CHECK(q.size() == 0);
  CHECK(q.add_failed(a, now) == 5ms);
}

TEST_CASE("queue: keys that are done with are not kept") {
  Queue q({.gap = 200ms});
  for (int i = 0; i < 1000; ++i) {
    const Key key{"ns", std::to_string(i)};
    const auto now = t0 + i * 1s;
    q.add(key, Priority::high, now);
    REQUIRE(q.take(now) == key);
    q.done(key, now);
  }
  CHECK(q.size() <= 2);
}

// Against a model that holds, for each key, when it must be handed out at the latest.
TEST_CASE("queue: nothing is lost and nothing is out twice, whatever happens") {
  for (unsigned seed = 1; seed <= 300; ++seed) {
    std::mt19937 rng(seed);
    const auto gap = (seed % 2) ? 200ms : 0ms;
    Queue q({.gap = gap});
    struct Expect {
      bool out = false;
      std::optional<MonoTime> due;  // the earliest add that is not served yet
      MonoTime rest{};
    };
    std::map<Key, Expect> model;
    MonoTime now = t0;
    const std::vector<Key> keys{a, b, c, {"ns", "d"}, {"ns", "e"}};
    for (int i = 0; i < 400; ++i) {
      now += std::chrono::milliseconds(rng() % 150);
      const Key& key = keys[rng() % keys.size()];
      auto& e = model[key];
      const auto note = [&](MonoTime when) { e.due = e.due ? std::min(*e.due, when) : when; };
      switch (rng() % 6) {
        case 0:
          q.add(key, rng() % 2 ? Priority::high : Priority::low, now);
          note(now);
          break;
        case 1: {
          const auto delay = std::chrono::milliseconds(rng() % 3000);
          q.add_after(key, delay, now);
          note(now + delay);
          break;
        }
        case 2: note(now + q.add_failed(key, now)); break;
        case 3:
          if (rng() % 2) q.forget(key);
          break;
        case 4:
          q.done(key, now);
          if (e.out) e.rest = now + gap;
          e.out = false;
          break;
        default:
          if (const auto taken = q.take(now)) {
            auto& t = model[*taken];
            REQUIRE_FALSE(t.out);
            REQUIRE(t.due);
            REQUIRE(std::max(*t.due, t.rest) <= now);
            t.out = true;
            t.due.reset();
          } else {
            for (const auto& [k, m] : model) REQUIRE((m.out || !m.due || std::max(*m.due, m.rest) > now));
          }
      }
      std::size_t out = 0;
      for (const auto& [k, m] : model) out += m.out;
      REQUIRE(q.out() == out);
      // The next due time is exactly the earliest of what waits.
      std::optional<MonoTime> earliest;
      for (const auto& [k, m] : model)
        if (!m.out && m.due) {
          const auto when = std::max({*m.due, m.rest, now});
          earliest = earliest ? std::min(*earliest, when) : when;
        }
      REQUIRE(q.next_due(now) == earliest);
    }
  }
}

TEST_CASE("queue: how long a key has been due is told when it is taken") {
  Queue q = no_gap();
  std::chrono::nanoseconds waited{};
  q.add(a, Priority::low, t0);
  q.add(a, Priority::high, t0 + 2s);  // raised, but due since the first add
  REQUIRE(q.take(t0 + 5s, &waited) == a);
  CHECK(waited == 5s);
  q.done(a, t0 + 5s);
  q.add_after(a, 10s, t0 + 5s);
  REQUIRE(q.take(t0 + 18s, &waited) == a);
  CHECK(waited == 3s);
}

TEST_CASE("queue: lanes take turns, each in its own order") {
  Queue q = no_gap();
  for (int i = 0; i < 100; ++i) q.add({"many", std::to_string(i)}, Priority::high, t0, "big");
  q.add({"few", "0"}, Priority::high, t0, "small");
  q.add({"few", "1"}, Priority::high, t0, "small");
  q.add({"none", "0"}, Priority::high, t0);
  std::vector<std::string> first;
  for (int i = 0; i < 6; ++i) first.push_back(q.take(t0)->str());
  CHECK(first == std::vector<std::string>{"many/0", "few/0", "none/0", "many/1", "few/1", "many/2"});
  std::size_t left = 0;
  while (q.take(t0)) ++left;
  CHECK(left == 97);
}

TEST_CASE("queue: what has waited long at low priority is taken in turn, whatever comes at high") {
  Queue q({.gap = 0ns});
  q.add({"low", "0"}, Priority::low, t0);
  q.add({"low", "1"}, Priority::low, t0);
  MonoTime now = t0;
  const auto pass = [&] {
    const auto key = q.take(now);
    q.done(*key, now);
    if (key->name_space == "high") q.add_failed(*key, now);  // and again
    return key->str();
  };
  for (int i = 0; i < 50; ++i) q.add({"high", std::to_string(i)}, Priority::high, now);
  for (int i = 0; i < 100 && now < t0 + 9s; ++i, now += 50ms) CHECK(pass().starts_with("high"));
  for (int i = 0; i < 50; ++i) q.add({"fresh", std::to_string(i)}, Priority::high, now);
  now = t0 + 11s;
  std::vector<std::string> next;
  for (int i = 0; i < 4; ++i) next.push_back(pass());
  CHECK(std::count_if(next.begin(), next.end(), [](const auto& k) { return k.starts_with("low"); }) == 2);
}
