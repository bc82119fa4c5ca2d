#include "reconcile/sim/sim_api.hpp"

#include <algorithm>
#include <deque>
#include <list>
#include <nlohmann/json.hpp>

#include "reconcile/kube/kind.hpp"
#include "reconcile/kube/selector.hpp"

namespace reconcile {
namespace {

using nlohmann::json;
using namespace std::chrono_literals;

// What a list or watch chooses.
struct Filter {
  std::string name_space;
  std::vector<std::string> labels, fields;

  bool matches(const json& object) const {
    const auto& metadata = object.at("metadata");
    if (!name_space.empty() && metadata.value("namespace", "") != name_space) return false;
    std::string kept;
    const auto label = [&](const std::string& key) -> const std::string* {
      const auto all = metadata.find("labels");
      if (all == metadata.end() || !all->contains(key)) return nullptr;
      kept = all->at(key).get<std::string>();
      return &kept;
    };
    const auto field = [&](const std::string& path) -> const std::string* {  // an absent field selects as ""
      const json* at = &object;
      std::string_view rest = path;
      while (at && !rest.empty()) {
        const auto dot = std::min(rest.find('.'), rest.size());
        const std::string part(rest.substr(0, dot));
        at = at->is_object() && at->contains(part) ? &at->at(part) : nullptr;
        rest.remove_prefix(std::min(dot + 1, rest.size()));
      }
      kept = at && at->is_string() ? at->get<std::string>() : "";
      return &kept;
    };
    return std::all_of(labels.begin(), labels.end(), [&](const auto& r) { return satisfied(r, label); }) &&
           std::all_of(fields.begin(), fields.end(), [&](const auto& r) { return satisfied(r, field); });
  }
};

// The one list that is a map here (x-kubernetes-list-type: map, by type): several managers write conditions of one object.
bool is_conditions(const std::string& key, const json& value) {
  return key == "conditions" && value.is_array() &&
         std::all_of(value.begin(), value.end(), [](const json& c) { return c.is_object() && c.contains("type"); });
}
bool has_condition(const json& conditions, const json& like) {
  return std::any_of(conditions.begin(), conditions.end(), [&](const json& c) { return c["type"] == like["type"]; });
}
// `drop` without `keep` leaves; `add` comes in, instead of what has its type.
void merge_conditions(json& conditions, const json& drop, const json& keep, const json& add) {
  json out = json::array();
  for (const auto& c : conditions)
    if (!has_condition(add, c) && (!has_condition(drop, c) || has_condition(keep, c))) out.push_back(c);
  for (const auto& c : add) out.push_back(c);
  std::sort(out.begin(), out.end(), [](const json& a, const json& b) { return a["type"] < b["type"]; });
  conditions = std::move(out);
}

// All that a field manager no longer applies goes; empty objects that are left over go too.
void remove_dropped(json& object, const json& before, const json& now) {
  if (!object.is_object() || !before.is_object()) return;
  for (const auto& [key, old] : before.items()) {
    const auto it = object.find(key);
    if (it == object.end()) continue;
    if (is_conditions(key, old) && is_conditions(key, *it)) {
      const auto kept = now.is_object() && now.contains(key) && is_conditions(key, now.at(key)) ? now.at(key) : json::array();
      merge_conditions(*it, old, kept, json::array());
      continue;
    }
    if (!now.is_object() || !now.contains(key)) {
      if (old.is_object() && it->is_object()) {
        remove_dropped(*it, old, json::object());
        if (it->empty()) object.erase(key);
      } else {
        object.erase(key);
      }
    } else {
      remove_dropped(*it, old, now.at(key));
    }
  }
}

void merge_applied(json& object, const json& applied) {
  for (const auto& [key, value] : applied.items()) {
    if (value.is_object() && object.contains(key) && object.at(key).is_object())
      merge_applied(object[key], value);
    else if (object.contains(key) && is_conditions(key, value) && is_conditions(key, object.at(key)))
      merge_conditions(object[key], json::array(), json::array(), value);
    else
      object[key] = value;
  }
}

Error conflict(std::string message) { return {Code::conflict, std::move(message), 0ms, "Conflict"}; }
Error unprocessable(std::string message) { return {Code::invalid, std::move(message), 0ms, "Invalid"}; }

using ObjectKey = std::pair<std::string, std::string>;  // namespace, name
struct Shelf {                                          // all objects of one resource
  const Resource* resource = nullptr;
  std::map<ObjectKey, json> objects;
  std::map<std::string, json> applied;  // by "namespace/name|manager|subresource"
};
std::string shelf_name(const Resource& r) { return std::string(r.plural) + "." + std::string(r.group); }

struct Happened {
  std::uint64_t version;
  std::string shelf;
  json before, after;  // null: was not, is no more (then `after` holds the last state, with the version of the delete)
  bool gone = false;
};

}  // namespace

struct SimApi::Saved {
  std::uint64_t version;
  std::map<std::string, Shelf> shelves;
};

struct SimApi::Impl {
  struct Watcher {
    std::string shelf;
    const Resource* resource;
    Filter filter;
    bool bookmarks;
    Push push;
    End end;
  };

  SimApi& api;
  SimWorld& world;
  SimApiOptions options;
  std::uint64_t version = 100, uids = 0, forgotten = 0;
  std::map<std::string, Shelf> shelves;
  std::deque<Happened> history;
  std::list<std::weak_ptr<Watcher>> watchers;
  bool down = false;
  // Timers outlive nobody: they hold this.
  std::shared_ptr<Impl*> self = std::make_shared<Impl*>(this);

  Impl(SimApi& a, SimWorld& w, SimApiOptions o) : api(a), world(w), options(std::move(o)) {}

  void later(std::chrono::nanoseconds delay, std::function<void()> task) {
    world.post(world.now() + delay, [weak = std::weak_ptr(self), task = std::move(task)] {
      if (weak.lock()) task();
    });
  }
  Shelf& shelf(const Resource& r) {
    auto& s = shelves[shelf_name(r)];
    s.resource = &r;
    return s;
  }
  bool has_status(const Resource& r) const { return !options.without_status.contains(r.plural); }
  static Error not_found(const Call& c) {
    return {Code::not_found, std::string(c.resource->plural) + " \"" + c.name + "\" not found", 0ms, "NotFound"};
  }

  // Gives an event to the watchers whose filter it concerns; what stops matching is a delete to them, what starts is an add.
  static std::optional<std::string> event_for(const Watcher& w, const Happened& h) {
    const bool was = !h.before.is_null() && w.filter.matches(h.before), is = !h.gone && w.filter.matches(h.after);
    if (!was && !is) return std::nullopt;
    const char* type = !was ? "ADDED" : is ? "MODIFIED" : "DELETED";
    json object = h.after;
    if (was && !is && !h.gone) {  // it has left the filter: the last state that matched, with the new version
      object = h.before;
      object["metadata"]["resourceVersion"] = h.after["metadata"]["resourceVersion"];
    }
    return event(type, object);
  }
  static std::string event(std::string_view type, const json& object) {
    return "{\"type\":\"" + std::string(type) + "\",\"object\":" + object.dump() + "}";
  }
  void tell(Happened h) {
    for (const auto& weak : std::list(watchers))
      if (const auto w = weak.lock(); w && w->shelf == h.shelf)
        if (auto e = event_for(*w, h)) w->push(std::move(*e));
    history.push_back(std::move(h));
    while (history.size() > options.history) {
      forgotten = history.front().version;
      history.pop_front();
    }
  }

  // Stores what a write made of an object; deletes it when it was waiting for its last finalizer.
  json commit(Shelf& s, const ObjectKey& key, json object) {
    auto it = s.objects.find(key);
    json before = it == s.objects.end() ? json() : it->second;
    if (!before.is_null()) {
      json same = object;
      same["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"];
      if (same == before) return before;  // a no-op
    }
    object["metadata"]["resourceVersion"] = std::to_string(++version);
    const auto& metadata = object["metadata"];
    if (metadata.contains("deletionTimestamp") && (!metadata.contains("finalizers") || metadata["finalizers"].empty())) {
      erase(s, key, object);
      return object;
    }
    s.objects[key] = object;
    tell({version, shelf_name(*s.resource), before, object});
    if (metadata.contains("ownerReferences")) later(world.between(100ms, 1s), [this, &s, key] { collect(s, key); });
    return object;
  }
  void erase(Shelf& s, const ObjectKey& key, json last) {
    const json before = s.objects.at(key);
    s.objects.erase(key);
    std::erase_if(s.applied, [&](const auto& a) { return a.first.starts_with(key.first + "/" + key.second + "|"); });
    last["metadata"]["resourceVersion"] = std::to_string(version);
    tell({version, shelf_name(*s.resource), before, last, true});
    const std::string uid = before["metadata"]["uid"];
    for (auto& [name, other] : shelves)
      for (auto& [k, o] : other.objects)
        for (const auto& owner : o["metadata"].value("ownerReferences", json::array()))
          if (owner.value("uid", "") == uid) later(world.between(100ms, 1s), [this, &shelf = other, k = k] { collect(shelf, k); });
  }
  bool alive(const std::string& uid) const {
    for (const auto& [name, s] : shelves)
      for (const auto& [k, o] : s.objects)
        if (o["metadata"]["uid"] == uid) return true;
    return false;
  }
  // The garbage collector (pkg/controller/garbagecollector): deletes what has owners, all of them gone.
  void collect(Shelf& s, const ObjectKey& key) {
    const auto it = s.objects.find(key);
    if (it == s.objects.end() || it->second["metadata"].contains("deletionTimestamp")) return;
    const auto owners = it->second["metadata"].value("ownerReferences", json::array());
    if (owners.empty()) return;
    for (const auto& owner : owners)
      if (alive(owner.value("uid", ""))) return;
    remove(s, key);
  }
  // Deletes, or marks for deletion when finalizers stand.
  json remove(Shelf& s, const ObjectKey& key) {
    json object = s.objects.at(key);
    auto& metadata = object["metadata"];
    if (metadata.contains("finalizers") && !metadata["finalizers"].empty()) {
      if (metadata.contains("deletionTimestamp")) return object;
      metadata["deletionTimestamp"] = format_rfc3339(world.wall());
      metadata["generation"] = metadata.value("generation", 1) + 1;
      return commit(s, key, object);
    }
    ++version;
    object["metadata"]["resourceVersion"] = std::to_string(version);
    erase(s, key, object);
    return object;
  }

  Result<json> parse(const std::string& body) const {
    auto parsed = json::parse(body, nullptr, false);
    if (parsed.is_discarded()) return fail(Code::invalid, "the body is not JSON");
    return parsed;
  }
  static std::optional<Error> check_preconditions(const json& wanted, const json& object, const Call& c) {
    const auto& metadata = object.at("metadata");
    for (const char* field : {"uid", "resourceVersion"}) {
      const auto it = wanted.find(field);
      if (it == wanted.end() || !it->is_string() || it->get<std::string>().empty()) continue;
      if (*it != metadata.at(field))
        return conflict("Operation cannot be fulfilled on " + std::string(c.resource->plural) + " \"" + c.name + "\": " + field + " is " +
                        metadata.at(field).get<std::string>() + ", not " + it->get<std::string>());
    }
    return std::nullopt;
  }

  // A request for a certificate is approved through a subresource of its own, which is its status too.
  static bool is_status(const Call& c) {
    return c.subresource == "status" || (c.subresource == "approval" && c.resource->plural == "certificatesigningrequests");
  }

  // What a write to an existing object may change: not its identity; status through the subresource only, and only status there.
  std::optional<Error> settle(const Call& c, const json& before, json& after) {
    auto& metadata = after["metadata"];
    for (const char* field : {"uid", "creationTimestamp", "name", "namespace", "deletionTimestamp", "generation", "resourceVersion"}) {
      if (before["metadata"].contains(field))
        metadata[field] = before["metadata"][field];
      else
        metadata.erase(field);
    }
    metadata.erase("managedFields");
    after["apiVersion"] = before["apiVersion"];
    after["kind"] = before["kind"];
    if (is_status(c)) {
      json only = before;
      if (after.contains("status"))
        only["status"] = after["status"];
      else
        only.erase("status");
      after = std::move(only);
      return std::nullopt;
    }
    if (has_status(*c.resource)) {
      if (before.contains("status"))
        after["status"] = before["status"];
      else
        after.erase("status");
    }
    const auto content = [&](json o) {
      o.erase("metadata");
      if (has_status(*c.resource)) o.erase("status");
      return o;
    };
    if (content(before) != content(after)) metadata["generation"] = metadata.value("generation", 1) + 1;
    if (metadata.contains("deletionTimestamp"))
      for (const auto& f : metadata.value("finalizers", json::array()))
        if (const auto old = before["metadata"].value("finalizers", json::array()); std::find(old.begin(), old.end(), f) == old.end())
          return unprocessable("metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted");
    return std::nullopt;
  }

  Result<json> create(const Call& c) {
    auto parsed = parse(c.body);
    if (!parsed) return parsed;
    if (c.subresource == "eviction") return evict(c);
    if (!c.subresource.empty()) return fail(not_found(c));
    json object = std::move(*parsed);
    auto& metadata = object["metadata"];
    std::string name = metadata.value("name", c.name);
    if (name.empty() && metadata.contains("generateName")) {
      name = metadata["generateName"].get<std::string>() + std::to_string(10'000 + world.random() % 90'000);
      metadata.erase("generateName");
    }
    if (name.empty()) return fail(unprocessable("metadata.name: Required value"));
    auto& s = shelf(*c.resource);
    const ObjectKey key{c.resource->namespaced ? c.name_space : "", name};
    if (s.objects.contains(key))
      return fail(Error{Code::exists, std::string(c.resource->plural) + " \"" + name + "\" already exists", 0ms, "AlreadyExists"});
    if (!metadata.value("resourceVersion", "").empty())
      return fail(Code::invalid, "resourceVersion should not be set on objects to be created");
    metadata["name"] = name;
    if (!key.first.empty()) metadata["namespace"] = key.first;
    for (const char* field : {"deletionTimestamp", "managedFields"}) metadata.erase(field);
    char uid[37];
    std::snprintf(uid, sizeof uid, "%08llx-0000-4000-8000-%012llx", static_cast<unsigned long long>(world.random() & 0xffffffff),
                  static_cast<unsigned long long>(++uids));
    metadata["uid"] = uid;
    metadata["creationTimestamp"] = format_rfc3339(world.wall());
    metadata["generation"] = 1;
    if (has_status(*c.resource) && shelf_takes_status_apart(*c.resource)) object.erase("status");
    object["apiVersion"] = api_version(*c.resource);
    object["kind"] = c.resource->kind;
    if (auto refused = admitted(c, object)) return fail(std::move(*refused));
    return commit(s, key, std::move(object));
  }
  // Nodes and Pods keep a status that comes with their creation (kubelets register so).
  static bool shelf_takes_status_apart(const Resource& r) { return r.plural != "nodes" && r.plural != "pods"; }

  std::optional<Error> admitted(const Call& c, const json& object) { return api.admit ? api.admit(c, object.dump()) : std::nullopt; }

  Result<json> evict(const Call& c) {
    auto& s = shelf(*c.resource);
    const ObjectKey key{c.name_space, c.name};
    const auto it = s.objects.find(key);
    if (it == s.objects.end()) return fail(not_found(c));
    auto body = parse(c.body);
    if (!body) return body;
    const auto preconditions = body->value("/deleteOptions/preconditions"_json_pointer, json::object());
    if (auto refused = check_preconditions(preconditions, it->second, c)) return fail(std::move(*refused));
    if (api.evict)
      if (auto refused = api.evict(it->second.dump())) return fail(std::move(*refused));
    if (auto refused = admitted(c, it->second)) return fail(std::move(*refused));
    remove(s, key);
    return json{{"kind", "Status"}, {"apiVersion", "v1"}, {"status", "Success"}, {"code", 201}};
  }

  Result<json> change(const Call& c) {
    auto& s = shelf(*c.resource);
    const ObjectKey key{c.resource->namespaced ? c.name_space : "", c.name};
    if (!c.subresource.empty() && !(is_status(c) && has_status(*c.resource))) return fail(not_found(c));
    auto body = parse(c.body);
    if (!body) return body;
    const auto it = s.objects.find(key);
    if (c.verb == Verb::apply) return apply(c, s, key, std::move(*body));
    if (it == s.objects.end()) return fail(not_found(c));
    json after = it->second;
    if (c.verb == Verb::json_patch) {
      try {
        after = after.patch(*body);
      } catch (const json::exception&) {
        return fail(unprocessable("the server rejected our request due to an error in our request"));
      }
    } else {
      const json wanted = body->value("metadata", json::object());
      if (auto stale = check_preconditions(wanted, it->second, c)) return fail(std::move(*stale));
      if (c.verb == Verb::update)
        after = std::move(*body);
      else
        after.merge_patch(*body);
    }
    // A JSON patch may carry its preconditions as values, too.
    if (auto stale = check_preconditions(after.value("metadata", json::object()), it->second, c)) return fail(std::move(*stale));
    return store_change(c, s, key, std::move(after));
  }
  Result<json> store_change(const Call& c, Shelf& s, const ObjectKey& key, json after) {
    const json before = s.objects.at(key);
    if (auto wrong = settle(c, before, after)) return fail(std::move(*wrong));
    if (auto refused = admitted(c, after)) return fail(std::move(*refused));
    return commit(s, key, std::move(after));
  }

  Result<json> apply(const Call& c, Shelf& s, const ObjectKey& key, json wanted) {
    const auto query = parse_query(c.query);
    const auto manager = query.find("fieldManager");
    if (manager == query.end() || manager->second.empty())
      return fail(Code::invalid, "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch");
    json metadata = wanted.value("metadata", json::object());
    auto it = s.objects.find(key);
    if (it == s.objects.end()) {
      if (!c.subresource.empty()) return fail(not_found(c));
      // A forced apply is an upsert; a uid says that it must not be one.
      if (!metadata.value("uid", "").empty())
        return fail(conflict("uid mismatch: the provided object specified uid " + metadata.value("uid", "") +
                             ", and no existing object was found"));
      Call make = c;
      make.verb = Verb::create;
      wanted["metadata"]["name"] = c.name;
      wanted["metadata"].erase("resourceVersion");
      make.body = wanted.dump();
      auto made = create(make);
      if (made) s.applied[applied_name(key, manager->second, c)] = intent(c, wanted);
      return made;
    }
    if (auto stale = check_preconditions(metadata, it->second, c)) return fail(std::move(*stale));
    const json now = intent(c, wanted);
    const auto name = applied_name(key, manager->second, c);
    json after = it->second;
    if (const auto last = s.applied.find(name); last != s.applied.end()) remove_dropped(after, last->second, now);
    merge_applied(after, now);
    auto stored = store_change(c, s, key, std::move(after));
    if (stored) s.applied[name] = now;
    return stored;
  }
  static std::string applied_name(const ObjectKey& key, const std::string& manager, const Call& c) {
    return key.first + "/" + key.second + "|" + manager + "|" + c.subresource;
  }
  // What an apply claims: all that it says, but not who the object is.
  json intent(const Call& c, json wanted) const {
    wanted.erase("apiVersion");
    wanted.erase("kind");
    if (c.subresource == "status") return wanted.contains("status") ? json{{"status", wanted["status"]}} : json::object();
    if (has_status(*c.resource)) wanted.erase("status");
    if (wanted.contains("metadata"))
      for (const char* field : {"name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"})
        wanted["metadata"].erase(field);
    return wanted;
  }

  Result<json> destroy(const Call& c) {
    auto& s = shelf(*c.resource);
    const ObjectKey key{c.resource->namespaced ? c.name_space : "", c.name};
    const auto it = s.objects.find(key);
    if (it == s.objects.end()) return fail(not_found(c));
    if (!c.body.empty()) {
      auto body = parse(c.body);
      if (!body) return body;
      if (auto stale = check_preconditions(body->value("preconditions", json::object()), it->second, c)) return fail(std::move(*stale));
    }
    if (auto refused = admitted(c, it->second)) return fail(std::move(*refused));
    const json last = remove(s, key);
    if (s.objects.contains(key)) return last;  // its finalizers hold it
    return json{{"kind", "Status"},
                {"apiVersion", "v1"},
                {"metadata", json::object()},
                {"status", "Success"},
                {"details", {{"name", c.name}, {"kind", c.resource->plural}, {"uid", last["metadata"]["uid"]}}}};
  }

  static Filter filter_of(const Call& c, const std::map<std::string, std::string>& query) {
    Filter f{c.name_space, {}, {}};
    if (const auto l = query.find("labelSelector"); l != query.end()) f.labels = requirements(l->second);
    if (const auto l = query.find("fieldSelector"); l != query.end()) f.fields = requirements(l->second);
    return f;
  }
  std::optional<Error> too_large(std::uint64_t wanted) const {
    if (wanted <= version) return std::nullopt;
    return Error{Code::unavailable, "Too large resource version: " + std::to_string(wanted) + ", current: " + std::to_string(version), 1s,
                 "ResourceVersionTooLarge"};
  }
  static std::uint64_t wanted_version(const std::map<std::string, std::string>& query) {
    const auto it = query.find("resourceVersion");
    return it == query.end() || it->second.empty() ? 0 : std::stoull(it->second);
  }

  // Pages: `limit` counts unless resourceVersion is "0" (k8s.io/apiserver storage/cacher, GetList); `continue` is where the page before
  // ended. Simplified: a later page shows what is there now, not what was at the first page's version.
  Reply list(const Call& c) {
    const auto query = parse_query(c.query);
    if (auto error = too_large(wanted_version(query))) return {fail(std::move(*error)), {}};
    const auto value = [&](const char* name) {
      const auto it = query.find(name);
      return it == query.end() ? std::string() : it->second;
    };
    const auto limit = value("resourceVersion") == "0" || value("limit").empty() ? std::size_t{0} : std::stoull(value("limit"));
    const std::string from = value("continue");
    if (!from.empty() && options.continue_expires)
      return {fail(Error{Code::gone, "the provided continue parameter is too old", 0ms, "Expired"}), {}};
    const auto filter = filter_of(c, query);
    Reply reply;
    std::string more, last;
    for (const auto& [key, object] : shelf(*c.resource).objects) {
      if (!filter.matches(object) || (!from.empty() && key.first + "/" + key.second <= from)) continue;
      if (limit != 0 && reply.frames.size() == limit) {
        more = last;
        break;
      }
      json item = object;
      item.erase("apiVersion");
      item.erase("kind");
      reply.frames.push_back(item.dump());
      last = key.first + "/" + key.second;
    }
    json metadata{{"resourceVersion", std::to_string(version)}};
    if (!more.empty()) metadata["continue"] = more;
    reply.frames.push_back(json{{"metadata", metadata}}.dump());
    return reply;
  }

  std::string bookmark(const Resource& r, bool initial_end) const {
    json object{{"kind", r.kind}, {"apiVersion", api_version(r)}, {"metadata", {{"resourceVersion", std::to_string(version)}}}};
    if (initial_end) object["metadata"]["annotations"] = {{"k8s.io/initial-events-end", "true"}};
    return event("BOOKMARK", object);
  }
  void bookmark_later(const std::weak_ptr<Watcher>& weak) {
    later(options.bookmark_period, [this, weak] {
      const auto w = weak.lock();
      if (!w) return;
      w->push(bookmark(*w->resource, false));
      bookmark_later(weak);
    });
  }
  Result<Handle> watch(const Call& c, Push push, End end) {
    const auto query = parse_query(c.query);
    const auto is = [&](const char* name, const char* value) {
      const auto it = query.find(name);
      return it != query.end() && it->second == value;
    };
    const bool initial = is("sendInitialEvents", "true");
    if (initial && !options.streaming)
      return fail(
          unprocessable("ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for "
                        "watch unless the WatchList feature gate is enabled"));
    if (initial && !is("resourceVersionMatch", "NotOlderThan"))
      return fail(
          unprocessable("resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
    const auto from = wanted_version(query);
    if (auto error = too_large(from)) return fail(std::move(*error));
    if (!initial && from != 0 && from < forgotten)
      return fail(Error{Code::gone, "too old resource version: " + std::to_string(from), 0ms, "Expired"});
    auto w = std::make_shared<Watcher>(Watcher{shelf_name(*c.resource), c.resource, filter_of(c, query), is("allowWatchBookmarks", "true"),
                                               std::move(push), std::move(end)});
    if (initial || from == 0) {
      for (const auto& [key, object] : shelf(*c.resource).objects)
        if (w->filter.matches(object)) w->push(event("ADDED", object));
      if (initial && w->bookmarks) w->push(bookmark(*c.resource, true));
    } else {
      for (const auto& h : history)
        if (h.version > from && h.shelf == w->shelf)
          if (auto e = event_for(*w, h)) w->push(std::move(*e));
    }
    std::erase_if(watchers, [](const auto& weak) { return weak.expired(); });
    watchers.push_back(w);
    if (w->bookmarks) bookmark_later(w);
    if (const auto it = query.find("timeoutSeconds"); it != query.end())
      later(std::chrono::seconds(std::stoll(it->second)), [weak = std::weak_ptr(w)] {
        if (const auto held = weak.lock()) held->end({});
      });
    return Handle(w);
  }

  Result<json> write(const Call& c) {
    switch (c.verb) {
      case Verb::create: return create(c);
      case Verb::remove: return destroy(c);
      default: return change(c);
    }
  }
};

SimApi::SimApi(SimWorld& world, SimApiOptions options) : impl_(std::make_unique<Impl>(*this, world, std::move(options))) {}
SimApi::~SimApi() = default;

SimServer::Reply SimApi::serve(const Call& call) {
  if (impl_->down) return {fail(Code::unavailable, "connection refused"), {}};
  if (!call.resource) {
    if (call.path == "/version") return {{}, {json{{"gitVersion", impl_->options.version}}.dump()}};
    if (call.path == "/readyz" || call.path == "/livez") return {{}, {"ok"}};
    return {fail(Code::not_found, "the server could not find the requested resource"), {}};
  }
  if (call.verb == Verb::list) return impl_->list(call);
  if (call.verb == Verb::get) {
    const auto object = get(*call.resource, call.name_space, call.name);
    return object ? Reply{{}, {*object}} : Reply{fail(Impl::not_found(call)), {}};
  }
  if (call.verb == Verb::create && call.resource->group == "authorization.k8s.io") {
    auto answer = review ? review(call)
                         : Result<std::string>(R"({"status":{"resourceRules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"]}]}})");
    return answer ? Reply{{}, {std::move(*answer)}} : Reply{fail(std::move(answer.error())), {}};
  }
  auto done = impl_->write(call);
  if (!done) return {fail(std::move(done.error())), {}};
  const auto query = parse_query(call.query);
  const auto manager = query.find("fieldManager");
  ++writes[std::string(verb_name(call.verb)) + " " + std::string(call.resource->plural) +
           (call.subresource.empty() ? "" : "/" + call.subresource)];
  if (written) written(call, manager == query.end() ? std::string_view() : std::string_view(manager->second));
  return {{}, {done->dump()}};
}

Result<Handle> SimApi::serve_watch(const Call& call, Push push, End end) {
  if (impl_->down) return fail(Code::unavailable, "connection refused");
  return impl_->watch(call, std::move(push), std::move(end));
}

Result<std::string> SimApi::request(Call call) {
  const bool list = call.verb == Verb::list;
  auto reply = serve(call);
  if (!reply.result) return fail(std::move(reply.result.error()));
  if (!list) return reply.frames.empty() ? std::string() : reply.frames.front();
  std::string out = "{\"items\":[";
  for (std::size_t i = 0; i + 1 < reply.frames.size(); ++i) out += (i ? "," : "") + reply.frames[i];
  return out + "]}";
}

std::optional<std::string> SimApi::get(const Resource& resource, std::string_view name_space, std::string_view name) const {
  const auto& s = impl_->shelf(resource);
  const auto it = s.objects.find({resource.namespaced ? std::string(name_space) : "", std::string(name)});
  return it == s.objects.end() ? std::nullopt : std::optional(it->second.dump());
}

std::vector<std::string> SimApi::list(const Resource& resource, std::string_view name_space) const {
  std::vector<std::string> out;
  for (const auto& [key, object] : impl_->shelf(resource).objects)
    if (name_space.empty() || key.first == name_space) out.push_back(object.dump());
  return out;
}

std::size_t SimApi::count(const Resource& resource) const { return impl_->shelf(resource).objects.size(); }
std::uint64_t SimApi::version() const { return impl_->version; }

void SimApi::cut_watches() {
  for (const auto& weak : std::exchange(impl_->watchers, {}))
    if (const auto w = weak.lock()) w->end(fail(Code::unavailable, "the connection broke"));
}

void SimApi::forget_history() {
  impl_->history.clear();
  impl_->forgotten = impl_->version + 1;
  ++impl_->version;
}

std::shared_ptr<const SimApi::Saved> SimApi::save() const { return std::make_shared<Saved>(Saved{impl_->version, impl_->shelves}); }

void SimApi::restore(const std::shared_ptr<const Saved>& saved) {
  for (auto& [name, s] : impl_->shelves) s.objects.clear();
  for (const auto& [name, s] : saved->shelves) impl_->shelves[name] = s;
  impl_->version = saved->version;
  impl_->history.clear();
  impl_->forgotten = saved->version;
  cut_watches();
}

void SimApi::stop() {
  impl_->down = true;
  cut_watches();
}

void SimApi::start() { impl_->down = false; }

}  // namespace reconcile
