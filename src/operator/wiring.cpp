#include "src/operator/wiring.hpp"

#include <cstdlib>

#include "apis/v1alpha1/cluster.hpp"
#include "apis/v1alpha1/machine.hpp"
#include "apis/v1alpha1/policy.hpp"
#include "controllers/cluster/blind.hpp"
#include "controllers/cluster/pki_forge.hpp"
#include "controllers/cluster/plan.hpp"
#include "controllers/enrolment/pki_token.hpp"
#include "controllers/guard/disruptive.hpp"
#include "reconcile/kube/core.hpp"

namespace endstate {

namespace {

// Bodies that hold keys: each recipe has one who knows it.
reconcile::Result<std::string> make(const std::string& recipe, const std::vector<std::string>& secrets, reconcile::WallTime now) {
  return enrolment::is_ours(recipe) ? enrolment::forge(recipe, secrets, now) : cluster::forge(recipe, secrets, now);
}

// What machines are judged by: without these a cluster is out of sight. Of a business cluster, and of the meta cluster.
reconcile::CachesOptions caches_options() {
  return {.needed = {&reconcile::resource_of<reconcile::Node>, &reconcile::resource_of<v1alpha1::HostAssignment>,
                     &reconcile::resource_of<reconcile::Lease>, &reconcile::resource_of<v1alpha1::Machine>,
                     &reconcile::resource_of<v1alpha1::Host>, &reconcile::resource_of<v1alpha1::Cluster>,
                     &reconcile::resource_of<v1alpha1::GuardLedger>, &reconcile::resource_of<v1alpha1::ChangeBudget>}};
}

reconcile::ConnectWish standby_wish(const void* object) { return cluster::standby_wish(*static_cast<const v1alpha1::Cluster*>(object)); }

// A lease that nobody had renewed for longer: nobody saw what happened meanwhile.
constexpr std::chrono::seconds longest_hand_over{60};

constexpr std::string_view jumps = "clock_jumps_total", jumps_help = "Moves of the meta API server's clock by more than 5 s.";

}  // namespace

std::optional<reconcile::WallTime> nobody_led(const reconcile::Leadership& leadership, reconcile::WallTime now) {
  const auto since = leadership.unrenewed_since();
  return since && now - *since > longest_hand_over ? since : std::nullopt;
}

Wiring::Wiring(reconcile::Env& env, reconcile::Leadership& leadership, const WiringOptions& options, reconcile::Metrics& metrics,
               const reconcile::Log& log)
    : metrics_(metrics),
      log_(log),
      caches_(env, log, caches_options()),
      guard_(
          env, caches_, [&env, &leadership] { return leadership.may_act(env.now().mono); }, metrics, log),
      cluster_({.hosted = options.hosted_control_planes}),
      budget_([this](const reconcile::Key& of, const v1alpha1::ChangeBudget& b) { return guard_.usage(of, b); }),
      checks_(guard_),
      enrolment_({.hosted = options.hosted_control_planes}),
      manager_(
          env, caches_, guard_,
          {&cluster_, &addons_, &machine_set_, &machine_, &package_, &cluster_package_, &budget_, &checks_, &metric_source_, &enrolment_},
          {.program = "endstate",
           .instance = options.identity,
           .lease = &leadership,
           .also_watch = guard::LedgerGuard::sources(),
           .disruptive = guard::disruptive,
           .make = make,
           .follow = {.kind = &reconcile::kind_of<v1alpha1::Cluster>, .wish = standby_wish}},
          metrics, log),
      exporter_(env, caches_, metrics, [&env, &leadership] { return leadership.may_act(env.now().mono); }) {
  guard_.on_room = [this](const reconcile::PermitRequest& request) {
    manager_.let_in(guard::is_of_machines(request.operation) ? "machine" : "cluster", request.subject);
  };
  metrics_.add(jumps, jumps_help, {}, 0);
}

void Wiring::start() {
  manager_.start();
  exporter_.start();
}

// The guard first: passes ask it.
void Wiring::lead(bool leading, std::optional<reconcile::WallTime> unseen_since) {
  if (leading && unseen_since) caches_.missed(*unseen_since, "no operator led since " + reconcile::format_rfc3339(*unseen_since));
  guard_.lead(leading);
  manager_.lead(leading);
}

void Wiring::clock_jumped(reconcile::WallTime before, reconcile::WallTime after) {
  const auto by = std::chrono::duration_cast<std::chrono::seconds>(after - before).count();
  const auto what = std::string(cluster::clock_jumped) + (by > 0 ? " ahead by " : " back by ") + std::to_string(std::abs(by)) + " s";
  log_(reconcile::Level::warning, what, {});
  metrics_.add(jumps, jumps_help, {});
  if (by > 0) caches_.missed(before, what);
}

}  // namespace endstate
