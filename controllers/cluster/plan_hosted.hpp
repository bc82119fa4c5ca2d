// plan_hosted: what to do about the control plane of a Hosted Cluster now. Pure; part of plan() (plan.hpp).
//
// The order of a life, each step when the one before is done:
//   Services (their addresses go into certificates), NetworkPolicies, PodDisruptionBudgets; CAs and signing keys
//   status has recorded the CAs -> certificates and kubeconfigs
//   etcd -> kube-apiserver -> kube-controller-manager and kube-scheduler
// and then for ever: what is missing is made, what drifted is put back, certificates are renewed, CAs replaced, versions released. A
// missing CA is never made anew (rotation.hpp).
//
// Beside that: snapshots of etcd (etcd_snapshots.hpp), and what single members of it need (etcd_members.hpp).
//
// Creating disturbs nobody. A workload that is there is changed under a permit only: ControlPlaneUpdate forward, ControlPlaneRollback on
// the way back and for what drifted, CertificateRotation for what only restarts.
#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "apis/v1alpha1/packages.hpp"
#include "controllers/cluster/release.hpp"
#include "controllers/cluster/rotation.hpp"
#include "reconcile/cache/view.hpp"
#include "reconcile/kube/core.hpp"
#include "reconcile/kube/workloads.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::cluster {

using reconcile::Ref;

inline constexpr std::chrono::milliseconds look_again{10'000};  // while something is under way that no watch tells the end of

struct FoundChild {
  const reconcile::Kind* kind = nullptr;
  reconcile::ObjectMeta metadata;
  reconcile::Json spec;
};

// What the meta cluster has of it. Secrets are read by the loop: here are facts only.
struct HostedFacts {
  bool synced = false;  // every cache of these kinds: what isn't here isn't there
  std::map<std::string, Ref<v1alpha1::ClusterPackageVersion>, std::less<>> packages;
  std::vector<FoundChild> children;                                    // all but workloads and Secrets
  std::map<std::string, reconcile::Workload, std::less<>> workloads;   // by name
  std::map<std::string, Ref<reconcile::Secret>, std::less<>> secrets;  // by name without the cluster's
  std::array<CaState, std::size(all_cas)> cas;
  SigningKeysState signing_keys;
  std::map<std::string, LeafState, std::less<>> leaves;
  std::vector<Ref<reconcile::Job>> jobs;
  std::vector<Ref<reconcile::Pod>> pods;
  std::map<std::string, std::string, std::less<>> logs;  // of Jobs' steps (job_facts.hpp), by the id of their question
  std::string endpoint_holder;                           // site.hpp
  std::vector<std::string> refused_writes;               // of the last pass: children that the API server won't have
  std::vector<std::string> taken_secrets;                // the same: names of Secrets that are there and aren't its own
};

struct HostedLine {
  reconcile::ConditionStatus status{};
  std::string_view reason;
  std::string message;
};
struct HostedProblem {
  std::string_view reason;
  std::string kind, name, message;
  bool serious = true;  // the Cluster isn't Ready because of it
};
struct HostedPlan {
  std::vector<reconcile::Action> actions;
  std::optional<reconcile::PermitRequest> permit;
  std::vector<reconcile::EventNote> events;
  v1alpha1::ControlPlaneStatus status;
  std::vector<v1alpha1::Release> history;
  v1alpha1::ClusterPhase phase{};
  HostedLine control_plane, certificates;
  std::optional<HostedLine> backed_up;  // absent: no snapshots are wanted
  std::vector<reconcile::Query> queries;
  std::optional<HostedProblem> problem;
  bool connect = false;
  std::optional<std::chrono::milliseconds> again;
  std::set<std::string, std::less<>> unsettled;  // components that are being changed, or aren't as available as they should be
};

struct HostedInput {
  const v1alpha1::Cluster& cluster;
  const HostedFacts& facts;
  bool has_machines = false;
  bool paused = false;
  WallTime now{};
};
HostedPlan plan_hosted(const HostedInput& input);  // facts.synced

// What is deleted next, under a Teardown permit; nothing and `left` empty: all of it has gone.
struct Teardown {
  std::vector<reconcile::Action> actions;
  std::optional<reconcile::PermitRequest> permit;
  std::string left;
};
Teardown plan_teardown(const HostedInput& input);

}  // namespace endstate::cluster
