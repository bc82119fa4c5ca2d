// Makes the Secrets of a host's enrolment for the actor (reconcile::Making): what is secret in them no plan ever sees.
#pragma once
#include <string>
#include <vector>

#include "reconcile/base/result.hpp"
#include "reconcile/base/time.hpp"

namespace endstate::enrolment {

// Whether the recipe is one of these (else it is the cluster loop's: controllers/cluster/pki_forge.hpp).
bool is_ours(const std::string& recipe);

//   {"make":"enrolment-token", "object":{...}, "tokenID":"abc123"}          a Secret with a fresh token
//   {"make":"hand-over", "object":{...}, "tokenID":"abc123"}                the same, in a kubeconfig for the cluster of secrets[0]
//   {"make":"bootstrap-token", "object":{...}, "expires":"...", "groups":""} what an API server knows the token of secrets[0] by
// No error holds a token.
reconcile::Result<std::string> forge(const std::string& recipe, const std::vector<std::string>& secrets, reconcile::WallTime now);

}  // namespace endstate::enrolment
