// The children of a Hosted cluster, as they should be: the objects in the meta cluster that its control plane is made of. Pure functions
// from a Site (and, for pods, one version of a component) to whole objects, for server-side apply by one field manager. The same input
// gives the same text, and pods are touched only by what concerns them: a change of the scheduler's image changes the scheduler's
// Deployment, and nothing else.
//
//   <c>-apiserver                    Service: where clients reach the API server in the meta cluster
//   <c>-etcd, <c>-etcd-<i>           Services: the members' names; one each, whose address stays when its pod goes
//   <c>-etcd                         StatefulSet
//   <c>-apiserver, <c>-controller-manager, <c>-scheduler     Deployments
//   the same four names              PodDisruptionBudgets and NetworkPolicies
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "controllers/cluster/site.hpp"
#include "reconcile/kube/kind.hpp"
#include "reconcile/kube/workloads.hpp"

namespace endstate::cluster {

struct Child {
  const reconcile::Kind* kind = nullptr;
  std::string name;
  std::string body;  // the object, JSON
  std::string spec;  // of it, to compare with what is there
};

// What a part's pods run.
struct PartVersion {
  std::string package;  // name of the ClusterPackageVersion
  v1alpha1::Component component;
  std::string trust;  // hash of the CA bundles that its programs read only when they start
};

std::vector<Child> services(const Site& site);                            // need no address
std::vector<Child> guards(const Site& site);                              // PodDisruptionBudgets, NetworkPolicies
Child workload(const Site& site, Part part, const PartVersion& version);  // needs the addresses

// Labels that every child carries; `component` is "etcd", "apiserver", ...
reconcile::Labels child_labels(const Site& site, std::string_view component);

// Flags of ours under those of the package: the same flag there wins, a flag that takes several values is taken whole. In the order in
// which they stand, so that the text doesn't change by itself.
std::vector<std::string> merge_flags(std::vector<std::string> ours, const std::vector<reconcile::Text>& theirs);

}  // namespace endstate::cluster
