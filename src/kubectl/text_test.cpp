#include "src/kubectl/text.hpp"

#include <catch2/catch.hpp>

using namespace endstate::kubectl;
using reconcile::Text;

TEST_CASE("columns are as wide as their widest cell", "[text]") {
  CHECK(table({{"NAME", "AGE"}, {"workers", "3d"}, {"é", "1s"}}) == "NAME      AGE\nworkers   3d\né         1s\n");
  CHECK(table({}).empty());
}

TEST_CASE("a tree", "[text]") {
  Tree root{"set"};
  root.add("one").add("deeper");
  root.add("two");
  CHECK(draw(root) == "set\n├── one\n│   └── deeper\n└── two\n");
}

TEST_CASE("names: a few, and how many more", "[text]") {
  const std::vector<Text> names{"a", "b", "c", "d"};
  CHECK(some_of({}, 2) == "none");
  CHECK(some_of(names, 2) == "a, b ... and 2 more");
  CHECK(some_of(names, 3) == "a, b, c, d");
  CHECK(some_of(names, 0) == " ... and 4 more");
  CHECK(counted(1, "machine") == "1 machine");
  CHECK(counted(0, "machine") == "0 machines");
}

TEST_CASE("a line is cut at a character, and can't steer the terminal", "[text]") {
  CHECK(clip("abcdef", 3) == "abc");
  CHECK(clip("äöü", 2) == "äö");
  CHECK(clip("ab", 5) == "ab");
  CHECK(plain("a\x1b[31mb\nc") == "a [31mb c");
}

TEST_CASE("ages", "[text]") {
  const reconcile::WallTime t{std::chrono::seconds(1'000'000)};
  CHECK(age(t, t + std::chrono::seconds(200)) == "3m20s");
  CHECK(age(t, t - std::chrono::seconds(5)) == "0s");  // two clocks
  CHECK(age({}, t) == "-");
}
