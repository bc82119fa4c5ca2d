#include "reconcile/run/places.hpp"

#include <catch2/catch.hpp>

using namespace reconcile;
using namespace std::chrono_literals;

namespace {

constexpr MonoTime t0{1h};
Places::Waiter key(int n) { return {0, {"ns", std::to_string(n)}}; }
using Waiters = std::vector<Places::Waiter>;

}  // namespace

TEST_CASE("places: a line gives as many as it has, then in the order of coming, and no other line is touched", "[places]") {
  Places p;
  CHECK(p.take("far", 2, key(1), t0));
  CHECK(p.take("far", 2, key(2), t0));
  CHECK_FALSE(p.take("far", 2, key(3), t0));
  CHECK_FALSE(p.take("far", 2, key(4), t0));
  CHECK(p.take("near", 2, key(5), t0));
  CHECK(p.waiting() == std::map<std::string, std::size_t>{{"far", 2}});
  CHECK(p.give("far", t0) == Waiters{key(3)});
  CHECK_FALSE(p.take("far", 2, key(6), t0));
  CHECK(p.give("far", t0) == Waiters{key(4)});
  CHECK(p.dismiss("far") == Waiters{key(6)});
  CHECK(p.give("far", t0).empty());
  CHECK(p.give("far", t0).empty());
  CHECK(p.give("near", t0).empty());
  CHECK(p.empty());
}

TEST_CASE("places: a line that rests gives none, and then as many as it has", "[places]") {
  Places p;
  p.rest("far", t0 + 5s, t0);
  p.rest("far", t0 + 2s, t0);  // never shorter
  CHECK(p.rests("far", t0) == t0 + 5s);
  for (int n = 1; n <= 3; ++n) CHECK_FALSE(p.take("far", 2, key(n), t0));
  CHECK(p.next() == t0 + 5s);
  CHECK(p.rested(t0 + 4s).empty());
  CHECK(p.rested(t0 + 5s) == Waiters{key(1), key(2)});
  CHECK_FALSE(p.next());
  CHECK(p.give("far", t0 + 6s) == Waiters{key(3)});
  p.give("far", t0 + 6s);
  p.give("far", t0 + 6s);
  CHECK(p.empty());
  p.rest("far", t0 + 1h, t0);  // whatever a server says
  CHECK(p.rests("far", t0) == t0 + Places::longest_rest);
}
