// Metrics: what the program tells Prometheus. Names follow Prometheus' conventions (base units, _total, _seconds) and are
// controller-runtime's, client-go's and its workqueue's where those have one, after the program's prefix; docs/metrics.md lists them all.
// The label `connection` names an API server: "meta", or a business cluster's "<namespace>/<name>".
// Any thread; but a name whose series go (replace, drop) is for one thread. A series is looked up once and kept: add() and set() cost a
// hash lookup and an atomic.
#pragma once
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace reconcile {

// A gauge with all its series, for what is counted anew each time (Metrics::replace).
struct GaugeFamily {
  struct Series {
    std::vector<std::string> values;  // of the labels, in their order
    double value = 0;
  };
  std::string_view name, help;  // literals; `name` without the prefix
  std::vector<std::string_view> labels;
  std::vector<Series> series;
};

class Metrics {
 public:
  using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;
  explicit Metrics(std::string prefix);  // "endstate"
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // `name` without the prefix. The first use of a name fixes its help, type and label names; a later one that differs is a bug (throws).
  // A name has at most 5,000 series: what comes past that is dropped and counted in P_metrics_dropped_total.
  void add(std::string_view name, std::string_view help, Labels labels, double by = 1);  // a counter
  void set(std::string_view name, std::string_view help, Labels labels, double value);   // a gauge
  // A histogram, in s. Its buckets: `calls` 50 us to 30 s, `hours` 10 s to 2 days; the first use of a name fixes them.
  enum class Scale : std::uint8_t { calls, hours };
  void observe(std::string_view name, std::string_view help, Labels labels, std::chrono::nanoseconds duration, Scale scale = Scale::calls);
  void replace(const GaugeFamily& family);                                           // these series, and no other of that name
  void drop(std::string_view name, std::string_view label, std::string_view value);  // all series of `name` that have that label

  std::string text() const;  // the exposition format; also refreshes the process_* figures

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace reconcile
