// The changes of a set, from status.history and its ControllerRevisions. Pure.
#pragma once
#include <string>

#include "src/kubectl/verbs.hpp"

namespace endstate::kubectl {

std::string history_table(const v1alpha1::MachineSet& set, const std::vector<Recorded>& revisions, reconcile::WallTime now);
// All of one revision: its template as YAML, and each change to it with its steps.
reconcile::Result<std::string> history_of(const v1alpha1::MachineSet& set, const std::vector<Recorded>& revisions, std::int64_t number);
// {"revisions":[{"revision":1,"hash":"...","template":{...}}],"changes":[...]}
std::string history_json(const v1alpha1::MachineSet& set, const std::vector<Recorded>& revisions);

}  // namespace endstate::kubectl
