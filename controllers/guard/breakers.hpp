// Breakers: stop all forward changes of a cluster when it gets worse. Pure: works on the copy of a ledger while requests are decided.
//
//   Closed    changes go on. Opens when more operations failed than the rule allows, or when a check fails.
//   Open      nothing forward is granted. Manual (the default): only the annotation endstate.dev/reset-breaker closes it. Automatic: when
//             the cooldown has passed and no check fails any more, it is HalfOpen.
//   HalfOpen  `trials` operations are let through. All succeeded: Closed, and counts from nothing. One failed, or a check did: Open.
//
// Checks are answered elsewhere (checks.hpp), and stand in the account. One without a fresh and good answer holds forward changes without
// opening (MetricsUnknown): unknown is not yes. After a reset a check must pass anew: an old Failed neither opens it again nor counts as
// good.
#pragma once
#include <optional>

#include "controllers/guard/fleet.hpp"
#include "controllers/guard/plan.hpp"

namespace endstate::guard {

class Breakers {
 public:
  Breakers(const Snapshot& snapshot, const Fleet& fleet, v1alpha1::GuardLedgerStatus& ledger)
      : snapshot_(snapshot), fleet_(fleet), ledger_(ledger) {}

  // What was done by that grant has ended: what became of it counts. Null: the machine is gone.
  void ended(const reconcile::Text& id, const v1alpha1::Machine* machine);
  // What time, checks and people have changed. True if anything was.
  bool turn();
  // The account was lost: what the budgets' summaries say of open breakers still holds.
  void restore();

  std::optional<reconcile::Refused> hold(const v1alpha1::ChangeBudget& budget) const;
  // A forward operation is granted: half-open, it is a trial.
  void let_through(const v1alpha1::ChangeBudget& budget, const reconcile::Text& id);
  void withdraw(const reconcile::Text& id);  // it never began: no trial either

 private:
  v1alpha1::LedgerBreaker* find(const v1alpha1::ChangeBudget& budget) const;
  v1alpha1::LedgerBreaker& entry(const v1alpha1::ChangeBudget& budget);
  void open(v1alpha1::LedgerBreaker& breaker, std::string_view reason, std::string message);
  bool turn_one(const v1alpha1::ChangeBudget& budget);
  void drop_strangers();

  const Snapshot& snapshot_;
  const Fleet& fleet_;
  v1alpha1::GuardLedgerStatus& ledger_;
};

}  // namespace endstate::guard
