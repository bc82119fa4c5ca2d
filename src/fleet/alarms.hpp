// Alarms: one time for each of many things, over one timer of the Env.
#pragma once
#include <cstdint>
#include <functional>
#include <set>
#include <unordered_map>
#include <utility>

#include "reconcile/base/env.hpp"

namespace endstate::fleet {

class Alarms {
 public:
  Alarms(reconcile::Env& env, std::function<void(std::uint32_t id)> ring) : env_(env), ring_(std::move(ring)) {}
  Alarms(const Alarms&) = delete;
  Alarms& operator=(const Alarms&) = delete;

  // Replaces what was set for it; max(): none.
  void set(std::uint32_t id, reconcile::MonoTime when) {
    if (const auto old = times_.find(id); old != times_.end()) {
      if (old->second == when) return;
      order_.erase({old->second, id});
      times_.erase(old);
    }
    if (when != reconcile::MonoTime::max()) {
      times_.emplace(id, when);
      order_.emplace(when, id);
    }
    arm();
  }
  std::size_t size() const { return order_.size(); }

 private:
  void arm() {
    if (order_.empty()) {
      timer_.reset();
      return;
    }
    const auto first = order_.begin()->first;
    if (timer_ && armed_ <= first) return;  // it rings too early at worst, and is set anew then
    armed_ = first;
    timer_ = env_.at(first, [this] { due(); });
  }
  void due() {
    const auto running = std::move(timer_);  // we are inside it
    const auto now = env_.now().mono;
    while (!order_.empty() && order_.begin()->first <= now) {
      const auto id = order_.begin()->second;
      order_.erase(order_.begin());
      times_.erase(id);
      ring_(id);
    }
    arm();
  }

  reconcile::Env& env_;
  std::function<void(std::uint32_t)> ring_;
  std::set<std::pair<reconcile::MonoTime, std::uint32_t>> order_;
  std::unordered_map<std::uint32_t, reconcile::MonoTime> times_;
  reconcile::MonoTime armed_{};
  reconcile::Handle timer_;
};

}  // namespace endstate::fleet
