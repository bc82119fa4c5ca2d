// The guard's rules, pure: which of these wishes may be done now, and what the account says afterwards.
//
// - All budgets that select the cluster must agree; the refusal names the first that said no and when to ask again. Without a budget
// everything
//   is granted and recorded.
// - A grant is told by its id: asked for again it is granted again and costs nothing (a restarted operator never pays twice).
// - Windows are buckets of a 60th of their length. A bucket counts until the last moment that it could hold has left the window: never one
// over,
//   at most a 60th too slow.
// - maxUnavailable counts the cluster's wanted machines that have been in service: those that are unavailable, whatever the cause, and
// those
//   with a grant under way. A machine that is being deleted is not wanted any more: it counts on neither side. What disturbs an unavailable
//   machine, or one that was never in service, costs no availability; it counts for rate and concurrency.
// - A machine is never held by its own older grant: a rollback is asked for while its update is under way, and ends it.
// - The way back (rollback, certificate rotation) is never held by a window, a schedule or a breaker; it is counted.
// - Schedules and metric checks of a breaker, which this version can't judge, hold what they name (unknown is not yes).
#pragma once
#include <vector>

#include "apis/v1alpha1/machine.hpp"
#include "apis/v1alpha1/policy.hpp"
#include "reconcile/cache/view.hpp"
#include "reconcile/run/guard.hpp"

namespace endstate::guard {

struct Snapshot {
  reconcile::Key cluster;
  std::vector<reconcile::Ref<v1alpha1::ChangeBudget>> budgets;  // those that select the cluster, by name
  std::vector<reconcile::Ref<v1alpha1::Machine>> machines;      // of the cluster
  v1alpha1::GuardLedgerStatus ledger;
  bool trusted = true;  // false: the account was lost, or is an old copy: its windows count as full
  reconcile::WallTime now{};
};

struct Decision {
  v1alpha1::GuardLedgerStatus ledger;  // generation raised by one if it changed
  bool changed = false;
  std::vector<reconcile::Verdict> verdicts;  // one a request, in their order
};

Decision decide(const Snapshot& snapshot, const std::vector<reconcile::PermitRequest>& requests);

bool is_way_back(std::string_view operation);

// How many operations of that window count now.
std::int64_t used(const v1alpha1::LedgerWindow& window, reconcile::WallTime now);

}  // namespace endstate::guard
