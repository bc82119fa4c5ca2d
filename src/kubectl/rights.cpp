#include "src/kubectl/rights.hpp"

#include <nlohmann/json.hpp>

#include "apis/v1alpha1/names.hpp"

namespace endstate::kubectl {

namespace {

std::pair<std::string, std::string> parts(std::string_view resource) {
  const auto slash = resource.find('/');
  if (slash == std::string_view::npos) return {std::string(resource), {}};
  return {std::string(resource.substr(0, slash)), std::string(resource.substr(slash + 1))};
}

std::string list(const std::vector<std::string_view>& words) {
  std::string out = "[";
  for (const auto w : words) out.append(out.size() > 1 ? ", " : "").append(w.empty() ? "\"\"" : w);
  return out + "]";
}

void put_rules(std::string& out, const std::vector<Right>& rights, bool namespaced) {
  for (const auto& r : rights) {
    if (r.name_space.empty() == namespaced) continue;
    out.append("# without it ").append(r.without).append("\n- apiGroups: ").append(list({r.group}));
    out.append("\n  resources: ").append(list({r.resource}));
    if (!r.name.empty()) out.append("\n  resourceNames: ").append(list({r.name}));
    out.append("\n  verbs: ").append(list(r.verbs)).append("\n");
  }
}
bool any(const std::vector<Right>& rights, bool namespaced) {
  for (const auto& r : rights)
    if (r.name_space.empty() != namespaced) return true;
  return false;
}

}  // namespace

std::string review(const Right& right, std::string_view verb) {
  const auto [resource, subresource] = parts(right.resource);
  nlohmann::json attributes{{"group", right.group}, {"resource", resource}, {"verb", verb}};
  if (!subresource.empty()) attributes["subresource"] = subresource;
  if (!right.name_space.empty()) attributes["namespace"] = right.name_space;
  if (!right.name.empty()) attributes["name"] = right.name;
  return nlohmann::json{{"apiVersion", "authorization.k8s.io/v1"},
                        {"kind", "SelfSubjectAccessReview"},
                        {"spec", {{"resourceAttributes", std::move(attributes)}}}}
      .dump();
}

bool allowed(std::string_view answer) {
  const auto object = nlohmann::json::parse(answer, nullptr, false);
  if (!object.is_object() || !object.contains("status") || !object["status"].is_object()) return false;
  const auto& status = object["status"];
  return status.contains("allowed") && status["allowed"].is_boolean() && status["allowed"].get<bool>();
}

std::string grant_yaml(const std::vector<Right>& missing) {
  std::string out;
  if (any(missing, false)) {
    out += "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: endstate-operator-missing}\nrules:\n";
    put_rules(out, missing, false);
  }
  if (any(missing, true)) {
    if (!out.empty()) out += "---\n";
    out.append("apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: endstate-operator-missing, namespace: ")
        .append(v1alpha1::system_namespace)
        .append("}\nrules:\n");
    put_rules(out, missing, true);
  }
  return out;
}

}  // namespace endstate::kubectl
