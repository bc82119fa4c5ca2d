// What children have in common (children.hpp), for the files that make them. nlohmann stays below this header's users.
#pragma once
#include <nlohmann/json.hpp>

#include "controllers/cluster/children.hpp"

namespace endstate::cluster {

// The order in which members stand is part of the text that is compared and hashed.
using Object = nlohmann::ordered_json;

struct KeyFile {
  std::string secret, key, path;  // secret: without the cluster's name
};
inline constexpr std::string_view key_folder = "/etc/kubernetes/pki";
std::string key_path(std::string_view file);
// A certificate and its key as "<path>.crt", "<path>.key".
void add_pair(std::vector<KeyFile>& files, std::string_view secret, std::string_view path);

Object metadata(const Site& site, std::string_view name, std::string_view component, bool owned = true);
Object selector(const Site& site, std::string_view component);
Child child(const reconcile::Kind& kind, std::string_view name, Object meta, Object spec);

// One read-only folder of files out of several Secrets.
Object key_volume(const Site& site, const std::vector<KeyFile>& files);
Object host_aliases(const Site& site);  // etcd's members by their names
Object pod_security();
Object container_security();

struct PodSketch {
  Part part{};
  std::vector<std::string> flags;
  std::vector<KeyFile> files;
  Object ports, startup, liveness, readiness, mounts = Object::array(), volumes = Object::array(), environment = Object::array();
  std::chrono::seconds grace{30};
  const char *cpu = "100m", *memory = "128Mi";  // asked for when the package says nothing
};
// The pod template: non-root, no privileges, a root that can't be written, keys as files that only this pod gets.
Object pod_template(const Site& site, const PartVersion& version, const PodSketch& sketch);

Object http_probe(std::string_view path, int port, bool tls);
Object with(Object probe, int period, int failures, int timeout = 5);

}  // namespace endstate::cluster
