#include "src/fleet/fleet.hpp"

#include <algorithm>
#include <map>

#include "reconcile/json/decode.hpp"

namespace endstate::fleet {
namespace {

using namespace std::chrono_literals;
using reconcile::Call, reconcile::Error, reconcile::Level, reconcile::Ref, reconcile::Result;

constexpr std::uint32_t pod_ids = 1U << 31U;  // ids below are hosts
constexpr std::string_view topic_resources[] = {"hosts",        "hosts/status", "hostassignments/status", "leases", "nodes",
                                                "nodes/status", "leases"};

Ticket ticket_of(std::uint32_t id, std::size_t topic) { return static_cast<Ticket>(id) << 8U | topic; }
std::uint32_t id_of(Ticket ticket) { return static_cast<std::uint32_t>(ticket >> 8U); }
Topic topic_of(Ticket ticket) { return static_cast<Topic>(ticket & 0xffU); }

struct Stored {  // what is read of a reply
  reconcile::ObjectMeta metadata;
};
consteval auto describe(const Stored*) {
  return reconcile::object("A stored object.", reconcile::field<&Stored::metadata>("metadata", "Standard object metadata."));
}

constexpr auto pods_by_node = reconcile::index<Pod>("node", [](const Pod& p, auto& emit) { emit(p.spec.node_name); });

template <class T>
const T* as(const Ref<void>& object) {
  return static_cast<const T*>(object.get());
}
template <class T>
reconcile::Store::Handler handler(Fleet* fleet, void (Fleet::*member)(const T*, const T*)) {
  return [fleet, member](const Ref<void>& before, const Ref<void>& after) { (fleet->*member)(as<T>(before), as<T>(after)); };
}

}  // namespace

Fleet::Watch::Watch(Fleet& fleet, const reconcile::Kind& kind, reconcile::ReflectorOptions options, reconcile::Store::Handler handler)
    : store(kind, fleet.pool_, std::move(handler)),
      reflector(fleet.env_, store, fleet.pool_, std::move(options), {.progressed = [&fleet] { fleet.on_synced(); }}, fleet.log_) {}

Fleet::Fleet(reconcile::Env& env, FleetOptions options, FleetHooks hooks, reconcile::Log log)
    : env_(env),
      options_(std::move(options)),
      hooks_(std::move(hooks)),
      log_(std::move(log)),
      settings_(std::make_shared<const Settings>(options_.settings)),
      writes_(env, options_.writes,
              {.make = [this](Ticket t) { return make(t); },
               .answered = [this](Ticket t, const Result<void>& r, std::string_view body) { answered(t, r, body); },
               .unanswered = [this](Ticket t, const Error& e) { unanswered(t, e); }}),
      alarms_(env, [this](std::uint32_t id) { kick(id); }) {
  const auto count = std::clamp<std::uint32_t>(options_.hosts, 1, max_hosts);
  hosts_.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    hosts_.emplace_back(host_facts(options_.inventory, i), settings_);
    by_name_.emplace(hosts_.back().facts().name, i);
  }
  own_faults_.resize(count);
  pods_had_.resize(count);
  pods_of_.resize(count);
}

void Fleet::start() {
  const auto add = [&](const reconcile::Kind& kind, reconcile::ReflectorOptions o, reconcile::Store::Handler h) {
    watches_.push_back(std::make_unique<Watch>(*this, kind, std::move(o), std::move(h)));
    return watches_.back().get();
  };
  // Packages first: a fault of the fleet should hold before the first install. What comes too early elsewhere is looked up later.
  add(reconcile::kind_of<PackageNote>, {}, handler(this, &Fleet::on_package));
  hosts_watch_ = add(reconcile::kind_of<v1alpha1::Host>, {.name_space = options_.inventory.name_space}, handler(this, &Fleet::on_host));
  assignments_watch_ = add(reconcile::kind_of<Assignment>, {.cluster = options_.business}, handler(this, &Fleet::on_assignment));
  nodes_watch_ = add(reconcile::kind_of<SeenNode>, {.cluster = options_.business}, handler(this, &Fleet::on_node));
  pods_watch_ = add(reconcile::kind_of<Pod>, {.cluster = options_.business, .selector = "fieldSelector=spec.nodeName%21%3D"},
                    handler(this, &Fleet::on_pod));
  for (auto& w : watches_) w->reflector.start();
  for (std::uint32_t i = 0; i < hosts_.size(); ++i) apply_faults(i);
  tick();
}

bool Fleet::synced() const {
  return !watches_.empty() && std::all_of(watches_.begin(), watches_.end(), [](const auto& w) { return w->reflector.synced(); });
}

// Nothing is done before all lists are there: an absence means something only then, and a fresh model takes up from what it is shown first.
void Fleet::on_synced() {
  if (was_synced_ || !synced()) return;
  was_synced_ = true;
  for (const auto& ref : hosts_watch_->store.list({})) on_host(nullptr, as<v1alpha1::Host>(ref));
  for (std::uint32_t i = 0; i < hosts_.size(); ++i) {
    if (hosts_[i].uid().empty()) hosts_[i].saw_host(nullptr);
    kick(i);
  }
  log_(Level::info, "watching",
       {{"hosts", std::to_string(hosts_watch_->store.size())},
        {"assignments", std::to_string(assignments_watch_->store.size())},
        {"nodes", std::to_string(nodes_watch_->store.size())},
        {"pods", std::to_string(pods_watch_->store.size())}});
}

// ---- what is seen ----

std::optional<std::uint32_t> Fleet::index_of(const v1alpha1::Host& host) const {
  const auto found = by_name_.find(host.metadata.name.str());
  return found == by_name_.end() ? std::nullopt : std::optional(found->second);
}

void Fleet::on_host(const v1alpha1::Host* before, const v1alpha1::Host* after) {
  if (!was_synced_) return;
  const auto index = index_of(after != nullptr ? *after : *before);
  if (!index) return;  // real hardware, or another fleet's
  if (before != nullptr && (after == nullptr || before->metadata.uid != after->metadata.uid)) by_uid_.erase(before->metadata.uid);
  hosts_[*index].saw_host(after);
  if (after != nullptr) {
    if (by_uid_.emplace(after->metadata.uid, *index).second)
      if (const auto a = assignments_watch_->store.get({}, after->metadata.uid)) saw_assignment(*index, as<Assignment>(a));
    if (before == nullptr || before->metadata.annotations.get(fault_annotation) != after->metadata.annotations.get(fault_annotation))
      set_own_fault(*index, after->metadata);
  }
  kick(*index);
}

void Fleet::on_assignment(const Assignment* before, const Assignment* after) {
  if (!was_synced_) return;
  const auto found = by_uid_.find((after != nullptr ? after : before)->metadata.name);
  if (found == by_uid_.end()) return;
  saw_assignment(found->second, after);
  kick(found->second);
}

void Fleet::saw_assignment(std::uint32_t index, const Assignment* assignment) {
  auto& host = hosts_[index];
  const auto old_name = host.node_name();
  host.saw_assignment(assignment, env_.now());
  if (host.node_name() == old_name) return;
  if (!old_name.empty()) by_node_.erase(old_name);
  by_node_[host.node_name()] = index;
  if (const auto node = nodes_watch_->store.get({}, host.node_name())) host.saw_node(*as<SeenNode>(node), env_.now());
  for (const auto& pod : pods_watch_->store.by_index(pods_by_node, host.node_name())) on_pod(nullptr, as<Pod>(pod));
}

void Fleet::on_node(const SeenNode* before, const SeenNode* after) {
  if (!was_synced_) return;
  const auto found = by_node_.find((after != nullptr ? after : before)->metadata.name.str());
  if (found == by_node_.end()) return;
  auto& host = hosts_[found->second];
  if (after == nullptr)
    host.saw_node_go(before->metadata.uid, env_.now());
  else
    host.saw_node(*after, env_.now());
  kick(found->second);
}

void Fleet::on_pod(const Pod* before, const Pod* after) {
  if (!was_synced_) return;
  const auto& uid = (after != nullptr ? after : before)->metadata.uid;
  const auto known = pod_ids_.find(uid);
  if (after == nullptr) {
    if (known == pod_ids_.end()) return;
    const auto id = known->second;
    std::erase(pods_of_[pods_.at(id).host()], id);
    pods_.erase(id);
    pod_ids_.erase(known);
    alarms_.set(id, MonoTime::max());
    return;
  }
  if (known != pod_ids_.end()) {
    pods_.at(known->second).saw(*after);
    kick(known->second);
    return;
  }
  const auto node = by_node_.find(after->spec.node_name.str());
  if (node == by_node_.end()) return;  // another's node, or not ours yet: saw_assignment() asks again
  const auto index = node->second;
  const auto id = pod_ids | next_pod_++;
  auto& pod = pods_.emplace(id, PodModel(hosts_[index].facts(), pods_had_[index]++, settings_)).first->second;
  pod_ids_.emplace(uid, id);
  pods_of_[index].push_back(id);
  pod.saw(*after);
  kick(id);
}

// ---- faults ----

std::optional<Fault> Fleet::read_fault(const reconcile::ObjectMeta& meta, std::string_view kind) {
  if (!meta.annotations.has(fault_annotation)) return std::nullopt;
  auto fault = parse_fault(meta.annotations.get(fault_annotation));
  if (fault) return std::move(*fault);
  ++bad_faults_;
  log_(Level::warning, "a fault is not understood and is left out",
       {{"kind", std::string(kind)}, {"object", meta.key().str()}, {"error", fault.error().message}});
  if (hooks_.bad_fault) hooks_.bad_fault({kind, meta, fault.error().message});
  return std::nullopt;
}

void Fleet::set_own_fault(std::uint32_t index, const reconcile::ObjectMeta& meta) {
  auto fault = read_fault(meta, "Host");
  if (fault == own_faults_[index]) return;
  own_faults_[index] = std::move(fault);
  apply_faults(index);
}

void Fleet::on_package(const PackageNote* before, const PackageNote* after) {
  const auto value = [](const PackageNote* p) { return p != nullptr ? p->metadata.annotations.get(fault_annotation) : std::string_view(); };
  if (value(before) == value(after)) return;
  const auto& name = (after != nullptr ? after : before)->metadata.name;
  auto fault = after != nullptr ? read_fault(after->metadata, "MachinePackageVersion") : std::nullopt;
  if (fault) {
    fault->package = name;  // on a version it is that version's, whatever it names
    package_faults_[name] = std::move(fault);
  } else {
    package_faults_.erase(name);
  }
  for (std::uint32_t i = 0; i < hosts_.size(); ++i) {
    apply_faults(i);
    if (was_synced_) kick(i);
  }
}

void Fleet::apply_faults(std::uint32_t index) {
  Faults faults{options_.faults};
  if (own_faults_[index]) faults.all.push_back(*own_faults_[index]);
  for (const auto& [name, fault] : package_faults_) faults.all.push_back(*fault);
  hosts_[index].set_faults(std::move(faults));
}

// ---- what is done ----

void Fleet::kick(std::uint32_t id) {
  if (!was_synced_) return;
  const auto now = env_.now();
  if (id < pod_ids) {
    auto& host = hosts_[id];
    const bool ran_pods = host.runs_pods();
    host.advance(now);
    for (std::size_t t = 0; t < topic_count; ++t)
      if (host.wants(static_cast<Topic>(t), now.mono))
        writes_.add(ticket_of(id, t), host.can_wait(static_cast<Topic>(t)) ? Lane::patient : Lane::prompt);
    alarms_.set(id, host.next(now.mono));
    if (!ran_pods && host.runs_pods()) kick_pods(id);
    return;
  }
  const auto found = pods_.find(id);
  if (found == pods_.end()) return;
  auto& pod = found->second;
  if (!hosts_[pod.host()].runs_pods()) return;  // kick_pods() when it does again
  pod.advance(now);
  if (pod.wants(now.mono)) writes_.add(ticket_of(id, 0));
  alarms_.set(id, pod.next(now.mono));
}

void Fleet::kick_pods(std::uint32_t index) {
  for (const auto id : std::vector(pods_of_[index])) kick(id);
}

// Where it goes: Hosts are the meta cluster's, what a host does is the business cluster's.
Call Fleet::placed(Call call) const {
  if (call.resource != &reconcile::resource_of<v1alpha1::Host>) call.cluster = options_.business;
  return call;
}

std::optional<Call> Fleet::make(Ticket ticket) {
  const auto now = env_.now();
  const auto id = id_of(ticket);
  if (id < pod_ids) {
    auto& host = hosts_[id];
    return host.wants(topic_of(ticket), now.mono) ? std::optional(placed(host.take(topic_of(ticket), now))) : std::nullopt;
  }
  const auto pod = pods_.find(id);
  if (pod == pods_.end() || !hosts_[pod->second.host()].runs_pods() || !pod->second.wants(now.mono)) return std::nullopt;
  return placed(pod->second.take(now));
}

void Fleet::answered(Ticket ticket, const Result<void>& result, std::string_view body) {
  const auto now = env_.now();
  const auto id = id_of(ticket);
  count(ticket, result ? "done" : reconcile::code_name(result.error().code));
  if (!result && result.error().code != reconcile::Code::exists && result.error().code != reconcile::Code::not_found)
    log_(Level::warning, "a write was refused",
         {{"host", id < pod_ids ? hosts_[id].facts().name : std::string()},
          {"resource", id < pod_ids ? std::string(topic_resources[ticket & 0xffU]) : "pods"},
          {"error", result.error().message}});
  if (id < pod_ids) {
    Reply reply;
    const auto topic = topic_of(ticket);
    if (result && (topic == Topic::node || topic == Topic::node_status)) {
      if (auto stored = reconcile::decode<Stored>(body, pool_)) reply = {stored->metadata.uid, stored->metadata.resource_version};
    }
    hosts_[id].done(topic, result, reply, now);
    const bool runs = hosts_[id].runs_pods();
    kick(id);
    if (runs && topic == Topic::node) kick_pods(id);  // pods were bound to a Node of that name before
    return;
  }
  if (const auto pod = pods_.find(id); pod != pods_.end()) {
    pod->second.done(result, now);
    kick(id);
  }
}

void Fleet::unanswered(Ticket ticket, const Error& error) {
  const auto id = id_of(ticket);
  count(ticket, reconcile::code_name(error.code));
  log_(Level::debug, "a write was not answered", {{"error", error.message}});
  if (id < pod_ids)
    hosts_[id].put_back(topic_of(ticket));
  else if (const auto pod = pods_.find(id); pod != pods_.end())
    pod->second.put_back();
}

// ---- figures ----

void Fleet::count(Ticket ticket, std::string_view result) {
  if (hooks_.wrote) hooks_.wrote(id_of(ticket) < pod_ids ? topic_resources[ticket & 0xffU] : std::string_view("pods"), result);
}

FleetFigures Fleet::figures() const {
  FleetFigures f;
  std::map<std::string_view, Serving> serving;
  for (const auto& h : hosts_) {
    ++f.hosts[static_cast<std::size_t>(h.state())];
    if (h.serves()) {
      auto& at = serving[h.served_revision().view()];
      at.revision = h.served_revision();
      ++at.hosts;
      if (h.work_fails()) ++at.failing;
    }
    f.packages_applied += h.packages().applied;
    f.packages_failed += h.packages().failed;
    if (h.is_enrolled()) ++f.registered;
  }
  for (auto& [revision, at] : serving) f.serving.push_back(std::move(at));
  for (const auto& [id, pod] : pods_) ++f.pods[static_cast<std::size_t>(pod.phase())];
  f.bad_faults = bad_faults_;
  f.synced = was_synced_;
  f.writes_waiting = writes_.waiting();
  f.writes_in_flight = writes_.in_flight();
  f.writes_paused = writes_.paused();
  const auto now = env_.now().mono;
  for (const auto& w : watches_) f.watch_lag.emplace_back(w->store.kind().resource->plural, w->reflector.lag(now));
  return f;
}

void Fleet::tick() {
  if (hooks_.counted) hooks_.counted(figures());
  tick_ = env_.at(env_.now().mono + options_.tick, [this] {
    const auto running = std::move(tick_);  // we are inside it
    tick();
  });
}

}  // namespace endstate::fleet
