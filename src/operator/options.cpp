#include "src/operator/options.hpp"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <iostream>

#include "src/common/command_line.hpp"
#include "src/common/logging.hpp"
#include "src/common/version.hpp"

namespace endstate {
namespace {

// The pod's name: leases and tokens are bound to it. Outside of a cluster the host's name is as good.
std::string default_identity() {
  if (const char* pod = std::getenv("POD_NAME"); pod && *pod) return pod;
  return host_name();
}

}  // namespace

std::variant<OperatorOptions, int> parse_options(int argc, const char* const* argv) {
  OperatorOptions o;
  o.identity = default_identity();
  if (const char* space = std::getenv("POD_NAMESPACE"); space && *space) o.name_space = space;
  std::string level = "info";
  CLI::App app("Drives Clusters, MachineSets and Machines to the state that their specs describe.", "endstate-operator");
  app.set_version_flag("--version", std::string(version));
  app.add_option("--kubeconfig", o.kubeconfig, "The meta cluster's kubeconfig; absent: the pod's ServiceAccount");
  app.add_option("--context", o.context, "Which context of the kubeconfig; absent: its current-context");
  app.add_option("--namespace", o.name_space, "Where the Lease lives; absent: $POD_NAMESPACE")->capture_default_str();
  app.add_option("--lease-name", o.lease_name, "The Lease that decides who acts")->capture_default_str();
  app.add_option("--identity", o.identity, "This process in the Lease, unique among all; absent: $POD_NAME, else the host's name")
      ->capture_default_str();
  app.add_option("--http-address", o.http_address, "host:port of /metrics, /healthz and /readyz")->capture_default_str();
  app.add_option("--log-level", level, "debug, info, warning or error")->capture_default_str();
  app.add_flag("--hosted-control-planes", o.hosted_control_planes,
               "Run the control planes of Clusters of type Hosted; needs rights to write Secrets and workloads in all namespaces");
  app.add_option("--workers", o.workers, "Threads that run plans")->check(CLI::Range(1, 64))->capture_default_str();
  if (const auto code = parse(app, argc, argv)) return *code;
  const auto parsed = parse_level(level);
  if (!parsed || o.identity.empty()) {
    std::cerr << "endstate-operator: " << (parsed ? "--identity: must not be empty" : parsed.error().message) << "\n";
    return 2;
  }
  o.log_level = *parsed;
  return o;
}

}  // namespace endstate
