// The phases of an attempt that run something: hooks, the service, probes. The files' phase is change.hpp's.
#pragma once
#include "src/agent/plan.hpp"

namespace endstate::agent {

// What the phases of one slot have in common.
struct Stand {
  const SlotRecord& record;
  const Manifest* to = nullptr;      // null: nothing is to be left
  const Manifest* good = nullptr;    // null: there was none
  std::vector<const Manifest*> all;  // of the slot, in the store
};
// Which agent runs, and whether it is on trial.
struct OwnVersion {
  Text running;  // its generation; empty: the first version
  std::optional<Trial> trial;
  bool confirmed = false;  // the API server has answered it
};
// The phases Start and Probe of the agent's own slot. enter: true: another version is to run, this agent must begin again.
Result<bool> enter_version(const SlotRecord& record, const OwnVersion& own);
Result<std::optional<std::chrono::nanoseconds>> confirm_version(const SlotRecord& record, const OwnVersion& own);

Stand stand_of(const SlotRecord& record, const Seen& seen);

Result<void> run_hooks(Host& host, const Stand& stand);  // of the phases Prepare and Finish
Result<void> start_service(Host& host, const Stand& stand);
// One look. nullopt: well; a duration: not yet known, look again after it.
Result<std::optional<std::chrono::nanoseconds>> probe(Host& host, const Stand& stand, SlotMemory& memory, MonoTime now);

}  // namespace endstate::agent
