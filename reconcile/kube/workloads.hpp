// The kinds that a control plane in pods is made of (k8s.io/api apps/v1, core/v1, policy/v1, networking.k8s.io/v1). A spec is kept as the
// text that it came in: who made it compares it whole. Of a Secret only certificates are read: a private key is never decoded or kept.
#pragma once
#include "reconcile/kube/meta.hpp"

namespace reconcile {

struct WorkloadStatus {
  std::optional<std::int64_t> observed_generation;
  std::int64_t replicas = 0, ready_replicas = 0, updated_replicas = 0, available_replicas = 0;
  Text current_revision, update_revision;  // of a StatefulSet
  std::vector<Condition> conditions;       // of a Deployment: Progressing, Available
  friend bool operator==(const WorkloadStatus&, const WorkloadStatus&) = default;
};
consteval auto describe(const WorkloadStatus*) {
  using S = WorkloadStatus;
  return object("How a workload is.",
                field<&S::observed_generation>("observedGeneration", "The metadata.generation that this was made from."),
                field<&S::replicas>("replicas", "Its pods."), field<&S::ready_replicas>("readyReplicas", "Its pods that are ready."),
                field<&S::updated_replicas>("updatedReplicas", "Its pods of the newest template."),
                field<&S::available_replicas>("availableReplicas", "Its pods that have been ready for minReadySeconds."),
                field<&S::current_revision>("currentRevision", "The template that its pods had."),
                field<&S::update_revision>("updateRevision", "The template that its pods get."),
                field<&S::conditions>("conditions", "Its conditions.", {.list_key = "type"}));
}

// One shape, one type for each kind: the caches tell kinds apart by their C++ type.
struct Workload {
  ObjectMeta metadata;
  Json spec;
  WorkloadStatus status;
  friend bool operator==(const Workload&, const Workload&) = default;
};
struct Deployment : Workload {};
struct StatefulSet : Workload {};
consteval auto describe(const Deployment*) {
  using T = Deployment;
  return object("Pods that are alike.", field<&T::metadata>("metadata", "Standard object metadata."),
                field<&T::spec>("spec", "What it should be."), field<&T::status>("status", "How it is."));
}
consteval auto describe(const StatefulSet*) {
  using T = StatefulSet;
  return object("Pods with names and volumes of their own.", field<&T::metadata>("metadata", "Standard object metadata."),
                field<&T::spec>("spec", "What it should be."), field<&T::status>("status", "How it is."));
}
constexpr Resource resource(const Deployment*) { return {"apps", "v1", "deployments", "Deployment", true}; }
constexpr Resource resource(const StatefulSet*) { return {"apps", "v1", "statefulsets", "StatefulSet", true}; }

struct Service {
  ObjectMeta metadata;
  Json spec;
  friend bool operator==(const Service&, const Service&) = default;
};
consteval auto describe(const Service*) {
  return object("An address for pods.", field<&Service::metadata>("metadata", "Standard object metadata."),
                field<&Service::spec>("spec", "What it should be."));
}
constexpr Resource resource(const Service*) { return {"", "v1", "services", "Service", true}; }

struct NetworkPolicy {
  ObjectMeta metadata;
  Json spec;
  friend bool operator==(const NetworkPolicy&, const NetworkPolicy&) = default;
};
consteval auto describe(const NetworkPolicy*) {
  return object("Who may speak to pods.", field<&NetworkPolicy::metadata>("metadata", "Standard object metadata."),
                field<&NetworkPolicy::spec>("spec", "What it should be."));
}
constexpr Resource resource(const NetworkPolicy*) { return {"networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", true}; }

struct PodDisruptionBudget {
  ObjectMeta metadata;
  Json spec;
  friend bool operator==(const PodDisruptionBudget&, const PodDisruptionBudget&) = default;
};
consteval auto describe(const PodDisruptionBudget*) {
  return object("How many pods a drain may take.", field<&PodDisruptionBudget::metadata>("metadata", "Standard object metadata."),
                field<&PodDisruptionBudget::spec>("spec", "What it should be."));
}
constexpr Resource resource(const PodDisruptionBudget*) { return {"policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", true}; }

struct PersistentVolumeClaim {
  ObjectMeta metadata;
  Json spec;
  friend bool operator==(const PersistentVolumeClaim&, const PersistentVolumeClaim&) = default;
};
consteval auto describe(const PersistentVolumeClaim*) {
  using T = PersistentVolumeClaim;
  return object("A wish for a volume.", field<&T::metadata>("metadata", "Standard object metadata."),
                field<&T::spec>("spec", "What it should be."));
}
constexpr Resource resource(const PersistentVolumeClaim*) { return {"", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true}; }

struct SecretCertificates {
  Text certificate, trusted, next;
  friend bool operator==(const SecretCertificates&, const SecretCertificates&) = default;
};
consteval auto describe(const SecretCertificates*) {
  using S = SecretCertificates;
  return object("The public part of a Secret, in base64.", field<&S::certificate>("tls.crt", "A certificate, or a public key."),
                field<&S::trusted>("ca.crt", "Whom to trust."), field<&S::next>("next.crt", "A CA that waits to sign."));
}
struct Secret {
  ObjectMeta metadata;
  SecretCertificates data;
  friend bool operator==(const Secret&, const Secret&) = default;
};
consteval auto describe(const Secret*) {
  return object("Keys, of which only the public part is read.", field<&Secret::metadata>("metadata", "Standard object metadata."),
                field<&Secret::data>("data", "The public part."));
}
constexpr Resource resource(const Secret*) { return {"", "v1", "secrets", "Secret", true}; }

}  // namespace reconcile
