#include "controllers/guard/ledger_guard_fleets.hpp"

#include <algorithm>

#include "controllers/common/indexes.hpp"
#include "controllers/common/machine_state.hpp"

namespace endstate::guard {

namespace api = v1alpha1;
using namespace std::chrono_literals;
using reconcile::Key, reconcile::Kind, reconcile::kind_of, reconcile::Ref;

namespace {

constexpr auto compare_period = 60s;  // each cluster, where there are few; at most ten clusters a second

Key cluster_of(const api::Machine& m) { return {m.metadata.name_space, m.spec.cluster_name}; }

// A claim is made in the Machine's namespace, with the cluster's name as a label by the same write.
Key cluster_of(const api::Host& h) {
  if (!claim_of(h)) return {};
  return {h.metadata.name_space, h.metadata.labels.get(api::label::cluster_name)};
}

// A business cluster's word counts for that cluster alone. In the meta cluster's own connection it is endstate's.
Key cluster_of(std::string_view connection, const api::HostAssignment& a) {
  if (const auto slash = connection.find('/'); slash != std::string_view::npos)
    return {connection.substr(0, slash), connection.substr(slash + 1)};
  const auto machine = a.metadata.annotations.get(api::annotation::machine);
  const auto slash = machine.find('/');
  if (slash == std::string_view::npos) return {};
  return {machine.substr(0, slash), a.metadata.labels.get(api::label::cluster_name)};
}

template <class T>
Ref<T> as(const Ref<void>& object) {
  return std::static_pointer_cast<const T>(object);
}

}  // namespace

Fleets::Fleets(reconcile::Env& env, const reconcile::View& view, std::function<bool()> counts, reconcile::Metrics& metrics,
               reconcile::Log log)
    : env_(env), view_(view), counts_(std::move(counts)), metrics_(metrics), log_(std::move(log)) {}

void Fleets::follow(reconcile::Caches& caches) {
  caches_ = &caches;
  caches.on_change([this](std::string_view connection, const Kind& kind, const Ref<void>& before, const Ref<void>& after) {
    changed(connection, kind, before, after);
  });
  for (const auto& cluster : view_.list<api::Cluster>("")) recount(cluster->metadata.key());
  compare_later();
}

const Fleet& Fleets::of(const Key& cluster) {
  if (is_following()) return fleets_[cluster];
  scratch_ = count(objects(cluster));
  return scratch_;
}

FleetObjects Fleets::objects(const Key& cluster) const {
  FleetObjects out;
  out.cluster = view_.get<api::Cluster>("", cluster.name_space, cluster.name);
  out.machines = view_.by_index<api::Machine>("", machines_by_cluster, cluster.str());
  for (auto& host : view_.by_index<api::Host>("", hosts_used, cluster.name_space))
    if (cluster_of(*host) == cluster) out.hosts.push_back(std::move(host));
  if (!out.cluster) return out;
  const auto connection = connection_of(*out.cluster);
  for (auto& a : view_.list<api::HostAssignment>(connection))
    if (cluster_of(connection, *a) == cluster && !is_observed(*a)) out.assignments.push_back(std::move(a));
  return out;
}

void Fleets::recount(const Key& cluster) {
  if (is_following()) fleets_[cluster] = count(objects(cluster));
}

// ---- changes ----

void Fleets::changed(std::string_view connection, const Kind& kind, const Ref<void>& before, const Ref<void>& after) {
  if (&kind == &kind_of<api::HostAssignment>)
    return changed_assignment(connection, as<api::HostAssignment>(before).get(), as<api::HostAssignment>(after).get());
  if (!connection.empty()) return;
  if (&kind == &kind_of<api::Machine>) return changed_machine(as<api::Machine>(before), as<api::Machine>(after));
  if (&kind == &kind_of<api::Host>) return changed_host(as<api::Host>(before).get(), as<api::Host>(after).get());
  if (&kind == &kind_of<api::ChangeBudget>) {
    for (const auto& [cluster, fleet] : fleets_) touched(cluster);
  }
  if (&kind != &kind_of<api::Cluster>) return;
  const auto cluster = (after ? as<api::Cluster>(after) : as<api::Cluster>(before))->metadata.key();
  fleets_[cluster].put(after ? *as<api::Cluster>(after) : api::Cluster());
  touched(cluster);
}

void Fleets::changed_machine(const Ref<api::Machine>& before, const Ref<api::Machine>& after) {
  if (before && (!after || !(cluster_of(*before) == cluster_of(*after)))) {
    fleets_[cluster_of(*before)].remove_machine(before->metadata.uid);
    touched(cluster_of(*before));
  }
  if (!after) return;
  fleets_[cluster_of(*after)].put(after);
  touched(cluster_of(*after));
}

void Fleets::changed_host(const api::Host* before, const api::Host* after) {
  const auto from = before ? cluster_of(*before) : Key(), to = after ? cluster_of(*after) : Key();
  if (!from.name.empty() && !(from == to)) {
    fleets_[from].remove_host(before->metadata.uid);
    touched(from);
  }
  if (to.name.empty()) return;
  fleets_[to].put(*after);
  touched(to);
}

void Fleets::changed_assignment(std::string_view connection, const api::HostAssignment* before, const api::HostAssignment* after) {
  const auto from = before ? cluster_of(connection, *before) : Key(), to = after ? cluster_of(connection, *after) : Key();
  if (!from.name.empty() && !(from == to)) fleets_[from].remove_assignment(before->metadata.name);
  if (!to.name.empty()) fleets_[to].put(*after);
}

void Fleets::touched(const Key& cluster) {
  if (on_change) on_change(cluster);
}

// ---- counting anew ----

void Fleets::compare_later() {
  const auto n = std::clamp<std::size_t>(fleets_.size(), 1, 600);
  timer_ = env_.at(env_.now().mono + compare_period / n, [this] {
    compare_later();
    if (fleets_.empty() || job_ || (counts_ && !counts_())) return;
    auto at = fleets_.upper_bound(next_);
    if (at == fleets_.end()) at = fleets_.begin();
    next_ = at->first;
    compare(Key(at->first));
  });
}

void Fleets::compare(const Key& cluster) {
  job_ = env_.compute([this, cluster, objects = objects(cluster), was = fleets_[cluster].counts()]() -> std::function<void()> {
    const bool equal = count(objects).counts() == was;
    return [this, cluster, equal] {
      job_.reset();
      metrics_.add("guard_recounts_total", "How often what is under way was counted anew.", {});
      if (equal) return;
      metrics_.add("guard_recount_mismatches_total", "Counts of what is there and under way that were wrong: bugs.",
                   {{"cluster", cluster.str()}});
      log_(reconcile::Level::error, "what is under way was counted wrong: it is counted anew", {{"cluster", cluster.str()}});
      recount(cluster);
      touched(cluster);
    };
  });
}

// ---- what the caches have reached ----

api::LedgerSeen Fleets::seen() const {
  if (!caches_) return {};
  const auto newest = [this](const reconcile::Resource& r) {
    const auto version = caches_->newest_object("", r);
    return version == 0 ? reconcile::Text() : reconcile::Text(std::to_string(version));
  };
  return {.machines = newest(reconcile::resource_of<api::Machine>),
          .hosts = newest(reconcile::resource_of<api::Host>),
          .clusters = newest(reconcile::resource_of<api::Cluster>)};
}

bool Fleets::has_reached(const api::LedgerSeen& seen) const {
  if (!caches_) return true;
  const auto reached = [this](const reconcile::Resource& r, const reconcile::Text& version) {
    return caches_->version("", r) >= reconcile::version_number(version.view());
  };
  return reached(reconcile::resource_of<api::Machine>, seen.machines) && reached(reconcile::resource_of<api::Host>, seen.hosts) &&
         reached(reconcile::resource_of<api::Cluster>, seen.clusters);
}

void Fleets::doubt() {
  if (caches_) caches_->doubt("");
}

std::vector<reconcile::Unreadable> Fleets::unreadable_budgets() const {
  return caches_ ? caches_->unreadable("", kind_of<api::ChangeBudget>) : std::vector<reconcile::Unreadable>();
}

}  // namespace endstate::guard
