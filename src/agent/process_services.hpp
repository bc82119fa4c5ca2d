// Services on a host without systemd: the agent starts what a unit file's ExecStart says (no shell, no specifiers), in a session of its
// own. They outlive the agent, and are known again by PID and start time (/run/endstate/services). What has died is found by the next look
// and started again within the limits of drift. Of a unit file only [Service] ExecStart and Environment are read.
#pragma once
#include <memory>

#include "src/agent/services.hpp"

namespace endstate::agent {

std::unique_ptr<Services> process_services(std::string root = "/");

struct ServiceCommand {
  std::vector<std::string> argv, environment;
};
// Pure. Words are split at blanks; "..." and '...' keep them together (systemd.syntax(7)). A '-' before the program is left out.
Result<ServiceCommand> service_command(std::string_view unit_file);

}  // namespace endstate::agent
