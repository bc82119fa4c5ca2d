// StateExporter: keeps the gauges of state_metrics.hpp up to date while this process leads. A standby has warm caches too, and would
// show every machine a second time: sums over the replicas must be right, so only the leader shows them.
//
//   StateExporter exporter(env, caches, metrics, [&] { return lease.may_act(env.now().mono); });
//   env.post([&] { exporter.start(); });
//
// Counted on a worker, at most once a `period`, and not at all while no cache has moved. For the Env's thread.
#pragma once
#include <chrono>
#include <functional>
#include <vector>

#include "reconcile/base/env.hpp"
#include "reconcile/cache/caches.hpp"
#include "reconcile/run/metrics.hpp"

namespace endstate::observe {

class StateExporter {
 public:
  static constexpr std::chrono::seconds period{15};
  StateExporter(reconcile::Env& env, const reconcile::Caches& caches, reconcile::Metrics& metrics, std::function<bool()> leading)
      : env_(env), caches_(caches), metrics_(metrics), leading_(std::move(leading)) {}
  StateExporter(const StateExporter&) = delete;
  StateExporter& operator=(const StateExporter&) = delete;
  void start() { tick(); }

 private:
  void tick();
  void count();
  void show(const std::vector<reconcile::GaugeFamily>& families);
  std::vector<std::uint64_t> versions() const;

  reconcile::Env& env_;
  const reconcile::Caches& caches_;
  reconcile::Metrics& metrics_;
  std::function<bool()> leading_;
  std::vector<std::uint64_t> counted_;  // what the caches had reached; empty: nothing is shown
  reconcile::Handle timer_, counting_;
};

}  // namespace endstate::observe
