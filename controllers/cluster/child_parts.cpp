#include "controllers/cluster/child_parts.hpp"

#include <algorithm>
#include <map>

#include "apis/v1alpha1/names.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::cluster {

namespace api = v1alpha1;

namespace {

constexpr int user = 65532;  // "nonroot" of distroless images; any number but 0 would do

std::string_view program(Part part) {
  constexpr std::string_view names[] = {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"};
  return names[static_cast<std::size_t>(part)];
}

std::string flag_name(std::string_view flag) { return std::string(flag.substr(0, flag.find('='))); }

Object quantities(const reconcile::Labels& given) {
  Object out = Object::object();
  for (const auto& [name, value] : given) out[name.str()] = value.str();
  return out;
}

Object resources(const api::ComponentResources& given, const PodSketch& sketch) {
  Object out = Object::object();
  if (given.requests.empty() && given.limits.empty())
    out["requests"] = {{"cpu", sketch.cpu}, {"memory", sketch.memory}};
  else if (!given.requests.empty())
    out["requests"] = quantities(given.requests);
  if (!given.limits.empty()) out["limits"] = quantities(given.limits);
  return out;
}

// Preferred, not required: a small meta cluster still gets a control plane.
Object affinity(const Site& site, std::string_view component) {
  auto terms = Object::array();
  const std::pair<const char*, int> topologies[] = {{"kubernetes.io/hostname", 100}, {"topology.kubernetes.io/zone", 50}};
  for (const auto& [topology, weight] : topologies)
    terms.push_back({{"weight", weight},
                     {"podAffinityTerm", {{"labelSelector", {{"matchLabels", selector(site, component)}}}, {"topologyKey", topology}}}});
  return {{"podAntiAffinity", {{"preferredDuringSchedulingIgnoredDuringExecution", terms}}}};
}

Object container(const PartVersion& version, const PodSketch& sketch) {
  auto mounts = sketch.mounts;
  mounts.push_back({{"name", "pki"}, {"mountPath", key_folder}, {"readOnly", true}});
  const auto command = std::string(program(sketch.part));
  Object out{{"name", command},
             {"image", version.component.image.str()},
             {"imagePullPolicy", "IfNotPresent"},
             {"command", {command}},
             {"args", merge_flags(sketch.flags, version.component.args)},
             {"ports", sketch.ports},
             {"resources", resources(version.component.resources, sketch)},
             {"volumeMounts", mounts},
             {"startupProbe", sketch.startup},
             {"livenessProbe", sketch.liveness},
             {"readinessProbe", sketch.readiness},
             {"terminationMessagePolicy", "FallbackToLogsOnError"},  // why it ended can be read from the pod
             {"securityContext", container_security()}};
  if (!sketch.environment.empty()) out["env"] = sketch.environment;
  return out;
}

}  // namespace

// One read-only folder of files out of several Secrets, and of each only what is named: the CA's key is in a pod only where it signs.
Object key_volume(const Site& site, const std::vector<KeyFile>& files) {
  std::vector<std::string> order;
  std::map<std::string, Object> items;
  for (const auto& f : files) {
    auto [at, fresh] = items.try_emplace(f.secret, Object::array());
    if (fresh) order.push_back(f.secret);
    at->second.push_back({{"key", f.key}, {"path", f.path}});
  }
  auto sources = Object::array();
  for (const auto& secret : order) sources.push_back({{"secret", {{"name", site.child(secret)}, {"items", items.at(secret)}}}});
  return {{"name", "pki"}, {"projected", {{"defaultMode", 0440}, {"sources", sources}}}};
}

Object host_aliases(const Site& site) {
  auto out = Object::array();
  for (std::int64_t i = 0; i < site.members; ++i)
    out.push_back({{"ip", site.member_addresses.at(static_cast<std::size_t>(i))}, {"hostnames", {site.member_host(i)}}});
  return out;
}

Object pod_security() {
  return {{"runAsNonRoot", true},
          {"runAsUser", user},
          {"runAsGroup", user},
          {"fsGroup", user},
          {"fsGroupChangePolicy", "OnRootMismatch"},
          {"seccompProfile", {{"type", "RuntimeDefault"}}}};
}
Object container_security() {
  return {{"allowPrivilegeEscalation", false}, {"readOnlyRootFilesystem", true}, {"capabilities", {{"drop", {"ALL"}}}}};
}

std::string key_path(std::string_view file) { return std::string(key_folder) + "/" + std::string(file); }

void add_pair(std::vector<KeyFile>& files, std::string_view secret, std::string_view path) {
  files.push_back({std::string(secret), "tls.crt", std::string(path) + ".crt"});
  files.push_back({std::string(secret), "tls.key", std::string(path) + ".key"});
}

reconcile::Labels child_labels(const Site& site, std::string_view component) {
  return {{api::label::cluster_name, site.name},
          {api::label::component, component},
          {"app.kubernetes.io/name", component},
          {"app.kubernetes.io/instance", site.name},
          {"app.kubernetes.io/managed-by", "endstate"}};
}

Object selector(const Site& site, std::string_view component) {
  return {{std::string(api::label::cluster_name), site.name}, {std::string(api::label::component), component}};
}

Object metadata(const Site& site, std::string_view name, std::string_view component, bool owned) {
  Object labels = Object::object();
  for (const auto& [key, value] : child_labels(site, component)) labels[key.str()] = value.str();
  Object out{{"name", name}, {"namespace", site.name_space}, {"labels", labels}};
  if (owned)
    out["ownerReferences"] = {{{"apiVersion", "endstate.dev/v1alpha1"},
                               {"kind", "Cluster"},
                               {"name", site.name},
                               {"uid", site.uid},
                               {"controller", true},
                               {"blockOwnerDeletion", true}}};
  return out;
}

Child child(const reconcile::Kind& kind, std::string_view name, Object meta, Object spec) {
  Child out{.kind = &kind, .name = std::string(name), .body = {}, .spec = spec.dump()};
  out.body = Object{{"apiVersion", reconcile::api_version(*kind.resource)},
                    {"kind", kind.resource->kind},
                    {"metadata", std::move(meta)},
                    {"spec", std::move(spec)}}
                 .dump();
  return out;
}

std::vector<std::string> merge_flags(std::vector<std::string> ours, const std::vector<reconcile::Text>& theirs) {
  for (const auto& flag : theirs) {
    const auto name = flag_name(flag.view());
    std::erase_if(ours, [&](const auto& f) { return flag_name(f) == name; });
  }
  for (const auto& flag : theirs) ours.push_back(flag.str());
  return ours;
}

Object http_probe(std::string_view path, int port, bool tls) {
  return {{"httpGet", {{"path", path}, {"port", port}, {"scheme", tls ? "HTTPS" : "HTTP"}}}};
}
Object with(Object probe, int period, int failures, int timeout) {
  probe["periodSeconds"] = period;
  probe["failureThreshold"] = failures;
  probe["timeoutSeconds"] = timeout;
  return probe;
}

Object pod_template(const Site& site, const PartVersion& version, const PodSketch& sketch) {
  const auto part = suffix(sketch.part);
  auto volumes = sketch.volumes;
  volumes.push_back(key_volume(site, sketch.files));
  Object labels = Object::object();
  for (const auto& [key, value] : child_labels(site, part)) labels[key.str()] = value.str();
  return {{"metadata", {{"labels", labels}, {"annotations", {{std::string(api::annotation::trust), version.trust}}}}},
          {"spec",
           {{"automountServiceAccountToken", false},
            {"enableServiceLinks", false},
            {"terminationGracePeriodSeconds", sketch.grace.count()},
            {"securityContext", pod_security()},
            {"hostAliases", host_aliases(site)},
            {"affinity", affinity(site, part)},
            {"containers", Object::array({container(version, sketch)})},
            {"volumes", volumes}}}};
}

}  // namespace endstate::cluster
