// etcd of a Hosted cluster: a StatefulSet whose members have names and volumes of their own.
#include <algorithm>

#include "controllers/cluster/child_workloads.hpp"
#include "controllers/common/quantity.hpp"

namespace endstate::cluster {
namespace {

constexpr int client_port = 2379, peer_port = 2380, health_port = 2381;

std::string https(const std::string& host, int port) { return "https://" + host + ":" + std::to_string(port); }

Object from_annotation(std::string_view variable, std::string_view annotation) {
  const auto path = "metadata.annotations['" + std::string(annotation) + "']";
  return {{"name", variable}, {"valueFrom", {{"fieldRef", {{"apiVersion", "v1"}, {"fieldPath", path}}}}}};
}

// Four fifths of the volume, at most 8 GiB (etcd's own advice): etcd stops taking writes, with an alarm, before its disk is full, and
// there is room for a snapshot and for a defragmentation. 0: etcd's default.
std::int64_t quota(const std::string& size) {
  const auto volume = parse_quantity(size);
  return volume && volume->nanos > 0 ? std::min<std::int64_t>(volume->whole() / 5 * 4, std::int64_t{8} << 30) : 0;
}

std::vector<std::string> flags(const Site& s) {
  const auto self = "$(POD_NAME)." + s.child("etcd") + "." + s.name_space + ".svc";
  std::vector<std::string> out{
      "--name=$(POD_NAME)",
      "--data-dir=/var/lib/etcd/data",
      // Empty unless its pod may begin without data (etcd_members.hpp): then an empty volume is refused. Data isn't asked for it.
      "--initial-cluster=$(INITIAL_CLUSTER)",
      "--initial-cluster-token=" + s.uid,
      "--initial-advertise-peer-urls=" + https(self, peer_port),
      "--advertise-client-urls=" + https(self, client_port),
      "--listen-peer-urls=" + https("0.0.0.0", peer_port),
      "--listen-client-urls=" + https("0.0.0.0", client_port),
      "--listen-metrics-urls=http://0.0.0.0:" + std::to_string(health_port),
      "--client-cert-auth=true",
      "--trusted-ca-file=" + key_path("ca.crt"),
      "--cert-file=" + key_path("server.crt"),
      "--key-file=" + key_path("server.key"),
      "--peer-client-cert-auth=true",
      "--peer-trusted-ca-file=" + key_path("ca.crt"),
      "--peer-cert-file=" + key_path("peer.crt"),
      "--peer-key-file=" + key_path("peer.key"),
      "--peer-client-cert-file=" + key_path("peer-client.crt"),
      "--peer-client-key-file=" + key_path("peer-client.key"),
  };
  if (const auto bytes = quota(s.storage_size); bytes > 0) out.push_back("--quota-backend-bytes=" + std::to_string(bytes));
  return out;
}

Object volume_claim(const Site& s) {
  Object spec{{"accessModes", {"ReadWriteOnce"}}, {"resources", {{"requests", {{"storage", s.storage_size}}}}}};
  if (!s.storage_class.empty()) spec["storageClassName"] = s.storage_class;
  return {{"apiVersion", "v1"},
          {"kind", "PersistentVolumeClaim"},
          {"metadata", {{"name", "data"}, {"labels", selector(s, suffix(Part::etcd))}}},
          {"spec", spec}};
}

}  // namespace

Child etcd(const Site& s, const PartVersion& version) {
  PodSketch pod;
  pod.part = Part::etcd;
  pod.flags = flags(s);
  pod.files = {{"etcd", "ca.crt", "ca.crt"}};
  add_pair(pod.files, "etcd-server", "server");
  add_pair(pod.files, "etcd-peer", "peer");
  add_pair(pod.files, "etcd-peer-client", "peer-client");
  pod.ports = {{{"name", "client"}, {"containerPort", client_port}, {"protocol", "TCP"}},
               {{"name", "peer"}, {"containerPort", peer_port}, {"protocol", "TCP"}},
               {{"name", "health"}, {"containerPort", health_port}, {"protocol", "TCP"}}};
  // /readyz asks for a quorum, /livez doesn't: a member alone is not killed for what others lack (etcd >= 3.5.11).
  pod.startup = with(http_probe("/readyz", health_port, false), 2, 150);
  pod.liveness = with(http_probe("/livez", health_port, false), 10, 6, 10);
  pod.readiness = with(http_probe("/readyz", health_port, false), 3, 3);
  pod.mounts = {{{"name", "data"}, {"mountPath", "/var/lib/etcd"}}};
  pod.environment = {{{"name", "POD_NAME"}, {"valueFrom", {{"fieldRef", {{"apiVersion", "v1"}, {"fieldPath", "metadata.name"}}}}}},
                     from_annotation("INITIAL_CLUSTER", v1alpha1::annotation::initial_cluster),
                     // etcd's own name for its flag; empty: new.
                     from_annotation("ETCD_INITIAL_CLUSTER_STATE", v1alpha1::annotation::initial_cluster_state),
                     // As kubeadm: without it an API server before 1.34 sends no bookmarks about what doesn't change, so that watches look
                     // dead. 3.5 and 3.6 know it by this name; to one that doesn't, a variable is a warning where a flag would be its end.
                     {{"name", "ETCD_EXPERIMENTAL_WATCH_PROGRESS_NOTIFY_INTERVAL"}, {"value", "5s"}}};
  pod.memory = "256Mi";
  const auto name = s.child("etcd");
  auto meta = metadata(s, name, suffix(Part::etcd));
  meta["annotations"] = {{std::string(v1alpha1::annotation::package_version), version.package}};
  return child(
      reconcile::kind_of<reconcile::StatefulSet>, name, std::move(meta),
      {{"replicas", s.members},
       {"serviceName", name},
       {"selector", {{"matchLabels", selector(s, suffix(Part::etcd))}}},
       // Parallel: a member is ready only when there is a quorum, so they can't wait for one another. Updates go one by one all the same.
       {"podManagementPolicy", "Parallel"},
       {"updateStrategy", {{"type", "RollingUpdate"}}},
       {"minReadySeconds", s.soak.count()},
       {"persistentVolumeClaimRetentionPolicy", {{"whenDeleted", s.keep_data ? "Retain" : "Delete"}, {"whenScaled", "Retain"}}},
       {"template", pod_template(s, version, pod)},
       {"volumeClaimTemplates", Object::array({volume_claim(s)})}});
}

}  // namespace endstate::cluster
