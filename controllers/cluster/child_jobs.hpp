// Jobs that work at a Hosted cluster's etcd, and the volume that snapshots go to. They run the programs of etcd's own image (etcdctl,
// etcdutl), without a shell: images needn't have one. A step's output is read from its log.
#pragma once
#include <utility>

#include "controllers/cluster/child_parts.hpp"

namespace endstate::cluster {

inline constexpr std::string_view job_component = "etcd-job";  // label of these Jobs and their pods
inline constexpr std::string_view snapshot_folder = "/snapshots";

struct JobStep {
  std::string name;
  std::vector<std::string> command;
};
struct JobSketch {
  std::string name, operation;  // operation: what it does, as its annotation says
  std::vector<std::pair<std::string, std::string>> annotations;
  std::string image;
  std::vector<JobStep> first, then;  // first: one after the other; then: side by side
  bool volume = false;               // with the snapshots
  int retries = 0;
  std::chrono::seconds limit{120};  // for all of it
};
Child etcd_job(const Site& site, const JobSketch& sketch);
Child snapshot_claim(const Site& site);
Child job_policy(const Site& site);  // NetworkPolicy: they reach etcd, and nobody reaches them

// "etcdctl" as a client of these members (their numbers).
std::vector<std::string> etcdctl(const Site& site, const std::vector<std::int64_t>& members, std::vector<std::string> words);

}  // namespace endstate::cluster
