#include "reconcile/base/server_clock.hpp"

#include <catch2/catch.hpp>

using namespace reconcile;
using namespace std::chrono_literals;

namespace {

constexpr WallTime local{1'800'000'000s};
constexpr MonoTime start{1000s};

struct Answers {
  ServerClock clock{{start, local}};
  std::chrono::milliseconds server{0};  // how far the server is ahead of the local clock
  MonoTime now = start;

  std::optional<ServerClock::Jump> answer(std::chrono::milliseconds took = 5ms) {
    const auto sent = now;
    now += took;
    return clock.take(std::chrono::floor<std::chrono::seconds>(local + (now - start) + server), sent, now);
  }
  std::chrono::microseconds wrong() const {  // by how much its time is not the server's
    return std::chrono::abs(clock.wall(now) - std::chrono::floor<std::chrono::microseconds>(local + (now - start) + server));
  }
};

}  // namespace

TEST_CASE("the local clock counts until the first answer, then the server's, without a jump", "[time]") {
  Answers a;
  CHECK(a.clock.wall(start + 5s) == local + 5s);
  a.server = -3h;
  CHECK(!a.answer());
  CHECK(a.wrong() <= 1s);
}

TEST_CASE("a clock that is right is left as it is, whatever whole seconds say", "[time]") {
  Answers a;
  for (int i = 0; i < 1'000; ++i) {
    a.now += 373ms;
    CHECK(!a.answer());
    CHECK(a.wrong() == 0us);
  }
}

TEST_CASE("the server's time moves with most of the last nine answers, and a big move is told once", "[time]") {
  Answers a;
  for (int i = 0; i < 20; ++i) a.answer();
  a.server = 10min;
  int told = 0;
  for (int i = 0; i < 20; ++i) {
    const auto before = a.clock.wall(a.now);
    if (const auto jump = a.answer()) {
      ++told;
      CHECK(i == 4);
      CHECK(jump->after - jump->before > 598s);
      CHECK(jump->before >= before);
    }
  }
  CHECK(told == 1);
  CHECK(a.wrong() <= 1s);
  a.server = 10min - 3s;  // corrected, not worth a word
  for (int i = 0; i < 20; ++i) CHECK(!a.answer());
  CHECK(a.wrong() <= 1s);
  a.server = 0s;  // and back
  told = 0;
  for (int i = 0; i < 20; ++i)
    if (const auto jump = a.answer()) {
      ++told;
      CHECK(jump->after < jump->before);
    }
  CHECK(told == 1);
}

TEST_CASE("answers that took long, of a process that was stopped for one, say nothing", "[time]") {
  Answers a;
  for (int i = 0; i < 20; ++i) a.answer();
  for (int i = 0; i < 20; ++i) {
    const auto sent = a.now;
    a.now += 3min;
    CHECK(!a.clock.take(std::chrono::floor<std::chrono::seconds>(local + (sent - start)), sent, a.now));
  }
  CHECK(a.wrong() == 0us);
}

TEST_CASE("API servers that don't agree: most of them decide", "[time]") {
  Answers a;
  for (int i = 0; i < 90; ++i) {
    a.server = i % 3 == 0 ? 40s : 0s;
    a.answer();
  }
  a.server = 0s;
  CHECK(a.wrong() <= 1s);
}
