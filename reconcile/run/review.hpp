// Reviews: questions that an API server wants posted (authorization.k8s.io: SelfSubjectRulesReview). They store nothing.
#pragma once
#include "reconcile/base/env.hpp"

namespace reconcile {

// The call that asks: Code::invalid for what isn't such a review, so that a query can never write.
Result<Call> review_call(const std::string& cluster, const Resource* resource, std::string body);

}  // namespace reconcile
