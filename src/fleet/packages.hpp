// Packages: what is on one host's disk, and the work of making it what it should be. A pure state machine: time, chance and faults are
// handed in.
//
//   Pending -> Prefetched -> (Waiting ->) Applying -> Probing -> Ready        any number prefetch at once, one is applied at a time
//                                         Applying -> Failed -> tried again, 5 times in all; then only a change helps
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "src/fleet/chance.hpp"
#include "src/fleet/fault.hpp"
#include "src/fleet/types.hpp"

namespace endstate::fleet {

inline constexpr std::int64_t max_attempts = 5;  // of one version in one slot

// What work costs: seconds of a real host, times scale (0: nothing takes time). Read by hosts and pods alike.
struct Pace {
  double scale = 1.0;
  double slow() const { return scale > 0 ? scale * 10 : 1.0; }
};

class Packages {
 public:
  struct Slot {
    AgentPackage want{};
    std::optional<PackageIdentity> actual{};
    Text actual_version{};  // of `actual`: its package's version; by its name where that is all that is known
    v1alpha1::PackageState state{};
    Text reason{}, message{};
    std::int64_t attempts = 0;
    bool removing = false;
    std::optional<MonoTime> due{};  // when the state ends; unset: just entered, or it ends by something else
  };

  // What should be there, in order. Same as before: nothing changes. A slot that is not named is removed.
  void want(const std::vector<AgentPackage>& packages);
  // What the last report said is there: a host's disk survives its agent's restart.
  void restore(const std::vector<v1alpha1::PackageReport>& reports);
  void wipe();    // everything is to go
  void forget();  // everything is gone, at once; what is wanted is installed again

  // Does what is due. True if anything that a report says changed.
  bool advance(MonoTime now, const Faults& faults, Chance& chance, Pace pace);
  MonoTime next() const;  // when something is due; max(): nothing is

  const std::vector<Slot>& slots() const { return slots_; }
  bool all_ready() const;                                         // and there are some
  bool any_failed() const;                                        //
  const Slot* find(std::string_view name) const;                  // by slot name, or null
  const Slot* find_package(std::string_view package_name) const;  // by what it is a version of, or null
  bool installed(std::string_view package_version) const;         // that MachinePackageVersion is on the disk
  const Fault* find(const Faults& faults, FaultKind kind) const;  // that holds: always, or for something installed; or null
  bool holds(const Faults& faults, FaultKind kind) const { return find(faults, kind) != nullptr; }
  std::vector<v1alpha1::PackageReport> report() const;
  std::uint64_t applied = 0, failed = 0;  // installs done and gone wrong, ever

 private:
  bool step(Slot& slot, MonoTime now, const Faults& faults, Chance& chance, Pace pace);
  bool apply(Slot& slot, bool fails, MonoTime now, Chance& chance, double scale);
  bool may_start(const Slot& slot, std::string& waits_for) const;
  std::vector<Slot> slots_;
};

}  // namespace endstate::fleet
