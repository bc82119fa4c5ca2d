#include "src/agent/linux_host.hpp"

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "src/agent/archive.hpp"
#include "src/agent/fetcher.hpp"
#include "src/agent/modules.hpp"
#include "src/agent/process.hpp"
#include "src/agent/reasons.hpp"
#include "src/agent/system_packages.hpp"
#include "src/agent/tree.hpp"

namespace endstate::agent {
namespace {

// "net.ipv4.conf.eth0/1.forwarding" is net/ipv4/conf/eth0.1/forwarding (sysctl(8)).
Result<std::string> sysctl_path(std::string name) {
  for (char& c : name) c = c == '.' ? '/' : c == '/' ? '.' : c;
  const auto path = "/proc/sys/" + name + "/";
  if (path.find("/../") != std::string::npos || path.find("/./") != std::string::npos || path.find("//") != std::string::npos)
    return fail(Error{Code::invalid, "'" + name + "' is no sysctl", {}, std::string(reason::install_failed)});
  return path.substr(0, path.size() - 1);
}

std::string single_blanks(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const bool blank = c == ' ' || c == '\t' || c == '\n';
    if (!blank)
      out += c;
    else if (!out.empty() && out.back() != ' ')
      out += ' ';
  }
  if (out.ends_with(' ')) out.pop_back();
  return out;
}

class LinuxHost final : public Host {
 public:
  LinuxHost(LinuxHostOptions options, std::unique_ptr<Services> services)
      : tree_(std::move(options.root), options.durable),
        services_(std::move(services)),
        modprobe_(std::move(options.modprobe)),
        program_(std::move(options.program)) {}

  Result<std::optional<FileInfo>> look(const std::string& path) override { return tree_.look(path); }
  Result<std::string> read(const std::string& path, std::size_t max_bytes) override { return tree_.read(path, max_bytes); }
  Result<std::vector<std::string>> list(const std::string& folder) override { return tree_.list(folder); }
  Result<void> make_folder(const std::string& path, std::uint32_t mode) override { return tree_.make_folder(path, mode); }
  Result<void> write(const std::string& path, const std::string& content, std::uint32_t mode) override {
    return tree_.write(path, content, mode);
  }
  Result<void> link(const std::string& path, const std::string& target) override { return tree_.link(path, target); }
  Result<void> copy(const std::string& from, const std::string& to) override { return tree_.copy(from, to); }
  Result<void> rename(const std::string& from, const std::string& to) override { return tree_.rename(from, to); }
  Result<void> remove(const std::string& path) override { return tree_.remove(path); }
  Result<void> sync(const std::string& folder) override { return tree_.sync(folder); }

  Result<void> remove_tree(const std::string& path) override {
    auto own = tree_.open_own_folder(path.substr(0, path.rfind('/')));  // root's or ours all the way: nobody else can put a link there
    if (!own && own.error().code == Code::not_found) return {};
    if (!own) return fail(own.error());
    std::error_code error;
    std::filesystem::remove_all(tree_.outside(path), error);
    if (error) return fail(file_error(error.value(), "remove", path));
    return {};
  }

  Result<std::string> sysctl(const std::string& name) override {
    auto path = sysctl_path(name);
    if (!path) return fail(path.error());
    auto text = tree_.read(*path, 65'536);
    if (!text) return fail(text.error());
    return single_blanks(*text);
  }
  Result<void> set_sysctl(const std::string& name, const std::string& value) override {
    auto path = sysctl_path(name);
    if (!path) return fail(path.error());
    return tree_.overwrite(*path, value + "\n");
  }

  Result<bool> module_loaded(const std::string& name) override { return module_is_loaded(tree_, name); }
  Result<void> load_module(const std::string& name, const std::vector<std::string>& parameters) override {
    return load_kernel_module(tree_, modprobe_, name, parameters, cancelled_);
  }

  Result<std::uint64_t> free_bytes(const std::string& path) override {
    struct statvfs s {};
    if (::statvfs(tree_.outside(path).c_str(), &s) != 0) return fail(file_error(errno, "look at", path));
    return std::uint64_t{s.f_bavail} * s.f_frsize;
  }
  Result<std::string> boot_id() override {
    auto text = tree_.read("/proc/sys/kernel/random/boot_id", 64);
    if (!text) return fail(text.error());
    return single_blanks(*text);
  }
  Result<std::string> program() override {
    if (!program_.empty()) return program_;
    std::error_code error;
    auto path = std::filesystem::read_symlink("/proc/self/exe", error);
    if (error) return fail(file_error(error.value(), "read", "/proc/self/exe"));
    return path.string();
  }
  Result<std::string> sha256(const std::string& path) override {
    auto file = tree_.open_file(path);
    if (!file) return fail(file.error());
    return sha256_of(file->get(), path);
  }

  Result<std::vector<UnpackedEntry>> unpack(const std::string& archive, const std::string& folder, const UnpackLimits& limits) override {
    auto file = tree_.open_file(archive);
    if (!file) return fail(file.error());
    auto into = tree_.open_own_folder(folder);
    if (!into) return fail(into.error());
    struct stat s {};
    if (::fstat(file->get(), &s) != 0) return fail(file_error(errno, "read", archive));
    return unpack_archive(file->get(), static_cast<std::uint64_t>(s.st_size), into->get(), limits);
  }

  Result<void> fetch(const Fetch& what) override {
    const auto part = what.destination + ".part";
    if (auto own = tree_.open_own_folder(part.substr(0, part.rfind('/'))); !own) return fail(own.error());
    if (auto got = fetch_into(what, tree_.outside(part), cancelled_); !got) return got;
    if (auto stored = tree_.sync(part.substr(0, part.rfind('/'))); !stored) return stored;
    return tree_.rename(part, what.destination);
  }

  Result<PackageFileInfo> package_file(PackageFormat format, const std::string& path) override { return tool(format).read(path); }
  Result<std::optional<InstalledPackage>> installed_package(PackageFormat format, const std::string& name) override {
    return tool(format).installed(name);
  }
  Result<std::vector<std::string>> package_files(PackageFormat format, const std::string& name) override {
    return tool(format).files(name);
  }
  Result<std::string> verify_package(PackageFormat format, const std::string& name) override { return tool(format).verify(name); }
  Result<std::int64_t> package_stamp(PackageFormat format) override { return tool(format).stamp(); }
  Result<void> install_package(PackageFormat format, const std::string& path) override { return tool(format).install(path); }
  Result<void> remove_package(PackageFormat format, const std::string& name) override { return tool(format).remove(name); }

  Result<UnitInfo> unit(const std::string& name) override { return services_->unit(name); }
  Result<void> reload_units() override { return services_->reload_units(); }
  Result<void> unit_job(const std::string& unit, UnitJob job) override { return services_->unit_job(unit, job, cancelled_); }
  Result<Ended> run(const Command& command) override { return run_command(command, cancelled_); }
  Result<int> http_status(const std::string& url, std::chrono::milliseconds timeout) override {
    return http_status_of(url, timeout, cancelled_);
  }
  Result<void> reboot() override { return services_->reboot(); }
  void cancel() override { cancelled_ = true; }

 private:
  PackageTool& tool(PackageFormat format) { return format == PackageFormat::deb ? *dpkg_ : *rpm_; }

  Tree tree_;
  std::unique_ptr<Services> services_;
  std::string modprobe_, program_;
  std::atomic<bool> cancelled_ = false;
  std::unique_ptr<PackageTool> dpkg_ = dpkg_tool(tree_, cancelled_), rpm_ = rpm_tool(tree_);
};

}  // namespace

std::unique_ptr<Host> linux_host(LinuxHostOptions options, std::unique_ptr<Services> services) {
  return std::make_unique<LinuxHost>(std::move(options), std::move(services));
}

}  // namespace endstate::agent
