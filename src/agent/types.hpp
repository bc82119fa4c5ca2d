// What the agent remembers on its host, as described types: the journal (what it is doing) and each generation's manifest (what a staged
// version of a package consists of). docs/decisions has the reasons.
//
//   /var/lib/endstate/journal.json             written before each change, so that a fresh agent goes on where the last one stopped
//                     blobs/SHA256             artifacts; SHA256.part: what has come so far
//                     generations/ID/root/...  one version of one package, whole: its archive, files, unit, rendered; never changed
//                     generations/ID/manifest.json
//                     generations/ID/package     the .deb or .rpm, if it is one of these
//                     current/SLOT             link to a generation: the one place where a version takes effect
//                     displaced/SLOT/...       files that stood where a package's now are; put back when it goes
//                     reserve                  4 MiB that are given up when the disk is full, so that the way back never is
//
// A file of a package is seen at its own path through a link: /usr/local/bin/x -> /var/lib/endstate/current/SLOT/root/usr/local/bin/x.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "apis/v1alpha1/machine.hpp"
#include "apis/v1alpha1/prefetch.hpp"
#include "src/agent/package_format.hpp"

namespace endstate::agent {

namespace api = endstate::v1alpha1;
using api::PackageIdentity;
using reconcile::field, reconcile::names, reconcile::object, reconcile::Text, reconcile::WallTime;

// ---- manifest ----

struct ManifestEntry {
  Text path;  // on the host; below root/ in the generation
  std::int64_t mode = 0, size = 0, changed = 0;
  Text sha256;  // of a file
  Text target;  // of a link
  friend bool operator==(const ManifestEntry&, const ManifestEntry&) = default;
};
consteval auto describe(const ManifestEntry*) {
  using S = ManifestEntry;
  return object("A file or link of a generation.", field<&S::path>("path", "Where it stands on the host."),
                field<&S::mode>("mode", "Its mode bits."), field<&S::size>("size", "Its bytes."),
                field<&S::changed>("changed", "st_mtim in nanoseconds, as it was staged."), field<&S::sha256>("sha256", "Of a file."),
                field<&S::target>("target", "Of a link."));
}

struct SystemPackage {
  PackageFormat format{};
  Text name, version;                  // as the package manager has them
  std::int64_t size = 0, changed = 0;  // of its file in the generation
  friend bool operator==(const SystemPackage&, const SystemPackage&) = default;
};
consteval auto describe(const SystemPackage*) {
  using S = SystemPackage;
  return object("A package of the distribution, whose file stands in the generation.",
                field<&S::format>("format", "Who installs it.", {.required = true}), field<&S::name>("name", "Its name."),
                field<&S::version>("version", "Its version."), field<&S::size>("size", "Its file's bytes."),
                field<&S::changed>("changed", "Its file's st_mtim in nanoseconds."));
}

struct Manifest {
  Text slot, key;  // key: of what it was made (target.hpp)
  PackageIdentity version;
  reconcile::JsonOf<api::MachinePackageVersionSpec> spec;
  std::vector<ManifestEntry> entries;  // sorted by path
  std::optional<SystemPackage> system;
};
consteval auto describe(const Manifest*) {
  using S = Manifest;
  return object("A staged version of a package.", field<&S::slot>("slot", "Whose."), field<&S::key>("key", "Of what it was made."),
                field<&S::version>("version", "The MachinePackageVersion."), field<&S::spec>("spec", "Its spec."),
                field<&S::entries>("entries", "What it consists of."),
                field<&S::system>("system", "The package of the distribution that it is."));
}

// ---- journal ----

struct Order {  // the HostAssignment as it was seen last: what the host is to be, also when no API server answers
  Text uid;
  std::int64_t generation = 0;
  api::HostAssignmentSpec spec;
  std::optional<api::Prefetch> prefetch;
  friend bool operator==(const Order&, const Order&) = default;
};
consteval auto describe(const Order*) {
  return object("A HostAssignment.", field<&Order::uid>("uid", "Its uid."), field<&Order::generation>("generation", "Its generation."),
                field<&Order::spec>("spec", "Its spec."), field<&Order::prefetch>("prefetch", "What to have at hand; no order."));
}

// What is done to a slot. Revert: back to the last good version, or to nothing if there was none.
enum class Work : std::uint8_t { install, update, repair, revert, remove };
consteval auto describe(const Work*) { return names("What is done to a slot.", "Install", "Update", "Repair", "Revert", "Remove"); }

// Each may be done again from its beginning. Prepare: hooks before. Change: files, links, sysctls. Start: its service. Finish: hooks after.
enum class Phase : std::uint8_t { prepare, change, start, finish, probe };
consteval auto describe(const Phase*) { return names("How far it is.", "Prepare", "Change", "Start", "Finish", "Probe"); }

struct Attempt {
  Work work{};
  Phase phase{};
  Text to;                  // generation; empty: nothing is to be left
  Text order;               // which try it is of what is wanted (target.hpp); empty for what nobody ordered
  std::int64_t starts = 1;  // agents that have worked on it: it is given up when it kills them
  bool restart = false;     // what runs must be restarted: something of it changed
  friend bool operator==(const Attempt&, const Attempt&) = default;
};
consteval auto describe(const Attempt*) {
  using S = Attempt;
  return object("Work on a slot.", field<&S::work>("work", "What.", {.required = true}),
                field<&S::phase>("phase", "How far.", {.required = true}), field<&S::to>("to", "The generation it leads to."),
                field<&S::order>("order", "Of which order."), field<&S::starts>("starts", "How many agents have worked on it."),
                field<&S::restart>("restart", "Whether its service must be restarted."));
}

struct Failure {
  Text order;
  PackageIdentity version;
  Text reason, message;
  std::int64_t attempts = 1;
  friend bool operator==(const Failure&, const Failure&) = default;
};
consteval auto describe(const Failure*) {
  using S = Failure;
  return object("A version that failed, and isn't tried again for the same order.", field<&S::order>("order", "The order."),
                field<&S::version>("version", "The version."), field<&S::reason>("reason", "Why."),
                field<&S::message>("message", "Why, for people."), field<&S::attempts>("attempts", "How often it was tried."));
}

struct Displaced {
  Text path, kept;
  friend bool operator==(const Displaced&, const Displaced&) = default;
};
consteval auto describe(const Displaced*) {
  return object("A file that stood in the way.", field<&Displaced::path>("path", "Where it stood."),
                field<&Displaced::kept>("kept", "Where it is kept."));
}
struct SysctlBefore {
  Text name, value;
  friend bool operator==(const SysctlBefore&, const SysctlBefore&) = default;
};
consteval auto describe(const SysctlBefore*) {
  return object("A kernel parameter as it was.", field<&SysctlBefore::name>("name", "Its name."),
                field<&SysctlBefore::value>("value", "Its value."));
}

struct SlotRecord {
  Text slot;
  Text good, previous;  // generations: that was Ready last; that was before it
  std::optional<Attempt> attempt;
  std::optional<Failure> failure;
  std::vector<Text> folders;  // that were made for its links, in the order of making
  std::vector<Displaced> displaced;
  std::vector<SysctlBefore> sysctls;
  std::vector<WallTime> repairs;  // of the last hour, at most max_repairs
  friend bool operator==(const SlotRecord&, const SlotRecord&) = default;
};
consteval auto describe(const SlotRecord*) {
  using S = SlotRecord;
  return object("A slot.", field<&S::slot>("slot", "Its name."), field<&S::good>("good", "The generation that was Ready last."),
                field<&S::previous>("previous", "The one before it."), field<&S::attempt>("attempt", "What is being done."),
                field<&S::failure>("failure", "What failed last."), field<&S::folders>("folders", "Folders made for it."),
                field<&S::displaced>("displaced", "Files that stood in its way."),
                field<&S::sysctls>("sysctls", "Kernel parameters before it."),
                field<&S::repairs>("repairs", "When it was repaired lately."));
}

struct RequestRecord {
  Text id;
  api::RequestType type{};
  api::RequestState state{};
  Text message, boot_id;  // boot_id: that it was asked for in
  friend bool operator==(const RequestRecord&, const RequestRecord&) = default;
};
consteval auto describe(const RequestRecord*) {
  using S = RequestRecord;
  return object("A request.", field<&S::id>("id", "Which."), field<&S::type>("type", "What.", {.required = true}),
                field<&S::state>("state", "How far.", {.required = true}), field<&S::message>("message", "Why."),
                field<&S::boot_id>("bootID", "The boot that it was asked for in."));
}

struct Journal {
  std::int64_t format = 1;
  Text machine_uid;  // whose the disk is; empty: nobody's
  std::optional<Order> order;
  std::vector<SlotRecord> slots;  // in the order in which they came
  std::vector<RequestRecord> requests;
  friend bool operator==(const Journal&, const Journal&) = default;
};
consteval auto describe(const Journal*) {
  using S = Journal;
  return object("What the agent is doing.", field<&S::format>("format", "Of this file."),
                field<&S::machine_uid>("machineUID", "Whose the disk is."), field<&S::order>("order", "What was ordered last."),
                field<&S::slots>("slots", "The slots."), field<&S::requests>("requests", "What was asked for once."));
}

SlotRecord* find_slot(Journal& journal, std::string_view slot);
const SlotRecord* find_slot(const Journal& journal, std::string_view slot);

// ---- where things are ----

inline constexpr std::string_view state_folder = "/var/lib/endstate";
std::string state_path(std::string_view rest);                            // "/var/lib/endstate/" + rest
std::string generation_path(std::string_view id, std::string_view rest);  // ".../generations/ID/" + rest
std::string package_path(std::string_view id);                            // the .deb or .rpm of a generation
std::string part_path(std::string_view id);                               // of a generation that is being staged
std::string blob_path(std::string_view sha256);
std::string current_path(std::string_view slot);
std::string link_target(std::string_view slot, std::string_view path);  // what the link at `path` says

}  // namespace endstate::agent
