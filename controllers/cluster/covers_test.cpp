#include "controllers/cluster/covers.hpp"

#include <catch2/catch.hpp>

using endstate::cluster::covers;

TEST_CASE("what is wanted is there already, or not", "[covers]") {
  struct Row {
    const char *found, *wanted;
    bool good;
  };
  const Row rows[] = {
      {R"({"a":1,"b":2})", R"({"a":1})", true},  // what the API server adds
      {R"({"a":1})", R"({"a":1,"b":2})", false},
      {R"({"a":1})", R"({"a":2})", false},
      {R"({"a":{"b":1,"c":2}})", R"({"a":{"c":2}})", true},
      {R"({"a":{"b":1}})", R"({"a":{"c":2}})", false},
      {R"({"l":[{"x":1,"y":2}]})", R"({"l":[{"x":1}]})", true},
      {R"({"l":[{"x":1},{"x":2}]})", R"({"l":[{"x":1}]})", false},  // somebody added one
      {R"({"l":[{"x":2},{"x":1}]})", R"({"l":[{"x":1},{"x":2}]})", false},
      {R"({"l":[1]})", R"({"l":[]})", false},
      {R"({})", R"({"l":[],"o":{},"s":"","n":null})", true},
      {R"({})", R"({"minReadySeconds":0})", true},
      {R"({"minReadySeconds":30})", R"({"minReadySeconds":0})", false},
      {R"({})", R"({"automountServiceAccountToken":false})", false},  // absent means true
      {R"({"x":"1000m"})", R"({"x":"1"})", false},                    // no quantity there
      {R"({"requests":{"cpu":"1"}})", R"({"requests":{"cpu":"1000m"}})", true},
      {R"({"requests":{"cpu":"1"}})", R"({"requests":{"cpu":"999m"}})", false},
      {R"({"limits":{"memory":"1Gi"}})", R"({"limits":{"memory":"1024Mi"}})", true},
      {R"({"limits":{"memory":"1Gi"}})", R"({"limits":{"memory":"1G"}})", false},
      {R"({"requests":{"cpu":"100m"}})", R"({"requests":{"cpu":"100000u"}})", true},
      {R"({"limits":{"x":"1E"}})", R"({"limits":{"x":"1e18"}})", true},
      {R"({"requests":{"cpu":"junk"}})", R"({"requests":{"cpu":"1"}})", false},
      {R"({"a":"1"})", R"({"a":1})", false},
      {"no JSON", "{}", false},
      {"{}", "no JSON", false},
  };
  for (const auto& row : rows) {
    INFO(row.found << " covers " << row.wanted);
    CHECK(covers(row.found, row.wanted) == row.good);
  }
  std::string deep = "1";
  for (int i = 0; i < 100; ++i) deep = "[" + deep + "]";
  CHECK_FALSE(covers(deep, deep));  // bounded: never a stack that overflows
}
