// What the fleet reads and writes, as an agent and a kubelet see it. A described type is the projection: the watches decode nothing else.
// (Host is v1alpha1's own; a kubelet writes more of a Node than any loop reads, so Node and Pod here are the kubelet's.)
#pragma once
#include <optional>
#include <vector>

#include "apis/v1alpha1/machine.hpp"
#include "reconcile/kube/kind.hpp"

namespace endstate::fleet {

using reconcile::field, reconcile::object;
using reconcile::Labels, reconcile::MicroTime, reconcile::MonoTime, reconcile::Now, reconcile::ObjectMeta, reconcile::Resource,
    reconcile::Text, reconcile::WallTime;
using v1alpha1::PackageIdentity;

// ---- HostAssignment, without what a simulated host doesn't do: files, units, artifacts ----

struct AgentPackageSpec {
  Text package_name, version;
  std::vector<v1alpha1::PackageRequirement> requires_;
  friend bool operator==(const AgentPackageSpec&, const AgentPackageSpec&) = default;
};
consteval auto describe(const AgentPackageSpec*) {
  using S = AgentPackageSpec;
  return object("What a host must know to order its work.", field<&S::package_name>("packageName", "What it is a version of."),
                field<&S::version>("version", "Its version."), field<&S::requires_>("requires", "Packages that must be Ready before it."));
}
struct AgentPackage {
  Text name;
  PackageIdentity version;
  AgentPackageSpec spec;
  friend bool operator==(const AgentPackage&, const AgentPackage&) = default;
};
consteval auto describe(const AgentPackage*) {
  using S = AgentPackage;
  return object("A package of the assignment.", field<&S::name>("name", "Its slot."), field<&S::version>("version", "Which version."),
                field<&S::spec>("spec", "The package."));
}
struct AgentSpec {
  v1alpha1::AssignmentState state{};
  Text machine_uid, node_name, revision;
  std::vector<AgentPackage> packages;
  std::vector<v1alpha1::HostRequest> requests;
  friend bool operator==(const AgentSpec&, const AgentSpec&) = default;
};
consteval auto describe(const AgentSpec*) {
  using S = AgentSpec;
  return object("What a host may do now.", field<&S::state>("state", "Be a machine, or be free."),
                field<&S::machine_uid>("machineUID", "The Machine that it is for."),
                field<&S::node_name>("nodeName", "The name that its Node registers with."),
                field<&S::revision>("revision", "The revision of the packages."), field<&S::packages>("packages", "In order."),
                field<&S::requests>("requests", "What to do once."));
}
struct Assignment {
  ObjectMeta metadata;
  AgentSpec spec;
  v1alpha1::HostAssignmentStatus status;
  friend bool operator==(const Assignment&, const Assignment&) = default;
};
consteval auto describe(const Assignment*) {
  using S = Assignment;
  return object("A HostAssignment as its agent reads it.", field<&S::metadata>("metadata", "Standard object metadata."),
                field<&S::spec>("spec", "What the host may do now."), field<&S::status>("status", "What it has done."));
}
constexpr Resource resource(const Assignment*) { return resource(static_cast<const v1alpha1::HostAssignment*>(nullptr)); }

// ---- MachinePackageVersion: only its fault annotation is read ----

struct PackageNote {
  ObjectMeta metadata;
  friend bool operator==(const PackageNote&, const PackageNote&) = default;
};
consteval auto describe(const PackageNote*) {
  return object("A MachinePackageVersion's annotations.", field<&PackageNote::metadata>("metadata", "Standard object metadata."));
}
constexpr Resource resource(const PackageNote*) { return resource(static_cast<const v1alpha1::MachinePackageVersion*>(nullptr)); }

// ---- Node ----

struct NodeCondition {
  Text type, status, reason, message;
  WallTime last_heartbeat_time{}, last_transition_time{};
  friend bool operator==(const NodeCondition&, const NodeCondition&) = default;
};
consteval auto describe(const NodeCondition*) {
  using S = NodeCondition;
  return object("core/v1 NodeCondition.", field<&S::type>("type", "Which."), field<&S::status>("status", "True, False, Unknown."),
                field<&S::reason>("reason", "Why."), field<&S::message>("message", "Why, for people."),
                field<&S::last_heartbeat_time>("lastHeartbeatTime", "When it was last said."),
                field<&S::last_transition_time>("lastTransitionTime", "When it last changed."));
}
struct NodeAddress {
  Text type, address;
  friend bool operator==(const NodeAddress&, const NodeAddress&) = default;
};
consteval auto describe(const NodeAddress*) {
  return object("core/v1 NodeAddress.", field<&NodeAddress::type>("type", "Which."),
                field<&NodeAddress::address>("address", "The address."));
}
struct NodeInfo {
  Text architecture, boot_id, container_runtime_version, kernel_version, kubelet_version, machine_id, operating_system, os_image,
      system_uuid;
  friend bool operator==(const NodeInfo&, const NodeInfo&) = default;
};
consteval auto describe(const NodeInfo*) {
  using S = NodeInfo;
  return object("core/v1 NodeSystemInfo.", field<&S::architecture>("architecture", "GOARCH."),
                field<&S::boot_id>("bootID", "Of this boot."),
                field<&S::container_runtime_version>("containerRuntimeVersion", "Name and version."),
                field<&S::kernel_version>("kernelVersion", "The kernel."), field<&S::kubelet_version>("kubeletVersion", "The kubelet."),
                field<&S::machine_id>("machineID", "/etc/machine-id."), field<&S::operating_system>("operatingSystem", "GOOS."),
                field<&S::os_image>("osImage", "The distribution."), field<&S::system_uuid>("systemUUID", "Of the board."));
}
struct NodeStatus {
  Labels capacity, allocatable;
  std::vector<NodeCondition> conditions;
  std::vector<NodeAddress> addresses;
  NodeInfo node_info;
  friend bool operator==(const NodeStatus&, const NodeStatus&) = default;
};
consteval auto describe(const NodeStatus*) {
  using S = NodeStatus;
  return object("core/v1 NodeStatus.", field<&S::capacity>("capacity", "What the host has."),
                field<&S::allocatable>("allocatable", "What pods may have."), field<&S::conditions>("conditions", "How it is."),
                field<&S::addresses>("addresses", "Where it is."), field<&S::node_info>("nodeInfo", "What it runs."));
}
struct Taint {
  Text key, effect;
  friend bool operator==(const Taint&, const Taint&) = default;
};
consteval auto describe(const Taint*) {
  return object("core/v1 Taint.", field<&Taint::key>("key", "Its key."), field<&Taint::effect>("effect", "What it does."));
}
struct NodeSpec {
  Text provider_id;
  std::vector<Taint> taints;
  friend bool operator==(const NodeSpec&, const NodeSpec&) = default;
};
consteval auto describe(const NodeSpec*) {
  return object("core/v1 NodeSpec.", field<&NodeSpec::provider_id>("providerID", "Who made it."),
                field<&NodeSpec::taints>("taints", "Its taints."));
}
struct NewNode {  // what a kubelet registers
  ObjectMeta metadata;
  NodeSpec spec;
  NodeStatus status;
};
consteval auto describe(const NewNode*) {
  return object("core/v1 Node, written.", field<&NewNode::metadata>("metadata", "Standard object metadata."),
                field<&NewNode::spec>("spec", "What it should be."), field<&NewNode::status>("status", "How it is."));
}

// A Node as its kubelet watches it: has somebody deleted it, or said something else about it?
struct SeenCondition {
  Text type, status, reason;
  WallTime last_transition_time{};
  friend bool operator==(const SeenCondition&, const SeenCondition&) = default;
};
consteval auto describe(const SeenCondition*) {
  return object("core/v1 NodeCondition, read.", field<&SeenCondition::type>("type", "Which."),
                field<&SeenCondition::status>("status", "True, False, Unknown."), field<&SeenCondition::reason>("reason", "Why."),
                field<&SeenCondition::last_transition_time>("lastTransitionTime", "When it last changed."));
}
struct SeenInfo {
  Text boot_id, kubelet_version;
  friend bool operator==(const SeenInfo&, const SeenInfo&) = default;
};
consteval auto describe(const SeenInfo*) {
  return object("core/v1 NodeSystemInfo, read.", field<&SeenInfo::boot_id>("bootID", "Of this boot."),
                field<&SeenInfo::kubelet_version>("kubeletVersion", "The kubelet."));
}
struct SeenStatus {
  std::vector<SeenCondition> conditions;
  SeenInfo node_info;
  friend bool operator==(const SeenStatus&, const SeenStatus&) = default;
};
consteval auto describe(const SeenStatus*) {
  return object("core/v1 NodeStatus, read.", field<&SeenStatus::conditions>("conditions", "How it is."),
                field<&SeenStatus::node_info>("nodeInfo", "What it runs."));
}
struct SeenNode {
  ObjectMeta metadata;
  SeenStatus status;
  friend bool operator==(const SeenNode&, const SeenNode&) = default;
};
consteval auto describe(const SeenNode*) {
  return object("core/v1 Node, read.", field<&SeenNode::metadata>("metadata", "Standard object metadata."),
                field<&SeenNode::status>("status", "How it is."));
}
constexpr Resource resource(const SeenNode*) { return {"", "v1", "nodes", "Node", false}; }

// ---- Lease ----

struct LeaseSpec {
  Text holder_identity;
  std::int64_t lease_duration_seconds = 0;
  MicroTime acquire_time{}, renew_time{};
};
consteval auto describe(const LeaseSpec*) {
  using S = LeaseSpec;
  return object("coordination.k8s.io/v1 LeaseSpec.", field<&S::holder_identity>("holderIdentity", "Who."),
                field<&S::lease_duration_seconds>("leaseDurationSeconds", "How long a renewal lasts."),
                field<&S::acquire_time>("acquireTime", "Since when."), field<&S::renew_time>("renewTime", "When last."));
}
struct Lease {
  ObjectMeta metadata;
  LeaseSpec spec;
};
consteval auto describe(const Lease*) {
  return object("coordination.k8s.io/v1 Lease.", field<&Lease::metadata>("metadata", "Standard object metadata."),
                field<&Lease::spec>("spec", "Who lives."));
}
constexpr Resource resource(const Lease*) { return {"coordination.k8s.io", "v1", "leases", "Lease"}; }

// ---- Pod ----

struct Container {
  Text name, image;
  friend bool operator==(const Container&, const Container&) = default;
};
consteval auto describe(const Container*) {
  return object("core/v1 Container.", field<&Container::name>("name", "Its name."), field<&Container::image>("image", "Its image."));
}
struct PodSpec {
  Text node_name, restart_policy;
  std::optional<bool> host_network;
  std::optional<std::int64_t> termination_grace_period_seconds;
  std::vector<Container> containers;
  friend bool operator==(const PodSpec&, const PodSpec&) = default;
};
consteval auto describe(const PodSpec*) {
  using S = PodSpec;
  return object("core/v1 PodSpec.", field<&S::node_name>("nodeName", "Where it is bound."),
                field<&S::restart_policy>("restartPolicy", "Always, OnFailure, Never."),
                field<&S::host_network>("hostNetwork", "It has the host's address."),
                field<&S::termination_grace_period_seconds>("terminationGracePeriodSeconds", "How long it may take to end."),
                field<&S::containers>("containers", "What runs."));
}
struct SeenPodStatus {
  Text phase;
  friend bool operator==(const SeenPodStatus&, const SeenPodStatus&) = default;
};
consteval auto describe(const SeenPodStatus*) {
  return object("core/v1 PodStatus, read.", field<&SeenPodStatus::phase>("phase", "Where it is in its life."));
}
struct Pod {
  ObjectMeta metadata;
  PodSpec spec;
  SeenPodStatus status;
  friend bool operator==(const Pod&, const Pod&) = default;
};
consteval auto describe(const Pod*) {
  return object("core/v1 Pod, read.", field<&Pod::metadata>("metadata", "Standard object metadata."),
                field<&Pod::spec>("spec", "What it should be."), field<&Pod::status>("status", "How it is."));
}
constexpr Resource resource(const Pod*) { return {"", "v1", "pods", "Pod"}; }

struct PodCondition {
  Text type, status;
  WallTime last_transition_time{};
};
consteval auto describe(const PodCondition*) {
  using S = PodCondition;
  return object("core/v1 PodCondition.", field<&S::type>("type", "Which."), field<&S::status>("status", "True or False."),
                field<&S::last_transition_time>("lastTransitionTime", "When it last changed."));
}
struct PodIp {
  Text ip;
};
consteval auto describe(const PodIp*) { return object("core/v1 PodIP.", field<&PodIp::ip>("ip", "The address.")); }
struct RunningState {
  WallTime started_at{};
};
consteval auto describe(const RunningState*) {
  return object("core/v1 ContainerStateRunning.", field<&RunningState::started_at>("startedAt", "Since when."));
}
struct TerminatedState {
  std::int64_t exit_code = 0;
  Text reason;
  WallTime started_at{}, finished_at{};
};
consteval auto describe(const TerminatedState*) {
  using S = TerminatedState;
  return object("core/v1 ContainerStateTerminated.", field<&S::exit_code>("exitCode", "How it ended."), field<&S::reason>("reason", "Why."),
                field<&S::started_at>("startedAt", "Since when."), field<&S::finished_at>("finishedAt", "Until when."));
}
struct ContainerState {
  std::optional<RunningState> running{};
  std::optional<TerminatedState> terminated{};
};
consteval auto describe(const ContainerState*) {
  return object("core/v1 ContainerState.", field<&ContainerState::running>("running", "It runs."),
                field<&ContainerState::terminated>("terminated", "It has ended."));
}
struct ContainerStatus {
  Text name{}, image{}, image_id{}, container_id{};
  bool ready = false, started = false;
  std::int64_t restart_count = 0;
  ContainerState state{};
};
consteval auto describe(const ContainerStatus*) {
  using S = ContainerStatus;
  return object("core/v1 ContainerStatus.", field<&S::name>("name", "Its name."), field<&S::image>("image", "Its image."),
                field<&S::image_id>("imageID", "Its image's digest."), field<&S::container_id>("containerID", "The runtime's id of it."),
                field<&S::ready>("ready", "It serves."), field<&S::started>("started", "It has started."),
                field<&S::restart_count>("restartCount", "How often it was started again."), field<&S::state>("state", "How it is."));
}
struct PodStatus {
  Text phase, host_ip, pod_ip;
  std::vector<PodIp> pod_ips;
  WallTime start_time{};
  std::vector<PodCondition> conditions;
  std::vector<ContainerStatus> container_statuses;
};
consteval auto describe(const PodStatus*) {
  using S = PodStatus;
  return object("core/v1 PodStatus, written.", field<&S::phase>("phase", "Where it is in its life."),
                field<&S::host_ip>("hostIP", "Its host's address."), field<&S::pod_ip>("podIP", "Its address."),
                field<&S::pod_ips>("podIPs", "Its addresses."), field<&S::start_time>("startTime", "When the kubelet took it on."),
                field<&S::conditions>("conditions", "How it is."),
                field<&S::container_statuses>("containerStatuses", "How its containers are."));
}

}  // namespace endstate::fleet
