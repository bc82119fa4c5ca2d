#include "controllers/common/indexes.hpp"

namespace endstate {

// Each check of a namespace here is taken out once, to see that tests fail without it (hack/mutation.sh).

bool may_speak_of(std::string_view connection, std::string_view name_space) {
  return connection.empty() || connection.substr(0, connection.find('/')) == name_space;
}

const v1alpha1::ConsumerRef* claim_of(const v1alpha1::Host& h) {
  const auto& consumer = h.spec.consumer_ref;
  return consumer && consumer->name_space == h.metadata.name_space ? &*consumer : nullptr;
}

bool belongs_to(const v1alpha1::Host& h, const v1alpha1::Machine& m) {
  const auto* claim = claim_of(h);
  return claim && claim->name_space == m.metadata.name_space && claim->uid == m.metadata.uid;
}

std::string owned_in(std::string_view name_space, std::string_view set_uid) { return path(name_space, set_uid); }

std::vector<reconcile::Ref<v1alpha1::Machine>> machines_of(const reconcile::View& view, const v1alpha1::MachineSet& set) {
  return view.by_index<v1alpha1::Machine>("", machines_by_set, owned_in(set.metadata.name_space, set.metadata.uid));
}

std::vector<reconcile::Ref<v1alpha1::MachineSet>> sets_of(const reconcile::View& view, const reconcile::ControllerRevision& r) {
  return view.by_index<v1alpha1::MachineSet>("", sets_by_uid,
                                             owned_in(r.metadata.name_space, r.metadata.labels.get(v1alpha1::label::set_uid)));
}

std::vector<reconcile::Ref<reconcile::ControllerRevision>> revisions_of(const reconcile::View& view, const v1alpha1::MachineSet& set) {
  return view.by_index<reconcile::ControllerRevision>("", revisions_by_set, owned_in(set.metadata.name_space, set.metadata.uid));
}

std::vector<reconcile::Ref<v1alpha1::Host>> hosts_named(const reconcile::View& view, std::string_view connection, std::string_view uid) {
  return view.by_index<v1alpha1::Host>("", hosts_by_uid, path(connection.substr(0, connection.find('/')), uid));
}

}  // namespace endstate
