// Manifests that a user names with -f: files, folders, or the standard input; YAML or JSON, several documents, Lists taken apart.
#pragma once
#include <istream>
#include <string>
#include <vector>

#include "reconcile/base/result.hpp"

namespace endstate::kubectl {

struct Manifest {
  std::string where;  // the file, for messages
  std::string api_version, kind, name, name_space;
  std::string json;
};
inline constexpr std::size_t max_manifests = 1'000;

reconcile::Result<std::vector<Manifest>> read_manifests(const std::vector<std::string>& names, std::istream& standard_input);

}  // namespace endstate::kubectl
