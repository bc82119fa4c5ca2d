// Queue: which key is worked on next (client-go's util/workqueue, with controller-runtime's priorities). A pure data structure: time is
// handed in, so that a test can hold any clock.
//
//   - A key is out at most once. Added while it is out, it comes again after done(): never twice at once, never lost.
//   - Delayed adds keep the earliest time. Priority: what changed comes before first lists and resyncs; among equals, first in first out.
//     A key that waits at low priority is raised by an add at high.
//   - No lane starves another: keys may have one (the connection that they are about), and the lanes take turns. Nor does high priority
//     starve low: a key that has waited for `aged` is taken in turn. After a take-over retries are high and first looks low.
//   - After done() a key rests for `gap`: a burst of changes is one pass.
//   - Failures wait 5 ms, 10 ms, ... 1000 s (per key, DefaultTypedControllerRateLimiter); forget() starts over.
// Memory: one entry a key that is waiting, out, resting or has failures.
#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>

#include "reconcile/base/time.hpp"
#include "reconcile/kube/meta.hpp"

namespace reconcile {

enum class Priority : std::uint8_t { high, low };

struct QueueOptions {
  std::chrono::nanoseconds gap = std::chrono::milliseconds(200);
  std::chrono::nanoseconds first_delay = std::chrono::milliseconds(5), last_delay = std::chrono::seconds(1000);
  std::chrono::nanoseconds aged = std::chrono::seconds(10);
};

class Queue {
 public:
  explicit Queue(QueueOptions options = {}) : options_(options) {}

  // `lane`: none keeps the one that is known of the key.
  void add(const Key& key, Priority priority, MonoTime now, Text lane = {}) { add_at(key, priority, now, now, lane); }
  void add_after(const Key& key, std::chrono::nanoseconds delay, MonoTime now) { add_at(key, Priority::high, now + delay, now); }
  std::chrono::nanoseconds add_failed(const Key& key, MonoTime now, std::chrono::nanoseconds at_least = {});  // the delay that it got
  void forget(const Key& key);                                                                                // its failures
  int failures(const Key& key) const;

  // The next that is due; it is out from then on. `waited`: for how long it has been due.
  std::optional<Key> take(MonoTime now, std::chrono::nanoseconds* waited = nullptr);
  void done(const Key& key, MonoTime now);  // it is back. No-op for a key that isn't out.

  void set_lane(const Key& key, Text lane);  // from its next add on; forgotten with the key

  std::optional<MonoTime> next_due(MonoTime now) const;  // when take() will have one; nullopt: not by time alone
  std::size_t depth(MonoTime now);                       // due now
  std::size_t waiting() const { return ready() + later_.size(); }
  std::size_t out() const { return out_; }
  std::size_t size() const { return entries_.size(); }  // keys known

  struct Hash {
    std::size_t operator()(const Key& k) const {
      return std::hash<std::string_view>{}(k.name.view()) * 31 + std::hash<std::string_view>{}(k.name_space.view());
    }
  };

 private:
  struct Order {  // where it stands in ready_
    Priority priority = Priority::low;
    Text lane{};
    std::uint64_t sequence = 0;
  };
  using Line = std::map<std::uint64_t, const Key*>;  // by sequence
  struct Ready {                                     // of one priority
    std::map<Text, Line> lanes;                      // none is empty
    Text last{};                                     // whose turn it was
    std::size_t size = 0;
  };
  using When = std::pair<MonoTime, std::uint64_t>;  // in later_
  enum class State : std::uint8_t { idle, ready, later };
  struct Entry {
    State state = State::idle;
    Priority priority = Priority::low;  // of the add that waits
    bool out = false;
    bool again = false;    // added while it was out ...
    MonoTime again_at{};   // ... for then
    bool resting = false;  // stands in resting_, for rest_until
    MonoTime rest_until = MonoTime::min();
    int failures = 0;
    MonoTime due{};  // since when it is ready
    Text lane{};
    Order order{};  // where it stands in ready_ ...
    When when{};    // ... or later_
  };
  using Entries = std::unordered_map<Key, Entry, Hash>;

  void add_at(const Key& key, Priority priority, MonoTime when, MonoTime now, Text lane = {});
  void wait(Entries::iterator it, Priority priority, MonoTime when, MonoTime now);
  void promote(MonoTime now);  // what has become due
  std::size_t ready() const { return ready_[0].size + ready_[1].size; }
  void stand(Entries::iterator it, Priority priority);  // in ready_, behind all others of its lane
  void unstand(const Entry& e);
  const Key* next_of(Ready& ready, MonoTime due_by);  // in turn, of the lanes whose first has been due since then
  void sweep(MonoTime now);                           // drops the keys that have rested, and nothing else is known of
  void drop_if_idle(Entries::iterator it);

  QueueOptions options_;
  Entries entries_;
  Ready ready_[2];  // by priority
  bool low_next_ = false;
  std::map<When, const Key*> later_;
  std::multimap<MonoTime, Key> resting_;  // by the end of the rest: at most one entry a pass that has ended in the last `gap`
  std::uint64_t sequence_ = 0;
  std::size_t out_ = 0;
};

}  // namespace reconcile
