// EnrolmentLoop: observe for the plan of a Host's credentials (plan.hpp). Requests are read on the worker, with the plan.
#pragma once
#include "reconcile/run/loop.hpp"

namespace endstate::enrolment {

class EnrolmentLoop final : public reconcile::Loop {
 public:
  std::string_view name() const override { return "enrolment"; }
  const reconcile::Kind& kind() const override;
  std::vector<reconcile::Source> sources() const override;
  std::function<reconcile::Plan()> observe(const reconcile::Snapshot& snapshot, const reconcile::Key& key) const override;
};

}  // namespace endstate::enrolment
