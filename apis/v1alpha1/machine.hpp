// Machine: one worker of a cluster. Host: the hardware that one runs on. HostAssignment: what a host may do now.
//
// Wish and permission are two things: Machine.spec is what should be (its set's or its user's), HostAssignment.spec what the host may
// do now (the machine loop's, after the guard's grant and the drain). The agent obeys its HostAssignment only.
#pragma once
#include "apis/v1alpha1/packages.hpp"

namespace endstate::v1alpha1 {

// ---- Machine ----

struct PackageSlot {
  Text name;
  NameRef version_ref;
  friend bool operator==(const PackageSlot&, const PackageSlot&) = default;
};
consteval auto describe(const PackageSlot*) {
  return object("A place for a package on a machine.",
                field<&PackageSlot::name>("name", "The slot, the key of the list: an upgrade edits versionRef, never this.", slot_name),
                field<&PackageSlot::version_ref>("versionRef", "The MachinePackageVersion that it holds.", {.required = true}));
}

struct Deletion {
  std::optional<std::chrono::seconds> node_drain_timeout, node_deletion_timeout, node_volume_detach_timeout;
  friend bool operator==(const Deletion&, const Deletion&) = default;
};
consteval auto describe(const Deletion*) {
  return object(
      "Deadlines of taking pods off a machine and of its deletion.",
      field<&Deletion::node_drain_timeout>("nodeDrainTimeoutSeconds",
                                           "Longest drain; past it pods that can't be evicted are left behind. Unset: 600.",
                                           duration(1, 604'800)),
      field<&Deletion::node_deletion_timeout>("nodeDeletionTimeoutSeconds", "Longest try to delete the Node; unset: 300.",
                                              duration(1, 86'400)),
      field<&Deletion::node_volume_detach_timeout>(
          "nodeVolumeDetachTimeoutSeconds",
          "Longest wait, after the drain, for volumes that are still attached to the Node; past it the deletion goes on. Unset: 300.",
          duration(1, 86'400)));
}
inline std::chrono::seconds volume_detach_timeout(const Deletion& d) {
  return d.node_volume_detach_timeout.value_or(std::chrono::seconds(300));
}
inline std::chrono::seconds drain_timeout(const Deletion& d) { return d.node_drain_timeout.value_or(std::chrono::seconds(600)); }
inline std::chrono::seconds node_deletion_timeout(const Deletion& d) { return d.node_deletion_timeout.value_or(std::chrono::seconds(300)); }

// Rules of the fields that MachineSpec and MachineTemplateSpec (machine_set.hpp) have in common.
namespace machine_fields {
inline constexpr std::string_view packages_doc = "What is installed, in this order.";
inline constexpr std::string_view gates_doc =
    "Conditions that must be True before pods may come, beside the Node's Ready and those of the packages.";
inline constexpr std::string_view taints_doc = "Taints of its Node, kept there.";
inline constexpr std::string_view labels_doc = "Labels of its Node, kept there.";
inline constexpr std::string_view deletion_doc = "Deadlines of taking pods off and of its deletion.";
inline constexpr Rules packages{.max_items = 32, .list_key = "name"};
inline constexpr Rules gates{.max_items = 32, .list_key = "conditionType"};
inline constexpr Rules taints{.max_items = 16,
                              .atomic = true,
                              .cel = {{{"self.all(t, self.exists_one(o, o.key == t.key && o.effect == t.effect))",
                                        "two taints have the same key and effect: keep one of them, as Kubernetes does"}}}};
inline constexpr Rules labels{
    .max_length = 63,
    .max_properties = 32,
    .pattern = label_value,
    .cel = {
        {{"self.all(k, !k.startsWith('endstate.dev/'))", "labels endstate.dev/... are endstate's own; choose another key"}, label_keys}}};
}  // namespace machine_fields

struct MachineSpec {
  Text cluster_name, host_name, provider_id;
  std::vector<PackageSlot> packages;
  std::vector<ReadinessGate> readiness_gates;
  std::vector<NodeTaint> taints;
  Labels labels;
  Deletion deletion;
  std::optional<bool> paused;
  friend bool operator==(const MachineSpec&, const MachineSpec&) = default;
};
consteval auto describe(const MachineSpec*) {
  using S = MachineSpec;
  return object(
             "What a machine should be.",
             field<&S::cluster_name>("clusterName", "The Cluster that it joins, in the same namespace.",
                                     {.required = true,
                                      .min_length = 1,
                                      .max_length = 63,
                                      .pattern = dns_label,
                                      .cel = {{{"self == oldSelf", "clusterName can't change: delete the Machine and create another"}}}}),
             field<&S::host_name>("hostName", "The Host that it must run on, in the same namespace; absent: any free one.",
                                  {.max_length = 63, .pattern = dns_label}),
             field<&S::provider_id>("providerID", "The providerID that its Node must have; absent: any.", text(512)),
             field<&S::packages>("packages", machine_fields::packages_doc, machine_fields::packages),
             field<&S::readiness_gates>("readinessGates", machine_fields::gates_doc, machine_fields::gates),
             field<&S::taints>("taints", machine_fields::taints_doc, machine_fields::taints),
             field<&S::labels>("labels", machine_fields::labels_doc, machine_fields::labels),
             field<&S::deletion>("deletion", machine_fields::deletion_doc),
             field<&S::paused>("paused", "No loop touches it; unset: false."))
      .check("!has(oldSelf.hostName) || (has(self.hostName) && self.hostName == oldSelf.hostName)",
             "hostName can't change once it is set: delete the Machine and create another")
      .check("!has(oldSelf.providerID) || (has(self.providerID) && self.providerID == oldSelf.providerID)",
             "providerID can't change once it is set: delete the Machine and create another");
}

enum class MachinePhase : std::uint8_t { pending, provisioning, joining, running, updating, draining, deleting, failed };
consteval auto describe(const MachinePhase*) {
  return names("Where a machine is in its life.", "Pending", "Provisioning", "Joining", "Running", "Updating", "Draining", "Deleting",
               "Failed");
}

// In rising order of precedence: Delete > Rollback > Reinstall, Repair > Update; Create is never preempted but by Delete.
enum class OperationType : std::uint8_t { create, update, repair, reinstall, rollback, delete_ };
consteval auto describe(const OperationType*) {
  return names("What is being done to a machine.", "Create", "Update", "Repair", "Reinstall", "Rollback", "Delete");
}

// The lock: while it stands, no other operation starts on the machine. Written by the machine loop only.
struct Operation {
  Text id;
  OperationType type{};
  Text owner, revision;
  std::int64_t attempt = 0;
  WallTime start_time{}, deadline{}, drain_start_time{}, node_deletion_start_time{};
  friend bool operator==(const Operation&, const Operation&) = default;
};
consteval auto describe(const Operation*) {
  using S = Operation;
  return object("What is being done to the machine now, by the guard's grant.",
                field<&S::id>("id", "The grant's id.", {.required = true, .min_length = 1, .max_length = 64}),
                field<&S::type>("type", "What is being done.", {.required = true}),
                field<&S::owner>("owner", "Who wants it: machineset, machine, repair, user.", text(63)),
                field<&S::revision>("revision", "The revision that it leads to.", text(63)),
                field<&S::attempt>("attempt", "Which try it is, from 0.", counter),
                field<&S::start_time>("startTime", "When it was granted."),
                field<&S::deadline>("deadline", "It has failed if it isn't done by then."),
                field<&S::drain_start_time>("drainStartTime", "When taking the pods off began; absent: not begun."),
                field<&S::node_deletion_start_time>("nodeDeletionStartTime", "When deleting the Node began; absent: not begun."));
}

enum class OperationResult : std::uint8_t { succeeded, failed, lost, superseded };
consteval auto describe(const OperationResult*) {
  return names(
      "How an operation ended. Lost: the host died meanwhile, which doesn't condemn the revision. Superseded: another took its place.",
      "Succeeded", "Failed", "Lost", "Superseded");
}

struct LastOperation {
  Text id;
  OperationType type{};
  Text revision;
  std::int64_t attempt = 0;
  OperationResult result{};
  Text reason, message;
  WallTime start_time{}, end_time{};
  friend bool operator==(const LastOperation&, const LastOperation&) = default;
};
consteval auto describe(const LastOperation*) {
  using S = LastOperation;
  return object("The operation that ended last; the guard frees its grant when it sees this.",
                field<&S::id>("id", "The grant's id.", {.required = true, .min_length = 1, .max_length = 64}),
                field<&S::type>("type", "What was done.", {.required = true}),
                field<&S::revision>("revision", "The revision that it led to.", text(63)),
                field<&S::attempt>("attempt", "Which try it was, from 0.", counter),
                field<&S::result>("result", "How it ended.", {.required = true}),
                field<&S::reason>("reason", "Why, in one CamelCase word; docs/runbook has a page for each.", text(128)),
                field<&S::message>("message", "Why, for people.", text(1024)), field<&S::start_time>("startTime", "When it was granted."),
                field<&S::end_time>("endTime", "When it ended."));
}

struct UidRef {
  Text name, uid;
  friend bool operator==(const UidRef&, const UidRef&) = default;
};
consteval auto describe(const UidRef*) {
  return object("One certain object: the same name with another uid is another one.",
                field<&UidRef::name>("name", "Its name.", {.required = true, .min_length = 1, .max_length = 253}),
                field<&UidRef::uid>("uid", "Its uid; absent: not known yet.", text(64)));
}

struct MachineAddress {
  Text type, address;
  friend bool operator==(const MachineAddress&, const MachineAddress&) = default;
};
consteval auto describe(const MachineAddress*) {
  return object("An address of the machine.",
                field<&MachineAddress::type>("type", "Hostname, InternalIP, ExternalIP, InternalDNS or ExternalDNS.",
                                             {.required = true, .min_length = 1, .max_length = 63}),
                field<&MachineAddress::address>("address", "The address.", {.required = true, .min_length = 1, .max_length = 256}));
}

// A MachinePackageVersion as it was resolved: its name, its uid, and the digest of its spec (hash_of its canonical JSON).
struct PackageIdentity {
  Text name, uid, digest;
  friend bool operator==(const PackageIdentity&, const PackageIdentity&) = default;
};
consteval auto describe(const PackageIdentity*) {
  return object("One certain package version.",
                field<&PackageIdentity::name>("name", "The MachinePackageVersion.", {.required = true, .min_length = 1, .max_length = 253}),
                field<&PackageIdentity::uid>("uid", "Its uid.", text(64)),
                field<&PackageIdentity::digest>("digest", "The digest of its spec.", text(64)));
}

enum class PackageState : std::uint8_t { pending, prefetched, waiting, applying, probing, ready, failed, drifted, unknown };
consteval auto describe(const PackageState*) {
  return names("Where a package is on a machine.", "Pending", "Prefetched", "Waiting", "Applying", "Probing", "Ready", "Failed", "Drifted",
               "Unknown");
}

struct MachinePackageStatus {
  Text name;
  std::optional<PackageIdentity> desired, actual;
  PackageState state{};
  Text reason, message;
  std::int64_t attempts = 0;
  friend bool operator==(const MachinePackageStatus&, const MachinePackageStatus&) = default;
};
consteval auto describe(const MachinePackageStatus*) {
  using S = MachinePackageStatus;
  return object("One package on the machine.", field<&S::name>("name", "Its slot.", slot_name),
                field<&S::desired>("desired", "What should be there; absent: it couldn't be resolved."),
                field<&S::actual>("actual", "What is there; absent: nothing, or not known."),
                field<&S::state>("state", "Where it is.", {.required = true}),
                field<&S::reason>("reason", "Why, in one CamelCase word.", text(128)),
                field<&S::message>("message", "Why, for people.", text(1024)),
                field<&S::attempts>("attempts", "How often the host has tried this version.", counter));
}

// What endstate set on the Node, so that nothing else is ever taken off it. Kept here and not at the Node, where its kubelet could write.
struct OwnedTaint {
  Text key;
  TaintEffect effect{};
  friend bool operator==(const OwnedTaint&, const OwnedTaint&) = default;
};
consteval auto describe(const OwnedTaint*) {
  return object("A taint that endstate set.",
                field<&OwnedTaint::key>("key", "Its key.", {.required = true, .min_length = 1, .max_length = 317}),
                field<&OwnedTaint::effect>("effect", "Its effect.", {.required = true}));
}
struct OwnedNodeParts {
  std::vector<Text> labels;
  std::vector<OwnedTaint> taints;
  friend bool operator==(const OwnedNodeParts&, const OwnedNodeParts&) = default;
};
consteval auto describe(const OwnedNodeParts*) {
  using S = OwnedNodeParts;
  return object("What endstate set on the Node and takes off it again.",
                field<&S::labels>("labels", "Keys of labels.", {.max_length = 317, .max_items = 64, .set = true}),
                field<&S::taints>("taints", "Taints.", {.max_items = 32, .atomic = true}));
}

struct MachineStatus {
  std::optional<std::int64_t> observed_generation;
  MachinePhase phase{};
  std::optional<Operation> operation;
  std::optional<LastOperation> last_operation;
  std::optional<BlockedBy> blocked_by;
  Text revision;
  std::optional<UidRef> host_ref, node_ref;
  std::optional<OwnedNodeParts> owned;
  Text failure_domain, boot_id;
  std::int64_t restarts = 0;
  std::vector<MachineAddress> addresses;
  std::vector<MachinePackageStatus> packages;
  std::vector<Condition> conditions;
  friend bool operator==(const MachineStatus&, const MachineStatus&) = default;
};
consteval auto describe(const MachineStatus*) {
  using S = MachineStatus;
  return object(
      "What a machine is.",
      field<&S::observed_generation>("observedGeneration", "The metadata.generation that this was made from.", counter),
      field<&S::phase>("phase", "Where it is in its life, for people; loops read the conditions.", {.required = true}),
      field<&S::operation>("operation", "What is being done to it now; absent: nothing. A lock: one at a time."),
      field<&S::last_operation>("lastOperation", "What was done to it last."),
      field<&S::blocked_by>("blockedBy", "What keeps it from going on; absent: nothing."),
      field<&S::revision>(
          "revision",
          "The revision that it was brought to: assigned, seen by its agent, nothing under way and nothing failed. A rollout "
          "counts by this, not by the wish.",
          text(63)),
      field<&S::host_ref>("hostRef", "The Host that it runs on, in the same namespace."),
      field<&S::node_ref>("nodeRef", "Its Node, in its cluster."),
      field<&S::owned>("owned", "What endstate set on its Node; absent: nothing yet, or by an older version."),
      field<&S::failure_domain>("failureDomain", "Where its Host stands: <idc>/<rack>.", text(256)),
      field<&S::boot_id>("bootID", "The boot of its Host that it was seen in last.", text(64)),
      field<&S::restarts>("restarts", "How often its Host has rebooted, not asked to, since the machine was given its revision.", counter),
      field<&S::addresses>("addresses", "Its addresses, from its Node.", {.max_items = 32, .atomic = true}),
      field<&S::packages>("packages", "Each package: wanted, there, and what is happening.", list(32, "name")),
      field<&S::conditions>("conditions",
                            "Its conditions: Ready, Reconciling, Stalled, HostClaimed, PackagesReady, NodeReady, each readiness gate, "
                            "SchedulingOpen, Drained.",
                            condition_list));
}

struct Machine {
  ObjectMeta metadata;
  MachineSpec spec;
  MachineStatus status;
  friend bool operator==(const Machine&, const Machine&) = default;
};
consteval auto describe(const Machine*) {
  using T = Machine;
  return object("A worker of a cluster: claims a Host, has packages installed on it, and joins it to the cluster as a Node.",
                field<&T::metadata>("metadata", "Standard object metadata."),
                field<&T::spec>("spec", "What it should be. Of a Machine that belongs to a MachineSet: written by that set.",
                                {.required = true}),
                field<&T::status>("status", "What it is; written by endstate."))
      .check("size(self.metadata.name) <= 63", "a Machine's name is a label's value and must be at most 63 characters");
}
constexpr Resource resource(const Machine*) { return api("machines", "Machine", true); }
inline constexpr Column machine_columns[] = {
    {"Cluster", "string", ".spec.clusterName", "The cluster that it is part of."},
    {"Host", "string", ".status.hostRef.name", "The Host that it runs on."},
    {"Phase", "string", ".status.phase", "Where it is in its life."},
    {"Ready", "string", ".status.conditions[?(@.type==\"Ready\")].status", "Whether it does its work."},
    {"Revision", "string", ".metadata.labels.endstate\\.dev/revision", "The revision that it should have."},
    {"Operation", "string", ".status.operation.type", "What is being done to it."},
    {"Age", "date", ".metadata.creationTimestamp", "Since when it exists."},
    {"Reason", "string", ".status.conditions[?(@.type==\"Ready\")].reason", "Why it is ready or not.", 1},
    {"Blocked by", "string", ".status.blockedBy.message", "What keeps it from going on.", 1},
    {"Domain", "string", ".status.failureDomain", "Where its Host stands.", 1},
    {"Node", "string", ".status.nodeRef.name", "Its Node.", 1},
    {"Address", "string", ".status.addresses[?(@.type==\"InternalIP\")].address", "Its internal address.", 1},
};
constexpr Crd crd(const Machine*) { return {.singular = "machine", .short_name = "ema", .category = category, .columns = machine_columns}; }

// ---- Host ----

struct Hardware {
  Text idc, room, rack, serial_number, vendor, model;
  friend bool operator==(const Hardware&, const Hardware&) = default;
};
consteval auto describe(const Hardware*) {
  return object("What the host is and where it stands.", field<&Hardware::idc>("idc", "The data centre.", text(63)),
                field<&Hardware::room>("room", "The room.", text(63)), field<&Hardware::rack>("rack", "The rack.", text(63)),
                field<&Hardware::serial_number>("serialNumber", "The maker's serial number.", text(128)),
                field<&Hardware::vendor>("vendor", "The maker.", text(63)),
                field<&Hardware::model>("model", "The maker's model.", text(128)));
}

struct ConsumerRef {
  Text kind, name_space, name, uid;
  friend bool operator==(const ConsumerRef&, const ConsumerRef&) = default;
};
consteval auto describe(const ConsumerRef*) {
  return object(
      "Who has the host.",
      field<&ConsumerRef::kind>("kind", "The kind of the one who has it: Machine.", {.required = true, .min_length = 1, .max_length = 63}),
      field<&ConsumerRef::name_space>("namespace", "Its namespace.", text(63)),
      field<&ConsumerRef::name>("name", "Its name.", required_name),
      field<&ConsumerRef::uid>("uid", "Its uid: the truth of the claim.", {.required = true, .min_length = 1, .max_length = 64}));
}

struct Maintenance {
  Text reason, owner;
  friend bool operator==(const Maintenance&, const Maintenance&) = default;
};
consteval auto describe(const Maintenance*) {
  return object("Somebody works on the host: it isn't claimed, and what endstate sees of it is no fault.",
                field<&Maintenance::reason>("reason", "Why, for people.", {.required = true, .min_length = 1, .max_length = 256}),
                field<&Maintenance::owner>("owner", "Who, for people.", text(128)));
}

struct HostSpec {
  Text address;
  Hardware hardware;
  Text driver;
  std::optional<ConsumerRef> consumer_ref;
  std::optional<Maintenance> maintenance;
  friend bool operator==(const HostSpec&, const HostSpec&) = default;
};
consteval auto describe(const HostSpec*) {
  using S = HostSpec;
  return object("What is known of a host, and who has it.",
                field<&S::address>("address", "The address that it is reached at: an IP address or a DNS name.",
                                   {.required = true,
                                    .min_length = 1,
                                    .max_length = 253,
                                    .pattern = "^([0-9A-Fa-f:.]+|[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*)$"}),
                field<&S::hardware>("hardware", "What it is and where it stands."),
                field<&S::driver>("driver", "Who can power-cycle and reinstall it; absent: nobody, only what its agent can do.",
                                  {.max_length = 63, .pattern = dns_label}),
                field<&S::consumer_ref>("consumerRef", "Who has it; absent: it is free. Written by endstate's machine loop only."),
                field<&S::maintenance>("maintenance", "Somebody works on it; absent: nobody does."));
}

enum class HostPhase : std::uint8_t { registered, ready, maintenance, failed };
consteval auto describe(const HostPhase*) {
  return names("How the host itself is, whoever has it.", "Registered", "Ready", "Maintenance", "Failed");
}

struct Agent {
  Text version, boot_id;
  friend bool operator==(const Agent&, const Agent&) = default;
};
consteval auto describe(const Agent*) {
  return object("The agent on the host.", field<&Agent::version>("version", "Its version.", text(63)),
                field<&Agent::boot_id>("bootID", "The kernel's id of this boot: it changes with every reboot.", text(64)));
}

inline constexpr Rules capacity_rules{.max_length = 32, .max_properties = 32};
struct HostStatus {
  std::optional<std::int64_t> observed_generation, identity;
  HostPhase phase{};
  std::optional<Agent> agent;
  Labels capacity;
  std::vector<Condition> conditions;
  friend bool operator==(const HostStatus&, const HostStatus&) = default;
};
consteval auto describe(const HostStatus*) {
  using S = HostStatus;
  return object(
      "How a host is.", field<&S::observed_generation>("observedGeneration", "The metadata.generation that this was made from.", counter),
      field<&S::identity>(
          "identity",
          "Counts its enrolments: certificates of a lower number have no rights any more. Absent: 0, not enrolled since this "
          "is counted.",
          counter),
      field<&S::phase>("phase", "How the host itself is, whoever has it."), field<&S::agent>("agent", "The agent on it."),
      field<&S::capacity>(
          "capacity", "What it has: cpu, memory, pods, as quantities; and endstate.dev/free-disk: bytes that are free where packages go.",
          capacity_rules),
      field<&S::conditions>("conditions", "Its conditions: Ready, AgentAlive, and what the agent reports.", condition_list));
}

struct Host {
  ObjectMeta metadata;
  HostSpec spec;
  HostStatus status;
  friend bool operator==(const Host&, const Host&) = default;
};
consteval auto describe(const Host*) {
  using T = Host;
  return object("A piece of hardware (or a virtual machine) that a Machine can claim.",
                field<&T::metadata>("metadata", "Standard object metadata."),
                field<&T::spec>("spec", "What is known of it, and who has it.", {.required = true}),
                field<&T::status>("status", "How it is; written by endstate and by the agent at enrolment."))
      .check("size(self.metadata.name) <= 63 && !self.metadata.name.contains('.')",
             "a Host's name is its Node's name and a label's value: at most 63 characters, no dots");
}
constexpr Resource resource(const Host*) { return api("hosts", "Host", true); }
inline constexpr Column host_columns[] = {
    {"Phase", "string", ".status.phase", "How it is."},
    {"Consumer", "string", ".spec.consumerRef.name", "Who has it."},
    {"Address", "string", ".spec.address", "Where it is reached."},
    {"IDC", "string", ".spec.hardware.idc", "The data centre."},
    {"Rack", "string", ".spec.hardware.rack", "The rack."},
    {"Age", "date", ".metadata.creationTimestamp", "Since when it exists."},
    {"Consumer namespace", "string", ".spec.consumerRef.namespace", "The namespace of who has it.", 1},
    {"Agent", "string", ".status.agent.version", "The agent's version.", 1},
    {"Maintenance", "string", ".spec.maintenance.reason", "Why somebody works on it.", 1},
    {"Serial", "string", ".spec.hardware.serialNumber", "The maker's serial number.", 1},
};
constexpr Crd crd(const Host*) { return {.singular = "host", .short_name = "eho", .category = category, .columns = host_columns}; }

// "<idc>/<rack>", with what is known of it; empty: nothing is.
inline std::string failure_domain(const Hardware& h) {
  if (h.rack.empty()) return h.idc.str();
  return h.idc.str() + "/" + h.rack.str();
}

// ---- HostAssignment ----

enum class AssignmentState : std::uint8_t { active, released };
consteval auto describe(const AssignmentState*) {
  return names("Active: be this machine. Released: stop, undo, and be free.", "Active", "Released");
}
enum class RequestType : std::uint8_t { reboot, restart, wipe };
consteval auto describe(const RequestType*) { return names("Something to do once.", "Reboot", "Restart", "Wipe"); }

struct HostRequest {
  Text id;
  RequestType type{};
  friend bool operator==(const HostRequest&, const HostRequest&) = default;
};
consteval auto describe(const HostRequest*) {
  return object("Something that the host does once.",
                field<&HostRequest::id>("id", "Tells it apart: the same id is never done twice.",
                                        {.required = true, .min_length = 1, .max_length = 64}),
                field<&HostRequest::type>("type", "What to do.", {.required = true}));
}

// The spec is kept as text: 10,000 assignments of one revision hold it once, and the operator compares digests only.
struct ResolvedPackage {
  Text name;
  PackageIdentity version;
  JsonOf<MachinePackageVersionSpec> spec;
  friend bool operator==(const ResolvedPackage&, const ResolvedPackage&) = default;
};
consteval auto describe(const ResolvedPackage*) {
  return object("A package in full, so that the host needs to read nothing else.",
                field<&ResolvedPackage::name>("name", "Its slot.", slot_name),
                field<&ResolvedPackage::version>("version", "Which version it is.", {.required = true}),
                field<&ResolvedPackage::spec>("spec", "The MachinePackageVersion's spec.", {.required = true}));
}

struct HostAssignmentSpec {
  AssignmentState state{};
  Text machine_uid, node_name, revision, grant_id;
  std::optional<std::int64_t> identity;
  std::vector<ResolvedPackage> packages;
  std::vector<PackageFile> files;
  std::vector<HostRequest> requests;
  friend bool operator==(const HostAssignmentSpec&, const HostAssignmentSpec&) = default;
};
consteval auto describe(const HostAssignmentSpec*) {
  using S = HostAssignmentSpec;
  return object(
      "What a host may do now. Written by endstate's machine loop only.",
      field<&S::state>("state", "Be a machine, or be free.", {.required = true}),
      field<&S::machine_uid>("machineUID", "The uid of the Machine that it is for.", {.required = true, .min_length = 1, .max_length = 64}),
      field<&S::node_name>("nodeName", "The name that its Node registers with.", {.max_length = 63, .pattern = dns_label}),
      field<&S::revision>("revision", "The revision that the packages are.", text(63)),
      field<&S::grant_id>("grantID", "The guard's grant that allowed this.", text(64)),
      field<&S::identity>("identity",
                          "The Host's status.identity: an agent with a certificate of another number may not report. Absent: 0.", counter),
      field<&S::packages>("packages", "The packages, in full and in order.", list(32, "name")),
      field<&S::files>("files", "Files of the machine itself, beside those of its packages.", list(32, "path")),
      field<&S::requests>("requests", "What to do once.", list(16, "id")));
}

struct PackageReport {
  Text name;
  std::optional<PackageIdentity> actual;
  PackageState state{};
  Text reason, message;
  std::int64_t attempts = 0;
  friend bool operator==(const PackageReport&, const PackageReport&) = default;
};
consteval auto describe(const PackageReport*) {
  using S = PackageReport;
  return object(
      "One package, as the agent sees it.", field<&S::name>("name", "Its slot.", slot_name),
      field<&S::actual>("actual", "What is installed; absent: nothing."), field<&S::state>("state", "Where it is.", {.required = true}),
      field<&S::reason>("reason", "Why, in one CamelCase word.", text(128)), field<&S::message>("message", "Why, for people.", text(1024)),
      field<&S::attempts>("attempts", "How often this version was tried.", counter));
}

enum class RequestState : std::uint8_t { pending, running, done, failed };
consteval auto describe(const RequestState*) { return names("Where a request is.", "Pending", "Running", "Done", "Failed"); }

struct RequestReport {
  Text id;
  RequestState state{};
  Text message;
  friend bool operator==(const RequestReport&, const RequestReport&) = default;
};
consteval auto describe(const RequestReport*) {
  return object("One request, as the agent sees it.",
                field<&RequestReport::id>("id", "Which.", {.required = true, .min_length = 1, .max_length = 64}),
                field<&RequestReport::state>("state", "Where it is.", {.required = true}),
                field<&RequestReport::message>("message", "Why, for people.", text(1024)));
}

struct HostAssignmentStatus {
  std::optional<std::int64_t> observed_generation;
  Text observed_revision;
  std::vector<PackageReport> packages;
  std::vector<RequestReport> requests;
  std::optional<Agent> agent;
  Labels capacity;
  std::vector<Condition> conditions;
  friend bool operator==(const HostAssignmentStatus&, const HostAssignmentStatus&) = default;
};
consteval auto describe(const HostAssignmentStatus*) {
  using S = HostAssignmentStatus;
  return object("What the host has done. Written by that host's agent only.",
                field<&S::observed_generation>("observedGeneration", "The metadata.generation that the agent has seen.", counter),
                field<&S::observed_revision>("observedRevision", "The revision that the agent has worked on.", text(63)),
                field<&S::packages>("packages", "Each package, as the agent sees it.", list(64, "name")),
                field<&S::requests>("requests", "Each request, as the agent sees it.", list(16, "id")),
                field<&S::agent>("agent", "The agent."), field<&S::capacity>("capacity", "What the host has.", capacity_rules),
                field<&S::conditions>("conditions", "What the agent reports.", condition_list));
}

struct HostAssignment {
  ObjectMeta metadata;
  HostAssignmentSpec spec;
  HostAssignmentStatus status;
  friend bool operator==(const HostAssignment&, const HostAssignment&) = default;
};
consteval auto describe(const HostAssignment*) {
  using T = HostAssignment;
  return object(
      "What one host of this cluster may do now, and what it has done. Named by the uid of its Host. The protocol between endstate and its "
      "agents.",
      field<&T::metadata>("metadata", "Standard object metadata."),
      field<&T::spec>("spec", "What the host may do now.", {.required = true}),
      field<&T::status>("status", "What it has done; written by its agent."));
}
constexpr Resource resource(const HostAssignment*) { return api("hostassignments", "HostAssignment", false); }
inline constexpr Column host_assignment_columns[] = {
    {"Node", "string", ".spec.nodeName", "The Node's name."},
    {"State", "string", ".spec.state", "Whether it is in use."},
    {"Revision", "string", ".spec.revision", "The revision that it may have."},
    {"Observed", "string", ".status.observedRevision", "The revision that the agent has worked on."},
    {"Agent", "string", ".status.agent.version", "The agent's version."},
    {"Age", "date", ".metadata.creationTimestamp", "Since when it exists."},
    {"Machine UID", "string", ".spec.machineUID", "The Machine that it is for.", 1},
    {"Grant", "string", ".spec.grantID", "The grant that allowed it.", 1},
};
constexpr Crd crd(const HostAssignment*) {
  return {.singular = "hostassignment", .short_name = "eha", .category = category, .columns = host_assignment_columns};
}

}  // namespace endstate::v1alpha1
