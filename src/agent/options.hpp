// endstate-agent's command line.
#pragma once
#include <variant>

#include "reconcile/base/log.hpp"
#include "src/agent/agent.hpp"

namespace endstate::agent {

struct CommandLine {
  std::string kubeconfig, context;  // an empty kubeconfig: the host enrols (enrolment.hpp)
  std::string enrol;                // a file that `kubectl endstate enrol` has printed, or "-": enrol now, then end
  std::chrono::seconds enrol_timeout{300};
  std::chrono::seconds certificate_life{std::chrono::hours(24 * 7)};
  AgentOptions agent;
  EngineSettings engine;
  std::string root = "/";
  bool systemd = true;  // false: it starts services itself
  reconcile::Level log_level = reconcile::Level::info;
};

// An exit code: help or the version was asked for (0), or something is wrong and has been said on stderr (2).
std::variant<CommandLine, int> parse_command_line(int argc, const char* const* argv);

// As GOARCH has it, from uname(2)'s machine: "x86_64" is "amd64".
std::string goarch(const std::string& machine);

}  // namespace endstate::agent
