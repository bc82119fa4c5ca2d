// MachineLoop: observe for the plan of a Machine (plan.hpp). Copies pointers out of the caches; decodes the few texts that are not
// described types (condition ConfigMaps, the list of pods, what we own on a Node).
#pragma once
#include <map>
#include <mutex>
#include <string>

#include "controllers/machine/host_pool.hpp"
#include "controllers/machine/plan.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::machine {

class MachineLoop final : public reconcile::Loop {
 public:
  std::string_view name() const override { return "machine"; }
  const reconcile::Kind& kind() const override { return reconcile::kind_of<api::Machine>; }
  std::vector<reconcile::Source> sources() const override;
  std::function<reconcile::Plan()> observe(const reconcile::Snapshot& snapshot, const reconcile::Key& key) const override;

 private:
  struct Health {
    reconcile::MonoTime at{};
    ClusterHealth health;
  };
  // Soft state, for the Env's thread only: lost without harm. Who chose which host a moment ago, and how the clusters are.
  mutable std::map<std::string, HostPool, std::less<>> pools_;  // by namespace
  mutable std::map<std::string, Health, std::less<>> health_;   // by "<namespace>/<cluster>"

  struct Refusals {
    std::optional<reconcile::MonoTime> node, eviction;
  };
  mutable std::map<reconcile::Key, Refusals> refusals_;  // when the API server said no last; while the Machine's status says so

  void read_refusals(const reconcile::Snapshot& snapshot, Input& in) const;
  void choose_host(const reconcile::Snapshot& snapshot, Input& in) const;
  ClusterHealth health_of(const reconcile::Snapshot& snapshot, const api::Machine& machine) const;
  std::function<reconcile::Plan()> observe_remains(const reconcile::Snapshot& snapshot, const reconcile::Key& key) const;
};

}  // namespace endstate::machine
