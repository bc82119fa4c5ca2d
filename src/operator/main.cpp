// endstate-operator: all loops of the meta cluster in one process. This file is the wiring; each part's header says what it does.
#include <iostream>
#include <thread>

#include "apis/v1alpha1/cluster.hpp"
#include "apis/v1alpha1/machine.hpp"
#include "apis/v1alpha1/policy.hpp"
#include "controllers/addons/loop.hpp"
#include "controllers/cluster/blind.hpp"
#include "controllers/cluster/loop.hpp"
#include "controllers/cluster/pki_forge.hpp"
#include "controllers/cluster/plan.hpp"
#include "controllers/enrolment/loop.hpp"
#include "controllers/enrolment/pki_token.hpp"
#include "controllers/guard/disruptive.hpp"
#include "controllers/guard/ledger_guard.hpp"
#include "controllers/guard/loop.hpp"
#include "controllers/machine/loop.hpp"
#include "controllers/machine_set/loop.hpp"
#include "controllers/metric_source/loop.hpp"
#include "controllers/observe/loop_state_metrics.hpp"
#include "controllers/package/loop.hpp"
#include "controllers/package/loop_cluster.hpp"
#include "reconcile/kube/core.hpp"
#include "reconcile/kube/credentials.hpp"
#include "reconcile/kube/curl_env.hpp"
#include "reconcile/run/http.hpp"
#include "reconcile/run/lease.hpp"
#include "reconcile/run/manager.hpp"
#include "reconcile/run/metrics.hpp"
#include "src/common/descriptors.hpp"
#include "src/common/logging.hpp"
#include "src/common/memory.hpp"
#include "src/common/signals.hpp"
#include "src/common/version.hpp"
#include "src/operator/options.hpp"

namespace {

using namespace endstate;

int refuse(const std::string& why) {
  std::cerr << "endstate-operator: " << why << "\n";
  return 2;
}

// Bodies that hold keys: each recipe has one who knows it.
reconcile::Result<std::string> make(const std::string& recipe, const std::vector<std::string>& secrets, reconcile::WallTime now) {
  return enrolment::is_ours(recipe) ? enrolment::forge(recipe, secrets, now) : cluster::forge(recipe, secrets, now);
}

// What machines are judged by: without these a cluster is out of sight. Of a business cluster, and of the meta cluster.
reconcile::CachesOptions caches_options() {
  return {.needed = {&reconcile::resource_of<reconcile::Node>, &reconcile::resource_of<v1alpha1::HostAssignment>,
                     &reconcile::resource_of<reconcile::Lease>, &reconcile::resource_of<v1alpha1::Machine>,
                     &reconcile::resource_of<v1alpha1::Host>, &reconcile::resource_of<v1alpha1::Cluster>,
                     &reconcile::resource_of<v1alpha1::GuardLedger>, &reconcile::resource_of<v1alpha1::ChangeBudget>}};
}

// A lease that nobody had renewed for longer: nobody saw what happened meanwhile.
constexpr std::chrono::seconds longest_hand_over{60};

// Members are made in this order and end in the opposite one: what refers to another comes after it.
struct Operator {
  Operator(const OperatorOptions& options, const reconcile::Credentials& credentials, const reconcile::Log& log)
      : env({.user_agent = "endstate/" + std::string(version),
             .workers = options.workers,
             .observer = reconcile::client_metrics<reconcile::Exchange>(metrics),
             .server_time = true,
             .clock_jumped = [this](auto before, auto after) { clock_jumped(before, after); }},
            credentials),
        lease_env({.user_agent = "endstate/" + std::string(version), .server_time = true}, credentials),
        leadership(lease_env, {.name_space = options.name_space, .name = options.lease_name, .identity = options.identity}, log),
        caches(env, log, caches_options()),
        guard(
            env, caches, [this] { return leadership.may_act(env.now().mono); }, metrics, log),
        cluster({.hosted = options.hosted_control_planes}),
        budget([this](const reconcile::Key& of, const v1alpha1::ChangeBudget& b) { return guard.usage(of, b); }),
        checks(guard),
        enrolment({.hosted = options.hosted_control_planes}),
        manager(
            env, caches, guard,
            {&cluster, &addons, &machine_set, &machine, &package, &cluster_package, &budget, &checks, &metric_source, &enrolment},
            {.program = "endstate",
             .instance = options.identity,
             .lease = &leadership,
             .also_watch = guard::LedgerGuard::sources(),
             .disruptive = guard::disruptive,
             .make = make,
             .follow = {.kind = &reconcile::kind_of<v1alpha1::Cluster>,
                        .wish = [](const void* object) { return cluster::standby_wish(*static_cast<const v1alpha1::Cluster*>(object)); }}},
            metrics, log),
        exporter(env, caches, metrics, [this] { return leadership.may_act(env.now().mono); }),
        log_(log) {
    guard.on_room = [this](const reconcile::PermitRequest& request) {
      manager.let_in(guard::is_of_machines(request.operation) ? "machine" : "cluster", request.subject);
    };
    metrics.add(jumps, jumps_help, {}, 0);
    metrics.set("build_info", "1: the version that runs.", {{"version", version}}, 1);
  }

  // Until stop(). The lease has a thread of its own: a big list on the other can't cost the leadership.
  void run() {
    env.post([this] {
      manager.start();
      exporter.start();
      stay_small();
    });
    lease_env.post([this] { leadership.start([this](bool leading) { lead(leading); }); });
    std::thread lease_thread([this] { lease_env.run(); });
    env.run();
    lease_thread.join();
  }

  // On the lease's thread. The guard first: passes ask it.
  void lead(bool leading) {
    auto since = leading ? leadership.unrenewed_since() : std::nullopt;
    if (since && lease_env.now().wall - *since <= longest_hand_over) since.reset();
    env.post([this, leading, since] {
      if (since) caches.missed(*since, "no operator led since " + reconcile::format_rfc3339(*since));
      guard.lead(leading);
      manager.lead(leading);
    });
  }
  // Ahead, it is a time that nobody has seen: no deadline may run through it. Back, clocks stand still until it is then again.
  void clock_jumped(reconcile::WallTime before, reconcile::WallTime after) {
    const auto by = std::chrono::duration_cast<std::chrono::seconds>(after - before).count();
    const auto what = std::string(cluster::clock_jumped) + (by > 0 ? " ahead by " : " back by ") + std::to_string(std::abs(by)) + " s";
    log_(reconcile::Level::warning, what, {});
    metrics.add(jumps, jumps_help, {});
    if (by > 0) caches.missed(before, what);
  }

  void stay_small() {
    give_memory_back();
    next_ = env.at(env.now().mono + std::chrono::seconds(30), [this] { stay_small(); });
  }

  // Any thread. Loops finish what they do, then the lease is given back: the next one can begin at once.
  void stop() {
    env.post([this] {
      manager.stop([this] {
        lease_env.post([this] {
          leadership.release([this] {
            lease_env.stop();
            env.stop();
          });
        });
      });
    });
  }

  reconcile::HttpServer::Routes routes() {
    return {{"/metrics",
             [this] {
               return reconcile::HttpReply{200, metrics.text(), "text/plain; version=0.0.4; charset=utf-8"};
             }},
            {"/healthz", [this] { return reconcile::http_reply(manager.alive(env.now().mono)); }},
            {"/readyz", [this] { return reconcile::http_reply(manager.ready()); }}};
  }

  static constexpr std::string_view jumps = "clock_jumps_total", jumps_help = "Moves of the meta API server's clock by more than 5 s.";
  reconcile::Metrics metrics{"endstate"};
  reconcile::CurlEnv env, lease_env;
  reconcile::Leadership leadership;
  reconcile::Caches caches;
  guard::LedgerGuard guard;
  cluster::ClusterLoop cluster;
  addons::AddonsLoop addons;
  machine_set::MachineSetLoop machine_set;
  machine::MachineLoop machine;
  package::PackageLoop package;
  package::ClusterPackageLoop cluster_package;
  guard::BudgetLoop budget;
  guard::ChecksLoop checks;
  metric_source::MetricSourceLoop metric_source;
  enrolment::EnrolmentLoop enrolment;
  reconcile::Manager manager;
  observe::StateExporter exporter;
  reconcile::Log log_;
  reconcile::Handle next_;  // of stay_small()
};

}  // namespace

int main(int argc, char** argv) {
  block_stop_signals();
  keep_memory_small();
  raise_descriptor_limit();
  const auto parsed = parse_options(argc, argv);
  if (const auto* code = std::get_if<int>(&parsed)) return *code;
  const auto& options = std::get<OperatorOptions>(parsed);

  const auto credentials = reconcile::default_credentials(options.kubeconfig, options.context);
  if (!credentials) return refuse(credentials.error().message);
  if (const auto good = reconcile::validate({.name_space = options.name_space, .name = options.lease_name, .identity = options.identity});
      !good)
    return refuse(good.error().message);

  const auto log = stderr_log(options.log_level);
  Operator program(options, *credentials, log);
  const auto http = reconcile::HttpServer::start(options.http_address, program.routes());
  if (!http) return refuse("--http-address: " + http.error().message);
  log(reconcile::Level::info, "endstate-operator starts",
      {{"version", std::string(version)}, {"identity", options.identity}, {"server", credentials->server}, {"http", options.http_address}});
  const StopSignal on_signal([&] {
    log(reconcile::Level::info, "asked to stop: finishing what runs", {});
    program.stop();
  });
  program.run();
  log(reconcile::Level::info, "endstate-operator has stopped", {});
  return 0;
}
