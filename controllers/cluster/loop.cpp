#include "controllers/cluster/loop.hpp"

#include "controllers/cluster/loop_hosted.hpp"
#include "controllers/cluster/plan.hpp"
#include "controllers/cluster/rights.hpp"
#include "controllers/common/indexes.hpp"
#include "controllers/common/machine_state.hpp"

namespace endstate::cluster {
namespace {

using reconcile::Key, reconcile::kind_of, reconcile::View;
using Enqueue = std::function<void(Key)>;

template <class T>
const T* as(const void* object) {
  return static_cast<const T*>(object);
}

// What a Cluster's status tells of a machine. A machine writes its status many times while it comes up; few of those change a counter.
bool counts_alike(const api::Machine& a, const api::Machine& b) {
  return is_available(a) == is_available(b) &&
         (a.status.phase == api::MachinePhase::failed) == (b.status.phase == api::MachinePhase::failed) &&
         a.status.revision == b.status.revision &&
         a.metadata.labels.get(api::label::revision) == b.metadata.labels.get(api::label::revision) &&
         a.metadata.deleting() == b.metadata.deleting() && a.metadata.uid == b.metadata.uid;
}

void machine_changed(const View&, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
  if (before && after && counts_alike(*as<api::Machine>(before), *as<api::Machine>(after))) return;
  const auto& m = *as<api::Machine>(after ? after : before);
  enqueue({m.metadata.name_space, m.spec.cluster_name});
}

// A set matters to its Cluster when it comes, goes, or is asked to go.
void set_changed(const View&, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
  if (before && after && as<api::MachineSet>(before)->metadata.deleting() == as<api::MachineSet>(after)->metadata.deleting()) return;
  const auto& set = *as<api::MachineSet>(after ? after : before);
  enqueue({set.metadata.name_space, set.spec.cluster_name});
}

bool is_fresh(const View& view) {
  return view.synced<api::Machine>("") && view.synced<api::MachineSet>("") && view.lag<api::Machine>("").count() == 0 &&
         view.lag<api::MachineSet>("").count() == 0;
}

}  // namespace

const reconcile::Kind& ClusterLoop::kind() const { return kind_of<api::Cluster>; }

std::function<reconcile::Plan()> ClusterLoop::observe(const reconcile::Snapshot& given, const Key& key) const {
  const auto& view = given.view;
  Snapshot s;
  s.cluster = view.get<api::Cluster>("", key.name_space, key.name);
  if (!s.cluster) {  // gone without us (its finalizer was taken off by hand): no connection is left behind
    return [id = key.str()] {
      reconcile::Plan plan;
      plan.connections.push_back({.cluster = id, .connected = false, .secret_namespace = {}, .secret_name = {}});
      return plan;
    };
  }
  s.now = std::chrono::floor<std::chrono::seconds>(given.now.wall);
  s.fresh = is_fresh(view);
  s.connection = given.connection(connection_of(*s.cluster));
  s.sight = view.sight(connection_of(*s.cluster));
  s.sets = view.by_index<api::MachineSet>("", sets_by_cluster, key.str());
  s.machines = view.by_index<api::Machine>("", machines_by_cluster, key.str());
  s.hosted_on = options_.hosted;
  if (options_.hosted && s.cluster->spec.control_plane.type == api::ControlPlaneType::hosted) s.hosted = observe_hosted(given, *s.cluster);
  // What others' credentials may do says nothing of these.
  const auto rights = given.memory.facts.find(rights_question);
  if (rights != given.memory.facts.end() && rights->second.at >= s.connection.credentials) s.rights = rights->second;
  s.refused = given.memory.refused;
  return [s = std::move(s)] { return plan(s); };
}

std::vector<reconcile::Source> ClusterLoop::sources() const {
  std::vector<reconcile::Source> all;
  all.push_back({.kind = &kind_of<api::Cluster>,
                 .keys = [](const View&, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
                   enqueue(as<api::Cluster>(after ? after : before)->metadata.key());
                 }});
  all.push_back({.kind = &kind_of<api::Machine>, .keys = machine_changed});
  all.push_back({.kind = &kind_of<api::MachineSet>, .keys = set_changed});
  if (options_.hosted)
    for (auto& source : hosted_sources()) all.push_back(std::move(source));
  return all;
}

}  // namespace endstate::cluster
