// The fleet's command line. Wrong input is one clear line and exit code 2.
#pragma once
#include <string>
#include <variant>

#include "reconcile/base/log.hpp"
#include "src/fleet/fleet.hpp"

namespace endstate::fleet {

struct CommandLine {
  std::string kubeconfig{};           // "": the pod's own ServiceAccount
  std::string business_kubeconfig{};  // a file; "": the meta cluster is the hosts' business cluster
  std::string context{};              // of the kubeconfig; "": its current one
  std::string http_address = "127.0.0.1:8081";
  reconcile::Level log_level = reconcile::Level::info;
  FleetOptions fleet{};
};

// The options, or the exit code of a run that ends here (--help and --version: 0; what can't be understood: 2, after one line on stderr).
std::variant<CommandLine, int> parse_command_line(int argc, const char* const* argv);

}  // namespace endstate::fleet
