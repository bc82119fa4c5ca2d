// Account: the working copy of a ledger while requests are decided. Pure.
#pragma once
#include <map>
#include <string>
#include <unordered_map>

#include "controllers/guard/breakers.hpp"
#include "controllers/guard/plan.hpp"

namespace endstate::guard {

// ---- what a Machine says of a grant (null: the machine is gone) ----
// It goes by that grant now.
bool is_under_way(const v1alpha1::Machine* machine, const reconcile::Text& id);
// Its operation has ended, its machine is gone, or its time is over. The time of an operation that is under way is over only when its own
// deadline is long past: it would else lose its place in its middle.
bool has_ended(const v1alpha1::LedgerGrant& grant, const v1alpha1::Machine* machine, reconcile::WallTime now);
// Nothing has begun by it, and what would begin by it now doesn't begin when it was counted: the operator was killed in between.
bool is_stale(const v1alpha1::LedgerGrant& grant, const v1alpha1::Machine* machine, reconcile::WallTime begins);
// When what is asked for begins, as the guard counts it.
reconcile::WallTime begin_of(const reconcile::PermitRequest& request, reconcile::WallTime now);

class Account {
 public:
  explicit Account(const Snapshot& snapshot);
  Account(const Account&) = delete;
  Account& operator=(const Account&) = delete;

  const v1alpha1::LedgerGrant* find(std::string_view id) const;
  const v1alpha1::Machine* machine(std::string_view uid) const;  // null: there is none
  std::size_t grants() const { return ledger_.grants.size(); }
  void add(v1alpha1::LedgerGrant grant);
  void withdraw(v1alpha1::LedgerGrant grant);    // nothing has begun by it: it counts in nothing any more
  void adopt(const v1alpha1::Machine& machine);  // the operation that is under way there, as a grant; it counts in no window
  // Frees the grants whose operation has ended, whose machine has gone, or whose time is over; counts failures for the breakers.
  void settle();
  // The account can't be what was written last: every window of every budget counts as full from now on, what is under way by the
  // Machines' own word is under way, and breakers that were seen open are open.
  void distrust(const Doubt& doubt);

  v1alpha1::LedgerWindow& window(std::string_view budget, std::string_view limit, std::string_view domain, std::chrono::seconds duration);
  void count(v1alpha1::LedgerWindow& window, reconcile::WallTime at, std::int64_t operations);
  // Grants that count in that limit, but those of `except` itself.
  std::int64_t in_flight(std::string_view limit_path, std::string_view domain, bool any_domain, std::string_view except) const;
  Breakers& breakers() { return breakers_; }
  const std::optional<v1alpha1::LedgerDistrust>& distrusted() const { return ledger_.distrusted; }

  // ---- availability ----
  std::int64_t in_service() const { return in_service_; }
  std::int64_t unavailable() const { return unavailable_; }
  // Whether disturbing that machine takes one more out of service.
  bool costs_availability(const reconcile::PermitRequest& request) const;
  std::int64_t machines(std::string_view domain, bool any_domain) const;  // wanted ones; counted once, for a group of requests asks often

  v1alpha1::GuardLedgerStatus take() { return std::move(ledger_); }
  bool changed() const { return changed_ || ended_; }
  bool may_wait() const { return !changed_; }

 private:
  void place_grants();
  void fill_windows();
  void adopt_operations();
  void drop_old_buckets();
  void count_availability();

  const Snapshot& snapshot_;
  v1alpha1::GuardLedgerStatus ledger_;
  Breakers breakers_;
  std::unordered_map<std::string_view, const v1alpha1::Machine*> by_uid_;
  std::unordered_map<std::string_view, std::int64_t> wanted_in_;  // machines, by failure domain
  std::int64_t wanted_ = 0;
  std::map<std::string, std::size_t, std::less<>> grants_;   // id -> place in ledger_.grants
  std::map<std::string, bool, std::less<>> out_of_service_;  // machine uids that count as unavailable
  std::int64_t in_service_ = 0, unavailable_ = 0;
  bool changed_ = false;
  bool ended_ = false;  // grants were returned: whoever reads the same Machines finds that again, so it needn't be stored at once
};

}  // namespace endstate::guard
