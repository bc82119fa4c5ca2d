#include "controllers/cluster/blind.hpp"

#include <catch2/catch.hpp>

#include "controllers/common/elapsed.hpp"

using namespace endstate;
using namespace endstate::cluster;
using namespace std::chrono_literals;
using reconcile::Sight, reconcile::WallTime;
using v1alpha1::BlindGap;
using Gaps = std::vector<BlindGap>;

namespace {

constexpr WallTime begin{1'000'000s};
WallTime at(int s) { return begin + std::chrono::seconds(s); }
Sight blind(WallTime since) { return {.seen = false, .since = since, .why = "x"}; }
Sight seen(WallTime since) { return {.seen = true, .since = since}; }

}  // namespace

TEST_CASE("a gap is noted when it is 30 s long, and again when it is over", "[sight]") {
  Gaps gaps;
  CHECK(note_blind(gaps, blind(at(100)), at(129)).empty());
  CHECK(until_noted(gaps, blind(at(100)), at(129)) == 1s);
  gaps = note_blind(gaps, blind(at(100) + 400ms), at(130));
  REQUIRE(gaps == Gaps{{at(100), {}}});
  CHECK(!until_noted(gaps, blind(at(100)), at(130)));
  CHECK(note_blind(gaps, blind(at(100) + 400ms), at(500)) == gaps);  // nothing to write while it goes on
  CHECK(note_blind(gaps, blind(at(400)), at(500)) == gaps);          // of a process that began in it
  gaps = note_blind(gaps, seen(at(500) + 1ms), at(600));
  CHECK(gaps == Gaps{{at(100), at(501)}});
  CHECK(note_blind(gaps, seen(at(500)), at(700)) == gaps);
  CHECK(!until_noted(gaps, seen(at(500)), at(700)));
}

TEST_CASE("a short gap leaves nothing, and who has not looked says nothing", "[sight]") {
  CHECK(note_blind({}, seen(at(120)), at(121)).empty());
  CHECK(note_blind({}, Sight{}, at(500)).empty());
  CHECK(!until_noted({}, Sight{}, at(500)));
  const Gaps open{{at(100), {}}};
  CHECK(note_blind(open, Sight{}, at(500)) == open);
}

TEST_CASE("gaps that meet are one; one of a time when nobody led reaches back", "[sight]") {
  const Gaps gaps{{at(0), at(50)}, {at(100), at(200)}};
  CHECK(note_blind(gaps, blind(at(190)), at(300)) == Gaps{{at(0), at(50)}, {at(100), {}}});
  CHECK(note_blind(gaps, blind(at(40)), at(300)) == Gaps{{at(0), {}}});
  CHECK(note_blind({{at(100), {}}}, blind(at(20)), at(300)) == Gaps{{at(20), {}}});
  CHECK(note_blind(gaps, blind(at(201)), at(300)) == Gaps{{at(0), at(50)}, {at(100), at(200)}, {at(201), {}}});
}

TEST_CASE("at most 16: the nearest become one, so that no clock runs that should stand still", "[sight]") {
  Gaps gaps;
  for (int i = 0; i < 16; ++i) gaps.push_back({at(1'000 * i), at(1'000 * i + (i == 7 ? 900 : 100))});
  const auto more = note_blind(gaps, blind(at(20'000)), at(20'100));
  REQUIRE(more.size() == 16);
  CHECK(more[7] == BlindGap{at(7'000), at(8'100)});
  CHECK(more.back() == BlindGap{at(20'000), {}});
  v1alpha1::Cluster c;
  c.status.blind = more;
  CHECK(elapsed(at(7'950), at(9'000), blind_gaps(c, blind(at(20'000)), at(20'100))) == 900s);
}
