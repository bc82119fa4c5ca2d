#include "controllers/common/rights.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apis/v1alpha1/names.hpp"

namespace endstate {
namespace {

using nlohmann::json;

bool has(const json& rule, const char* field, std::string_view word) {
  const auto list = rule.find(field);
  return list != rule.end() && list->is_array() &&
         std::any_of(list->begin(), list->end(), [&](const json& x) { return x.is_string() && x.get_ref<const std::string&>() == word; });
}

// As k8s.io/kubernetes pkg/apis/rbac/v1/evaluation_helpers.go: "*" is everything, "*/sub" that subresource of everything.
bool covers(const json& rule, const Right& right, std::string_view verb) {
  if (!rule.is_object()) return false;
  if (!has(rule, "verbs", verb) && !has(rule, "verbs", "*")) return false;
  if (!has(rule, "apiGroups", right.group) && !has(rule, "apiGroups", "*")) return false;
  const auto slash = right.resource.find('/');
  const bool sub = slash != std::string_view::npos && has(rule, "resources", "*" + std::string(right.resource.substr(slash)));
  if (!sub && !has(rule, "resources", right.resource) && !has(rule, "resources", "*")) return false;
  const auto names = rule.find("resourceNames");
  const bool any_name = names == rule.end() || !names->is_array() || names->empty();
  return any_name || (!right.name.empty() && has(rule, "resourceNames", right.name));
}

constexpr std::size_t most_named = 5;

}  // namespace

const std::vector<Right>& business_rights() {
  constexpr std::string_view agents = v1alpha1::system_namespace;
  static const std::vector<Right> all{
      {.group = "endstate.dev",
       .resource = "hostassignments",
       .verbs = {"get", "list", "watch", "create", "update", "patch", "delete"},
       .without = "no host can be told anything"},
      {.group = "", .resource = "nodes", .verbs = {"get", "list", "watch", "patch", "delete"}, .without = "no machine is ever Ready"},
      {.group = "", .resource = "pods", .verbs = {"get", "list", "watch"}, .without = "nodes can't be drained"},
      {.group = "", .resource = "pods/eviction", .verbs = {"create"}, .without = "nodes can't be drained"},
      {.group = "storage.k8s.io",
       .resource = "volumeattachments",
       .verbs = {"list"},
       .without = "a host is given back without a look at volumes that are still attached"},
      {.group = "batch", .resource = "jobs", .verbs = {"get", "create", "delete"}, .without = "analysis.probes can't be made"},
      {.group = "events.k8s.io", .resource = "events", .verbs = {"list"}, .without = "why a probe's Job has no pods isn't told"},
      {.group = "coordination.k8s.io",
       .resource = "leases",
       .verbs = {"get", "list", "watch", "delete"},
       .name_space = agents,
       .without = "no agent is known to be alive"},
      {.group = "rbac.authorization.k8s.io",
       .resource = "clusterroles",
       .verbs = {"create", "patch", "list", "watch"},
       .without = "no host can be given its rights, or they aren't put back when they are gone"},
      {.group = "rbac.authorization.k8s.io",
       .resource = "clusterrolebindings",
       .verbs = {"create", "patch", "list", "watch"},
       .without = "no host can be given its rights, or a host that enrols anew doesn't take those of its old key"},
      {.group = "admissionregistration.k8s.io",
       .resource = "validatingadmissionpolicybindings",
       .verbs = {"get"},
       .name = "agents.endstate.dev",
       .without = "no new agent is let in"},
      {.group = "certificates.k8s.io",
       .resource = "certificatesigningrequests",
       .verbs = {"get", "list", "watch"},
       .without = "no host gets a certificate"},
      {.group = "certificates.k8s.io",
       .resource = "certificatesigningrequests/approval",
       .verbs = {"patch"},
       .without = "no host gets a certificate"},
      {.group = "certificates.k8s.io",
       .resource = "signers",
       .verbs = {"approve"},
       .name = "kubernetes.io/kube-apiserver-client",
       .without = "no agent gets a certificate"},
      {.group = "certificates.k8s.io",
       .resource = "signers",
       .verbs = {"approve"},
       .name = "kubernetes.io/kube-apiserver-client-kubelet",
       .without = "no kubelet gets a certificate"},
      {.group = "certificates.k8s.io",
       .resource = "signers",
       .verbs = {"approve"},
       .name = "kubernetes.io/kubelet-serving",
       .without = "no kubelet gets a serving certificate"},
  };
  return all;
}

std::string rules_review() {
  return json{
      {"apiVersion", "authorization.k8s.io/v1"}, {"kind", "SelfSubjectRulesReview"}, {"spec", {{"namespace", v1alpha1::system_namespace}}}}
      .dump();
}

std::optional<RightsFound> find_missing_rights(std::string_view answer) {
  const auto object = json::parse(answer, nullptr, false);
  const auto status = object.is_object() ? object.value("status", json()) : json();
  if (!status.is_object() || !status.contains("resourceRules") || !status["resourceRules"].is_array()) return std::nullopt;
  const auto& rules = status["resourceRules"];
  RightsFound out{.complete = !status.value("incomplete", false), .error = status.value("evaluationError", "")};
  for (auto right : business_rights()) {
    std::erase_if(right.verbs, [&](std::string_view verb) {
      return std::any_of(rules.begin(), rules.end(), [&](const json& rule) { return covers(rule, right, verb); });
    });
    if (!right.verbs.empty()) out.missing.push_back(std::move(right));
  }
  return out;
}

std::string text_of(const std::vector<Right>& missing) {
  std::string out;
  for (std::size_t i = 0; i < std::min(missing.size(), most_named); ++i) {
    const auto& right = missing[i];
    out.append(i ? "; " : "").append(right.resource);
    if (!right.name.empty()) out.append(" ").append(right.name);
    out += " (";
    for (const auto verb : right.verbs) out.append(out.back() == '(' ? "" : ", ").append(verb);
    out.append("): ").append(right.without);
  }
  return missing.size() > most_named ? out + "; and " + std::to_string(missing.size() - most_named) + " more" : out;
}

}  // namespace endstate
