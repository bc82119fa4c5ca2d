// plan: whether a MetricSource answers. Pure. It is asked `vector(1)` each minute, and each 15 s while it doesn't answer; nothing decides
// by the condition, it is for people and for `kubectl wait`: a check that can't be asked counts an error of its own.
#pragma once
#include <optional>

#include "apis/v1alpha1/policy.hpp"
#include "reconcile/cache/view.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::metric_source {

namespace api = endstate::v1alpha1;

inline constexpr std::string_view up_query = "up";  // Query::id

struct Snapshot {
  reconcile::Ref<api::MetricSource> source;
  std::optional<reconcile::Fact> answer;  // to up_query; none: not asked yet by this process
  reconcile::WallTime now{};
};

struct Planned {
  reconcile::Plan plan;
  api::MetricSourceStatus status;
};
Planned plan_in_full(const Snapshot& snapshot);
reconcile::Plan plan(const Snapshot& snapshot);

}  // namespace endstate::metric_source
