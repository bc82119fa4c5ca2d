// Addresses and ranges, as plain numbers. Pure.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace endstate {

// "10.0.0.1", "fd00::1" in its canonical form; nullopt: no address (a name).
std::optional<std::string> canonical_address(std::string_view text);
// The n-th address of a range ("10.96.0.0/16", 1: "10.96.0.1"); nullopt: no range, or it has none.
std::optional<std::string> address_of(std::string_view range, unsigned n);
// Whether the address lies in the range. False for what is no address or no range.
bool in_range(std::string_view range, std::string_view address);
bool overlap(std::string_view a, std::string_view b);
bool is_range(std::string_view range);

}  // namespace endstate
