// What endstate's identity must be allowed in a business cluster, as data; and the YAML that grants what it lacks. Pure. The rules are
// those of manifests/rbac/operator.yaml below "business cluster"; e2e/scenarios/kubectl_test.sh holds the two together.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace endstate::kubectl {

struct Right {
  std::string_view group, resource;  // "pods/eviction"
  std::vector<std::string_view> verbs;
  std::string_view name_space{};  // "": everywhere
  std::string_view name{};        // "": any
  std::string_view without{};     // what doesn't work without it, for people
};

const std::vector<Right>& business_rights();

// A SelfSubjectAccessReview that asks for one verb of it.
std::string review(const Right& right, std::string_view verb);
// What a review's answer says; false, too, where it can't be read.
bool allowed(std::string_view answer);

// A ClusterRole and a Role with exactly these, to be bound to whom the kubeconfig names; each rule with what needs it.
std::string grant_yaml(const std::vector<Right>& missing);

}  // namespace endstate::kubectl
