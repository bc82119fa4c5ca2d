// The version of every program, from CMake's project().
#pragma once
#include <string_view>

namespace endstate {
inline constexpr std::string_view version = ENDSTATE_VERSION;
}  // namespace endstate
