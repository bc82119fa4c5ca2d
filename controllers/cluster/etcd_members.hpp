// plan_members: what is done about single members of a Hosted cluster's etcd. Pure.
//
// May it begin?  A member whose volume is empty may begin only when its pod carries an annotation (--initial-cluster is taken from it):
//                while the cluster is being created, and when it has been added anew. Else it stops at once and says so: an etcd that lost
//                its data neither comes up empty nor votes on what it has forgotten. A volume with data begins without.
// Replacement    A member that says so is removed, added as a learner, let begin, and promoted when it has caught up: each a Job with
//                etcdctl, one after the other, from what `member list` said just before. Only when more than half of all members are ready,
//                and only on that proof: a member that is away, slow or broken otherwise is left alone.
// Size           The members are asked for their size on the schedule of snapshots; one that is less than half full is defragmented, the
//                leader last, when all are well and nothing else is under way.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "controllers/cluster/plan_hosted.hpp"

namespace endstate::cluster {

inline constexpr std::chrono::seconds member_retry{20};         // after a Job at a member failed
inline constexpr std::chrono::seconds member_unready{90};       // after which one that runs is asked for
inline constexpr std::int64_t worth_defragmenting = 100 << 20;  // bytes

struct MembersInput {
  const Site& site;
  const HostedFacts& facts;
  const std::optional<v1alpha1::EtcdStatus>& before;
  std::string image;     // of etcd now
  bool created = false;  // the cluster has been Ready once
  bool busy = false;     // a release, a rotation or a creation is under way
  WallTime now{};
};
struct MembersPlan {
  std::vector<reconcile::Action> actions;
  std::string permit;  // what the guarded ones do; empty: none is
  std::vector<reconcile::Query> queries;
  std::optional<HostedProblem> problem;
  std::string progress, event;  // what is being done, for people; what begins now
  std::vector<v1alpha1::EtcdMember> members;
  WallTime members_time{};
  std::optional<std::chrono::seconds> again;
};
MembersPlan plan_members(const MembersInput& input);

// Of the pods of etcd, by their numbers; null: there is none.
const reconcile::Pod* member_pod(const Site& site, const HostedFacts& facts, std::int64_t i);
bool is_ready(const reconcile::Pod& pod);
std::optional<std::int64_t> ready_member(const Site& site, const HostedFacts& facts);

}  // namespace endstate::cluster
