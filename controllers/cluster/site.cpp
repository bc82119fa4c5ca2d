#include "controllers/cluster/site.hpp"

#include <algorithm>

#include "controllers/common/machine_state.hpp"
#include "controllers/common/network.hpp"

namespace endstate::cluster {

namespace api = v1alpha1;

const api::Component& component(const api::Components& all, Part part) {
  switch (part) {
    case Part::etcd: return all.etcd;
    case Part::api_server: return all.kube_api_server;
    case Part::controller_manager: return all.kube_controller_manager;
    case Part::scheduler: break;
  }
  return all.kube_scheduler;
}

std::string Site::server_url(std::string_view host) const {
  const bool v6 = host.find(':') != std::string_view::npos;
  return "https://" + (v6 ? "[" : std::string()) + std::string(host) + (v6 ? "]" : "") + ":" + std::to_string(port);
}

bool Site::has_addresses() const {
  return !service_address.empty() && member_addresses.size() == static_cast<std::size_t>(members) &&
         std::none_of(member_addresses.begin(), member_addresses.end(), [](const auto& a) { return a.empty(); });
}

Site site_of(const api::Cluster& c) {
  const auto& plane = c.spec.control_plane;
  Site s;
  s.name = c.metadata.name.str();
  s.name_space = c.metadata.name_space.str();
  s.uid = c.metadata.uid.str();
  s.replicas = api::replicas(plane);
  const auto etcd = plane.etcd.value_or(api::Etcd{});
  s.members = api::replicas(etcd);
  s.storage_class = etcd.storage.storage_class_name.str();
  if (!etcd.storage.size.empty()) s.storage_size = etcd.storage.size.str();
  s.keep_data = api::deletion_policy(etcd.storage) == api::DeletionPolicy::retain;
  const auto snapshots = etcd.snapshots.value_or(api::EtcdSnapshots{});
  s.snapshots = {.enabled = api::enabled(snapshots),
                 .interval = api::interval(snapshots),
                 .keep = api::keep(snapshots),
                 .storage_class = snapshots.storage_class_name.empty() ? s.storage_class : snapshots.storage_class_name.str(),
                 .size = snapshots.size.empty() ? s.storage_size : snapshots.size.str()};
  const auto rollout = plane.rollout.value_or(api::ControlPlaneRollout{});
  s.soak = api::soak(rollout);
  s.progress_deadline = api::progress_deadline(rollout);
  if (const auto& network = c.spec.cluster_network) {
    const auto first = [](const api::CidrBlocks& blocks) {
      return blocks.cidr_blocks.empty() ? std::string() : blocks.cidr_blocks.front().str();
    };
    s.pod_range = first(network->pods);
    if (network->pods.cidr_blocks.size() > 1) s.more_ranges = "pods";
    if (network->services.cidr_blocks.size() > 1) s.more_ranges = "services";
    if (!network->services.cidr_blocks.empty()) s.service_range = first(network->services);
    if (!network->service_domain.empty()) s.service_domain = network->service_domain.str();
  }
  if (plane.endpoint) {
    s.endpoint = canonical_address(plane.endpoint->host).value_or(plane.endpoint->host.str());
    s.port = static_cast<int>(api::port(*plane.endpoint));
  }
  return s;
}

std::string refusal(const Site& s) {
  if (s.name.size() > max_hosted_name)
    return "the name of a Hosted Cluster has at most " + std::to_string(max_hosted_name) + " characters: create it with a shorter name";
  if (!is_range(s.service_range)) return "clusterNetwork.services: " + s.service_range + " is no range of addresses";
  if (!s.pod_range.empty() && !is_range(s.pod_range)) return "clusterNetwork.pods: " + s.pod_range + " is no range of addresses";
  if (overlap(s.service_range, s.pod_range)) return "clusterNetwork: the ranges of pods and Services overlap";
  // The API server's own addresses in the meta cluster: nodes and pods of the business cluster could not reach them.
  std::vector<std::string> ours = s.member_addresses;
  ours.push_back(s.service_address);
  ours.push_back(s.endpoint);
  for (const auto& address : ours)
    for (const auto& range : {s.service_range, s.pod_range})
      if (in_range(range, address))
        return std::string("clusterNetwork: ")
            .append(range)
            .append(" holds ")
            .append(address)
            .append(", an address of the control plane in the meta cluster: choose a range that doesn't");
  return {};
}

std::string endpoint_holder(const api::Cluster& cluster, const std::vector<std::shared_ptr<const api::Cluster>>& all) {
  if (!cluster.spec.control_plane.endpoint) return {};
  const auto place = [](const api::Endpoint& e) { return std::pair(canonical_address(e.host).value_or(e.host.str()), api::port(e)); };
  const auto age = [](const api::Cluster& c) {
    return std::pair(c.metadata.creation_timestamp.value_or(reconcile::WallTime{}), c.metadata.uid.str());
  };
  const auto begun = [](const api::Cluster& c) { return !c.status.control_plane.certificates.empty(); };
  const auto is_run = [&](const api::Cluster& c) {
    return c.spec.control_plane.type == api::ControlPlaneType::hosted && !c.metadata.deleting() && (begun(c) || !is_paused(c));
  };
  for (const auto& other : all) {
    const auto& theirs = other->spec.control_plane.endpoint;
    if (other->metadata.uid == cluster.metadata.uid || !theirs || place(*theirs) != place(*cluster.spec.control_plane.endpoint)) continue;
    if (!is_run(*other) || std::pair(!begun(*other), age(*other)) > std::pair(!begun(cluster), age(cluster))) continue;
    return other->metadata.name_space == cluster.metadata.name_space ? "Cluster " + other->metadata.name.str()
                                                                     : "a Cluster of another namespace";
  }
  return {};
}

namespace {

std::vector<std::string> sorted(std::vector<std::string> list) {
  std::erase(list, "");
  std::sort(list.begin(), list.end());
  list.erase(std::unique(list.begin(), list.end()), list.end());
  return list;
}

LeafSpec client(std::string name, CaName ca, std::string common_name, std::string organization = {}) {
  return {.name = std::move(name),
          .ca = ca,
          .common_name = std::move(common_name),
          .organization = std::move(organization),
          .dns_names = {},
          .addresses = {},
          .server = false,
          .client = true};
}

LeafSpec api_server(const Site& s) {
  const auto service = s.child("apiserver");
  std::vector<std::string> names{"kubernetes",
                                 "kubernetes.default",
                                 "kubernetes.default.svc",
                                 "kubernetes.default.svc." + s.service_domain,
                                 "localhost",
                                 service,
                                 service + "." + s.name_space,
                                 service + "." + s.name_space + ".svc"};
  std::vector<std::string> addresses{"127.0.0.1", s.service_address, address_of(s.service_range, 1).value_or("")};
  (canonical_address(s.endpoint) ? addresses : names).push_back(s.endpoint);
  return {.name = "apiserver",
          .ca = CaName::cluster,
          .common_name = "kube-apiserver",
          .organization = {},
          .dns_names = sorted(std::move(names)),
          .addresses = sorted(std::move(addresses)),
          .server = true,
          .client = false};
}

LeafSpec member(const Site& s, std::string name) {
  std::vector<std::string> names{"localhost"}, addresses = s.member_addresses;
  for (std::int64_t i = 0; i < s.members; ++i) names.push_back(s.member_host(i));
  addresses.emplace_back("127.0.0.1");
  return {.name = name,
          .ca = CaName::etcd,
          .common_name = name,
          .organization = {},
          .dns_names = sorted(std::move(names)),
          .addresses = sorted(std::move(addresses)),
          .server = true,
          .client = false};
}

}  // namespace

std::vector<WantedLeaf> wanted_leaves(const Site& s, std::string_view trusted) {
  const auto inside = s.server_url(s.service_address);
  std::vector<WantedLeaf> all;
  const auto add = [&](LeafSpec spec, std::string made_for = {}) { all.push_back({std::move(spec), std::move(made_for)}); };
  add(member(s, "etcd-server"));
  add(member(s, "etcd-peer"));
  // A member calls its peers with a certificate without names: etcd compares a client's names with the address that it calls from, and
  // that is its pod's (go.etcd.io/etcd client/pkg/transport/listener_tls.go).
  add(client("etcd-peer-client", CaName::etcd, "etcd-peer-client"));
  add(client("apiserver-etcd-client", CaName::etcd, "kube-apiserver"));
  add(api_server(s));
  add(client("apiserver-kubelet-client", CaName::cluster, "kube-apiserver-kubelet-client", "system:masters"));
  add(client("front-proxy-client", CaName::front_proxy, "front-proxy-client"));
  add(client("controller-manager", CaName::cluster, "system:kube-controller-manager"), inside);
  add(client("scheduler", CaName::cluster, "system:kube-scheduler"), inside);
  add(client("kubeconfig", CaName::cluster, "endstate-admin", "system:masters"),
      s.server_url(s.client_endpoint()) + " " + std::string(trusted));
  return all;
}

}  // namespace endstate::cluster
