// Which machines go when there are too many.
#pragma once
#include <vector>

#include "controllers/machine_set/course.hpp"
#include "controllers/machine_set/facts.hpp"

namespace endstate::machine_set {

// Those that go first come first: annotated endstate.dev/delete-machine; without a host or never finished; not Ready; of a rejected,
// then of an older revision; the newest. A rollout's updated machines go last of all, well or not: a canary that is ill is evidence,
// and the reached count must not fall because somebody scales. Protected machines (endstate.dev/delete-protection) are left out.
std::vector<const Fact*> delete_order(const Facts& facts, const Revisions& revisions, const Course& course);

}  // namespace endstate::machine_set
