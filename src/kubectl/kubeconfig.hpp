// Where the user's cluster is, found as kubectl finds it: --kubeconfig, else the files of $KUBECONFIG (merged), else ~/.kube/config, else
// the pod that we run in (clientcmd's loader.go and client_config.go of k8s.io/client-go). A credential plugin (user.exec) is run at once,
// so that what it says comes before anything else, and again when what it issued has ended.
#pragma once
#include <string>
#include <string_view>

#include "reconcile/kube/credentials.hpp"

namespace endstate::kubectl {

reconcile::Result<reconcile::Credentials> user_credentials(const std::string& kubeconfig, std::string_view context,
                                                           const reconcile::EnvironmentLookup& environment, bool run_plugins = true);

}  // namespace endstate::kubectl
