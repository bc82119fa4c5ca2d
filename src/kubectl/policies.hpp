// The admission policies that endstate brings: those of manifests/policies/, put into the program when it is built (CMakeLists.txt).
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace endstate::kubectl {

std::string_view policies_manifest();     // all of them, one YAML document after the other
std::vector<std::string> policy_names();  // of the ValidatingAdmissionPolicies; each has a binding of its own name

}  // namespace endstate::kubectl
