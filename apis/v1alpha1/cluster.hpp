// Cluster: a business cluster, its control plane and what is known of its machines.
#pragma once
#include "apis/v1alpha1/common.hpp"

namespace endstate::v1alpha1 {

struct CidrBlocks {
  std::vector<Text> cidr_blocks;
  friend bool operator==(const CidrBlocks&, const CidrBlocks&) = default;
};
consteval auto describe(const CidrBlocks*) {
  return object("Address ranges: one, or two for both IP families.",
                field<&CidrBlocks::cidr_blocks>("cidrBlocks", "The ranges, as CIDR.",
                                                {.required = true,
                                                 .min_length = 1,
                                                 .max_length = 64,
                                                 .min_items = 1,
                                                 .max_items = 2,
                                                 .pattern = "^[0-9a-fA-F:.]+/[0-9]{1,3}$",
                                                 .atomic = true}));
}

struct ClusterNetwork {
  CidrBlocks pods, services;
  Text service_domain;
  friend bool operator==(const ClusterNetwork&, const ClusterNetwork&) = default;
};
consteval auto describe(const ClusterNetwork*) {
  return object("The networks of the cluster.", field<&ClusterNetwork::pods>("pods", "Where pods get their addresses from."),
                field<&ClusterNetwork::services>("services", "Where Services get their addresses from."),
                field<&ClusterNetwork::service_domain>("serviceDomain", "The DNS domain of Services; unset: cluster.local.",
                                                       {.max_length = 253, .pattern = dns_subdomain}));
}

enum class ControlPlaneType : std::uint8_t { hosted, external };
consteval auto describe(const ControlPlaneType*) {
  return names("Who runs the control plane. Hosted: endstate, as pods of the meta cluster. External: somebody else.", "Hosted", "External");
}

enum class DeletionPolicy : std::uint8_t { delete_, retain };
consteval auto describe(const DeletionPolicy*) { return names("What becomes of data when its owner is deleted.", "Delete", "Retain"); }

struct EtcdStorage {
  Text storage_class_name, size;
  std::optional<DeletionPolicy> deletion_policy;
  friend bool operator==(const EtcdStorage&, const EtcdStorage&) = default;
};
consteval auto describe(const EtcdStorage*) {
  return object(
             "The volumes of etcd.",
             field<&EtcdStorage::storage_class_name>("storageClassName", "Their StorageClass; absent: the meta cluster's default.",
                                                     object_name),
             field<&EtcdStorage::size>("size", "Their size, e.g. 20Gi; unset: 10Gi.",
                                       {.max_length = 16, .pattern = "^[1-9][0-9]*(Mi|Gi|Ti)$"}),
             field<&EtcdStorage::deletion_policy>(
                 "deletionPolicy", "What becomes of the volumes, the CAs and the signing keys when the Cluster is deleted; unset: Retain."))
      .check(
          "has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == "
          "oldSelf.storageClassName)",
          "storageClassName can't change: volumes don't move between classes")
      .check("has(self.size) == has(oldSelf.size) && (!has(self.size) || self.size == oldSelf.size)",
             "size can't change: a StatefulSet's volumes stay as they were made");
}

inline DeletionPolicy deletion_policy(const EtcdStorage& s) { return s.deletion_policy.value_or(DeletionPolicy::retain); }

// Snapshots of etcd go to one volume of their own, each into the place of the oldest.
struct EtcdSnapshots {
  std::optional<bool> enabled;
  std::optional<std::chrono::seconds> interval;
  std::optional<std::int64_t> keep;
  Text storage_class_name, size;
  friend bool operator==(const EtcdSnapshots&, const EtcdSnapshots&) = default;
};
consteval auto describe(const EtcdSnapshots*) {
  using S = EtcdSnapshots;
  return object(
      "Snapshots of etcd: before each release that touches etcd or the API server, and on a schedule.",
      field<&S::enabled>("enabled", "Whether any are taken; unset: true."),
      field<&S::interval>("intervalSeconds", "The longest time from one to the next; unset: 3600.", duration(60, 604'800)),
      field<&S::keep>("keep", "How many are kept; unset: 5.", duration(2, 10)),
      field<&S::storage_class_name>("storageClassName", "StorageClass of their volume; absent: that of etcd's volumes.", object_name),
      field<&S::size>("size", "Size of their volume; unset: that of etcd's volumes.",
                      {.max_length = 16, .pattern = "^[1-9][0-9]*(Mi|Gi|Ti)$"}));
}
inline bool enabled(const EtcdSnapshots& s) { return s.enabled.value_or(true); }
inline std::chrono::seconds interval(const EtcdSnapshots& s) { return s.interval.value_or(std::chrono::seconds(3600)); }
inline std::int64_t keep(const EtcdSnapshots& s) { return s.keep.value_or(5); }

struct Etcd {
  std::optional<std::int64_t> replicas;
  EtcdStorage storage;
  std::optional<EtcdSnapshots> snapshots;
  friend bool operator==(const Etcd&, const Etcd&) = default;
};
consteval auto describe(const Etcd*) {
  return object("The store of a Hosted control plane.",
                field<&Etcd::replicas>(
                    "replicas", "Its members: 1, 3 or 5; unset: 3.",
                    {.minimum = 1, .maximum = 5, .cel = {{{"self % 2 == 1", "etcd needs an odd number of members: 1, 3 or 5"}}}}),
                field<&Etcd::storage>("storage", "Its volumes."), field<&Etcd::snapshots>("snapshots", "Copies of what it holds."))
      .check("has(self.replicas) == has(oldSelf.replicas) && (!has(self.replicas) || self.replicas == oldSelf.replicas)",
             "etcd.replicas can't change: create another Cluster");
}
inline std::int64_t replicas(const Etcd& e) { return e.replicas.value_or(3); }

struct Endpoint {
  Text host;
  std::optional<std::int64_t> port;
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};
consteval auto describe(const Endpoint*) {
  return object("Where an API server is reached.",
                field<&Endpoint::host>("host", "Its name or address.", {.required = true, .min_length = 1, .max_length = 253}),
                field<&Endpoint::port>("port", "Its port; unset: 6443.", duration(1, 65'535)));
}
inline std::int64_t port(const Endpoint& e) { return e.port.value_or(6443); }

enum class ControlPlaneFailureAction : std::uint8_t { rollback, pause };
consteval auto describe(const ControlPlaneFailureAction*) { return names("What a failed release leads to.", "Rollback", "Pause"); }
struct ControlPlaneOnFailure {
  std::optional<ControlPlaneFailureAction> action;
  friend bool operator==(const ControlPlaneOnFailure&, const ControlPlaneOnFailure&) = default;
};
consteval auto describe(const ControlPlaneOnFailure*) {
  return object("What happens when a release fails.",
                field<&ControlPlaneOnFailure::action>("action", "What it leads to; unset: Rollback."));
}
struct ControlPlaneRollout {
  std::optional<std::chrono::seconds> soak, progress_deadline;
  ControlPlaneOnFailure on_failure;
  friend bool operator==(const ControlPlaneRollout&, const ControlPlaneRollout&) = default;
};
consteval auto describe(const ControlPlaneRollout*) {
  return object("How a release goes through the control plane.",
                field<&ControlPlaneRollout::soak>("soakSeconds", "How long each new replica must stay healthy before the next; unset: 30.",
                                                  duration(0, 604'800)),
                field<&ControlPlaneRollout::progress_deadline>(
                    "progressDeadlineSeconds", "Failed when no further replica became available for this long and its soak; unset: 300.",
                    duration(30, 86'400)),
                field<&ControlPlaneRollout::on_failure>("onFailure", "What happens when a release fails."));
}
inline std::chrono::seconds soak(const ControlPlaneRollout& r) { return r.soak.value_or(std::chrono::seconds(30)); }
inline std::chrono::seconds progress_deadline(const ControlPlaneRollout& r) {
  return r.progress_deadline.value_or(std::chrono::seconds(300));
}
inline ControlPlaneFailureAction action(const ControlPlaneOnFailure& f) { return f.action.value_or(ControlPlaneFailureAction::rollback); }

enum class KeyAlgorithm : std::uint8_t { ecdsa, rsa };
consteval auto describe(const KeyAlgorithm*) { return names("What keys are made of: ECDSA P-256, or RSA with 2048 bits.", "ECDSA", "RSA"); }

struct ControlPlane {
  ControlPlaneType type{};
  std::optional<std::int64_t> replicas;
  std::optional<Etcd> etcd;
  std::optional<Endpoint> endpoint;
  std::optional<NameRef> kubeconfig_secret;
  std::optional<ControlPlaneRollout> rollout;
  std::optional<KeyAlgorithm> key_algorithm;
  friend bool operator==(const ControlPlane&, const ControlPlane&) = default;
};
consteval auto describe(const ControlPlane*) {
  using S = ControlPlane;
  return object("The control plane.",
                field<&S::type>("type", "Who runs it.",
                                {.required = true, .cel = {{{"self == oldSelf", "type can't change: create another Cluster"}}}}),
                field<&S::replicas>("replicas", "Of Hosted: how many of each component; unset: 3.", duration(1, 7)),
                field<&S::etcd>("etcd", "Of Hosted: its store."),
                field<&S::endpoint>("endpoint", "Where its API server is reached; Hosted: chosen if absent. External: for people."),
                field<&S::kubeconfig_secret>("kubeconfigSecret",
                                             "Of External: the Secret in the Cluster's namespace with a kubeconfig under the key `value`; "
                                             "absent: the meta cluster itself."),
                field<&S::rollout>("rollout", "Of Hosted: how a release goes through it."),
                field<&S::key_algorithm>("keyAlgorithm", "Of Hosted: what new keys are made of; unset: ECDSA."))
      .check("has(self.etcd) == has(oldSelf.etcd)", "etcd can't be added or removed: create another Cluster")
      .check("self.type == 'External' || !has(self.kubeconfigSecret)",
             "kubeconfigSecret is for type External only: endstate makes the kubeconfig of a Hosted control plane itself")
      .check("self.type == 'Hosted' || (!has(self.replicas) && !has(self.etcd) && !has(self.rollout) && !has(self.keyAlgorithm))",
             "replicas, etcd, rollout and keyAlgorithm are for type Hosted only: leave them out for External");
}
inline std::int64_t replicas(const ControlPlane& c) { return c.replicas.value_or(3); }

struct ClusterSpec {
  std::optional<NameRef> package_version;
  std::optional<ClusterNetwork> cluster_network;
  ControlPlane control_plane;
  std::optional<bool> paused;
  friend bool operator==(const ClusterSpec&, const ClusterSpec&) = default;
};
consteval auto describe(const ClusterSpec*) {
  using S = ClusterSpec;
  return object("What the cluster should be.",
                field<&S::package_version>("packageVersion",
                                           "Of Hosted: the ClusterPackageVersion. Editing it releases; editing it back rolls back."),
                field<&S::cluster_network>("clusterNetwork", "Its networks; can't change.",
                                           {.cel = {{{"self == oldSelf", "clusterNetwork can't change: create another Cluster"}}}}),
                field<&S::control_plane>("controlPlane", "Its control plane.", {.required = true}),
                field<&S::paused>("paused", "No loop touches the cluster and what belongs to it; unset: false."))
      .check("self.controlPlane.type != 'Hosted' || has(self.packageVersion)",
             "a Hosted control plane needs packageVersion: name a ClusterPackageVersion")
      .check("self.controlPlane.type != 'External' || !has(self.packageVersion)",
             "packageVersion is for a Hosted control plane only: an External one is released by whoever runs it")
      .check("!has(oldSelf.clusterNetwork) || has(self.clusterNetwork)", "clusterNetwork can't be removed");
}

enum class ClusterPhase : std::uint8_t { pending, provisioning, running, updating, rolling_back, deleting, failed };
consteval auto describe(const ClusterPhase*) {
  return names("Where a cluster is in its life.", "Pending", "Provisioning", "Running", "Updating", "RollingBack", "Deleting", "Failed");
}

enum class PlanStepState : std::uint8_t { pending, running, soaking, done, failed };
consteval auto describe(const PlanStepState*) { return names("Where a step is.", "Pending", "Running", "Soaking", "Done", "Failed"); }
struct UpgradeStep {
  Text component, from, to;
  PlanStepState state{};
  WallTime start_time{};
  friend bool operator==(const UpgradeStep&, const UpgradeStep&) = default;
};
consteval auto describe(const UpgradeStep*) {
  using S = UpgradeStep;
  return object(
      "A step of a release.",
      field<&S::component>("component", "What is changed: etcd, kubeAPIServer, ...", {.required = true, .min_length = 1, .max_length = 63}),
      field<&S::from>("from", "Its version before.", text(512)), field<&S::to>("to", "Its version after.", text(512)),
      field<&S::state>("state", "Where it is.", {.required = true}), field<&S::start_time>("startTime", "When it began."));
}

struct CertificateStatus {
  Text name;
  WallTime not_after{};
  std::vector<Text> fingerprints;
  friend bool operator==(const CertificateStatus&, const CertificateStatus&) = default;
};
consteval auto describe(const CertificateStatus*) {
  using S = CertificateStatus;
  return object("Keys of a Hosted control plane.", field<&S::name>("name", "Its Secret, without the Cluster's name.", slot_name),
                field<&S::not_after>("notAfter", "When its certificate ends; absent: it has none (signing keys)."),
                field<&S::fingerprints>("fingerprints",
                                        "Of CAs and signing keys: SHA-256 of what is the cluster's own. Another in the Secret is refused.",
                                        {.max_length = 64, .max_items = 4, .atomic = true}));
}

struct EtcdSnapshot {
  Text name;
  WallTime time{};
  Text package_version, before;
  Text hash;
  std::int64_t revision = 0, bytes = 0;
  friend bool operator==(const EtcdSnapshot&, const EtcdSnapshot&) = default;
};
consteval auto describe(const EtcdSnapshot*) {
  using S = EtcdSnapshot;
  return object("A snapshot of etcd.", field<&S::name>("name", "Its file in the volume.", slot_name),
                field<&S::time>("time", "When it was begun.", {.required = true}),
                field<&S::package_version>("packageVersion", "The version of the control plane whose data it is.", text(253)),
                field<&S::before>("before", "The version before whose release it was taken; absent: it was taken on schedule.", text(253)),
                field<&S::hash>("hash", "Of its content, as `etcdutl snapshot status` says it.", text(16)),
                field<&S::revision>("revision", "etcd's revision.", counter), field<&S::bytes>("bytes", "Its size.", counter));
}
struct EtcdMember {
  Text name, version;
  std::optional<bool> leader;
  std::int64_t database_bytes = 0, database_bytes_in_use = 0;
  friend bool operator==(const EtcdMember&, const EtcdMember&) = default;
};
consteval auto describe(const EtcdMember*) {
  using S = EtcdMember;
  return object("A member of etcd.", field<&S::name>("name", "Its pod.", slot_name),
                field<&S::version>("version", "Its version.", text(63)), field<&S::leader>("leader", "Whether it led."),
                field<&S::database_bytes>("databaseBytes", "Its database's size.", counter),
                field<&S::database_bytes_in_use>("databaseBytesInUse",
                                                 "How much of it is in use; the rest is given back when it is defragmented.", counter));
}
struct EtcdStatus {
  std::vector<EtcdSnapshot> snapshots;
  std::vector<EtcdMember> members;
  WallTime members_time{};
  friend bool operator==(const EtcdStatus&, const EtcdStatus&) = default;
};
consteval auto describe(const EtcdStatus*) {
  using S = EtcdStatus;
  return object("The store of a Hosted control plane.", field<&S::snapshots>("snapshots", "Its snapshots that are kept.", list(10, "name")),
                field<&S::members>("members", "What its members said of themselves.", list(5, "name")),
                field<&S::members_time>("membersTime", "When they said it."));
}

struct ReplicaRepair {
  Text component;
  std::int64_t count = 0;
  WallTime time{};
  friend bool operator==(const ReplicaRepair&, const ReplicaRepair&) = default;
};
consteval auto describe(const ReplicaRepair*) {
  using S = ReplicaRepair;
  return object("How often replicas of a component were made anew since it was well for an hour.",
                field<&S::component>("component", "Which: kubeAPIServer, ...", slot_name), field<&S::count>("count", "How often.", counter),
                field<&S::time>("time", "When last."));
}

struct ControlPlaneStatus {
  Text package_version, rejected_package_version;
  std::int64_t replicas = 0, ready_replicas = 0;
  Text version;
  std::optional<Endpoint> endpoint;
  std::vector<UpgradeStep> upgrade_plan;
  std::vector<CertificateStatus> certificates;
  std::optional<EtcdStatus> etcd;
  std::vector<ReplicaRepair> repairs;
  friend bool operator==(const ControlPlaneStatus&, const ControlPlaneStatus&) = default;
};
consteval auto describe(const ControlPlaneStatus*) {
  using S = ControlPlaneStatus;
  return object("What the control plane is.",
                field<&S::package_version>("packageVersion", "The ClusterPackageVersion that went through last.", text(253)),
                field<&S::rejected_package_version>("rejectedPackageVersion",
                                                    "The one that failed: not tried again until packageVersion is edited.", text(253)),
                field<&S::replicas>("replicas", "Of Hosted: how many it has.", counter),
                field<&S::ready_replicas>("readyReplicas", "Of Hosted: how many are ready.", counter),
                field<&S::version>("version", "The Kubernetes version that its API server says, e.g. v1.34.4.", text(63)),
                field<&S::endpoint>("endpoint", "Where it is reached."),
                field<&S::upgrade_plan>("upgradePlan", "The release under way, step by step.", {.max_items = 64, .atomic = true}),
                field<&S::certificates>("certificates", "Of Hosted: its keys and certificates.", list(32, "name")),
                field<&S::etcd>("etcd", "Of Hosted: its store."),
                field<&S::repairs>("repairs", "Of Hosted: components whose replicas were made anew of late.", list(3, "component")));
}

struct ClusterMachines {
  std::int64_t replicas = 0, ready_replicas = 0, up_to_date_replicas = 0, failed_replicas = 0;
  friend bool operator==(const ClusterMachines&, const ClusterMachines&) = default;
};
consteval auto describe(const ClusterMachines*) {
  using S = ClusterMachines;
  return object("The cluster's Machines, counted.", field<&S::replicas>("replicas", "How many there are.", counter),
                field<&S::ready_replicas>("readyReplicas", "How many are Ready.", counter),
                field<&S::up_to_date_replicas>("upToDateReplicas", "How many have the revision that they should have.", counter),
                field<&S::failed_replicas>("failedReplicas", "How many are Failed.", counter));
}

enum class ReleaseResult : std::uint8_t { none, complete, rolled_back, rejected, superseded };
consteval auto describe(const ReleaseResult*) {
  return names("How a release ended; absent: it is under way.", "", "Complete", "RolledBack", "Rejected", "Superseded");
}
struct Release {
  Text package_version, from, field_manager;
  WallTime start_time{}, end_time{};
  ReleaseResult result{};
  Text message;
  friend bool operator==(const Release&, const Release&) = default;
};
consteval auto describe(const Release*) {
  using S = Release;
  return object(
      "A release of the control plane.",
      field<&S::package_version>("packageVersion", "The version that it led to.", {.required = true, .min_length = 1, .max_length = 253}),
      field<&S::from>("from", "The version that it came from.", text(253)),
      field<&S::field_manager>("fieldManager", "Who edited packageVersion; absent: not known.", text(128)),
      field<&S::start_time>("startTime", "When it began."), field<&S::end_time>("endTime", "When it ended; absent: it is under way."),
      field<&S::result>("result", "How it ended."), field<&S::message>("message", "Why, for people.", text(1024)));
}

enum class AddonState : std::uint8_t { pending, applied, failed };
consteval auto describe(const AddonState*) { return names("How far an add-on is.", "Pending", "Applied", "Failed"); }
struct AddonObject {
  Text api_version, kind, resource, name_space, name;
  friend bool operator==(const AddonObject&, const AddonObject&) = default;
};
consteval auto describe(const AddonObject*) {
  using O = AddonObject;
  return object("An object that an add-on brought.",
                field<&O::api_version>("apiVersion", "Its API version.", {.required = true, .min_length = 1, .max_length = 317}),
                field<&O::kind>("kind", "Its kind.", {.required = true, .min_length = 1, .max_length = 63}),
                field<&O::resource>("resource", "Its kind's name in URLs.", {.required = true, .min_length = 1, .max_length = 63}),
                field<&O::name_space>("namespace", "Its namespace; absent: it has none.", text(63)),
                field<&O::name>("name", "Its name.", {.required = true, .min_length = 1, .max_length = 253}));
}
inline constexpr std::size_t max_addon_objects = 128;  // of one add-on
struct AddonStatus {
  Text name;
  AddonState state{};
  Text hash, message;
  std::vector<AddonObject> objects;
  friend bool operator==(const AddonStatus&, const AddonStatus&) = default;
};
consteval auto describe(const AddonStatus*) {
  using S = AddonStatus;
  return object("An add-on in its cluster.", field<&S::name>("name", "Its name; endstate: what endstate itself needs there.", slot_name),
                field<&S::state>("state", "How far it is.", {.required = true}),
                field<&S::hash>("hash", "Of what was applied last, all of it; absent: not all of it yet.", text(63)),
                field<&S::message>("message", "What is wrong with it, for people.", text(1024)),
                field<&S::objects>("objects", "What it has brought: taken away when the package doesn't have it any more.",
                                   {.max_items = max_addon_objects, .atomic = true}));
}

// Times when the business cluster could not be seen: no deadline, pause or silence of its machines runs through them.
struct BlindGap {
  WallTime start_time{}, end_time{};
  friend bool operator==(const BlindGap&, const BlindGap&) = default;
};
consteval auto describe(const BlindGap*) {
  return object("A time when the cluster could not be seen.",
                field<&BlindGap::start_time>("startTime", "When it was seen last.", {.required = true}),
                field<&BlindGap::end_time>("endTime", "When it was seen again; absent: not yet."));
}

// A lock like Machine.status.operation: what is done to the control plane, by the guard's grant.
struct ClusterOperation {
  Text id, type, component;
  WallTime start_time{}, deadline{};
  friend bool operator==(const ClusterOperation&, const ClusterOperation&) = default;
};
consteval auto describe(const ClusterOperation*) {
  using S = ClusterOperation;
  return object("What is being done to the control plane, by the guard's grant.",
                field<&S::id>("id", "The grant's id.", {.required = true, .min_length = 1, .max_length = 64}),
                field<&S::type>("type", "What is being done, as budgets name it: ControlPlaneUpdate, ...",
                                {.required = true, .min_length = 1, .max_length = 63}),
                field<&S::component>("component", "To which component; absent: to all.", text(63)),
                field<&S::start_time>("startTime", "When it was granted."),
                field<&S::deadline>("deadline", "It counts no more after that."));
}

struct BreakGlassStatus {
  Text text, by, reason, state;
  WallTime start_time{}, end_time{};
  friend bool operator==(const BreakGlassStatus&, const BreakGlassStatus&) = default;
};
consteval auto describe(const BreakGlassStatus*) {
  using S = BreakGlassStatus;
  return object("The last use of endstate.dev/break-glass. The same text is never accepted twice.",
                field<&S::text>("text", "The annotation's text.", {.required = true, .min_length = 1, .max_length = 512}),
                field<&S::by>("by", "Who, as the admission policy checked it.", text(253)),
                field<&S::reason>("reason", "Why, for people.", text(512)),
                field<&S::state>("state", "Active, Ended, or Refused.", text(63)),
                field<&S::start_time>("startTime", "When it was first seen."),
                field<&S::end_time>("endTime", "When it ends or ended: what it says, at most 4 hours."));
}

struct ClusterStatus {
  std::optional<std::int64_t> observed_generation;
  ClusterPhase phase{};
  ControlPlaneStatus control_plane;
  std::optional<ClusterMachines> machines;
  std::vector<BlindGap> blind;
  std::vector<ClusterOperation> operations;
  std::optional<BreakGlassStatus> break_glass;
  std::optional<BlockedBy> blocked_by;
  std::vector<AddonStatus> addons;
  std::vector<Release> history;
  std::vector<Condition> conditions;
  friend bool operator==(const ClusterStatus&, const ClusterStatus&) = default;
};
consteval auto describe(const ClusterStatus*) {
  using S = ClusterStatus;
  return object(
      "What the cluster is.",
      field<&S::observed_generation>("observedGeneration", "The metadata.generation that this was made from.", counter),
      field<&S::phase>("phase", "Where it is in its life, for people; loops read the conditions.", {.required = true}),
      field<&S::control_plane>("controlPlane", "What its control plane is."), field<&S::machines>("machines", "Its Machines, counted."),
      field<&S::blind>("blind", "The last 16 times of 30 s or more when it could not be seen.", {.max_items = 16, .atomic = true}),
      field<&S::operations>("operations", "What is being done to its control plane now.", list(8, "id")),
      field<&S::break_glass>("breakGlass", "The last use of endstate.dev/break-glass."),
      field<&S::blocked_by>("blockedBy", "What keeps it from going on; absent: nothing."),
      field<&S::addons>("addons", "Of Hosted: what was brought into it.", list(34, "name")),
      field<&S::history>("history", "The last 20 releases, the newest last.", {.max_items = 20, .atomic = true}),
      field<&S::conditions>("conditions",
                            "Its conditions: Ready, Reconciling, Stalled, Connected, RightsComplete, MachinesReady; of Hosted: "
                            "ControlPlaneReady, CertificatesReady, "
                            "EtcdBackedUp, AddonsReady.",
                            condition_list));
}

struct Cluster {
  ObjectMeta metadata;
  ClusterSpec spec;
  ClusterStatus status;
  friend bool operator==(const Cluster&, const Cluster&) = default;
};
consteval auto describe(const Cluster*) {
  using T = Cluster;
  return object("A business cluster: its control plane, and what its machines belong to.",
                field<&T::metadata>("metadata", "Standard object metadata."),
                field<&T::spec>("spec", "What it should be.", {.required = true}),
                field<&T::status>("status", "What it is; written by endstate."))
      .check("size(self.metadata.name) <= 63 && !self.metadata.name.contains('.')",
             "a Cluster's name is a label's value: at most 63 characters, no dots")
      .check("self.spec.controlPlane.type != 'Hosted' || size(self.metadata.name) <= 40",
             "a Hosted Cluster's name begins the names of its children: at most 40 characters");
}
constexpr Resource resource(const Cluster*) { return api("clusters", "Cluster", true); }
inline constexpr Column cluster_columns[] = {
    {"Phase", "string", ".status.phase", "Where it is in its life."},
    {"Ready", "string", ".status.conditions[?(@.type==\"Ready\")].status", "Whether it does its work."},
    {"Version", "string", ".status.controlPlane.version", "Its Kubernetes version."},
    {"Machines", "integer", ".status.machines.replicas", "How many machines it has."},
    {"Machines ready", "integer", ".status.machines.readyReplicas", "How many of them are Ready."},
    {"Age", "date", ".metadata.creationTimestamp", "Since when it exists."},
    {"Type", "string", ".spec.controlPlane.type", "Who runs its control plane.", 1},
    {"Package version", "string", ".spec.packageVersion.name", "The version that its control plane should have.", 1},
    {"Rejected", "string", ".status.controlPlane.rejectedPackageVersion", "The version that failed.", 1},
    {"Reason", "string", ".status.conditions[?(@.type==\"Ready\")].reason", "Why it is ready or not.", 1},
};
constexpr Crd crd(const Cluster*) { return {.singular = "cluster", .short_name = "ecl", .category = category, .columns = cluster_columns}; }

}  // namespace endstate::v1alpha1
