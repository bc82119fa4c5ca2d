#include "controllers/cluster/child_jobs.hpp"

#include "apis/v1alpha1/names.hpp"
#include "reconcile/kube/core.hpp"

namespace endstate::cluster {

namespace api = v1alpha1;

namespace {

Object container(const JobSketch& job, const JobStep& step) {
  auto mounts = Object::array({{{"name", "pki"}, {"mountPath", key_folder}, {"readOnly", true}}});
  if (job.volume) mounts.push_back({{"name", "snapshots"}, {"mountPath", snapshot_folder}});
  return {{"name", step.name},
          {"image", job.image},
          {"imagePullPolicy", "IfNotPresent"},
          {"command", step.command},
          {"resources", {{"requests", {{"cpu", "10m"}, {"memory", "32Mi"}}}}},
          {"volumeMounts", mounts},
          {"terminationMessagePolicy", "FallbackToLogsOnError"},
          {"securityContext", container_security()}};
}

Object containers(const JobSketch& job, const std::vector<JobStep>& steps) {
  auto out = Object::array();
  for (const auto& step : steps) out.push_back(container(job, step));
  return out;
}

Object pod(const Site& s, const JobSketch& job) {
  std::vector<KeyFile> files{{"etcd", "ca.crt", "etcd-ca.crt"}};
  add_pair(files, "apiserver-etcd-client", "etcd-client");
  auto volumes = Object::array({key_volume(s, files)});
  if (job.volume) volumes.push_back({{"name", "snapshots"}, {"persistentVolumeClaim", {{"claimName", s.child("etcd-snapshots")}}}});
  Object labels = Object::object();
  for (const auto& [key, value] : child_labels(s, job_component)) labels[key.str()] = value.str();
  Object spec{{"restartPolicy", "Never"},
              {"automountServiceAccountToken", false},
              {"enableServiceLinks", false},
              {"terminationGracePeriodSeconds", 5},
              {"securityContext", pod_security()},
              {"hostAliases", host_aliases(s)},
              {"containers", containers(job, job.then)},
              {"volumes", volumes}};
  if (!job.first.empty()) spec["initContainers"] = containers(job, job.first);
  return {{"metadata", {{"labels", labels}}}, {"spec", spec}};
}

}  // namespace

Child etcd_job(const Site& s, const JobSketch& job) {
  auto meta = metadata(s, job.name, job_component);
  meta["annotations"][std::string(api::annotation::etcd_operation)] = job.operation;
  for (const auto& [key, value] : job.annotations) meta["annotations"][key] = value;
  return child(reconcile::kind_of<reconcile::Job>, job.name, std::move(meta),
               {{"backoffLimit", job.retries}, {"activeDeadlineSeconds", job.limit.count()}, {"template", pod(s, job)}});
}

// Without an owner: garbage collection never takes snapshots. A Cluster that is deleted with all its data takes it by itself.
Child snapshot_claim(const Site& s) {
  const auto name = s.child("etcd-snapshots");
  Object spec{{"accessModes", {"ReadWriteOnce"}}, {"resources", {{"requests", {{"storage", s.snapshots.size}}}}}};
  if (!s.snapshots.storage_class.empty()) spec["storageClassName"] = s.snapshots.storage_class;
  return child(reconcile::kind_of<reconcile::PersistentVolumeClaim>, name, metadata(s, name, job_component, false), std::move(spec));
}

Child job_policy(const Site& s) {
  const auto name = s.child(job_component);
  const Object to{{"podSelector", {{"matchLabels", selector(s, suffix(Part::etcd))}}}};
  return child(reconcile::kind_of<reconcile::NetworkPolicy>, name, metadata(s, name, job_component),
               {{"podSelector", {{"matchLabels", selector(s, job_component)}}},
                {"policyTypes", Object::array({"Ingress", "Egress"})},
                {"ingress", Object::array()},
                {"egress", {{{"to", Object::array({to})}, {"ports", Object::array({{{"port", 2379}, {"protocol", "TCP"}}})}}}}});
}

std::vector<std::string> etcdctl(const Site& s, const std::vector<std::int64_t>& members, std::vector<std::string> words) {
  std::string endpoints;
  for (const auto i : members) endpoints += (endpoints.empty() ? "" : ",") + s.client_url(i);
  std::vector<std::string> out{"etcdctl", "--endpoints=" + endpoints, "--cacert=" + key_path("etcd-ca.crt"),
                               "--cert=" + key_path("etcd-client.crt"), "--key=" + key_path("etcd-client.key")};
  for (auto& w : words) out.push_back(std::move(w));
  return out;
}

}  // namespace endstate::cluster
