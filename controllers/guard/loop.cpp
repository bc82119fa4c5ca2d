#include "controllers/guard/loop.hpp"

#include <algorithm>

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

// The sources of a cluster's namespace that the checks of a budget name.
std::vector<reconcile::Ref<api::MetricSource>> sources_of(const reconcile::View& view, const api::ChangeBudget& budget,
                                                          const reconcile::Key& cluster) {
  std::vector<reconcile::Ref<api::MetricSource>> out;
  for (const auto& check : budget.spec.breaker->checks)
    if (auto source = view.get<api::MetricSource>("", cluster.name_space, check.source_ref.name)) out.push_back(std::move(source));
  return out;
}

// What a budget asks, or whom, concerns the clusters that it selects: there are few budgets, and asking nothing costs nothing.
void all_clusters(const reconcile::View& view, std::string_view, const void*, const void*,
                  const std::function<void(reconcile::Key)>& enqueue) {
  for (const auto& cluster : view.list<api::Cluster>("")) enqueue(cluster->metadata.key());
}

void budget_spec(const reconcile::View& view, std::string_view connection, const void* before, const void* after,
                 const std::function<void(reconcile::Key)>& enqueue) {
  const auto* a = static_cast<const api::ChangeBudget*>(before);
  const auto* b = static_cast<const api::ChangeBudget*>(after);
  if (!a || !b || !(a->spec == b->spec)) all_clusters(view, connection, before, after, enqueue);
}

void source_of_clusters(const reconcile::View& view, std::string_view, const void* before, const void* after,
                        const std::function<void(reconcile::Key)>& enqueue) {
  const auto* a = static_cast<const api::MetricSource*>(before);
  const auto* b = static_cast<const api::MetricSource*>(after);
  if (a && b && a->spec == b->spec) return;
  for (const auto& cluster : view.list<api::Cluster>("", (b ? b : a)->metadata.name_space)) enqueue(cluster->metadata.key());
}

void labels_of_itself(const reconcile::View&, std::string_view, const void* before, const void* after,
                      const std::function<void(reconcile::Key)>& enqueue) {
  const auto* a = static_cast<const api::Cluster*>(before);
  const auto* b = static_cast<const api::Cluster*>(after);
  if (!a || !b || !(a->metadata.labels == b->metadata.labels)) enqueue((b ? b : a)->metadata.key());
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
    const auto of = cluster->metadata.key();
    if (in.budget->spec.breaker && in.missing.empty())
      in.missing = missing_source(*in.budget, of, sources_of(snapshot.view, *in.budget, of));
    auto usage = count_ ? count_(of, *in.budget) : Usage();
    in.accounts.push_back({.cluster = of,
                           .ledger = snapshot.view.get<api::GuardLedger>("", of.name_space, of.name),
                           .in_flight = std::move(usage.in_flight),
                           .too_wide = usage.too_wide});
  }
  in.zones = zones_of({in.budget}, in.now);
  return [in = std::move(in)] { return plan_summary(in); };
}

const reconcile::Kind& ChecksLoop::kind() const { return reconcile::kind_of<api::Cluster>; }

std::vector<reconcile::Source> ChecksLoop::sources() const {
  return {{.kind = &reconcile::kind_of<api::Cluster>, .keys = labels_of_itself},
          {.kind = &reconcile::kind_of<api::ChangeBudget>, .keys = budget_spec},
          {.kind = &reconcile::kind_of<api::MetricSource>, .keys = source_of_clusters}};
}

// Answers are read and counted here, not on a worker: they are a few numbers, and the account that keeps them is this thread's.
std::function<reconcile::Plan()> ChecksLoop::observe(const reconcile::Snapshot& snapshot, const reconcile::Key& key) const {
  const auto cluster = snapshot.view.get<api::Cluster>("", key.name_space, key.name);
  if (!cluster || cluster->metadata.deleting()) return nullptr;
  ChecksInput in{.cluster = key, .now = snapshot.now.wall};
  for (auto& budget : snapshot.view.list<api::ChangeBudget>("")) {
    if (!budget->spec.breaker || budget->spec.breaker->checks.empty()) continue;
    if (!api::matches(budget->spec.cluster_selector, cluster->metadata.labels)) continue;
    for (auto& source : sources_of(snapshot.view, *budget, key)) in.sources.push_back(std::move(source));
    in.budgets.push_back(std::move(budget));
  }
  if (in.budgets.empty()) return [] { return reconcile::Plan(); };
  in.known = book_.checks(key);
  for (const auto& [id, fact] : snapshot.memory.facts) in.answers.emplace(id, metrics::read_answer(fact));
  auto plan = plan_checks(in);
  book_.answered(key, std::move(plan.checks));
  return [queries = std::move(plan.queries), again = plan.again]() mutable {
    reconcile::Plan out;
    out.queries = std::move(queries);
    if (again) out.again = std::chrono::milliseconds(*again);
    return out;
  };
}

}  // namespace endstate::guard
