// What a plan reads of the Jobs at etcd (child_jobs.hpp). Pure.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "controllers/cluster/children.hpp"
#include "controllers/cluster/plan_hosted.hpp"

namespace endstate::cluster {

enum class JobState : std::uint8_t { running, complete, failed };
JobState state_of(const reconcile::Job& job);
WallTime ended_at(const reconcile::Job& job);  // complete or failed: when
std::string_view operation_of(const reconcile::Job& job);

const reconcile::Job* find_job(const HostedFacts& facts, std::string_view name);
const reconcile::Pod* pod_of(const HostedFacts& facts, const reconcile::Job& job);  // the newest; null: none is left

std::string last_line(std::string_view text);  // at most 512 characters
// Why it failed, for people: what its container said last, else what Kubernetes says of it.
std::string failure_of(const HostedFacts& facts, const reconcile::Job& job);
// Why it doesn't get on: no volume, no image, no node; empty: nothing is known against it.
std::string waiting_of(const reconcile::Pod& pod);

// What a step of it printed. Asked for by `queries` until it is there; null: it isn't (yet), or its pod has gone.
const std::string* log_of(const HostedFacts& facts, const reconcile::Job& job, std::string_view step,
                          std::vector<reconcile::Query>& queries);

reconcile::Action remove_job(const reconcile::Job& job, std::string why);
reconcile::Action create_job(const Site& site, const Child& job, std::string why);

}  // namespace endstate::cluster
