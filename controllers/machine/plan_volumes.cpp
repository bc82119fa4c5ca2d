// After the drain a host isn't given back while volumes are attached to its node: the attach-detach controller detaches them when the pods
// are gone, and a host that is wiped under them leaves them attached for minutes (k8s.io/kubernetes pkg/controller/volume/attachdetach:
// maxWaitForUnmountDuration), with their pods waiting elsewhere.
#include <algorithm>

#include "controllers/machine/pass.hpp"
#include "controllers/machine/refusals.hpp"

namespace endstate::machine {

namespace {

constexpr std::chrono::seconds ask_again{10};

// One list for all nodes: attachments can't be selected by node. From the API server's memory. A big cluster has more than a list may hold
// (Code::invalid): there the Node's own list counts, which has no VolumeAttachment's name.
void ask_for_volumes(Pass& p) {
  reconcile::Query q{.id = std::string(volumes_query), .cluster = p.in.connection, .resource = attachments.resource};
  q.query = "resourceVersion=0";
  q.max_age = std::chrono::milliseconds(5'000);
  q.items = &attachments;
  p.out.queries.push_back(std::move(q));
}

void ask_for_node(Pass& p) {
  reconcile::Query q{.id = std::string(node_volumes_query), .cluster = p.in.connection, .resource = &reconcile::resource_of<Node>};
  q.name = p.in.node->metadata.name.str();
  q.query = "resourceVersion=0";
  q.max_age = std::chrono::milliseconds(5'000);
  p.out.queries.push_back(std::move(q));
}

std::string name_of_attachment(const Attachment& a) {
  return a.metadata.name.str() + " (" + (a.spec.source.volume.empty() ? "" : "PersistentVolume " + a.spec.source.volume.str() + ", ") +
         a.spec.attacher.str() + ")";
}

template <class T, class Name>
std::string name_some(const std::vector<T>& all, Name name) {
  std::string text = std::to_string(all.size()) + (all.size() == 1 ? " volume is" : " volumes are") + " still attached: ";
  for (std::size_t i = 0; i < std::min<std::size_t>(3, all.size()); ++i) text += (i ? ", " : "") + name(all[i]);
  return all.size() > 3 ? text + ", ..." : text;
}

bool wait(Pass& p, std::string_view kind, std::string_view name, const std::string& message, std::chrono::nanoseconds left) {
  if (left.count() <= 0) {
    p.warn(reason::volumes_attached, "Delete", "going on all the same: " + message);
    return true;
  }
  if (!name.empty()) p.block(kind, name, reason::volumes_attached, message);
  p.condition(api::condition::deleting, ConditionStatus::true_, reason::volumes_attached, message);
  p.again(std::min<std::chrono::nanoseconds>(ask_again, left));
  return false;
}

bool wait_by_node(Pass& p, std::chrono::nanoseconds left) {
  ask_for_node(p);
  const auto& name = p.in.node->metadata.name;
  if (!p.in.node_volumes) return wait(p, {}, {}, "looking for volumes that are still attached", left);
  if (!*p.in.node_volumes)
    return wait(p, "Node", name, "the Node's attached volumes can't be read: " + words_of(p.in.node_volumes->error()), left);
  const auto& volumes = (*p.in.node_volumes)->status.volumes;
  if (volumes.empty()) return true;
  return wait(p, "Node", name, name_some(volumes, [](const AttachedVolume& v) { return v.name.str(); }), left);
}

}  // namespace

bool volumes_detached(Pass& p) {
  // Nobody detaches from a node that isn't heard, or pods that were left there: then it would be waited for in vain.
  const auto* drained = find_condition(p.status.conditions, api::condition::drained);
  const bool unheard = p.silent() || p.gates[2].status == ConditionStatus::unknown;
  if (!p.in_service || p.node_is != NodeIs::ours || is_drain_skipped(p) || unheard || !drained || drained->status != ConditionStatus::true_)
    return true;
  const std::chrono::nanoseconds left = p.left(drained->last_transition_time, volume_detach_timeout(p.machine.spec.deletion));
  ask_for_volumes(p);
  if (!p.in.volumes) return wait(p, {}, {}, "looking for volumes that are still attached", left);
  if (!*p.in.volumes) {
    const auto& error = p.in.volumes->error();
    if (error.code == reconcile::Code::invalid) return wait_by_node(p, left);
    const std::string message = "attached volumes can't be listed: " + words_of(error);
    if (error.code != reconcile::Code::forbidden) return wait(p, "Node", p.in.node->metadata.name, message, left);
    p.warn(reason::rights_missing, "Delete",
           message + ": the host is given back without waiting for them; kubectl endstate rights CLUSTER prints the rule that lacks");
    return true;
  }
  if ((**p.in.volumes).empty()) return true;
  return wait(p, "VolumeAttachment", (**p.in.volumes).front()->metadata.name,
              name_some(**p.in.volumes, [](const auto& a) { return name_of_attachment(*a); }), left);
}

}  // namespace endstate::machine
