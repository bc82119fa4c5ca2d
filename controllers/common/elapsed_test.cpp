#include "controllers/common/elapsed.hpp"

#include <catch2/catch.hpp>

using namespace endstate;
using std::chrono::seconds;

namespace {
constexpr reconcile::WallTime begin{seconds(1'000'000)};
reconcile::WallTime at(int s) { return begin + seconds(s); }
}  // namespace

TEST_CASE("the clock stands still while the cluster can't be seen", "[sight]") {
  v1alpha1::Cluster c;
  const reconcile::Sight seen{.seen = true, .since = at(500)};
  CHECK(elapsed(at(0), at(100), blind_gaps(c, seen, at(100))) == seconds(100));
  c.status.blind = {{at(10), at(40)}, {at(30), at(50)}, {at(90), at(500)}};
  const auto gaps = blind_gaps(c, seen, at(600));
  CHECK(gaps.size() == 2);
  CHECK(elapsed(at(0), at(600), gaps) == seconds(150));
  CHECK(elapsed(at(45), at(95), gaps) == seconds(40));
  CHECK(elapsed(at(20), at(30), gaps) == seconds(0));
  CHECK(elapsed(at(20), at(10), gaps) == seconds(0));
  CHECK(due(at(0), seconds(200), at(600), gaps) == at(650));
}

TEST_CASE("a gap that isn't over counts until now, stored or seen by this process", "[sight]") {
  v1alpha1::Cluster c;
  const reconcile::Sight blind{.seen = false, .since = at(100), .why = "timed out"};
  CHECK(elapsed(at(0), at(400), blind_gaps(c, blind, at(400))) == seconds(100));
  c.status.blind = {{at(100), {}}};
  CHECK(elapsed(at(0), at(400), blind_gaps(c, blind, at(400))) == seconds(100));
  CHECK(elapsed(at(0), at(400), blind_gaps(c, {.seen = true, .since = at(300)}, at(400))) == seconds(200));
}

TEST_CASE("what was stopped for a while goes on from where it would have begun", "[sight]") {
  const std::vector<v1alpha1::BlindGap> gaps{{at(10), at(40)}, {at(90), at(120)}};
  for (const int past : {0, 5, 20, 69, 70, 71, 75, 79, 80, 85}) {
    const auto start = began(seconds(past), at(140), gaps);
    INFO(past);
    CHECK(elapsed(start, at(140), gaps) == seconds(past));
  }
  CHECK(began(seconds(20), at(140), gaps) == at(120));
  CHECK(began(seconds(21), at(140), gaps) == at(89));
  CHECK(began(seconds(30), at(100), gaps) == at(60));  // now is within a gap
  CHECK(began(seconds(7), at(100), {}) == at(93));
}
