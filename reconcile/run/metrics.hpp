// Metrics: what the program tells Prometheus. Names are controller-runtime's where it has one, after the program's prefix:
//   P_reconcile_total{loop,result}  P_reconcile_seconds{loop}  P_reconcile_plan_exceptions_total{loop}
//   P_queue_depth{loop}  P_queue_adds_total{loop}  P_queue_retries_total{loop}  P_queue_longest_running_seconds{loop}
//   P_client_requests_total{cluster,verb,resource,code}  P_client_seconds{verb}
//   P_writes_total{loop,verb,resource,result}  P_guard_refusals_total{kind,name,reason}
//   P_watch_lag_seconds{cluster,resource}  P_watch_relists_total{cluster,resource}  P_cache_objects{cluster,resource}
//   P_decode_errors_total{cluster,resource}  P_events_total{result}  P_leader  P_lease_generation
//   process_resident_memory_bytes  process_cpu_seconds_total  process_start_time_seconds
// Any thread. A series is looked up once and kept: add() and set() cost a hash lookup and an atomic.
#pragma once
#include <chrono>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace reconcile {

class Metrics {
 public:
  using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;
  explicit Metrics(std::string prefix);  // "endstate"
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // `name` without the prefix. The first use of a name fixes its help, type and label names; a later one that differs is a bug (throws).
  // A name has at most 2,000 series: what comes past that is dropped and counted in P_metrics_dropped_total.
  void add(std::string_view name, std::string_view help, Labels labels, double by = 1);                          // a counter
  void set(std::string_view name, std::string_view help, Labels labels, double value);                           // a gauge
  void observe(std::string_view name, std::string_view help, Labels labels, std::chrono::nanoseconds duration);  // a histogram, in s
  void drop(std::string_view name, std::string_view label, std::string_view value);  // all series of `name` that have that label

  std::string text() const;  // the exposition format; also refreshes the process_* figures

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace reconcile
