#include "controllers/cluster/rights.hpp"

#include <algorithm>

#include "apis/v1alpha1/names.hpp"
#include "controllers/common/machine_state.hpp"
#include "controllers/common/rights.hpp"

namespace endstate::cluster {

namespace api = v1alpha1;
using namespace std::chrono_literals;
using api::ConditionStatus;

namespace {

constexpr std::chrono::milliseconds while_complete = 1h, while_not = 1min;

HostedLine unknown(const std::string& message) { return {ConditionStatus::unknown, api::reason::rights_unknown, message}; }

// A refusal is told in the API server's words. What the network says has times in it that differ from one try to the next: each would be a
// write.
std::string why_not(const reconcile::Error& error) {
  const bool refused = error.code == reconcile::Code::forbidden || error.code == reconcile::Code::invalid;
  return refused ? ": " + error.message : error.reason.empty() ? "" : ": " + error.reason;
}

HostedLine said(const reconcile::Fact& answer) {
  if (!answer.body) return unknown("a SelfSubjectRulesReview was not answered" + why_not(answer.body.error()));
  const auto found = find_missing_rights(*answer.body);
  if (!found) return unknown("a SelfSubjectRulesReview was answered with something else");
  if (found->missing.empty()) return {ConditionStatus::true_, api::reason::rights_complete, ""};
  const auto text = text_of(found->missing);
  if (!found->complete) return unknown("the API server can't list all rules (" + found->error + "); these were not among them: " + text);
  return {ConditionStatus::false_, api::reason::rights_missing, text + ". kubectl endstate rights prints what to apply"};
}

}  // namespace

RightsPlan plan_rights(const api::Cluster& cluster, bool connected, const reconcile::Fact* answer, reconcile::WallTime now) {
  const auto& plane = cluster.spec.control_plane;
  if (plane.type != api::ControlPlaneType::external || !plane.kubeconfig_secret || cluster.metadata.deleting() || !connected) return {};
  RightsPlan out;
  if (answer) out.line = said(*answer);
  const auto age = !answer ? 0ms : out.line->status == ConditionStatus::true_ ? while_complete : while_not;
  out.query = reconcile::Query{.id = std::string(rights_question), .cluster = connection_of(cluster)};
  out.query->body = rules_review();
  out.query->max_age = age;
  // Without an answer too: one that came just before new credentials is too young to be asked for again at once.
  const auto old = answer ? std::chrono::floor<std::chrono::milliseconds>(now - answer->time) : 0ms;
  out.again = std::max<std::chrono::milliseconds>(1s, age - old);
  return out;
}

}  // namespace endstate::cluster
