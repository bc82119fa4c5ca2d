#include "reconcile/run/review.hpp"

#include <utility>

namespace reconcile {

Call rules_review_call(std::string cluster, std::string body) {
  static constexpr Resource reviews{"authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", false};
  return {.cluster = std::move(cluster), .verb = Verb::create, .resource = &reviews, .body = std::move(body)};
}

}  // namespace reconcile
