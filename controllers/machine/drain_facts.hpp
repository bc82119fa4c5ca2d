// What a drain reads besides the caches: the pods of one node and what is attached to it, each as little of it as the drain needs. A node's
// pods are hundreds of KiB as they are sent; 1,000 nodes may be drained at once.
#pragma once
#include <optional>
#include <vector>

#include "reconcile/base/describe.hpp"
#include "reconcile/kube/core.hpp"
#include "reconcile/kube/kind.hpp"

namespace endstate::machine {

using reconcile::field, reconcile::object, reconcile::Text;

// ---- a pod ----

struct DrainNotes {
  Text mirror;
};
consteval auto describe(const DrainNotes*) {
  // k8s.io/kubernetes pkg/kubelet/types: ConfigMirrorAnnotationKey
  return object("Of a pod's annotations.", field<&DrainNotes::mirror>("kubernetes.io/config.mirror", "The pod is a kubelet's own."));
}
struct DrainOwner {
  Text kind, uid;
  std::optional<bool> controller;
};
consteval auto describe(const DrainOwner*) {
  return object("Whose a pod is.", field<&DrainOwner::kind>("kind", "Its kind."), field<&DrainOwner::uid>("uid", "Its uid."),
                field<&DrainOwner::controller>("controller", "It is the managing one."));
}
struct DrainMeta {
  Text name, name_space, uid;
  std::optional<reconcile::WallTime> creation_timestamp, deletion_timestamp;
  DrainNotes annotations;
  std::vector<DrainOwner> owner_references;
};
consteval auto describe(const DrainMeta*) {
  using M = DrainMeta;
  return object("A pod's metadata.", field<&M::name>("name", "Its name."), field<&M::name_space>("namespace", "Its namespace."),
                field<&M::uid>("uid", "Its uid."), field<&M::creation_timestamp>("creationTimestamp", "When it was made."),
                field<&M::deletion_timestamp>("deletionTimestamp", "When its deletion was asked for."),
                field<&M::annotations>("annotations", "Its annotations."), field<&M::owner_references>("ownerReferences", "Whose it is."));
}
struct DrainToleration {
  Text key, op, value, effect;
};
consteval auto describe(const DrainToleration*) {
  using T = DrainToleration;
  return object("Which taints a pod lives with.", field<&T::key>("key", "Their key; empty: any."),
                field<&T::op>("operator", "Exists or Equal; empty: Equal."), field<&T::value>("value", "Their value."),
                field<&T::effect>("effect", "Their effect; empty: any."));
}
struct DrainSpec {
  std::vector<DrainToleration> tolerations;
};
consteval auto describe(const DrainSpec*) {
  return object("What a pod should be.", field<&DrainSpec::tolerations>("tolerations", "The taints that it lives with."));
}
struct DrainStatus {
  Text phase;
};
consteval auto describe(const DrainStatus*) {
  return object("What a pod is.", field<&DrainStatus::phase>("phase", "Pending, Running, Succeeded, Failed."));
}
struct DrainPod {
  DrainMeta metadata;
  DrainSpec spec;
  DrainStatus status;

  std::string key() const { return metadata.name_space.str() + "/" + metadata.name.str(); }
  const DrainOwner* controller() const {
    for (const auto& o : metadata.owner_references)
      if (o.controller.value_or(false)) return &o;
    return nullptr;
  }
};
consteval auto describe(const DrainPod*) {
  return object("A pod that is to leave its node.", field<&DrainPod::metadata>("metadata", "Its metadata."),
                field<&DrainPod::spec>("spec", "What it should be."), field<&DrainPod::status>("status", "What it is."));
}

// ---- a volume that is attached (k8s.io/api/storage/v1/types.go) ----

struct AttachmentMeta {
  Text name;
};
consteval auto describe(const AttachmentMeta*) {
  return object("An attachment's metadata.", field<&AttachmentMeta::name>("name", "Its name."));
}
struct AttachmentSource {
  Text volume;
};
consteval auto describe(const AttachmentSource*) {
  return object("What is attached.", field<&AttachmentSource::volume>("persistentVolumeName", "The volume."));
}
struct AttachmentSpec {
  Text attacher, node_name;
  AttachmentSource source;
};
consteval auto describe(const AttachmentSpec*) {
  using S = AttachmentSpec;
  return object("What should be attached where.", field<&S::attacher>("attacher", "By which driver."),
                field<&S::node_name>("nodeName", "The node."), field<&S::source>("source", "The volume."));
}
struct Attachment {
  AttachmentMeta metadata;
  AttachmentSpec spec;
};
consteval auto describe(const Attachment*) {
  return object("A volume that a node has, or gets, or is losing.", field<&Attachment::metadata>("metadata", "Its metadata."),
                field<&Attachment::spec>("spec", "What should be attached where."));
}
constexpr reconcile::Resource resource(const Attachment*) {
  return {"storage.k8s.io", "v1", "volumeattachments", "VolumeAttachment", false};
}

// ---- the same, as the attach-detach controller keeps it at the Node (k8s.io/api/core/v1/types.go: NodeStatus) ----

struct AttachedVolume {
  Text name;
};
consteval auto describe(const AttachedVolume*) {
  return object("A volume that is attached.", field<&AttachedVolume::name>("name", "Its unique name."));
}
struct AttachedStatus {
  std::vector<AttachedVolume> volumes;
};
consteval auto describe(const AttachedStatus*) {
  return object("What a node is.", field<&AttachedStatus::volumes>("volumesAttached", "What is attached to it."));
}
struct AttachedTo {
  AttachedStatus status;
};
consteval auto describe(const AttachedTo*) {
  return object("A node, for its volumes.", field<&AttachedTo::status>("status", "What it is."));
}

// ---- their kinds, for Query::items: no cache holds them, so nothing asks for their metadata ----

template <class T>
constexpr reconcile::Kind fact_kind(const reconcile::Resource* resource) {
  return {.resource = resource,
          .type = &reconcile::type_of<T>,
          .make = []() -> std::shared_ptr<void> { return std::make_shared<T>(); },
          .meta = [](const void*) -> const reconcile::ObjectMeta& {
            static const reconcile::ObjectMeta none;
            return none;
          }};
}
inline constexpr reconcile::Kind drain_pods = fact_kind<DrainPod>(&reconcile::resource_of<reconcile::Pod>);
inline constexpr reconcile::Kind attachments = fact_kind<Attachment>(&reconcile::resource_of<Attachment>);

// How they are asked for (Query::id). `pods_query` polls what the API server has in its memory; before the drain ends `pods_now_query`
// asks what is stored.
inline constexpr std::string_view pods_query = "pods", pods_now_query = "pods-now", volumes_query = "volumes",
                                  node_volumes_query = "node-volumes";

}  // namespace endstate::machine
