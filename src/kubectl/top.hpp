// The fleet by state, on one screen. Pure: from what the caches hold to text.
#pragma once
#include <string>
#include <vector>

#include "src/kubectl/describe.hpp"

namespace endstate::kubectl {

struct Fleet {
  Refs<v1alpha1::Cluster> clusters;
  Refs<v1alpha1::MachineSet> sets;
  Refs<v1alpha1::Machine> machines;
  Refs<v1alpha1::ChangeBudget> budgets;
  std::vector<std::string> trouble;  // what can't be read, and why
};

std::string fleet_text(const Fleet& fleet, reconcile::WallTime now);
// At most so many lines of so many columns; what doesn't fit is counted in the last line. 0: any number.
std::string fit(const std::string& text, std::size_t lines, std::size_t columns);
std::string fleet_json(const Fleet& fleet);

}  // namespace endstate::kubectl
