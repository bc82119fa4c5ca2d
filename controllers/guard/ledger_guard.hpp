// LedgerGuard: the guard with an account in the API server. Requests of a cluster are gathered while a write is under way, decided together
// by the rules (plan.hpp) on the newest ledger known, stored by one compare-and-swap, and only then answered. So grants survive restarts,
// two rivals can't both spend the same budget, and under load one write carries many grants. What is stored already is answered at once.
//
// What can go wrong, and what happens:
//   conflict (somebody else wrote)  the ledger is read and everything is decided again, at most 5 times; then an error: nobody is granted
//   reply lost                      the same: what was stored is found again by its ids
//   no ledger, or an empty one      it is created; its windows count as full, unless the Cluster is younger than 10 minutes
//   an older ledger than was seen, one that was edited, one that doesn't know what is under way (trust.hpp): its windows count as full
//   caches not filled yet           refused with CachesNotSynced
//
// Metrics (prefix left out):
//   guard_grants_total{operation}  guard_refusals_total{budget,reason} (budget "": the guard itself)  guard_ledger_untrusted_total{cluster}
//   guard_breaker_open{budget,cluster} 0, 1, or 0.5: half-open  guard_window_used_ratio{budget,limit,cluster,window} of the fullest domain
//
// Threads: the Env's.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "controllers/guard/plan.hpp"
#include "reconcile/base/env.hpp"
#include "reconcile/base/log.hpp"
#include "reconcile/cache/view.hpp"
#include "reconcile/run/guard.hpp"
#include "reconcile/run/loop.hpp"
#include "reconcile/run/metrics.hpp"

namespace endstate::guard {

class LedgerGuard final : public reconcile::Guard {
 public:
  // `may_act`: whether this process leads; null: always. It is asked before each write.
  LedgerGuard(reconcile::Env& env, const reconcile::View& view, std::function<bool()> may_act, reconcile::Metrics& metrics,
              reconcile::Log log);
  ~LedgerGuard() override;

  void ask(std::vector<reconcile::PermitRequest> requests,
           std::function<void(reconcile::Result<std::vector<reconcile::Verdict>>)> answer) override;

  // The caches that it reads; for ManagerOptions::also_watch.
  static std::vector<reconcile::Source> sources();

 private:
  class Book;  // of one cluster
  Book& book(const reconcile::Key& cluster);

  reconcile::Env& env_;
  const reconcile::View& view_;
  std::function<bool()> may_act_;
  reconcile::Metrics& metrics_;
  reconcile::Log log_;
  std::map<reconcile::Key, std::unique_ptr<Book>> books_;
  reconcile::Pool pool_;
};

}  // namespace endstate::guard
