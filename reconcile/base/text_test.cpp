#include "reconcile/base/text.hpp"

#include <catch2/catch.hpp>
#include <thread>

using namespace reconcile;

TEST_CASE("a pool gives one string for one spelling", "[text]") {
  Pool pool;
  const Text a = pool.intern("kubelet-1.34.4"), b = pool.intern("kubelet-1.34.4");
  CHECK(a == b);
  CHECK(a.view().data() == b.view().data());
  CHECK(a == Text("kubelet-1.34.4"));  // a text that never saw the pool
  CHECK(pool.intern("").empty());
  CHECK(Text("a") < Text("b"));
}

TEST_CASE("a text outlives its pool; a pool forgets what nobody holds", "[text]") {
  Text kept;
  {
    Pool pool;
    kept = pool.intern("kept");
    for (int i = 0; i < 10'000; ++i) pool.intern("gone-" + std::to_string(i));
    CHECK(pool.size() < 200);
    CHECK(pool.intern("kept").view().data() == kept.view().data());
  }
  CHECK(kept == "kept");
}

TEST_CASE("texts are shared across threads", "[text]") {
  Pool pool;
  std::vector<Text> held;
  for (int i = 0; i < 97; ++i) held.push_back(pool.intern(std::to_string(i)));
  const auto work = [&pool] {
    for (int i = 0; i < 20'000; ++i) {
      const Text t = pool.intern(std::to_string(i % 97));
      const Text copy = t;
      if (!(copy == std::to_string(i % 97))) throw std::logic_error("torn");
    }
  };
  std::thread other(work);
  work();
  other.join();
  CHECK(pool.size() == 97);
}
