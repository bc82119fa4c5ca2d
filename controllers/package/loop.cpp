#include "controllers/package/loop.hpp"

#include <set>

#include "controllers/common/indexes.hpp"
#include "controllers/common/machine_state.hpp"
#include "controllers/package/plan.hpp"
#include "reconcile/json/decode.hpp"

namespace endstate::package {
namespace {

using reconcile::ControllerRevision, reconcile::Key, reconcile::kind_of, reconcile::View;
using Enqueue = std::function<void(Key)>;

template <class T>
const T* as(const void* object) {
  return static_cast<const T*>(object);
}

// Few objects (history limit times sets), so that decoding them for an index is cheap.
std::set<std::string> packages_of(const ControllerRevision& r) {
  std::set<std::string> names;
  reconcile::Pool pool;
  if (const auto t = reconcile::decode<v1alpha1::MachineTemplate>(r.data.raw, pool))
    for (const auto& slot : t->spec.packages) names.insert(slot.version_ref.name.str());
  return names;
}
constexpr reconcile::Index revisions_by_package =
    reconcile::index<ControllerRevision>("package", [](const ControllerRevision& r, auto& emit) {
      for (const auto& name : packages_of(r)) emit(name);
    });

// The way back of a set: what its status calls current, and what its template is. Older history holds nothing.
bool is_way_back(const View& view, const ControllerRevision& r) {
  for (const auto& set : sets_of(view, r)) {
    const auto prefix = set->metadata.name.str() + "-";
    const auto name = r.metadata.name.view();
    if (!name.starts_with(prefix)) continue;
    const auto hash = name.substr(prefix.size());
    return set->status.current_revision == hash || set->status.update_revision == hash;
  }
  return false;
}

class Users {
 public:
  explicit Users(Snapshot& s) : s_(s) {}
  template <class T>
  void add(const T& object) {
    ++s_.users;
    if (s_.first_users.size() < max_users)
      s_.first_users.push_back({.kind = kind_of<T>.resource->kind, .name_space = object.metadata.name_space, .name = object.metadata.name});
  }

 private:
  Snapshot& s_;
};

template <class T>
bool live(const View& view, const std::string& connection) {
  return view.synced<T>(connection) && view.lag<T>(connection).count() == 0;
}

void read(const View& view, Snapshot& s) {
  const auto& name = s.metadata->name;
  Users users(s);
  for (const auto& set : view.by_index<api::MachineSet>("", sets_by_package, name)) users.add(*set);
  for (const auto& r : view.by_index<ControllerRevision>("", revisions_by_package, name))
    if (is_way_back(view, *r)) users.add(*r);
  for (const auto& m : view.by_index<api::Machine>("", machines_by_package, name)) users.add(*m);
  const auto unknown = [&](const std::string& who) {
    s.complete = false;
    s.unknown = who;
  };
  if (!live<api::MachineSet>(view, "") || !live<ControllerRevision>(view, "") || !live<api::Machine>(view, "") ||
      !live<api::Cluster>(view, ""))
    unknown("the meta cluster's caches are not up to date");
  std::set<std::string> connections{""};
  for (const auto& c : view.list<api::Cluster>(""))
    if (takes_machines(*c)) connections.insert(connection_of(*c));
  for (const auto& connection : connections) {
    for (const auto& a : view.by_index<api::HostAssignment>(connection, assignments_by_package, name)) users.add(*a);
    if (!live<api::HostAssignment>(view, connection))
      unknown(connection.empty() ? "the meta cluster" : "Cluster " + connection + " doesn't answer");
  }
}

// ---- sources ----

template <class T, class Names>
void names_changed(const void* before, const void* after, const Names& names, const Enqueue& enqueue) {
  const auto old_names = before ? names(*as<T>(before)) : std::set<std::string>();
  const auto new_names = after ? names(*as<T>(after)) : std::set<std::string>();
  for (const auto& n : old_names)
    if (!new_names.contains(n)) enqueue({{}, n});
  for (const auto& n : new_names)
    if (!old_names.contains(n)) enqueue({{}, n});
}

void machine_changed(const View&, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
  if (before && after && as<api::Machine>(before)->spec.packages == as<api::Machine>(after)->spec.packages) return;
  names_changed<api::Machine>(
      before, after,
      [](const api::Machine& m) {
        std::set<std::string> names;
        for (const auto& slot : m.spec.packages) names.insert(slot.version_ref.name.str());
        return names;
      },
      enqueue);
}

// Which revision is current decides what is held, so a change of that counts for all of the set's revisions.
void set_changed(const View& view, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
  names_changed<api::MachineSet>(
      before, after,
      [](const api::MachineSet& s) {
        std::set<std::string> names;
        for (const auto& slot : s.spec.template_.spec.packages) names.insert(slot.version_ref.name.str());
        return names;
      },
      enqueue);
  const auto* a = as<api::MachineSet>(before);
  const auto* b = as<api::MachineSet>(after);
  if (a && b && a->status.current_revision == b->status.current_revision && a->status.update_revision == b->status.update_revision) return;
  for (const auto& r : revisions_of(view, *(b ? b : a)))
    for (const auto& name : packages_of(*r)) enqueue({{}, name});
}

void revision_changed(const View&, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
  if (before && after) return;  // its data never changes
  for (const auto& name : packages_of(*as<ControllerRevision>(after ? after : before))) enqueue({{}, name});
}

// Only what goes: what a host gets, its Machine names already.
void assignment_changed(const View&, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
  if (!before) return;
  if (after && as<api::HostAssignment>(before)->spec.packages == as<api::HostAssignment>(after)->spec.packages) return;
  names_changed<api::HostAssignment>(
      before, after,
      [](const api::HostAssignment& a) {
        std::set<std::string> names;
        for (const auto& p : a.spec.packages) names.insert(p.version.name.str());
        return names;
      },
      enqueue);
}

}  // namespace

const reconcile::Kind& PackageLoop::kind() const { return kind_of<api::MachinePackageVersion>; }

std::function<reconcile::Plan()> PackageLoop::observe(const reconcile::Snapshot& given, const Key& key) const {
  const auto version = given.view.get<api::MachinePackageVersion>("", {}, key.name);
  if (!version) return nullptr;
  auto s = snapshot_of(version, std::chrono::floor<std::chrono::seconds>(given.now.wall));
  read(given.view, s);
  return [s = std::move(s)] { return plan(s); };
}

std::vector<reconcile::Source> PackageLoop::sources() const {
  std::vector<reconcile::Source> all;
  all.push_back({.kind = &kind_of<api::MachinePackageVersion>,
                 .keys = [](const View&, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
                   enqueue(as<api::MachinePackageVersion>(after ? after : before)->metadata.key());
                 }});
  all.push_back({.kind = &kind_of<api::Machine>, .keys = machine_changed});
  all.push_back({.kind = &kind_of<api::MachineSet>, .keys = set_changed});
  all.push_back({.kind = &kind_of<ControllerRevision>, .selector = "labelSelector=endstate.dev%2Fset-uid", .keys = revision_changed});
  all.push_back({.kind = &kind_of<api::HostAssignment>, .remote = true, .keys = assignment_changed});
  all.push_back({.kind = &kind_of<api::Cluster>, .keys = [](const View&, std::string_view, const void*, const void*, const Enqueue&) {}});
  return all;
}

}  // namespace endstate::package
