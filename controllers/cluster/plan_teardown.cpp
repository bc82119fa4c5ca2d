// What becomes of a Hosted control plane whose Cluster is deleted: masters, then etcd, then what led to them, then keys. Volumes go with
// their StatefulSet if the policy says so (persistentVolumeClaimRetentionPolicy); the same policy keeps the CAs and the signing keys,
// without which the volumes' data would be of little use.
#include <algorithm>

#include "apis/v1alpha1/names.hpp"
#include "controllers/cluster/plan_hosted.hpp"
#include "controllers/cluster/replica_repair.hpp"

namespace endstate::cluster {
namespace {

namespace api = v1alpha1;

std::string owner_of(const reconcile::Text& finalizer) {
  // k8s.io/kubernetes pkg/controller/volume/pvcprotection: also pods that have ended count.
  if (finalizer == "kubernetes.io/pvc-protection") return "pods that use it, ended ones too: `kubectl describe` names them, delete those";
  return "whoever owns its finalizer " + finalizer.str();
}

bool is_lasting(std::string_view secret) {
  return secret == service_account_suffix ||
         std::any_of(std::begin(all_cas), std::end(all_cas), [&](CaName ca) { return secret == secret_suffix(ca); });
}

class Planner {
 public:
  explicit Planner(const HostedInput& in) : in_(in), site_(site_of(in.cluster)) {}

  Teardown run() {
    for (const auto& [name, w] : in_.facts.workloads) {
      const bool store = name == site_.child("etcd");
      take(store ? reconcile::kind_of<reconcile::StatefulSet> : reconcile::kind_of<reconcile::Deployment>, w.metadata, store ? 1 : 0);
    }
    for (const auto& pod : in_.facts.pods)
      if (is_isolated(*pod)) evict_isolated(*pod);
    for (const auto& job : in_.facts.jobs) take(reconcile::kind_of<reconcile::Job>, job->metadata, 0);
    for (const auto& c : in_.facts.children)
      if (!site_.keep_data || c.kind != &reconcile::kind_of<reconcile::PersistentVolumeClaim>) take(*c.kind, c.metadata, 2);
    for (const auto& [name, secret] : in_.facts.secrets)
      if (!site_.keep_data || !is_lasting(name)) take(reconcile::kind_of<reconcile::Secret>, secret->metadata, 3);
    if (count_ > 0)
      out_.left = std::to_string(count_) + " objects of its control plane are still there: " + (held_.empty() ? "e.g. " + first_ : held_);
    if (!out_.actions.empty()) {
      const auto& meta = in_.cluster.metadata;
      out_.permit = reconcile::PermitRequest{.cluster = meta.key(),
                                             .operation = api::operation::teardown,
                                             .subject = meta.key(),
                                             .subject_uid = meta.uid,
                                             .revision = {},
                                             .domain = {}};
    }
    return std::move(out_);
  }

 private:
  // Nobody owns it any more.
  void evict_isolated(const reconcile::Pod& pod) {
    if (count_++ == 0) first_ = "Pod " + pod.metadata.name.str();
    if (!pod.metadata.deleting()) out_.actions.push_back(evict(pod, "its Cluster is deleted"));
  }
  void take(const reconcile::Kind& kind, const reconcile::ObjectMeta& meta, std::uint8_t stage) {
    const std::string name = std::string(kind.resource->kind) + " " + meta.name.str();
    if (count_++ == 0) first_ = name;
    if (meta.deleting()) {
      if (held_.empty() && !meta.finalizers.empty()) held_ = name + " waits for " + owner_of(meta.finalizers[0]);
      return;
    }
    out_.actions.push_back({.verb = reconcile::Verb::remove,
                            .kind = &kind,
                            .name_space = meta.name_space,
                            .name = meta.name,
                            .uid = meta.uid,
                            .stage = stage,
                            .guarded = true,
                            .why = "its Cluster is deleted"});
  }

  const HostedInput& in_;
  Site site_;
  Teardown out_;
  std::size_t count_ = 0;
  std::string first_, held_;  // one that is left; one that is on its way out and held by somebody's finalizer
};

}  // namespace

Teardown plan_teardown(const HostedInput& input) { return Planner(input).run(); }

}  // namespace endstate::cluster
