#include "controllers/observe/loop_state_metrics.hpp"

#include <memory>

#include "controllers/observe/state_metrics.hpp"

namespace endstate::observe {

namespace api = v1alpha1;

namespace {

constexpr std::chrono::seconds look_again{1};  // for the first time after taking over, and until the caches are filled

const reconcile::Kind* const kinds[] = {&reconcile::kind_of<api::Cluster>,      &reconcile::kind_of<api::MachineSet>,
                                        &reconcile::kind_of<api::Machine>,      &reconcile::kind_of<api::Host>,
                                        &reconcile::kind_of<api::ChangeBudget>, &reconcile::kind_of<api::MetricSource>};

}  // namespace

std::vector<std::uint64_t> StateExporter::versions() const {
  std::vector<std::uint64_t> out;
  for (const auto* kind : kinds) {
    if (!caches_.synced("", *kind)) return {};  // an absence means nothing yet
    out.push_back(caches_.version("", *kind->resource));
  }
  return out;
}

void StateExporter::tick() {
  if (!leading_()) {
    if (!counted_.empty()) show(state_metrics({}));
    counted_.clear();
    counting_.reset();
  } else if (auto now = versions(); !now.empty() && now != counted_) {
    counted_ = std::move(now);
    count();
  }
  timer_ = env_.at(env_.now().mono + (counted_.empty() ? look_again : period), [this] { tick(); });
}

void StateExporter::count() {
  auto records = std::make_shared<Records>(Records{.clusters = caches_.list<api::Cluster>(""),
                                                   .sets = caches_.list<api::MachineSet>(""),
                                                   .machines = caches_.list<api::Machine>(""),
                                                   .hosts = caches_.list<api::Host>(""),
                                                   .budgets = caches_.list<api::ChangeBudget>(""),
                                                   .sources = caches_.list<api::MetricSource>("")});
  counting_ = env_.compute([this, records]() -> std::function<void()> {
    auto families = std::make_shared<std::vector<reconcile::GaugeFamily>>(state_metrics(*records));
    return [this, families] { show(*families); };
  });
}

void StateExporter::show(const std::vector<reconcile::GaugeFamily>& families) {
  for (const auto& family : families) metrics_.replace(family);
}

}  // namespace endstate::observe
