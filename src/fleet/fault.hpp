// Faults on demand: what goes wrong on simulated hosts, said by an annotation or a flag.
//
//   faults  = word *( "," word )                    at least one fault; blanks around a word are allowed, the order doesn't matter
//   word    = fault | "package=" name | "share=" 1..100 "%" | "every=" seconds
//   fault   = "InstallFails" | "NodeNotReady" | "AgentSilent" | "HostDown" | "Slow" | "WorkFails" | "Reboots"
//   name    = the name of a MachinePackageVersion
//
// Without package= a fault holds always. With it, it holds only where that package version is being installed (InstallFails, Slow) or
// is installed (the others). With share= it holds on so many of the hosts: always the same ones for a seed and a package. every= is of
// Reboots alone: the time between two of them (5 to 86400 s; unset: 60).
#pragma once
#include <chrono>
#include <cstdint>
#include <string_view>
#include <vector>

#include "reconcile/base/result.hpp"
#include "reconcile/base/text.hpp"

namespace endstate::fleet {

// On a Host: holds for that Host. On a MachinePackageVersion: holds for that version, on every Host.
inline constexpr std::string_view fault_annotation = "fleet.endstate.dev/fault";

enum class FaultKind : std::uint8_t {
  install_fails,   // installing a package fails; what was there before stays
  node_not_ready,  // the kubelet says Ready=False; it keeps its lease
  agent_silent,    // the agent does nothing: no work, no report, no lease; the kubelet goes on
  host_down,       // the host is off: neither agent nor kubelet does anything
  slow,            // packages take ten times as long (with --delay-scale 0: as long as with 1)
  work_fails,      // all looks well, but what the host does for its users fails: only a metric tells
  reboots,         // the host reboots by itself, again and again
};
inline constexpr std::string_view fault_names[] = {"InstallFails", "NodeNotReady", "AgentSilent", "HostDown",
                                                   "Slow",         "WorkFails",    "Reboots"};

// One annotation's or flag's worth.
struct Fault {
  std::uint8_t kinds = 0;          // bits of FaultKind
  reconcile::Text package;         // empty: always
  std::uint8_t share = 100;        // in per cent, of the hosts
  std::chrono::seconds every{60};  // of Reboots
  bool has(FaultKind kind) const { return (kinds >> static_cast<unsigned>(kind) & 1U) != 0; }
  // Whether that host is of its share: the same answer for the same host and package in every run.
  bool takes(std::uint64_t host_seed) const;
  friend bool operator==(const Fault&, const Fault&) = default;
};

// Code::invalid, with the wrong word and the right ones.
reconcile::Result<Fault> parse_fault(std::string_view text);

// All that holds for one host: its own and the fleet's.
struct Faults {
  std::vector<Fault> all;
  // Whether it holds for a package version, or for whatever (empty name).
  bool on(FaultKind kind, std::string_view package) const {
    for (const auto& f : all)
      if (f.has(kind) && (f.package.empty() || (!package.empty() && f.package == package))) return true;
    return false;
  }
  friend bool operator==(const Faults&, const Faults&) = default;
};

}  // namespace endstate::fleet
