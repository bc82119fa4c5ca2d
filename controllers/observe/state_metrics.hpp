// The fleet as Prometheus sees it: from records to gauges. Pure: counts and timestamps, no ages, so that it is the same at any moment and
// need only be made anew when a record has changed. Alerts and dashboards subtract from time() where they need an age.
//
// Bounds: series per object (a MachineSet, a Cluster, a budget) and per group (cluster and phase), never per Machine or Host. The labels
// `namespace` and `cluster` name the Cluster object.
#pragma once
#include <vector>

#include "apis/v1alpha1/cluster.hpp"
#include "apis/v1alpha1/machine.hpp"
#include "apis/v1alpha1/machine_set.hpp"
#include "apis/v1alpha1/policy.hpp"
#include "reconcile/cache/view.hpp"
#include "reconcile/run/metrics.hpp"

namespace endstate::observe {

struct Records {  // all of the meta cluster, of all namespaces
  std::vector<reconcile::Ref<v1alpha1::Cluster>> clusters;
  std::vector<reconcile::Ref<v1alpha1::MachineSet>> sets;
  std::vector<reconcile::Ref<v1alpha1::Machine>> machines;
  std::vector<reconcile::Ref<v1alpha1::Host>> hosts;
  std::vector<reconcile::Ref<v1alpha1::ChangeBudget>> budgets;
  std::vector<reconcile::Ref<v1alpha1::MetricSource>> sources;
};

// Always the same families in the same order; those that have nothing to say have no series.
std::vector<reconcile::GaugeFamily> state_metrics(const Records& records);

}  // namespace endstate::observe
