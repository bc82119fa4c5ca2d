// Manager: runs loops. It starts the watches that they read, queues their keys, runs their plans on workers and carries them out.
//
//   Metrics metrics("endstate");
//   CurlEnv env({.user_agent = "endstate/0.1.0", .workers = 1, .observer = client_metrics(metrics)}, credentials);
//   CurlEnv lease_env({.user_agent = "endstate/0.1.0"}, credentials);
//   Leadership lease(lease_env, {.name_space = "endstate-system", .name = "endstate-operator", .identity = identity}, log);
//   Caches caches(env, log, {});
//   LedgerGuard guard(env, caches, ...);
//   MachineLoop machine; MachineSetLoop machine_set;
//   Manager manager(env, caches, guard, {&machine, &machine_set}, {.program = "endstate", .instance = identity, .lease = &lease,
//                   .also_watch = guard.sources()}, metrics, log);
//   auto http = HttpServer::start(address, ...);                 // http.hpp has the routes
//   env.post([&] { manager.start(); });
//   lease_env.post([&] { lease.start([&](bool leading) { env.post([&, leading] { manager.lead(leading); }); }); });
//   std::thread lease_thread([&] { lease_env.run(); });
//   on SIGTERM:  env.post([&] { manager.stop([&] { lease_env.post([&] { lease.release([&] { lease_env.stop(); env.stop(); }); }); }); });
//   env.run();
//   lease_thread.join();
//
// What it promises the loops:
//   - No key is worked on twice at once; a change meanwhile makes another pass, at least `gap` after the last one ended.
//   - observe() comes only when every cache that the loops read in the meta cluster has been filled (business clusters that don't answer
//     don't hold the others: a loop asks View::synced).
//   - After a pass that wrote, the next pass of that key sees a cache that has reached those writes (or `stale_limit` has passed, which
//     is logged). A write whose reply was lost is read back first.
//   - Only while leading; a pass that runs when the leadership ends sends nothing more, also when it is won again meanwhile. A new leader
//     looks at every key, and at what every object in its caches says to the loops' sources, after what changed.
//   - One connection takes nothing from the others (places.hpp): a pass that writes to a business cluster, or asks it, has one of that
//     connection's places (a quarter of `passes`), or waits in its line without holding anything. A pass that only waits for answers to
//     "what became of it" holds none. Keys take turns by connection (queue.hpp). Asking for permits has places for each cluster.
//   - A connection that asks to be left alone (Retry-After) is, by all passes, for that long.
//   - A loop that throws is an error of that key, logged and counted; so is any other exception out of a pass.
//   - A process that doesn't lead follows the connections (ManagerOptions::follow): its caches are warm when it is its turn.
//
// Threads: everything on the Env's thread, but alive() and ready(): any thread.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "reconcile/base/env.hpp"
#include "reconcile/base/log.hpp"
#include "reconcile/cache/caches.hpp"
#include "reconcile/run/guard.hpp"
#include "reconcile/run/http.hpp"
#include "reconcile/run/lease.hpp"
#include "reconcile/run/loop.hpp"
#include "reconcile/run/metrics.hpp"

namespace reconcile {

// Which connections there should be, said by the objects of one kind in the meta cluster: what a process that doesn't lead connects to. The
// leader's loops say it themselves (Plan::connections), and may keep one for longer; what was deleted unseen is disconnected by a new
// leader.
struct Following {
  const Kind* kind = nullptr;                             // a source of some loop; null: nothing is followed
  std::function<ConnectWish(const void* object)> wish{};  // for one that is there
};

struct ManagerOptions {
  std::string program = "reconcile";                // field managers "<program>-<loop>", the events' reportingController "<program>-<loop>"
  std::string instance{};                           // the events' reportingInstance
  const Leadership* lease = nullptr;                // null: always leading (tests, tools)
  std::vector<Source> also_watch{};                 // what the guard reads; `keys` may be null
  std::function<bool(const Action&)> disruptive{};  // what only a permit allows (actor.hpp); null: nothing
  std::function<Result<std::string>(const std::string&, const std::vector<std::string>&, WallTime)> make{};  // bodies with keys (actor.hpp)
  Following follow{};
  // In flight at once, of all loops, those for business clusters apart: what only waits for its cache or for a place is not counted.
  int passes = 64;
  int writes_per_pass = 16;  // in flight at once, of one pass
  std::chrono::milliseconds gap{200};
  std::chrono::milliseconds stale_limit{300'000};
  std::chrono::milliseconds probe_period{10'000}, probe_timeout{5'000};
  std::chrono::milliseconds stop_limit{30'000};
  std::chrono::milliseconds stuck_limit{30'000};  // alive() fails when the Env's thread has not come round for this long
};

// A connection's id as metrics show it. Prometheus can't tell an empty label from none; no other id is without a slash.
inline std::string_view connection_label(std::string_view id) { return id.empty() ? std::string_view("meta") : id; }

class Manager {
 public:
  // Everything passed by reference must live longer than this. Loops have distinct names; two sources of one kind must agree on remote,
  // namespace and selector, else std::invalid_argument.
  Manager(Env& env, Caches& caches, Guard& guard, std::vector<const Loop*> loops, ManagerOptions options, Metrics& metrics, Log log);
  ~Manager();
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;

  void start();             // watches and probes; passes begin when the caches are filled and lead(true) has come (or there is no lease)
  void lead(bool leading);  // from the lease
  // Takes no more keys, finishes what runs (at most stop_limit), sends the events that wait, then calls `done`. The lease is released
  // after.
  void stop(std::function<void()> done);

  void enqueue(std::string_view loop, const Key& key);  // as if it had changed
  void let_in(std::string_view loop, const Key& key);   // a permit that was refused may be asked for again now
  ConnectionState connection(std::string_view cluster) const;
  bool idle() const;  // nothing runs, waits for a cache, or is due now (delayed keys may be waiting): for tests and tools

  Health alive(MonoTime now) const;  // /healthz: the Env's thread comes round
  Health ready() const;              // /readyz: the caches are filled; says whether this one leads. A standby is ready too.

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// For CurlEnvOptions::observer: P_client_requests_total and P_client_request_duration_seconds. A template so that this header needs no
// client.
template <class Exchange>
std::function<void(const Exchange&)> client_metrics(Metrics& metrics) {
  return [&metrics](const Exchange& x) {
    metrics.add(
        "client_requests_total", "API requests by their answer; code 0: none came.",
        {{"connection", connection_label(x.cluster)}, {"verb", x.verb}, {"resource", x.resource}, {"code", std::to_string(x.status)}});
    if (x.verb != "watch")
      metrics.observe("client_request_duration_seconds", "Time of API requests on the wire, watches apart.", {{"verb", x.verb}}, x.took);
  };
}

}  // namespace reconcile
