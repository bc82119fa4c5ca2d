// Kubernetes' own kinds, as far as a loop or a simulated kubelet reads or writes them. What isn't named here is never decoded: so never
// write one of these back whole (PUT); patch, or apply the fields that are meant.
#pragma once
#include <chrono>
#include <optional>
#include <vector>

#include "reconcile/base/describe.hpp"
#include "reconcile/base/env.hpp"
#include "reconcile/kube/meta.hpp"

namespace reconcile {

// ---- Node (k8s.io/api/core/v1/types.go) ----

struct Taint {
  Text key, value, effect;  // effect: NoSchedule, PreferNoSchedule, NoExecute
  WallTime time_added{};
  friend bool operator==(const Taint&, const Taint&) = default;
};
consteval auto describe(const Taint*) {
  return object("Keeps pods away that don't tolerate it.", field<&Taint::key>("key", "Its key."),
                field<&Taint::value>("value", "Its value."), field<&Taint::effect>("effect", "What it does."),
                field<&Taint::time_added>("timeAdded", "When it was added; the API server wants it back as it was."));
}

struct NodeSpec {
  std::vector<Taint> taints;  // an atomic list: change it by a JSON patch with a test, or by an optimistic lock
  std::optional<bool> unschedulable;
  Text provider_id;
  friend bool operator==(const NodeSpec&, const NodeSpec&) = default;
};
consteval auto describe(const NodeSpec*) {
  return object("What a node should be.", field<&NodeSpec::taints>("taints", "Its taints."),
                field<&NodeSpec::unschedulable>("unschedulable", "Closed by a person (kubectl cordon)."),
                field<&NodeSpec::provider_id>("providerID", "Its name at whoever provides it."));
}

// lastHeartbeatTime isn't read: liveness is the node's Lease, and a record must not change with every heartbeat.
struct NodeCondition {
  Text type;
  ConditionStatus status{};
  Text reason, message;
  WallTime last_transition_time{};
  friend bool operator==(const NodeCondition&, const NodeCondition&) = default;
};
consteval auto describe(const NodeCondition*) {
  return object("One aspect of a node's state.", field<&NodeCondition::type>("type", "Which aspect."),
                field<&NodeCondition::status>("status", "True, False or Unknown.", {.required = true}),
                field<&NodeCondition::reason>("reason", "Why, in one word."), field<&NodeCondition::message>("message", "Why, for people."),
                field<&NodeCondition::last_transition_time>("lastTransitionTime", "When the status last changed."));
}

struct NodeAddress {
  Text type, address;
  friend bool operator==(const NodeAddress&, const NodeAddress&) = default;
};
consteval auto describe(const NodeAddress*) {
  return object("An address of a node.", field<&NodeAddress::type>("type", "InternalIP, Hostname, ..."),
                field<&NodeAddress::address>("address", "The address."));
}

struct NodeInfo {
  Text boot_id, kubelet_version, container_runtime_version, kernel_version, os_image, operating_system, architecture;
  friend bool operator==(const NodeInfo&, const NodeInfo&) = default;
};
consteval auto describe(const NodeInfo*) {
  return object("What runs on a node.", field<&NodeInfo::boot_id>("bootID", "Changes with every boot."),
                field<&NodeInfo::kubelet_version>("kubeletVersion", "The kubelet's version."),
                field<&NodeInfo::container_runtime_version>("containerRuntimeVersion", "The runtime and its version."),
                field<&NodeInfo::kernel_version>("kernelVersion", "The kernel's version."),
                field<&NodeInfo::os_image>("osImage", "The system's name."),
                field<&NodeInfo::operating_system>("operatingSystem", "linux."),
                field<&NodeInfo::architecture>("architecture", "As GOARCH has it."));
}

struct NodeStatus {
  Labels capacity, allocatable;
  std::vector<NodeCondition> conditions;
  std::vector<NodeAddress> addresses;
  NodeInfo node_info;
  friend bool operator==(const NodeStatus&, const NodeStatus&) = default;
};
consteval auto describe(const NodeStatus*) {
  return object("What a node is.", field<&NodeStatus::capacity>("capacity", "What it has."),
                field<&NodeStatus::allocatable>("allocatable", "What pods may have of it."),
                field<&NodeStatus::conditions>("conditions", "Its conditions.", {.list_key = "type"}),
                field<&NodeStatus::addresses>("addresses", "Its addresses."),
                field<&NodeStatus::node_info>("nodeInfo", "What runs on it."));
}

struct Node {
  ObjectMeta metadata;
  NodeSpec spec;
  NodeStatus status;
  friend bool operator==(const Node&, const Node&) = default;
};
consteval auto describe(const Node*) {
  return object("A worker, as its cluster sees it.", field<&Node::metadata>("metadata", "Standard object metadata."),
                field<&Node::spec>("spec", "What it should be."), field<&Node::status>("status", "What it is."));
}
constexpr Resource resource(const Node*) { return {"", "v1", "nodes", "Node", false}; }

// ---- Pod ----

struct PodContainer {
  Text name, image;
  friend bool operator==(const PodContainer&, const PodContainer&) = default;
};
consteval auto describe(const PodContainer*) {
  return object("A container of a pod.", field<&PodContainer::name>("name", "Its name."),
                field<&PodContainer::image>("image", "Its image."));
}

struct PodSpec {
  Text node_name;
  std::optional<std::int64_t> priority;
  std::optional<std::chrono::seconds> termination_grace_period;
  std::vector<PodContainer> containers;
  friend bool operator==(const PodSpec&, const PodSpec&) = default;
};
consteval auto describe(const PodSpec*) {
  return object("What a pod should be.", field<&PodSpec::node_name>("nodeName", "The node that it is bound to."),
                field<&PodSpec::priority>("priority", "Its priority."),
                field<&PodSpec::termination_grace_period>("terminationGracePeriodSeconds", "How long it may take to end."),
                field<&PodSpec::containers>("containers", "Its containers.", {.list_key = "name"}));
}

struct PodCondition {
  Text type;
  ConditionStatus status{};
  Text reason, message;
  WallTime last_transition_time{};
  friend bool operator==(const PodCondition&, const PodCondition&) = default;
};
consteval auto describe(const PodCondition*) {
  return object("One aspect of a pod's state.", field<&PodCondition::type>("type", "Which aspect."),
                field<&PodCondition::status>("status", "True, False or Unknown.", {.required = true}),
                field<&PodCondition::reason>("reason", "Why, in one word."), field<&PodCondition::message>("message", "Why, for people."),
                field<&PodCondition::last_transition_time>("lastTransitionTime", "When the status last changed."));
}

struct Running {
  WallTime started_at{};
  friend bool operator==(const Running&, const Running&) = default;
};
consteval auto describe(const Running*) {
  return object("A container that runs.", field<&Running::started_at>("startedAt", "Since when."));
}
struct Waiting {
  Text reason, message;
  friend bool operator==(const Waiting&, const Waiting&) = default;
};
consteval auto describe(const Waiting*) {
  return object("A container that isn't started yet, or not again.",
                field<&Waiting::reason>("reason", "Why: CrashLoopBackOff, ImagePullBackOff, ..."),
                field<&Waiting::message>("message", "Why, for people."));
}
struct Terminated {
  std::int64_t exit_code = 0;
  Text reason, message;
  WallTime finished_at{};
  friend bool operator==(const Terminated&, const Terminated&) = default;
};
consteval auto describe(const Terminated*) {
  using S = Terminated;
  return object("A container that has ended.", field<&S::exit_code>("exitCode", "How.", {.required = true}),
                field<&S::reason>("reason", "Why."), field<&S::message>("message", "Its last words, where its pod asks for them."),
                field<&S::finished_at>("finishedAt", "When."));
}
struct ContainerState {
  std::optional<Running> running;
  std::optional<Waiting> waiting;
  std::optional<Terminated> terminated;
  friend bool operator==(const ContainerState&, const ContainerState&) = default;
};
consteval auto describe(const ContainerState*) {
  return object("Where a container is.", field<&ContainerState::running>("running", "It runs."),
                field<&ContainerState::waiting>("waiting", "It waits."), field<&ContainerState::terminated>("terminated", "It has ended."));
}
struct ContainerStatus {
  Text name, image, image_id, container_id;
  std::optional<bool> ready, started;
  std::optional<std::int64_t> restart_count;
  ContainerState state, last_state;
  friend bool operator==(const ContainerStatus&, const ContainerStatus&) = default;
};
consteval auto describe(const ContainerStatus*) {
  return object("What a container is.", field<&ContainerStatus::name>("name", "Its name."),
                field<&ContainerStatus::image>("image", "Its image."), field<&ContainerStatus::image_id>("imageID", "Its image's digest."),
                field<&ContainerStatus::container_id>("containerID", "The runtime's name for it."),
                field<&ContainerStatus::ready>("ready", "It is ready."), field<&ContainerStatus::started>("started", "It has started."),
                field<&ContainerStatus::restart_count>("restartCount", "How often it was started again."),
                field<&ContainerStatus::state>("state", "Where it is."),
                field<&ContainerStatus::last_state>("lastState", "Where it was before it was last started."));
}

struct PodStatus {
  Text phase, reason, message, host_ip, pod_ip;
  WallTime start_time{};
  std::vector<PodCondition> conditions;
  std::vector<ContainerStatus> container_statuses, init_container_statuses;
  friend bool operator==(const PodStatus&, const PodStatus&) = default;
};
consteval auto describe(const PodStatus*) {
  return object("What a pod is.", field<&PodStatus::phase>("phase", "Pending, Running, Succeeded, Failed."),
                field<&PodStatus::reason>("reason", "Why, in one word."), field<&PodStatus::message>("message", "Why, for people."),
                field<&PodStatus::host_ip>("hostIP", "Its node's address."), field<&PodStatus::pod_ip>("podIP", "Its address."),
                field<&PodStatus::start_time>("startTime", "When its kubelet took it."),
                field<&PodStatus::conditions>("conditions", "Its conditions.", {.list_key = "type"}),
                field<&PodStatus::container_statuses>("containerStatuses", "Its containers.", {.list_key = "name"}),
                field<&PodStatus::init_container_statuses>("initContainerStatuses", "What it runs first.", {.list_key = "name"}));
}

struct Pod {
  ObjectMeta metadata;
  PodSpec spec;
  PodStatus status;
  friend bool operator==(const Pod&, const Pod&) = default;
};
consteval auto describe(const Pod*) {
  return object("A pod.", field<&Pod::metadata>("metadata", "Standard object metadata."), field<&Pod::spec>("spec", "What it should be."),
                field<&Pod::status>("status", "What it is."));
}
constexpr Resource resource(const Pod*) { return {"", "v1", "pods", "Pod", true}; }

// The answer to a list of pods (a Query's Fact). `continue_` isn't empty: there are more.
struct ListMeta {
  Text resource_version, continue_;
  friend bool operator==(const ListMeta&, const ListMeta&) = default;
};
consteval auto describe(const ListMeta*) {
  return object("A list's own metadata.", field<&ListMeta::resource_version>("resourceVersion", "Its version."),
                field<&ListMeta::continue_>("continue", "Where the next part begins; absent: this was the last."));
}
struct PodList {
  ListMeta metadata;
  std::vector<Pod> items;
  friend bool operator==(const PodList&, const PodList&) = default;
};
consteval auto describe(const PodList*) {
  return object("A list of pods.", field<&PodList::metadata>("metadata", "The list's own metadata."),
                field<&PodList::items>("items", "The pods."));
}

// ---- Lease (k8s.io/api/coordination/v1/types.go) ----

struct LeaseSpec {
  Text holder_identity;
  std::optional<std::chrono::seconds> lease_duration;
  MicroTime acquire_time, renew_time;
  std::optional<std::int64_t> lease_transitions;
  friend bool operator==(const LeaseSpec&, const LeaseSpec&) = default;
};
consteval auto describe(const LeaseSpec*) {
  return object("Who holds it.", field<&LeaseSpec::holder_identity>("holderIdentity", "The holder; absent: nobody."),
                field<&LeaseSpec::lease_duration>("leaseDurationSeconds", "For how long after a renewal."),
                field<&LeaseSpec::acquire_time>("acquireTime", "Since when, by the holder's clock."),
                field<&LeaseSpec::renew_time>("renewTime", "The last renewal, by the holder's clock: never compare it with ours."),
                field<&LeaseSpec::lease_transitions>("leaseTransitions", "Counts the holders: the generation."));
}
struct Lease {
  ObjectMeta metadata;
  LeaseSpec spec;
  friend bool operator==(const Lease&, const Lease&) = default;
};
consteval auto describe(const Lease*) {
  return object("A lock that is lost when it isn't renewed, and a sign of life.",
                field<&Lease::metadata>("metadata", "Standard object metadata."), field<&Lease::spec>("spec", "Who holds it."));
}
constexpr Resource resource(const Lease*) { return {"coordination.k8s.io", "v1", "leases", "Lease", true}; }

// ---- Job (k8s.io/api/batch/v1/types.go) ----

struct JobStatus {
  std::vector<Condition> conditions;  // Complete, Failed, Suspended, ...
  std::int64_t active = 0, succeeded = 0, failed = 0;
  WallTime completion_time{};
  friend bool operator==(const JobStatus&, const JobStatus&) = default;
};
consteval auto describe(const JobStatus*) {
  return object("How a job is.", field<&JobStatus::conditions>("conditions", "Its conditions.", {.list_key = "type"}),
                field<&JobStatus::active>("active", "Pods that run."), field<&JobStatus::succeeded>("succeeded", "Pods that succeeded."),
                field<&JobStatus::failed>("failed", "Pods that failed."),
                field<&JobStatus::completion_time>("completionTime", "When it succeeded."));
}
struct Job {
  ObjectMeta metadata;
  JobStatus status;
  friend bool operator==(const Job&, const Job&) = default;
};
consteval auto describe(const Job*) {
  return object("Work that ends.", field<&Job::metadata>("metadata", "Standard object metadata."),
                field<&Job::status>("status", "How it is."));
}
constexpr Resource resource(const Job*) { return {"batch", "v1", "jobs", "Job", true}; }

// ---- ConfigMap, ControllerRevision ----

struct ConfigMap {
  ObjectMeta metadata;
  Labels data;
  friend bool operator==(const ConfigMap&, const ConfigMap&) = default;
};
consteval auto describe(const ConfigMap*) {
  return object("Named texts.", field<&ConfigMap::metadata>("metadata", "Standard object metadata."),
                field<&ConfigMap::data>("data", "The texts."));
}
constexpr Resource resource(const ConfigMap*) { return {"", "v1", "configmaps", "ConfigMap", true}; }

// An immutable copy of what an object was (k8s.io/api/apps/v1/types.go): the way back.
struct ControllerRevision {
  ObjectMeta metadata;
  Json data;
  std::int64_t revision = 0;
  friend bool operator==(const ControllerRevision&, const ControllerRevision&) = default;
};
consteval auto describe(const ControllerRevision*) {
  return object("What an object was.", field<&ControllerRevision::metadata>("metadata", "Standard object metadata."),
                field<&ControllerRevision::data>("data", "The copy."),
                field<&ControllerRevision::revision>("revision", "Counts the revisions of one owner.", {.required = true}));
}
constexpr Resource resource(const ControllerRevision*) { return {"apps", "v1", "controllerrevisions", "ControllerRevision", true}; }

}  // namespace reconcile
