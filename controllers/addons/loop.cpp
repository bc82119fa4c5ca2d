#include "controllers/addons/loop.hpp"

#include <set>

#include "controllers/addons/loop_builtin.hpp"
#include "controllers/addons/loop_manifest.hpp"
#include "controllers/common/machine_state.hpp"

namespace endstate::addons {
namespace {

using reconcile::Key, reconcile::kind_of, reconcile::View;
using Enqueue = std::function<void(Key)>;

bool is_hosted(const api::Cluster& c) { return c.spec.control_plane.type == api::ControlPlaneType::hosted; }

// Counters and the like change often; what this loop reads of a Cluster doesn't.
bool reads_alike(const api::Cluster& a, const api::Cluster& b) {
  return a.metadata.uid == b.metadata.uid && a.metadata.deleting() == b.metadata.deleting() && is_paused(a) == is_paused(b) &&
         a.metadata.generation == b.metadata.generation &&
         a.status.control_plane.package_version == b.status.control_plane.package_version && a.status.addons == b.status.addons;
}

void cluster_changed(const View&, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
  const auto *a = static_cast<const api::Cluster*>(before), *b = static_cast<const api::Cluster*>(after);
  if (!is_hosted(b ? *b : *a) || (a && b && reads_alike(*a, *b))) return;
  enqueue((b ? b : a)->metadata.key());
}

// One that somebody waits for.
void version_changed(const View& view, std::string_view, const void*, const void* after, const Enqueue& enqueue) {
  if (!after) return;
  const auto& name = static_cast<const api::ClusterPackageVersion*>(after)->metadata.name;
  for (const auto& c : view.list<api::Cluster>(""))
    if (is_hosted(*c) && c->status.control_plane.package_version == name) enqueue(c->metadata.key());
}

}  // namespace

struct AddonsLoop::Read {
  std::once_flag once;
  std::vector<Manifest> manifests;
  std::vector<Addon> addons;

  const std::vector<Addon>& get(Kinds& kinds) {
    std::call_once(once, [&] {
      addons = read_manifests(manifests, kinds);
      manifests.clear();
    });
    return addons;
  }
};

std::shared_ptr<AddonsLoop::Read> AddonsLoop::of(const View& view, const api::ClusterPackageVersion& version) const {
  auto& entry = read_[version.metadata.uid.str()];
  if (entry) return entry;
  entry = std::make_shared<Read>();
  entry->manifests.push_back({std::string(api::builtin_addon), std::string(builtin_manifest()), true});
  for (const auto& a : version.spec.addons) entry->manifests.push_back({a.name.str(), a.manifest.str(), false});
  auto made = entry;
  std::set<std::string, std::less<>> there;
  for (const auto& v : view.list<api::ClusterPackageVersion>("")) there.insert(v->metadata.uid.str());
  std::erase_if(read_, [&](const auto& r) { return !there.contains(r.first); });
  return made;
}

const reconcile::Kind& AddonsLoop::kind() const { return kind_of<api::Cluster>; }

std::function<reconcile::Plan()> AddonsLoop::observe(const reconcile::Snapshot& given, const Key& key) const {
  Snapshot s;
  s.cluster = given.view.get<api::Cluster>("", key.name_space, key.name);
  if (!s.cluster || !is_hosted(*s.cluster)) return nullptr;
  const auto version = given.view.get<api::ClusterPackageVersion>("", {}, s.cluster->status.control_plane.package_version);
  s.connection = given.connection(connection_of(*s.cluster));
  if (!version) return nullptr;  // none has gone through yet: there is no cluster to bring things into
  s.memory = std::make_shared<reconcile::Memory>(given.memory);
  s.now = given.now;
  return [s = std::move(s), read = of(given.view, *version), kinds = kinds_]() mutable {
    s.kinds = kinds.get();
    s.addons = std::shared_ptr<const std::vector<Addon>>(read, &read->get(*kinds));
    return plan(s);
  };
}

std::vector<reconcile::Source> AddonsLoop::sources() const {
  return {{.kind = &kind_of<api::Cluster>, .keys = cluster_changed},
          {.kind = &kind_of<api::ClusterPackageVersion>, .keys = version_changed}};
}

}  // namespace endstate::addons
