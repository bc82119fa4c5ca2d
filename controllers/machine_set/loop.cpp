#include "controllers/machine_set/loop.hpp"

#include <algorithm>

#include "apis/v1alpha1/packages.hpp"
#include "controllers/common/cluster_sight.hpp"
#include "controllers/common/indexes.hpp"
#include "controllers/common/machine_state.hpp"
#include "controllers/machine_set/adoption.hpp"
#include "controllers/machine_set/audit.hpp"
#include "controllers/machine_set/cluster_facts.hpp"
#include "controllers/machine_set/loop_audit.hpp"
#include "controllers/machine_set/loop_preflight.hpp"
#include "controllers/machine_set/names.hpp"
#include "controllers/machine_set/plan.hpp"
#include "controllers/machine_set/probe.hpp"
#include "reconcile/json/decode.hpp"
#include "reconcile/kube/core.hpp"

namespace endstate::machine_set {
namespace {

using reconcile::ControllerRevision, reconcile::Key, reconcile::kind_of, reconcile::View;
using Enqueue = std::function<void(Key)>;

template <class T>
const T* as(const void* object) {
  return static_cast<const T*>(object);
}

// ---- observe ----

void read_packages(const View& view, Snapshot& s) {
  for (const auto& slot : s.set->spec.template_.spec.packages) {
    const auto& name = slot.version_ref.name;
    if (view.get<api::MachinePackageVersion>("", {}, name)) continue;
    if (std::find(s.unknown_packages.begin(), s.unknown_packages.end(), name) == s.unknown_packages.end())
      s.unknown_packages.push_back(name);
  }
}

// Names are free when no Machine of the namespace has them, whosever it is.
void choose_names(const View& view, Snapshot& s) {
  const auto& meta = s.set->metadata;
  const auto replicas = api::replicas(s.set->spec);
  const auto most = replicas + std::max<std::int64_t>(0, api::scaled(api::max_surge(s.set->spec.rollout), replicas, true));
  const auto missing = most - static_cast<std::int64_t>(s.machines.size());
  const auto wanted = static_cast<std::size_t>(std::clamp<std::int64_t>(missing, 0, max_actions));
  for (std::uint64_t ordinal = 0; s.free_names.size() < wanted && ordinal < max_ordinals; ++ordinal) {
    const auto name = machine_name(meta.name, meta.uid, ordinal);
    if (view.get<api::Machine>("", meta.name_space, name)) continue;
    const bool twice = std::any_of(s.free_names.begin(), s.free_names.end(), [&](const Text& t) { return t == name; });
    if (!twice) s.free_names.emplace_back(name);
  }
}

// With sight of its connection. Asking how the connection is has the key come again when that changes.
void read_orphans(const View& view, Snapshot& s) {
  const auto& set = *s.set;
  for (auto& m : view.by_index<api::Machine>("", machines_without_owner, path(set.metadata.name_space, set.spec.cluster_name)))
    if (may_be_adopted(set, *m)) s.orphans.push_back(std::move(m));
  const auto of_this_name = path(set.metadata.name_space, set.metadata.name);
  s.orphan_revisions = view.by_index<ControllerRevision>("", revisions_without_owner, of_this_name);
  std::erase_if(s.orphan_revisions, [&](const auto& r) {
    reconcile::Pool pool;
    return r->metadata.deleting() || r->metadata.labels.get(api::label::set_uid) == set.metadata.uid.view() ||
           !reconcile::decode<api::MachineTemplate>(r->data.raw, pool);
  });
}

void read_cluster(const reconcile::Snapshot& given, Snapshot& s) {
  const auto cluster = given.view.get<api::Cluster>("", s.set->metadata.name_space, s.set->spec.cluster_name);
  if (!cluster) return;
  const auto connection = connection_of(*cluster);
  s.cluster = facts_of(*cluster, cluster_sight(given, connection), s.now);
}

// ---- what a step's analysis reads ----

bool asks(const api::MachineSet& set, std::string_view source) {
  for (const auto& step : set.spec.rollout.steps)
    if (step.analysis)
      for (const auto& check : step.analysis->checks)
        if (check.source_ref.name == source) return true;
  return false;
}

void read_metric_sources(const View& view, Snapshot& s) {
  for (const auto& step : s.set->spec.rollout.steps) {
    if (!step.analysis) continue;
    for (const auto& check : step.analysis->checks) {
      const auto& name = check.source_ref.name;
      const bool known =
          std::any_of(s.metric_sources.begin(), s.metric_sources.end(), [&](const auto& x) { return x->metadata.name == name; });
      if (known) continue;
      if (auto source = view.get<api::MetricSource>("", s.set->metadata.name_space, name)) s.metric_sources.push_back(std::move(source));
    }
  }
}

void read_refused_jobs(const reconcile::Memory& memory, Snapshot& s) {
  for (const auto& failure : memory.failures)
    if (failure.verb == reconcile::Verb::create && failure.resource == kind_of<reconcile::Job>.resource)
      s.refused_jobs.emplace(failure.name.str(), failure.error);
}

// What the API server said no to, itself or by a webhook. A conflict is no refusal, and an answer that never came is none.
bool is_refusal(const reconcile::Error& e) {
  using reconcile::Code;
  if (e.code == Code::forbidden || e.code == Code::invalid) return true;
  return (e.code == Code::unavailable || e.code == Code::maybe_done) && e.reason == "InternalError";  // "failed calling webhook ..."
}
void read_refusals(const reconcile::Memory& memory, Snapshot& s) {
  for (const auto& failure : memory.failures) {
    if (!failure.resource || !is_refusal(failure.error)) continue;
    if (failure.resource == kind_of<api::Machine>.resource)
      s.refused.push_back({failure.verb, failure.name, failure.error.message});
    else if (failure.resource == kind_of<ControllerRevision>.resource && failure.verb == reconcile::Verb::create)
      s.refused_revision = failure.error.message;
  }
}

std::optional<std::vector<reconcile::Pod>> read_pods(const std::string& body) {
  reconcile::Pool pool;
  auto list = reconcile::decode<reconcile::PodList>(body, pool);
  return list ? std::optional(std::move(list->items)) : std::nullopt;
}
std::string job_of_question(std::string_view id, std::string_view prefix) {
  return std::string(job_prefix) + std::string(id.substr(prefix.size()));
}

// On the worker: facts as they came, into what they say.
void read_facts(const std::vector<std::pair<std::string, reconcile::Fact>>& facts, Snapshot& s) {
  for (const auto& [id, fact] : facts) {
    if (id == editor_question && fact.body) s.editor = last_editor(*fact.body, *s.set);
    if (id.starts_with("adopt/") && fact.body && id == adoption_question(s.orphans)) {
      reconcile::Pool pool;
      const auto set = reconcile::decode<api::MachineSet>(*fact.body, pool);
      s.may_adopt = set && set->metadata.uid == s.set->metadata.uid && !set->metadata.deleting();
    }
    if (id.starts_with("check/")) s.answers.emplace(id, metrics::read_answer(fact));
    if (id.starts_with(pods_prefix) && fact.body) s.jobs[job_of_question(id, pods_prefix)].pods = read_pods(*fact.body);
    if (id.starts_with(events_prefix) && fact.body)
      s.jobs[job_of_question(id, events_prefix)].failed_creates = read_failed_creates(*fact.body);
    if (!id.starts_with(job_prefix)) continue;
    JobSeen& seen = s.jobs[id];
    reconcile::Pool pool;
    if (fact.body) {
      if (auto job = reconcile::decode<reconcile::Job>(*fact.body, pool))
        seen.job = std::move(*job);
      else
        seen.error = job.error();
    } else if (fact.body.error().code != reconcile::Code::not_found) {
      seen.error = fact.body.error();
    }
  }
}

// A revision that another has by the name that we'd give: our watch, which sees only what carries our label, can't show it.
void read_taken_names(const reconcile::Memory& memory, Snapshot& s) {
  for (const auto& failure : memory.failures)
    if (failure.error.code == reconcile::Code::exists && failure.resource == kind_of<ControllerRevision>.resource)
      s.taken_revision_names.push_back(failure.name);
}

// An absence means something only when every list is complete and its watch has contact.
bool is_fresh(const View& view) {
  const auto live = [&]<class T>(const T*) { return view.synced<T>("") && view.lag<T>("").count() == 0; };
  return live(static_cast<const api::Machine*>(nullptr)) && live(static_cast<const api::MachineSet*>(nullptr)) &&
         live(static_cast<const ControllerRevision*>(nullptr)) && live(static_cast<const api::Cluster*>(nullptr)) &&
         live(static_cast<const api::MachinePackageVersion*>(nullptr)) && live(static_cast<const api::MetricSource*>(nullptr));
}

// What can't be read (somebody edited it) is as if it weren't there: nothing is made of it, and nothing goes back to it.
std::vector<Revision> decode_revisions(const std::vector<Ref<ControllerRevision>>& objects, const api::MachineSet& set) {
  std::vector<Revision> out;
  reconcile::Pool pool;
  const auto prefix = revision_name(set.metadata.name, "");
  for (const auto& object : objects) {
    const auto name = object->metadata.name.view();
    if (!name.starts_with(prefix) || object->metadata.deleting()) continue;
    auto decoded = reconcile::decode<api::MachineTemplate>(object->data.raw, pool);
    if (!decoded) continue;
    Revision r;
    r.hash = name.substr(prefix.size());
    r.name = object->metadata.name;
    r.uid = object->metadata.uid;
    r.resource_version = object->metadata.resource_version;
    r.number = object->revision;
    const auto* owner = object->metadata.controller();
    r.owned = owner && owner->uid == set.metadata.uid;
    r.canonical = canonical_template(*decoded);  // the API server may have written it another way
    r.template_ = std::move(*decoded);
    out.push_back(std::move(r));
  }
  return out;
}

// ---- sources ----

// Nobody owns it: some set may want it.
void wake_adopters(const View& view, const api::Machine& m, const Enqueue& enqueue) {
  for (const auto& set : view.by_index<api::MachineSet>("", sets_by_cluster, path(m.metadata.name_space, m.spec.cluster_name)))
    if (may_be_adopted(*set, m)) enqueue(set->metadata.key());
}

void machine_changed(const View& view, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
  for (const void* object : {before, after}) {
    if (!object) continue;
    const auto& meta = as<api::Machine>(object)->metadata;
    const auto* owner = meta.controller();
    if (!owner && object == after) wake_adopters(view, *as<api::Machine>(object), enqueue);
    if (!owner || !(owner->kind == "MachineSet")) continue;
    const auto set = view.get<api::MachineSet>("", meta.name_space, owner->name);
    if (set && set->metadata.uid == owner->uid) enqueue(set->metadata.key());
  }
}

void set_changed(const View& view, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
  const auto& meta = as<api::MachineSet>(after ? after : before)->metadata;
  enqueue(meta.key());
  for (const auto& waiting : view.by_index<api::MachineSet>("", sets_by_after, path(meta.name_space, meta.name)))
    enqueue(waiting->metadata.key());
}

void revision_changed(const View& view, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
  for (const auto& set : sets_of(view, *as<ControllerRevision>(after ? after : before))) enqueue(set->metadata.key());
}

void cluster_changed(const View& view, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
  const auto* a = as<api::Cluster>(before);
  const auto* b = as<api::Cluster>(after);
  const auto ready = [](const api::Cluster& c) { return reconcile::is_true(c.status.conditions, api::condition::ready); };
  if (a && b && is_paused(*a) == is_paused(*b) && a->metadata.deleting() == b->metadata.deleting() && ready(*a) == ready(*b) &&
      a->status.control_plane.version == b->status.control_plane.version && takes_machines(*a) == takes_machines(*b) &&
      a->status.blind == b->status.blind)
    return;
  const auto& meta = (b ? b : a)->metadata;
  for (const auto& set : view.by_index<api::MachineSet>("", sets_by_cluster, path(meta.name_space, meta.name)))
    enqueue(set->metadata.key());
}

void package_changed(const View& view, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
  if (before && after) return;  // immutable: only its status changed
  const auto& meta = as<api::MachinePackageVersion>(after ? after : before)->metadata;
  for (const auto& set : view.by_index<api::MachineSet>("", sets_by_package, meta.name)) enqueue(set->metadata.key());
}

// Whether it answers is no news: that the checks find out for themselves.
void metric_source_changed(const View& view, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
  const auto* a = as<api::MetricSource>(before);
  const auto* b = as<api::MetricSource>(after);
  if (a && b && a->spec == b->spec) return;
  const auto& meta = (b ? b : a)->metadata;
  for (const auto& set : view.list<api::MachineSet>(""))
    if (set->metadata.name_space == meta.name_space && asks(*set, meta.name.view())) enqueue(set->metadata.key());
}

// A budget that is edited may let a pre-flight through. What a clock or the account decides is looked at again anyway.
void budget_changed(const View& view, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
  if (before && after && as<api::ChangeBudget>(before)->spec == as<api::ChangeBudget>(after)->spec) return;
  for (const auto& set : view.list<api::MachineSet>("")) {
    const auto& st = set->status.rollout;
    if (st && st->step.empty() && std::any_of(st->preflight.begin(), st->preflight.end(), [](const api::PreflightStatus& c) {
          return c.check == api::PreflightCheck::budget_open && c.result == api::PreflightResult::failed;
        }))
      enqueue(set->metadata.key());
  }
}

}  // namespace

const reconcile::Kind& MachineSetLoop::kind() const { return kind_of<api::MachineSet>; }

std::function<reconcile::Plan()> MachineSetLoop::observe(const reconcile::Snapshot& given, const Key& key) const {
  const auto& view = given.view;
  Snapshot s;
  s.set = view.get<api::MachineSet>("", key.name_space, key.name);
  if (!s.set) return nullptr;
  s.now = std::chrono::floor<std::chrono::seconds>(given.now.wall);
  s.fresh = is_fresh(view);
  s.machines = machines_of(view, *s.set);
  if (const auto& after = s.set->spec.rollout.after) {
    const auto find = [&](const Text& name) { return view.get<api::MachineSet>("", key.name_space, name); };
    s.after = find(after->name);
    s.after_that = chain_after(*s.set, s.after, find);
  }
  read_orphans(view, s);
  read_cluster(given, s);
  read_packages(view, s);
  choose_names(view, s);
  read_taken_names(given.memory, s);
  read_metric_sources(view, s);
  read_refused_jobs(given.memory, s);
  read_refusals(given.memory, s);
  read_preflight(view, given.memory, s);
  auto objects = revisions_of(view, *s.set);
  std::vector<std::pair<std::string, reconcile::Fact>> facts(given.memory.facts.begin(), given.memory.facts.end());
  return [s = std::move(s), objects = std::move(objects), facts = std::move(facts)]() mutable {
    read_facts(facts, s);
    s.revisions = decode_revisions(objects, *s.set);
    return plan(s);
  };
}

std::vector<reconcile::Source> MachineSetLoop::sources() const {
  std::vector<reconcile::Source> all;
  all.push_back({.kind = &kind_of<api::MachineSet>, .keys = set_changed});
  all.push_back({.kind = &kind_of<api::Machine>, .keys = machine_changed});
  all.push_back({.kind = &kind_of<ControllerRevision>, .selector = "labelSelector=endstate.dev%2Fset-uid", .keys = revision_changed});
  all.push_back({.kind = &kind_of<api::Cluster>, .keys = cluster_changed});
  all.push_back({.kind = &kind_of<api::MachinePackageVersion>, .keys = package_changed});
  all.push_back({.kind = &kind_of<api::MetricSource>, .keys = metric_source_changed});
  all.push_back({.kind = &kind_of<api::ChangeBudget>, .keys = budget_changed});
  all.push_back({.kind = &kind_of<api::GuardLedger>, .keys = nullptr});
  all.push_back({.kind = &kind_of<api::Host>, .keys = nullptr});
  return all;
}

}  // namespace endstate::machine_set
