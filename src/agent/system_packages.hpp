// Packages of the distribution, by its own tools: dpkg(1) and rpm(8). Private to linux_host.cpp. Blocking.
//
// Below another root than "/" the tools work on that root (--root). They are never cut off by cancel(): what they have begun they end, or
// run into their own limit; a host that dies meanwhile finds the package not whole, and install() puts it right.
#pragma once
#include <atomic>
#include <memory>

#include "src/agent/tree.hpp"

namespace endstate::agent {

inline constexpr std::chrono::seconds package_tool_limit{600};  // one call
inline constexpr std::chrono::seconds package_lock_limit{300};  // for others to let go of the database
inline constexpr std::size_t max_package_files = 50'000;

class PackageTool {
 public:
  virtual ~PackageTool() = default;
  virtual Result<PackageFileInfo> read(const std::string& file) = 0;
  virtual Result<std::optional<InstalledPackage>> installed(const std::string& name) = 0;
  virtual Result<std::vector<std::string>> files(const std::string& name) = 0;  // paths of it that aren't folders or configuration
  virtual Result<std::string> verify(const std::string& name) = 0;              // the first file that isn't as the package has it
  virtual Result<std::int64_t> stamp() = 0;                                     // another one: its database may have changed
  virtual Result<void> install(const std::string& file) = 0;
  virtual Result<void> remove(const std::string& name) = 0;  // with its configuration
};
std::unique_ptr<PackageTool> dpkg_tool(const Tree& tree, const std::atomic<bool>& cancelled);
std::unique_ptr<PackageTool> rpm_tool(const Tree& tree);

// What both have in common.
Error package_error(std::string message);
Result<Ended> ask_package_tool(std::vector<std::string> argv, std::size_t keep);        // however it ended
Result<std::string> run_package_tool(std::vector<std::string> argv, std::size_t keep);  // its output; an error: it didn't end with 0
std::vector<std::string> lines_of(const std::string& text);

}  // namespace endstate::agent
