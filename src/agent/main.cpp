// endstate-agent: one on each worker host. This file is the wiring; each part's header says what it does.
#include <iostream>

#include "reconcile/kube/credentials.hpp"
#include "reconcile/kube/curl_env.hpp"
#include "reconcile/run/events.hpp"
#include "src/agent/file_watch.hpp"
#include "src/agent/linux_host.hpp"
#include "src/agent/options.hpp"
#include "src/agent/own_version.hpp"
#include "src/agent/process_services.hpp"
#include "src/agent/systemd.hpp"
#include "src/common/logging.hpp"
#include "src/common/memory.hpp"
#include "src/common/signals.hpp"
#include "src/common/version.hpp"

namespace {

using namespace endstate::agent;

int run(const CommandLine& options, bool& begins_again) {
  auto credentials = reconcile::default_credentials(options.kubeconfig, options.context);
  if (!credentials) {
    std::cerr << "endstate-agent: " << credentials.error().message << "\n";
    return 2;
  }
  const auto log = endstate::stderr_log(options.log_level);
  const auto host = linux_host({.root = options.root}, options.systemd ? systemd_services() : process_services(options.root));
  Engine engine(*host, options.engine);
  reconcile::Metrics metrics("endstate_agent");
  reconcile::CurlEnv env({.user_agent = "endstate-agent/" + std::string(endstate::version)}, std::move(*credentials));
  reconcile::Events events(env, {.controller = "endstate-agent", .instance = options.agent.identity}, metrics, log);
  const auto tell = [&](const Told& told, const Text& uid) {
    events.emit({.api_version = "endstate.dev/v1alpha1", .kind = "HostAssignment", .key = {{}, options.agent.host_uid}, .uid = uid},
                {.warning = told.warning,
                 .reason = Text(told.reason),
                 .action = "Converge",
                 .note = Text(std::string_view(told.note).substr(0, 1000))});
  };
  auto agent_options = options.agent;
  agent_options.idle = endstate::give_memory_back;  // what an archive or TLS needed once
  agent_options.begin_again = [&] {
    begins_again = true;
    env.stop();
  };
  std::unique_ptr<FileWatch> files;
  agent_options.watch = [&](const std::vector<std::string>& paths) {
    if (!files->watch(paths))
      log(reconcile::Level::warning, "not every file can be watched: a change of one is seen by the next sweep", {});
  };
  Agent agent(env, engine, std::move(agent_options), log, tell);
  files = std::make_unique<FileWatch>(options.root, [&] { env.post([&] { agent.look(); }); });
  // What runs on the worker must end, too: a hook is killed, and begun again by the next agent.
  const endstate::StopSignal stop([&] {
    host->cancel();
    env.stop();
  });
  log(reconcile::Level::info, "starting", {{"version", std::string(endstate::version)}, {"host", options.agent.host_uid.str()}});
  agent.start();
  env.run();
  if (!begins_again) log(reconcile::Level::info, "stopped; the host stays as it is", {});
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  endstate::agent::become_current(argv);
  endstate::keep_memory_small();
  endstate::block_stop_signals();
  const auto parsed = parse_command_line(argc, argv);
  if (const auto* code = std::get_if<int>(&parsed)) return *code;
  bool begins_again = false;
  const int code = run(std::get<CommandLine>(parsed), begins_again);
  if (!begins_again) return code;
  endstate::agent::begin_again(argv);
  return 1;  // whoever keeps it running starts it again
}
