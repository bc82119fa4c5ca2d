#include "controllers/metric_source/loop.hpp"

#include "controllers/metric_source/plan.hpp"

namespace endstate::metric_source {
namespace {

void itself(const reconcile::View&, std::string_view, const void*, const void* after, const std::function<void(reconcile::Key)>& enqueue) {
  if (after) enqueue(static_cast<const api::MetricSource*>(after)->metadata.key());
}

}  // namespace

const reconcile::Kind& MetricSourceLoop::kind() const { return reconcile::kind_of<api::MetricSource>; }

std::vector<reconcile::Source> MetricSourceLoop::sources() const {
  return {{.kind = &reconcile::kind_of<api::MetricSource>, .keys = itself}};
}

std::function<reconcile::Plan()> MetricSourceLoop::observe(const reconcile::Snapshot& given, const reconcile::Key& key) const {
  Snapshot s;
  s.source = given.view.get<api::MetricSource>("", key.name_space, key.name);
  if (!s.source) return nullptr;
  s.now = std::chrono::floor<std::chrono::seconds>(given.now.wall);
  if (const auto it = given.memory.facts.find(up_query); it != given.memory.facts.end()) s.answer = it->second;
  return [s = std::move(s)] { return plan(s); };
}

}  // namespace endstate::metric_source
