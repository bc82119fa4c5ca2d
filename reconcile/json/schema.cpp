#include "reconcile/json/schema.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

namespace reconcile {
namespace {

using nlohmann::ordered_json;
using Kind = Type::Kind;

template <class T>
void put(ordered_json& out, const char* name, const std::optional<T>& value) {
  if (value) out[name] = *value;
}

void put_rule(ordered_json& out, const Cel& cel) {
  if (cel.rule.empty()) return;
  ordered_json rule{{"rule", cel.rule}};
  if (!cel.message.empty()) rule["message"] = cel.message;
  out["x-kubernetes-validations"].push_back(std::move(rule));
}

// Bounds of one scalar; of a list of scalars they bound its items.
void put_scalar_bounds(ordered_json& out, const Rules& rules) {
  put(out, "minimum", rules.minimum);
  put(out, "maximum", rules.maximum);
  put(out, "minLength", rules.min_length);
  put(out, "maxLength", rules.max_length);
  if (!rules.pattern.empty()) out["pattern"] = rules.pattern;
  if (!rules.format.empty()) out["format"] = rules.format;
}

ordered_json type_schema(const Type& type, const Rules& rules);

ordered_json enum_schema(const Type& type) {
  ordered_json out{{"type", "string"}, {"enum", ordered_json::array()}};
  for (const auto name : type.names)
    if (!name.empty()) out["enum"].push_back(name);  // "" is absence
  return out;
}

ordered_json labels_schema(const Rules& rules) {
  ordered_json value{{"type", "string"}};
  put_scalar_bounds(value, rules);
  ordered_json out{{"type", "object"}, {"additionalProperties", std::move(value)}};
  put(out, "maxProperties", rules.max_properties);
  if (rules.atomic) out["x-kubernetes-map-type"] = "atomic";
  return out;
}

ordered_json list_schema(const Type& type, const Rules& rules) {
  ordered_json out{{"type", "array"}, {"items", type_schema(*type.item, rules)}};
  put(out, "minItems", rules.min_items);
  put(out, "maxItems", rules.max_items);
  if (!rules.list_key.empty()) {
    out["x-kubernetes-list-type"] = "map";
    out["x-kubernetes-list-map-keys"] = {rules.list_key};
  } else {
    out["x-kubernetes-list-type"] = rules.set ? "set" : "atomic";
  }
  return out;
}

ordered_json field_schema(const Field& field) {
  ordered_json out{{"description", field.doc}};  // the field says more than its type does
  auto rest = type_schema(*field.type, field.rules);
  rest.erase("description");
  out.update(rest);
  for (const Cel& cel : field.rules.cel) put_rule(out, cel);
  return out;
}

ordered_json object_schema(const Type& type) {
  ordered_json out{{"description", type.doc}, {"type", "object"}};
  auto required = ordered_json::array();
  for (const Field& field : type.fields) {
    out["properties"][std::string(field.name)] = field_schema(field);
    if (field.rules.required) required.push_back(field.name);
  }
  if (!required.empty()) out["required"] = std::move(required);
  for (const Cel& cel : type.checks) put_rule(out, cel);
  return out;
}

ordered_json scalar_schema(ordered_json out, const Rules& rules) {
  put_scalar_bounds(out, rules);
  return out;
}

ordered_json type_schema(const Type& type, const Rules& rules) {
  switch (type.kind) {
    case Kind::boolean: return {{"type", "boolean"}};
    case Kind::integer:
    case Kind::seconds: return scalar_schema({{"type", "integer"}, {"format", "int64"}}, rules);
    case Kind::string:
    case Kind::text: return scalar_schema({{"type", "string"}}, rules);
    case Kind::names: return enum_schema(type);
    case Kind::time:
    case Kind::micro_time: return {{"type", "string"}, {"format", "date-time"}};
    case Kind::int_or_percent:
      // The only form of a union that a structural schema may have (apiextensions.k8s.io/v1 x-kubernetes-int-or-string).
      return scalar_schema({{"x-kubernetes-int-or-string", true},
                            {"anyOf", ordered_json::array({ordered_json{{"type", "integer"}}, ordered_json{{"type", "string"}}})}},
                           rules);
    case Kind::labels: return labels_schema(rules);
    case Kind::json: {
      if (type.item) return type_schema(*type.item, rules);
      ordered_json out{{"type", "object"}, {"x-kubernetes-preserve-unknown-fields", true}};
      put(out, "maxProperties", rules.max_properties);
      return out;
    }
    case Kind::list: return list_schema(type, rules);
    case Kind::optional: return type_schema(*type.item, rules);
    case Kind::object: return object_schema(type);
  }
  return {};
}

// apiVersion and kind are no fields of a described type, and the API server owns metadata's schema.
ordered_json root_schema(const Type& type) {
  auto out = object_schema(type);
  ordered_json properties{{"apiVersion", {{"description", "The API group and version."}, {"type", "string"}}},
                          {"kind", {{"description", "The kind of the object."}, {"type", "string"}}},
                          {"metadata", {{"type", "object"}}}};
  for (auto& [name, property] : out["properties"].items())
    if (name != "metadata") properties[name] = std::move(property);
  out["properties"] = std::move(properties);
  return out;
}

ordered_json columns(const Crd& crd) {
  auto out = ordered_json::array();
  for (const Column& column : crd.columns) {
    ordered_json one{{"name", column.name}, {"type", column.type}, {"jsonPath", column.json_path}, {"description", column.doc}};
    if (column.priority != 0) one["priority"] = column.priority;
    out.push_back(std::move(one));
  }
  return out;
}

ordered_json subresources(const Crd& crd) {
  auto out = ordered_json::object();
  if (crd.status) out["status"] = ordered_json::object();
  if (!crd.scale_spec.empty())
    out["scale"] = {
        {"specReplicasPath", crd.scale_spec}, {"statusReplicasPath", crd.scale_status}, {"labelSelectorPath", crd.scale_selector}};
  return out;
}

// ---- the reference page ----

std::string type_name(const Type& type) {
  switch (type.kind) {
    case Kind::boolean: return "boolean";
    case Kind::integer:
    case Kind::seconds: return "integer";
    case Kind::string:
    case Kind::text: return "string";
    case Kind::names: return "enum";
    case Kind::time:
    case Kind::micro_time: return "time";
    case Kind::int_or_percent: return "integer or percentage";
    case Kind::labels: return "map of strings";
    case Kind::json: return "object";
    case Kind::list: return "list of " + type_name(*type.item);
    case Kind::optional: return type_name(*type.item);
    case Kind::object: return "object";
  }
  return {};
}

const Type& innermost(const Type& type) {
  const bool wraps = type.kind == Kind::list || type.kind == Kind::optional || (type.kind == Kind::json && type.item);
  return wraps ? innermost(*type.item) : type;
}

std::string in_cell(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '|' ? std::string("\\|") : std::string(1, c);
  return out;
}

void add_range(std::string& out, const std::optional<std::int64_t>& low, const std::optional<std::int64_t>& high, std::string_view what) {
  if (!low && !high) return;
  if (!out.empty()) out += ", ";
  if (low && high)
    out += std::to_string(*low) + "-" + std::to_string(*high);
  else if (low)
    out += "at least " + std::to_string(*low);
  else
    out += "at most " + std::to_string(*high);
  out.append(what);
}

std::string bounds(const Field& field) {
  std::string out;
  const Rules& r = field.rules;
  if (r.required) out = "required";
  add_range(out, r.minimum, r.maximum, "");
  add_range(out, r.min_items, r.max_items, " items");
  add_range(out, std::nullopt, r.max_properties, " entries");
  const auto kind = innermost(*field.type).kind;
  if (kind == Kind::text || kind == Kind::string) add_range(out, std::nullopt, r.max_length, " characters");
  if (!r.list_key.empty()) out.append(out.empty() ? "" : ", ").append("key `").append(r.list_key).append("`");
  return out;
}

std::string description(const Field& field) {
  std::string out = in_cell(field.doc);
  const Type& type = innermost(*field.type);
  if (type.kind != Kind::names) return out;
  std::string values;
  for (const auto name : type.names)
    if (!name.empty()) values.append(values.empty() ? " One of `" : ", `").append(name).append("`");
  return out + values + ".";
}

void put_rows(std::string& out, std::string& rules, const Type& type, const std::string& prefix) {
  const auto say = [&](const std::string& path, const Cel& cel) {
    if (!cel.message.empty()) rules += "- `" + path + "`: " + std::string(cel.message) + "\n";
  };
  if (!prefix.empty())
    for (const Cel& cel : type.checks) say(prefix, cel);
  for (const Field& field : type.fields) {
    if (prefix.empty() && field.name == "metadata") continue;
    std::string path = prefix.empty() ? std::string(field.name) : prefix + "." + std::string(field.name);
    out += "| `" + path + "` | " + type_name(*field.type) + " | " + bounds(field) + " | " + description(field) + " |\n";
    for (const Cel& cel : field.rules.cel) say(path, cel);
    const Type* outer = field.type->kind == Kind::optional ? field.type->item : field.type;
    if (outer->kind == Kind::list) path += "[]";
    if (const Type& inner = innermost(*field.type); inner.kind == Kind::object) put_rows(out, rules, inner, path);
  }
}

void put_kind(std::string& out, const ApiKind& kind) {
  const Resource& resource = *kind.resource;
  out.append("## ").append(resource.kind).append("\n\n").append(kind.type->doc).append("\n\n");
  out.append("`kubectl get ").append(resource.plural).append("`");
  if (!kind.crd->short_name.empty()) out.append(", short `").append(kind.crd->short_name).append("`");
  out.append(resource.namespaced ? ". Lives in a namespace.\n\n" : ". Has no namespace.\n\n");
  std::string rows, rules;
  put_rows(rows, rules, *kind.type, {});
  out += "| field | type | bounds | what it is |\n|---|---|---|---|\n" + rows + "\n";
  std::string own;
  for (const Cel& cel : kind.type->checks)
    if (!cel.message.empty()) own.append("- ").append(cel.message).append("\n");
  if (!own.empty() || !rules.empty()) out += "Rules that the API server checks:\n\n" + own + rules + "\n";
}

}  // namespace

std::string schema(const Type& type) { return type_schema(type, {}).dump(); }

std::string custom_resource_definition(const ApiKind& kind) {
  const auto& [resource, type, crd] = kind;
  ordered_json names{{"kind", resource->kind},
                     {"listKind", std::string(resource->kind) + "List"},
                     {"plural", resource->plural},
                     {"singular", crd->singular}};
  if (!crd->short_name.empty()) names["shortNames"] = {crd->short_name};
  if (!crd->category.empty()) names["categories"] = {crd->category};
  ordered_json version{{"name", resource->version}, {"served", true}, {"storage", true}};
  if (auto listed = columns(*crd); !listed.empty()) version["additionalPrinterColumns"] = std::move(listed);
  if (auto parts = subresources(*crd); !parts.empty()) version["subresources"] = std::move(parts);
  version["schema"]["openAPIV3Schema"] = root_schema(*type);
  const ordered_json out{{"apiVersion", "apiextensions.k8s.io/v1"},
                         {"kind", "CustomResourceDefinition"},
                         {"metadata", {{"name", std::string(resource->plural) + "." + std::string(resource->group)}}},
                         {"spec",
                          {{"group", resource->group},
                           {"scope", resource->namespaced ? "Namespaced" : "Cluster"},
                           {"names", std::move(names)},
                           {"versions", ordered_json::array({std::move(version)})}}}};
  return out.dump();
}

std::string reference_page(std::string_view title, std::string_view introduction, std::span<const ApiKind> kinds) {
  std::string out = "# " + std::string(title) + "\n\n" + std::string(introduction) + "\n\n";
  for (const ApiKind& kind : kinds) {
    std::string anchor;
    for (const char c : kind.resource->kind) anchor += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    out += "- [" + std::string(kind.resource->kind) + "](#" + anchor + "): " + std::string(kind.type->doc) + "\n";
  }
  for (const ApiKind& kind : kinds) put_kind(out += "\n", kind);
  while (out.ends_with("\n\n")) out.pop_back();
  return out;
}

}  // namespace reconcile
