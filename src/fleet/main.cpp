// endstate-fleet: the fleet simulator. This file is the wiring; each part's header says what it does.
#include <fstream>
#include <iostream>
#include <iterator>

#include "reconcile/kube/credentials.hpp"
#include "reconcile/kube/curl_env.hpp"
#include "reconcile/run/events.hpp"
#include "reconcile/run/http.hpp"
#include "reconcile/run/metrics.hpp"
#include "src/common/logging.hpp"
#include "src/common/signals.hpp"
#include "src/common/version.hpp"
#include "src/fleet/fleet.hpp"
#include "src/fleet/options.hpp"
#include "src/fleet/report.hpp"

namespace {

int wrong(const reconcile::Error& error) {
  std::cerr << "endstate-fleet: " << error.message << "\n";
  return 2;
}

int run(const endstate::fleet::CommandLine& options) {
  auto credentials = reconcile::default_credentials(options.kubeconfig, options.context);
  if (!credentials) return wrong(credentials.error());

  const auto log = endstate::stderr_log(options.log_level);
  reconcile::Metrics metrics("endstate_fleet");
  metrics.set("build_info", "1: the version that runs.", {{"version", endstate::version}}, 1);
  endstate::fleet::Report report(metrics);
  reconcile::CurlEnv env({.user_agent = "endstate-fleet/" + std::string(endstate::version),
                          .observer = [&report](const reconcile::Exchange& e) { report.exchange(e); }},
                         std::move(*credentials));
  if (!options.business_kubeconfig.empty()) {
    std::ifstream file(options.business_kubeconfig);
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    if (const auto connected = env.connect(options.fleet.business, text); !connected) return wrong(connected.error());
  }
  reconcile::Events events(env, {.controller = "endstate-fleet", .instance = "endstate-fleet"}, metrics, log);
  endstate::fleet::Fleet fleet(env, options.fleet, report.hooks(events, [&env] { return env.now().mono; }), log);

  auto server = reconcile::HttpServer::start(
      options.http_address, {{"/metrics",
                              [&] {
                                return reconcile::HttpReply{200, metrics.text(), "text/plain; version=0.0.4; charset=utf-8"};
                              }},
                             {"/healthz", [&] { return reconcile::http_reply(report.alive(env.now().mono)); }},
                             {"/readyz", [&] { return reconcile::http_reply(report.ready()); }}});
  if (!server) return wrong(server.error());

  const endstate::StopSignal stop([&env] { env.stop(); });
  log(reconcile::Level::info, "starting",
      {{"version", std::string(endstate::version)}, {"hosts", std::to_string(options.fleet.hosts)}, {"http", options.http_address}});
  fleet.start();
  env.run();
  log(reconcile::Level::info, "stopped; the hosts stay registered, and fall silent", {});
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  endstate::block_stop_signals();
  const auto parsed = endstate::fleet::parse_command_line(argc, argv);
  if (const auto* code = std::get_if<int>(&parsed)) return *code;
  return run(std::get<endstate::fleet::CommandLine>(parsed));
}
