#include "controllers/machine_set/adoption.hpp"

#include <algorithm>

#include "controllers/common/cut.hpp"
#include "controllers/common/machine_state.hpp"
#include "controllers/machine_set/write.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::machine_set {
namespace {

using reconcile::Action, reconcile::Verb;

Action patch(const reconcile::Kind& kind, const reconcile::ObjectMeta& meta, std::string body, std::string why) {
  return {.verb = Verb::merge_patch,
          .kind = &kind,
          .name_space = meta.name_space,
          .name = meta.name,
          .body = std::move(body),
          .uid = meta.uid,
          .resource_version = meta.resource_version,
          .stage = 1,
          .why = std::move(why)};
}

// A list is replaced as a whole: other owners, who are no controllers, stay.
std::string owners_with(const reconcile::ObjectMeta& meta, const api::MachineSet& set) {
  auto owners = meta.owner_references;
  owners.push_back(owner_of(set));
  return "\"ownerReferences\":" + reconcile::encode(owners);
}

std::string names_of(const std::vector<Ref<api::Machine>>& machines) {
  std::string out;
  for (const auto& m : machines) {
    if (out.size() > 800) return out + ", ...";
    out.append(out.empty() ? "" : ", ").append(m->metadata.name.view());
  }
  return out;
}

}  // namespace

bool may_be_adopted(const api::MachineSet& set, const api::Machine& machine) {
  const auto& wanted = set.spec.selector.match_labels;
  return !machine.metadata.controller() && !machine.metadata.deleting() && !is_paused(machine) && !wanted.empty() &&
         machine.metadata.name_space == set.metadata.name_space && machine.spec.cluster_name == set.spec.cluster_name &&
         machine.metadata.labels.contains(wanted);
}

std::string adoption_question(const std::vector<Ref<api::Machine>>& orphans) {
  std::string all;
  for (const auto& m : orphans) all.append(m->metadata.uid.view()).append(",");
  return "adopt/" + reconcile::hash_of(all);
}

Adoption plan_adoption(const Snapshot& s, std::int64_t machines, const Text& event_action, std::size_t room) {
  Adoption out;
  if (s.orphans.empty()) return out;
  const auto count = static_cast<std::int64_t>(s.orphans.size());
  const auto replicas = api::replicas(s.set->spec);
  if (machines + count > replicas) {
    out.problem =
        Problem{api::reason::too_many_to_adopt,
                std::to_string(count) + " machines without an owner have the labels of spec.selector (" + names_of(s.orphans) +
                    "); with the set's " + std::to_string(machines) + " that is more than spec.replicas (" + std::to_string(replicas) +
                    "): none is taken and none is made. Delete some, take the label off, or raise replicas",
                "MachineSet", s.set->metadata.name};
    return out;
  }
  out.places = count;
  if (!s.may_adopt) {
    reconcile::Query query;
    query.id = adoption_question(s.orphans);
    query.resource = reconcile::kind_of<api::MachineSet>.resource;
    query.name_space = s.set->metadata.name_space.str();
    query.name = s.set->metadata.name.str();
    out.queries.push_back(std::move(query));
    return out;
  }
  for (const auto& m : s.orphans) {
    if (out.actions.size() >= room) break;
    out.actions.push_back(patch(reconcile::kind_of<api::Machine>, m->metadata,
                                "{\"metadata\":{\"labels\":{" + reconcile::quote(api::label::set_name) + ":" +
                                    reconcile::quote(s.set->metadata.name) + "}," + owners_with(m->metadata, *s.set) + "}}",
                                "nobody owns it, and it has the set's labels"));
  }
  out.events.push_back(
      {.warning = false,
       .reason = api::reason::adopted,
       .action = event_action,
       .note = cut("Took up " + std::to_string(out.actions.size()) + " machines that nobody owned: " + names_of(s.orphans), 1024)});
  return out;
}

std::vector<Action> adopt_revisions(const Snapshot& s) {
  std::vector<Action> out;
  for (const auto& r : s.orphan_revisions) {
    if (out.size() >= max_actions) break;
    out.push_back(patch(reconcile::kind_of<reconcile::ControllerRevision>, r->metadata,
                        "{\"metadata\":{\"labels\":{" + reconcile::quote(api::label::set_uid) + ":" +
                            reconcile::quote(s.set->metadata.uid) + "}," + owners_with(r->metadata, *s.set) + "}}",
                        "a set of this name left it behind"));
  }
  return out;
}

std::vector<Action> let_revisions_go(const Snapshot& s) {
  std::vector<Action> out;
  for (const auto& r : s.revisions) {
    if (!r.owned || out.size() >= max_actions) continue;
    reconcile::ObjectMeta meta;
    meta.name_space = s.set->metadata.name_space;
    meta.name = r.name;
    meta.uid = r.uid;
    meta.resource_version = r.resource_version;
    auto action = patch(reconcile::kind_of<reconcile::ControllerRevision>, meta, R"({"metadata":{"ownerReferences":null}})",
                        "the set is deleted and leaves what it made");
    action.stage = 0;
    out.push_back(std::move(action));
  }
  return out;
}

}  // namespace endstate::machine_set
