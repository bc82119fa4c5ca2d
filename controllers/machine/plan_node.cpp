// Opening and closing a Node. Only endstate's own taints are touched, each by a JSON patch that first tests that it is where it was seen:
// a Node's taints are an atomic list that others write too, and a test of the whole Node's version would fail at every heartbeat.
//
// Labels, taints and opening go out as one patch. What the API server refused is sent again as a patch each, so that a label that no Node
// can have keeps no taint away, and neither keeps a machine in service closed.
#include <algorithm>

#include "controllers/machine/pass.hpp"
#include "controllers/machine/refusals.hpp"
#include "reconcile/json/patch.hpp"

namespace endstate::machine {

using reconcile::Action, reconcile::JsonPatch, reconcile::kind_of, reconcile::name_of, reconcile::pointer, reconcile::quote,
    reconcile::Taint, reconcile::Verb;

namespace {

constexpr std::chrono::seconds node_retry{10};  // of a write that was refused

const Taint* find_taint(const Node& node, std::string_view key) {
  for (const Taint& t : node.spec.taints)
    if (t.key == key) return &t;
  return nullptr;
}

// Taints of a Node are one by key and effect (k8s.io/kubernetes pkg/apis/core/validation: validateNodeTaints).
const Taint* find_taint(const Node& node, std::string_view key, std::string_view effect) {
  for (const Taint& t : node.spec.taints)
    if (t.key == key && t.effect == effect) return &t;
  return nullptr;
}

bool is_ours(const Taint& t) { return t.key == api::taint::not_ready || (t.key == api::taint::isolated && t.value == isolated_value); }

// Recorded in the status that is stored: only that may be set or taken off.
bool is_owned(const Pass& p, std::string_view key, std::string_view effect) {
  const auto& owned = p.machine.status.owned;
  return owned && std::any_of(owned->taints.begin(), owned->taints.end(),
                              [&](const api::OwnedTaint& o) { return o.key == key && effect == name_of(o.effect); });
}
bool is_owned_label(const Pass& p, const Text& key) {
  const auto& owned = p.machine.status.owned;
  return owned && std::find(owned->labels.begin(), owned->labels.end(), key) != owned->labels.end();
}

struct Which {
  bool opening = false, spec = false;
};

// Taints: taken off from the back, so that indexes stay true; then what is wanted is put at the end.
void put_taints(const Pass& p, Which which, JsonPatch& patch) {
  const Node& node = *p.in.node;
  const auto& taints = node.spec.taints;
  std::size_t left = taints.size();
  for (std::size_t i = taints.size(); i-- > 0;) {
    const Taint& t = taints[i];
    const auto* want = wanted_taint(p, t.key, t.effect);
    const bool other = which.spec && is_owned(p, t.key, t.effect) && !(want && want->value == t.value);
    if (!(which.opening && is_ours(t)) && !other) continue;
    const std::string place = "/spec/taints/" + std::to_string(i);
    patch.test(place + "/key", quote(t.key)).test(place + "/effect", quote(t.effect)).remove(place);
    --left;
  }
  if (!which.spec) return;
  for (const auto& want : p.machine.spec.taints) {
    const auto effect = name_of(want.effect);
    const Taint* have = find_taint(node, want.key, effect);
    if (!is_owned(p, want.key, effect) || (have && have->value == want.value)) continue;
    const Taint t{.key = want.key, .value = want.value, .effect = effect, .time_added = {}};
    if (taints.empty() && left == 0) {
      patch.test("/metadata/resourceVersion", quote(node.metadata.resource_version));
      patch.add("/spec/taints", "[" + reconcile::encode(t) + "]");
    } else {
      patch.add("/spec/taints/-", reconcile::encode(t));
    }
    ++left;
  }
}

// Without a map there is nothing to test but the whole Node's version: adding one would overwrite a map that appears meanwhile.
struct MapPatch {
  JsonPatch& patch;
  std::string_view map;
  const reconcile::Labels& have;
  const Text& version;
  bool made = false;

  void set(std::string_view key, std::string_view value) {
    if (have.has(key) && have.get(key) == value) return;
    if (have.empty() && !made) patch.test("/metadata/resourceVersion", quote(version)).add(map, "{}");
    made = true;
    patch.add(std::string(map) + "/" + pointer(key), quote(value));
  }
  void drop(std::string_view key) {
    if (have.has(key)) patch.remove(std::string(map) + "/" + pointer(key));
  }
};

void put_labels(const Pass& p, JsonPatch& patch) {
  const auto& meta = p.in.node->metadata;
  MapPatch labels{patch, "/metadata/labels", meta.labels, meta.resource_version};
  const auto& wanted = p.machine.spec.labels;
  labels.set(api::label::cluster_name, p.machine.spec.cluster_name);
  for (const auto& [key, value] : wanted)
    if (is_owned_label(p, key)) labels.set(key, value);
  if (!p.machine.status.owned) return;
  for (const Text& key : p.machine.status.owned->labels)
    if (!wanted.has(key)) labels.drop(key);
}

// Whose Node it is, for people and for the caches' indexes. It proves nothing.
void put_marks(const Pass& p, JsonPatch& patch) {
  const auto& meta = p.in.node->metadata;
  MapPatch notes{patch, "/metadata/annotations", meta.annotations, meta.resource_version};
  notes.set(api::annotation::machine, p.key());
  notes.set(api::annotation::machine_uid, p.machine.metadata.uid);
  if (!patch.empty()) notes.drop(api::annotation::owned);  // an older version's record, which counts no more; no write of its own
}

Action node_patch(const Pass& p, const JsonPatch& patch, std::string why) {
  Action a{
      .verb = Verb::json_patch, .kind = &kind_of<Node>, .cluster = p.in.connection, .name_space = {}, .name = p.in.node->metadata.name};
  a.uid = p.in.node->metadata.uid;
  a.body = patch.str();
  a.why = std::move(why);
  return a;
}

// Without a list there is nothing to test but the whole Node's version: adding one would overwrite a list that appears meanwhile.
JsonPatch adding_patch(const Node& node, std::string_view key, std::string_view value) {
  const Taint t{.key = key, .value = value, .effect = api::taint::no_schedule, .time_added = {}};
  JsonPatch patch;
  if (!node.spec.taints.empty()) return patch.add("/spec/taints/-", reconcile::encode(t));
  patch.test("/metadata/resourceVersion", quote(node.metadata.resource_version));
  return patch.add("/spec/taints", "[" + reconcile::encode(t) + "]");
}

// The spec's own taints can keep pods away from a node that they may come to now, or drive off those that are there.
bool adds_closing_taint(const Pass& p, bool was_open) {
  const auto& wanted = p.machine.spec.taints;
  return std::any_of(wanted.begin(), wanted.end(), [&](const api::NodeTaint& t) {
    const Taint* have = find_taint(*p.in.node, t.key, name_of(t.effect));
    return is_owned(p, t.key, name_of(t.effect)) && !(have && have->value == t.value) &&
           (t.effect == api::TaintEffect::no_execute || (t.effect == api::TaintEffect::no_schedule && was_open));
  });
}

// By the grant of what is under way, else by one of its own.
bool may_close(Pass& p) {
  if (p.updating()) return p.hold(*p.machine.status.operation);
  auto request = p.request(api::operation::close_scheduling, {}, p.machine.metadata.generation.value_or(0));
  request.lasts = std::chrono::seconds(300);
  return p.ask(std::move(request));
}

void put(Pass& p, const JsonPatch& patch, bool guarded, const char* why) {
  if (patch.empty() || (guarded && !may_close(p))) return;
  p.out.actions.push_back(node_patch(p, patch, why));
  p.out.actions.back().guarded = guarded;
}

// Another's taint of a wanted key and effect: a Node can't have both, and endstate doesn't fight.
void say_contested(Pass& p, const Taint& t) {
  p.block("Taint", t.key, reason::node_refused,
          "Node " + p.in.node->metadata.name.str() + " has the taint " + t.key.str() + "=" + t.value.str() + ":" + t.effect.str() +
              ", which endstate didn't set: take it off there, or choose another key in the machine's spec.taints");
}

struct Missing {
  JsonPatch opening, labels, taints;
};

Missing missing_parts(const Pass& p) {
  Missing m;
  put_taints(p, {.opening = true}, m.opening);
  put_marks(p, m.opening);
  put_labels(p, m.labels);
  put_taints(p, {.spec = true}, m.taints);
  return m;
}

bool is_refused(const Pass& p) {
  const auto& shown = p.machine.status.blocked_by;
  return shown && shown->kind == "Node" && shown->reason == reason::node_refused;
}

const reconcile::Outcome* refused_write(const Pass& p) {
  for (const auto& f : p.in.failures)
    if (f.resource && f.resource->plural == "nodes" && f.verb == Verb::json_patch && is_refusal(f.error)) return &f;
  return nullptr;
}

// `whole`: a node that isn't open yet opens when all else stands; a machine in service isn't kept closed for a label.
void put_missing(Pass& p, const Missing& m, bool was_open, bool whole) {
  if (!is_refused(p)) {
    const bool guarded = adds_closing_taint(p, was_open);
    JsonPatch all;
    put_taints(p, {.opening = true, .spec = true}, all);
    put_labels(p, all);
    put_marks(p, all);
    return put(p, all, guarded, was_open ? "keep the labels and taints of the spec on the node" : "open the node for pods");
  }
  put(p, m.taints, adds_closing_taint(p, true), "keep the taints of the spec on the node");
  put(p, m.labels, false, "keep the labels of the spec on the node");
  if (!whole || (m.taints.empty() && m.labels.empty())) put(p, m.opening, false, "open the node for pods");
}

bool bring_about(Pass& p, bool whole) {
  const bool was_open = is_open(p);
  if (p.node_is != NodeIs::ours) return false;
  const bool recorded = record_owned(p);
  const auto contested = contested_taints(p);
  if (!contested.empty()) say_contested(p, *contested.front());
  const Missing m = missing_parts(p);
  const bool nothing = m.opening.empty() && m.labels.empty() && m.taints.empty();
  if (nothing && recorded) return was_open && (!whole || contested.empty());
  // First the record, in a pass of its own: what is set before it is recorded would stay on the Node for ever if we died between.
  const bool only_opening = !whole && m.labels.empty() && m.taints.empty();
  if ((recorded || only_opening) && !node_waits(p)) put_missing(p, m, was_open, whole);
  return was_open && !whole;
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

bool node_waits(Pass& p) {
  const auto* refused = refused_write(p);
  if (!refused && !is_refused(p)) return false;
  const auto& shown = p.machine.status.blocked_by;
  p.block("Node", p.in.node->metadata.name, reason::node_refused,
          refused ? "the API server refuses a change of Node " + p.in.node->metadata.name.str() + ": " + words_of(refused->error)
                  : shown->message.str());
  const auto ago = refused ? std::chrono::nanoseconds(0) : p.in.node_refused.value_or(node_retry);
  const bool waits = ago < node_retry;  // what was refused a moment ago would be so again
  p.again(waits ? node_retry - ago : node_retry);
  return waits;
}

const api::BlockedBy* node_trouble(const Pass& p) {
  const auto& b = p.status.blocked_by;
  return b && b->reason == reason::node_refused ? &*b : nullptr;
}

bool keep_node(Pass& p) { return bring_about(p, false); }
bool complete_node(Pass& p) { return bring_about(p, true); }

void close_node(Pass& p) {
  if (node_waits(p)) return;
  Action a = node_patch(p, adding_patch(*p.in.node, api::taint::not_ready, {}), "close the node: " + p.worst().type.str() + " is False");
  a.guarded = true;
  p.out.actions.push_back(std::move(a));
}

void isolate(Pass& p, std::uint8_t stage) {
  if (node_waits(p)) return;
  Action a = node_patch(p, adding_patch(*p.in.node, api::taint::isolated, isolated_value), "no new pods, before those that run are moved");
  a.stage = stage;
  a.guarded = true;
  p.out.actions.push_back(std::move(a));
}

}  // namespace endstate::machine
