// Debian's packages. Configuration that the package brings is installed, and kept when somebody has changed it (dpkg's own default without
// a question); a package that must own a configuration file lists it in its spec's files.
#include <sys/stat.h>

#include <algorithm>
#include <set>
#include <thread>

#include "src/agent/system_packages.hpp"

namespace endstate::agent {
namespace {

constexpr std::string_view folder = "/var/lib/dpkg/";

class Dpkg final : public PackageTool {
 public:
  Dpkg(const Tree& tree, const std::atomic<bool>& cancelled) : tree_(tree), cancelled_(cancelled) {}

  Result<PackageFileInfo> read(const std::string& file) override {
    auto said =
        run_package_tool({"dpkg-deb", "--show", "--showformat=${Package}\\n${Version}\\n${Architecture}\\n", tree_.outside(file)}, 4096);
    if (!said) return fail(said.error());
    const auto lines = lines_of(*said);
    if (lines.size() != 3) return fail(package_error("it is no Debian package"));
    return PackageFileInfo{lines[0], lines[1], lines[2] == "all" ? "" : lines[2]};
  }

  Result<std::optional<InstalledPackage>> installed(const std::string& name) override {
    auto said = query({"--show", "--showformat=${db:Status-Want} ${db:Status-Eflag} ${db:Status-Status}\\n${Version}\\n", name});
    if (!said && said.error().message.find("no packages found") != std::string::npos) return std::optional<InstalledPackage>();
    if (!said) return fail(said.error());
    const auto lines = lines_of(*said);
    if (lines.empty() || lines[0].ends_with(" not-installed")) return std::optional<InstalledPackage>();
    InstalledPackage found;
    found.whole = lines[0] == "install ok installed" || lines[0] == "hold ok installed";
    if (lines.size() > 1) found.version = lines[1];
    return std::optional(found);
  }

  // dpkg's own list, less the configuration.
  Result<std::vector<std::string>> files(const std::string& name) override {
    auto said = query({"--listfiles", name}, std::size_t{8} << 20U);
    if (!said) return fail(said.error());
    auto settings = query({"--show", "--showformat=${Conffiles}\\n", name}, std::size_t{1} << 20U);
    if (!settings) return fail(settings.error());
    std::set<std::string> excluded;
    for (const auto& line : lines_of(*settings))  // " /etc/x 0123...": a path and its hash
      if (const auto from = line.find('/'); from != std::string::npos) excluded.insert(line.substr(from, line.find(' ', from) - from));
    std::vector<std::string> out;
    for (auto& path : lines_of(*said)) {
      if (!path.starts_with('/') || excluded.contains(path)) continue;
      auto info = tree_.look(path);
      if (!info) return fail(info.error());
      if (!*info || (*info)->kind != FileKind::folder) out.push_back(std::move(path));
      if (out.size() >= max_package_files) break;
    }
    return out;
  }

  // "??5??????   /usr/bin/x", "missing     /usr/bin/x"; with a "c" before the path: configuration, of which only a missing one counts.
  Result<std::string> verify(const std::string& name) override {
    auto ended = ask_package_tool(with_root({"dpkg", "--verify", name}), std::size_t{1} << 20U);
    if (!ended) return fail(ended.error());
    return verdict(ended->output);
  }

  Result<std::int64_t> stamp() override {
    auto info = tree_.look(std::string(folder) + "status");
    if (!info) return fail(info.error());
    return *info ? (*info)->changed : 0;
  }

  Result<void> install(const std::string& file) override {
    return change({"--install", "--force-confdef,confold,confmiss,downgrade", "--", tree_.outside(file)});
  }
  Result<void> remove(const std::string& name) override { return change({"--purge", "--force-remove-reinstreq", "--", name}); }

 private:
  std::vector<std::string> with_root(std::vector<std::string> argv) const {
    if (tree_.outside("/x") == "/x") return argv;
    argv.insert(argv.begin() + 1, "--root=" + tree_.outside(""));
    return argv;
  }
  Result<std::string> query(std::vector<std::string> arguments, std::size_t keep = 4096) const {
    arguments.insert(arguments.begin(), "dpkg-query");
    return run_package_tool(with_root(std::move(arguments)), keep);
  }
  static std::string verdict(const std::string& said) {
    for (const auto& line : lines_of(said)) {
      const auto path = line.find('/');
      if (path == std::string::npos) continue;
      const bool missing = line.starts_with("missing");
      const bool setting = line.substr(0, path).find(" c ") != std::string::npos;
      if (missing) return line.substr(path) + " was removed";
      if (!setting) return line.substr(path) + " was changed";
    }
    return {};
  }

  Result<void> change(std::vector<std::string> arguments) {
    if (auto free = wait_for_lock(); !free) return free;
    arguments.insert(arguments.begin(), {"dpkg", "--no-pager"});
    if (tree_.outside("/x") != "/x") arguments.insert(arguments.begin() + 1, "--log=" + tree_.outside("/var/log/dpkg.log"));
    if (!tree_.durable()) arguments.insert(arguments.begin() + 1, "--force-unsafe-io");
    auto done = run_package_tool(with_root(std::move(arguments)), 1024);
    if (!done) return fail(done.error());
    return {};
  }

  // Another apt or dpkg may be at it (unattended-upgrades): dpkg itself would give up at once.
  Result<void> wait_for_lock() {
    const auto until = std::chrono::steady_clock::now() + package_lock_limit;
    for (;;) {
      const auto holder = lock_holder();
      if (holder == 0) return {};
      if (cancelled_) return fail(Code::cancelled, "the agent stops");
      if (std::chrono::steady_clock::now() >= until)
        return fail(package_error("dpkg's database has been locked by process " + std::to_string(holder) + " for " +
                                  std::to_string(package_lock_limit.count()) + " s"));
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
    }
  }
  pid_t lock_holder() const {
    for (const auto* name : {"lock-frontend", "lock"}) {
      auto file = tree_.open_file(std::string(folder) + name);
      if (!file) continue;
      struct flock lock {};
      lock.l_type = F_WRLCK;
      lock.l_whence = SEEK_SET;
      if (::fcntl(file->get(), F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK) return std::max<pid_t>(lock.l_pid, 1);
    }
    return 0;
  }

  const Tree& tree_;
  const std::atomic<bool>& cancelled_;
};

}  // namespace

std::unique_ptr<PackageTool> dpkg_tool(const Tree& tree, const std::atomic<bool>& cancelled) {
  return std::make_unique<Dpkg>(tree, cancelled);
}

}  // namespace endstate::agent
