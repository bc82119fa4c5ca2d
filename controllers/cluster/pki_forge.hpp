// What a plan says of keys that it wants made (recipes, pure text), and who makes them: forge() is the program's ActorOptions::make.
#pragma once
#include <string>
#include <vector>

#include "controllers/cluster/recipes.hpp"
#include "reconcile/base/result.hpp"

namespace endstate::cluster {

// The body of the write: a whole Secret for what is created, a merge patch for what is there. `secrets`: the CA's Secret, for all but CAs
// and signing keys. No error holds a key.
reconcile::Result<std::string> forge(const std::string& recipe, const std::vector<std::string>& secrets, WallTime now);

}  // namespace endstate::cluster
