// How work on a slot goes on, and what its failure means. Pure: these are the only changes of a SlotRecord's attempt.
//
//   Prepare -> Change -> Start -> Finish -> Probe -> done
//   Install, Update:  a failure in Prepare leaves things as they are; a later one becomes a Revert: back to the last good version
//   Repair:           a failure ends it; the next look finds what is still wrong
//   Revert, Remove:   are tried until they succeed, but what only a service or a hook refuses doesn't hold a Revert up for ever
#pragma once
#include <optional>

#include "reconcile/base/result.hpp"
#include "src/agent/types.hpp"

namespace endstate::agent {

inline constexpr int max_revert_tries = 3;     // of what a service or a hook refuses
inline constexpr std::int64_t max_starts = 3;  // agents that may die over one attempt

enum class Ending : std::uint8_t { goes_on, done, removed };  // removed: the record itself goes

// The phase has succeeded.
Ending advance(SlotRecord& record);
// The phase has failed; `tries`: how often in a row. `version`: of what the attempt leads to. False: the attempt stays, to be tried again.
bool give_up(SlotRecord& record, const reconcile::Error& error, int tries, const PackageIdentity& version);

}  // namespace endstate::agent
