#include "reconcile/kube/poller.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <system_error>
#include <thread>
#include <vector>

using namespace reconcile;
using namespace std::chrono_literals;

namespace {

struct Pair {
  int ours = -1, theirs = -1;
  Pair() {
    int both[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, both) == 0);
    ours = both[0];
    theirs = both[1];
  }
  ~Pair() {
    close(ours);
    if (theirs >= 0) close(theirs);
  }
  void hear() const { REQUIRE(write(theirs, "x", 1) == 1); }
};

std::vector<Poller::Ready> wait(Poller& poller, std::chrono::milliseconds limit = 0ms) {
  poller.wait(limit);
  std::vector<Poller::Ready> out;
  while (const auto ready = poller.next()) out.push_back(*ready);
  return out;
}

}  // namespace

TEST_CASE("a socket is told of while it is ready for what was asked", "[poller]") {
  Poller poller;
  Pair a, b;
  poller.watch(a.ours, true, false);
  poller.watch(b.ours, true, false);
  CHECK(wait(poller).empty());
  a.hear();
  for (int again = 0; again < 2; ++again) {  // level-triggered
    const auto ready = wait(poller, 10s);
    REQUIRE(ready.size() == 1);
    CHECK(ready[0].socket == a.ours);
    CHECK((ready[0].readable && !ready[0].writable && !ready[0].broken));
  }
  poller.watch(a.ours, false, true);
  const auto ready = wait(poller, 10s);
  REQUIRE(ready.size() == 1);
  CHECK((!ready[0].readable && ready[0].writable));
  poller.forget(a.ours);
  poller.forget(a.ours);
  CHECK(wait(poller).empty());
}

TEST_CASE("a peer that has gone is told even if nothing was asked", "[poller]") {
  Poller poller;
  Pair a;
  poller.watch(a.ours, false, false);
  close(a.theirs);
  a.theirs = -1;
  const auto ready = wait(poller, 10s);
  REQUIRE(ready.size() == 1);
  CHECK(ready[0].broken);
}

TEST_CASE("what was found of a socket goes with it", "[poller]") {
  Poller poller;
  Pair a, b;
  for (auto* pair : {&a, &b}) {
    poller.watch(pair->ours, true, false);
    pair->hear();
  }
  poller.wait(10s);
  const auto first = poller.next();
  REQUIRE(first);
  poller.forget(first->socket == a.ours ? b.ours : a.ours);  // by what was done for the first: closed, and its number given to another
  CHECK_FALSE(poller.next());
}

TEST_CASE("another thread ends a wait, before it or during it", "[poller]") {
  Poller poller;
  poller.wake();
  poller.wake();
  CHECK(wait(poller, 60s).empty());
  std::thread other([&] {
    std::this_thread::sleep_for(20ms);
    poller.wake();
  });
  CHECK(wait(poller, 60s).empty());
  other.join();
  const auto began = std::chrono::steady_clock::now();
  CHECK(wait(poller, 20ms).empty());  // one call, one end
  CHECK(std::chrono::steady_clock::now() - began >= 19ms);
}

TEST_CASE("what can't be watched is an error", "[poller]") {
  Poller poller;
  CHECK_THROWS_AS(poller.watch(-1, true, false), std::system_error);
}
