#include "reconcile/run/queue.hpp"

#include <algorithm>

namespace reconcile {

void Queue::add_at(const Key& key, Priority priority, MonoTime when, MonoTime now, Text lane) {
  sweep(now);
  const auto it = entries_.try_emplace(key).first;
  Entry& e = it->second;
  if (!lane.empty()) e.lane = lane;
  if (!e.out) return wait(it, priority, std::max(when, e.rest_until), now);
  e.again_at = e.again ? std::min(e.again_at, when) : when;
  e.priority = e.again ? std::min(e.priority, priority) : priority;
  e.again = true;
}

void Queue::wait(Entries::iterator it, Priority priority, MonoTime when, MonoTime now) {
  Entry& e = it->second;
  const std::uint64_t sequence = ++sequence_;
  if (e.state == State::ready) {
    if (priority >= e.order.priority) return;  // due already: only a higher priority makes a difference
    unstand(e);
  } else if (e.state == State::later) {
    priority = std::min(priority, e.priority);
    if (e.when.first <= when) {
      e.priority = priority;
      return;
    }
    later_.erase(e.when);
  }
  e.priority = priority;
  if (when <= now || e.state == State::ready) {
    if (e.state != State::ready) e.due = now;
    stand(it, priority);
  } else {
    e.state = State::later;
    e.when = {when, sequence};
    later_.emplace(e.when, &it->first);
  }
}

void Queue::stand(Entries::iterator it, Priority priority) {
  Entry& e = it->second;
  e.state = State::ready;
  e.order = {priority, e.lane, ++sequence_};
  auto& ready = ready_[static_cast<std::size_t>(priority)];
  ready.lanes[e.order.lane].emplace(e.order.sequence, &it->first);
  ++ready.size;
}

void Queue::unstand(const Entry& e) {
  auto& ready = ready_[static_cast<std::size_t>(e.order.priority)];
  const auto lane = ready.lanes.find(e.order.lane);
  lane->second.erase(e.order.sequence);
  if (lane->second.empty()) ready.lanes.erase(lane);
  --ready.size;
}

std::chrono::nanoseconds Queue::add_failed(const Key& key, MonoTime now, std::chrono::nanoseconds at_least) {
  Entry& e = entries_.try_emplace(key).first->second;
  auto delay = options_.first_delay;
  for (int i = 0; i < e.failures && delay < options_.last_delay; ++i) delay *= 2;
  delay = std::max(std::min(delay, options_.last_delay), at_least);
  ++e.failures;
  add_at(key, Priority::high, now + delay, now);
  return delay;
}

void Queue::forget(const Key& key) {
  const auto it = entries_.find(key);
  if (it == entries_.end()) return;
  it->second.failures = 0;
  drop_if_idle(it);
}

int Queue::failures(const Key& key) const {
  const auto it = entries_.find(key);
  return it == entries_.end() ? 0 : it->second.failures;
}

const Key* Queue::next_of(Ready& ready, MonoTime due_by) {
  auto lane = ready.lanes.upper_bound(ready.last);
  for (std::size_t n = ready.lanes.size(); n > 0; --n, ++lane) {
    if (lane == ready.lanes.end()) lane = ready.lanes.begin();
    const Key* first = lane->second.begin()->second;
    if (entries_.at(*first).due > due_by) continue;
    ready.last = lane->first;
    return first;
  }
  return nullptr;
}

std::optional<Key> Queue::take(MonoTime now, std::chrono::nanoseconds* waited) {
  promote(now);
  auto& [high, low] = ready_;
  const Key* next = nullptr;
  if (std::exchange(low_next_, !low_next_) && low.size > 0 && high.size > 0) next = next_of(low, now - options_.aged);
  if (next == nullptr && high.size > 0) next = next_of(high, now);
  if (next == nullptr && low.size > 0) next = next_of(low, now);
  if (next == nullptr) return std::nullopt;
  const Key key = *next;
  Entry& e = entries_.at(key);
  unstand(e);
  if (waited) *waited = now - e.due;
  e.state = State::idle;
  e.out = true;
  ++out_;
  return key;
}

void Queue::set_lane(const Key& key, Text lane) {
  if (const auto it = entries_.find(key); it != entries_.end()) it->second.lane = lane;
}

void Queue::done(const Key& key, MonoTime now) {
  const auto it = entries_.find(key);
  if (it == entries_.end() || !it->second.out) return;
  Entry& e = it->second;
  e.out = false;
  --out_;
  e.rest_until = now + options_.gap;
  e.resting = true;
  resting_.emplace(e.rest_until, key);
  if (std::exchange(e.again, false)) wait(it, e.priority, std::max(e.again_at, e.rest_until), now);
  sweep(now);
}

std::optional<MonoTime> Queue::next_due(MonoTime now) const {
  if (ready() > 0) return now;
  if (later_.empty()) return std::nullopt;
  return std::max(now, later_.begin()->first.first);
}

std::size_t Queue::depth(MonoTime now) {
  promote(now);
  return ready();
}

void Queue::promote(MonoTime now) {
  while (!later_.empty() && later_.begin()->first.first <= now) {
    const auto it = entries_.find(*later_.begin()->second);
    it->second.due = later_.begin()->first.first;
    later_.erase(later_.begin());
    stand(it, it->second.priority);
  }
}

void Queue::sweep(MonoTime now) {
  while (!resting_.empty() && resting_.begin()->first <= now) {
    const auto [until, key] = *resting_.begin();
    resting_.erase(resting_.begin());
    const auto it = entries_.find(key);
    if (it == entries_.end() || it->second.rest_until != until) continue;
    it->second.resting = false;
    drop_if_idle(it);
  }
}

void Queue::drop_if_idle(Entries::iterator it) {
  const Entry& e = it->second;
  if (e.state == State::idle && !e.out && e.failures == 0 && !e.resting) entries_.erase(it);
}

}  // namespace reconcile
