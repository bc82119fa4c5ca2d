#include "controllers/guard/loop.hpp"

#include "controllers/guard/summary.hpp"
#include "controllers/guard/zones.hpp"

namespace endstate::guard {

namespace api = v1alpha1;

namespace {

// Any change of a cluster or its ledger concerns the budgets that select it; there are few budgets, and their summaries settle.
void all_budgets(const reconcile::View& view, std::string_view, const void*, const void*,
                 const std::function<void(reconcile::Key)>& enqueue) {
  for (const auto& budget : view.list<api::ChangeBudget>("")) enqueue(budget->metadata.key());
}

void itself(const reconcile::View&, std::string_view, const void*, const void* after, const std::function<void(reconcile::Key)>& enqueue) {
  if (after) enqueue(static_cast<const api::ChangeBudget*>(after)->metadata.key());
}

// A Cluster matters by its labels and by its being there.
void cluster_labels(const reconcile::View& view, std::string_view connection, const void* before, const void* after,
                    const std::function<void(reconcile::Key)>& enqueue) {
  const auto* a = static_cast<const api::Cluster*>(before);
  const auto* b = static_cast<const api::Cluster*>(after);
  if (!a || !b || !(a->metadata.labels == b->metadata.labels)) all_budgets(view, connection, before, after, enqueue);
}

// Whether a source answers is no news: that the checks find out for themselves.
void source_spec(const reconcile::View& view, std::string_view connection, const void* before, const void* after,
                 const std::function<void(reconcile::Key)>& enqueue) {
  const auto* a = static_cast<const api::MetricSource*>(before);
  const auto* b = static_cast<const api::MetricSource*>(after);
  if (!a || !b || !(a->spec == b->spec)) all_budgets(view, connection, before, after, enqueue);
}

// What the breaker's checks need of a cluster: the sources of its namespace that they name.
CheckedCluster checked(const reconcile::View& view, const api::ChangeBudget& budget, const reconcile::Key& cluster) {
  CheckedCluster out{cluster, {}};
  for (const auto& check : budget.spec.breaker->checks)
    if (auto source = view.get<api::MetricSource>("", cluster.name_space, check.source_ref.name)) out.sources.push_back(std::move(source));
  return out;
}

}  // namespace

const reconcile::Kind& BudgetLoop::kind() const { return reconcile::kind_of<api::ChangeBudget>; }

std::vector<reconcile::Source> BudgetLoop::sources() const {
  return {{.kind = &reconcile::kind_of<api::ChangeBudget>, .keys = itself},
          {.kind = &reconcile::kind_of<api::GuardLedger>, .keys = all_budgets},
          {.kind = &reconcile::kind_of<api::Cluster>, .keys = cluster_labels},
          {.kind = &reconcile::kind_of<api::MetricSource>, .keys = source_spec}};
}

std::function<reconcile::Plan()> BudgetLoop::observe(const reconcile::Snapshot& snapshot, const reconcile::Key& key) const {
  BudgetInput in{.budget = snapshot.view.get<api::ChangeBudget>("", {}, key.name), .now = snapshot.now.wall};
  if (!in.budget || in.budget->metadata.deleting()) return nullptr;
  for (const auto& cluster : snapshot.view.list<api::Cluster>("")) {
    if (!api::matches(in.budget->spec.cluster_selector, cluster->metadata.labels)) continue;
    if (in.budget->spec.breaker) in.checked.push_back(checked(snapshot.view, *in.budget, cluster->metadata.key()));
    in.accounts.push_back(
        {cluster->metadata.key(), snapshot.view.get<api::GuardLedger>("", cluster->metadata.name_space, cluster->metadata.name)});
  }
  in.zones = zones_of({in.budget}, in.now);
  std::vector<std::pair<std::string, reconcile::Fact>> facts(snapshot.memory.facts.begin(), snapshot.memory.facts.end());
  return [in = std::move(in), facts = std::move(facts)]() mutable {
    for (const auto& [id, fact] : facts) in.answers.emplace(id, metrics::read_answer(fact));
    return plan_summary(in);
  };
}

}  // namespace endstate::guard
