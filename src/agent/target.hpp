// Target: what the host is to be, worked out of its order. Pure.
#pragma once
#include <map>

#include "src/agent/host.hpp"
#include "src/agent/types.hpp"

namespace endstate::agent {

// What a package's files and unit may ask for: "${endstate.nodeName}". Other text with a dollar sign is left alone.
using Variables = std::map<std::string, std::string, std::less<>>;
Result<std::string> render(std::string_view text, const Variables& variables);

struct TargetSlot {
  Text slot;
  PackageIdentity version;
  reconcile::JsonOf<api::MachinePackageVersionSpec> raw;
  api::MachinePackageVersionSpec spec;
  std::optional<api::Artifact> artifact;  // for this machine's architecture; nullopt: the package has files only
  std::vector<api::PackageFile> files;    // rendered, with the unit and the sysctls as files among them
  std::string destination;                // of the archive
  std::optional<PackageFormat> format;    // it is a package of the distribution
  Text key;                               // the same for what would be staged alike
  Text order;                             // key and grant: a new grant is a new try
  std::optional<Error> trouble;           // it can't be used at all
};

struct Target {
  bool wipe = false;  // released, or another machine's
  std::vector<TargetSlot> slots;
  std::vector<api::Artifact> prefetch;  // for this machine's architecture: to be at hand, and not used
  const TargetSlot* find(std::string_view slot) const;
};

// The files of the machine itself stand in a slot of their own, whose name no package can have.
inline constexpr std::string_view machine_files_slot = "_files";

// `arch` as GOARCH has it. `machine_uid`: whose the disk is.
Target target_of(const Order& order, std::string_view machine_uid, std::string_view arch);
Variables variables_of(const api::HostAssignmentSpec& spec, std::string_view arch);

}  // namespace endstate::agent
