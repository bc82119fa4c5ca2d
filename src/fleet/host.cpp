#include "src/fleet/host.hpp"

#include <algorithm>
#include <functional>

#include "apis/v1alpha1/agent_lease.hpp"
#include "reconcile/json/encode.hpp"
#include "reconcile/kube/url.hpp"

namespace endstate::fleet {
namespace {

using namespace std::chrono_literals;
using reconcile::Call, reconcile::Code, reconcile::Condition, reconcile::ConditionStatus, reconcile::Error, reconcile::Result,
    reconcile::Verb;
using v1alpha1::PackageState, v1alpha1::RequestState;

constexpr std::string_view agent_manager = "endstate-agent", kubelet_manager = "kubelet", inventory_manager = "endstate-fleet-inventory";
constexpr std::string_view kubelet_slot = "kubelet", runtime_slot = "runtime";

std::uint64_t fingerprint(std::string_view text) {
  const auto h = std::hash<std::string_view>{}(text);
  return h == 0 ? 1 : h;  // 0: nothing was said
}

// Resource versions are decimal numbers that only grow (KEP-5504 made that a promise).
bool older(std::string_view a, std::string_view b) { return a.size() != b.size() ? a.size() < b.size() : a < b; }

std::uint64_t fingerprint_of(std::string_view version, std::string_view boot, std::string_view status, std::string_view reason) {
  std::string all;
  for (const auto part : {version, boot, status, reason}) all.append(part).push_back('\n');
  return fingerprint(all);
}

std::uint64_t said_by(const SeenNode& node) {
  const auto& info = node.status.node_info;
  for (const auto& c : node.status.conditions)
    if (c.type == "Ready") return fingerprint_of(info.kubelet_version, info.boot_id, c.status, c.reason);
  return 0;
}

const Packages::Slot* slot_of(const Packages& packages, std::string_view name, std::string_view package_name) {
  const auto* slot = packages.find(name);
  return slot != nullptr ? slot : packages.find_package(package_name);
}

bool is_ready(const Packages::Slot* slot) { return slot != nullptr && !slot->removing && slot->state == PackageState::ready; }

void say(std::vector<Condition>& conditions, std::string_view type, bool good, std::string_view reason, std::string_view message,
         WallTime now) {
  Condition c;
  c.type = type;
  c.status = good ? ConditionStatus::true_ : ConditionStatus::false_;
  c.reason = reason;
  c.message = message;
  reconcile::set_condition(conditions, std::move(c), now);
}

}  // namespace

HostModel::HostModel(HostFacts facts, std::shared_ptr<const Settings> settings)
    : facts_(std::move(facts)), settings_(std::move(settings)), chance_(facts_.seed), boot_id_(uuid_of(facts_.seed, "boot")) {}

// ---- what is seen ----

void HostModel::saw_host(const v1alpha1::Host* host) {
  listed_ = true;
  registered_ = host != nullptr;
  if (host == nullptr) return;
  known_ = true;
  uid_ = host->metadata.uid;
  enrolled_ = host->status.phase != v1alpha1::HostPhase::registered;
  if (!assigned_ && host->status.agent && !host->status.agent->boot_id.empty()) boot_id_ = host->status.agent->boot_id.str();
}

void HostModel::saw_assignment(const Assignment* assignment, Now now) {
  if (assignment == nullptr) {
    assigned_ = false;
    reported_ = 0;
    agent_lease_ = {};
    return;
  }
  if (!assigned_ || assignment->metadata.uid != assignment_uid_) take_up(*assignment, now);
  const auto generation = assignment->metadata.generation.value_or(0);
  if (generation == generation_ && assignment->spec == order_) return;
  generation_ = generation;
  order_ = assignment->spec;
  adopt(now);
}

// A HostAssignment that this model hasn't seen. If we have no past ourselves (the fleet was restarted), its report is ours.
void HostModel::take_up(const Assignment& assignment, Now now) {
  const auto& status = assignment.status;
  assigned_ = true;
  assignment_uid_ = assignment.metadata.uid;
  generation_ = -1;
  reported_ = fingerprint(reconcile::encode(status));
  const bool reported_before = status.agent.has_value();
  agent_lease_ = {.known = reported_before};
  if (reported_before) agent_lease_.due = now.mono + chance_.between(0s, settings_->lease_period / 3);
  if (!owner_.empty() || !packages_.slots().empty() || !reported_before) return;
  if (!status.agent->boot_id.empty()) boot_id_ = status.agent->boot_id.str();
  packages_.restore(status.packages);
  if (!packages_.slots().empty()) owner_ = assignment.spec.machine_uid;
  conditions_ = status.conditions;
  for (const auto& r : status.requests) requests_.push_back({.report = r});
}

void HostModel::adopt(Now now) {
  report_dirty_ = true;
  std::vector<Request> kept;
  for (const auto& wanted : order_.requests) {
    const auto old = std::find_if(requests_.begin(), requests_.end(), [&](const Request& r) { return r.report.id == wanted.id; });
    kept.push_back(old != requests_.end() ? std::move(*old) : Request{});
    kept.back().report.id = wanted.id;
    kept.back().type = wanted.type;
  }
  requests_ = std::move(kept);
  // Another Machine's disk is wiped before it becomes this one's: what the last one left is nobody's business.
  const bool other = !owner_.empty() && owner_ != order_.machine_uid;
  if (released() || other) {
    wiping_ = true;
    packages_.wipe();
    return;
  }
  wiping_ = false;
  owner_ = order_.machine_uid;
  const auto name = order_.node_name.empty() ? facts_.name : order_.node_name.str();
  if (name != node_name_) {
    node_name_ = name;
    node_ = {};
    node_lease_ = {};
  }
  packages_.want(order_.packages);
  (void)now;
}

void HostModel::saw_node(const SeenNode& node, Now now) {
  if (older(node.metadata.resource_version, node_.version)) return;
  if (!node_.exists && !flight(Topic::node).busy) {  // it was there before us; ours may be seen before its creation is answered
    node_lease_.known = true;
    node_lease_.due = now.mono + chance_.between(0s, settings_->lease_period / 3);
  }
  node_.exists = true;
  node_.uid = node.metadata.uid;
  node_.version = node.metadata.resource_version;
  node_.said = said_by(node);
  for (const auto& c : node.status.conditions) {
    const bool ready = c.type == "Ready" && c.status == "True";
    node_.was_ready = node_.was_ready || ready;
    if (kubelet_started_) continue;  // else these are our own times, from before the fleet was restarted
    if (ready) ready_since_ = c.last_transition_time;
    if (c.type == "MemoryPressure") kubelet_since_ = c.last_transition_time;
  }
}

void HostModel::saw_node_go(const Text& node_uid, Now now) {
  if (node_.exists && (node_.uid.empty() || node_.uid == node_uid)) node_gone(now);
}

void HostModel::node_gone(Now now) {
  auto version = std::move(node_.version);
  node_ = {};
  node_.version = std::move(version);  // what is older than that still is
  node_.register_at = now.mono + chance_.between(5s, 15s, settings_->pace.scale);
  node_lease_ = {};
  ready_told_ = false;
}

void HostModel::set_faults(Faults faults) {
  std::erase_if(faults.all, [&](const Fault& f) { return !f.takes(facts_.seed); });
  faults_ = std::move(faults);
}

// ---- what the host does ----

bool HostModel::agent_works() const {
  return !packages_.holds(faults_, FaultKind::agent_silent) && !packages_.holds(faults_, FaultKind::host_down);
}

bool HostModel::kubelet_runs() const {
  return kubelet_started_ && !wiping_ && !released() && !packages_.holds(faults_, FaultKind::host_down);
}

bool HostModel::node_is_ready() const { return ready_told_ && !packages_.holds(faults_, FaultKind::node_not_ready); }

void HostModel::advance(Now now) {
  if (agent_works()) work(now);
  work_reboots(now);
  work_kubelet(now);
  if (report_dirty_) update_report(now);
}

void HostModel::work(Now now) {
  const auto installed = packages_.advance(now.mono, faults_, chance_, settings_->pace);
  report_dirty_ = report_dirty_ || installed;
  if (wiping_ && packages_.slots().empty()) {
    wiping_ = false;
    owner_ = {};
    served_ = {};
    kubelet_started_ = false;
    report_dirty_ = true;
    if (!released()) {
      adopt(now);
      packages_.advance(now.mono, faults_, chance_, settings_->pace);
    }
  }
  if (!wiping_ && !released() && packages_.all_ready()) served_ = order_.revision;
  work_requests(now);
}

void HostModel::work_requests(Now now) {
  for (auto& r : requests_) {
    if (r.report.state == RequestState::done || r.report.state == RequestState::failed) continue;
    if (!r.due) {
      r.due = now.mono + chance_.between(5s, 15s, settings_->pace.scale);
      r.report.state = RequestState::running;
      report_dirty_ = true;
    }
    if (*r.due > now.mono) continue;
    r.report.state = RequestState::done;
    report_dirty_ = true;
    if (r.type == v1alpha1::RequestType::wipe) {
      packages_.forget();
      kubelet_started_ = false;
      packages_.advance(now.mono, faults_, chance_, settings_->pace);
    }
    if (r.type == v1alpha1::RequestType::reboot) reboot(now);
    if (r.type != v1alpha1::RequestType::restart) ready_told_ = false;
    ready_at_ = now.mono + chance_.between(1s, 3s, settings_->pace.scale);
  }
}

// Its kubelet is back after a while, and says so under the new boot.
void HostModel::reboot(Now now) {
  boot_id_ = uuid_of(facts_.seed, boot_id_, ++boots_);
  ready_told_ = false;
  ready_at_ = now.mono + chance_.between(1s, 3s, settings_->pace.scale);
  report_dirty_ = true;
}

void HostModel::work_reboots(Now now) {
  const auto* fault = packages_.find(faults_, FaultKind::reboots);
  if (fault == nullptr || packages_.holds(faults_, FaultKind::host_down)) {
    reboot_at_.reset();
    return;
  }
  if (reboot_at_ && *reboot_at_ <= now.mono) {
    reboot(now);
    reboot_at_.reset();
  }
  if (!reboot_at_) reboot_at_ = now.mono + fault->every;
}

void HostModel::work_kubelet(Now now) {
  const auto* slot = slot_of(packages_, kubelet_slot, kubelet_slot);
  if (slot == nullptr || !slot->actual) kubelet_started_ = false;
  if (is_ready(slot)) {
    if (!kubelet_started_) {
      // A Node that says Ready was our own before the fleet was restarted: no kubelet has started, nothing may flap.
      ready_told_ = node_.was_ready;
      ready_at_ = now.mono + chance_.between(1s, 3s, settings_->pace.scale);
      if (!node_.was_ready || kubelet_since_ == WallTime{}) kubelet_since_ = now.wall;
    }
    kubelet_started_ = true;
    kubelet_version_ = slot->actual_version;
  }
  if (!kubelet_runs()) {
    ready_told_ = false;
    return;
  }
  const bool was = node_is_ready();
  if (now.mono >= ready_at_) ready_told_ = true;
  if (node_is_ready() != was || ready_since_ == WallTime{}) ready_since_ = now.wall;
}

v1alpha1::Agent HostModel::agent() const { return {settings_->agent_version, Text(boot_id_)}; }

v1alpha1::HostAssignmentStatus HostModel::report() const {
  v1alpha1::HostAssignmentStatus s;
  s.observed_generation = generation_;
  s.observed_revision = order_.revision;
  s.packages = packages_.report();
  for (const auto& r : requests_) s.requests.push_back(r.report);
  s.agent = agent();
  s.capacity = facts_.capacity;
  s.conditions = conditions_;
  return s;
}

void HostModel::update_report(Now now) {
  report_dirty_ = false;
  const auto* runtime = slot_of(packages_, runtime_slot, "containerd");
  const auto* network = packages_.find("network") != nullptr ? packages_.find("network") : packages_.find("cni");
  if (released() && packages_.slots().empty()) {
    conditions_.clear();
    say(conditions_, "Wiped", true, "Released", "nothing of the machine is left on the host", now.wall);
  } else {
    std::erase_if(conditions_, [](const Condition& c) { return c.type == "Wiped"; });
    // Without a slot of its own the runtime is the kubelet's, and the network the runtime's.
    const bool runs =
        runtime != nullptr ? runtime->actual && !runtime->removing && runtime->state != PackageState::failed : packages_.all_ready();
    const bool first_install = runtime != nullptr && runtime->state != PackageState::ready && !find_condition(conditions_, "RuntimeReady");
    const bool runtime_ready = runs && !first_install;
    const bool network_ready = network != nullptr ? is_ready(network) : runtime_ready;
    say(conditions_, "RuntimeReady", runtime_ready, runtime_ready ? "RuntimeRuns" : "RuntimeNotInstalled",
        runtime_ready ? "" : "the container runtime is not installed", now.wall);
    say(conditions_, "NetworkReady", network_ready, network_ready ? "NetworkConfigured" : "NetworkNotConfigured",
        network_ready ? "" : "the pod network is not configured", now.wall);
  }
  report_ = fingerprint(reconcile::encode(report()));
}

// ---- what the host says ----

std::uint64_t HostModel::node_says() const {
  const bool ready = node_is_ready();
  return fingerprint_of("v" + kubelet_version_.str(), boot_id_, ready ? "True" : "False", ready ? "KubeletReady" : "KubeletNotReady");
}

bool HostModel::due(Topic topic) const {
  switch (topic) {
    case Topic::inventory: return listed_ && !registered_ && !known_;
    case Topic::enrolment: return registered_ && !enrolled_;
    case Topic::report: return assigned_ && agent_works() && report_ != reported_;
    case Topic::agent_lease: return assigned_ && agent_works() && !uid_.empty();
    case Topic::node: return kubelet_runs() && !node_.exists;
    case Topic::node_status: return kubelet_runs() && node_.exists && node_.said != node_says();
    case Topic::node_lease: return kubelet_runs() && node_.exists && !node_.uid.empty();
  }
  return false;
}

MonoTime HostModel::due_at(Topic topic) const {
  auto at = flight(topic).not_before;
  if (topic == Topic::agent_lease) at = std::max(at, agent_lease_.due);
  if (topic == Topic::node_lease) at = std::max(at, node_lease_.due);
  if (topic == Topic::node) at = std::max(at, node_.register_at);
  return at;
}

bool HostModel::wants(Topic topic, MonoTime now) const { return !flight(topic).busy && due(topic) && due_at(topic) <= now; }

bool HostModel::can_wait(Topic topic) const {
  return (topic == Topic::agent_lease && agent_lease_.known) || (topic == Topic::node_lease && node_lease_.known);
}

MonoTime HostModel::next(MonoTime now) const {
  auto first = MonoTime::max();
  const auto consider = [&](MonoTime at) {
    if (at > now) first = std::min(first, at);
  };
  if (agent_works()) {
    consider(packages_.next());
    for (const auto& r : requests_)
      if (r.due && r.report.state == RequestState::running) consider(*r.due);
  }
  if (reboot_at_) consider(*reboot_at_);
  if (kubelet_runs() && !ready_told_) consider(ready_at_);
  for (std::size_t i = 0; i < topic_count; ++i) {
    const auto topic = static_cast<Topic>(i);
    if (!flight(topic).busy && due(topic)) consider(due_at(topic));
  }
  return first;
}

Call HostModel::take(Topic topic, Now now) {
  auto& f = flight(topic);
  f.busy = true;
  if (topic == Topic::report) f.sent = report_;
  if (topic == Topic::node || topic == Topic::node_status) f.sent = node_says();
  return call(topic, now);
}

NodeStatus HostModel::node_status(Now now) const {
  const bool ready = node_is_ready();
  NodeStatus s;
  s.capacity = facts_.capacity;
  s.capacity.erase("endstate.dev/free-disk");  // the agent's word, not a resource that a kubelet knows
  s.allocatable = s.capacity;
  const auto condition = [&](std::string_view type, bool holds, std::string_view reason, std::string_view message) {
    s.conditions.push_back({type, holds ? "True" : "False", reason, message, now.wall, type == "Ready" ? ready_since_ : kubelet_since_});
  };
  condition("MemoryPressure", false, "KubeletHasSufficientMemory", "kubelet has sufficient memory available");
  condition("DiskPressure", false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure");
  condition("PIDPressure", false, "KubeletHasSufficientPID", "kubelet has sufficient PID available");
  if (ready)
    condition("Ready", true, "KubeletReady", "kubelet is posting ready status");
  else
    condition("Ready", false, "KubeletNotReady",
              packages_.holds(faults_, FaultKind::node_not_ready) ? "container runtime is down: simulated by a fault"
                                                                  : "container runtime network not ready");
  s.addresses = {{"InternalIP", Text(facts_.address)}, {"Hostname", Text(facts_.name)}};
  const auto* runtime = slot_of(packages_, runtime_slot, "containerd");
  s.node_info = {.architecture = "amd64",
                 .boot_id = Text(boot_id_),
                 .container_runtime_version =
                     runtime != nullptr ? Text("containerd://" + runtime->actual_version.str()) : Text("containerd://unknown"),
                 .kernel_version = "6.1.0-sim",
                 .kubelet_version = Text("v" + kubelet_version_.str()),
                 .machine_id = Text(uuid_of(facts_.seed, "machine")),
                 .operating_system = "linux",
                 .os_image = "Simulated by endstate-fleet",
                 .system_uuid = Text(uuid_of(facts_.seed, "board"))};
  return s;
}

Call HostModel::call(Topic topic, Now now) const {
  switch (topic) {
    case Topic::inventory: {
      v1alpha1::Host host;
      host.metadata.name = facts_.name;
      host.metadata.name_space = facts_.name_space;
      host.spec.address = facts_.address;
      auto& hardware = host.spec.hardware;
      hardware.idc = facts_.idc;
      hardware.rack = facts_.rack;
      hardware.serial_number = facts_.serial_number;
      hardware.vendor = "Simulated";
      hardware.model = facts_.model;
      // The status subresource drops what stands in `status`; leaving it out keeps the request small.
      return {.verb = Verb::create,
              .resource = &reconcile::resource_of<v1alpha1::Host>,
              .name_space = facts_.name_space,
              .query = "fieldManager=" + std::string(inventory_manager),
              .body = R"({"apiVersion":"endstate.dev/v1alpha1","kind":"Host","metadata":)" + reconcile::encode(host.metadata) +
                      R"(,"spec":)" + reconcile::encode(host.spec) + "}"};
    }
    case Topic::enrolment: {
      v1alpha1::HostStatus status;
      status.phase = v1alpha1::HostPhase::ready;
      status.agent = agent();
      status.capacity = facts_.capacity;
      return {.verb = Verb::apply,
              .resource = &reconcile::resource_of<v1alpha1::Host>,
              .name_space = facts_.name_space,
              .name = facts_.name,
              .subresource = "status",
              .query = reconcile::apply_query(inventory_manager),
              .body = R"({"apiVersion":"endstate.dev/v1alpha1","kind":"Host","metadata":{"name":)" + reconcile::quote(facts_.name) +
                      R"(,"namespace":)" + reconcile::quote(facts_.name_space) + R"(,"uid":)" + reconcile::quote(uid_) + R"(},"status":)" +
                      reconcile::encode(status) + "}"};
    }
    case Topic::report:
      return {.verb = Verb::apply,
              .resource = &reconcile::resource_of<Assignment>,
              .name = uid_.str(),
              .subresource = "status",
              .query = reconcile::apply_query(agent_manager),
              .body = R"({"apiVersion":"endstate.dev/v1alpha1","kind":"HostAssignment","metadata":{"name":)" + reconcile::quote(uid_) +
                      R"(,"uid":)" + reconcile::quote(assignment_uid_) + R"(},"status":)" + reconcile::encode(report()) + "}"};
    case Topic::node: {
      NewNode node;
      node.metadata.name = node_name_;
      node.metadata.labels = {{"kubernetes.io/hostname", node_name_},
                              {"kubernetes.io/os", "linux"},
                              {"kubernetes.io/arch", "amd64"},
                              {"topology.kubernetes.io/zone", facts_.idc},
                              {"topology.endstate.dev/rack", facts_.rack}};
      node.spec.provider_id = Text("fleet://" + facts_.idc + "/" + facts_.serial_number);
      node.spec.taints = {{v1alpha1::taint::not_ready, v1alpha1::taint::no_schedule}};
      // A Node's status stands in its creation already, as the kubelet's does (registry/core/node/strategy.go keeps it): one write less.
      node.status = node_status(now);
      return {.verb = Verb::create,
              .resource = &reconcile::resource_of<SeenNode>,
              .query = "fieldManager=" + std::string(kubelet_manager),
              .body = reconcile::encode_object("v1", "Node", reconcile::type_of<NewNode>, &node)};
    }
    case Topic::node_status: {
      std::string metadata = R"({"name":)" + reconcile::quote(node_name_);
      if (!node_.uid.empty()) metadata += R"(,"uid":)" + reconcile::quote(node_.uid);
      return {.verb = Verb::apply,
              .resource = &reconcile::resource_of<SeenNode>,
              .name = node_name_,
              .subresource = "status",
              .query = reconcile::apply_query(kubelet_manager),
              .body = R"({"apiVersion":"v1","kind":"Node","metadata":)" + metadata + R"(},"status":)" +
                      reconcile::encode(node_status(now)) + "}"};
    }
    case Topic::agent_lease:
    case Topic::node_lease: return lease_call(topic, now);
  }
  return {};
}

// The owner of a Lease is what it speaks for, so that garbage collection takes it along.
Call HostModel::lease_call(Topic topic, Now now) const {
  const bool of_agent = topic == Topic::agent_lease;
  Lease lease;
  lease.metadata.name = of_agent ? Text(v1alpha1::agent_lease_name(uid_)) : Text(node_name_);
  lease.metadata.name_space = of_agent ? v1alpha1::system_namespace : "kube-node-lease";
  auto& owner = lease.metadata.owner_references.emplace_back();
  owner.api_version = of_agent ? "endstate.dev/v1alpha1" : "v1";
  owner.kind = of_agent ? "HostAssignment" : "Node";
  owner.name = of_agent ? uid_ : Text(node_name_);
  owner.uid = of_agent ? assignment_uid_ : node_.uid;
  const auto known = of_agent ? agent_lease_.known : node_lease_.known;
  lease.spec.holder_identity = of_agent ? Text(facts_.name) : Text(node_name_);
  lease.spec.lease_duration_seconds = settings_->lease_period.count() * 3;
  lease.spec.renew_time = {now.wall};
  Call call{.verb = known ? Verb::merge_patch : Verb::create,
            .resource = &reconcile::resource_of<Lease>,
            .name_space = lease.metadata.name_space.str(),
            .query = "fieldManager=" + std::string(of_agent ? agent_manager : kubelet_manager)};
  if (known) {
    call.name = lease.metadata.name.str();
    call.body = reconcile::encode(lease);
  } else {
    lease.spec.acquire_time = {now.wall};
    call.body = reconcile::encode_object("coordination.k8s.io/v1", "Lease", reconcile::type_of<Lease>, &lease);
  }
  return call;
}

// ---- how it ended ----

void HostModel::put_back(Topic topic) { flight(topic).busy = false; }

void HostModel::done(Topic topic, const Result<void>& result, const Reply& reply, Now now) {
  flight(topic).busy = false;
  if (result) {
    flight(topic).failures = 0;
    flight(topic).not_before = {};
    went_well(topic, reply, now);
  } else {
    went_wrong(topic, result.error(), now);
  }
}

void HostModel::went_well(Topic topic, const Reply& reply, Now now) {
  switch (topic) {
    case Topic::inventory: known_ = true; break;
    case Topic::enrolment: enrolled_ = true; break;
    case Topic::report: reported_ = flight(topic).sent; break;
    case Topic::node:
    case Topic::node_status:
      node_.exists = true;
      node_.uid = reply.uid;
      if (!older(reply.resource_version, node_.version)) node_.version = reply.resource_version;
      node_.said = flight(topic).sent;
      if (node_.said == node_says() && node_is_ready()) node_.was_ready = true;
      break;
    case Topic::agent_lease:
    case Topic::node_lease: {
      auto& l = lease(topic);
      const auto period = std::chrono::nanoseconds(settings_->lease_period);
      // The first renewal anywhere in the period's second half, so that hosts that joined together don't renew together for ever.
      l.due = now.mono + (l.known ? chance_.between(period * 9 / 10, period * 11 / 10) : chance_.between(period / 2, period));
      l.known = true;
      break;
    }
  }
}

void HostModel::went_wrong(Topic topic, const Error& error, Now now) {
  auto& f = flight(topic);
  const bool is_lease = topic == Topic::agent_lease || topic == Topic::node_lease;
  const bool first = f.failures == 0;
  f.failures = static_cast<std::uint8_t>(std::min(f.failures + 1, 7));
  const auto wait = chance_.between(1s, 1250ms) * (1U << (f.failures - 1U));  // 1 s .. 80 s
  f.not_before = now.mono + wait;
  if (error.code == Code::exists) {
    if (topic == Topic::inventory) known_ = true;
    if (topic == Topic::node) node_.exists = true, node_.said = 0;  // whose uid the next status write tells
    if (is_lease) lease(topic).known = true;
    if (first) f.not_before = now.mono;
  } else if (error.code == Code::not_found) {
    if (topic == Topic::node_status) node_gone(now);
    if (is_lease && lease(topic).known) {
      lease(topic).known = false;
      if (first) f.not_before = now.mono;
    }
  } else if (error.code == Code::conflict && topic == Topic::node_status) {
    node_.uid = {};  // another Node has the name now: learn which
  }
}

bool HostModel::serves() const { return kubelet_runs() && node_.exists && node_is_ready() && !served_.empty(); }

HostState HostModel::state() const {
  if (!registered_) return HostState::unregistered;
  if (packages_.holds(faults_, FaultKind::host_down)) return HostState::down;
  if (!agent_works()) return HostState::silent;
  if (!assigned_ && owner_.empty()) return HostState::free;
  if (released() || wiping_) return HostState::releasing;
  if (packages_.any_failed()) return HostState::failed;
  if (!packages_.all_ready()) return HostState::installing;
  if (slot_of(packages_, kubelet_slot, kubelet_slot) == nullptr) return HostState::ready;  // a host without a kubelet has no Node
  if (node_.exists && node_is_ready() && node_.said == node_says()) return HostState::ready;
  return node_.was_ready ? HostState::not_ready : HostState::joining;
}

}  // namespace endstate::fleet
