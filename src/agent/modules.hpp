// Modules of the kernel, by modprobe(8). Private to linux_host.cpp.
#pragma once
#include <atomic>

#include "src/agent/tree.hpp"

namespace endstate::agent {

// Loaded, or part of the kernel. The same module may be written with "-" and with "_".
Result<bool> module_is_loaded(const Tree& tree, const std::string& name);
// Waits for its end, at most 30 s. `modprobe`: the program.
Result<void> load_kernel_module(const Tree& tree, const std::string& modprobe, const std::string& name,
                                const std::vector<std::string>& parameters, const std::atomic<bool>& cancelled);

}  // namespace endstate::agent
