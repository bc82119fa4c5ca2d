#include "reconcile/run/queue.hpp"

#include <algorithm>

namespace reconcile {

void Queue::add_at(const Key& key, Priority priority, MonoTime when, MonoTime now) {
  sweep(now);
  const auto it = entries_.try_emplace(key).first;
  Entry& e = it->second;
  if (!e.out) return wait(it, priority, std::max(when, e.rest_until), now);
  e.again_at = e.again ? std::min(e.again_at, when) : when;
  e.priority = e.again ? std::min(e.priority, priority) : priority;
  e.again = true;
}

void Queue::wait(Entries::iterator it, Priority priority, MonoTime when, MonoTime now) {
  Entry& e = it->second;
  const Key* key = &it->first;
  const std::uint64_t sequence = ++sequence_;
  if (e.state == State::ready) {
    if (priority >= e.order.first) return;  // due already: only a higher priority makes a difference
    ready_.erase(e.order);
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
    e.state = State::ready;
    e.order = {priority, sequence};
    ready_.emplace(e.order, key);
  } else {
    e.state = State::later;
    e.when = {when, sequence};
    later_.emplace(e.when, key);
  }
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

std::optional<Key> Queue::take(MonoTime now, std::chrono::nanoseconds* waited) {
  promote(now);
  if (ready_.empty()) return std::nullopt;
  const Key key = *ready_.begin()->second;
  ready_.erase(ready_.begin());
  Entry& e = entries_.at(key);
  if (waited) *waited = now - e.due;
  e.state = State::idle;
  e.out = true;
  ++out_;
  return key;
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
  if (!ready_.empty()) return now;
  if (later_.empty()) return std::nullopt;
  return std::max(now, later_.begin()->first.first);
}

std::size_t Queue::depth(MonoTime now) {
  promote(now);
  return ready_.size();
}

void Queue::promote(MonoTime now) {
  while (!later_.empty() && later_.begin()->first.first <= now) {
    const auto it = entries_.find(*later_.begin()->second);
    it->second.due = later_.begin()->first.first;
    later_.erase(later_.begin());
    it->second.state = State::ready;
    it->second.order = {it->second.priority, ++sequence_};
    ready_.emplace(it->second.order, &it->first);
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
