// The plan of one Machine: a pure function from what is known of it to what is done next.
//
//   Pending       claims a Host                                    plan_claim
//   Provisioning  the host installs the packages                   plan_assign, plan_settle
//   Joining       its Node comes, the gates turn True              plan_gates
//   Running       open for pods; closed when a gate turns False    plan_settle
//   Running       a change that drains: artifacts are fetched first plan_prefetch
//   Updating      lock, drain if needed, assign, wait, reopen      plan_update
//   Draining      isolated; pods leave by eviction                 plan_drain, plan_volumes
//   Deleting      lock, drain, release, wipe, free the Host        plan_delete
//   Failed        a package or a deadline failed; it says which
//
// Nothing but the objects themselves is remembered: a pass that dies after any of its writes is made again from what it left.
// Wish and permission are two things: Machine.spec is read, HostAssignment.spec is written, after the guard's grant and the lock
// (Machine.status.operation). What is created isn't in service: there the claim of the Host is the lock.
#pragma once
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "apis/v1alpha1/cluster.hpp"
#include "apis/v1alpha1/machine.hpp"
#include "apis/v1alpha1/machine_set.hpp"
#include "controllers/common/elapsed.hpp"
#include "controllers/machine/drain_facts.hpp"
#include "controllers/machine/gate_pod.hpp"
#include "reconcile/kube/core.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::machine {

namespace api = endstate::v1alpha1;
using reconcile::Condition, reconcile::ConditionStatus, reconcile::Node, reconcile::Now, reconcile::Pod, reconcile::Ref, reconcile::Result,
    reconcile::Text, reconcile::WallTime;

// Bounds of the plan. All waits that an object can't set.
inline constexpr std::chrono::seconds agent_fresh{180};       // the least that an agent's word lasts, by our own observation
inline constexpr std::chrono::hours agent_longest{24};        // and the most, whatever its Lease says
inline constexpr std::chrono::seconds default_timeout{1800};  // an operation, from its grant
inline constexpr std::chrono::seconds close_after{30};        // a gate is False for so long before an open node is closed
inline constexpr std::chrono::seconds abandon_after{900};     // a machine that goes with its Cluster, which can't be seen or is gone
inline constexpr std::chrono::seconds sight_settle{90};       // after a blind gap nothing is late yet: what was done must be heard first
inline constexpr std::chrono::seconds blind_settle{300};      // a loss of a business cluster's API that is shorter writes no status
inline constexpr std::int64_t blind_writes{10};               // then so many a second, spread by the machine's key
inline constexpr std::chrono::seconds reopen_wait{30};        // between two tries of what waits for something unseen
inline constexpr std::chrono::milliseconds progress_settle{5'000};
inline constexpr std::chrono::milliseconds refusal_settle{1'000};
inline constexpr std::chrono::seconds link_settle{30};  // the same, of a machine that never was in service
inline constexpr std::size_t evictions_a_pass = 50;
inline constexpr std::size_t max_conditions = 64;  // CRD bound

struct Package {  // a slot of the spec, looked up
  Text slot, name;
  Ref<api::MachinePackageVersion> version;  // null: there is none of that name
};
struct ExternalConditions {  // a condition ConfigMap, parsed
  Text config_map;
  Result<std::vector<Condition>> conditions = std::vector<Condition>();
};
template <class T>
using Listed = std::optional<Result<std::vector<Ref<T>>>>;  // the answer to a list; nullopt: none yet, or an old one
struct ClusterHealth {  // of the machines of the cluster that were in service once and nothing is being done to
  std::size_t in_service = 0, ill = 0;
};

// What is left of a Machine that is gone: a released assignment whose host has reported its wipe only now. The Node and the assignment
// go, and the Host may be claimed again. An assignment that is Active is released if its Host was freed unwiped, when the cluster couldn't
// be seen; else it is never touched: a missing Machine alone never wipes a host.
struct Remains {
  reconcile::Key cluster;  // in the Machine's namespace; its connection can be seen
  std::string connection;
  Ref<api::HostAssignment> assignment;
  Ref<api::Host> host;  // of that namespace, with the assignment's name as uid; null: gone
  Ref<Node> node;
};
reconcile::Plan plan_remains(const std::vector<Remains>& remains, WallTime now);

struct Input {
  Now now;
  Ref<api::Machine> machine;  // never null
  Ref<api::Cluster> cluster;  // null: not there
  Ref<api::MachineSet> set;   // its managing owner; null: none, or not there
  std::string connection;     // of the cluster

  reconcile::Sight sight{.seen = true};  // of that connection
  std::vector<api::BlindGap> gaps;       // when it couldn't be seen, until now (common/elapsed.hpp)
  std::string blind_message;             // why it can't be seen, for people

  // The Host: that which is claimed for this machine; more than one after a lost reply.
  Ref<api::Host> host;
  std::vector<Ref<api::Host>> more_hosts;
  Ref<api::Host> former_host;           // no claimed one, but status.hostRef or the assignment names this one; null: that is gone too
  Ref<api::Host> candidate;             // to claim next (host_pool.hpp, or spec.hostName); null: none
  std::string no_candidate;             // why there is none
  Ref<api::HostAssignment> assignment;  // named by the Host's uid, whoever it is for; without a Host: found by the machine's uid
  Ref<Node> node;                       // named like the Host
  std::optional<api::OwnedNodeParts> owned_before;  // of an older version, which kept it at the Node: its annotation, decoded
  // Since its Lease changed, or since the cluster can be seen again; nullopt: no Lease. And how long its word lasts: three renewals.
  std::optional<std::chrono::nanoseconds> agent_silence;
  std::chrono::seconds agent_lasts = agent_fresh;

  std::vector<Package> packages;  // of spec.packages, in order
  std::vector<ExternalConditions> external;
  std::vector<Ref<GatePod>> gate_pods;  // on its Node, while their watch is fresh
  // Of its Node, for a drain (drain_facts.hpp): its pods as the API server's memory has them, and as they are stored; the volumes that are
  // attached to it; how many pods of one controller (by its uid) came to it during this drain and were evicted again.
  Listed<DrainPod> pods, pods_now;
  Listed<Attachment> volumes;
  std::optional<Result<AttachedTo>> node_volumes;  // where the cluster has too many to list them
  std::map<Text, std::size_t> evicted_again;
  ClusterHealth health;
  std::vector<Remains> remains;  // of an earlier Machine of its name: sets use names again

  std::vector<reconcile::Outcome> failures;  // of the last pass
  // How long ago the API server said no to a write of the Node, to an eviction; nullopt: not lately, or by an earlier process.
  std::optional<std::chrono::nanoseconds> node_refused, eviction_refused;
  std::optional<reconcile::Refused> refused;
  reconcile::MonoTime refused_at{};
};

reconcile::Plan plan(const Input& in);

}  // namespace endstate::machine
