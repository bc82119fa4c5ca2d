#include "apis/v1alpha1/cluster.hpp"
#include "apis/v1alpha1/names.hpp"
#include "reconcile/kube/url.hpp"
#include "src/kubectl/describe.hpp"
#include "src/kubectl/events.hpp"
#include "src/kubectl/run.hpp"
#include "src/kubectl/world.hpp"

namespace endstate::kubectl {
namespace {

namespace api = v1alpha1;
using reconcile::Code;

void tell(const Session& s, const World& world, Tree tree, const reconcile::ObjectMeta& about) {
  auto events = s.client.list<Event>(about.name_space, reconcile::encode_query({{"fieldSelector", "regarding.uid=" + about.uid.str()}}));
  if (events)
    tell_events(std::move(*events), s.client.now(), tree);
  else
    s.err << "note: its events can't be listed (" << plain(events.error().message) << "): they are not shown\n";
  s.out << draw(tree);
  for (const auto& n : world.notes()) s.err << "note: " << plain(n) << "\n";
}

Refs<api::ChangeBudget> budgets_of(const Session& s, World& world, std::string_view cluster) {
  const auto found = s.client.get<api::Cluster>(s.name_space, cluster);
  return found ? world.budgets(**found) : Refs<api::ChangeBudget>();
}

int set(const Session& s, const std::string& name) {
  const auto found = s.client.get<api::MachineSet>(s.name_space, name);
  if (!found) return s.fail(found.error());
  World world(s.client, {});
  auto all = world.machines(s.name_space);
  if (!all) return s.fail(all.error());
  Refs<api::Machine> own;
  for (const auto& m : *all)
    if (const auto* owner = m->metadata.controller(); owner && owner->uid == (*found)->metadata.uid) own.push_back(m);
  const auto budgets = budgets_of(s, world, (*found)->spec.cluster_name);
  tell(s, world, tree_of(**found, own, budgets, s.client.now()), (*found)->metadata);
  return exit_code::good;
}

// Of a Hosted cluster: what it is made of. Nothing: it can't be read.
std::optional<std::vector<reconcile::Workload>> workloads_of(const Session& s, const api::Cluster& cluster) {
  std::vector<reconcile::Workload> out;
  const auto mine = reconcile::encode_query({{"labelSelector", std::string(api::label::cluster_name) + "=" + cluster.metadata.name.str() +
                                                                   "," + std::string(api::label::component)}});
  const auto deployments = s.client.list<reconcile::Deployment>(s.name_space, mine);
  const auto stores = s.client.list<reconcile::StatefulSet>(s.name_space, mine);
  if (!deployments || !stores) return std::nullopt;
  for (const auto& w : *stores) out.push_back(*w);
  for (const auto& w : *deployments) out.push_back(*w);
  return out;
}

int cluster(const Session& s, const std::string& name) {
  const auto found = s.client.get<api::Cluster>(s.name_space, name);
  if (!found) return s.fail(found.error());
  World world(s.client, {});
  auto sets = s.client.list<api::MachineSet>(s.name_space);
  if (!sets) return s.fail(sets.error());
  auto machines = world.machines(s.name_space);
  if (!machines) return s.fail(machines.error());
  std::erase_if(*sets, [&](const auto& x) { return x->spec.cluster_name != name; });
  std::erase_if(*machines, [&](const auto& x) { return x->spec.cluster_name != name; });
  const auto ledger = s.client.get<api::GuardLedger>(s.name_space, name);
  std::optional<std::vector<reconcile::Workload>> workloads;
  if ((*found)->spec.control_plane.type == api::ControlPlaneType::hosted) workloads = workloads_of(s, **found);
  tell(s, world,
       tree_of(**found, *sets, *machines, world.budgets(**found), ledger ? ledger->get() : nullptr, s.client.now(),
               workloads ? &*workloads : nullptr),
       (*found)->metadata);
  if (!ledger && ledger.error().code == Code::forbidden)
    s.err << "note: you have no right to get its guardledger: permits that were given are not shown\n";
  return exit_code::good;
}

int machine(const Session& s, const std::string& name) {
  const auto found = s.client.get<api::Machine>(s.name_space, name);
  if (!found) return s.fail(found.error());
  Ref<api::Host> host;
  if (const auto& ref = (*found)->status.host_ref)
    if (auto h = s.client.get<api::Host>(s.name_space, ref->name)) host = *h;
  tell(s, World(s.client, {}), tree_of(**found, host.get(), s.client.now()), (*found)->metadata);
  return exit_code::good;
}

}  // namespace

int run_describe(const Session& session, const DescribeArgs& args) {
  if (args.target.kind == "MachineSet") return set(session, args.target.name);
  return args.target.kind == "Cluster" ? cluster(session, args.target.name) : machine(session, args.target.name);
}

}  // namespace endstate::kubectl
