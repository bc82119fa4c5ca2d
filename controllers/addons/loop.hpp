// AddonsLoop: observe for the plan of a Hosted cluster's add-ons (plan.hpp). It needs no rights in the meta cluster but those of a
// Cluster's status: what it writes, it writes into the hosted cluster.
#pragma once
#include <map>
#include <memory>
#include <mutex>

#include "apis/v1alpha1/packages.hpp"
#include "controllers/addons/plan.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::addons {

class AddonsLoop final : public reconcile::Loop {
 public:
  // The kinds must outlive every call that a pass leads to: who runs an Env beyond the loop's end holds on to them.
  explicit AddonsLoop(std::shared_ptr<Kinds> kinds = std::make_shared<Kinds>()) : kinds_(std::move(kinds)) {}
  std::string_view name() const override { return "addons"; }
  const reconcile::Kind& kind() const override;
  std::vector<reconcile::Source> sources() const override;
  std::function<reconcile::Plan()> observe(const reconcile::Snapshot& snapshot, const reconcile::Key& key) const override;

 private:
  struct Read;  // the add-ons of one version, read by the first plan that needs them
  std::shared_ptr<Read> of(const reconcile::View& view, const api::ClusterPackageVersion& version) const;

  // A version never changes: what was read of it is kept until it has gone. For the Env's thread; the kinds, for plans.
  mutable std::map<std::string, std::shared_ptr<Read>, std::less<>> read_;  // by uid
  std::shared_ptr<Kinds> kinds_;
};

}  // namespace endstate::addons
