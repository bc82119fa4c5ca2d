// `endstate-agent --enrol FILE`: takes up what a person brought, and waits until the host has its certificate. What it doesn't see the end
// of the service goes on with.
#pragma once
#include "src/agent/options.hpp"

namespace endstate::agent {

// The exit code: 0 the host has enrolled; 1 not (yet), it says why; 2 what was brought can't be used.
int enrol_command(const CommandLine& options, const reconcile::Log& log);

}  // namespace endstate::agent
