// The one call of a fact that is posted: a SelfSubjectRulesReview, which stores nothing. To nothing else can a query post: what writes is
// the actor's (hack/check_seams.sh).
#pragma once
#include "reconcile/base/env.hpp"

namespace reconcile {

Call rules_review_call(std::string cluster, std::string body);

}  // namespace reconcile
