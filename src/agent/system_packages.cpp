#include "src/agent/system_packages.hpp"

#include "src/agent/process.hpp"
#include "src/agent/reasons.hpp"

namespace endstate::agent {

Error package_error(std::string message) { return {Code::invalid, std::move(message), {}, std::string(reason::install_failed)}; }

Result<Ended> ask_package_tool(std::vector<std::string> argv, std::size_t keep) {
  static const std::atomic<bool> never{false};
  const auto tool = argv.front();
  auto ended = run_command(
      {.argv = std::move(argv), .timeout = package_tool_limit, .keep = keep, .environment = {"DEBIAN_FRONTEND=noninteractive"}}, never);
  if (!ended && ended.error().code == Code::not_found) return fail(package_error("the host has no " + tool));
  if (!ended) return fail(ended.error());
  if (ended->timed_out)
    return fail(package_error(tool + " did not end within " + std::to_string(package_tool_limit.count()) + " s and was killed"));
  return ended;
}

Result<std::string> run_package_tool(std::vector<std::string> argv, std::size_t keep) {
  const auto tool = argv.front();
  auto ended = ask_package_tool(std::move(argv), keep);
  if (!ended) return fail(ended.error());
  if (ended->code == 0) return std::move(ended->output);
  auto error = package_error(tool + " ended with " + std::to_string(ended->code) + ": " + last_words(ended->output));
  if (error.message.find("No space left on device") != std::string::npos)
    error = {Code::unavailable, error.message, {}, std::string(reason::disk_full)};
  return fail(std::move(error));
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t from = 0; from < text.size();) {
    const auto end = std::min(text.find('\n', from), text.size());
    if (end > from) lines.push_back(text.substr(from, end - from));
    from = end + 1;
  }
  return lines;
}

}  // namespace endstate::agent
