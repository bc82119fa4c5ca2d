// Whether the cluster of a connection can be seen, for loops: by its watches, and by the runtime's probe of it. A server that doesn't
// answer is out of sight whatever the watches still believe.
#pragma once
#include <algorithm>
#include <string>

#include "reconcile/run/loop.hpp"

namespace endstate {

inline reconcile::Sight cluster_sight(const reconcile::Snapshot& s, const std::string& connection) {
  auto sight = s.view.sight(connection);
  if (!s.connection) return sight;
  const auto state = s.connection(connection);
  if (!state.known || state.reachable != reconcile::ConditionStatus::false_) return sight;
  if (sight.seen)
    sight = {.seen = false,
             .since = std::chrono::floor<std::chrono::microseconds>(s.now.wall - (s.now.mono - std::min(state.since, s.now.mono)))};
  if (!state.message.empty()) sight.why = state.message;
  return sight;
}

}  // namespace endstate
