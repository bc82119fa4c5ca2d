// endstate-operator: all loops of the meta cluster in one process. This file gives them the world (wiring.hpp); each part's header says
// what it does.
#include <iostream>
#include <thread>

#include "reconcile/kube/credentials.hpp"
#include "reconcile/kube/curl_env.hpp"
#include "reconcile/run/http.hpp"
#include "reconcile/run/lease.hpp"
#include "reconcile/run/metrics.hpp"
#include "src/common/descriptors.hpp"
#include "src/common/logging.hpp"
#include "src/common/memory.hpp"
#include "src/common/signals.hpp"
#include "src/common/version.hpp"
#include "src/operator/options.hpp"
#include "src/operator/wiring.hpp"

namespace {

using namespace endstate;

int refuse(const std::string& why) {
  std::cerr << "endstate-operator: " << why << "\n";
  return 2;
}

// Members are made in this order and end in the opposite one: what refers to another comes after it.
struct Operator {
  Operator(const OperatorOptions& options, const reconcile::Credentials& credentials, const reconcile::Log& log)
      : env({.user_agent = "endstate/" + std::string(version),
             .workers = options.workers,
             .observer = reconcile::client_metrics<reconcile::Exchange>(metrics),
             .server_time = true,
             .clock_jumped = [this](auto before, auto after) { wiring.clock_jumped(before, after); }},
            credentials),
        lease_env({.user_agent = "endstate/" + std::string(version), .server_time = true}, credentials),
        leadership(lease_env, {.name_space = options.name_space, .name = options.lease_name, .identity = options.identity}, log),
        wiring(env, leadership, {.identity = options.identity, .hosted_control_planes = options.hosted_control_planes}, metrics, log) {
    metrics.set("build_info", "1: the version that runs.", {{"version", version}}, 1);
  }

  // Until stop(). The lease has a thread of its own: a big list on the other can't cost the leadership.
  void run() {
    env.post([this] {
      wiring.start();
      stay_small();
    });
    lease_env.post([this] {
      leadership.start([this](bool leading) {  // on the lease's thread
        env.post([this, leading, since = nobody_led(leadership, lease_env.now().wall)] { wiring.lead(leading, since); });
      });
    });
    std::thread lease_thread([this] { lease_env.run(); });
    env.run();
    lease_thread.join();
  }

  void stay_small() {
    give_memory_back();
    next_ = env.at(env.now().mono + std::chrono::seconds(30), [this] { stay_small(); });
  }

  // Any thread. Loops finish what they do, then the lease is given back: the next one can begin at once.
  void stop() {
    env.post([this] {
      wiring.stop([this] {
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
            {"/healthz", [this] { return reconcile::http_reply(wiring.manager().alive(env.now().mono)); }},
            {"/readyz", [this] { return reconcile::http_reply(wiring.manager().ready()); }}};
  }

  reconcile::Metrics metrics{"endstate"};
  reconcile::CurlEnv env, lease_env;
  reconcile::Leadership leadership;
  Wiring wiring;
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
