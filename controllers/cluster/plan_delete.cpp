#include "controllers/cluster/plan_delete.hpp"

#include "controllers/common/machine_state.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::cluster {
namespace {

using reconcile::Action, reconcile::ConditionStatus, reconcile::Verb;

template <class T>
Action remove(const T& object, std::string why) {
  return {.verb = Verb::remove,
          .kind = &reconcile::kind_of<T>,
          .name_space = object.metadata.name_space,
          .name = object.metadata.name,
          .uid = object.metadata.uid,
          .why = std::move(why)};
}

Action remove_finalizer(const api::Cluster& c) {
  std::size_t at = 0;
  while (at < c.metadata.finalizers.size() && !(c.metadata.finalizers[at] == api::finalizer::cluster)) ++at;
  const auto path = reconcile::quote("/metadata/finalizers/" + std::to_string(at));
  const auto test = [](const std::string& where, std::string_view value) {
    return "{\"op\":\"test\",\"path\":" + where + ",\"value\":" + reconcile::quote(value) + "}";
  };
  return {.verb = Verb::json_patch,
          .kind = &reconcile::kind_of<api::Cluster>,
          .name_space = c.metadata.name_space,
          .name = c.metadata.name,
          .body = "[" + test("\"/metadata/uid\"", c.metadata.uid) + "," + test(path, api::finalizer::cluster) +
                  ",{\"op\":\"remove\",\"path\":" + path + "}]",
          .uid = c.metadata.uid,
          .why = "nothing of it is left"};
}

std::string left_text(const Snapshot& s) {
  return std::to_string(s.sets.size()) + " MachineSets and " + std::to_string(s.machines.size()) + " Machines";
}

// What becomes of its Machines while its API server is away: controllers/machine/plan_delete.cpp.
std::string unseen_text(const Snapshot& s) {
  if (s.machines.empty() || s.connection.reachable == ConditionStatus::true_ || connection_of(*s.cluster).empty()) return {};
  return "; its API server can't be seen: Machines that are being deleted go 15 min after this Cluster was, at once if it or they are "
         "annotated endstate.dev/force-delete, and their Hosts are marked NotWiped";
}

bool is_protected(const reconcile::ObjectMeta& meta) {
  return meta.annotations.get(api::annotation::delete_protection) == api::protection::always;
}

// The sets first: they delete their machines in bounded numbers, and would make new ones of those that we deleted.
Deletion cascade(const Snapshot& s) {
  Deletion out;
  std::size_t kept = 0;
  const auto take = [&](const auto& object, std::string why) {
    if (object.metadata.deleting()) return;
    if (is_protected(object.metadata))
      ++kept;
    else if (out.actions.size() < max_actions)
      out.actions.push_back(remove(object, std::move(why)));
  };
  for (const auto& set : s.sets) take(*set, "its Cluster is deleted, and annotated Cascading");
  if (s.sets.empty())
    for (const auto& m : s.machines) take(*m, "its Cluster is deleted, and annotated Cascading");
  out.stalled = kept > 0 && out.actions.empty();
  out.reason = out.stalled ? api::reason::delete_protected : api::reason::deleting;
  out.message = left_text(s) + " are still being deleted" + unseen_text(s);
  if (kept > 0) out.message += "; " + std::to_string(kept) + " carry the annotation endstate.dev/delete-protection: Always: take it off";
  return out;
}

// The control plane of a Hosted cluster, when nothing uses it any more.
Deletion control_plane(const Snapshot& s) {
  auto teardown = plan_teardown({.cluster = *s.cluster, .facts = s.hosted, .has_machines = false, .paused = false, .now = s.now});
  if (teardown.left.empty())
    return {.actions = {remove_finalizer(*s.cluster)}, .done = true, .reason = api::reason::deleting, .message = {}};
  Deletion out{.actions = std::move(teardown.actions), .reason = api::reason::deleting, .message = std::move(teardown.left)};
  out.permit = std::move(teardown.permit);
  out.waits = true;
  return out;
}

}  // namespace

Deletion plan_delete(const Snapshot& s) {
  const auto& cluster = *s.cluster;
  const auto protection = cluster.metadata.annotations.get(api::annotation::delete_protection);
  if (protection == api::protection::always)
    return {.actions = {},
            .reason = api::reason::delete_protected,
            .message = "the annotation endstate.dev/delete-protection: Always keeps it: take the annotation off to let it go",
            .stalled = true};
  const bool hosted = cluster.spec.control_plane.type == api::ControlPlaneType::hosted;
  if (s.sets.empty() && s.machines.empty() && hosted) return control_plane(s);
  if (s.sets.empty() && s.machines.empty())
    return {.actions = {remove_finalizer(cluster)}, .done = true, .reason = api::reason::deleting, .message = {}};
  if (protection == api::protection::cascading) return cascade(s);
  Deletion out;
  out.reason = api::reason::machines_remain;
  out.message = left_text(s) +
                " still belong to it: delete them, or annotate it endstate.dev/delete-protection: Cascading to delete them with it" +
                unseen_text(s);
  // While all of them are on their way out it waits for time only.
  for (const auto& set : s.sets) out.stalled = out.stalled || !set->metadata.deleting();
  for (const auto& m : s.machines) out.stalled = out.stalled || !m->metadata.deleting();
  return out;
}

}  // namespace endstate::cluster
