#include "controllers/common/network.hpp"

#include <catch2/catch.hpp>

using namespace endstate;

TEST_CASE("the n-th address of a range", "[network]") {
  CHECK(address_of("10.96.0.0/16", 1) == "10.96.0.1");
  CHECK(address_of("10.96.3.7/16", 1) == "10.96.0.1");  // the base is what counts
  CHECK(address_of("10.96.0.0/16", 0) == "10.96.0.0");
  CHECK(address_of("10.96.0.0/16", 256) == "10.96.1.0");
  CHECK(address_of("10.96.0.0/16", 65535) == "10.96.255.255");
  CHECK_FALSE(address_of("10.96.0.0/16", 65536));
  CHECK(address_of("10.0.0.4/31", 1) == "10.0.0.5");
  CHECK_FALSE(address_of("10.0.0.5/32", 1));
  CHECK(address_of("fd00:1::/64", 10) == "fd00:1::a");
  for (const auto* bad : {"10.96.0.0", "10.96.0.0/33", "10.96.0.0/", "10.96.0.0/1x", "x/16", "fd00::/129", ""})
    CHECK_FALSE(address_of(bad, 1));
}

TEST_CASE("what lies in a range, and which ranges meet", "[network]") {
  CHECK(in_range("10.96.0.0/16", "10.96.255.1"));
  CHECK_FALSE(in_range("10.96.0.0/16", "10.97.0.1"));
  CHECK_FALSE(in_range("10.96.0.0/16", "fd00::1"));
  CHECK_FALSE(in_range("10.96.0.0/16", "api.example.com"));
  CHECK(in_range("10.96.0.0/12", "10.111.0.1"));
  CHECK_FALSE(in_range("10.96.0.0/12", "10.112.0.1"));
  CHECK(overlap("10.0.0.0/8", "10.96.0.0/16"));
  CHECK(overlap("10.96.0.0/16", "10.0.0.0/8"));
  CHECK_FALSE(overlap("10.96.0.0/16", "10.97.0.0/16"));
  CHECK_FALSE(overlap("10.96.0.0/16", "fd00::/8"));
  CHECK_FALSE(overlap("10.96.0.0/16", "nonsense"));
  CHECK(is_range("fd00::/8"));
  CHECK_FALSE(is_range("fd00::"));
}

TEST_CASE("an address in its canonical form, as certificates hold it", "[network]") {
  CHECK(canonical_address("10.0.0.1") == "10.0.0.1");
  CHECK(canonical_address("FD00:0:0::1") == "fd00::1");
  CHECK_FALSE(canonical_address("api.example.com"));
  CHECK_FALSE(canonical_address("10.0.0.300"));
}
