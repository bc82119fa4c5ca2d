// TimerHeap: what is to be done when, in order of time, then of asking. Adding and cancelling are O(log n). Not thread-safe.
#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "reconcile/base/time.hpp"

namespace reconcile {

class TimerHeap {
 public:
  // `id`: the caller's, unique among those that are pending.
  void add(std::uint64_t id, MonoTime when, std::function<void()> task) {
    tasks_.emplace(id, std::move(task));
    heap_.push_back({when, ++order_, id});
    std::push_heap(heap_.begin(), heap_.end());
  }
  // An id that has run or is unknown is ignored. The task is destroyed last, for what it holds may cancel timers too.
  void cancel(std::uint64_t id) {
    const auto node = tasks_.extract(id);
    if (heap_.size() > 64 && heap_.size() > 2 * tasks_.size()) drop_cancelled();
  }
  std::optional<MonoTime> next() {
    while (!heap_.empty() && !tasks_.contains(heap_.front().id)) pop();
    return heap_.empty() ? std::nullopt : std::optional(heap_.front().when);
  }
  // The next task that is due, no longer pending; empty if there is none.
  std::function<void()> take_due(MonoTime now) {
    const auto when = next();
    if (!when || *when > now) return {};
    auto node = tasks_.extract(heap_.front().id);
    pop();
    return std::move(node.mapped());
  }
  std::size_t size() const { return tasks_.size(); }

 private:
  struct Entry {
    MonoTime when;
    std::uint64_t order, id;
    bool operator<(const Entry& o) const {
      return when != o.when ? when > o.when : order > o.order;
    }  // the earliest is the heap's greatest
  };
  void pop() {
    std::pop_heap(heap_.begin(), heap_.end());
    heap_.pop_back();
  }
  void drop_cancelled() {
    std::erase_if(heap_, [this](const Entry& e) { return !tasks_.contains(e.id); });
    std::make_heap(heap_.begin(), heap_.end());
  }
  std::vector<Entry> heap_;
  std::unordered_map<std::uint64_t, std::function<void()>> tasks_;
  std::uint64_t order_ = 0;
};

}  // namespace reconcile
