#include "src/kubectl/world.hpp"

#include <set>

#include "controllers/common/indexes.hpp"
#include "controllers/guard/zones.hpp"
#include "controllers/machine_set/adoption.hpp"
#include "controllers/machine_set/cluster_facts.hpp"
#include "controllers/machine_set/names.hpp"
#include "reconcile/kube/url.hpp"

namespace endstate::kubectl {

namespace api = v1alpha1;
using api::PreflightCheck;
using reconcile::Code, reconcile::ControllerRevision, reconcile::fail, reconcile::Text;

namespace {

constexpr std::chrono::minutes new_cluster{10};  // the guard's own: so long a Cluster without an account is a new one

// What the files say takes the place of what is there.
template <class T>
void put(std::vector<Ref<T>>& all, const std::vector<Ref<T>>& from) {
  for (const auto& o : from) {
    std::erase_if(all, [&](const Ref<T>& other) { return other->metadata.key() == o->metadata.key(); });
    all.push_back(o);
  }
  std::sort(all.begin(), all.end(), [](const Ref<T>& a, const Ref<T>& b) { return a->metadata.key() < b->metadata.key(); });
}

}  // namespace

std::vector<machine_set::Revision> plan_revisions_of(const api::MachineSet& set, const std::vector<Ref<ControllerRevision>>& objects) {
  std::vector<machine_set::Revision> out;
  reconcile::Pool pool;
  const auto prefix = machine_set::revision_name(set.metadata.name, "");
  for (const auto& object : objects) {
    const auto name = object->metadata.name.view();
    if (!name.starts_with(prefix) || object->metadata.deleting()) continue;
    auto decoded = reconcile::decode<api::MachineTemplate>(object->data.raw, pool);
    if (!decoded) continue;
    auto canonical = machine_set::canonical_template(*decoded);
    out.push_back({.hash = name.substr(prefix.size()),
                   .name = object->metadata.name,
                   .uid = object->metadata.uid,
                   .resource_version = object->metadata.resource_version,
                   .number = object->revision,
                   .template_ = std::move(*decoded),
                   .canonical = std::move(canonical)});
  }
  return out;
}

void World::note(std::string text) {
  if (std::find(notes_.begin(), notes_.end(), text) == notes_.end()) notes_.push_back(std::move(text));
}

template <class T>
std::optional<std::vector<Ref<T>>> World::may_list(std::string_view name_space, std::string_view what, std::string_view missing,
                                                   std::string* why) {
  auto all = client_.list<T>(name_space);
  if (all) return std::move(*all);
  const std::string because = all.error().code == Code::forbidden ? "you have no right to list " + std::string(what)
                                                                  : std::string(what) + " can't be listed (" + all.error().message + ")";
  if (why) *why = because;
  note(because + ": " + std::string(missing));
  return std::nullopt;
}

Result<Refs<api::Machine>> World::machines(const std::string& name_space) {
  if (const auto it = machines_.find(name_space); it != machines_.end()) return it->second;
  auto all = client_.list<api::Machine>(name_space);
  if (!all) return fail(std::move(all.error()));
  return machines_[name_space] = std::move(*all);
}

Result<std::vector<Ref<ControllerRevision>>> World::revisions(const api::MachineSet& set) {
  return client_.list<ControllerRevision>(
      set.metadata.name_space,
      reconcile::encode_query({{"labelSelector", std::string(api::label::set_uid) + "=" + set.metadata.uid.str()}}));
}

std::vector<Ref<api::ChangeBudget>> World::budgets(const api::Cluster& cluster) {
  if (!budgets_) {
    budgets_ = may_list<api::ChangeBudget>({}, "changebudgets.endstate.dev", "no budget is taken into account but those in your files",
                                           &why_no_budgets_);
    if (!*budgets_) *budgets_ = std::vector<Ref<api::ChangeBudget>>();
    put(**budgets_, overrides_.budgets);
  }
  std::vector<Ref<api::ChangeBudget>> out;
  for (const auto& b : **budgets_)
    if (api::matches(b->spec.cluster_selector, cluster.metadata.labels) && !b->metadata.deleting()) out.push_back(b);
  return out;
}

Result<Ref<api::Cluster>> World::cluster(const api::MachineSet& set) {
  for (const auto& c : overrides_.clusters)
    if (c->metadata.name_space == set.metadata.name_space && c->metadata.name == set.spec.cluster_name) return c;
  auto found = client_.get<api::Cluster>(set.metadata.name_space, set.spec.cluster_name);
  if (!found && found.error().code == Code::not_found) return Ref<api::Cluster>();
  return found;
}

// A check that asks a source that isn't there could never pass.
void World::look_at_sources(const api::MachineSet& set) {
  std::vector<Text> wanted;
  for (const auto& step : set.spec.rollout.steps)
    if (step.analysis)
      for (const auto& check : step.analysis->checks) wanted.push_back(check.source_ref.name);
  if (wanted.empty()) return;
  auto all = may_list<api::MetricSource>(set.metadata.name_space, "metricsources.endstate.dev",
                                         "whether those of the analysis exist is not known");
  if (!all) return;
  put(*all, overrides_.sources);
  for (const auto& name : wanted) {
    const auto is_it = [&](const Ref<api::MetricSource>& m) {
      return m->metadata.name == name && m->metadata.name_space == set.metadata.name_space;
    };
    if (std::none_of(all->begin(), all->end(), is_it))
      note("machineset/" + set.metadata.name.str() + ": MetricSource " + name.str() +
           ", which its analysis asks, doesn't exist: the rollout would pause there");
  }
}

void World::cannot(machine_set::PreviewInput& in, std::initializer_list<api::PreflightCheck> checks, const std::string& why) {
  for (const auto check : checks)
    if (std::none_of(in.unjudged.begin(), in.unjudged.end(), [&](const auto& u) { return u.check == check; }))
      in.unjudged.push_back({check, Text(why)});
}

void World::read_cluster(machine_set::PreviewInput& in) {
  const auto& set = *in.set;
  auto of = cluster(set);
  if (!of) {
    const std::string why = "cluster " + set.spec.cluster_name.str() + " can't be read (" + of.error().message + ")";
    note(why + ": it is taken to be well, and no budget is taken into account");
    in.cluster.found = true;
    return cannot(in, {PreflightCheck::cluster_healthy, PreflightCheck::version_skew, PreflightCheck::budget_open}, why);
  }
  if (!*of) return;
  const auto& c = **of;
  in.cluster = machine_set::facts_of(c, in.now);
  in.budgets = budgets(c);
  in.zones = guard::zones_of(in.budgets, in.now);
  if (!why_no_budgets_.empty()) cannot(in, {PreflightCheck::budget_open}, why_no_budgets_);
  auto ledger = client_.get<api::GuardLedger>(set.metadata.name_space, c.metadata.name);
  const bool is_new = in.now - c.metadata.creation_timestamp.value_or(in.now) < new_cluster;
  if (ledger && (*ledger)->spec.cluster_uid == c.metadata.uid) {
    in.ledger = (*ledger)->status;
  } else if (ledger || ledger.error().code == Code::not_found) {  // that of an earlier Cluster by this name is none
    in.ledger_trusted = is_new || in.budgets.empty();
  } else {
    const std::string why = "the cluster's GuardLedger can't be read (" + ledger.error().message + ")";
    note(why + ": what was done lately doesn't count in the windows");
    cannot(in, {PreflightCheck::budget_open}, why);
  }
}

// Revisions that a set of this name left behind: the operator takes them up with the machines (controllers/machine_set/adoption.hpp).
void World::add_orphan_revisions(machine_set::PreviewInput& in) {
  if (in.orphans.empty()) return;
  auto all = client_.list<ControllerRevision>(in.set->metadata.name_space,
                                              reconcile::encode_query({{"labelSelector", std::string(api::label::set_uid)}}));
  if (!all)
    return note("controllerrevisions.apps can't be listed (" + all.error().message +
                "): which revision the machines that are taken up have is not seen");
  std::erase_if(*all, [](const Ref<ControllerRevision>& r) { return r->metadata.controller() != nullptr; });
  for (auto& r : plan_revisions_of(*in.set, *all))
    if (std::none_of(in.revisions.begin(), in.revisions.end(), [&](const auto& other) { return other.name == r.name; }))
      in.revisions.push_back(std::move(r));
}

void World::read_packages(machine_set::PreviewInput& in) {
  if (!packages_) {
    packages_ = may_list<api::MachinePackageVersion>({}, "machinepackageversions.endstate.dev",
                                                     "whether they exist, and whether they drain, is not known", &why_no_packages_);
    if (*packages_) put(**packages_, overrides_.packages);
  }
  in.packages = *packages_;
  if (!why_no_packages_.empty())
    cannot(in, {PreflightCheck::artifacts_reachable, PreflightCheck::version_skew, PreflightCheck::disk_room}, why_no_packages_);
}

void World::read_hosts(machine_set::PreviewInput& in) {
  std::string why;
  auto hosts = may_list<api::Host>(in.set->metadata.name_space, "hosts.endstate.dev", "enough free hosts are assumed", &why);
  if (!hosts) return cannot(in, {PreflightCheck::disk_room}, why);
  std::set<std::string_view> own;
  for (const auto& m : in.machines)
    if (m->status.host_ref) own.insert(m->status.host_ref->name.view());
  in.free_hosts.emplace();
  for (const auto& h : *hosts) {
    if (claimable(*h)) in.free_hosts->emplace_back(api::failure_domain(h->spec.hardware));
    if (own.contains(h->metadata.name.view())) in.hosts.push_back(h);
  }
}

Result<machine_set::PreviewInput> World::input(Ref<api::MachineSet> set, bool exists) {
  const auto name_space = set->metadata.name_space.str();
  machine_set::PreviewInput in;
  in.set = set;
  in.exists = exists;
  in.now = std::chrono::floor<std::chrono::seconds>(client_.now());
  auto all = machines(name_space);
  if (!all) return fail(std::move(all.error()));
  for (const auto& m : *all) {
    const auto* owner = m->metadata.controller();
    const bool mine = exists && owner && owner->uid == set->metadata.uid;
    if (mine)
      in.machines.push_back(m);
    else
      in.taken_names.push_back(m->metadata.name);
    if (!mine && machine_set::may_be_adopted(*set, *m))
      in.orphans.push_back(m);
    else if (!mine && m->spec.cluster_name == set->spec.cluster_name)
      in.others.push_back(m);
  }
  if (exists) {
    auto recorded_ones = revisions(*set);
    if (recorded_ones)
      in.revisions = plan_revisions_of(*set, *recorded_ones);
    else
      note("controllerrevisions.apps can't be listed (" + recorded_ones.error().message +
           "): that a template was there before is not seen");
  }
  add_orphan_revisions(in);
  read_cluster(in);
  read_packages(in);
  read_hosts(in);
  if (const auto& after = set->spec.rollout.after) {
    const auto find = [&](const Text& name) {
      auto other = client_.get<api::MachineSet>(name_space, name);
      return other ? *other : Ref<api::MachineSet>();
    };
    in.after = find(after->name);
    in.after_that = machine_set::chain_after(*set, in.after, find);
  }
  look_at_sources(*set);
  return in;
}

}  // namespace endstate::kubectl
