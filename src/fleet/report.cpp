#include "src/fleet/report.hpp"

namespace endstate::fleet {
namespace {

using namespace std::chrono_literals;

// Few series: a code is its number, a path is "raw".
std::string code_of(const reconcile::Exchange& e) { return e.status == 0 ? "none" : std::to_string(e.status); }

}  // namespace

FleetHooks Report::hooks(reconcile::Events& events, std::function<reconcile::MonoTime()> now) {
  return {.counted = [this, now = std::move(now)](const FleetFigures& f) { counted(f, now()); },
          .wrote =
              [this](std::string_view resource, std::string_view result) {
                metrics_.add("writes_total", "Writes of the simulated hosts, by what came of them.",
                             {{"resource", resource}, {"result", result}});
              },
          .bad_fault =
              [this, &events](const BadFault& bad) {
                metrics_.add("bad_faults_total", "Fault annotations that were not understood.", {{"kind", bad.kind}});
                reconcile::EventNote note;
                note.warning = true;
                note.reason = "BadFault";
                note.action = "ReadFault";
                note.note = bad.message;
                events.emit(
                    {.api_version = "endstate.dev/v1alpha1", .kind = std::string(bad.kind), .key = bad.object.key(), .uid = bad.object.uid},
                    note);
              }};
}

void Report::exchange(const reconcile::Exchange& e) {
  const auto resource = e.resource.starts_with("/")
                            ? std::string("raw")
                            : std::string(e.resource) + (e.subresource.empty() ? "" : "/") + std::string(e.subresource);
  metrics_.add("client_requests_total", "Requests to the API server.", {{"verb", e.verb}, {"resource", resource}, {"code", code_of(e)}});
  if (e.verb != "watch")
    metrics_.observe("client_request_duration_seconds", "How long requests took, watches apart.", {{"verb", e.verb}}, e.took);
}

// Users ask as much of every host in service, and are told the truth: the one sign of a host whose work fails. The series of a revision
// go with its last host, so that their number stays that of the revisions in use.
void Report::count_requests(const FleetFigures& f, std::chrono::nanoseconds since) {
  const auto asked = requests_per_second * std::chrono::duration<double>(since).count();
  std::set<std::string> live;
  for (const auto& s : f.serving) {
    const auto revision = s.revision.view();
    live.emplace(revision);
    const auto requests = [&](std::string_view result, std::uint32_t hosts) {
      metrics_.add("requests_total", "What users asked of the hosts in service, by the revision that served them and what came of it.",
                   {{"revision", revision}, {"result", result}}, asked * hosts);
    };
    requests("ok", s.hosts - s.failing);
    requests("error", s.failing);
    metrics_.set("hosts_serving", "Hosts in service, by revision.", {{"revision", revision}}, s.hosts);
    metrics_.set("hosts_degraded", "Hosts in service whose work fails, by revision.", {{"revision", revision}}, s.failing);
  }
  for (const auto& old : revisions_)
    if (!live.contains(old))
      for (const auto* name : {"requests_total", "hosts_serving", "hosts_degraded"}) metrics_.drop(name, "revision", old);
  revisions_ = std::move(live);
}

void Report::counted(const FleetFigures& f, reconcile::MonoTime now) {
  for (std::size_t i = 0; i < f.hosts.size(); ++i)
    metrics_.set("hosts", "Simulated hosts, by what they do.", {{"state", host_state_names[i]}}, f.hosts[i]);
  for (std::size_t i = 0; i < f.pods.size(); ++i)
    metrics_.set("pods", "Pods on simulated nodes, by phase.", {{"phase", pod_phase_names[i]}}, f.pods[i]);
  const auto grown = [&](std::uint64_t is, std::uint64_t& was, std::string_view result) {
    metrics_.add("packages_applied_total", "Installs of packages, by what came of them.", {{"result", result}},
                 static_cast<double>(is - was));
    was = is;
  };
  grown(f.packages_applied, applied_, "success");
  grown(f.packages_failed, failed_, "failure");
  metrics_.set("write_queue_depth", "Writes that wait for their turn.", {}, static_cast<double>(f.writes_waiting));
  metrics_.set("writes_in_flight", "Writes that wait for their answer.", {}, static_cast<double>(f.writes_in_flight));
  metrics_.set("writes_paused", "1 while the API server doesn't answer and writes are held back.", {}, f.writes_paused ? 1 : 0);
  for (const auto& [resource, lag] : f.watch_lag)
    metrics_.set("watch_lag_seconds", "For how long a watch has been without contact; 0: it is live.", {{"resource", resource}},
                 std::chrono::duration<double>(lag).count());
  count_requests(f, last_ == reconcile::MonoTime{} ? std::chrono::nanoseconds(0) : now - last_);  // last_ is written by this thread only
  const std::lock_guard lock(mutex_);
  last_ = now;
  std::size_t all = 0;
  for (const auto n : f.hosts) all += n;
  ready_ = {f.ready(), f.synced ? std::to_string(f.registered) + " of " + std::to_string(all) + " hosts are registered"
                                : "waiting for the first lists"};
}

reconcile::Health Report::ready() const {
  const std::lock_guard lock(mutex_);
  return ready_;
}

reconcile::Health Report::alive(reconcile::MonoTime now) const {
  const std::lock_guard lock(mutex_);
  const bool stuck = last_ != reconcile::MonoTime{} && now - last_ > 30s;
  return {!stuck, stuck ? "the fleet's thread has not moved for " +
                              reconcile::format_duration(std::chrono::duration_cast<std::chrono::seconds>(now - last_))
                        : "ok"};
}

}  // namespace endstate::fleet
