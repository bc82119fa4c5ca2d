#include "controllers/addons/loop_manifest.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "apis/v1alpha1/cluster.hpp"
#include "apis/v1alpha1/names.hpp"
#include "reconcile/json/encode.hpp"
#include "reconcile/json/yaml.hpp"

namespace endstate::addons {
namespace {

namespace api = v1alpha1;
using json = nlohmann::ordered_json;

struct Document {
  std::size_t number = 0, line = 0;  // both from 1; the line that it begins at
  std::string text;                  // with as many empty lines before it, so that errors tell the manifest's own lines
};

// `---` in the first column always ends a document, also inside of a block scalar (YAML 1.2, 9.1.2 Document Markers).
bool is_marker(std::string_view line) {
  return line.starts_with("---") && (line.size() == 3 || line[3] == ' ' || line[3] == '\t' || line[3] == '\r');
}
bool says_something(std::string_view line) {
  const auto at = line.find_first_not_of(" \t\r");
  return at != std::string_view::npos && line[at] != '#';
}
std::vector<Document> split(std::string_view yaml) {
  std::vector<Document> out;
  Document now;
  bool content = false;
  std::size_t number = 1, line_number = 0;
  const auto end = [&] {
    if (content) {
      now.number = number++;
      out.push_back(std::move(now));
    }
    now = {};
    content = false;
  };
  while (!yaml.empty()) {
    const auto length = std::min(yaml.find('\n'), yaml.size());
    auto line = yaml.substr(0, length);
    yaml.remove_prefix(std::min(length + 1, yaml.size()));
    ++line_number;
    if (is_marker(line)) {
      end();
      line.remove_prefix(3);  // what may stand behind it is the document's
    }
    if (!content && says_something(line)) {
      content = true;
      now.line = line_number;
    }
    if (now.text.empty()) now.text.assign(line_number - 1, '\n');
    now.text.append(line).append("\n");
  }
  end();
  return out;
}

std::string text_of(const json& object, const char* field) {
  const auto it = object.is_object() ? object.find(field) : object.end();
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

struct Refusal {
  std::string_view group, kind, why;
};
constexpr std::array refusals{
    Refusal{"", "List", "write the List's items as documents of their own"},
    Refusal{"", "Pod", "a Pod comes back from nothing: write a Deployment or a DaemonSet"},
    Refusal{"", "Node", "Nodes are the kubelets' and the machine loop's"},
    Refusal{"", "Event", "Events are no wish"},
    Refusal{"apps", "ControllerRevision", "ControllerRevisions are controllers' own"},
    Refusal{"coordination.k8s.io", "Lease", "Leases are held by programs"},
    Refusal{"endstate.dev", "HostAssignment", "HostAssignments are the machine loop's"},
};

Phase phase_of(const WantedObject& o) {
  static constexpr std::array<std::string_view, 3> foundation{"Namespace", "CustomResourceDefinition", "PriorityClass"};
  static constexpr std::array<std::string_view, 6> access{"ServiceAccount",     "Role",     "ClusterRole", "RoleBinding",
                                                          "ClusterRoleBinding", "ConfigMap"};
  const auto in = [&](const auto& list) { return std::find(list.begin(), list.end(), o.kind) != list.end(); };
  if (in(foundation)) return Phase::foundation;
  if (in(access)) return Phase::access;
  // What judges writes comes last: it may judge by what isn't there yet.
  return o.kind.ends_with("WebhookConfiguration") || o.kind == "APIService" ? Phase::admission : Phase::workload;
}

class Reader {
 public:
  explicit Reader(Kinds& kinds) : kinds_(kinds) {}

  Addon read(const Manifest& manifest) {
    Addon out{.name = manifest.name, .hash = reconcile::hash_of(manifest.yaml), .objects = {}, .trouble = {}};
    if (!manifest.builtin && manifest.name == api::builtin_addon)
      out.trouble = "the name " + manifest.name + " is endstate's own: give it another";
    for (const auto& document : split(manifest.yaml)) {
      if (!out.trouble.empty()) break;
      if (auto why = take(document, out); !why.empty())
        out.trouble = "document " + std::to_string(document.number) + " (from line " + std::to_string(document.line) + "): " + why;
    }
    if (out.trouble.empty() && out.objects.empty()) out.trouble = "it has no objects";
    if (!out.trouble.empty()) out.objects.clear();
    return out;
  }

 private:
  std::string take(const Document& document, Addon& addon) {
    const auto text = reconcile::yaml_to_json(document.text);
    if (!text) return text.error().message;
    auto object = json::parse(*text, nullptr, false);
    if (!object.is_object()) return "it is no object with apiVersion, kind and metadata";
    WantedObject o;
    if (auto why = identify(object, o); !why.empty()) return why;
    if (!seen_.insert(o.id()).second) return o.text() + " is there twice: leave one out";
    if (addon.objects.size() >= api::max_addon_objects)
      return "more than " + std::to_string(api::max_addon_objects) + " objects: make two add-ons of it";
    object.erase("status");
    object["metadata"]["labels"][std::string(api::label::addon)] = addon.name;
    o.body = object.dump();
    o.hash = reconcile::hash_of(o.body);
    o.phase = phase_of(o);
    learn(object, o);
    addon.objects.push_back(std::move(o));
    return {};
  }
  static std::string identify(const json& object, WantedObject& o) {
    o.api_version = text_of(object, "apiVersion");
    o.kind = text_of(object, "kind");
    const auto meta = object.find("metadata");
    if (o.api_version.empty() || o.kind.empty()) return "it has no apiVersion or no kind";
    if (meta == object.end() || !meta->is_object() || text_of(*meta, "name").empty())
      return "the " + o.kind + " has no metadata.name (generateName would make another one each time)";
    if (const auto labels = meta->find("labels"); labels != meta->end() && !labels->is_object())
      return "the " + o.kind + "'s metadata.labels are no map";
    o.name = text_of(*meta, "name");
    o.name_space = text_of(*meta, "namespace");
    const auto slash = o.api_version.find('/');
    o.group = slash == std::string::npos ? std::string() : o.api_version.substr(0, slash);
    o.version = slash == std::string::npos ? o.api_version : o.api_version.substr(slash + 1);
    for (const auto& r : refusals)
      if (r.group == o.group && r.kind == o.kind) return o.text() + ": " + std::string(r.why);
    const auto filled = [&](const char* field) { return object.contains(field) && !object[field].empty(); };
    if (o.group.empty() && o.kind == "Secret" && (filled("data") || filled("stringData")))
      return o.text() + " holds something: whoever reads packages would read it. Make the Secret in the cluster itself";
    return {};
  }
  // Where objects of its kind are; and of a CRD, where those are that it defines.
  void learn(const json& object, WantedObject& o) {
    if (const auto place = builtin_place(o.group, o.kind)) o.place = kinds_.get(o.group, o.version, o.kind, *place);
    if (o.kind != "CustomResourceDefinition" || !object.contains("spec")) return;
    const auto& spec = object["spec"];
    const auto names = spec.is_object() && spec.contains("names") ? spec["names"] : json();
    o.defines = {text_of(spec, "group"), text_of(names, "kind")};
    if (!o.defines.kind.empty()) defined_[o.defines] = {text_of(names, "plural"), text_of(spec, "scope") == "Namespaced"};
  }

 public:
  void place(Addon& addon) {
    for (auto& o : addon.objects) {
      if (!o.place)
        if (const auto it = defined_.find(o.group_kind()); it != defined_.end())
          o.place = kinds_.get(o.group, o.version, o.kind, it->second);
      if (o.place && o.place->resource->namespaced && o.name_space.empty()) o.name_space = "default";
      if (!o.place || o.place->resource->namespaced || o.name_space.empty()) continue;
      addon.trouble = o.text() + ": a " + o.kind + " has no namespace: leave it out";
      break;
    }
    if (!addon.trouble.empty()) addon.objects.clear();
  }

 private:
  Kinds& kinds_;
  std::set<std::string> seen_;
  std::map<GroupKind, Place> defined_;
};

}  // namespace

std::vector<Addon> read_manifests(const std::vector<Manifest>& manifests, Kinds& kinds) {
  Reader reader(kinds);
  std::vector<Addon> out;
  out.reserve(manifests.size());
  for (const auto& m : manifests) out.push_back(reader.read(m));
  for (auto& addon : out) reader.place(addon);
  return out;
}

}  // namespace endstate::addons
