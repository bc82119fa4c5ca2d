#include "src/fleet/options.hpp"

#include <CLI/CLI.hpp>

#include "src/common/command_line.hpp"
#include "src/common/logging.hpp"
#include "src/common/version.hpp"

namespace endstate::fleet {

std::variant<CommandLine, int> parse_command_line(int argc, const char* const* argv) {
  CommandLine c;
  auto& f = c.fleet;
  f.settings.agent_version = std::string(version);
  std::string level = "info";
  std::vector<std::string> faults;
  std::int64_t lease_seconds = f.settings.lease_period.count();
  CLI::App app("Plays hosts, their agents and their kubelets against a Kubernetes API server: for development, tests and load.",
               "endstate-fleet");
  app.set_version_flag("--version", std::string(version));
  app.add_option("--kubeconfig", c.kubeconfig, "The cluster's kubeconfig; absent: the pod's ServiceAccount");
  app.add_option("--context", c.context, "Which context of the kubeconfig; absent: its current-context");
  app.add_option("--business-kubeconfig", c.business_kubeconfig,
                 "Of the cluster that the hosts work for, e.g. a Hosted one's; absent: the one that they are registered in")
      ->check(CLI::ExistingFile);
  app.add_option("--hosts", f.hosts, "How many hosts to play: host-0001 and so on")
      ->check(CLI::Range(1U, max_hosts))
      ->capture_default_str();
  app.add_option("--namespace", f.inventory.name_space, "Where the Host objects are")->capture_default_str();
  app.add_option("--host-prefix", f.inventory.prefix, "What the names of its hosts begin with; two fleets of one cluster need two")
      ->check([](const std::string& text) {
        const bool good = !text.empty() && text.size() <= 40 &&
                          text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos && text.front() != '-';
        return good ? std::string() : "a prefix of names: at most 40 small letters, digits and '-', the first a letter or digit";
      })
      ->capture_default_str();
  app.add_option("--racks", f.inventory.racks, "Over how many racks the hosts are spread")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--seed", f.inventory.seed, "Of everything random about a host")->capture_default_str();
  app.add_option("--delay-scale", f.settings.pace.scale, "How long work takes: 1 as on a real host, 0.1 a tenth of it, 0 no time")
      ->check(CLI::Range(0.0, 1000.0))
      ->capture_default_str();
  app.add_option("--lease-seconds", lease_seconds, "Time between two renewals of a lease, +/- 10 %")
      ->check(CLI::Range(1, 3600))
      ->capture_default_str();
  app.add_option("--fault", faults, "A fault of every host, e.g. InstallFails,package=NAME; may be given again (docs/fleet.md)")
      ->take_all();
  app.add_option("--http-address", c.http_address, "host:port of /metrics, /healthz and /readyz")->capture_default_str();
  app.add_option("--log-level", level, "debug, info, warning or error")->capture_default_str();
  if (const auto code = parse(app, argc, argv)) return *code;
  const auto parsed = parse_level(level);
  if (!parsed) return wrong_usage(app, parsed.error().message);
  c.log_level = *parsed;
  f.settings.lease_period = std::chrono::seconds(lease_seconds);
  for (const auto& text : faults) {
    auto fault = parse_fault(text);
    if (!fault) return wrong_usage(app, "--fault: " + fault.error().message);
    f.faults.push_back(std::move(*fault));
  }
  if (!c.business_kubeconfig.empty()) f.business = "business";
  if (f.inventory.name_space.empty()) return wrong_usage(app, "--namespace: must not be empty");
  return c;
}

}  // namespace endstate::fleet
