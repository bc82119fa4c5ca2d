// Opening and closing a Node. Only endstate's own taints are touched, each by a JSON patch that first tests that it is where it was seen:
// a Node's taints are an atomic list that others write too, and a test of the whole Node's version would fail at every heartbeat.
#include <algorithm>

#include "controllers/machine/pass.hpp"
#include "reconcile/json/patch.hpp"

namespace endstate::machine {

using reconcile::Action, reconcile::JsonPatch, reconcile::kind_of, reconcile::pointer, reconcile::quote, reconcile::Taint, reconcile::Verb;

namespace {

const Taint* find_taint(const Node& node, std::string_view key) {
  for (const Taint& t : node.spec.taints)
    if (t.key == key) return &t;
  return nullptr;
}

bool is_ours(const Taint& t) { return t.key == api::taint::not_ready || (t.key == api::taint::isolated && t.value == isolated_value); }

std::string effect_of(const api::NodeTaint& t) { return std::string(reconcile::name_of(t.effect)); }

bool wants_taint(const Pass& p, const OwnedTaint& owned) {
  return std::any_of(p.machine.spec.taints.begin(), p.machine.spec.taints.end(),
                     [&](const api::NodeTaint& t) { return t.key == owned.key && owned.effect == effect_of(t); });
}

bool was_owned(const Pass& p, const Taint& t) {
  if (!p.in.owned) return false;
  const auto& all = p.in.owned->taints;
  return std::any_of(all.begin(), all.end(), [&](const OwnedTaint& o) { return o.key == t.key && o.effect == t.effect; });
}

bool has_wanted(const Node& node, const api::NodeTaint& want) {
  return std::any_of(node.spec.taints.begin(), node.spec.taints.end(),
                     [&](const Taint& t) { return t.key == want.key && t.value == want.value && t.effect == effect_of(want); });
}

OwnedOnNode wanted_ownership(const Pass& p) {
  OwnedOnNode owned;
  for (const auto& [key, value] : p.machine.spec.labels) owned.labels.push_back(key);
  for (const auto& t : p.machine.spec.taints) owned.taints.push_back({t.key, effect_of(t)});
  return owned;
}

// Taints: taken off from the back, so that indexes stay true; then what is wanted is put at the end.
void patch_taints(const Pass& p, const Node& node, bool open, JsonPatch& patch) {
  const auto& taints = node.spec.taints;
  std::size_t left = taints.size();
  for (std::size_t i = taints.size(); i-- > 0;) {
    const Taint& t = taints[i];
    const bool stale = was_owned(p, t) && !wants_taint(p, {t.key, t.effect});
    const bool changed = was_owned(p, t) && !stale &&
                         std::none_of(p.machine.spec.taints.begin(), p.machine.spec.taints.end(),
                                      [&](const auto& w) { return w.key == t.key && w.value == t.value && t.effect == effect_of(w); });
    if (!(open && is_ours(t)) && !stale && !changed) continue;
    const std::string place = "/spec/taints/" + std::to_string(i);
    patch.test(place + "/key", quote(t.key)).test(place + "/effect", quote(t.effect)).remove(place);
    --left;
  }
  for (const auto& want : p.machine.spec.taints) {
    if (has_wanted(node, want)) continue;
    const Taint t{.key = want.key, .value = want.value, .effect = effect_of(want), .time_added = {}};
    if (taints.empty() && left == 0) {
      patch.test("/metadata/resourceVersion", quote(node.metadata.resource_version));
      patch.add("/spec/taints", "[" + reconcile::encode(t) + "]");
      left = 1;
    } else {
      patch.add("/spec/taints/-", reconcile::encode(t));
      ++left;
    }
  }
}

void put_map(JsonPatch& patch, std::string_view map, const reconcile::Labels& have, const reconcile::Labels& want,
             const std::vector<Text>& drop) {
  const bool none = have.empty();
  bool made = !none;
  for (const auto& [key, value] : want) {
    if (have.has(key) && have.get(key) == value.view()) continue;
    if (!made) patch.add(map, "{}");
    made = true;
    patch.add(std::string(map) + "/" + pointer(key), quote(value));
  }
  for (const Text& key : drop)
    if (have.has(key) && !want.has(key)) patch.remove(std::string(map) + "/" + pointer(key));
}

std::string opening_patch(const Pass& p, const Node& node, bool open) {
  JsonPatch patch;
  patch_taints(p, node, open, patch);
  reconcile::Labels labels = p.machine.spec.labels;
  labels.set(api::label::cluster_name, p.machine.spec.cluster_name);
  put_map(patch, "/metadata/labels", node.metadata.labels, labels, p.in.owned ? p.in.owned->labels : std::vector<Text>());
  reconcile::Labels notes;
  notes.set(api::annotation::machine, p.key());
  notes.set(api::annotation::machine_uid, p.machine.metadata.uid);
  const OwnedOnNode owned = wanted_ownership(p);
  std::vector<Text> drop;
  if (owned == OwnedOnNode{})
    drop.push_back(api::annotation::owned);
  else
    notes.set(api::annotation::owned, reconcile::encode(owned));
  put_map(patch, "/metadata/annotations", node.metadata.annotations, notes, drop);
  return patch.empty() ? std::string() : patch.str();
}

// Without a list there is nothing to test but the whole Node's version: adding one would overwrite a list that appears meanwhile.
std::string adding_patch(const Node& node, std::string_view key, std::string_view value) {
  const Taint t{.key = key, .value = value, .effect = api::taint::no_schedule, .time_added = {}};
  JsonPatch patch;
  if (!node.spec.taints.empty()) return patch.add("/spec/taints/-", reconcile::encode(t)).str();
  patch.test("/metadata/resourceVersion", quote(node.metadata.resource_version));
  return patch.add("/spec/taints", "[" + reconcile::encode(t) + "]").str();
}

Action node_patch(const Pass& p, std::string body, std::string why) {
  Action a{
      .verb = Verb::json_patch, .kind = &kind_of<Node>, .cluster = p.in.connection, .name_space = {}, .name = p.in.node->metadata.name};
  a.uid = p.in.node->metadata.uid;
  a.body = std::move(body);
  a.why = std::move(why);
  return a;
}

}  // namespace

bool has_taint(const Node& node, std::string_view key) { return find_taint(node, key) != nullptr; }
bool isolated_by_us(const Node& node) {
  const Taint* t = find_taint(node, api::taint::isolated);
  return t && t->value == isolated_value;
}
bool isolated_by_other(const Node& node) {
  const Taint* t = find_taint(node, api::taint::isolated);
  return t && !(t->value == isolated_value);
}

bool is_open(const Pass& p) {
  if (p.node_is != NodeIs::ours) return false;
  const Node& node = *p.in.node;
  return !has_taint(node, api::taint::not_ready) && !has_taint(node, api::taint::isolated) &&
         node.metadata.annotations.get(api::annotation::machine_uid) == p.machine.metadata.uid.view();
}

// The spec's own taints can keep pods away from a node that they may come to now, or drive off those that are there.
bool adds_closing_taint(const Pass& p, bool was_open) {
  const auto& wanted = p.machine.spec.taints;
  return std::any_of(wanted.begin(), wanted.end(), [&](const api::NodeTaint& t) {
    return !has_wanted(*p.in.node, t) &&
           (t.effect == api::TaintEffect::no_execute || (t.effect == api::TaintEffect::no_schedule && was_open));
  });
}

bool open_node(Pass& p) {
  std::string body = opening_patch(p, *p.in.node, true);
  if (body.empty()) return is_open(p);
  const bool was_open = is_open(p);
  Action a = node_patch(p, std::move(body), was_open ? "keep the labels and taints of the spec on the node" : "open the node for pods");
  if (adds_closing_taint(p, was_open)) {
    auto request = p.request(api::operation::close_scheduling, {}, p.machine.metadata.generation.value_or(0));
    request.lasts = std::chrono::seconds(300);
    if (!p.ask(std::move(request))) return was_open;
    a.guarded = true;
  }
  p.out.actions.push_back(std::move(a));
  return was_open;  // labels and taints of the spec alone don't hold anything up
}

void close_node(Pass& p) {
  Action a = node_patch(p, adding_patch(*p.in.node, api::taint::not_ready, {}), "close the node: " + p.worst().type.str() + " is False");
  a.guarded = true;
  p.out.actions.push_back(std::move(a));
}

void isolate(Pass& p, std::uint8_t stage) {
  Action a = node_patch(p, adding_patch(*p.in.node, api::taint::isolated, isolated_value), "no new pods, before those that run are moved");
  a.stage = stage;
  a.guarded = true;
  p.out.actions.push_back(std::move(a));
}

}  // namespace endstate::machine
