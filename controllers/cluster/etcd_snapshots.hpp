// plan_snapshots: which snapshot of etcd is taken now. Pure.
//
// There are `keep` places, each a file in one volume and a Job of its name. A snapshot goes to the place of the oldest, under another name
// until it is whole, and is checked (`etcdutl snapshot status`) before it counts. The newest one that was taken before a release isn't
// overwritten by those on schedule. One is taken at a time, and what has failed is tried again after a while.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "controllers/cluster/plan_hosted.hpp"

namespace endstate::cluster {

inline constexpr std::chrono::seconds snapshot_limit{900};  // for a snapshot, waits for its volume and image included
inline constexpr std::chrono::seconds snapshot_retry{300};  // after a failure

// The snapshots that there are: what status knew, and what Jobs have done since. Asks for the figures of new ones.
std::vector<v1alpha1::EtcdSnapshot> snapshots_now(const Site& site, const HostedFacts& facts,
                                                  const std::vector<v1alpha1::EtcdSnapshot>& before,
                                                  std::vector<reconcile::Query>& queries);

struct SnapshotInput {
  const Site& site;
  const HostedFacts& facts;
  const std::vector<v1alpha1::EtcdSnapshot>& there;  // snapshots_now()
  std::string package, image;                        // that etcd is of now
  std::optional<std::int64_t> member;                // one that is ready
  std::string before;                                // a release to this version waits for one that began after `since`
  WallTime since{};
  WallTime now{};
};
struct SnapshotPlan {
  std::vector<reconcile::Action> actions;
  std::string failure, job;  // of the last try, when it failed or can't get on
  std::optional<std::chrono::seconds> again;
};
SnapshotPlan plan_snapshots(const SnapshotInput& input);

}  // namespace endstate::cluster
