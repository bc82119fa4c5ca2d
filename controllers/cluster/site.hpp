// Site: what a Hosted cluster's children are made from: its names, its sizes, its addresses. Pure data, filled from the Cluster and from
// what the meta cluster has said (the addresses of its Services).
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "apis/v1alpha1/cluster.hpp"
#include "apis/v1alpha1/packages.hpp"
#include "controllers/cluster/rotation.hpp"

namespace endstate::cluster {

enum class Part : std::uint8_t { etcd, api_server, controller_manager, scheduler };
inline constexpr Part all_parts[] = {Part::etcd, Part::api_server, Part::controller_manager, Part::scheduler};
// As the children are named: "<cluster>-apiserver".
constexpr std::string_view suffix(Part part) {
  constexpr std::string_view names[] = {"etcd", "apiserver", "controller-manager", "scheduler"};
  return names[static_cast<std::size_t>(part)];
}
// As a ClusterPackageVersion and status name it.
constexpr std::string_view component_name(Part part) {
  constexpr std::string_view names[] = {"etcd", "kubeAPIServer", "kubeControllerManager", "kubeScheduler"};
  return names[static_cast<std::size_t>(part)];
}
const v1alpha1::Component& component(const v1alpha1::Components& all, Part part);

// A StatefulSet's pods carry "<its name>-<hash>" in a label of 63 characters, a Deployment is "<cluster>-controller-manager".
inline constexpr std::size_t max_hosted_name = 40;

struct SnapshotSite {
  bool enabled = true;
  std::chrono::seconds interval{3600};
  std::int64_t keep = 5;
  std::string storage_class, size = "10Gi";
};

struct Site {
  std::string name, name_space, uid;
  std::int64_t replicas = 3, members = 3;
  std::string storage_class, storage_size = "10Gi";
  bool keep_data = true;  // when the Cluster is deleted
  SnapshotSite snapshots;
  std::chrono::seconds soak{30}, progress_deadline{300};
  std::string pod_range, service_range = "10.96.0.0/16", service_domain = "cluster.local";  // of the business cluster
  std::string more_ranges;  // a field of clusterNetwork that gives two: refused, until both families are served
  std::string endpoint;     // host that clients use; empty: service_address
  int port = 6443;
  // Addresses of Services in the meta cluster; empty until they have one.
  std::string service_address;
  std::vector<std::string> member_addresses;

  std::string child(std::string_view what) const { return name + "-" + std::string(what); }
  std::string member(std::int64_t i) const { return child("etcd") + "-" + std::to_string(i); }
  // The stable name of a member; pods know its address by hostAliases, so that nothing waits for the meta cluster's DNS.
  std::string member_host(std::int64_t i) const { return member(i) + "." + child("etcd") + "." + name_space + ".svc"; }
  std::string client_url(std::int64_t i) const { return "https://" + member_host(i) + ":2379"; }
  std::string peer_url(std::int64_t i) const { return "https://" + member_host(i) + ":2380"; }
  const std::string& client_endpoint() const { return endpoint.empty() ? service_address : endpoint; }
  std::string server_url(std::string_view host) const;
  bool has_addresses() const;
};

Site site_of(const v1alpha1::Cluster& cluster);

// What can't be made of this spec, for people; empty: nothing. The schema has checked what it can.
std::string refusal(const Site& site);

// Whose the endpoint is (`spec.controlPlane.endpoint`, host and port) if it is another's: its name, or, of another namespace, no name;
// empty: nobody's. Two API servers can't have one address. Only a Hosted Cluster that is run holds one: not an External one, whose endpoint
// is for people, not one that is being deleted, nor a paused one that was never begun. Of two, the one that was begun has it, else the
// older.
std::string endpoint_holder(const v1alpha1::Cluster& cluster, const std::vector<std::shared_ptr<const v1alpha1::Cluster>>& all);

// Every certificate that the control plane needs. Needs the addresses. `trusted`: fingerprints of the cluster CA's bundle (a kubeconfig
// holds it).
std::vector<WantedLeaf> wanted_leaves(const Site& site, std::string_view trusted);

}  // namespace endstate::cluster
