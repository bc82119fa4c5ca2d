// For tests: a host in a folder of its own, with services that are only remembered, and with faults between any two steps.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "src/agent/engine.hpp"
#include "src/agent/linux_host.hpp"

namespace endstate::agent::testing {

// A folder that goes with it.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void put(const std::string& file, const std::string& content);  // with the folders that it needs
std::string get(const std::string& file);                       // "" if it isn't there

struct Entry {
  std::string path, content;  // content: a link's or hard link's target
  char type = 'f';            // f file, d folder, l link, h hard link, c device, p pipe
  unsigned mode = 0644;
};
void make_archive(const std::string& file, const std::vector<Entry>& entries);  // .tar.gz
std::string sha256_of_file(const std::string& file);

// What an outsider sees of a host: every path but those of the agent's state and of the kernel, with content read through links.
std::map<std::string, std::string> outside_view(const std::string& root);

// Units as systemd would have them, without processes. A unit whose file says "# fails" doesn't start, "# never" stays starting.
struct UnitBook {
  std::string root;
  std::set<std::string, std::less<>> active;
  std::map<std::string, int, std::less<>> starts;       // and restarts
  std::map<std::string, std::string, std::less<>> ran;  // what its file said when it was started last
  std::vector<std::string> log;
  int reboots = 0;
  bool refuses_reload = false;
  bool unreachable = false;
};
std::unique_ptr<Services> booked_services(std::shared_ptr<UnitBook> book);

struct Killed {};  // thrown where the power goes

// Counts what changes anything, and lets nothing happen after the chosen one.
class FaultHost final : public Host {
 public:
  explicit FaultHost(std::unique_ptr<Host> host) : host_(std::move(host)) {}

  int steps = 0;                     // changes asked for so far
  int kill_before = -1;              // the step of that number (from 0) doesn't happen, nor anything after it
  int kill_after = -1;               // it happens, and nothing after it
  int fail_from = -1, fail_to = -1;  // steps in [from, to) fail as on a full disk
  std::vector<std::string> log;

  Result<std::optional<FileInfo>> look(const std::string& path) override { return alive(), host_->look(path); }
  Result<std::string> read(const std::string& path, std::size_t max) override { return alive(), host_->read(path, max); }
  Result<std::vector<std::string>> list(const std::string& folder) override { return alive(), host_->list(folder); }
  Result<std::string> sysctl(const std::string& name) override { return alive(), host_->sysctl(name); }
  Result<bool> module_loaded(const std::string& name) override { return alive(), host_->module_loaded(name); }
  Result<UnitInfo> unit(const std::string& name) override { return alive(), host_->unit(name); }
  Result<PackageFileInfo> package_file(PackageFormat format, const std::string& path) override {
    return alive(), host_->package_file(format, path);
  }
  Result<std::optional<InstalledPackage>> installed_package(PackageFormat format, const std::string& name) override {
    return alive(), host_->installed_package(format, name);
  }
  Result<std::vector<std::string>> package_files(PackageFormat format, const std::string& name) override {
    return alive(), host_->package_files(format, name);
  }
  Result<std::string> verify_package(PackageFormat format, const std::string& name) override {
    return alive(), host_->verify_package(format, name);
  }
  Result<std::int64_t> package_stamp(PackageFormat format) override { return alive(), host_->package_stamp(format); }
  Result<std::uint64_t> free_bytes(const std::string& path) override { return alive(), host_->free_bytes(path); }
  Result<std::string> boot_id() override { return alive(), host_->boot_id(); }
  Result<std::string> program() override { return alive(), host_->program(); }
  Result<std::string> sha256(const std::string& path) override { return alive(), host_->sha256(path); }

  Result<void> make_folder(const std::string& path, std::uint32_t mode) override {
    return change("make_folder " + path, true, [&] { return host_->make_folder(path, mode); });
  }
  Result<void> write(const std::string& path, const std::string& content, std::uint32_t mode) override {
    return change("write " + path, true, [&] { return host_->write(path, content, mode); });
  }
  Result<void> link(const std::string& path, const std::string& target) override {
    return change("link " + path, true, [&] { return host_->link(path, target); });
  }
  Result<void> copy(const std::string& from, const std::string& to) override {
    return change("copy " + from + " " + to, true, [&] { return host_->copy(from, to); });
  }
  Result<void> rename(const std::string& from, const std::string& to) override {
    return change("rename " + from + " " + to, true, [&] { return host_->rename(from, to); });
  }
  Result<void> remove(const std::string& path) override {
    return change("remove " + path, false, [&] { return host_->remove(path); });
  }
  Result<void> remove_tree(const std::string& path) override {
    return change("remove_tree " + path, false, [&] { return host_->remove_tree(path); });
  }
  Result<std::vector<UnpackedEntry>> unpack(const std::string& archive, const std::string& folder, const UnpackLimits& limits) override {
    return change("unpack " + archive, true, [&] { return host_->unpack(archive, folder, limits); });
  }
  Result<void> sync(const std::string& folder) override {
    return change("sync " + folder, false, [&] { return host_->sync(folder); });
  }
  Result<void> fetch(const Fetch& what) override {
    return change("fetch " + what.destination, true, [&] { return host_->fetch(what); });
  }
  Result<void> set_sysctl(const std::string& name, const std::string& value) override {
    return change("sysctl " + name, false, [&] { return host_->set_sysctl(name, value); });
  }
  Result<void> install_package(PackageFormat format, const std::string& path) override {
    return change("install " + path, true, [&] { return host_->install_package(format, path); });
  }
  Result<void> remove_package(PackageFormat format, const std::string& name) override {
    return change("purge " + name, false, [&] { return host_->remove_package(format, name); });
  }
  Result<void> load_module(const std::string& name, const std::vector<std::string>& parameters) override {
    return change("module " + name, false, [&] { return host_->load_module(name, parameters); });
  }
  Result<void> reload_units() override {
    return change("reload", false, [&] { return host_->reload_units(); });
  }
  Result<void> unit_job(const std::string& unit, UnitJob job) override {
    return change("job " + unit, false, [&] { return host_->unit_job(unit, job); });
  }
  Result<Ended> run(const Command& command) override {
    return change("run " + command.argv.front(), false, [&] { return host_->run(command); });
  }
  Result<int> http_status(const std::string& url, std::chrono::milliseconds timeout) override {
    return alive(), host_->http_status(url, timeout);
  }
  Result<void> reboot() override {
    return change("reboot", false, [&] { return host_->reboot(); });
  }
  void cancel() override { host_->cancel(); }

 private:
  void alive() const {
    if (dead_) throw Killed();
  }
  template <class F>
  auto change(const std::string& what, bool needs_space, F&& done) -> decltype(done()) {
    alive();
    const int step = steps++;
    log.push_back(what);
    if (step == kill_before) {
      dead_ = true;
      throw Killed();
    }
    if (needs_space && step >= fail_from && step < fail_to)
      return fail(Error{Code::unavailable, "can't do " + what + ": No space left on device", {}, "DiskFull"});
    auto result = done();
    if (step == kill_after) {
      dead_ = true;
      throw Killed();
    }
    return result;
  }
  std::unique_ptr<Host> host_;
  bool dead_ = false;
};

// A machine: its disk and its services outlive the agents that work on it.
struct Machine {
  Machine();
  Folder disk, shop;  // shop: where artifacts are
  std::shared_ptr<UnitBook> units = std::make_shared<UnitBook>();
  std::string program = "/usr/local/bin/endstate-agent";  // that runs
  reconcile::MonoTime mono{std::chrono::hours(1)};
  reconcile::WallTime wall{std::chrono::hours(24 * 365 * 56)};

  std::unique_ptr<FaultHost> host() const;
  EngineSettings settings() const;
  std::string at(const std::string& path) const { return disk.path() + path; }
  Now now() const { return {mono, wall}; }
  void pass(std::chrono::nanoseconds time);
  void reboot();

  // Rounds until the engine waits for more than a minute, or `rounds` are over. Time passes as it asks for.
  Round settle(Engine& engine, const std::optional<Order>& order, int rounds = 400);
};

// A package whose archive holds bin/NAME (saying its version), for an order.
struct PackageSpec {
  std::string slot, version;
  std::vector<Entry> more{};
  std::string spec{};  // more fields of the spec, as JSON members with a leading comma
};
api::ResolvedPackage make_package(const Machine& machine, const PackageSpec& p);
Order order_of(std::vector<api::ResolvedPackage> packages, std::string grant = "g1", std::string machine_uid = "m-1");

const api::PackageReport* find_report(const Round& round, std::string_view slot);

}  // namespace endstate::agent::testing
