// resource.Quantity of Kubernetes (k8s.io/apimachinery pkg/api/resource/quantity.go): a decimal number and a suffix: "20Gi", "500m", "1.5",
// "12e6", "100000u", "1E". Exact down to a nano, which is where Kubernetes rounds up; what is past 2^63 - 1 is that.
#pragma once
#include <compare>
#include <cstdint>
#include <optional>
#include <string_view>

namespace endstate {

__extension__ typedef __int128 Wide;  // NOLINT(modernize-use-using): 9.2e18 in nanos has 28 digits

struct Quantity {
  Wide nanos = 0;
  std::int64_t whole() const;  // rounded up, as Quantity::Value() does
  friend auto operator<=>(const Quantity&, const Quantity&) = default;
};
std::optional<Quantity> parse_quantity(std::string_view text);  // nullopt: Kubernetes would refuse it

}  // namespace endstate
