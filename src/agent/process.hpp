// Runs a command to its end or its deadline, with everything that it starts. No shell sees it. Blocking.
#pragma once
#include <atomic>

#include "src/agent/host.hpp"

namespace endstate::agent {

Result<Ended> run_command(const Command& command, const std::atomic<bool>& cancelled);

}  // namespace endstate::agent
