// Wiring: the operator's parts, as they know of each other, on an Env: caches, the guard, all loops, what is measured of them. main.cpp
// gives them the world, tests a simulated one.
//
//   Wiring wiring(env, leadership, {.identity = "pod-1"}, metrics, log);
//   wiring.start();
//   leadership.start([&](bool leading) { wiring.lead(leading, nobody_led(leadership, env.now().wall)); });
//
// For the Env's thread.
#pragma once
#include <functional>
#include <optional>
#include <string>

#include "controllers/addons/loop.hpp"
#include "controllers/cluster/loop.hpp"
#include "controllers/enrolment/loop.hpp"
#include "controllers/guard/ledger_guard.hpp"
#include "controllers/guard/loop.hpp"
#include "controllers/machine/loop.hpp"
#include "controllers/machine_set/loop.hpp"
#include "controllers/metric_source/loop.hpp"
#include "controllers/observe/loop_state_metrics.hpp"
#include "controllers/package/loop.hpp"
#include "controllers/package/loop_cluster.hpp"
#include "reconcile/run/lease.hpp"
#include "reconcile/run/manager.hpp"
#include "reconcile/run/metrics.hpp"

namespace endstate {

struct WiringOptions {
  std::string identity;
  bool hosted_control_planes = false;
};

// Since when nobody led, where that was for so long that nobody saw what happened. Of the Leadership's thread.
std::optional<reconcile::WallTime> nobody_led(const reconcile::Leadership& leadership, reconcile::WallTime now);

// Members are made in this order and end in the opposite one: what refers to another comes after it.
class Wiring {
 public:
  Wiring(reconcile::Env& env, reconcile::Leadership& leadership, const WiringOptions& options, reconcile::Metrics& metrics,
         const reconcile::Log& log);
  Wiring(const Wiring&) = delete;
  Wiring& operator=(const Wiring&) = delete;

  void start();
  // `unseen_since`: of nobody_led().
  void lead(bool leading, std::optional<reconcile::WallTime> unseen_since);
  // The meta API server's clock. Ahead, it is a time that nobody has seen: no deadline may run through it. Back, clocks stand still until
  // it is then again.
  void clock_jumped(reconcile::WallTime before, reconcile::WallTime after);
  void stop(std::function<void()> done) { manager_.stop(std::move(done)); }
  const reconcile::Manager& manager() const { return manager_; }

 private:
  reconcile::Metrics& metrics_;
  reconcile::Log log_;
  reconcile::Caches caches_;
  guard::LedgerGuard guard_;
  cluster::ClusterLoop cluster_;
  addons::AddonsLoop addons_;
  machine_set::MachineSetLoop machine_set_;
  machine::MachineLoop machine_;
  package::PackageLoop package_;
  package::ClusterPackageLoop cluster_package_;
  guard::BudgetLoop budget_;
  guard::ChecksLoop checks_;
  metric_source::MetricSourceLoop metric_source_;
  enrolment::EnrolmentLoop enrolment_;
  reconcile::Manager manager_;
  observe::StateExporter exporter_;
};

}  // namespace endstate
