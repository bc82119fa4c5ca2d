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

constexpr reconcile::Resource reviews{"authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", false};
constexpr std::chrono::milliseconds while_complete = 1h, while_not = 1min;

HostedLine unknown(const std::string& message) { return {ConditionStatus::unknown, api::reason::rights_unknown, message}; }

HostedLine said(const reconcile::Fact& answer) {
  if (!answer.body) return unknown("a SelfSubjectRulesReview was not answered: " + answer.body.error().message);
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
  out.query = reconcile::Query{.id = std::string(rights_question), .cluster = connection_of(cluster), .resource = &reviews};
  out.query->body = rules_review();
  out.query->max_age = age;
  if (answer) out.again = std::max<std::chrono::milliseconds>(1s, age - std::chrono::floor<std::chrono::milliseconds>(now - answer->time));
  return out;
}

}  // namespace endstate::cluster
