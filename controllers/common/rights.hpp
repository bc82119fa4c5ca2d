// What endstate's identity must be allowed in a business cluster, as data, and what of it a SelfSubjectRulesReview says that it lacks.
// Pure. The rules are those of manifests/rbac/operator.yaml below "business cluster"; e2e/scenarios/kubectl_test.sh holds the two together.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace endstate {

struct Right {
  std::string_view group, resource;  // "pods/eviction"
  std::vector<std::string_view> verbs;
  std::string_view name_space{};  // "": everywhere
  std::string_view name{};        // "": any
  std::string_view without{};     // what doesn't work without it, for people
};

const std::vector<Right>& business_rights();

// A SelfSubjectRulesReview for endstate-system: rules of ClusterRoleBindings are in each namespace's answer.
std::string rules_review();

struct RightsFound {
  std::vector<Right> missing;  // with the verbs that are
  bool complete = true;        // else an authorizer couldn't list its rules (a webhook): what seems to be missing may be there
  std::string error{};         // what it says of that
};
// What its answer says; nullopt: it is none.
std::optional<RightsFound> find_missing_rights(std::string_view answer);
// "nodes (patch, delete): no machine is ever Ready; pods/eviction (create): nodes can't be drained", the first few of them.
std::string text_of(const std::vector<Right>& missing);

}  // namespace endstate
