// Starting a program apart from the agent: in a session of its own, with no signal blocked or ignored, /dev/null as its input, and nothing
// of the agent's own environment: that may hold a proxy's password or a token.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "reconcile/base/result.hpp"

namespace endstate::agent {

inline constexpr const char* search_path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

struct Launch {
  std::string program;  // a path, or a name that is looked for in the folders of the agent's own PATH
  std::vector<std::string> argv, environment;
  int output = -1;  // where both of its outputs go; -1: /dev/null
};
// The error is that of posix_spawn(3), and names the first of argv.
reconcile::Result<pid_t> spawn_apart(const Launch& launch);

}  // namespace endstate::agent
