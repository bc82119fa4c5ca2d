#include "controllers/machine_set/loop_preflight.hpp"

#include <algorithm>

#include "controllers/common/indexes.hpp"
#include "controllers/guard/zones.hpp"
#include "controllers/machine_set/preflight.hpp"

namespace endstate::machine_set {
namespace {

using reconcile::View;

// What the runtime was told when a plan asked: an HTTP answer of whatever status, or why none came. A body that is longer than was asked
// for (Code::invalid) is cut short: the artifact is there.
void read_answers(const reconcile::Memory& memory, PreflightInput& in) {
  for (const auto& [id, fact] : memory.facts) {
    if (!is_artifact_question(id)) continue;
    const bool cut_short = !fact.body && fact.body.error().code == reconcile::Code::invalid && id.starts_with(get_id(""));
    in.answers.emplace(
        id, ArtifactAnswer{.status = cut_short ? 200 : fact.status, .error = fact.body ? std::string() : fact.body.error().message});
  }
}

void read_budgets(const View& view, const Snapshot& s, PreflightInput& in) {
  const auto& name_space = s.set->metadata.name_space;
  const auto& name = s.set->spec.cluster_name;
  const auto cluster = view.get<api::Cluster>("", name_space, name);
  if (!cluster) return;
  for (auto& budget : view.list<api::ChangeBudget>(""))
    if (api::matches(budget->spec.cluster_selector, cluster->metadata.labels)) in.budgets.push_back(std::move(budget));
  in.zones = guard::zones_of(in.budgets, s.now);
  auto ledger = view.get<api::GuardLedger>("", name_space, name);
  if (ledger && ledger->spec.cluster_uid == cluster->metadata.uid) in.ledger = std::move(ledger);
  if (!in.budgets.empty() && in.ledger) in.cluster_machines = view.by_index<api::Machine>("", machines_by_cluster, path(name_space, name));
}

void read_hosts(const View& view, const Snapshot& s, PreflightInput& in) {
  const bool sized = std::any_of(in.packages.begin(), in.packages.end(), [](const auto& p) {
    const auto& artifacts = p->spec.install.artifacts;
    return std::any_of(artifacts.begin(), artifacts.end(), [](const api::Artifact& a) { return a.size.has_value(); });
  });
  if (!sized) return;
  in.hosts.reserve(s.machines.size());
  for (const auto& m : s.machines)
    if (m->status.host_ref && !m->metadata.deleting())
      in.hosts.push_back(
          {m->metadata.labels.get(api::label::revision), view.get<api::Host>("", m->metadata.name_space, m->status.host_ref->name)});
}

}  // namespace

void read_preflight(const View& view, const reconcile::Memory& memory, Snapshot& s) {
  if (!preflight_is_near(*s.set)) return;
  auto& in = s.preflight.emplace();
  in.known = view.synced<api::ChangeBudget>("") && view.synced<api::GuardLedger>("") && view.synced<api::Host>("");
  for (const auto& slot : s.set->spec.template_.spec.packages)
    if (auto package = view.get<api::MachinePackageVersion>("", {}, slot.version_ref.name)) in.packages.push_back(std::move(package));
  read_answers(memory, in);
  read_budgets(view, s, in);
  read_hosts(view, s, in);
}

}  // namespace endstate::machine_set
