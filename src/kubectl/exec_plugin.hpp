// Credential plugins: the program that a kubeconfig's user.exec names is run, and says a token or a client certificate on its standard
// output (client.authentication.k8s.io/v1 and v1beta1; client-go's plugin/pkg/client/auth/exec). For command lines of a person only: a
// kubeconfig that the operator reads may not have a program run.
//
// The plugin has this program's environment, user.exec.env and KUBERNETES_EXEC_INFO; its standard error is ours; its standard input too
// where interactiveMode allows it and a terminal is there. It has 60 s, and says at most 1 MiB.
#pragma once
#include <memory>
#include <string>

#include "reconcile/kube/credentials.hpp"

namespace endstate::kubectl {

struct ExecLimits {
  std::chrono::milliseconds timeout{60'000};
  std::size_t output = 1U << 20;
};

std::shared_ptr<reconcile::CredentialSource> exec_source(reconcile::ExecPlugin plugin, std::string origin, ExecLimits limits = {});

}  // namespace endstate::kubectl
