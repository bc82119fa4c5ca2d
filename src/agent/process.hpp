// Runs a command to its end or its deadline, with everything that it starts. No shell sees it. Blocking.
#pragma once
#include <atomic>

#include "src/agent/host.hpp"

namespace endstate::agent {

std::string last_words(const std::string& output);  // the last 300 bytes at most, in one line
Result<Ended> run_command(const Command& command, const std::atomic<bool>& cancelled);

}  // namespace endstate::agent
