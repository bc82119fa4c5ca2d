#include "reconcile/kube/timer_heap.hpp"

#include <catch2/catch.hpp>
#include <random>

using namespace reconcile;

namespace {
MonoTime at(int n) { return MonoTime(std::chrono::nanoseconds(n)); }
}  // namespace

TEST_CASE("timers run in order of time, then of asking", "[timer_heap]") {
  TimerHeap heap;
  std::vector<int> ran;
  for (const auto& [id, when] : std::vector<std::pair<int, int>>{{1, 30}, {2, 10}, {3, 20}, {4, 10}, {5, 40}})
    heap.add(static_cast<std::uint64_t>(id), at(when), [&ran, id = id] { ran.push_back(id); });
  heap.cancel(3);
  heap.cancel(77);
  CHECK(heap.next() == at(10));
  while (auto task = heap.take_due(at(30))) task();
  CHECK(ran == std::vector<int>{2, 4, 1});
  CHECK(heap.size() == 1);
  CHECK(heap.next() == at(40));
  heap.cancel(5);
  CHECK_FALSE(heap.next());
}

TEST_CASE("a task may cancel others by being destroyed", "[timer_heap]") {
  TimerHeap heap;
  heap.add(2, at(2), [] {});
  std::shared_ptr<void> holds(nullptr, [&heap](void*) { heap.cancel(2); });
  heap.add(1, at(1), [holds] {});
  holds.reset();
  heap.cancel(1);
  CHECK(heap.size() == 0);
}

TEST_CASE("random adds and cancels agree with a sorted list", "[timer_heap]") {
  std::mt19937 random(3);
  TimerHeap heap;
  std::vector<std::pair<int, std::uint64_t>> model;  // when, id
  std::vector<std::uint64_t> ran, expected;
  for (std::uint64_t id = 1; id <= 5000; ++id) {
    const int when = static_cast<int>(random() % 1000);
    heap.add(id, at(when), [&ran, id] { ran.push_back(id); });
    model.emplace_back(when, id);
    if (random() % 10 < 8) {
      const auto victim = model.begin() + static_cast<std::ptrdiff_t>(random() % model.size());
      heap.cancel(victim->second);
      model.erase(victim);
    }
  }
  CHECK(heap.size() == model.size());
  std::stable_sort(model.begin(), model.end());
  for (const auto& entry : model) expected.push_back(entry.second);
  while (auto task = heap.take_due(at(1000))) task();
  CHECK(ran == expected);
}
