#include "controllers/machine/loop.hpp"

#include <algorithm>

#include "apis/v1alpha1/agent_lease.hpp"
#include "controllers/common/cluster_sight.hpp"
#include "controllers/common/indexes.hpp"
#include "controllers/common/machine_state.hpp"
#include "controllers/machine/pass.hpp"
#include "controllers/machine/refusals.hpp"
#include "reconcile/json/decode.hpp"
#include "reconcile/json/yaml.hpp"

namespace endstate::machine {

using reconcile::Code, reconcile::ConfigMap, reconcile::decode, reconcile::fail, reconcile::Key, reconcile::Lease, reconcile::Plan,
    reconcile::Snapshot, reconcile::View;

namespace {

constexpr std::chrono::seconds max_lag{60};  // pods that are gates say nothing when their watch has been silent for longer
constexpr std::size_t max_config_maps = 16;  // of one machine; more are not read, and said
constexpr std::size_t max_gate_pods = 64;    // of one node; the first by name are read
constexpr std::size_t max_waiters = 16;      // machines that are woken by one host that becomes free

struct ExternalCondition {  // as a person writes it: times and generations are ours
  Text type, reason, message;
  ConditionStatus status{};
  friend bool operator==(const ExternalCondition&, const ExternalCondition&) = default;
};
consteval auto describe(const ExternalCondition*) {
  return reconcile::object("An external condition.", reconcile::field<&ExternalCondition::type>("type", "Its type.", {.required = true}),
                           reconcile::field<&ExternalCondition::status>("status", "True, False or Unknown.", {.required = true}),
                           reconcile::field<&ExternalCondition::reason>("reason", "Why."),
                           reconcile::field<&ExternalCondition::message>("message", "Why, for people."));
}
struct ExternalList {
  std::vector<ExternalCondition> items;
};
consteval auto describe(const ExternalList*) {
  return reconcile::object("External conditions.", reconcile::field<&ExternalList::items>("items", "The list."));
}

Result<std::vector<Condition>> parse_conditions(std::string_view text) {
  auto json = reconcile::yaml_to_json(text);
  if (!json) return fail(Code::invalid, "data.conditions: " + json.error().message);
  reconcile::Pool pool;
  auto list = decode<ExternalList>("{\"items\":" + *json + "}", pool);
  if (!list) return fail(Code::invalid, "data.conditions: " + list.error().message);
  std::vector<Condition> out;
  for (auto& c : list->items) {
    if (c.type.empty()) return fail(Code::invalid, "data.conditions: an entry has no type");
    out.push_back({.type = c.type,
                   .status = c.status,
                   .reason = c.reason,
                   .message = c.message,
                   .last_transition_time = {},
                   .observed_generation = {}});
  }
  return out;
}

void read_config_maps(const Snapshot& s, Input& in) {
  auto maps = s.view.by_index<ConfigMap>("", conditions_by_machine, in.machine->metadata.key().str());
  for (std::size_t i = 0; i < std::min(maps.size(), max_config_maps); ++i) {
    const ConfigMap& map = *maps[i];
    const auto text = map.data.get("conditions");
    if (!map.data.has("conditions"))
      in.external.push_back({map.metadata.name, fail(Code::invalid, "it has no data.conditions")});
    else
      in.external.push_back({map.metadata.name, parse_conditions(text)});
  }
  if (maps.size() > max_config_maps)
    in.external.push_back({maps[max_config_maps]->metadata.name, fail(Code::invalid, "more than 16 condition ConfigMaps for one machine")});
}

void read_sight(const Snapshot& s, Input& in) {
  if (!in.cluster) return;
  in.connection = connection_of(*in.cluster);
  in.sight = cluster_sight(s, in.connection);
  in.gaps = blind_gaps(*in.cluster, in.sight, s.now.wall);
  if (in.sight.seen) return;
  in.blind_message = "Cluster " + in.cluster->metadata.name.str() +
                     (in.sight.since == WallTime{} ? " is not connected yet" : " can't be seen") +
                     (in.sight.why.empty() ? "" : ": " + in.sight.why);
}

void read_host(const Snapshot& s, Input& in) {
  const auto& uid = in.machine->metadata.uid;
  const auto& name_space = in.machine->metadata.name_space;
  auto hosts = s.view.by_index<api::Host>("", hosts_by_consumer, path(name_space, uid));
  auto mine = s.view.by_index<api::HostAssignment>(in.connection, assignments_by_machine, uid);
  if (!in.cluster) mine.clear();
  // Claimed twice: the one that was told to be this machine is kept, else the first by name.
  const auto assigned = std::find_if(hosts.begin(), hosts.end(), [&](const auto& h) {
    return std::any_of(mine.begin(), mine.end(), [&](const auto& a) { return a->metadata.name == h->metadata.uid; });
  });
  if (!hosts.empty()) {
    in.host = assigned != hosts.end() ? *assigned : hosts.front();
    for (const auto& h : hosts)
      if (h != in.host) in.more_hosts.push_back(h);
    if (in.cluster) in.assignment = s.view.get<api::HostAssignment>(in.connection, {}, in.host->metadata.uid);
    return;
  }
  if (!mine.empty()) in.assignment = mine.front();
  // Of one that goes: whatever stands in the place of its assignment, so that nobody else's is taken for gone.
  if (mine.empty() && in.cluster && in.machine->metadata.deleting() && in.machine->status.host_ref)
    in.assignment = s.view.get<api::HostAssignment>(in.connection, {}, in.machine->status.host_ref->uid);
  Text former = in.assignment ? in.assignment->metadata.name : Text();
  if (in.machine->status.host_ref) former = in.machine->status.host_ref->uid;
  if (former.empty()) return;
  if (auto found = s.view.by_index<api::Host>("", hosts_by_uid, path(name_space, former)); !found.empty()) in.former_host = found.front();
}

Text node_name(const Input& in) {
  if (in.host) return in.host->metadata.name;
  if (in.assignment) return in.assignment->spec.node_name;
  return in.machine->status.host_ref ? in.machine->status.host_ref->name : Text();
}

void read_node(const Snapshot& s, Input& in) {
  if (!in.cluster) return;  // no connection is known: that of the meta cluster isn't meant
  if (const Text name = node_name(in); !name.empty()) in.node = s.view.get<Node>(in.connection, {}, name);
  if (in.node && in.node->metadata.annotations.has(api::annotation::owned)) {
    reconcile::Pool pool;
    // Unreadable (somebody edited it): as if nothing were ours, so that nothing of others is taken off.
    auto owned = decode<api::OwnedNodeParts>(in.node->metadata.annotations.get(api::annotation::owned), pool);
    if (owned) in.owned_before = std::move(*owned);
  }
  const Text host_uid = in.host ? in.host->metadata.uid : in.assignment ? in.assignment->metadata.name : Text();
  if (host_uid.empty()) return;
  const std::string name = api::agent_lease_name(host_uid);
  const auto lease = s.view.get<Lease>(in.connection, api::system_namespace, name);
  if (!lease) return;
  // Nobody is silent while nobody listens: an API server that was away must be heard for as long as an agent's word lasts.
  std::chrono::nanoseconds silence =
      s.now.mono - s.view.seen<Lease>(in.connection, api::system_namespace, name) - s.view.lag<Lease>(in.connection);
  if (in.sight.since != WallTime{}) silence = std::min<std::chrono::nanoseconds>(silence, s.now.wall - in.sight.since);
  in.agent_silence = std::max(silence, std::chrono::nanoseconds(0));
  in.agent_lasts = std::clamp<std::chrono::seconds>(lease->spec.lease_duration.value_or(agent_fresh), agent_fresh, agent_longest);
}

// Only pods that a DaemonSet made: those are the node's own, and nobody drains them. Whoever may make such pods may close nodes by them.
void read_gate_pods(const Snapshot& s, Input& in) {
  if (!in.node || !s.view.synced<GatePod>(in.connection) || s.view.lag<GatePod>(in.connection) > max_lag) return;
  for (const auto& pod : s.view.by_index<GatePod>(in.connection, gate_pods_by_node, in.node->metadata.name)) {
    const auto* owner = pod->metadata.controller();
    if (owner && owner->kind == "DaemonSet" && in.gate_pods.size() < max_gate_pods) in.gate_pods.push_back(pod);
  }
}

// What was listed for the drain, if that is not long ago.
template <class T>
Listed<T> listed(const Snapshot& s, std::string_view query) {
  const auto fact = s.memory.facts.find(query);
  if (fact == s.memory.facts.end() || s.now.mono - fact->second.at > std::chrono::seconds(10)) return std::nullopt;
  if (!fact->second.body) return Result<std::vector<Ref<T>>>(fail(fact->second.body.error()));
  std::vector<Ref<T>> out;
  for (const auto& item : fact->second.items) out.push_back(std::static_pointer_cast<const T>(item));
  return Result<std::vector<Ref<T>>>(std::move(out));
}

std::optional<Result<AttachedTo>> read_node_volumes(const Snapshot& s) {
  const auto fact = s.memory.facts.find(node_volumes_query);
  if (fact == s.memory.facts.end() || s.now.mono - fact->second.at > std::chrono::seconds(10)) return std::nullopt;
  if (!fact->second.body) return Result<AttachedTo>(fail(fact->second.body.error()));
  reconcile::Pool pool;
  return decode<AttachedTo>(*fact->second.body, pool);
}

void read_drain(const Snapshot& s, Input& in) {
  const auto& op = in.machine->status.operation;
  if (!op) return;
  in.pods = listed<DrainPod>(s, pods_query);
  in.pods_now = listed<DrainPod>(s, pods_now_query);
  in.volumes = listed<Attachment>(s, volumes_query);
  if (in.volumes && *in.volumes)
    std::erase_if(**in.volumes, [&](const auto& a) { return !in.node || !(a->spec.node_name == in.node->metadata.name); });
  in.node_volumes = read_node_volumes(s);
  const std::string marks = comeback_mark(op->id, {});
  const auto begin = marks.substr(0, marks.size() - 1);  // without the controller: "<operation>/"
  for (auto it = s.memory.done.lower_bound(begin); it != s.memory.done.end() && it->first.starts_with(begin); ++it) {
    const auto rest = std::string_view(it->first).substr(begin.size());
    ++in.evicted_again[Text(rest.substr(0, rest.find('/')))];
  }
}

void read_packages(const Snapshot& s, Input& in) {
  for (const auto& slot : in.machine->spec.packages)
    in.packages.push_back({slot.name, slot.version_ref.name, s.view.get<api::MachinePackageVersion>("", {}, slot.version_ref.name)});
}

std::string group_of(const api::Machine& m) {
  const auto set = m.metadata.labels.get(api::label::set_name);
  return m.spec.cluster_name.str() + "/" + std::string(set);
}

bool left_behind(const Snapshot& s, const Input& in, const api::Host& host) {
  return s.view.get<api::HostAssignment>(in.connection, {}, host.metadata.uid) != nullptr;
}

// "<namespace>/<name>" of an annotation; an empty name if it isn't one.
Key key_of(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return {};
  return {text.substr(0, slash), text.substr(slash + 1)};
}

// What is left there of a machine of that name, but of the one with `uid`. False: something is, and it can't be seen how it is now.
bool read_remains(const Snapshot& s, const Key& key, const api::Cluster& cluster, std::string_view uid, std::vector<Remains>& out) {
  const std::string connection = connection_of(cluster);
  const auto left = s.view.by_index<api::HostAssignment>(connection, assignments_by_name, key.str());
  for (const auto& a : left) {
    if (a->spec.machine_uid == uid || !(a->metadata.labels.get(api::label::cluster_name) == cluster.metadata.name.view())) continue;
    if (!s.view.sight(connection).seen) return false;
    Remains r{.cluster = cluster.metadata.key(), .connection = connection, .assignment = a, .host = {}, .node = {}};
    // Within the namespace: what a business cluster says of a uid lifts nobody else's quarantine.
    const auto hosts = s.view.by_index<api::Host>("", hosts_by_uid, path(key.name_space, a->metadata.name));
    if (!hosts.empty()) r.host = hosts.front();
    if (!a->spec.node_name.empty()) r.node = s.view.get<Node>(connection, {}, a->spec.node_name);
    out.push_back(std::move(r));
  }
  return true;
}

}  // namespace

// ---- observe ----

namespace {
HostPool::Used used_by(const api::Host& h) {
  const auto& labels = h.metadata.labels;
  return {std::string(labels.get(api::label::cluster_name)) + "/" + std::string(labels.get(api::label::set_name)),
          api::failure_domain(h.spec.hardware)};
}
}  // namespace

void MachineLoop::choose_host(const Snapshot& s, Input& in) const {
  const auto& name_space = in.machine->metadata.name_space;
  const auto& pinned = in.machine->spec.host_name;
  if (in.former_host && claimable(*in.former_host) && in.assignment) {
    in.candidate = in.former_host;  // the claim was taken off by hand: put back
    return;
  }
  if (!pinned.empty()) {
    const auto host = s.view.get<api::Host>("", name_space, pinned);
    if (!host)
      in.no_candidate = "Host " + pinned.str() + " does not exist: create it";
    else if (host->spec.consumer_ref)
      in.no_candidate = "Host " + pinned.str() + " is " + host->spec.consumer_ref->name.str() + "'s";
    else if (!has_agent(*host))
      in.no_candidate = "Host " + pinned.str() + " has no certificate, so no agent of it can come: kubectl endstate enrol " + pinned.str();
    else if (!claimable(*host))
      in.no_candidate = "Host " + pinned.str() + " is not Ready, or in maintenance";
    else if (left_behind(s, in, *host))
      in.no_candidate = "Host " + pinned.str() +
                        " still carries the assignment of a machine that is gone: wait for its wipe, or delete the HostAssignment " +
                        host->metadata.uid.str();
    else
      in.candidate = host;
    return;
  }
  HostPool& pool = pools_[name_space.str()];
  if (pool.free_count() == 0 || pool.stale(s.now.mono)) {
    std::vector<HostPool::Free> free;
    for (const auto& h : s.view.by_index<api::Host>("", hosts_free, name_space))
      free.push_back({h->metadata.uid, h->metadata.name, api::failure_domain(h->spec.hardware)});
    // How the used ones are spread takes milliseconds of 10,000: thousands of machines that wait must not ask it while nothing is free.
    std::vector<HostPool::Used> used;
    if (!free.empty())
      for (const auto& h : s.view.by_index<api::Host>("", hosts_used, name_space)) used.push_back(used_by(*h));
    pool.refresh(free, used, s.now.mono);
  }
  const auto taken = [&](const Text& name) {
    const auto host = s.view.get<api::Host>("", name_space, name);
    return !host || !claimable(*host) || left_behind(s, in, *host);
  };
  // A Node of its name is there: another host will do. Where there is no other, the plan says why not this one (NodeNameTaken).
  const auto named = [&](const Text& name) {
    const auto node = s.view.get<Node>(in.connection, {}, name);
    return node && !(in.machine->metadata.annotations.get(api::annotation::adopt_node) == node->metadata.uid.view());
  };
  const auto pick = [&](const std::function<bool(const Text&)>& refuse) {
    return pool.pick(in.machine->metadata.uid, group_of(*in.machine), s.now.mono, refuse);
  };
  Text name = pick([&](const Text& host) { return taken(host) || named(host); });
  if (name.empty()) name = pick(taken);
  if (name.empty())
    in.no_candidate = "no free Host in namespace " + name_space.str() + ": add hosts, or free some";
  else
    in.candidate = s.view.get<api::Host>("", name_space, name);
}

// What was refused isn't asked for again at once, however often the machine is looked at.
void MachineLoop::read_refusals(const Snapshot& s, Input& in) const {
  const Key key = in.machine->metadata.key();
  const bool fresh =
      std::any_of(s.memory.failures.begin(), s.memory.failures.end(), [](const auto& f) { return f.resource && is_refusal(f.error); });
  if (!fresh && (!in.machine->status.blocked_by || !refusals_.count(key))) {
    refusals_.erase(key);
    return;
  }
  auto& last = refusals_[key];
  for (const auto& f : s.memory.failures) {
    if (!f.resource || !is_refusal(f.error)) continue;
    if (f.resource->plural == "nodes") last.node = s.now.mono;
    if (f.resource->plural == "pods") last.eviction = s.now.mono;
  }
  if (last.node) in.node_refused = s.now.mono - *last.node;
  if (last.eviction) in.eviction_refused = s.now.mono - *last.eviction;
}

ClusterHealth MachineLoop::health_of(const Snapshot& s, const api::Machine& machine) const {
  const std::string cluster = path(machine.metadata.name_space, machine.spec.cluster_name);
  Health& h = health_[cluster];
  if (h.at != reconcile::MonoTime{} && s.now.mono - h.at < std::chrono::seconds(2)) return h.health;
  h.at = s.now.mono;
  h.health = {};
  for (const auto& m : s.view.by_index<api::Machine>("", machines_by_cluster, cluster)) {
    if (!was_in_service(*m) || m->metadata.deleting() || m->status.operation) continue;
    ++h.health.in_service;
    if (is_unavailable(*m)) ++h.health.ill;
  }
  return h.health;
}

std::function<Plan()> MachineLoop::observe(const Snapshot& s, const Key& key) const {
  Input in;
  in.now = s.now;
  in.machine = s.view.get<api::Machine>("", key.name_space, key.name);
  if (!in.machine) {
    refusals_.erase(key);
    return observe_remains(s, key);
  }
  in.cluster = s.view.get<api::Cluster>("", key.name_space, in.machine->spec.cluster_name);
  if (const auto* owner = in.machine->metadata.controller(); owner && owner->kind == "MachineSet") {
    in.set = s.view.get<api::MachineSet>("", key.name_space, owner->name);
    if (in.set && !(in.set->metadata.uid == owner->uid)) in.set = nullptr;
  }
  read_sight(s, in);
  read_host(s, in);
  read_node(s, in);
  read_packages(s, in);
  read_config_maps(s, in);
  read_gate_pods(s, in);
  read_drain(s, in);
  // One that the guard has just refused keeps no host from others.
  const bool waits = s.memory.refused && s.now.mono < s.memory.refused_at + s.memory.refused->retry_after;
  if (!in.host && !in.machine->metadata.deleting() && in.cluster && in.sight.seen && (!waits || in.former_host)) choose_host(s, in);
  if (!in.node && in.candidate) in.node = s.view.get<Node>(in.connection, {}, in.candidate->metadata.name);  // one that was there before
  if (waits)
    if (const auto pool = pools_.find(key.name_space.view()); pool != pools_.end()) pool->second.release(in.machine->metadata.uid);
  // Only a machine that may have to be closed asks how the others are.
  if (was_in_service(*in.machine) && !is_available(*in.machine)) in.health = health_of(s, *in.machine);
  if (in.cluster) read_remains(s, key, *in.cluster, in.machine->metadata.uid, in.remains);
  in.failures = s.memory.failures;
  read_refusals(s, in);
  in.refused = s.memory.refused;
  in.refused_at = s.memory.refused_at;
  return [in = std::move(in)] { return plan(in); };
}

// The machine is gone. Its namespace's clusters are the connections where something of it may be left.
std::function<Plan()> MachineLoop::observe_remains(const Snapshot& s, const Key& key) const {
  if (!s.view.synced<api::Machine>("") || !s.view.synced<api::Host>("")) return nullptr;
  std::vector<Remains> remains;
  bool blind = false;
  for (const auto& cluster : s.view.list<api::Cluster>("", key.name_space)) blind = !read_remains(s, key, *cluster, {}, remains) || blind;
  if (remains.empty() && !blind) return nullptr;
  const auto now = std::chrono::floor<std::chrono::seconds>(s.now.wall);
  return [remains = std::move(remains), now, blind] {
    Plan out = plan_remains(remains, now);
    if (blind && !out.again) out.again = reopen_wait;
    return out;
  };
}

// ---- sources ----

namespace {

using Enqueue = std::function<void(Key)>;

template <class T>
const T* as(const void* object) {
  return static_cast<const T*>(object);
}

void enqueue_consumer(const api::Host* host, const Enqueue& enqueue) {
  if (!host) return;
  if (const auto* claim = claim_of(*host)) enqueue({claim->name_space, claim->name});
}

// A Node is named like its Host.
void enqueue_machine_on(const View& view, std::string_view connection, const Text& node, const Enqueue& enqueue) {
  for (const auto& host : view.by_index<api::Host>("", hosts_by_name, node))
    if (may_speak_of(connection, host->metadata.name_space)) enqueue_consumer(host.get(), enqueue);
}

// What an object of a business cluster says of its machine: "<namespace>/<name>".
void enqueue_named(std::string_view connection, std::string_view machine, const Enqueue& enqueue) {
  const Key key = key_of(machine);
  if (!key.name.empty() && may_speak_of(connection, key.name_space)) enqueue(key);
}

void host_changed(const View& view, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
  const auto* old_host = as<api::Host>(before);
  const auto* new_host = as<api::Host>(after);
  enqueue_consumer(old_host, enqueue);
  enqueue_consumer(new_host, enqueue);
  const bool freed = new_host && claimable(*new_host) && !(old_host && claimable(*old_host));
  if (!freed) return;
  const auto waiting = view.by_index<api::Machine>("", machines_without_host, new_host->metadata.name_space);
  for (std::size_t i = 0; i < std::min(waiting.size(), max_waiters); ++i) enqueue(waiting[i]->metadata.key());
}

void assignment_changed(const View&, std::string_view connection, const void* before, const void* after, const Enqueue& enqueue) {
  for (const void* object : {before, after})
    if (object) enqueue_named(connection, as<api::HostAssignment>(object)->metadata.annotations.get(api::annotation::machine), enqueue);
}

void node_changed(const View& view, std::string_view connection, const void* before, const void* after, const Enqueue& enqueue) {
  const Node& node = *as<Node>(after ? after : before);
  const auto named = node.metadata.annotations.get(api::annotation::machine);
  if (!key_of(named).name.empty()) return enqueue_named(connection, named, enqueue);
  enqueue_machine_on(view, connection, node.metadata.name, enqueue);
}

void gate_pod_changed(const View& view, std::string_view connection, const void* before, const void* after, const Enqueue& enqueue) {
  const Text& node = as<GatePod>(after ? after : before)->spec.node_name;
  if (!node.empty()) enqueue_machine_on(view, connection, node, enqueue);
}

// A renewal is nothing new of a machine that is known to be alive: 10,000 hosts renew every minute.
void lease_changed(const View& view, std::string_view connection, const void*, const void* after, const Enqueue& enqueue) {
  if (!after) return;  // a silent agent is seen by the clock
  const auto name = as<Lease>(after)->metadata.name.view();
  constexpr auto prefix = api::agent_lease_prefix;
  if (name.substr(0, prefix.size()) != prefix) return;
  for (const auto& host : hosts_named(view, connection, name.substr(prefix.size()))) {
    const auto* claim = claim_of(*host);
    const auto machine = claim ? view.get<api::Machine>("", claim->name_space, claim->name) : nullptr;
    if (machine && !is_true(machine->status.conditions, api::condition::agent_alive)) enqueue(machine->metadata.key());
  }
}

void config_map_changed(const View&, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
  for (const void* object : {before, after}) {
    if (!object) continue;
    const auto& meta = as<ConfigMap>(object)->metadata;
    if (const auto name = meta.labels.get(api::label::condition_for); !name.empty()) enqueue({meta.name_space, name});
  }
}

void package_changed(const View& view, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
  const auto* old_version = as<api::MachinePackageVersion>(before);
  const auto* new_version = as<api::MachinePackageVersion>(after);
  if (old_version && new_version && old_version->metadata.uid == new_version->metadata.uid) return;  // immutable: only its status changed
  const auto& name = (new_version ? new_version : old_version)->metadata.name;
  for (const auto& m : view.by_index<api::Machine>("", machines_by_package, name)) enqueue(m->metadata.key());
}

bool is_connected(const api::Cluster& c) { return is_true(c.status.conditions, api::condition::connected); }

void cluster_changed(const View& view, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
  const auto* a = as<api::Cluster>(before);
  const auto* b = as<api::Cluster>(after);
  if (a && b && is_paused(*a) == is_paused(*b) && is_connected(*a) == is_connected(*b) && connection_of(*a) == connection_of(*b)) return;
  const auto& meta = (b ? b : a)->metadata;
  for (const auto& m : view.by_index<api::Machine>("", machines_by_cluster, meta.key().str())) enqueue(m->metadata.key());
}

}  // namespace

std::vector<reconcile::Source> MachineLoop::sources() const {
  using reconcile::kind_of;
  std::vector<reconcile::Source> all;
  all.push_back({.kind = &kind_of<api::Machine>,
                 .keys = [](const View&, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
                   enqueue(as<api::Machine>(after ? after : before)->metadata.key());
                 }});
  all.push_back({.kind = &kind_of<api::Host>, .keys = host_changed});
  all.push_back({.kind = &kind_of<api::Cluster>, .keys = cluster_changed});
  // Read, and never a reason to look at a machine: the set edits the Machine itself.
  all.push_back(
      {.kind = &kind_of<api::MachineSet>, .keys = [](const View&, std::string_view, const void*, const void*, const Enqueue&) {}});
  all.push_back({.kind = &kind_of<api::MachinePackageVersion>, .keys = package_changed});
  all.push_back({.kind = &kind_of<ConfigMap>, .selector = "labelSelector=endstate.dev%2Fcondition-for", .keys = config_map_changed});
  all.push_back({.kind = &kind_of<api::HostAssignment>, .remote = true, .keys = assignment_changed});
  all.push_back({.kind = &kind_of<Node>, .remote = true, .keys = node_changed});
  all.push_back({.kind = &kind_of<GatePod>, .remote = true, .selector = std::string(gate_pods_selector), .keys = gate_pod_changed});
  all.push_back({.kind = &kind_of<Lease>, .remote = true, .name_space = std::string(api::system_namespace), .keys = lease_changed});
  return all;
}

}  // namespace endstate::machine
