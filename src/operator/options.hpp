// The operator's command line. Wrong input is one clear line and exit code 2.
#pragma once
#include <string>
#include <variant>

#include "reconcile/base/log.hpp"

namespace endstate {

struct OperatorOptions {
  std::string kubeconfig{};                    // "": the pod's own ServiceAccount
  std::string context{};                       // of the kubeconfig; "": its current one
  std::string name_space = "endstate-system";  // of the Lease
  std::string lease_name = "endstate-operator";
  std::string identity{};  // --identity, else $POD_NAME, else the host's name
  std::string http_address = "127.0.0.1:8080";
  reconcile::Level log_level = reconcile::Level::info;
  bool hosted_control_planes = false;  // Clusters of type Hosted; needs the rights of manifests/rbac/operator-hosted.yaml
  int workers = 1;                     // threads that run plans
};

// The options, or the exit code of a run that ends here (--help and --version: 0; what can't be understood: 2, after one line on stderr).
std::variant<OperatorOptions, int> parse_options(int argc, const char* const* argv);

}  // namespace endstate
