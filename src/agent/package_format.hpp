// Who installs a package of the distribution.
#pragma once
#include <cstdint>

#include "reconcile/base/describe.hpp"

namespace endstate::agent {

enum class PackageFormat : std::uint8_t { deb, rpm };
consteval auto describe(const PackageFormat*) { return reconcile::names("Who installs it.", "Deb", "Rpm"); }

}  // namespace endstate::agent
