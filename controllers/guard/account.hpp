// Account: the working copy of a ledger while requests are decided. What is under way comes from the fleet's locks (fleet.hpp); the ledger
// adds the permits whose lock isn't seen yet. Pure.
#pragma once
#include <map>
#include <set>
#include <string>
#include <unordered_map>

#include "controllers/guard/breakers.hpp"
#include "controllers/guard/domain_windows.hpp"
#include "controllers/guard/fleet.hpp"
#include "controllers/guard/plan.hpp"

namespace endstate::guard {

// ---- what a Machine says of a grant (null: the machine is gone) ----
// Nothing has begun by it, and what would begin by it now doesn't begin when it was counted: the operator was killed in between.
bool is_stale(const v1alpha1::LedgerGrant& grant, const v1alpha1::Machine* machine, reconcile::WallTime begins);
// What would be done goes by that very grant already.
bool is_under_way(const Fleet& fleet, const reconcile::PermitRequest& request, std::string_view id);
// When what is asked for begins, as the guard counts it.
reconcile::WallTime begin_of(const reconcile::PermitRequest& request, reconcile::WallTime now);
// What became of a permit that was given.
enum class GrantState : std::uint8_t { pending, seen, ended, expired, never_begun };
GrantState state_of(const v1alpha1::LedgerGrant& grant, const Fleet& fleet, reconcile::WallTime now);

class Account {
 public:
  Account(const Snapshot& snapshot, const Fleet& fleet);
  Account(const Account&) = delete;
  Account& operator=(const Account&) = delete;

  const v1alpha1::LedgerGrant* find(std::string_view id) const;
  const v1alpha1::Machine* machine(const reconcile::Text& uid) const;  // null: there is none
  const Fleet& fleet() const { return fleet_; }
  std::size_t pending() const { return ledger_.grants.size(); }
  bool is_full(bool way_back) const;  // no more permits can be remembered
  void add(v1alpha1::LedgerGrant grant);
  void withdraw(v1alpha1::LedgerGrant grant);  // nothing has begun by it: it counts in nothing any more
  // Lets go of the permits whose operation is seen or has ended, or by which nothing has begun in time; counts failures for the breakers.
  void settle();
  // The account can't be what was written last: every window of every budget counts as full from now on, and breakers that were seen open
  // are open. What is under way is known from locks all the same.
  void distrust(const Doubt& doubt);

  // ---- windows ----
  // Of scope FailureDomain those of too many domains are not counted: the budget holds instead (api::reason::budget_too_wide).
  bool is_too_wide(const v1alpha1::ChangeBudget& budget) const { return too_wide_.contains(budget.metadata.name.view()); }
  struct Window {
    const v1alpha1::ChangeBudget* budget = nullptr;
    const v1alpha1::BudgetLimit* limit = nullptr;
    std::chrono::seconds duration{};
    reconcile::Text domain;  // empty with scope Cluster
    bool whole_cluster = true;
  };
  std::int64_t used(const Window& window, reconcile::WallTime now) const;
  bool has_room(const Window& window) const;                                   // it is counted already, or can be
  std::optional<reconcile::WallTime> oldest_ends(const Window& window) const;  // when its oldest bucket ends; nullopt: it is empty
  void count(const Window& window, reconcile::WallTime at, std::int64_t operations);

  // Subjects that are under way in that limit, by lock or by permit, but the one that asks.
  std::int64_t in_flight(Operations operations, const reconcile::Text& domain, bool any_domain, const reconcile::PermitRequest& but) const;
  Breakers& breakers() { return breakers_; }
  const std::optional<v1alpha1::LedgerDistrust>& distrusted() const { return ledger_.distrusted; }

  // ---- availability ----
  std::int64_t in_service() const { return fleet_.in_service(); }
  std::int64_t unavailable() const { return fleet_.out() + static_cast<std::int64_t>(disturbed_.size()); }
  // Whether disturbing that machine takes one more out of service.
  bool costs_availability(const reconcile::PermitRequest& request) const;
  std::int64_t machines(const reconcile::Text& domain, bool any_domain) const;  // wanted ones

  v1alpha1::GuardLedgerStatus take();
  bool changed() const { return changed_ || ended_; }
  bool may_wait() const { return !changed_; }

 private:
  struct Pending {                       // of the grant at the same place
    Operations operation = 0, lock = 0;  // lock: what its subject's lock counts as, where that is of the same domain
    bool repeated = false;               // an earlier one is of the same subject
  };
  void place_grants();
  void place(const v1alpha1::LedgerGrant& grant);
  void take_answers();
  bool is_of_cluster(const v1alpha1::LedgerGrant& grant) const;
  bool is_subject(const v1alpha1::LedgerGrant& grant, const reconcile::Text& uid, const reconcile::Text& component) const;
  bool is_late(const Lock& lock) const;
  void find_too_wide();
  void find_late();
  void count_ends();
  void fill_windows();
  void drop_old_buckets();
  std::vector<v1alpha1::LedgerWindow>::const_iterator find(const Window& window) const;
  std::string open_ids() const;

  const Snapshot& snapshot_;
  const Fleet& fleet_;
  v1alpha1::GuardLedgerStatus ledger_;
  DomainWindows domains_;
  Breakers breakers_;
  std::set<std::string_view> too_wide_;
  std::vector<Lock> late_;  // past their time: they count no more
  std::vector<Pending> pending_;
  std::unordered_map<std::string, std::size_t> grants_;             // id -> place in ledger_.grants
  std::set<std::pair<reconcile::Text, reconcile::Text>> subjects_;  // of permits: uid, component
  std::size_t held_ = 0;                                            // permits, but those of an older version
  std::set<reconcile::Text> disturbed_;                             // machines in service that only a pending permit takes out
  bool changed_ = false;
  bool ended_ = false;  // permits were let go: whoever reads the same objects finds that again, so it needn't be stored at once
};

}  // namespace endstate::guard
