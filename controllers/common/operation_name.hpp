// What the guard is asked for, by what is done to a machine: "MachineUpdate" for Update (names.hpp, namespace operation).
#pragma once
#include <string>

#include "apis/v1alpha1/machine.hpp"

namespace endstate {

inline std::string operation_name(v1alpha1::OperationType type) { return "Machine" + std::string(reconcile::name_of(type)); }

}  // namespace endstate
