#include "reconcile/run/metrics.hpp"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <span>
#include <sstream>
#include <stdexcept>
#include <unordered_map>
#include <vector>

namespace reconcile {
namespace {

constexpr std::size_t max_series =
    5'000;  // of one name: a label that grows without bound must not take the memory; 100 hosted clusters have 2,000 kinds of calls

// From a pass that only compares (50 us) to a call that times out (30 s).
const prometheus::Histogram::BucketBoundaries call_buckets{0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                                           0.05,    0.1,    0.25,    0.5,    1,     2.5,    5,     10,   30};
// From a change that was taken back at once to one that goes over a weekend.
const prometheus::Histogram::BucketBoundaries hour_buckets{10, 30, 60, 120, 300, 600, 1'800, 3'600, 7'200, 14'400, 28'800, 86'400, 172'800};

// One string for a set of label values; a byte that no value holds parts them.
using Pairs = std::span<const std::pair<std::string_view, std::string_view>>;
std::string series_key(Pairs labels) {
  std::string key;
  for (const auto& [name, value] : labels) key.append(value).push_back('\xff');
  return key;
}

Pairs pairs(Metrics::Labels labels) { return {labels.begin(), labels.size()}; }

struct ProcessFigures {
  double resident_bytes = 0, cpu_seconds = 0, start_seconds = 0, open_files = 0, max_files = 0;
};

// proc(5): fields 14, 15 (CPU) and 22 (start) of stat, field 2 (resident pages) of statm, btime of /proc/stat.
ProcessFigures read_process() {
  ProcessFigures out;
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  std::string stat;
  std::getline(std::ifstream("/proc/self/stat"), stat);
  std::istringstream rest(stat.substr(std::min(stat.size(), stat.rfind(')') + 1)));
  std::vector<std::string> field;
  for (std::string word; rest >> word;) field.push_back(word);
  double start_ticks = 0;
  if (field.size() > 19) {
    out.cpu_seconds = (std::stod(field[11]) + std::stod(field[12])) / ticks;
    start_ticks = std::stod(field[19]);
  }
  double pages = 0;
  std::ifstream("/proc/self/statm") >> pages >> pages;
  out.resident_bytes = pages * static_cast<double>(sysconf(_SC_PAGESIZE));
  std::ifstream boot("/proc/stat");
  for (std::string word; boot >> word;)
    if (word == "btime" && boot >> out.start_seconds) break;
  out.start_seconds += start_ticks / ticks;
  std::error_code ignored;  // without /proc there are none
  for (std::filesystem::directory_iterator it("/proc/self/fd", ignored), end; it != end; it.increment(ignored)) ++out.open_files;
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) out.max_files = static_cast<double>(files.rlim_cur);
  return out;
}

}  // namespace

// Families and series live as long as the registry; a series is found by its label values under a shared lock.
struct Metrics::Impl {
  enum class What : std::uint8_t { counter, gauge, histogram };
  struct Series {
    std::vector<std::string> values;
    void* metric;
  };
  struct Name {
    What what{};
    std::vector<std::string> labels;
    void* family = nullptr;
    std::unordered_map<std::string, Series> series;
  };

  std::string prefix;
  prometheus::Registry registry{prometheus::Registry::InsertBehavior::Throw};
  std::shared_mutex mutex;
  std::map<std::string, Name, std::less<>> names;
  prometheus::Counter* dropped = nullptr;
  prometheus::Gauge *memory = nullptr, *start = nullptr, *open_files = nullptr, *max_files = nullptr;
  prometheus::Counter* cpu = nullptr;

  template <class M>
  static constexpr What what_of = std::is_same_v<M, prometheus::Counter> ? What::counter
                                  : std::is_same_v<M, prometheus::Gauge> ? What::gauge
                                                                         : What::histogram;
  template <class M>
  prometheus::Family<M>& family(const std::string& name, const std::string& help) {
    if constexpr (std::is_same_v<M, prometheus::Counter>)
      return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
    else if constexpr (std::is_same_v<M, prometheus::Gauge>)
      return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
    else
      return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
  }

  template <class M>
  M* find(std::string_view name, const std::string& key, Pairs labels) {
    const std::shared_lock lock(mutex);
    const auto it = names.find(name);
    if (it == names.end()) return nullptr;
    check<M>(name, it->second, labels);
    const auto found = it->second.series.find(key);
    return found == it->second.series.end() ? nullptr : static_cast<M*>(found->second.metric);
  }

  template <class M>
  static void check(std::string_view name, const Name& known, Pairs labels) {
    bool same = known.what == what_of<M> && known.labels.size() == labels.size();
    for (std::size_t i = 0; same && i < labels.size(); ++i) same = known.labels[i] == labels[i].first;
    if (!same) throw std::logic_error("metric " + std::string(name) + ": used with another type or other labels before");
  }

  // Null when the name has too many series already.
  template <class M>
  M* series(std::string_view name, std::string_view help, Pairs labels,
            const prometheus::Histogram::BucketBoundaries& buckets = call_buckets) {
    const std::string key = series_key(labels);
    if (auto* found = find<M>(name, key, labels)) return found;
    const std::unique_lock lock(mutex);
    auto it = names.find(name);
    if (it == names.end()) {
      auto& made = family<M>(prefix + "_" + std::string(name), std::string(help));  // throws on a bad name: then nothing is known of it
      it = names.try_emplace(std::string(name)).first;
      it->second.what = what_of<M>;
      for (const auto& label : labels) it->second.labels.emplace_back(label.first);
      it->second.family = &made;
    }
    Name& known = it->second;
    check<M>(name, known, labels);
    if (known.series.size() >= max_series && !known.series.contains(key)) {
      dropped->Increment();
      return nullptr;
    }
    prometheus::Labels map;
    std::vector<std::string> values;
    for (const auto& [label, value] : labels) {
      map.emplace(label, value);
      values.emplace_back(value);
    }
    auto* family_of = static_cast<prometheus::Family<M>*>(known.family);
    M* metric = nullptr;
    if constexpr (std::is_same_v<M, prometheus::Histogram>)
      metric = &family_of->Add(map, buckets);
    else
      metric = &family_of->Add(map);
    known.series.insert_or_assign(key, Series{std::move(values), metric});
    return metric;
  }

  static void remove(Name& known, void* metric) {
    switch (known.what) {
      case What::counter:
        static_cast<prometheus::Family<prometheus::Counter>*>(known.family)->Remove(static_cast<prometheus::Counter*>(metric));
        break;
      case What::gauge:
        static_cast<prometheus::Family<prometheus::Gauge>*>(known.family)->Remove(static_cast<prometheus::Gauge*>(metric));
        break;
      case What::histogram:
        static_cast<prometheus::Family<prometheus::Histogram>*>(known.family)->Remove(static_cast<prometheus::Histogram*>(metric));
        break;
    }
  }
};

Metrics::Metrics(std::string prefix) : impl_(std::make_unique<Impl>()) {
  impl_->prefix = std::move(prefix);
  impl_->dropped =
      &impl_->family<prometheus::Counter>(impl_->prefix + "_metrics_dropped_total", "Samples of series past a name's bound.").Add({});
  impl_->memory = &impl_->family<prometheus::Gauge>("process_resident_memory_bytes", "Resident memory size in bytes.").Add({});
  impl_->cpu = &impl_->family<prometheus::Counter>("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.").Add({});
  impl_->start =
      &impl_->family<prometheus::Gauge>("process_start_time_seconds", "Start time of the process since unix epoch in seconds.").Add({});
  impl_->open_files = &impl_->family<prometheus::Gauge>("process_open_fds", "Number of open file descriptors.").Add({});
  impl_->max_files = &impl_->family<prometheus::Gauge>("process_max_fds", "Maximum number of open file descriptors.").Add({});
}

Metrics::~Metrics() = default;

void Metrics::add(std::string_view name, std::string_view help, Labels labels, double by) {
  if (auto* counter = impl_->series<prometheus::Counter>(name, help, pairs(labels))) counter->Increment(by);
}

void Metrics::set(std::string_view name, std::string_view help, Labels labels, double value) {
  if (auto* gauge = impl_->series<prometheus::Gauge>(name, help, pairs(labels))) gauge->Set(value);
}

void Metrics::observe(std::string_view name, std::string_view help, Labels labels, std::chrono::nanoseconds duration, Scale scale) {
  if (auto* histogram =
          impl_->series<prometheus::Histogram>(name, help, pairs(labels), scale == Scale::hours ? hour_buckets : call_buckets))
    histogram->Observe(std::chrono::duration<double>(duration).count());
}

void Metrics::replace(const GaugeFamily& family) {
  std::set<std::string> kept;
  std::vector<std::pair<std::string_view, std::string_view>> labels(family.labels.size());
  for (const auto& s : family.series) {
    if (s.values.size() != labels.size()) throw std::logic_error("metric " + std::string(family.name) + ": a value for each label");
    for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = {family.labels[i], s.values[i]};
    kept.insert(series_key(labels));
    if (auto* gauge = impl_->series<prometheus::Gauge>(family.name, family.help, labels)) gauge->Set(s.value);
  }
  const std::unique_lock lock(impl_->mutex);
  const auto it = impl_->names.find(family.name);
  if (it == impl_->names.end()) return;
  std::erase_if(it->second.series, [&](const auto& entry) {
    if (kept.contains(entry.first)) return false;
    Impl::remove(it->second, entry.second.metric);
    return true;
  });
}

void Metrics::drop(std::string_view name, std::string_view label, std::string_view value) {
  const std::unique_lock lock(impl_->mutex);
  const auto it = impl_->names.find(name);
  if (it == impl_->names.end()) return;
  auto& known = it->second;
  for (std::size_t i = 0; i < known.labels.size(); ++i) {
    if (known.labels[i] != label) continue;
    std::erase_if(known.series, [&](const auto& entry) {
      if (entry.second.values[i] != value) return false;
      Impl::remove(known, entry.second.metric);
      return true;
    });
  }
}

std::string Metrics::text() const {
  const ProcessFigures now = read_process();
  {
    const std::unique_lock lock(impl_->mutex);  // two scrapes at once must not both add the difference
    impl_->memory->Set(now.resident_bytes);
    impl_->start->Set(now.start_seconds);
    impl_->open_files->Set(now.open_files);
    impl_->max_files->Set(now.max_files);
    if (const double more = now.cpu_seconds - impl_->cpu->Value(); more > 0) impl_->cpu->Increment(more);
  }
  return prometheus::TextSerializer().Serialize(impl_->registry.Collect());
}

}  // namespace reconcile
