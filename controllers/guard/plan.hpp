// The guard's rules, pure: which of these wishes may be done now, and what the account says afterwards.
//
// - All budgets that select the cluster must agree. The refusal names the most restrictive: the one that says no for the longest (of equals
//   the first by name); its message lists the others that say no too. Without a budget everything is granted and recorded.
// - A grant is told by its id: asked for again it is granted again and costs nothing (a restarted operator never pays twice). One by which
//   nothing has begun yet is judged anew, and counts from then: a window bounds what begins in it, not what was once permitted.
// - What is under way is known by its lock (fleet.hpp), and goes on whatever the account says. The ledger keeps a permit until its lock is
//   seen: 60 s at most, then it is given back.
// - Windows are counted in buckets (buckets.hpp), by the time that the request begins at: never one over, at most a 60th too slow.
// - maxUnavailable counts the cluster's wanted machines that have been in service: those that are unavailable, whatever the cause, and
//   those with a grant under way. A machine that is being deleted is not wanted any more: it counts on neither side. What disturbs an
//   unavailable machine (availability.hpp), or one that was never in service, costs no availability; it counts for rate and concurrency.
// - What can't be seen isn't disturbed: while the cluster is out of sight every operation on a machine is refused, the way back too; only a
//   person's word (PermitRequest::forced) goes on. Operations on a control plane are the way back into sight.
// - A machine is never held by its own older grant: a rollback is asked for while its update is under way, and ends it.
// - Breakers: breakers.hpp. Schedules: schedule.hpp; Deny holds while it is on, Allow holds unless one of the Allow schedules that name
//   the operation is on, and one that can't be judged holds what it names.
// - The way back (rollback, certificate rotation) is never held by a window, a schedule or a breaker; it is counted.
// - An account that can't be what was written last (trust.hpp) counts with full windows.
// - A budget that this version can't read may say no: forward changes of the clusters that it selects wait.
#pragma once
#include <optional>
#include <vector>

#include "apis/v1alpha1/cluster.hpp"
#include "apis/v1alpha1/machine.hpp"
#include "apis/v1alpha1/policy.hpp"
#include "controllers/guard/schedule.hpp"
#include "controllers/guard/trust.hpp"
#include "reconcile/cache/view.hpp"
#include "reconcile/run/guard.hpp"

namespace endstate::guard {

// A ChangeBudget that this version can't read, and that may select the cluster.
struct UnreadableBudget {
  reconcile::Text name;
  std::string why;
};

class Fleet;  // fleet.hpp

struct Snapshot {
  reconcile::Key cluster;
  std::vector<reconcile::Ref<v1alpha1::ChangeBudget>> budgets;  // those that select the cluster, by name
  std::vector<UnreadableBudget> unreadable;
  const Fleet* fleet = nullptr;                             // what is there and under way; null: it is counted from what follows
  reconcile::Ref<v1alpha1::Cluster> object;                 // null: nothing is known of its control plane
  std::vector<reconcile::Ref<v1alpha1::Machine>> machines;  // of the cluster
  std::vector<reconcile::Ref<v1alpha1::Host>> hosts;        // claimed ones
  std::vector<reconcile::Ref<v1alpha1::HostAssignment>> assignments;
  v1alpha1::GuardLedgerStatus ledger;
  std::vector<v1alpha1::LedgerChecks> checks;  // how breaker.checks stand, as far as that is newer than the ledger
  v1alpha1::LedgerSeen seen;                   // what the reader's caches have reached
  ScheduleCache* schedules = nullptr;          // what was judged before; null: nothing
  std::vector<ZoneFacts> zones;                // of all zones that the budgets' schedules name
  std::optional<Doubt> doubt;                  // what the reader knows against the ledger, beyond what it says itself
  bool own = false;                            // the reader wrote this ledger itself: there is nothing to doubt
  bool break_glass = false;                    // schedules, windows, breakers and maxConcurrent hold nothing (docs/operating.md)
  reconcile::Sight sight{.seen = true};        // of the cluster's machines, and of the meta cluster that tells of them
  std::vector<v1alpha1::BlindGap> gaps;        // when it could not be seen: operations had no time then
  reconcile::WallTime now{};
};

// Permits whose lock isn't seen yet. What needs more waits for a moment: the account stays an object of some ten KiB.
inline constexpr std::size_t max_pending = 160;

struct Decision {
  v1alpha1::GuardLedgerStatus ledger;  // generation raised by one if it changed
  bool changed = false;
  bool may_wait = false;                     // nothing was granted or opened: only grants came back
  std::vector<reconcile::Verdict> verdicts;  // one a request, in their order
  std::vector<std::size_t> fresh;            // places of those that were granted now, not found again
  std::optional<Doubt> doubt;                // why the ledger was not trusted
};

Decision decide(const Snapshot& snapshot, const std::vector<reconcile::PermitRequest>& requests);

bool is_way_back(std::string_view operation);
bool is_of_machines(std::string_view operation);  // not of a control plane
bool covers(const std::vector<v1alpha1::BudgetOperation>& operations, std::string_view operation);

// How many operations of that window count now.
std::int64_t used(const v1alpha1::LedgerWindow& window, reconcile::WallTime now);

}  // namespace endstate::guard
