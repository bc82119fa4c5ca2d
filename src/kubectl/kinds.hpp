// endstate's kinds, by their names in a manifest.
#pragma once
#include <string_view>

#include "reconcile/kube/kind.hpp"

namespace endstate::kubectl {

// Null: none of endstate's.
const reconcile::Kind* kind_named(std::string_view api_version, std::string_view kind);

}  // namespace endstate::kubectl
