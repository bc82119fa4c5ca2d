// Fleets: one Fleet (fleet.hpp) for each cluster, kept up to date by what the caches tell, and counted anew from nothing: by who takes
// over, and each minute on a worker. A difference is a bug: it is told (guard_recount_mismatches_total), and what was counted anew holds.
//
// For the Env's thread.
#pragma once
#include <functional>
#include <map>
#include <set>
#include <string>

#include "controllers/guard/fleet.hpp"
#include "reconcile/base/env.hpp"
#include "reconcile/base/log.hpp"
#include "reconcile/cache/caches.hpp"
#include "reconcile/run/metrics.hpp"

namespace endstate::guard {

class Fleets {
 public:
  // `counts`: whether this process has a use for them now (it leads).
  Fleets(reconcile::Env& env, const reconcile::View& view, std::function<bool()> counts, reconcile::Metrics& metrics, reconcile::Log log);

  // From now on changes are followed; before, or without it, each question counts from nothing.
  void follow(reconcile::Caches& caches);
  bool is_following() const { return caches_ != nullptr; }

  const Fleet& of(const reconcile::Key& cluster);
  void recount(const reconcile::Key& cluster);  // from nothing, now
  // Something there has changed: there may be room.
  std::function<void(const reconcile::Key& cluster)> on_change{};

  // What the caches have reached, and whether that is as far as another's had.
  v1alpha1::LedgerSeen seen() const;
  bool has_reached(const v1alpha1::LedgerSeen& seen) const;
  void doubt();  // all of the meta cluster is read again
  // ChangeBudgets that can't be decoded.
  std::vector<reconcile::Unreadable> unreadable_budgets() const;

 private:
  FleetObjects objects(const reconcile::Key& cluster) const;
  void changed(std::string_view connection, const reconcile::Kind& kind, const reconcile::Ref<void>& before,
               const reconcile::Ref<void>& after);
  void changed_host(const v1alpha1::Host* before, const v1alpha1::Host* after);
  void changed_assignment(std::string_view connection, const v1alpha1::HostAssignment* before, const v1alpha1::HostAssignment* after);
  void changed_machine(const reconcile::Ref<v1alpha1::Machine>& before, const reconcile::Ref<v1alpha1::Machine>& after);
  void touched(const reconcile::Key& cluster);
  void compare_later();
  void compare(const reconcile::Key& cluster);

  reconcile::Env& env_;
  const reconcile::View& view_;
  std::function<bool()> counts_;
  reconcile::Metrics& metrics_;
  reconcile::Log log_;
  reconcile::Caches* caches_ = nullptr;
  std::map<reconcile::Key, Fleet> fleets_;
  Fleet scratch_;
  reconcile::Key next_{};  // the cluster that is compared next
  reconcile::Handle timer_, job_;
};

}  // namespace endstate::guard
