#include "controllers/machine_set/preview_world.hpp"

#include <algorithm>

#include "controllers/common/machine_state.hpp"
#include "controllers/guard/plan.hpp"
#include "controllers/machine_set/facts.hpp"
#include "controllers/machine_set/names.hpp"
#include "controllers/machine_set/preflight.hpp"
#include "controllers/machine_set/write.hpp"
#include "reconcile/kube/core.hpp"

namespace endstate::machine_set {
namespace {

using api::OperationType;
using reconcile::Action, reconcile::Verb;
using std::chrono::seconds;

constexpr std::size_t permits_a_time = 100;  // a whole hundred that is refused speaks for the rest
constexpr auto soonest = seconds(1);
constexpr std::string_view no_host_reason = api::reason::no_free_host;

std::optional<seconds> median(const std::vector<Ref<api::Machine>>& machines, std::initializer_list<OperationType> types) {
  std::vector<seconds> all;
  for (const auto& m : machines) {
    const auto& last = m->status.last_operation;
    if (!last || last->result != api::OperationResult::succeeded || last->start_time == WallTime{} || last->end_time < last->start_time)
      continue;
    if (std::find(types.begin(), types.end(), last->type) == types.end()) continue;
    all.push_back(std::max(soonest, std::chrono::duration_cast<seconds>(last->end_time - last->start_time)));
  }
  if (all.empty()) return std::nullopt;
  const auto middle = all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2);
  std::nth_element(all.begin(), middle, all.end());
  return *middle;
}

void set_ready(api::Machine& m, bool ready, std::string_view reason, WallTime now) {
  reconcile::set_condition(m.status.conditions,
                           {.type = api::condition::ready,
                            .status = ready ? api::ConditionStatus::true_ : api::ConditionStatus::false_,
                            .reason = reason,
                            .message = {},
                            .last_transition_time = now},
                           now);
}

std::string_view operation_name(OperationType type) {
  switch (type) {
    case OperationType::create: return api::operation::machine_create;
    case OperationType::rollback: return api::operation::machine_rollback;
    case OperationType::delete_: return api::operation::machine_delete;
    case OperationType::repair: return api::operation::machine_repair;
    case OperationType::reinstall: return api::operation::machine_reinstall;
    case OperationType::update: break;
  }
  return api::operation::machine_update;
}

}  // namespace

PreviewWorld::PreviewWorld(const PreviewInput& in)
    : set(*in.set), now(in.now), in_(in), orphans_(in.orphans), revisions_(in.revisions), free_hosts_(in.free_hosts), ledger_(in.ledger) {
  if (!in.exists) set.metadata.uid = "preview";
  // What the API server refuses now it is taken to allow then.
  std::erase_if(set.status.conditions, [](const api::Condition& c) { return c.type == api::condition::replica_failure; });
  for (const auto& name : in.taken_names) taken_.insert(name.view());
  measure();
  adopt();
}

// ---- what it begins with ----

void PreviewWorld::measure() {
  const auto given = [&](std::initializer_list<OperationType> types, seconds otherwise) {
    return in_.machine_time ? *in_.machine_time : median(in_.machines, types).value_or(otherwise);
  };
  if (in_.packages) {
    std::map<std::string_view, const api::MachinePackageVersion*> by_name;
    for (const auto& p : *in_.packages) by_name[p->metadata.name.view()] = p.get();
    std::set<std::string_view> had;
    for (const auto& r : revisions_)
      if (r.hash == set.status.current_revision)
        for (const auto& slot : r.template_.spec.packages) had.insert(slot.version_ref.name.view());
    for (const auto& slot : set.spec.template_.spec.packages) {
      const auto it = by_name.find(slot.version_ref.name.view());
      if (had.contains(slot.version_ref.name.view()) || it == by_name.end()) continue;
      drains_ = drains_ || it->second->spec.disruption.value_or(api::Disruption::none) >= api::Disruption::drain;
    }
  }
  update_time_ =
      given({OperationType::update, OperationType::rollback}, default_machine_time + (drains_ ? default_drain_time : seconds(0)));
  create_time_ = given({OperationType::create}, default_machine_time);
  delete_time_ = given({OperationType::delete_}, default_machine_time);
}

seconds PreviewWorld::typical(OperationType type) const {
  if (type == OperationType::create) return create_time_;
  return type == OperationType::delete_ ? delete_time_ : update_time_;
}

void PreviewWorld::adopt() {
  for (const auto& m : in_.machines) items_[m->metadata.name].object = m;
  const auto s = snapshot();
  const auto facts = judge(s, plan_revisions(s));
  for (const auto* some : {&facts.live, &facts.deleting})
    for (const auto& f : *some) {
      auto& item = items_[f.machine->metadata.name];
      adopt_item(item, f.paused || (f.has_host && !f.reachable));
    }
}

// What is under way or waits already: no plan will ask for it again.
void PreviewWorld::adopt_item(Item& item, bool mute) {
  const auto& m = *item.object;
  const auto& st = m.status;
  item.mute = mute;
  const auto name = m.metadata.name;
  if (st.operation) {
    item.type = st.operation->type;
    return work(name, item, std::max<WallTime>(now + soonest, st.operation->start_time + typical(item.type)));
  }
  if (m.metadata.deleting()) return wait(name, item, OperationType::delete_);
  const auto wanted = m.metadata.labels.get(api::label::revision);
  const auto& last = st.last_operation;
  const bool failed = last && last->revision == wanted && last->result != api::OperationResult::succeeded &&
                      last->result != api::OperationResult::superseded;
  if (failed || st.revision == wanted) return;
  wait(name, item, was_in_service(m) ? way_of(m) : OperationType::create);
}

// ---- what the plans see ----

Snapshot PreviewWorld::snapshot(bool with_preflight) const {
  Snapshot s;
  s.set = std::make_shared<api::MachineSet>(set);
  s.cluster = in_.cluster;
  s.cluster.paused = false;
  s.cluster.sight = {.seen = true};  // it is played as if it could be seen
  s.orphans = orphans_;
  s.may_adopt = true;
  s.machines.reserve(items_.size());
  for (const auto& [name, item] : items_) s.machines.push_back(item.object);
  s.revisions = revisions_;
  s.after = in_.after;
  s.after_that = in_.after_that;
  s.now = now;
  if (in_.packages)
    for (const auto& slot : set.spec.template_.spec.packages) {
      const auto& name = slot.version_ref.name;
      const auto is_it = [&](const Ref<api::MachinePackageVersion>& p) { return p->metadata.name == name; };
      if (std::none_of(in_.packages->begin(), in_.packages->end(), is_it)) s.unknown_packages.push_back(name);
    }
  const auto replicas = api::replicas(set.spec);
  const auto most = replicas + std::max<std::int64_t>(0, api::scaled(api::max_surge(set.spec.rollout), replicas, true));
  const auto missing = std::clamp<std::int64_t>(most - static_cast<std::int64_t>(items_.size()), 0, max_actions);
  for (std::uint64_t ordinal = 0; s.free_names.size() < static_cast<std::size_t>(missing) && ordinal < max_ordinals; ++ordinal) {
    Text name = machine_name(set.metadata.name, set.metadata.uid, ordinal);
    if (items_.contains(name) || taken_.contains(name.view())) continue;
    if (std::find(s.free_names.begin(), s.free_names.end(), name) == s.free_names.end()) s.free_names.push_back(std::move(name));
  }
  if (with_preflight || preflight_is_near(set)) read_preflight(s);
  return s;
}

// As the loop gathers it (loop_preflight.cpp); answers of artifacts' addresses are nothing that can be had here.
void PreviewWorld::read_preflight(Snapshot& s) const {
  auto& in = s.preflight.emplace();
  if (in_.packages)
    for (const auto& slot : set.spec.template_.spec.packages)
      for (const auto& p : *in_.packages)
        if (p->metadata.name == slot.version_ref.name) in.packages.push_back(p);
  in.budgets = in_.budgets;
  in.zones = in_.zones;
  if (ledger_) {
    auto ledger = std::make_shared<api::GuardLedger>();
    ledger->status = *ledger_;
    in.ledger = std::move(ledger);
  }
  if (!in.budgets.empty() && in.ledger) {
    in.cluster_machines = in_.others;
    in.cluster_machines.insert(in.cluster_machines.end(), s.machines.begin(), s.machines.end());
  }
  std::map<std::string_view, const Ref<api::Host>*> by_name;
  for (const auto& h : in_.hosts) by_name[h->metadata.name.view()] = &h;
  for (const auto& m : in_.machines) {
    if (!m->status.host_ref || m->metadata.deleting()) continue;
    const auto it = by_name.find(m->status.host_ref->name.view());
    in.hosts.push_back({m->metadata.labels.get(api::label::revision), it == by_name.end() ? Ref<api::Host>() : *it->second});
  }
}

std::int64_t PreviewWorld::live() const {
  return std::count_if(items_.begin(), items_.end(), [](const auto& entry) { return !entry.second.object->metadata.deleting(); });
}

std::vector<Text> PreviewWorld::never_done() const {
  std::vector<Text> out;
  for (const auto& [name, item] : items_)
    if (item.mute && item.state == State::working) out.push_back(name);
  return out;
}

// ---- what the plans want ----

std::vector<PreviewWorld::Touched> PreviewWorld::apply(const reconcile::Plan& plan) {
  std::vector<Touched> out;
  for (std::uint8_t stage = 0; stage < 3; ++stage)
    for (const auto& a : plan.actions)
      if (a.stage == stage) act(a, out);
  return out;
}

void PreviewWorld::act(const Action& a, std::vector<Touched>& out) {
  if (a.kind == &reconcile::kind_of<api::MachineSet>) return act_on_set(a);
  if (a.kind == &reconcile::kind_of<reconcile::ControllerRevision>) return act_on_revision(a);
  if (a.kind != &reconcile::kind_of<api::Machine>) return;
  if (a.verb == Verb::create) {
    create(a);
    out.push_back({Touch::create, a.name});
    return;
  }
  const auto it = items_.find(a.name);
  if (it == items_.end()) return take_up(a);
  if (a.verb == Verb::remove) {
    write(it->second).metadata.deletion_timestamp = now;
    wait(a.name, it->second, OperationType::delete_);
    out.push_back({Touch::remove, a.name});
  } else {
    edit(it, a);
    out.push_back({Touch::update, a.name});
  }
}

// A machine that nobody owned: nothing is done to it by that.
void PreviewWorld::take_up(const Action& a) {
  const auto it = std::find_if(orphans_.begin(), orphans_.end(), [&](const auto& m) { return m->metadata.name == a.name; });
  if (it == orphans_.end()) return;
  auto& item = items_[a.name];
  item.object = *it;
  orphans_.erase(it);
  const auto s = snapshot();
  const auto facts = judge(s, plan_revisions(s));
  for (const auto& f : facts.live)
    if (f.machine->metadata.name == a.name) adopt_item(item, f.paused || (f.has_host && !f.reachable));
}

// Its finalizer, and one-shot annotations that are done.
void PreviewWorld::act_on_set(const Action& a) {
  if (a.verb == Verb::merge_patch && !set.metadata.has_finalizer(api::finalizer::machine_set))
    set.metadata.finalizers.emplace_back(api::finalizer::machine_set);
  if (a.verb != Verb::json_patch) return;
  for (const auto key : {api::annotation::promote, api::annotation::reject, api::annotation::retry})
    if (a.body.find(reconcile::pointer(key)) != std::string::npos) set.metadata.annotations.erase(key);
}

void PreviewWorld::act_on_revision(const Action& a) {
  std::int64_t newest = 0;
  for (const auto& r : revisions_) newest = std::max(newest, r.number);
  if (a.verb == Verb::create) {
    const auto prefix = revision_name(set.metadata.name, "");
    revisions_.push_back({.hash = a.name.view().substr(std::min(prefix.size(), a.name.view().size())),
                          .name = a.name,
                          .uid = "preview",
                          .resource_version = {},
                          .number = newest + 1,
                          .template_ = set.spec.template_,
                          .canonical = canonical_template(set.spec.template_)});
  } else if (a.verb == Verb::remove) {
    std::erase_if(revisions_, [&](const Revision& r) { return r.name == a.name; });
  } else {
    for (auto& r : revisions_)
      if (r.name == a.name) r.number = newest + 1;
  }
}

const Revision* PreviewWorld::revision_in(const Action& a) const {
  const auto hash = revision_given(a);
  for (const auto& r : revisions_)
    if (!hash.empty() && r.hash == hash) return &r;
  return nullptr;
}

void PreviewWorld::create(const Action& a) {
  const auto* r = revision_in(a);
  if (!r || items_.contains(a.name)) return;
  api::Machine m;
  m.metadata.name = a.name;
  m.metadata.name_space = set.metadata.name_space;
  m.metadata.uid = Text("preview-" + std::to_string(++uids_));
  m.metadata.creation_timestamp = now;
  m.metadata.labels = r->template_.metadata.labels;
  m.metadata.annotations = r->template_.metadata.annotations;
  m.metadata.labels.set(api::label::revision, r->hash);
  m.spec = api::machine_spec(r->template_.spec, set.spec.cluster_name);
  auto& item = items_[a.name];
  item.object = std::make_shared<api::Machine>(std::move(m));
  wait(a.name, item, OperationType::create);
}

void PreviewWorld::edit(Items::iterator at, const Action& a) {
  auto& item = at->second;
  const auto* r = revision_in(a);
  auto& m = write(item);
  if (!r) {  // another attempt at what it has
    wait(at->first, item, way_of(m));
    return;
  }
  for (const auto& [key, value] : r->template_.metadata.labels) m.metadata.labels.set(key, value);
  for (const auto& [key, value] : r->template_.metadata.annotations) m.metadata.annotations.set(key, value);
  m.metadata.annotations.erase(api::annotation::was_unavailable);
  if (a.body.find(reconcile::quote(api::annotation::was_unavailable) + ":\"") != std::string::npos)
    m.metadata.annotations.set(api::annotation::was_unavailable, r->hash);
  m.metadata.annotations.erase(api::annotation::rollback_to);
  if (a.body.find(reconcile::quote(api::annotation::rollback_to) + ":\"") != std::string::npos)
    m.metadata.annotations.set(api::annotation::rollback_to, r->hash);
  m.metadata.labels.set(api::label::revision, r->hash);
  auto spec = api::machine_spec(r->template_.spec, m.spec.cluster_name);
  spec.host_name = m.spec.host_name;
  spec.provider_id = m.spec.provider_id;
  spec.paused = m.spec.paused;
  m.spec = std::move(spec);
  // The wish went back to what the host still has: nothing to do.
  if (m.status.revision == r->hash && item.state != State::working) {
    std::erase(waiting_, at->first);
    item.state = State::resting;
    return;
  }
  wait(at->first, item, was_in_service(m) ? way_of(m) : OperationType::create);
}

// The way back is told from the way forward as the machine loop does (controllers/machine/plan_update.cpp).
OperationType PreviewWorld::way_of(const api::Machine& m) const {
  const auto& has = m.status.operation ? m.status.operation->revision : m.status.revision;
  for (const auto& r : set.status.rejected_revisions)
    if (r.revision == has) return OperationType::rollback;
  return m.metadata.annotations.get(api::annotation::rollback_to) == m.metadata.labels.get(api::label::revision) ? OperationType::rollback
                                                                                                                 : OperationType::update;
}

// ---- permits ----

void PreviewWorld::wait(const Text& name, Item& item, OperationType type) {
  if (item.state == State::working) stop_work(name, item);
  item.type = type;
  if (item.state == State::waiting) return;
  item.state = State::waiting;
  waiting_.push_back(name);
}

void PreviewWorld::work(const Text& name, Item& item, WallTime due) {
  item.state = State::working;
  item.due = due;
  if (item.mute)
    ++never_;
  else
    working_.emplace(due, name);
}

void PreviewWorld::stop_work(const Text& name, Item& item) {
  if (item.mute)
    --never_;
  else
    working_.erase({item.due, name});
  item.state = State::resting;
}

bool PreviewWorld::needs_host(const Item& item) const {
  return item.type == OperationType::create && !item.object->status.host_ref && free_hosts_ && free_hosts_->empty();
}

reconcile::PermitRequest PreviewWorld::request_of(const Item& item) const {
  const auto& m = *item.object;
  const auto& last = m.status.last_operation;
  const bool moves = item.type == OperationType::update || item.type == OperationType::rollback;
  const Text revision = moves ? Text(m.metadata.labels.get(api::label::revision)) : Text();
  const bool again = last && last->type == item.type && (!moves || last->revision == revision);
  return {.cluster = {m.metadata.name_space, m.spec.cluster_name},
          .operation = operation_name(item.type),
          .subject = m.metadata.key(),
          .subject_uid = m.metadata.uid,
          .revision = revision,
          .attempt = again ? last->attempt + 1 : 0,
          .domain = m.status.failure_domain,
          .lasts = api::machine_timeout(set.spec.rollout) + api::drain_timeout(m.spec.deletion) + seconds(600)};
}

bool PreviewWorld::ask(std::vector<Refusal>& refusals) {
  const auto refused = [&](const reconcile::Refused& why, Item& item) {
    const auto same = [&](const Refusal& r) { return r.why.kind == why.kind && r.why.name == why.name && r.why.reason == why.reason; };
    auto it = std::find_if(refusals.begin(), refusals.end(), same);
    if (it == refusals.end()) it = refusals.insert(refusals.end(), Refusal{why, 0});
    ++it->machines;
    it->why.retry_after = std::min(it->why.retry_after, why.retry_after);
    if (const auto& old = item.object->status.blocked_by; old && old->name == why.name && old->reason == why.reason) return;
    write(item).status.blocked_by =
        api::BlockedBy{.kind = why.kind, .name = why.name, .reason = why.reason, .message = why.message, .since = now};
  };
  bool any = false;
  std::size_t at = 0;
  while (at < waiting_.size()) {
    guard::Snapshot s{.cluster = {set.metadata.name_space, set.spec.cluster_name},
                      .budgets = in_.budgets,
                      .machines = in_.others,
                      .ledger = ledger_.value_or(api::GuardLedgerStatus{}),
                      .zones = in_.zones,
                      .own = !first_,
                      .now = now};
    if (first_ && !in_.ledger_trusted) s.doubt = guard::Doubt{api::reason::ledger_missing, "it was missing"};
    for (const auto& [name, item] : items_) s.machines.push_back(item.object);
    std::vector<reconcile::PermitRequest> requests;
    std::vector<Text> names;
    for (; at < waiting_.size() && requests.size() < permits_a_time; ++at) {
      auto& item = items_.at(waiting_[at]);
      if (needs_host(item)) {
        refused(
            {.kind = "Host", .name = {}, .reason = no_host_reason, .message = "no free Host is left in the namespace", .retry_after = {}},
            item);
        continue;
      }
      requests.push_back(request_of(item));
      names.push_back(waiting_[at]);
    }
    if (requests.empty()) break;
    auto decision = guard::decide(s, requests);
    ledger_ = std::move(decision.ledger);
    first_ = false;
    std::set<Text> granted;
    for (std::size_t i = 0; i < names.size(); ++i) {
      auto& item = items_.at(names[i]);
      if (const auto* no = std::get_if<reconcile::Refused>(&decision.verdicts[i])) {
        refused(*no, item);
        continue;
      }
      if (needs_host(item)) continue;  // one before it took the last
      granted.insert(names[i]);
      start(names[i], item, requests[i], std::get<reconcile::Granted>(decision.verdicts[i]).id);
    }
    any = any || !granted.empty();
    at -= granted.size();
    std::erase_if(waiting_, [&](const Text& name) { return granted.contains(name); });
    if (granted.empty() && names.size() == permits_a_time) {
      for (; at < waiting_.size(); ++at) ++refusals.front().machines;
      break;
    }
  }
  return any;
}

// ---- machines ----

api::Machine& PreviewWorld::write(Item& item) {
  auto copy = std::make_shared<api::Machine>(*item.object);
  auto& m = *copy;
  item.object = std::move(copy);
  return m;
}

void PreviewWorld::start(const Text& name, Item& item, const reconcile::PermitRequest& request, const std::string& grant) {
  auto& m = write(item);
  m.status.blocked_by.reset();
  if (item.type == OperationType::create && !m.status.host_ref) {
    m.status.host_ref = api::UidRef{Text("host-of-" + name.str()), {}};
    if (free_hosts_) {
      m.status.failure_domain = free_hosts_->back();
      free_hosts_->pop_back();
    }
  }
  m.status.operation = api::Operation{.id = grant,
                                      .type = item.type,
                                      .owner = "machineset",
                                      .revision = Text(m.metadata.labels.get(api::label::revision)),
                                      .attempt = request.attempt,
                                      .start_time = now};
  m.status.revision = {};
  set_ready(m, false, api::reason::progressing, now);
  work(name, item, now + typical(item.type));
}

void PreviewWorld::finish_due() {
  while (!working_.empty() && working_.begin()->first <= now) {
    const auto it = items_.find(working_.begin()->second);
    working_.erase(working_.begin());
    if (it != items_.end()) finish(it);
  }
}

void PreviewWorld::finish(Items::iterator at) {
  auto& item = at->second;
  item.state = State::resting;
  if (item.object->metadata.deleting() && item.type == OperationType::delete_) {
    if (free_hosts_ && item.object->status.host_ref) free_hosts_->push_back(item.object->status.failure_domain);
    items_.erase(at);
    return;
  }
  auto& m = write(item);
  if (const auto op = m.status.operation)
    m.status.last_operation = api::LastOperation{.id = op->id,
                                                 .type = op->type,
                                                 .revision = op->revision,
                                                 .attempt = op->attempt,
                                                 .result = api::OperationResult::succeeded,
                                                 .reason = api::reason::succeeded,
                                                 .message = {},
                                                 .start_time = op->start_time,
                                                 .end_time = now};
  m.status.operation.reset();
  m.status.revision = m.metadata.labels.get(api::label::revision);
  if (!m.status.node_ref) m.status.node_ref = m.status.host_ref;
  set_ready(m, true, api::reason::ready, now);
  if (m.metadata.deleting()) wait(at->first, item, OperationType::delete_);  // asked to go meanwhile
}

std::optional<WallTime> PreviewWorld::next_due() const { return working_.empty() ? std::nullopt : std::optional(working_.begin()->first); }

}  // namespace endstate::machine_set
