#include "src/kubectl/changes.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace endstate::kubectl {
namespace {

// The path of a member, and of an item of a list.
std::string member(const std::string& path, const std::string& key) {
  return path.empty() ? key : std::string(path).append(".").append(key);
}
std::string item(const std::string& path, const std::string& name) { return std::string(path).append("[").append(name).append("]"); }

using nlohmann::json;
using reconcile::Type;

json parse(std::string_view text) { return text.empty() ? json() : json::parse(text, nullptr, false); }

// What the API server gives or a loop writes is nobody's wish.
json wish_of(json object) {
  if (!object.is_object()) return json::object();
  object.erase("status");
  if (auto meta = object.find("metadata"); meta != object.end() && meta->is_object()) {
    for (const auto* key : {"creationTimestamp", "deletionTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"})
      meta->erase(key);
    if (auto a = meta->find("annotations"); a != meta->end() && a->is_object()) {
      a->erase(std::string(last_applied));
      if (a->empty()) meta->erase("annotations");
    }
  }
  return object;
}

// What `to` says and `from` doesn't, without taking anything away.
json additions(const json& from, const json& to) {
  json out = json::object();
  for (const auto& [key, value] : to.items()) {
    const auto old = from.find(key);
    if (old != from.end() && *old == value) continue;
    if (old != from.end() && old->is_object() && value.is_object()) {
      auto inner = additions(*old, value);
      if (!inner.empty()) out[key] = std::move(inner);
    } else {
      out[key] = value;
    }
  }
  return out;
}

// Null for what `last` said, `now` doesn't, and is there.
void removals(const json& last, const json& now, const json& live, json& out) {
  for (const auto& [key, value] : last.items()) {
    const auto there = live.find(key);
    if (there == live.end()) continue;
    const auto still = now.find(key);
    if (still == now.end()) {
      out[key] = nullptr;
    } else if (value.is_object() && still->is_object() && there->is_object()) {
      json inner = out.contains(key) ? out[key] : json::object();
      removals(value, *still, *there, inner);
      if (!inner.empty()) out[key] = std::move(inner);
    }
  }
}

// ---- differences ----

const char* key_of(const json& list) {
  for (const auto* key : {"name", "conditionType", "type", "key"})
    if (!list.empty() &&
        std::all_of(list.begin(), list.end(), [key](const json& e) { return e.is_object() && e.contains(key) && e[key].is_string(); }))
      return key;
  return nullptr;
}

std::string shown(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  auto text = value.dump();
  if (text.size() > 200) text = text.substr(0, 197) + "...";
  return text;
}

void compare(const std::string& path, const json& before, const json& after, std::vector<Change>& out);

void compare_lists(const std::string& path, const json& before, const json& after, std::vector<Change>& out) {
  const auto* key = key_of(before.empty() ? after : before);
  if (key == nullptr || (!after.empty() && key_of(after) == nullptr) || (!before.empty() && key_of(before) == nullptr) ||
      (!before.empty() && !after.empty() && std::string_view(key_of(after)) != key)) {
    out.push_back({path, before.is_null() ? "" : shown(before), after.is_null() ? "" : shown(after)});
    return;
  }
  const auto entry = [&](const json& list, const std::string& name) {
    for (const auto& e : list)
      if (e[key] == name) return e;
    return json();
  };
  std::vector<std::string> names;
  for (const auto* list : {&before, &after})
    for (const auto& e : *list)
      if (const auto name = e[key].get<std::string>(); std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  const auto found = out.size();
  for (const auto& name : names) compare(item(path, name), entry(before, name), entry(after, name), out);
  if (out.size() == found) out.push_back({path, "(order) " + shown(before), shown(after)});
}

void compare(const std::string& path, const json& before, const json& after, std::vector<Change>& out) {
  if (before == after) return;
  const auto both = [&](auto is) { return is(before) && is(after); };
  if (both([](const json& j) { return j.is_object() || j.is_null(); }) && (before.is_object() || after.is_object())) {
    const json &a = before.is_object() ? before : json::object(), &b = after.is_object() ? after : json::object();
    const auto found = out.size();
    for (const auto& [key, value] : a.items()) compare(member(path, key), value, b.contains(key) ? b[key] : json(), out);
    for (const auto& [key, value] : b.items())
      if (!a.contains(key)) compare(member(path, key), json(), value, out);
    if (out.size() == found) out.push_back({path, before.is_null() ? "" : "{}", after.is_null() ? "" : "{}"});
    return;
  }
  if (both([](const json& j) { return j.is_array() || j.is_null(); }) && (before.is_array() || after.is_array()))
    return compare_lists(path, before.is_array() ? before : json::array(), after.is_array() ? after : json::array(), out);
  out.push_back({path, before.is_null() ? "" : shown(before), after.is_null() ? "" : shown(after)});
}

// ---- fields that nobody knows ----

std::string unknown(const json& value, const Type& type, const std::string& path) {
  switch (type.kind) {
    case Type::Kind::optional: return value.is_null() ? std::string() : unknown(value, *type.item, path);
    case Type::Kind::json: return type.item && !value.is_null() ? unknown(value, *type.item, path) : std::string();
    case Type::Kind::list:
      if (!value.is_array()) return {};
      for (std::size_t i = 0; i < value.size(); ++i)
        if (auto found = unknown(value[i], *type.item, item(path, std::to_string(i))); !found.empty()) return found;
      return {};
    case Type::Kind::object: break;
    default: return {};
  }
  if (!value.is_object()) return {};
  for (const auto& entry : value.items()) {
    auto here = member(path, entry.key());
    const auto it = std::find_if(type.fields.begin(), type.fields.end(), [&](const reconcile::Field& f) { return f.name == entry.key(); });
    if (it == type.fields.end()) return here;
    if (auto found = unknown(entry.value(), *it->type, here); !found.empty()) return found;
  }
  return {};
}

}  // namespace

std::string apply_patch(std::string_view last, std::string_view manifest, std::string_view live) {
  const auto before = wish_of(parse(live)), now = wish_of(parse(manifest));
  json patch = additions(before, now);
  if (const auto old = wish_of(parse(last)); !old.empty()) removals(old, now, before, patch);
  for (const auto* key : {"apiVersion", "kind"}) patch.erase(key);
  return patch.dump();
}

std::string merged(std::string_view object, std::string_view merge_patch) {
  auto target = parse(object);
  target.merge_patch(parse(merge_patch));
  return target.dump();
}

std::string with_template(std::string_view object, std::string_view template_) {
  auto out = parse(object);
  out["spec"]["template"] = parse(template_);
  return out.dump();
}

std::string with_namespace(std::string_view object, const std::string& name_space) {
  auto out = parse(object);
  out["metadata"]["namespace"] = name_space;
  return out.dump();
}

std::string annotation_of(std::string_view object, std::string_view key) {
  const auto o = parse(object);
  const auto meta = o.is_object() ? o.find("metadata") : o.end();
  if (meta == o.end() || !meta->is_object() || !meta->contains("annotations") || !(*meta)["annotations"].is_object()) return {};
  const auto& all = (*meta)["annotations"];
  const auto it = all.find(std::string(key));
  return it != all.end() && it->is_string() ? it->get<std::string>() : std::string();
}

std::vector<Change> changes_between(std::string_view before, std::string_view after) {
  std::vector<Change> out;
  auto a = wish_of(parse(before)), b = wish_of(parse(after));
  for (auto* object : {&a, &b}) {
    for (const auto* key : {"apiVersion", "kind"}) object->erase(key);
    if (auto meta = object->find("metadata"); meta != object->end() && meta->is_object()) {
      json kept = json::object();
      for (const auto* key : {"labels", "annotations"})
        if (meta->contains(key)) kept[key] = (*meta)[key];
      *meta = kept;
      if (meta->empty()) object->erase("metadata");
    }
  }
  if (a != b) compare("", a, b, out);
  return out;
}

std::string unknown_field(std::string_view text, const Type& type) {
  auto object = parse(text);
  if (!object.is_object()) return {};
  for (const auto* key : {"apiVersion", "kind", "status"}) object.erase(key);
  // Metadata may hold more than a loop reads.
  object.erase("metadata");
  return unknown(object, type, "");
}

}  // namespace endstate::kubectl
