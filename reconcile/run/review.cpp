#include "reconcile/run/review.hpp"

namespace reconcile {

Result<Call> review_call(const std::string& cluster, const Resource* resource, std::string body) {
  if (!resource || resource->group != "authorization.k8s.io")
    return fail(Code::invalid, "a query posts reviews of authorization.k8s.io and nothing else");
  return Call{.cluster = cluster, .verb = Verb::create, .resource = resource, .body = std::move(body)};
}

}  // namespace reconcile
