// A kubeconfig out of its Secret (Cluster API's shape), and into a file that only its owner can read.
#pragma once
#include <string>
#include <string_view>

#include "apis/v1alpha1/cluster.hpp"
#include "reconcile/base/result.hpp"

namespace endstate::kubectl {

// The name of the Secret that holds it; an error: the Cluster has none, and why.
reconcile::Result<std::string> kubeconfig_secret(const v1alpha1::Cluster& cluster);
// Why a Hosted cluster has none yet, for people.
std::string why_no_kubeconfig(const v1alpha1::Cluster& cluster);
// From the Secret as the API server sends it. Errors hold nothing of it.
reconcile::Result<std::string> kubeconfig_of(std::string_view secret);
// With mode 0600 from its first byte on; instead of what stands there, at once.
reconcile::Result<void> write_private(const std::string& file, std::string_view text);

}  // namespace endstate::kubectl
