// EnrolmentLoop: observe for the plan of a Host's credentials (plan.hpp). Requests are read on the worker, with the plan.
#pragma once
#include "reconcile/run/loop.hpp"

namespace endstate::enrolment {

struct EnrolmentLoopOptions {
  bool hosted = false;  // Secrets are watched in all namespaces, for the cluster loop; else in endstate-system only
};

class EnrolmentLoop final : public reconcile::Loop {
 public:
  explicit EnrolmentLoop(EnrolmentLoopOptions options = {}) : options_(options) {}
  std::string_view name() const override { return "enrolment"; }
  const reconcile::Kind& kind() const override;
  std::vector<reconcile::Source> sources() const override;
  std::function<reconcile::Plan()> observe(const reconcile::Snapshot& snapshot, const reconcile::Key& key) const override;

 private:
  EnrolmentLoopOptions options_;
};

}  // namespace endstate::enrolment
