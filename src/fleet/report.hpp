// Report: what people and Prometheus are told of the fleet. Fed by the fleet's hooks on the Env's thread, read by the HTTP server's.
//
//   P_hosts{state}  P_pods{phase}  P_packages_applied_total{result}  P_writes_total{resource,result}  P_write_queue_depth
//   P_requests_total{revision,result}  P_hosts_serving{revision}  P_hosts_degraded{revision}
//   P_writes_in_flight  P_writes_paused  P_watch_lag_seconds{resource}  P_bad_faults_total{kind}
//   P_client_requests_total{verb,resource,code}  P_client_request_duration_seconds{verb}
#pragma once
#include <mutex>
#include <set>
#include <string>

#include "reconcile/kube/curl_env.hpp"
#include "reconcile/run/events.hpp"
#include "reconcile/run/http.hpp"
#include "reconcile/run/metrics.hpp"
#include "src/fleet/fleet.hpp"

namespace endstate::fleet {

inline constexpr double requests_per_second = 10;  // that users ask of each host in service

class Report {
 public:
  explicit Report(reconcile::Metrics& metrics) : metrics_(metrics) {}

  // `events`: where bad faults are told on the objects that have them.
  FleetHooks hooks(reconcile::Events& events, std::function<reconcile::MonoTime()> now);
  void exchange(const reconcile::Exchange& e);  // CurlEnv's observer

  // Any thread.
  reconcile::Health ready() const;
  reconcile::Health alive(reconcile::MonoTime now) const;  // false: the fleet's thread has been stuck for 30 s

 private:
  void counted(const FleetFigures& f, reconcile::MonoTime now);
  void count_requests(const FleetFigures& f, std::chrono::nanoseconds since);

  reconcile::Metrics& metrics_;
  std::uint64_t applied_ = 0, failed_ = 0;  // told so far
  std::set<std::string> revisions_;         // that have series
  mutable std::mutex mutex_;
  reconcile::Health ready_{false, "starting"};
  reconcile::MonoTime last_{};  // min: it hasn't started
};

}  // namespace endstate::fleet
