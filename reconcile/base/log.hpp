// Log: where the runtime's structured lines go. A program passes its own sink (spdlog in endstate); none of the layers below knows it.
//
//   log(Level::warning, "the watch broke", {{"cluster", "prod/hz-a"}, {"resource", "nodes"}, {"error", error.message}});
//
// A sink must be safe to call from any thread, must not throw, and drops lines rather than block.
#pragma once
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>

namespace reconcile {

enum class Level : std::uint8_t { debug, info, warning, error };
struct LogField {
  std::string_view key;
  std::string value;
};
using Log = std::function<void(Level level, std::string_view message, std::initializer_list<LogField> fields)>;

// A sink that drops everything: for tests.
inline Log no_log() {
  return [](Level, std::string_view, std::initializer_list<LogField>) {};
}

}  // namespace reconcile
