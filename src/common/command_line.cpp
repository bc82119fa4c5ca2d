#include "src/common/command_line.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <iostream>

namespace endstate {

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data()) : std::string();
}

int wrong_usage(const CLI::App& app, const std::string& what) {
  std::cerr << app.get_name() << ": " << what << "; see --help\n";
  return 2;
}

std::optional<int> parse(CLI::App& app, int argc, const char* const* argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    return wrong_usage(app, e.what());
  }
  return std::nullopt;
}

}  // namespace endstate
