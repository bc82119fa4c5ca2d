// Whether a machine is out of service for the guard's accounts. Only what was seen counts: False, or Unknown by the word of the host. That
// *we* can't see it (ConnectionLost) says nothing of the machine: it counts as it was before, available, so that disturbing it costs.
#pragma once
#include <algorithm>
#include <array>

#include "controllers/common/machine_state.hpp"

namespace endstate::guard {

inline bool is_out_of_service(const v1alpha1::Machine& m) {
  static constexpr std::array of_the_host{v1alpha1::reason::node_unhealthy, v1alpha1::reason::agent_silent, v1alpha1::reason::host_lost};
  const auto* ready = reconcile::find_condition(m.status.conditions, v1alpha1::condition::ready);
  if (!ready) return false;
  if (ready->status == reconcile::ConditionStatus::false_) return true;
  return ready->status == reconcile::ConditionStatus::unknown &&
         std::any_of(of_the_host.begin(), of_the_host.end(), [&](std::string_view r) { return ready->reason == r; });
}

}  // namespace endstate::guard
