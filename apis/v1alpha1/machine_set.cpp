#include "apis/v1alpha1/machine_set.hpp"

#include <algorithm>

namespace endstate::v1alpha1 {

std::int64_t scaled(IntOrPercent value, std::int64_t total, bool round_up) {
  const auto n = value.percent ? (value.value * total + (round_up ? 99 : 0)) / 100 : value.value;
  return std::clamp<std::int64_t>(n, 0, std::max<std::int64_t>(total, 0));
}

}  // namespace endstate::v1alpha1
