// Whether a machine is out of service for the guard's accounts. Only what was seen counts: False, or Unknown by the word of the host. That
// *we* can't see it (ConnectionLost) says nothing of the machine: it counts as it was before, available, so that disturbing it costs.
#pragma once
#include "controllers/common/machine_state.hpp"

namespace endstate::guard {

inline bool is_out_of_service(const v1alpha1::Machine& m) { return is_unavailable(m); }

}  // namespace endstate::guard
