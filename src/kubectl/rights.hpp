// Asking for one of endstate's rights in a business cluster after the other, and the YAML that grants what it lacks. Pure.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "controllers/common/rights.hpp"

namespace endstate::kubectl {

// A SelfSubjectAccessReview that asks for one verb of it.
std::string review(const Right& right, std::string_view verb);
// What a review's answer says; false, too, where it can't be read.
bool allowed(std::string_view answer);

// A ClusterRole and a Role with exactly these, to be bound to whom the kubeconfig names; each rule with what needs it.
std::string grant_yaml(const std::vector<Right>& missing);

}  // namespace endstate::kubectl
