// Host: all that the agent does to its machine, behind one narrow interface, so that a test can stop the work between any two steps
// (fault_host.hpp) or play a machine (a folder of its own, with services that are only remembered).
//
// Paths are absolute, as the machine itself names them; an implementation may put another folder in front of them (linux_host.hpp).
// Every call that changes something may be made again after it was cut off anywhere: it finds its own remains. What is said to be there
// after a call is on the disk, also after a loss of power.
//
// Errors say what failed and on what; Error::reason is one of reasons.hpp. Code::unavailable: it may work later (a network, a full disk);
// Code::invalid: not before what is wanted changes; Code::cancelled: cancel() was called.
//
// One thread uses a Host; only cancel() may come from another.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "reconcile/base/result.hpp"
#include "src/agent/package_format.hpp"

namespace endstate::agent {

using reconcile::Code, reconcile::Error, reconcile::fail, reconcile::Result;

enum class FileKind : std::uint8_t { file, folder, link, other };
struct FileInfo {
  FileKind kind{};
  std::uint32_t mode = 0;  // permission bits
  std::uint64_t size = 0;
  std::int64_t changed = 0;  // st_mtim, nanoseconds
  std::string target{};      // of a link
  friend bool operator==(const FileInfo&, const FileInfo&) = default;
};

struct UnpackLimits {
  std::uint64_t entries = 20'000;
  std::uint64_t bytes = 4ULL << 30;  // unpacked, all files
  std::uint64_t ratio = 200;         // unpacked to packed bytes, past the first `free_bytes`
  std::uint64_t free_bytes = 64ULL << 20;
};
struct UnpackedEntry {
  std::string path{};  // relative to the folder
  FileKind kind{};     // file or link; folders are made as they are needed
  std::uint32_t mode = 0;
  std::uint64_t size = 0;
  std::string sha256{}, target{};  // of a file; of a link
};

struct Fetch {
  std::vector<std::string> urls;  // tried in this order, until one gives the bytes that are meant
  std::string sha256;
  std::uint64_t size = 0;  // that it must have; 0: not known
  std::uint64_t max_bytes = 4ULL << 30;
  std::string destination;  // "<destination>.part" holds what is there so far, and is gone on with
  std::string netrc{};      // a file of this machine with names and passwords by host, for https only; empty: none
  std::string ca{};         // a file of this machine with the authorities that https servers are checked by; empty: the system's
};

struct Command {
  std::vector<std::string> argv;              // never seen by a shell
  std::chrono::milliseconds timeout{60'000};  // then it is killed, with all that it started
  std::size_t keep = 1024;                    // bytes of its output
  std::vector<std::string> environment{};     // more of it: "A=b"
};
struct Ended {
  int code = 0;  // exit code; 128 + n: by signal n
  bool timed_out = false;
  std::string output{};  // the last Command::keep bytes of stdout and stderr
};

// A package of the distribution.
struct PackageFileInfo {
  std::string name{}, version{};  // as the package manager writes it, with epoch and revision
  std::string arch{};             // as GOARCH has it; empty: any
};
struct InstalledPackage {
  bool whole = false;  // nothing of its installation is outstanding
  std::string version{};
};

enum class UnitState : std::uint8_t { unknown, absent, inactive, starting, active, stopping, failed };
struct UnitInfo {
  UnitState state{};
  std::string detail{};  // for people: "auto-restart", "dead"; the result of what failed
};
enum class UnitJob : std::uint8_t { start, stop, restart, reload };

class Host {
 public:
  virtual ~Host() = default;

  // ---- looking ----
  virtual Result<std::optional<FileInfo>> look(const std::string& path) = 0;  // not through a link at its end; nullopt: nothing is there
  virtual Result<std::string> read(const std::string& path, std::size_t max_bytes) = 0;
  virtual Result<std::vector<std::string>> list(const std::string& folder) = 0;  // names, sorted; a folder that isn't there has none
  virtual Result<std::string> sysctl(const std::string& name) = 0;               // "net.ipv4.ip_forward"; blanks between values are single
  virtual Result<bool> module_loaded(const std::string& name) = 0;               // or part of the kernel
  virtual Result<UnitInfo> unit(const std::string& name) = 0;
  virtual Result<PackageFileInfo> package_file(PackageFormat format, const std::string& path) = 0;
  virtual Result<std::optional<InstalledPackage>> installed_package(PackageFormat format, const std::string& name) = 0;
  virtual Result<std::vector<std::string>> package_files(PackageFormat format,
                                                         const std::string& name) = 0;            // no folders, no configuration
  virtual Result<std::string> verify_package(PackageFormat format, const std::string& name) = 0;  // what isn't as it has it; empty: nothing
  virtual Result<std::int64_t> package_stamp(PackageFormat format) = 0;   // another one: something was installed, removed or updated
  virtual Result<std::uint64_t> free_bytes(const std::string& path) = 0;  // on the file system of that folder
  virtual Result<std::string> boot_id() = 0;
  virtual Result<std::string> program() = 0;  // the path of this agent's own
  virtual Result<std::string> sha256(const std::string& path) = 0;

  // ---- files ----
  virtual Result<void> make_folder(const std::string& path, std::uint32_t mode) = 0;  // that is there already: fine; its parent must be
  virtual Result<void> write(const std::string& path, const std::string& content, std::uint32_t mode) = 0;  // whole or not at all
  virtual Result<void> link(const std::string& path, const std::string& target) = 0;  // takes the place of a file or link at once
  virtual Result<void> copy(const std::string& from, const std::string& to) = 0;  // a file with its mode, or a link; whole or not at all
  virtual Result<void> rename(const std::string& from, const std::string& to) = 0;
  virtual Result<void> remove(const std::string& path) = 0;       // a file, a link, an empty folder; not there: fine
  virtual Result<void> remove_tree(const std::string& path) = 0;  // below the state folder only
  virtual Result<std::vector<UnpackedEntry>> unpack(const std::string& archive, const std::string& folder, const UnpackLimits& limits) = 0;
  virtual Result<void> sync(const std::string& folder) = 0;  // the file system that it is on
  virtual Result<void> fetch(const Fetch& what) = 0;

  // ---- packages of the distribution ----
  virtual Result<void> install_package(PackageFormat format, const std::string& path) = 0;  // any version over any other, also a broken one
  virtual Result<void> remove_package(PackageFormat format, const std::string& name) = 0;   // with its configuration

  // ---- the running system ----
  virtual Result<void> set_sysctl(const std::string& name, const std::string& value) = 0;
  virtual Result<void> load_module(const std::string& name, const std::vector<std::string>& parameters) = 0;  // with what it needs
  virtual Result<void> reload_units() = 0;                                                                    // unit files were changed
  virtual Result<void> unit_job(const std::string& unit, UnitJob job) = 0;                         // and waits for its end; bounded
  virtual Result<Ended> run(const Command& command) = 0;                                           // an error: it could not be started
  virtual Result<int> http_status(const std::string& url, std::chrono::milliseconds timeout) = 0;  // for probes; loopback only
  virtual Result<void> reboot() = 0;                                                               // asked for, not done, when it returns

  virtual void cancel() = 0;  // any thread: what runs ends soon, with Code::cancelled; for good
};

}  // namespace endstate::agent
