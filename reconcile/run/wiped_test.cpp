#include "reconcile/run/wiped.hpp"

#include <catch2/catch.hpp>

using reconcile::Wiped;

TEST_CASE("texts with keys in them are wiped, each where it lies", "[actor]") {
  Wiped keys;
  keys.texts = {"short", std::string(5'000, 'k')};
  const auto* at = keys.texts[1].data();
  keys.wipe();
  CHECK(keys.texts[0] == std::string(5, '\0'));
  CHECK(keys.texts[1] == std::string(5'000, '\0'));
  CHECK(keys.texts[1].data() == at);
}
