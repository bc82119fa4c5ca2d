// What is asked of a MetricSource, and what its answer says. Pure: the runtime asks (reconcile/run/loop.hpp, HttpQuery).
//
//   plan.queries.push_back(question(id, source, expand(check.query, {.name_space = "prod", .cluster = "blue"})));
//   ...next pass...
//   const Answer answer = read_answer(fact);
#pragma once
#include <string>
#include <string_view>

#include "apis/v1alpha1/policy.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::metrics {

namespace api = endstate::v1alpha1;

// What $(name) in a query stands for; what is empty isn't replaced. The values are names of Kubernetes objects and hashes: nothing in
// them means anything to PromQL.
struct Scope {
  std::string_view name_space, cluster, set, revision, step;
};
std::string expand(std::string_view query, const Scope& scope);

// <address>/api/v1/query?query=<percent-encoded>. Without a time: the server's own clock decides what is now, so that ours being ahead
// of it can't ask for what isn't there yet.
std::string query_url(std::string_view address, std::string_view query);

// The query for a plan; names are the MetricSource's namespace and its spec's.
reconcile::Query question(std::string id, const api::MetricSource& source, std::string_view query);

struct Answer {
  enum class Kind : std::uint8_t { number, no_data, error };  // no_data: an empty vector, or NaN
  Kind kind = Kind::error;
  double value = 0;            // of a number; may be infinite
  std::string text;            // the number as the source wrote it, at most 64 characters
  std::string message;         // of no_data and error, for people; ≤ 300 characters, no secrets
  reconcile::WallTime time{};  // whole seconds, as the API keeps them
};
// One answer of Prometheus' /api/v1/query (https://prometheus.io/docs/prometheus/latest/querying/api/): a scalar, or a vector with exactly
// one sample, is a number. Everything else that can come (several series, HTML, an error in words, half a reply, silence) is an error
// that says what to do.
Answer read_answer(const reconcile::Fact& fact);

}  // namespace endstate::metrics
