#include "src/agent/spawn.hpp"

#include <fcntl.h>
#include <spawn.h>

#include <csignal>

#include "src/agent/tree.hpp"

namespace endstate::agent {
namespace {

// posix_spawn(3) takes pointers to what it doesn't change.
std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  out.reserve(texts.size() + 1);
  for (const auto& t : texts) out.push_back(const_cast<char*>(t.c_str()));
  out.push_back(nullptr);
  return out;
}

}  // namespace

reconcile::Result<pid_t> spawn_apart(const Launch& launch) {
  const auto argv = pointers(launch.argv);
  const auto environment = pointers(launch.environment);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  for (const int fd : {1, 2})
    if (launch.output < 0)
      posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_WRONLY, 0);
    else
      posix_spawn_file_actions_adddup2(&actions, launch.output, fd);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);  // the agent's threads have SIGTERM blocked
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  pid_t pid = -1;
  const auto error = ::posix_spawnp(&pid, launch.program.c_str(), &actions, &attributes, argv.data(), environment.data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return reconcile::fail(file_error(error, "start", launch.argv.front()));
  return pid;
}

}  // namespace endstate::agent
