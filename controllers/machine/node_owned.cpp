// What is ours on the Node: recorded in Machine.status before it is set there, and nothing else is ever taken off. A Node's annotations are
// no proof of it: its kubelet may write them (NodeRestriction guards taints and labels only), and would have endstate take a quarantine
// off.
#include <algorithm>

#include "controllers/machine/pass.hpp"

namespace endstate::machine {

using reconcile::name_of;

namespace {

// CRD bounds. What is more isn't recorded, and so not set: said by its absence at the deadline.
constexpr std::size_t max_labels = 64, max_taints = 32;

bool stands(const Node& node, const api::OwnedTaint& t) {
  return std::any_of(node.spec.taints.begin(), node.spec.taints.end(),
                     [&](const auto& x) { return x.key == t.key && x.effect == name_of(t.effect); });
}

template <class T>
bool has(const std::vector<T>& all, const T& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

}  // namespace

const api::NodeTaint* wanted_taint(const Pass& p, std::string_view key, std::string_view effect) {
  for (const auto& t : p.machine.spec.taints)
    if (t.key == key && effect == name_of(t.effect)) return &t;
  return nullptr;
}

// The annotation of an older version counts where the spec says the same: there it can't make us take off what another set.
api::OwnedNodeParts owned_parts(const Pass& p) {
  if (p.machine.status.owned) return *p.machine.status.owned;
  api::OwnedNodeParts out;
  if (!p.in.owned_before) return out;
  for (const Text& key : p.in.owned_before->labels)
    if (p.machine.spec.labels.has(key)) out.labels.push_back(key);
  for (const auto& t : p.in.owned_before->taints)
    if (wanted_taint(p, t.key, name_of(t.effect))) out.taints.push_back(t);
  return out;
}

std::vector<const reconcile::Taint*> contested_taints(const Pass& p) {
  std::vector<const reconcile::Taint*> out;
  const auto owned = owned_parts(p);
  for (const auto& t : p.in.node->spec.taints) {
    const auto* want = wanted_taint(p, t.key, t.effect);
    if (want && !(want->value == t.value) && !has(owned.taints, {want->key, want->effect})) out.push_back(&t);
  }
  return out;
}

bool record_owned(Pass& p) {
  const Node& node = *p.in.node;
  const auto before = owned_parts(p);
  api::OwnedNodeParts now;
  for (const Text& key : before.labels)
    if (p.machine.spec.labels.has(key) || node.metadata.labels.has(key)) now.labels.push_back(key);
  for (const auto& [key, value] : p.machine.spec.labels)
    if (!has(now.labels, key) && now.labels.size() < max_labels) now.labels.push_back(key);
  for (const auto& t : before.taints)
    if (wanted_taint(p, t.key, name_of(t.effect)) || stands(node, t)) now.taints.push_back(t);
  const auto contested = contested_taints(p);
  for (const auto& t : p.machine.spec.taints) {
    const api::OwnedTaint one{t.key, t.effect};
    const bool another =
        std::any_of(contested.begin(), contested.end(), [&](const auto* x) { return x->key == t.key && x->effect == name_of(t.effect); });
    if (!another && !has(now.taints, one) && now.taints.size() < max_taints) now.taints.push_back(one);
  }
  // Never an empty record: by server-side apply the API server makes null of an object whose last list goes, and refuses it.
  p.status.owned.reset();
  if (!(now == api::OwnedNodeParts{})) p.status.owned = std::move(now);
  return p.status.owned == p.machine.status.owned;
}

}  // namespace endstate::machine
