#include "src/agent/modules.hpp"

#include <sys/utsname.h>

#include <algorithm>

#include "src/agent/process.hpp"
#include "src/agent/reasons.hpp"

namespace endstate::agent {
namespace {

constexpr std::chrono::seconds load_limit{30};
constexpr std::size_t max_list = std::size_t{4} << 20U;  // modules.builtin has some 10 KiB

std::string underscored(std::string name) {
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

// Most of what is built in has no folder in /sys/module: kmod's list says it (kernel/net/bridge/br_netfilter.ko, one a line).
bool is_built_in(const Tree& tree, const std::string& name) {
  utsname kernel{};
  if (::uname(&kernel) != 0) return false;
  const auto list =
      tree.read(std::string("/lib/modules/") + kernel.release + "/modules.builtin", max_list);  // NOLINT: a string of uname(2)
  if (!list) return false;
  return underscored(*list).find("/" + name + ".ko") != std::string::npos;
}

}  // namespace

Result<bool> module_is_loaded(const Tree& tree, const std::string& name) {
  const auto known = underscored(name);
  auto folder = tree.look("/sys/module/" + known);
  if (!folder) return fail(folder.error());
  return folder->has_value() || is_built_in(tree, known);
}

Result<void> load_kernel_module(const Tree& tree, const std::string& modprobe, const std::string& name,
                                const std::vector<std::string>& parameters, const std::atomic<bool>& cancelled) {
  Command command{.argv = {modprobe, "--", name}, .timeout = load_limit};
  command.argv.insert(command.argv.end(), parameters.begin(), parameters.end());
  auto ended = run_command(command, cancelled);
  const auto failed = [&](const std::string& why) {
    return fail(Error{Code::invalid, "kernel module " + name + " can't be loaded: " + why, {}, std::string(reason::install_failed)});
  };
  if (!ended && ended.error().code == Code::cancelled) return fail(ended.error());
  if (!ended) return failed(ended.error().message);
  if (ended->timed_out) return failed("modprobe did not end within " + std::to_string(load_limit.count()) + " s");
  if (ended->code != 0) return failed(last_words(ended->output));
  auto there = module_is_loaded(tree, name);
  if (!there) return fail(there.error());
  if (!*there) return failed("modprobe ended well, and it isn't there");
  return {};
}

}  // namespace endstate::agent
