#include "src/kubectl/doctor.hpp"

#include <catch2/catch.hpp>

#include "reconcile/json/decode.hpp"

using namespace endstate;
using namespace endstate::kubectl;
namespace api = v1alpha1;

namespace {

DoctorFacts sound() {
  DoctorFacts f;
  f.server_version = "v1.34.4";
  f.expected = {"agents.endstate.dev"};
  f.policies = {{"agents.endstate.dev", false}};
  f.bindings = {{"agents.endstate.dev", true}};
  return f;
}
bool says(const DoctorFacts& facts, Severity severity, std::string_view text) {
  for (const auto& f : diagnose(facts))
    if (f.severity == severity && f.what.find(text) != std::string::npos && !f.remedy.empty()) return true;
  return false;
}

}  // namespace

TEST_CASE("a sound installation has no finding", "[kubectl][doctor]") { CHECK(diagnose(sound()).empty()); }

TEST_CASE("a policy that is missing, or doesn't deny, is a danger", "[kubectl][doctor]") {
  auto f = sound();
  f.bindings.clear();
  CHECK(says(f, Severity::danger, "agents.endstate.dev or its binding is missing"));
  f.bindings = {{"agents.endstate.dev", false}};
  CHECK(says(f, Severity::danger, "doesn't deny"));
}

TEST_CASE("an API server without admission policies is a danger", "[kubectl][doctor]") {
  auto f = sound();
  f.server_version = "v1.29.3";
  CHECK(says(f, Severity::danger, "v1.29.3"));
}

TEST_CASE("clusters, hosts, budgets and people are looked at", "[kubectl][doctor]") {
  auto f = sound();
  api::Cluster c;
  c.metadata.name_space = "prod";
  c.metadata.name = "hz-a";
  c.spec.control_plane.type = api::ControlPlaneType::external;
  c.status.break_glass.emplace();
  c.status.break_glass->state = "Active";
  f.clusters.push_back(std::make_shared<const api::Cluster>(c));
  api::Host h;
  h.spec.consumer_ref.emplace();
  h.status.conditions.push_back({.type = "Enrolled", .status = api::ConditionStatus::true_});
  f.hosts.push_back(std::make_shared<const api::Host>(h));
  reconcile::Pool pool;
  const auto budget = reconcile::decode<api::ChangeBudget>(
      R"({"metadata":{"name":"b"},"spec":{"clusterSelector":{"matchLabels":{"x":"y"}},"limits":[{"name":"l","operations":["Novelty"]}]}})",
      pool, reconcile::UnknownWords::kept);
  f.budgets.push_back(std::make_shared<const api::ChangeBudget>(budget.value()));
  f.holders = {{"prod", "edit", "Group devs"}};
  f.old_hand_overs = {"prod/endstate-host-u1"};

  CHECK(says(f, Severity::note, "is the meta cluster itself"));
  CHECK(says(f, Severity::danger, "break-glass is active"));
  CHECK(says(f, Severity::note, "1 Hosts have certificates without a number"));
  CHECK(says(f, Severity::note, "lack the finalizer"));
  CHECK(says(f, Severity::note, "Novelty"));
  CHECK(says(f, Severity::note, "no ChangeBudget selects Cluster prod/hz-a"));
  CHECK(says(f, Severity::note, "Group devs (edit)"));
  CHECK(says(f, Severity::danger, "prod/endstate-host-u1"));
  const auto all = diagnose(f);
  CHECK(all.front().severity == Severity::danger);
  CHECK(doctor_text(all).find("DANGER  ") == 0);
}
