// Recipes: what a plan says of keys that it wants made, as text (reconcile::Making::what). Pure; pki_forge.hpp carries them out.
#pragma once
#include <string>

#include "controllers/cluster/site.hpp"
#include "reconcile/kube/workloads.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::cluster {

// The action that carries out a step. `found`: the Secret that is there (uid and resourceVersion), for what is not created.

reconcile::Action key_action(const Site& site, const RotationStep& step, const std::vector<WantedLeaf>& wanted, KeyType type,
                             const reconcile::Secret* found);

}  // namespace endstate::cluster
