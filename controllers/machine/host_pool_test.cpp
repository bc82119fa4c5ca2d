#include "controllers/machine/host_pool.hpp"

#include <catch2/catch.hpp>
#include <map>
#include <set>

using endstate::HostPool;
using reconcile::MonoTime, reconcile::Text;
using namespace std::chrono_literals;

namespace {

std::vector<HostPool::Free> hosts(int n, int domains) {
  std::vector<HostPool::Free> all;
  for (int i = 0; i < n; ++i)
    all.push_back({"uid-" + std::to_string(i), "h" + std::to_string(i), "r" + std::to_string(domains ? i % domains : 0)});
  return all;
}
std::string uid(int i) { return "machine-" + std::to_string(i); }

}  // namespace

TEST_CASE("2,000 machines that look at once take 2,000 hosts, spread over the domains") {
  HostPool pool;
  pool.refresh(hosts(2000, 10), {}, MonoTime(1s));
  std::set<std::string> taken;
  std::map<char, int> first_hundred;  // by rack, of what is chosen first
  const auto all = hosts(2000, 10);
  std::map<std::string, std::string> rack;
  for (const auto& h : all) rack[h.name.str()] = h.domain.str();
  for (int i = 0; i < 2000; ++i) {
    const Text name = pool.pick(uid(i), "c/s", MonoTime(1s));
    REQUIRE_FALSE(name.empty());
    CHECK(taken.insert(name.str()).second);
    if (i < 100) ++first_hundred[rack[name.str()].back()];
  }
  CHECK(pool.pick("one-more", "c/s", MonoTime(1s)).empty());
  REQUIRE(first_hundred.size() == 10);
  for (const auto& [r, n] : first_hundred) CHECK(n == 10);  // never two more in one rack than in another
}

TEST_CASE("a machine gets the same host again, until that one is known to be taken") {
  HostPool pool;
  pool.refresh(hosts(50, 5), {}, MonoTime(1s));
  const Text first = pool.pick("m", "g", MonoTime(1s));
  CHECK(pool.pick("m", "g", MonoTime(2s)) == first);
  const Text other = pool.pick("m", "g", MonoTime(2s), [&](const Text& name) { return name == first; });
  CHECK_FALSE(other.empty());
  CHECK_FALSE(other == first);
}

TEST_CASE("rivals of another process choose differently: few collide") {
  std::set<std::string> taken;
  int collisions = 0;
  for (int i = 0; i < 200; ++i) {  // each with a pool of its own: nobody's reservations are known
    HostPool pool;
    pool.refresh(hosts(2000, 10), {}, MonoTime(1s));
    collisions += !taken.insert(pool.pick(uid(i), "g", MonoTime(1s)).str()).second;
  }
  CHECK(collisions < 25);  // 200 of 2,000 at random: about 10
}

TEST_CASE("what is claimed already counts for the spread, each group for itself") {
  HostPool pool;
  std::vector<HostPool::Used> used;
  for (int i = 0; i < 3; ++i) used.push_back({"g", "r0"});
  for (int i = 0; i < 3; ++i) used.push_back({"g", "r1"});
  for (int i = 0; i < 9; ++i) used.push_back({"other", "r2"});
  pool.refresh(hosts(30, 3), used, MonoTime(1s));
  for (int i = 0; i < 3; ++i) {
    const auto name = pool.pick(uid(i), "g", MonoTime(1s)).str();
    CHECK(std::stoi(name.substr(1)) % 3 == 2);
  }
}

TEST_CASE("who is refused a permit keeps no host from others") {
  HostPool pool;
  pool.refresh(hosts(1, 1), {}, MonoTime(1s));
  const auto only = pool.pick("a", "g", MonoTime(1s));
  CHECK(pool.pick("b", "g", MonoTime(1s)).empty());
  pool.release("a");
  CHECK(pool.pick("b", "g", MonoTime(1s)) == only);
  pool.release("a");  // has none any more
  CHECK(pool.pick("c", "g", MonoTime(2s)).empty());
  // And who waits with one for longer than a claim needs gives it to who finds nothing else.
  CHECK(pool.pick("c", "g", MonoTime(1s) + HostPool::patience) == only);
  CHECK(pool.pick("b", "g", MonoTime(1s) + HostPool::patience).empty());
}

TEST_CASE("a reservation ends: by time, or when its host is no longer free") {
  HostPool pool;
  pool.refresh(hosts(1, 1), {}, MonoTime(1s));
  CHECK_FALSE(pool.pick("a", "g", MonoTime(1s)).empty());
  CHECK(pool.pick("b", "g", MonoTime(2s)).empty());
  CHECK_FALSE(pool.pick("b", "g", MonoTime(1s) + HostPool::reservation).empty());
  pool.refresh({}, {}, MonoTime(20s));
  CHECK(pool.pick("b", "g", MonoTime(20s)).empty());
  CHECK(pool.free_count() == 0);  // then whoever asks looks anew
  CHECK_FALSE(pool.stale(MonoTime(20s)));
  pool.refresh(hosts(1, 1), {}, MonoTime(21s));
  CHECK_FALSE(pool.stale(MonoTime(21s)));
  CHECK(pool.stale(MonoTime(21s) + HostPool::max_age));
}
