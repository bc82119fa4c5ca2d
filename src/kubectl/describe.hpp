// Trees of what is going on and what blocks it. Pure: from objects that were read to lines.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "apis/v1alpha1/cluster.hpp"
#include "apis/v1alpha1/machine_set.hpp"
#include "apis/v1alpha1/policy.hpp"
#include "reconcile/cache/view.hpp"
#include "src/kubectl/describe_hosted.hpp"
#include "src/kubectl/text.hpp"

namespace endstate::kubectl {

template <class T>
using Refs = std::vector<reconcile::Ref<T>>;

inline constexpr std::size_t machines_told = 20;  // of those that aren't fine; the rest is counted

// `budgets`: those that select the set's cluster.
Tree tree_of(const v1alpha1::MachineSet& set, const Refs<v1alpha1::Machine>& machines, const Refs<v1alpha1::ChangeBudget>& budgets,
             reconcile::WallTime now);
Tree tree_of(const v1alpha1::Cluster& cluster, const Refs<v1alpha1::MachineSet>& sets, const Refs<v1alpha1::Machine>& machines,
             const Refs<v1alpha1::ChangeBudget>& budgets, const v1alpha1::GuardLedger* ledger, reconcile::WallTime now,
             const std::vector<reconcile::Workload>* workloads = nullptr);  // of a Hosted one (describe_hosted.hpp)
Tree tree_of(const v1alpha1::Machine& machine, const v1alpha1::Host* host, reconcile::WallTime now);

// A budget's usage for a cluster, its breaker and its schedules, as lines.
Tree tree_of_budget(const v1alpha1::ChangeBudget& budget, const std::string& cluster, reconcile::WallTime now);
// "Running 95, Updating 3, Failed 2"
std::string phases_of(const Refs<v1alpha1::Machine>& machines);
bool is_fine(const v1alpha1::Machine& machine);

}  // namespace endstate::kubectl
