// Leadership: who acts. Leader election over coordination.k8s.io/v1 (client-go's leaderelection.go) with Chubby's jeopardy and generation.
//
//   CurlEnv lease_env(...);  // its own Env on its own thread: decoding a big list on the other can't cost the leadership
//   Leadership lease(lease_env, {.name_space = "endstate-system", .name = "endstate-operator", .identity = pod_name}, log);
//   lease.start([&](bool leading) { env.post([&, leading] { manager.lead(leading); }); });
//
// The rules:
//   - Expiry of another's lease is judged by when *we* last saw its record change, on the monotonic clock; no wall clock is compared.
//   - Our own right to act ends `renew_deadline` after the moment *before* the last successful renewal was sent (jeopardy); others wait
//     `duration` from when they saw it, which is later. The difference is what a write that is on its way may take: see time_to_act().
//   - A released lease (empty holder) is taken at once: candidates watch the object, and poll each retry_period besides.
//   - A record that names our own identity is ours from an earlier life of this process: taken at once, with a new generation. So an
//     identity must be unique among live processes (a pod's name is). Once we have held the lease, a record with our name and a
//     generation that isn't ours is another process's: we stop.
//   - Every acquisition raises spec.leaseTransitions by compare-and-swap: the generation.
//   - Every renewal's request ends within renew_deadline / 2. A lost reply is not a loss: the next try reads first.
#pragma once
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "reconcile/base/env.hpp"
#include "reconcile/base/log.hpp"

namespace reconcile {

struct LeaseOptions {
  std::string name_space{}, name{}, identity{};
  std::chrono::milliseconds duration{15'000}, renew_deadline{10'000}, retry_period{2'000};
};
// duration > renew_deadline > 1.2 * retry_period (leaderelection.go: JitterFactor), a whole number of seconds, and the three names.
Result<void> validate(const LeaseOptions& options);

class Leadership {
 public:
  Leadership(Env& env, LeaseOptions options, Log log);  // throws std::invalid_argument on options that validate() refuses
  ~Leadership();                                        // gives nothing back: release() does
  Leadership(const Leadership&) = delete;
  Leadership& operator=(const Leadership&) = delete;

  // On the Env's thread (or before it runs). `changed` comes there: true when acquired, false when lost. After a loss it tries again.
  void start(std::function<void(bool leading)> changed);
  // Gives the lease back and stops trying; `done` comes when the API server has answered, or after renew_deadline / 2. Call it only when
  // every worker has stopped: from here on may_act() is false.
  void release(std::function<void()> done);

  // Any thread.
  bool may_act(MonoTime now) const { return time_to_act(now).count() > 0; }
  // Until when a side effect may be *started* now: 0 when not leading. A write must also end within `write_margin()`.
  std::chrono::nanoseconds time_to_act(MonoTime now) const;
  std::chrono::milliseconds write_margin() const { return options_.duration - options_.renew_deadline; }
  // Since when nobody had renewed it when it was last acquired, by what stood in it. Nothing: it was new. For `changed`, on its thread.
  std::optional<WallTime> unrenewed_since() const;
  std::int64_t generation() const { return generation_.load(std::memory_order_acquire); }  // of our last acquisition; -1: none yet
  const std::string& identity() const { return options_.identity; }

 private:
  struct Impl;
  LeaseOptions options_;
  std::atomic<std::int64_t> deadline_{0};  // MonoTime in ns; 0: not leading
  std::atomic<std::int64_t> generation_{-1};
  std::unique_ptr<Impl> impl_;
};

}  // namespace reconcile
