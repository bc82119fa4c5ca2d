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

void last_one_counts(CLI::App& app) {
  for (auto* option : app.get_options())
    if (!option->get_positional() && option->get_items_expected_max() == 1 &&
        option->get_multi_option_policy() == CLI::MultiOptionPolicy::Throw)
      option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  for (auto* command : app.get_subcommands(nullptr)) last_one_counts(*command);
}

std::optional<int> parse(CLI::App& app, int argc, const char* const* argv) {
  last_one_counts(app);
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
