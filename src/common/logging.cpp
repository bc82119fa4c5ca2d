#include "src/common/logging.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

namespace endstate {
namespace {

using reconcile::Level;

spdlog::level::level_enum spd_level(Level level) {
  switch (level) {
    case Level::debug: return spdlog::level::debug;
    case Level::info: return spdlog::level::info;
    case Level::warning: return spdlog::level::warn;
    case Level::error: return spdlog::level::err;
  }
  return spdlog::level::err;
}

// logfmt: quoted where a blank, a quote or a control character would make the pair unreadable. A line stays one line.
void put_value(std::string& line, std::string_view value) {
  const bool plain = !value.empty() && value.find_first_of(" \"=\n\r\t") == std::string_view::npos;
  if (plain) {
    line += value;
    return;
  }
  line += '"';
  for (const char c : value) {
    if (c == '"' || c == '\\')
      line.append("\\").push_back(c);
    else if (static_cast<unsigned char>(c) < 0x20)
      line += ' ';
    else
      line += c;
  }
  line += '"';
}

}  // namespace

reconcile::Result<Level> parse_level(std::string_view name) {
  if (name == "debug") return Level::debug;
  if (name == "info") return Level::info;
  if (name == "warning") return Level::warning;
  if (name == "error") return Level::error;
  return reconcile::fail(reconcile::Code::invalid, "--log-level: '" + std::string(name) + "' is none of debug, info, warning, error");
}

reconcile::Log stderr_log(Level least) {
  auto logger = std::make_shared<spdlog::logger>("endstate", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_level(spd_level(least));
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %-7l %v", spdlog::pattern_time_type::utc);
  logger->flush_on(spdlog::level::info);
  return [logger](Level level, std::string_view message, std::initializer_list<reconcile::LogField> fields) {
    if (!logger->should_log(spd_level(level))) return;
    std::string line(message);
    for (const auto& field : fields) {
      line.append(" ").append(field.key).append("=");
      put_value(line, field.value);
    }
    logger->log(spd_level(level), "{}", line);
  };
}

}  // namespace endstate
