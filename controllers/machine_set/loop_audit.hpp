// Who edited a set's template, out of the whole object (metadata.managedFields; k8s.io/apimachinery pkg/apis/meta/v1 ManagedFieldsEntry).
#pragma once
#include <optional>
#include <string_view>

#include "controllers/machine_set/snapshot.hpp"

namespace endstate::machine_set {

// `json`: the object as a GET gave it. Whoever, but endstate itself, wrote a field of spec.template last. An Editor without a name: nobody
// says so. nullopt: the object can't be read, or isn't the one that `set` is: another, or a later edit of it.
std::optional<Editor> last_editor(std::string_view json, const api::MachineSet& set);

}  // namespace endstate::machine_set
