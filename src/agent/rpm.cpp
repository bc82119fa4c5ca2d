// rpm's packages. It waits for its own lock; the limit of a call bounds that. Configuration follows the package's own %config(noreplace).
#include <algorithm>

#include "src/agent/system_packages.hpp"

namespace endstate::agent {
namespace {

class Rpm final : public PackageTool {
 public:
  explicit Rpm(const Tree& tree) : tree_(tree) {}

  Result<PackageFileInfo> read(const std::string& file) override {
    auto said = run_package_tool(
        with_root({"rpm", "--query", "--nosignature", "--queryformat", "%{NAME}\\n%{EVR}\\n%{ARCH}\\n", "--package", tree_.outside(file)}),
        4096);
    if (!said) return fail(said.error());
    const auto lines = lines_of(*said);
    if (lines.size() < 3) return fail(package_error("it is no rpm package"));
    const auto& arch = lines[lines.size() - 1];
    return PackageFileInfo{lines[lines.size() - 3], lines[lines.size() - 2],
                           arch == "noarch"    ? ""
                           : arch == "x86_64"  ? "amd64"
                           : arch == "aarch64" ? "arm64"
                                               : arch};
  }

  // Two versions at once: an upgrade was cut off between the new one's coming and the old one's going.
  Result<std::optional<InstalledPackage>> installed(const std::string& name) override {
    auto said = run_package_tool(with_root({"rpm", "--query", "--queryformat", "%{EVR}\\n", name}), 4096);
    if (!said && said.error().message.find("is not installed") != std::string::npos) return std::optional<InstalledPackage>();
    if (!said) return fail(said.error());
    const auto lines = lines_of(*said);
    if (lines.empty()) return std::optional<InstalledPackage>();
    return std::optional(InstalledPackage{.whole = lines.size() == 1, .version = lines[0]});
  }

  Result<std::vector<std::string>> files(const std::string& name) override {
    auto said =
        run_package_tool(with_root({"rpm", "--query", "--queryformat", "[%{FILEFLAGS:fflags} %{FILEMODES:perms} %{FILENAMES}\\n]", name}),
                         std::size_t{16} << 20U);
    if (!said) return fail(said.error());
    std::vector<std::string> out;
    for (const auto& line : lines_of(*said)) {  // "c -rw-r--r-- /etc/x"
      const auto blank = line.find(' ');
      const auto path = line.find('/');
      if (blank == std::string::npos || path == std::string::npos || line.substr(0, blank).find('c') != std::string::npos) continue;
      if (line.compare(blank + 1, 1, "d") != 0 && out.size() < max_package_files) out.push_back(line.substr(path));
    }
    return out;
  }

  // "S.5....T.  c /etc/x", "missing     /usr/bin/x": configuration that was changed is its owner's.
  Result<std::string> verify(const std::string& name) override {
    auto ended = ask_package_tool(with_root({"rpm", "--verify", "--nodeps", name}), std::size_t{1} << 20U);
    if (!ended) return fail(ended.error());
    for (const auto& line : lines_of(ended->output)) {
      const auto path = line.find(" /");
      if (path == std::string::npos) continue;
      const bool missing = line.find("missing") < path;
      if (missing) return line.substr(path + 1) + " was removed";
      if (line.substr(0, path).find(" c") == std::string::npos) return line.substr(path + 1) + " was changed";
    }
    return std::string();
  }

  Result<std::int64_t> stamp() override {
    std::int64_t last = 0;
    for (const auto* folder : {"/var/lib/rpm", "/usr/lib/sysimage/rpm"}) {
      auto names = tree_.list(folder);
      if (!names) continue;
      for (const auto& name : *names)
        if (auto info = tree_.look(std::string(folder) + "/" + name); info && *info) last = std::max(last, (*info)->changed);
    }
    return last;
  }

  Result<void> install(const std::string& file) override {
    return change({"rpm", "--upgrade", "--replacepkgs", "--oldpackage", "--nosignature", tree_.outside(file)});
  }
  Result<void> remove(const std::string& name) override { return change({"rpm", "--erase", "--allmatches", name}); }

 private:
  // Below another root: where its database is must be said, else it is where this machine's rpm would have its own.
  std::vector<std::string> with_root(std::vector<std::string> argv) const {
    if (tree_.outside("/x") == "/x") return argv;
    argv.insert(argv.begin() + 1, {"--root", tree_.outside(""), "--dbpath", "/var/lib/rpm"});
    return argv;
  }
  Result<void> change(std::vector<std::string> argv) const {
    auto done = run_package_tool(with_root(std::move(argv)), 1024);
    if (!done) return fail(done.error());
    return {};
  }

  const Tree& tree_;
};

}  // namespace

std::unique_ptr<PackageTool> rpm_tool(const Tree& tree) { return std::make_unique<Rpm>(tree); }

}  // namespace endstate::agent
