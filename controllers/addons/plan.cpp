#include "controllers/addons/plan.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "apis/v1alpha1/names.hpp"
#include "controllers/common/machine_state.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::addons {
namespace {

namespace reason = api::reason;
using nlohmann::json;
using reconcile::MonoTime, reconcile::Text, reconcile::Verb;
using namespace std::chrono_literals;

// What is never taken away by itself: deleting it deletes what others put into it.
bool holds_data(const api::AddonObject& o) {
  return o.kind == "Namespace" || o.kind == "CustomResourceDefinition" || o.kind == "PersistentVolumeClaim" || o.kind == "PersistentVolume";
}
std::string group_of(std::string_view api_version) {
  const auto slash = api_version.find('/');
  return slash == std::string_view::npos ? std::string() : std::string(api_version.substr(0, slash));
}
std::string id_of(const api::AddonObject& o) {
  return group_of(o.api_version.view()) + "/" + o.kind.str() + "/" + o.name_space.str() + "/" + o.name.str();
}
std::string text_of(const api::AddonObject& o) {
  return o.kind.str() + " " + (o.name_space.empty() ? "" : o.name_space.str() + "/") + o.name.str();
}

class Planner {
 public:
  explicit Planner(const Snapshot& s)
      : s_(s), memory_(*s.memory), now_(s.now.mono), connection_(connection_of(*s.cluster)), uid_(s.cluster->metadata.uid.str()) {}

  Planned run() {
    for (const auto& a : *s_.addons) addon(a);
    leftovers();
    say();
    return std::move(out_);
  }

 private:
  // ---- what is known ----

  std::string mark(const WantedObject& o) const { return std::string(mark_prefix) + uid_ + "/" + o.id() + "/" + o.hash; }
  std::optional<MonoTime> applied(const WantedObject& o) const {
    const auto it = memory_.done.find(mark(o));
    return it == memory_.done.end() ? std::nullopt : std::optional(it->second);
  }
  const api::AddonStatus* before(std::string_view name) const {
    for (const auto& a : s_.cluster->status.addons)
      if (a.name == name) return &a;
    return nullptr;
  }
  // Why it could not be applied in the last pass; empty: it could, or wasn't tried.
  std::string failure(const WantedObject& o, const reconcile::Kind& place) const {
    for (const auto& f : memory_.failures)
      if (f.resource == place.resource && f.verb == Verb::apply && f.name == o.name && f.what.ends_with(" " + key(o, place).str()))
        return f.error.message;
    return {};
  }
  static reconcile::Key key(const WantedObject& o, const reconcile::Kind& place) {
    return {place.resource->namespaced && o.name_space.empty() ? Text("default") : Text(o.name_space), o.name};
  }
  // Clusters that were made together aren't put right together.
  std::chrono::milliseconds own_period() const { return period - std::chrono::seconds(std::hash<std::string>{}(uid_) % 120); }

  // ---- applying ----

  void addon(const Addon& a) {
    for (const auto& o : a.objects) {
      wanted_.insert(o.id());
      if (!o.place && o.name_space.empty()) wanted_.insert(o.id("default"));  // if its kind turns out to have namespaces
    }
    api::AddonStatus status{.name = a.name, .state = api::AddonState::applied, .hash = {}, .message = {}, .objects = {}};
    const auto* old = before(a.name);
    if (old) status.hash = old->hash, status.objects = old->objects;
    if (!a.trouble.empty()) {
      failed(status, a.trouble);
      invalid_ = invalid_.empty() ? a.name : invalid_;
    } else {
      const bool known = old && old->hash == a.hash;  // by an operator before this one
      apply(a, status, known);
    }
    out_.addons.push_back(std::move(status));
  }
  void apply(const Addon& a, api::AddonStatus& status, bool known) {
    bool all = true;
    auto phase = Phase::admission;  // the first that isn't done
    for (const auto& o : a.objects)
      if (!applied(o)) phase = std::min(phase, o.phase), all = false;
    for (const auto& o : a.objects) {
      const auto* place = o.place ? o.place : ask_for(o, status);
      if (!place) continue;
      const auto done = applied(o);
      if (const auto why = failure(o, *place); !why.empty()) failed(status, o.text() + ": " + why);
      if (done && now_ < *done + own_period()) {
        look_at(*done + own_period());
        continue;
      }
      if (o.phase > phase || !is_served(o)) continue;
      write(o, *place, status);
    }
    if (all && status.state == api::AddonState::applied) {
      status.hash = a.hash;
    } else if (status.state == api::AddonState::applied && !known) {
      status.state = api::AddonState::pending;
    }
    pending_ = pending_ || !all;
  }
  void failed(api::AddonStatus& status, const std::string& why) const {
    if (status.state == api::AddonState::failed) return;
    status.state = api::AddonState::failed;
    status.message = std::string_view(why).substr(0, 1024);
  }
  // A CRD among the add-ons that defines it must be there, and have been for a moment.
  bool is_served(const WantedObject& o) {
    for (const auto& a : *s_.addons)
      for (const auto& crd : a.objects) {
        if (crd.defines != o.group_kind()) continue;
        const auto done = applied(crd);
        if (done && now_ >= *done + settles) return true;
        if (done) look_at(*done + settles);
        return false;
      }
    return true;
  }
  // A kind that the cluster must know by itself: which URL it has, says the cluster.
  const reconcile::Kind* ask_for(const WantedObject& o, api::AddonStatus& status) {
    const auto id = "kinds of " + o.api_version;
    const auto* place = found_kind(o, id);
    // In a while again, if it isn't there: its CRD may be another's.
    out_.plan.queries.push_back({.id = id,
                                 .cluster = connection_,
                                 .path = (o.group.empty() ? "/api/" : "/apis/") + o.api_version,
                                 .max_age = place ? std::chrono::milliseconds(period) : 30s});
    if (place && !place->resource->namespaced && !o.name_space.empty()) {
      failed(status, o.text() + ": a " + o.kind + " has no namespace: leave it out");
      return nullptr;
    }
    if (!place && memory_.facts.contains(id)) {
      failed(status, o.text() + ": the cluster knows no " + o.kind + " of " + o.api_version + ": its CRD must be there first");
      look_at(now_ + 30s);
    }
    return place;
  }
  const reconcile::Kind* found_kind(const WantedObject& o, const std::string& id) const {
    const auto fact = memory_.facts.find(id);
    if (fact == memory_.facts.end() || !fact->second.body) return nullptr;
    const auto list = json::parse(*fact->second.body, nullptr, false);
    if (!list.is_object() || !list.contains("resources") || !list["resources"].is_array()) return nullptr;
    for (const auto& r : list["resources"]) {
      const auto name = r.value("name", "");
      if (r.value("kind", "") == o.kind && name.find('/') == std::string::npos)
        return s_.kinds->get(o.group, o.version, o.kind, {name, r.value("namespaced", true)});
    }
    return nullptr;
  }
  void write(const WantedObject& o, const reconcile::Kind& place, api::AddonStatus& status) {
    const auto space = key(o, place).name_space;
    const auto id = o.id(space.view());
    const bool there = std::any_of(status.objects.begin(), status.objects.end(), [&](const auto& x) { return id_of(x) == id; });
    if (!there && status.objects.size() >= api::max_addon_objects) return;  // until something has gone
    if (out_.plan.actions.size() >= max_actions) {
      look_at(now_ + 200ms);
      return;
    }
    if (!there) {
      status.objects.push_back(
          {.api_version = o.api_version, .kind = o.kind, .resource = place.resource->plural, .name_space = space, .name = o.name});
      grown_ = true;
    }
    out_.plan.actions.push_back({.verb = Verb::apply,
                                 .kind = &place,
                                 .cluster = connection_,
                                 .name_space = space,
                                 .name = o.name,
                                 .body = o.body,
                                 .why = "an add-on of its package",
                                 .mark = mark(o)});
    // Then the next phase may go. What the cluster refuses is tried again by the runtime's backoff, and then as often as this.
    look_at(now_ + (failure(o, place).empty() ? std::chrono::milliseconds(200) : std::chrono::milliseconds(30s)));
  }

  // ---- taking away ----

  void leftovers() {
    for (const auto& old : s_.cluster->status.addons)
      if (std::none_of(s_.addons->begin(), s_.addons->end(), [&](const Addon& a) { return old.name == a.name; }))
        out_.addons.push_back({.name = old.name, .state = api::AddonState::pending, .hash = {}, .message = {}, .objects = old.objects});
    if (!invalid_.empty() || pending_ || grown_) return;
    std::size_t asked = 0;
    for (auto& a : out_.addons)
      std::erase_if(a.objects, [&](const api::AddonObject& o) { return !wanted_.contains(id_of(o)) && is_gone(a, o, asked); });
    std::erase_if(out_.addons, [&](const api::AddonStatus& a) {
      return a.objects.empty() && std::none_of(s_.addons->begin(), s_.addons->end(), [&](const Addon& x) { return a.name == x.name; });
    });
  }
  // It is no more ours to think of.
  bool is_gone(const api::AddonStatus& a, const api::AddonObject& o, std::size_t& asked) {
    if (holds_data(o)) {
      out_.plan.events.push_back({.warning = false,
                                  .reason = reason::applying_addons,
                                  .action = "Prune",
                                  .note = text_of(o) + " is no part of add-on " + a.name.str() +
                                          " any more and stays: others' data may be in it. Delete it yourself if nobody needs it",
                                  .regarding = {}});
      return true;
    }
    if (asked++ >= max_gone) {
      look_at(now_ + 1s);
      return false;
    }
    const auto* kind = kind_of(o);
    if (!kind) return false;
    const auto id = "is there: " + id_of(o);
    const auto fact = memory_.facts.find(id);
    out_.plan.queries.push_back({.id = id,
                                 .cluster = connection_,
                                 .resource = kind->resource,
                                 .name_space = o.name_space.str(),
                                 .name = o.name.str(),
                                 .max_age = 5s});
    look_at(now_ + 6s);
    if (fact == memory_.facts.end()) return false;
    if (!fact->second.body) return fact->second.body.error().code == reconcile::Code::not_found;
    const auto object = json::parse(*fact->second.body, nullptr, false);
    const auto meta = object.is_object() ? object.value("metadata", json::object()) : json();
    if (!meta.is_object() || !meta.contains("uid")) return false;
    if (meta.value("labels", json::object()).value(std::string(api::label::addon), "") != a.name.view())
      return true;  // taken over by another
    if (!meta.contains("deletionTimestamp")) remove(o, *kind, meta["uid"].get<std::string>());
    return false;
  }
  const reconcile::Kind* kind_of(const api::AddonObject& o) const {
    const auto group = group_of(o.api_version.view());
    const auto version = group.empty() ? o.api_version.str() : o.api_version.str().substr(group.size() + 1);
    return s_.kinds->get(group, version, o.kind.view(), {o.resource.str(), !o.name_space.empty()});
  }
  void remove(const api::AddonObject& o, const reconcile::Kind& kind, const std::string& uid) {
    if (out_.plan.actions.size() >= max_actions) return;
    out_.plan.actions.push_back({.verb = Verb::remove,
                                 .kind = &kind,
                                 .cluster = connection_,
                                 .name_space = o.name_space,
                                 .name = o.name,
                                 .uid = uid,
                                 .why = "its package doesn't have it any more",
                                 .mark = std::string(mark_prefix) + uid_ + "/gone"});
  }

  // ---- what is said ----

  void say() {
    api::Condition c{.type = api::condition::addons_ready,
                     .status = api::ConditionStatus::true_,
                     .reason = reason::ready,
                     .message = {},
                     .observed_generation = s_.cluster->metadata.generation};
    const auto wrong =
        std::find_if(out_.addons.begin(), out_.addons.end(), [](const auto& a) { return a.state == api::AddonState::failed; });
    const auto open =
        std::find_if(out_.addons.begin(), out_.addons.end(), [](const auto& a) { return a.state == api::AddonState::pending; });
    if (wrong != out_.addons.end())
      set(c, wrong->name == invalid_ ? reason::addon_invalid : reason::addon_failed,
          "add-on " + wrong->name.str() + ": " + wrong->message.str());
    else if (open != out_.addons.end())
      set(c, reason::applying_addons, "add-on " + open->name.str() + " is being applied, or taken away");
    const auto* old = reconcile::find_condition(s_.cluster->status.conditions, c.type.view());
    const auto now = std::chrono::floor<std::chrono::seconds>(s_.now.wall);
    c.last_transition_time = old && old->status == c.status ? old->last_transition_time : now;
    out_.ready = c;
    const bool changed = !old || !(*old == c) || !(out_.addons == s_.cluster->status.addons);
    const auto& meta = s_.cluster->metadata;
    out_.plan.status = reconcile::StatusWrite{.kind = &reconcile::kind_of<api::Cluster>,
                                              .key = meta.key(),
                                              .uid = meta.uid,
                                              .resource_version = meta.resource_version,
                                              .status = changed ? reconcile::encode(StatusPart{out_.addons, {c}}) : std::string(),
                                              .changed = changed,
                                              .first = changed && grown_};
  }
  static void set(api::Condition& c, std::string_view why, const std::string& message) {
    c.status = api::ConditionStatus::false_;
    c.reason = why;
    c.message = std::string_view(message).substr(0, 4096);
  }
  void look_at(MonoTime when) {
    const auto in = std::max<std::chrono::milliseconds>(std::chrono::ceil<std::chrono::milliseconds>(when - now_), 200ms);
    if (!out_.plan.again || in < *out_.plan.again) out_.plan.again = in;
  }

  const Snapshot& s_;
  const reconcile::Memory& memory_;
  MonoTime now_;
  std::string connection_, uid_;
  Planned out_;
  std::set<std::string> wanted_;
  std::string invalid_;  // the first that can't be used
  bool pending_ = false, grown_ = false;
};

// There is a cluster to bring things into.
bool is_there(const Snapshot& s) {
  return s.addons && !s.cluster->metadata.deleting() && !is_paused(*s.cluster) && s.connection.known &&
         s.connection.reachable == api::ConditionStatus::true_;
}

}  // namespace

Planned plan_in_full(const Snapshot& s) { return is_there(s) ? Planner(s).run() : Planned{}; }

reconcile::Plan plan(const Snapshot& snapshot) { return plan_in_full(snapshot).plan; }

}  // namespace endstate::addons
