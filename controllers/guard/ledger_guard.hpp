// LedgerGuard: the guard with an account in the API server. Requests of a cluster are gathered while a write is under way, decided together
// by the rules (plan.hpp) on the newest ledger known, stored by one compare-and-swap, and only then answered. So grants survive restarts,
// two rivals can't both spend the same budget, and under load one write carries many grants. What is stored already, and what is under way
// by its lock, is answered at once.
//
// What can go wrong, and what happens:
//   conflict (somebody else wrote)  the ledger is read and everything is decided again, at most 5 times; then an error: nobody is granted
//   reply lost                      the same: what was stored is found again by its ids
//   no ledger, or an empty one      it is created; its windows count as full, unless the Cluster is younger than 10 minutes
//   an older ledger than was seen, one that was edited, one that doesn't know what is under way (trust.hpp): its windows count as full
//   a ledger of a Cluster of before by the same name  refused for a moment: the garbage collector takes it
//   caches not filled yet, or behind what the ledger's writer had seen  refused with CachesNotSynced; after 90 s all is read again, and the
//                                   ledger is LedgerOld
//   the cluster is out of sight     what concerns its machines is refused with WaitingForConnection
//
// Who was refused stands in line: on_room tells whom to let ask again, as many as there is room for.
//
// Metrics (prefix left out):
//   guard_grants_total{operation}  guard_refusals_total{budget,reason} (budget "": the guard itself)  guard_ledger_untrusted_total{cluster}
//   guard_breaker_open{budget,cluster} 0, 1, or 0.5: half-open  guard_window_used_ratio{budget,limit,cluster,window} of the fullest domain
//   guard_recounts_total  guard_recount_mismatches_total{cluster} (ledger_guard_fleets.hpp)
//
// Threads: the Env's.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "controllers/guard/checks.hpp"
#include "controllers/guard/ledger_guard_fleets.hpp"
#include "controllers/guard/loop.hpp"
#include "controllers/guard/plan.hpp"
#include "reconcile/base/env.hpp"
#include "reconcile/base/log.hpp"
#include "reconcile/cache/caches.hpp"
#include "reconcile/run/guard.hpp"
#include "reconcile/run/loop.hpp"
#include "reconcile/run/metrics.hpp"

namespace endstate::guard {

class LedgerGuard final : public reconcile::Guard, public CheckBook {
 public:
  // `may_act`: whether this process leads; null: always. It is asked before each write.
  LedgerGuard(reconcile::Env& env, reconcile::Caches& caches, std::function<bool()> may_act, reconcile::Metrics& metrics,
              reconcile::Log log);
  ~LedgerGuard() override;

  void ask(std::vector<reconcile::PermitRequest> requests,
           std::function<void(reconcile::Result<std::vector<reconcile::Verdict>>)> answer) override;
  // There is room now for what was refused before. Null: nobody is told, and who was refused asks again soon.
  std::function<void(const reconcile::PermitRequest&)> on_room{};
  // From the lease: a new leader looks at all accounts at once, for breakers turn whether somebody asks or not.
  void lead(bool leading);

  std::vector<v1alpha1::LedgerChecks> checks(const reconcile::Key& cluster) const override;
  void answered(const reconcile::Key& cluster, std::vector<v1alpha1::LedgerChecks> checks) override;
  Usage usage(const reconcile::Key& cluster, const v1alpha1::ChangeBudget& budget);

  // The caches that it reads; for ManagerOptions::also_watch.
  static std::vector<reconcile::Source> sources();

 private:
  class Book;  // of one cluster: ledger_guard_book.hpp
  Book& book(const reconcile::Key& cluster);

  reconcile::Env& env_;
  const reconcile::View& view_;
  std::function<bool()> may_act_;
  reconcile::Metrics& metrics_;
  reconcile::Log log_;
  Fleets fleets_;
  ScheduleCache schedules_;
  std::map<reconcile::Key, std::unique_ptr<Book>> books_;
  reconcile::Pool pool_;
};

}  // namespace endstate::guard
