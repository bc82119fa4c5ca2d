#include "controllers/guard/buckets.hpp"

#include <catch2/catch.hpp>

#include "controllers/guard/packing.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::guard {

namespace api = v1alpha1;
using namespace std::chrono_literals;
using reconcile::WallTime;

TEST_CASE("buckets: a window is packed and comes back as it was") {
  const WallTime start{std::chrono::seconds(1'800'000'000)};
  api::LedgerWindow window{.budget = "b", .limit = "l", .duration = 86'400s};
  SECTION("empty") {}
  SECTION("one") { window.buckets = {{start, 7}}; }
  SECTION("all of them, far apart and full") {
    for (int i = 0; i < 61; ++i) window.buckets.push_back({start + i * 1'440s, 100'000});
  }
  SECTION("with gaps, at odd seconds") { window.buckets = {{start + 1s, 1}, {start + 7s, 300}, {start + 90'000s, 2}}; }
  const auto before = window;
  pack(window);
  CHECK(window.buckets.empty());
  CHECK(reconcile::encode(window).size() < 700);
  CHECK(buckets_of(window) == before.buckets);
  unpack(window);
  CHECK(window == before);
}

TEST_CASE("buckets: what an operator before wrote is read, and what nobody wrote is none") {
  const WallTime start{std::chrono::seconds(1'800'000'000)};
  api::LedgerWindow window{.budget = "b", .limit = "l", .duration = 60s, .buckets = {{start, 7}}};
  CHECK(buckets_of(window) == window.buckets);
  for (const auto* text : {"not base64!", "gA==", "AA=="}) {  // bytes that end within a number, or a pair
    CAPTURE(text);
    window.counts = text;
    CHECK(buckets_of(window).empty());
  }
}

}  // namespace endstate::guard
