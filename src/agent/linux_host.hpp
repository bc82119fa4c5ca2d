// LinuxHost: the machine itself, or a folder that stands for it.
#pragma once
#include <atomic>
#include <memory>

#include "src/agent/host.hpp"
#include "src/agent/services.hpp"

namespace endstate::agent {

struct LinuxHostOptions {
  std::string root = "/";  // another: files, sysctls and the boot's id are looked for below it; commands still run on this machine
  std::string modprobe = "modprobe";
  std::string program{};  // of this agent; empty: what /proc/self/exe says
  bool durable = true;    // false: nothing is flushed to the disk; for tests, in which no power is lost
};

std::unique_ptr<Host> linux_host(LinuxHostOptions options, std::unique_ptr<Services> services);

}  // namespace endstate::agent
