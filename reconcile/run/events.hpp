// Events: what happened, for `kubectl describe` and `kubectl events` (events.k8s.io/v1). Never blocks or fails a loop: what can't be told
// is dropped and counted.
//
//   Events events(env, {.controller = "endstate-machine", .instance = pod_name}, metrics, log);
//   events.emit({.kind = &kind_of<Machine>, .key = key, .uid = uid}, note);
//
// As client-go's tools/events does: the same thing about the same object becomes a series (one Event whose count grows, written at most
// once a minute, ended after 6 minutes of silence); a source that talks too much about one object is cut (25 events, then 1 each 5
// minutes); at most 1,000 wait to be sent, 4 are on their way, each is tried at most 12 times.
//
// Threads: the Env's.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "reconcile/base/env.hpp"
#include "reconcile/base/log.hpp"
#include "reconcile/kube/kind.hpp"
#include "reconcile/run/loop.hpp"
#include "reconcile/run/metrics.hpp"

namespace reconcile {

struct EventsOptions {
  std::string controller{};  // reportingController; who says it
  std::string instance{};    // reportingInstance: the pod; cut at 128
  std::size_t max_waiting = 1'000, max_in_flight = 4;
  double burst = 25;                 // of one object
  std::chrono::seconds refill{300};  // for one more
  std::chrono::seconds series_write{60}, series_end{360};
  std::chrono::seconds retry{10};
  int tries = 12;
};

// The object that an event is about.
struct Regarding {
  std::string api_version{}, kind{};
  Key key{};
  Text uid{};
};

class Events {
 public:
  Events(Env& env, EventsOptions options, Metrics& metrics, Log log);
  ~Events();
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;

  void emit(const Regarding& regarding, const EventNote& note);
  // Sends what waits and the last counts of open series, for at most `limit`; then `done`. Nothing is accepted afterwards.
  void flush(std::chrono::milliseconds limit, std::function<void()> done);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace reconcile
