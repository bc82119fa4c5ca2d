// What endstate itself brings into each Hosted cluster: the CRD of HostAssignment, the namespace endstate-system, and the agents' roles and
// policies. The text of files in manifests/, put into the program when it is built (CMakeLists.txt).
#pragma once
#include <string_view>

namespace endstate::addons {

std::string_view builtin_manifest();

}  // namespace endstate::addons
