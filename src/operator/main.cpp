// endstate-operator: all loops of the meta cluster in one process. This file is the wiring; each part's header says what it does.
#include <iostream>
#include <thread>

#include "controllers/addons/loop.hpp"
#include "controllers/cluster/loop.hpp"
#include "controllers/cluster/pki_forge.hpp"
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

// Members are made in this order and end in the opposite one: what refers to another comes after it.
struct Operator {
  Operator(const OperatorOptions& options, const reconcile::Credentials& credentials, const reconcile::Log& log)
      : env({.user_agent = "endstate/" + std::string(version),
             .workers = options.workers,
             .observer = reconcile::client_metrics<reconcile::Exchange>(metrics)},
            credentials),
        lease_env({.user_agent = "endstate/" + std::string(version)}, credentials),
        leadership(lease_env, {.name_space = options.name_space, .name = options.lease_name, .identity = options.identity}, log),
        caches(env, log),
        guard(
            env, caches, [this] { return leadership.may_act(env.now().mono); }, metrics, log),
        cluster({.hosted = options.hosted_control_planes}),
        budget([this](const reconcile::Key& of, const v1alpha1::ChangeBudget& b) { return guard.usage(of, b); }),
        checks(guard),
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
        exporter(env, caches, metrics, [this] { return leadership.may_act(env.now().mono); }) {
    guard.on_room = [this](const reconcile::PermitRequest& request) {
      manager.let_in(guard::is_of_machines(request.operation) ? "machine" : "cluster", request.subject);
    };
    metrics.set("build_info", "1: the version that runs.", {{"version", version}}, 1);
  }

  // Until stop(). The lease has a thread of its own: a big list on the other can't cost the leadership.
  void run() {
    env.post([this] {
      manager.start();
      exporter.start();
      stay_small();
    });
    lease_env.post([this] { leadership.start([this](bool leading) { env.post([this, leading] { lead(leading); }); }); });
    std::thread lease_thread([this] { lease_env.run(); });
    env.run();
    lease_thread.join();
  }

  // The guard first: passes ask it.
  void lead(bool leading) {
    guard.lead(leading);
    manager.lead(leading);
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
