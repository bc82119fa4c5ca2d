#include "controllers/cluster/loop_hosted.hpp"

#include "controllers/cluster/pki.hpp"
#include "controllers/common/indexes.hpp"

namespace endstate::cluster {
namespace {

namespace api = v1alpha1;
using reconcile::Key, reconcile::kind_of, reconcile::View;
using Enqueue = std::function<void(Key)>;

// Only what endstate made for a Hosted cluster: everything else of these kinds is never sent to us.
constexpr std::string_view ours = "labelSelector=endstate.dev%2Fcomponent";

// Value: "<namespace>/<cluster name>".
template <class T>
constexpr reconcile::Index children_by_cluster = reconcile::index<T>("hosted-cluster", [](const T& o, auto& emit) {
  if (const auto name = o.metadata.labels.get(api::label::cluster_name); !name.empty()) emit(path(o.metadata.name_space, name));
});

template <class T>
bool is_fresh(const View& view) {
  return view.synced<T>("") && view.lag<T>("").count() == 0;
}

// A certificate of a Secret, from base64 PEM. The first one of the text is the leaf.
reconcile::Result<std::vector<CertificateFacts>> read(const reconcile::Text& base64_pem) {
  const auto pem = from_base64(base64_pem);
  if (!pem) return reconcile::fail(pem.error());
  return read_certificates(*pem);
}

CaState read_ca(const reconcile::Secret& secret) {
  CaState out{.exists = true, .trouble = {}, .issuing = {}, .next = {}, .trusted = {}};
  const auto take = [&](const reconcile::Text& from, auto use) {
    auto found = read(from);
    if (found)
      use(*found);
    else
      out.trouble = found.error().message;
  };
  if (!secret.data.certificate.empty()) take(secret.data.certificate, [&](auto& all) { out.issuing = all.front(); });
  if (!secret.data.next.empty()) take(secret.data.next, [&](auto& all) { out.next = all.front(); });
  if (!secret.data.trusted.empty()) take(secret.data.trusted, [&](auto& all) { out.trusted = std::move(all); });
  return out;
}

SigningKeysState read_signing_keys(const reconcile::Secret& secret) {
  SigningKeysState out{.exists = true, .trouble = {}, .fingerprint = {}};
  const auto pem = from_base64(secret.data.certificate);
  const auto found = pem ? read_public_key(*pem) : reconcile::Result<std::string>(reconcile::fail(pem.error()));
  (found ? out.fingerprint : out.trouble) = found ? *found : found.error().message;
  return out;
}

void read_secrets(const View& view, const api::Cluster& cluster, HostedFacts& out) {
  const auto prefix = cluster.metadata.name.str() + "-";
  for (const auto& secret : view.by_index<reconcile::Secret>("", children_by_cluster<reconcile::Secret>, cluster.metadata.key().str())) {
    if (!secret->metadata.name.view().starts_with(prefix)) continue;
    const auto name = secret->metadata.name.str().substr(prefix.size());
    out.secrets[name] = secret;
    bool ca = false;
    for (const auto which : all_cas)
      if (name == secret_suffix(which)) out.cas[static_cast<std::size_t>(which)] = read_ca(*secret), ca = true;
    if (name == service_account_suffix) {
      out.signing_keys = read_signing_keys(*secret);
    } else if (!ca) {
      auto found = read(secret->data.certificate);
      out.leaves[name] = {.certificate = found ? std::optional(found->front()) : std::nullopt,
                          .made_for = std::string(secret->metadata.annotations.get(api::annotation::made_for))};
    }
  }
}

template <class T>
void read_children(const View& view, const std::string& cluster, HostedFacts& out) {
  for (const auto& o : view.by_index<T>("", children_by_cluster<T>, cluster)) out.children.push_back({&kind_of<T>, o->metadata, o->spec});
}
template <class T>
void read_workloads(const View& view, const std::string& cluster, HostedFacts& out) {
  for (const auto& o : view.by_index<T>("", children_by_cluster<T>, cluster)) out.workloads[o->metadata.name.str()] = *o;
}

template <class T>
reconcile::Source source() {
  return {.kind = &kind_of<T>,
          .selector = std::string(ours),
          .keys = [](const View&, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
            const auto& meta = static_cast<const T*>(after ? after : before)->metadata;
            if (const auto name = meta.labels.get(api::label::cluster_name); !name.empty()) enqueue({meta.name_space, name});
          }};
}

// A version that somebody waits for, or that may be on the way to it.
void version_changed(const View& view, std::string_view, const void*, const void*, const Enqueue& enqueue) {
  for (const auto& c : view.list<api::Cluster>(""))
    if (c->spec.control_plane.type == api::ControlPlaneType::hosted) enqueue(c->metadata.key());
}

}  // namespace

HostedFacts observe_hosted(const reconcile::Snapshot& given, const api::Cluster& cluster) {
  const auto& view = given.view;
  HostedFacts out;
  out.synced = is_fresh<api::ClusterPackageVersion>(view) && is_fresh<reconcile::Deployment>(view) &&
               is_fresh<reconcile::StatefulSet>(view) && is_fresh<reconcile::Service>(view) && is_fresh<reconcile::NetworkPolicy>(view) &&
               is_fresh<reconcile::PodDisruptionBudget>(view) && is_fresh<reconcile::Secret>(view) && is_fresh<reconcile::Job>(view) &&
               is_fresh<reconcile::Pod>(view) && is_fresh<reconcile::PersistentVolumeClaim>(view);
  if (!out.synced) return out;
  for (const auto& v : view.list<api::ClusterPackageVersion>("")) out.packages[v->metadata.name.str()] = v;
  const auto key = cluster.metadata.key().str();
  read_children<reconcile::Service>(view, key, out);
  read_children<reconcile::NetworkPolicy>(view, key, out);
  read_children<reconcile::PodDisruptionBudget>(view, key, out);
  // Of volumes only that of the snapshots is a child: etcd's own are its StatefulSet's.
  const auto snapshots = cluster.metadata.name.str() + "-etcd-snapshots";
  for (const auto& o : view.by_index<reconcile::PersistentVolumeClaim>("", children_by_cluster<reconcile::PersistentVolumeClaim>, key))
    if (o->metadata.name == snapshots) out.children.push_back({&kind_of<reconcile::PersistentVolumeClaim>, o->metadata, o->spec});
  if (cluster.spec.control_plane.endpoint) out.endpoint_holder = endpoint_holder(cluster, view.list<api::Cluster>(""));
  out.jobs = view.by_index<reconcile::Job>("", children_by_cluster<reconcile::Job>, key);
  out.pods = view.by_index<reconcile::Pod>("", children_by_cluster<reconcile::Pod>, key);
  for (const auto& [id, fact] : given.memory.facts)
    if (fact.body && id.starts_with("log/")) out.logs[id] = *fact.body;
  read_workloads<reconcile::Deployment>(view, key, out);
  read_workloads<reconcile::StatefulSet>(view, key, out);
  read_secrets(view, cluster, out);
  for (const auto& f : given.memory.failures) {
    const bool exists = f.error.code == reconcile::Code::exists;
    if (exists && f.resource == kind_of<reconcile::Secret>.resource) out.taken_secrets.push_back(f.name.str());
    if (exists || f.error.code == reconcile::Code::invalid || f.error.code == reconcile::Code::forbidden)
      out.refused_writes.push_back(f.what + ": " + f.error.message);
  }
  return out;
}

std::vector<reconcile::Source> hosted_sources() {
  std::vector<reconcile::Source> all;
  all.push_back({.kind = &kind_of<api::ClusterPackageVersion>, .keys = version_changed});
  all.push_back(source<reconcile::Deployment>());
  all.push_back(source<reconcile::StatefulSet>());
  all.push_back(source<reconcile::Service>());
  all.push_back(source<reconcile::NetworkPolicy>());
  all.push_back(source<reconcile::PodDisruptionBudget>());
  all.push_back(source<reconcile::Secret>());
  all.push_back(source<reconcile::Job>());
  all.push_back(source<reconcile::Pod>());
  all.push_back(source<reconcile::PersistentVolumeClaim>());
  return all;
}

}  // namespace endstate::cluster
