// Break-glass: a person with a right of its own (manifests/policies/break-glass.yaml) says on a Cluster that its ChangeBudgets hold nothing
// for a while: schedules, windows, breakers and maxConcurrent; never maxUnavailable. Pure.
//
//   endstate.dev/break-glass: until=2026-11-30T12:00:00Z by=alice reason=CVE-2026-1234 must be closed today
//
// Admission policies know no time, so the operator ends it: at `until`, but at most 4 hours after it saw that text first. The same text is
// not accepted twice: whoever keeps annotations in Git doesn't open the glass anew with each sync.
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "apis/v1alpha1/cluster.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::cluster {

inline constexpr std::chrono::hours break_glass_longest{4};

namespace glass_state {
inline constexpr std::string_view active = "Active", ended = "Ended", refused = "Refused";
}

struct BreakGlass {
  std::optional<v1alpha1::BreakGlassStatus> status;  // as it should stand
  std::vector<reconcile::EventNote> events;
  std::optional<std::chrono::milliseconds> again;  // when it ends
};
BreakGlass plan_break_glass(const v1alpha1::Cluster& cluster, reconcile::WallTime now);

}  // namespace endstate::cluster
