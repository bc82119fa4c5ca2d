#include <archive.h>
#include <archive_entry.h>
#include <stdlib.h>  // NOLINT(modernize-deprecated-headers): mkdtemp

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "reconcile/json/encode.hpp"
#include "src/agent/testing.hpp"
#include "src/agent/tree.hpp"

namespace endstate::agent::testing {

namespace fs = std::filesystem;

Folder::Folder() {
  // In memory where there is such a place: thousands of small files are made and removed.
  const fs::path shared = "/dev/shm";
  const bool in_memory = ::access(shared.c_str(), W_OK | X_OK) == 0;
  std::string name = ((in_memory ? shared : fs::temp_directory_path()) / "endstate-agent-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
  path_ = name;
}
Folder::~Folder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void put(const std::string& file, const std::string& content) {
  fs::create_directories(fs::path(file).parent_path());
  std::ofstream(file) << content;
}
std::string get(const std::string& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

void make_archive(const std::string& file, const std::vector<Entry>& entries) {
  const std::unique_ptr<struct archive, int (*)(struct archive*)> a(archive_write_new(), archive_write_free);
  archive_write_add_filter_gzip(a.get());
  archive_write_set_format_pax_restricted(a.get());
  if (archive_write_open_filename(a.get(), file.c_str()) != ARCHIVE_OK) throw std::runtime_error(archive_error_string(a.get()));
  for (const auto& e : entries) {
    const std::unique_ptr<struct archive_entry, void (*)(struct archive_entry*)> entry(archive_entry_new(), archive_entry_free);
    archive_entry_set_pathname(entry.get(), e.path.c_str());
    archive_entry_set_perm(entry.get(), e.mode);
    archive_entry_set_size(entry.get(), 0);
    switch (e.type) {
      case 'd': archive_entry_set_filetype(entry.get(), AE_IFDIR); break;
      case 'l':
        archive_entry_set_filetype(entry.get(), AE_IFLNK);
        archive_entry_set_symlink(entry.get(), e.content.c_str());
        break;
      case 'h':
        archive_entry_set_filetype(entry.get(), AE_IFREG);
        archive_entry_set_hardlink(entry.get(), e.content.c_str());
        break;
      case 'c': archive_entry_set_filetype(entry.get(), AE_IFCHR); break;
      case 'p': archive_entry_set_filetype(entry.get(), AE_IFIFO); break;
      default:
        archive_entry_set_filetype(entry.get(), AE_IFREG);
        archive_entry_set_size(entry.get(), static_cast<la_int64_t>(e.content.size()));
    }
    archive_write_header(a.get(), entry.get());
    if (e.type == 'f') archive_write_data(a.get(), e.content.data(), e.content.size());
  }
  archive_write_close(a.get());
}

std::string sha256_of_file(const std::string& file) {
  const Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  return sha256_of(fd.get(), file).value();
}

std::map<std::string, std::string> outside_view(const std::string& root) {
  std::map<std::string, std::string> view;
  const std::array<fs::path, 6> others{root + std::string(state_folder), root + "/proc",        root + "/sys",
                                       root + "/var/lib/dpkg",           root + "/var/lib/rpm", root + "/var/log"};
  for (auto i = fs::recursive_directory_iterator(root); i != fs::recursive_directory_iterator(); ++i) {
    const auto path = i->path();
    if (std::find(others.begin(), others.end(), path) != others.end()) {
      i.disable_recursion_pending();
      continue;
    }
    const auto name = path.string().substr(root.size());
    const auto status = i->symlink_status();
    if (fs::is_directory(status)) {
      view[name] = "folder";
    } else if (fs::is_symlink(status)) {
      // Absolute targets are below the root, as the host sees them.
      auto target = fs::read_symlink(path);
      for (int hops = 0; hops < 8 && target.is_absolute(); ++hops) {
        const fs::path real = root + target.string();
        if (!fs::is_symlink(real)) break;
        const auto next = fs::read_symlink(real);
        target = next.is_absolute() ? next : (target.parent_path() / next).lexically_normal();
      }
      const fs::path real = root + (target.is_absolute() ? target : fs::path(name).parent_path() / target).string();
      view[name] = fs::is_regular_file(real) ? "link to: " + get(real.string()) : "link to nothing: " + target.string();
    } else {
      view[name] = "file: " + get(path.string());
    }
  }
  return view;
}

namespace {

class BookedServices final : public Services {
 public:
  explicit BookedServices(std::shared_ptr<UnitBook> book) : book_(std::move(book)) {}

  Result<UnitInfo> unit(const std::string& name) override {
    if (book_->unreachable) return fail(Error{Code::unavailable, "systemd doesn't answer", {}, "ServiceFailed"});
    if (book_->active.contains(name)) {
      if (book_->ran[name].find("# never") != std::string::npos) return UnitInfo{UnitState::starting, "start"};
      return UnitInfo{UnitState::active, "running"};
    }
    if (content(name).empty()) return UnitInfo{UnitState::absent, {}};
    return UnitInfo{
        book_->ran.contains(name) && book_->ran[name].find("# fails") != std::string::npos ? UnitState::failed : UnitState::inactive,
        "dead"};
  }
  Result<void> reload_units() override {
    book_->log.emplace_back("reload");
    if (book_->refuses_reload) return fail(Error{Code::unavailable, "systemd refuses Reload", {}, "ServiceFailed"});
    return {};
  }
  Result<void> unit_job(const std::string& name, UnitJob job, const std::atomic<bool>&) override {
    book_->log.push_back(std::array{"start ", "stop ", "restart ", "reload "}.at(static_cast<std::size_t>(job)) + name);
    if (job == UnitJob::stop) {
      book_->active.erase(name);
      return {};
    }
    const auto text = content(name);
    if (text.empty()) return fail(Error{Code::unavailable, name + " doesn't start: there is none", {}, "ServiceFailed"});
    if (job == UnitJob::reload) return {};
    ++book_->starts[name];
    book_->ran[name] = text;
    book_->active.erase(name);
    if (text.find("# fails") != std::string::npos)
      return fail(Error{Code::unavailable, name + " doesn't start: exit-code", {}, "ServiceFailed"});
    book_->active.insert(name);
    return {};
  }
  Result<void> reboot() override {
    ++book_->reboots;
    return {};
  }

 private:
  std::string content(const std::string& name) const {
    const auto host = linux_host({.root = book_->root, .durable = false}, nullptr);
    const auto path = "/etc/systemd/system/" + name;
    auto info = host->look(path);
    if (!info || !*info) return {};
    auto text = host->read((*info)->kind == FileKind::link ? (*info)->target : path, 65'536);
    return text ? *text : std::string();
  }
  std::shared_ptr<UnitBook> book_;
};

}  // namespace

std::unique_ptr<Services> booked_services(std::shared_ptr<UnitBook> book) { return std::make_unique<BookedServices>(std::move(book)); }

Machine::Machine() {
  units->root = disk.path();
  for (const auto* folder :
       {"/etc/systemd/system", "/usr/local/bin", "/var/lib", "/proc/sys/net/ipv4", "/proc/sys/kernel/random", "/sys/module"})
    fs::create_directories(at(folder));
  put(at("/proc/sys/net/ipv4/ip_forward"), "0\n");
  put(at("/proc/sys/kernel/random/boot_id"), "boot-1\n");
  put(at("/etc/hostname"), "h1\n");
  // Loads a module by making its folder; it writes down what it was told. It has none that is called "missing".
  put(shop.path() + "/modprobe", "#!/bin/sh\n[ \"$2\" != missing ] || { echo 'FATAL: Module missing not found.'; exit 1; }\ncd '" +
                                     at("/sys/module") + "' && mkdir -p \"$(echo \"$2\" | tr - _)\" && echo \"$*\" >>'" + shop.path() +
                                     "/loaded'\n");
  fs::permissions(shop.path() + "/modprobe", fs::perms::owner_all);
}

std::unique_ptr<FaultHost> Machine::host() const {
  return std::make_unique<FaultHost>(linux_host(
      {.root = disk.path(), .modprobe = shop.path() + "/modprobe", .program = program, .durable = false}, booked_services(units)));
}
EngineSettings Machine::settings() const { return {.arch = "amd64", .sources = {.allowed = {"file://" + shop.path()}}, .reserve = 4096}; }

void Machine::pass(std::chrono::nanoseconds time) {
  mono += time;
  wall += std::chrono::duration_cast<std::chrono::microseconds>(time);
}

void Machine::reboot() {
  static const std::string ids = "boot-";
  const auto now = get(at("/proc/sys/kernel/random/boot_id"));
  put(at("/proc/sys/kernel/random/boot_id"), ids + std::to_string(std::stoi(now.substr(ids.size())) + 1) + "\n");
  units->active.clear();
  pass(std::chrono::seconds(30));
}

Round Machine::settle(Engine& engine, const std::optional<Order>& order, int rounds) {
  Round last;
  for (; rounds > 0; --rounds) {
    last = engine.round(order, now());
    if (last.did) continue;
    const auto wait = last.plan.again - mono;
    if (wait >= look_period) return last;
    pass(std::max<std::chrono::nanoseconds>(wait, std::chrono::milliseconds(1)));
  }
  return last;
}

api::ResolvedPackage make_package(const Machine& machine, const PackageSpec& p) {
  const auto file = machine.shop.path() + "/" + p.slot + "-" + p.version + ".tar.gz";
  std::vector<Entry> entries{{.path = "bin/" + p.slot, .content = p.slot + " " + p.version + "\n", .mode = 0755}};
  entries.insert(entries.end(), p.more.begin(), p.more.end());
  if (!fs::exists(file)) make_archive(file, entries);
  api::ResolvedPackage r;
  r.name = Text(p.slot);
  r.version = {Text(p.slot + "-" + p.version), Text("uid-" + p.slot + "-" + p.version), "d"};
  r.spec.raw = Text(R"({"packageName":")" + p.slot + R"(","version":")" + p.version +
                    R"(","install":{"method":"Archive","artifacts":[{"arch":"amd64","url":"file://)" + file + R"(","sha256":")" +
                    sha256_of_file(file) + R"("}]})" + p.spec + "}");
  return r;
}

Order order_of(std::vector<api::ResolvedPackage> packages, std::string grant, std::string machine_uid) {
  Order order;
  order.uid = "a-1";
  order.generation = 1;
  order.spec.state = api::AssignmentState::active;
  order.spec.machine_uid = Text(machine_uid);
  order.spec.node_name = "h1";
  order.spec.revision = Text("rev-" + grant);
  order.spec.grant_id = Text(grant);
  order.spec.packages = std::move(packages);
  return order;
}

const api::PackageReport* find_report(const Round& round, std::string_view slot) {
  for (const auto& r : round.plan.packages)
    if (r.name == slot) return &r;
  return nullptr;
}

}  // namespace endstate::agent::testing
