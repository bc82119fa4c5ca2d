#include "src/fleet/host.hpp"

#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "reconcile/json/decode.hpp"

using namespace endstate::fleet;
using namespace std::chrono_literals;
namespace api = endstate::v1alpha1;
using reconcile::Code, reconcile::MonoTime, reconcile::Verb;

namespace {

AgentPackage package(std::string_view slot, std::string_view name, std::string_view version, std::string_view requires_ = {}) {
  AgentPackage p;
  p.name = slot;
  p.version.name = std::string(name) + "-" + std::string(version);
  p.version.uid = "uid";
  p.version.digest = "d" + std::string(version);
  p.spec.package_name = name;
  p.spec.version = version;
  if (!requires_.empty()) p.spec.requires_.push_back({requires_, {}});
  return p;
}

struct ReadNode {  // what a kubelet wrote, as others read it
  reconcile::ObjectMeta metadata;
  NodeSpec spec;
  NodeStatus status;
};
consteval auto describe(const ReadNode*) {
  return reconcile::object("Node.", reconcile::field<&ReadNode::metadata>("metadata", ""), reconcile::field<&ReadNode::spec>("spec", ""),
                           reconcile::field<&ReadNode::status>("status", ""));
}
struct ReadLease {
  reconcile::ObjectMeta metadata;
  LeaseSpec spec;
};
consteval auto describe(const ReadLease*) {
  return reconcile::object("Lease.", reconcile::field<&ReadLease::metadata>("metadata", ""),
                           reconcile::field<&ReadLease::spec>("spec", ""));
}

// A host, and an API server that is one struct: it stores what is written and shows it back.
struct Rig {
  std::shared_ptr<Settings> settings = std::make_shared<Settings>();
  HostFacts facts = host_facts({}, 0);
  std::unique_ptr<HostModel> host;
  reconcile::Pool pool;
  Now now{MonoTime{} + 1h, reconcile::WallTime(1'764'000'000s)};
  int version = 100;
  std::optional<api::Host> stored_host;
  std::optional<Assignment> assignment;
  std::optional<ReadNode> node;
  std::map<std::string, ReadLease> leases;
  std::map<Topic, int> writes;
  std::map<Topic, Code> refuse;  // what the API server answers instead
  Faults faults;

  explicit Rig(double scale = 0) {
    settings->pace.scale = scale;
    restart();
  }
  void restart() {  // of the fleet
    host = std::make_unique<HostModel>(facts, settings);
    host->set_faults(faults);
    show();
  }
  std::string next_version() { return std::to_string(++version); }
  void show() {
    host->saw_host(stored_host ? &*stored_host : nullptr);
    host->saw_assignment(assignment ? &*assignment : nullptr, now);
    if (node) host->saw_node(seen(), now);
  }
  SeenNode seen() const {
    SeenNode s;
    s.metadata = node->metadata;
    for (const auto& c : node->status.conditions) s.status.conditions.push_back({c.type, c.status, c.reason, c.last_transition_time});
    s.status.node_info = {node->status.node_info.boot_id, node->status.node_info.kubelet_version};
    return s;
  }
  void assign(std::vector<AgentPackage> packages, std::string_view revision = "r1", std::string_view machine = "m-1") {
    if (!assignment) {
      assignment.emplace();
      assignment->metadata.uid = "a-" + next_version();
      assignment->metadata.generation = 0;
    }
    assignment->metadata.name = stored_host->metadata.uid;
    *assignment->metadata.generation += 1;
    assignment->spec.state = api::AssignmentState::active;
    assignment->spec.machine_uid = machine;
    assignment->spec.revision = revision;
    assignment->spec.packages = std::move(packages);
    show();
  }
  void assign_usual(std::string_view kubelet = "1.34.3", std::string_view revision = "r1") {
    assign({package("runtime", "containerd", "1.7.20"), package("kubelet", "kubelet", kubelet, "containerd")}, revision);
  }
  void release() {
    *assignment->metadata.generation += 1;
    assignment->spec.state = api::AssignmentState::released;
    show();
  }
  void fault(std::string_view text) {
    faults.all.clear();
    if (!text.empty()) faults.all.push_back(*parse_fault(text));
    host->set_faults(faults);
  }

  template <class T>
  T read(const std::string& json) {
    auto r = reconcile::decode<T>(json, pool);
    INFO(json);
    REQUIRE(r);
    return std::move(*r);
  }
  reconcile::Result<void> store(Topic topic, const reconcile::Call& call, Reply& reply) {
    switch (topic) {
      case Topic::inventory: {
        if (stored_host) return reconcile::fail(Code::exists, "exists");
        stored_host = read<api::Host>(call.body);
        stored_host->metadata.uid = "h-1";
        break;
      }
      case Topic::enrolment: stored_host->status = read<api::Host>(call.body).status; break;
      case Topic::report: {
        if (!assignment) return reconcile::fail(Code::not_found, "gone");
        const auto written = read<Assignment>(call.body);
        if (written.metadata.uid != assignment->metadata.uid) return reconcile::fail(Code::conflict, "uid");
        assignment->status = written.status;
        break;
      }
      case Topic::node: {
        if (node) return reconcile::fail(Code::exists, "exists");
        node = read<ReadNode>(call.body);
        node->metadata.uid = "n-" + next_version();
        node->metadata.resource_version = next_version();
        reply = {node->metadata.uid, node->metadata.resource_version};
        break;
      }
      case Topic::node_status: {
        if (!node) return reconcile::fail(Code::not_found, "gone");
        const auto written = read<ReadNode>(call.body);
        if (!written.metadata.uid.empty() && written.metadata.uid != node->metadata.uid) return reconcile::fail(Code::conflict, "uid");
        node->status = written.status;
        node->metadata.resource_version = next_version();
        reply = {node->metadata.uid, node->metadata.resource_version};
        break;
      }
      case Topic::agent_lease:
      case Topic::node_lease: {
        auto lease = read<ReadLease>(call.body);
        const auto key = call.name_space + "/" + lease.metadata.name.str();
        if (call.verb == Verb::create && leases.contains(key)) return reconcile::fail(Code::exists, "exists");
        if (call.verb == Verb::merge_patch && !leases.contains(key)) return reconcile::fail(Code::not_found, "gone");
        leases[key] = lease;
        break;
      }
    }
    return {};
  }
  void write(Topic topic) {
    const auto call = host->take(topic, now);
    ++writes[topic];
    Reply reply;
    const auto result =
        refuse.contains(topic) ? reconcile::Result<void>(reconcile::fail(refuse[topic], "refused")) : store(topic, call, reply);
    host->done(topic, result, reply, now);
    show();
  }
  // One moment: all that is wanted now is written.
  void moment() {
    for (int round = 0; round < 20; ++round) {
      host->advance(now);
      bool any = false;
      for (std::size_t t = 0; t < topic_count; ++t)
        if (host->wants(static_cast<Topic>(t), now.mono)) {
          write(static_cast<Topic>(t));
          any = true;
        }
      if (!any) return;
    }
    FAIL("it never ends");
  }
  void run(std::chrono::nanoseconds duration) {
    const auto end = now.mono + duration;
    moment();
    for (int i = 0; i < 10'000; ++i) {
      const auto next = host->next(now.mono);
      REQUIRE(next > now.mono);
      if (next > end) break;
      now.wall += std::chrono::duration_cast<std::chrono::microseconds>(next - now.mono);
      now.mono = next;
      moment();
    }
    now.wall += std::chrono::duration_cast<std::chrono::microseconds>(end - now.mono);
    now.mono = end;
    moment();
  }
  void joined() {
    moment();
    assign_usual();
    run(5min);
    REQUIRE(host->state() == HostState::ready);
    writes.clear();
  }
  const NodeCondition& ready() const {
    for (const auto& c : node->status.conditions)
      if (c.type == "Ready") return c;
    throw std::logic_error("no Ready condition");
  }
  const api::PackageReport& package_report(std::string_view slot) const {
    for (const auto& p : assignment->status.packages)
      if (p.name == slot) return p;
    throw std::logic_error("no such slot");
  }
};

}  // namespace

TEST_CASE("a host registers and enrols, once") {
  Rig rig;
  rig.moment();
  REQUIRE(rig.stored_host);
  CHECK(rig.stored_host->metadata.name == "host-0001");
  CHECK(rig.stored_host->metadata.name_space == "default");
  CHECK(rig.stored_host->spec.hardware.rack == "rack-01");
  CHECK(rig.stored_host->spec.hardware.idc == "idc-a");
  CHECK_FALSE(rig.stored_host->spec.hardware.serial_number.empty());
  CHECK(rig.stored_host->status.phase == api::HostPhase::ready);
  CHECK_FALSE(rig.stored_host->status.agent->boot_id.empty());
  CHECK(rig.stored_host->status.capacity.get("pods") == "110");
  CHECK(rig.stored_host->status.capacity.get("endstate.dev/free-disk") == rig.stored_host->status.capacity.get("ephemeral-storage"));
  CHECK(rig.writes == std::map<Topic, int>{{Topic::inventory, 1}, {Topic::enrolment, 1}});
  CHECK(rig.host->state() == HostState::free);
  CHECK(rig.host->next(rig.now.mono) == MonoTime::max());

  SECTION("a restart writes nothing, and changes no claim") {
    rig.stored_host->spec.consumer_ref = api::ConsumerRef{"Machine", "default", "w-1", "m-1"};
    rig.writes.clear();
    rig.restart();
    rig.run(1h);
    CHECK(rig.writes.empty());
    CHECK(rig.stored_host->spec.consumer_ref);
  }
  SECTION("a Host that somebody deleted stays deleted") {
    rig.stored_host.reset();
    rig.writes.clear();
    rig.show();
    rig.run(1h);
    CHECK(rig.writes.empty());
    CHECK(rig.host->state() == HostState::unregistered);
  }
}

TEST_CASE("without delays a host joins with one report, one Node and two leases") {
  Rig rig;
  rig.moment();
  rig.writes.clear();
  rig.assign_usual();
  rig.moment();
  CHECK(rig.writes == std::map<Topic, int>{{Topic::report, 1}, {Topic::agent_lease, 1}, {Topic::node, 1}, {Topic::node_lease, 1}});
  const auto& status = rig.assignment->status;
  CHECK(status.observed_revision == "r1");
  CHECK(status.observed_generation == 1);
  CHECK(status.packages.size() == 2);
  CHECK(rig.package_report("kubelet").state == api::PackageState::ready);
  CHECK(rig.package_report("kubelet").actual->name == "kubelet-1.34.3");
  CHECK(reconcile::is_true(status.conditions, "RuntimeReady"));
  CHECK(reconcile::is_true(status.conditions, "NetworkReady"));
  CHECK(status.agent == rig.stored_host->status.agent);
  CHECK(status.capacity == rig.stored_host->status.capacity);

  REQUIRE(rig.node);
  CHECK(rig.node->metadata.name == "host-0001");
  CHECK(rig.node->metadata.labels.get("kubernetes.io/hostname") == "host-0001");
  CHECK(rig.node->metadata.labels.get("topology.kubernetes.io/zone") == "idc-a");
  CHECK(rig.node->metadata.labels.get("topology.endstate.dev/rack") == "rack-01");
  REQUIRE(rig.node->spec.taints.size() == 1);
  CHECK(rig.node->spec.taints[0] == Taint{"endstate.dev/not-ready", "NoSchedule"});
  CHECK_FALSE(rig.node->spec.provider_id.empty());
  CHECK(rig.ready().status == "True");
  CHECK(rig.node->status.node_info.kubelet_version == "v1.34.3");
  CHECK(rig.node->status.node_info.boot_id == status.agent->boot_id);
  CHECK(rig.node->status.node_info.container_runtime_version == "containerd://1.7.20");
  CHECK_FALSE(rig.node->status.addresses.empty());
  CHECK(rig.node->status.allocatable.get("cpu") == rig.stored_host->status.capacity.get("cpu"));
  CHECK_FALSE(rig.node->status.capacity.has("endstate.dev/free-disk"));

  const auto& agent = rig.leases.at("endstate-system/host-h-1");
  CHECK(agent.spec.lease_duration_seconds == 180);
  CHECK(agent.spec.renew_time.time == rig.now.wall);
  CHECK(agent.metadata.owner_references.at(0).uid == rig.assignment->metadata.uid);
  CHECK(rig.leases.at("kube-node-lease/host-0001").metadata.owner_references.at(0).uid == rig.node->metadata.uid);
  CHECK(rig.host->state() == HostState::ready);
}

TEST_CASE("the assignment names the Node") {
  Rig rig;
  rig.moment();
  rig.assign({});
  rig.assignment->spec.node_name = "worker-7";
  rig.assign({package("kubelet", "kubelet", "1.34.3")});
  rig.moment();
  CHECK(rig.node->metadata.name == "worker-7");
  CHECK(rig.leases.contains("kube-node-lease/worker-7"));
}

TEST_CASE("leases are renewed about each minute, and nothing else is written") {
  Rig rig;
  rig.joined();
  rig.run(60min);
  CHECK(rig.writes[Topic::agent_lease] >= 54);
  CHECK(rig.writes[Topic::agent_lease] <= 67);
  CHECK(rig.writes[Topic::node_lease] >= 54);
  CHECK(rig.writes[Topic::node_lease] <= 67);
  CHECK(rig.writes.size() == 2);
  CHECK(rig.leases.at("endstate-system/host-h-1").spec.renew_time.time >= rig.now.wall - 66s);
}

TEST_CASE("with delays progress is reported state by state, and the Node comes after its kubelet") {
  Rig rig(1.0);
  rig.moment();
  rig.assign_usual();
  rig.moment();
  CHECK(rig.package_report("runtime").state == api::PackageState::pending);
  CHECK(rig.host->state() == HostState::installing);
  CHECK(reconcile::is_false(rig.assignment->status.conditions, "RuntimeReady"));
  rig.run(2s);
  CHECK_FALSE(rig.node);
  rig.run(5min);
  CHECK(rig.host->state() == HostState::ready);
  CHECK(rig.ready().status == "True");
  CHECK(rig.writes[Topic::report] > 4);
  CHECK(rig.writes[Topic::report] < 20);
  CHECK(rig.writes[Topic::node] == 1);
  CHECK(rig.writes[Topic::node_status] == 1);  // it registers as not ready first, as a kubelet does
}

TEST_CASE("an update is reported under its revision, and the Node tells the new version") {
  Rig rig;
  rig.joined();
  rig.assign_usual("1.34.4", "r2");
  rig.moment();
  CHECK(rig.assignment->status.observed_revision == "r2");
  CHECK(rig.package_report("kubelet").actual->name == "kubelet-1.34.4");
  CHECK(rig.node->status.node_info.kubelet_version == "v1.34.4");
  CHECK(rig.ready().status == "True");
  CHECK(rig.writes == std::map<Topic, int>{{Topic::report, 1}, {Topic::node_status, 1}});
}

TEST_CASE("a bad version fails, the old one goes on, and the way back works") {
  Rig rig;
  rig.fault("InstallFails,package=kubelet-1.34.5");
  rig.joined();
  rig.assign_usual("1.34.5", "bad");
  rig.moment();
  CHECK(rig.assignment->status.observed_revision == "bad");
  CHECK(rig.package_report("kubelet").state == api::PackageState::failed);
  CHECK(rig.package_report("kubelet").reason == "InstallFailed");
  CHECK(rig.package_report("kubelet").actual->name == "kubelet-1.34.3");
  CHECK(rig.host->state() == HostState::failed);
  CHECK(rig.ready().status == "True");
  CHECK(rig.node->status.node_info.kubelet_version == "v1.34.3");
  rig.run(1h);
  CHECK(rig.package_report("kubelet").attempts == max_attempts);
  CHECK(rig.writes[Topic::report] == max_attempts);

  SECTION("back") {
    rig.assign_usual("1.34.3", "r1");
    rig.moment();
    CHECK(rig.host->state() == HostState::ready);
    CHECK(rig.package_report("kubelet").state == api::PackageState::ready);
  }
  SECTION("healed") {
    rig.fault("");
    rig.moment();
    CHECK(rig.host->state() == HostState::ready);
    CHECK(rig.package_report("kubelet").actual->name == "kubelet-1.34.5");
    CHECK(rig.node->status.node_info.kubelet_version == "v1.34.5");
  }
}

TEST_CASE("a first install that fails leaves the host without a Node, until it heals") {
  Rig rig;
  rig.fault("InstallFails");
  rig.moment();
  rig.assign_usual();
  rig.run(1h);
  CHECK_FALSE(rig.node);
  CHECK(rig.host->state() == HostState::failed);
  CHECK(reconcile::is_false(rig.assignment->status.conditions, "RuntimeReady"));
  CHECK(rig.package_report("kubelet").state == api::PackageState::waiting);
  CHECK(rig.package_report("kubelet").reason == "WaitingForPackage");
  CHECK(rig.leases.contains("endstate-system/host-h-1"));  // the agent lives
  rig.fault("");
  rig.moment();
  CHECK(rig.host->state() == HostState::ready);
  CHECK(rig.node);
}

TEST_CASE("NodeNotReady is said by the kubelet, that goes on renewing its lease") {
  Rig rig;
  rig.joined();
  rig.fault("NodeNotReady");
  rig.moment();
  CHECK(rig.ready().status == "False");
  CHECK(rig.ready().reason == "KubeletNotReady");
  CHECK(rig.host->state() == HostState::not_ready);
  rig.run(10min);
  CHECK(rig.writes[Topic::node_lease] > 5);
  CHECK(rig.writes[Topic::node_status] == 1);
  rig.fault("");
  rig.moment();
  CHECK(rig.ready().status == "True");
  CHECK(rig.host->state() == HostState::ready);
}

TEST_CASE("NodeNotReady for one version comes with its install and goes with it") {
  Rig rig;
  rig.fault("NodeNotReady,package=kubelet-1.34.4");
  rig.joined();
  rig.assign_usual("1.34.4", "r2");
  rig.moment();
  CHECK(rig.ready().status == "False");
  CHECK(rig.package_report("kubelet").state == api::PackageState::ready);
  rig.assign_usual("1.34.3", "r1");
  rig.moment();
  CHECK(rig.ready().status == "True");
}

TEST_CASE("a silent agent does nothing at all, its kubelet goes on, and it catches up") {
  Rig rig;
  rig.joined();
  rig.fault("AgentSilent");
  rig.assign_usual("1.34.4", "r2");
  rig.run(10min);
  CHECK(rig.writes[Topic::report] == 0);
  CHECK(rig.writes[Topic::agent_lease] == 0);
  CHECK(rig.writes[Topic::node_lease] > 5);
  CHECK(rig.node->status.node_info.kubelet_version == "v1.34.3");
  CHECK(rig.host->state() == HostState::silent);
  rig.fault("");
  rig.moment();
  CHECK(rig.assignment->status.observed_revision == "r2");
  CHECK(rig.writes[Topic::agent_lease] == 1);
  CHECK(rig.node->status.node_info.kubelet_version == "v1.34.4");
}

TEST_CASE("a host that is down says nothing, and its pods neither run nor go") {
  Rig rig;
  rig.joined();
  CHECK(rig.host->runs_pods());
  rig.fault("HostDown");
  rig.run(1h);
  CHECK(rig.writes.empty());
  CHECK_FALSE(rig.host->runs_pods());
  CHECK(rig.host->state() == HostState::down);
  rig.fault("");
  rig.run(1s);
  CHECK(rig.writes[Topic::agent_lease] == 1);
  CHECK(rig.writes[Topic::node_lease] == 1);
  CHECK(rig.host->state() == HostState::ready);
}

TEST_CASE("Slow takes its time, and gets there") {
  Rig rig;
  rig.fault("Slow");
  rig.moment();
  rig.assign_usual();
  rig.moment();
  CHECK(rig.host->state() == HostState::installing);
  rig.run(5min);
  CHECK(rig.host->state() == HostState::ready);
}

TEST_CASE("WorkFails shows nowhere but in what users get, from the version's install to its end") {
  Rig rig(1.0);
  rig.joined();
  rig.fault("WorkFails,package=kubelet-1.34.5");
  CHECK(rig.host->serves());
  CHECK_FALSE(rig.host->work_fails());
  rig.assign_usual("1.34.5", "r2");
  rig.moment();
  CHECK(rig.host->served_revision() == "r1");  // while it is being installed it serves as before
  CHECK_FALSE(rig.host->work_fails());
  rig.run(2min);
  CHECK(rig.host->served_revision() == "r2");
  CHECK(rig.host->work_fails());
  CHECK(rig.host->serves());
  CHECK(rig.host->state() == HostState::ready);
  CHECK(rig.ready().status == "True");
  CHECK(rig.package_report("kubelet").state == api::PackageState::ready);
  rig.assign_usual("1.34.3", "r1");
  rig.run(2min);
  CHECK(rig.host->served_revision() == "r1");
  CHECK_FALSE(rig.host->work_fails());

  rig.release();
  rig.run(2min);
  CHECK_FALSE(rig.host->serves());
  CHECK(rig.host->served_revision().empty());
}

TEST_CASE("after a restart of the fleet a host serves at the revision that it was at") {
  Rig rig;
  rig.joined();
  rig.restart();
  rig.moment();
  CHECK(rig.host->served_revision() == "r1");
  CHECK(rig.host->serves());
}

TEST_CASE("Reboots changes the boot again and again, and the Node is back each time") {
  Rig rig(1.0);
  rig.joined();
  std::set<std::string> boots{rig.node->status.node_info.boot_id.str()};
  rig.fault("Reboots,every=30");
  rig.moment();
  for (int i = 0; i < 3; ++i) {
    const auto ready_since = rig.ready().last_transition_time;
    rig.run(32s);
    CHECK(boots.insert(rig.node->status.node_info.boot_id.str()).second);
    CHECK(rig.assignment->status.agent->boot_id == rig.node->status.node_info.boot_id);
    rig.run(3s);
    CHECK(rig.ready().status == "True");
    CHECK(rig.ready().last_transition_time > ready_since);
  }
  rig.fault("");
  rig.moment();
  const auto last = rig.node->status.node_info.boot_id;
  rig.run(10min);
  CHECK(rig.node->status.node_info.boot_id == last);
}

TEST_CASE("a fault with a share takes a host or leaves it, by its seed") {
  const auto chosen = parse_fault("HostDown,share=50%");
  bool taken = false, left = false;
  for (std::uint32_t i = 0; i < 20; ++i) {
    Rig rig;
    rig.facts = host_facts({}, i);
    rig.restart();
    rig.joined();
    rig.fault("HostDown,share=50%");
    rig.moment();
    const bool down = rig.host->state() == HostState::down;
    CHECK(down == chosen->takes(rig.facts.seed));
    taken = taken || down;
    left = left || !down;
  }
  CHECK(taken);
  CHECK(left);
}

TEST_CASE("what somebody else says of the Node is put right") {
  Rig rig;
  rig.joined();
  // The node lifecycle controller does this when leases stop.
  for (auto& c : rig.node->status.conditions)
    if (c.type == "Ready") c.status = "Unknown", c.reason = "NodeStatusUnknown";
  rig.node->metadata.resource_version = rig.next_version();
  rig.show();
  rig.moment();
  CHECK(rig.ready().status == "True");
  CHECK(rig.writes == std::map<Topic, int>{{Topic::node_status, 1}});
}

TEST_CASE("an older view of the Node than our own write changes nothing") {
  Rig rig;
  rig.joined();
  const auto old = rig.seen();
  rig.assign_usual("1.34.4", "r2");
  rig.moment();
  rig.writes.clear();
  rig.host->saw_node(old, rig.now);
  rig.moment();
  CHECK(rig.writes.empty());
}

TEST_CASE("our Node may be seen before its creation is answered") {
  Rig rig;
  rig.moment();
  rig.assign_usual();
  rig.host->advance(rig.now);
  REQUIRE(rig.host->wants(Topic::node, rig.now.mono));
  const auto call = rig.host->take(Topic::node, rig.now);
  Reply reply;
  REQUIRE(rig.store(Topic::node, call, reply));
  rig.show();
  rig.host->done(Topic::node, {}, reply, rig.now);
  REQUIRE(rig.host->wants(Topic::node_lease, rig.now.mono));
  CHECK(rig.host->take(Topic::node_lease, rig.now).verb == Verb::create);
}

TEST_CASE("a Node that is deleted is registered again while the assignment stands") {
  Rig rig(1.0);
  rig.joined();
  const auto uid = rig.node->metadata.uid;
  rig.node.reset();
  rig.host->saw_node_go("another", rig.now);  // of another Node of that name: not ours
  CHECK(rig.host->runs_pods());
  rig.host->saw_node_go(uid, rig.now);
  CHECK_FALSE(rig.host->runs_pods());
  rig.moment();
  CHECK_FALSE(rig.node);  // not at once
  rig.run(2min);
  REQUIRE(rig.node);
  CHECK(rig.node->spec.taints.size() == 1);
  CHECK(rig.leases.at("kube-node-lease/host-0001").metadata.owner_references.at(0).uid == rig.node->metadata.uid);
  CHECK(rig.host->state() == HostState::ready);
}

TEST_CASE("a Node that went unseen is found out by the next write") {
  Rig rig;
  rig.joined();
  rig.node.reset();
  rig.assign_usual("1.34.4", "r2");
  rig.moment();
  REQUIRE(rig.node);
  CHECK(rig.node->status.node_info.kubelet_version == "v1.34.4");
}

TEST_CASE("a Node of that name that is there already is taken over") {
  Rig rig;
  rig.moment();
  ReadNode other;
  other.metadata.name = "host-0001";
  other.metadata.uid = "n-old";
  other.metadata.resource_version = "7";
  rig.node = other;  // and no watch has told yet
  const auto shown = std::exchange(rig.node, std::nullopt);
  rig.assign_usual();
  rig.node = shown;
  rig.host->advance(rig.now);
  rig.write(Topic::node);
  rig.moment();
  CHECK(rig.node->status.node_info.kubelet_version == "v1.34.3");
  CHECK(rig.leases.at("kube-node-lease/host-0001").metadata.owner_references.at(0).uid == "n-old");
  CHECK(rig.host->state() == HostState::ready);
}

TEST_CASE("a released host wipes, says so, and starts afresh for the next machine") {
  for (const double scale : {0.0, 1.0}) {
    Rig rig(scale);
    rig.joined();
    rig.release();
    rig.host->advance(rig.now);
    CHECK_FALSE(rig.host->runs_pods());
    CHECK(rig.host->state() == HostState::releasing);
    rig.run(30s);
    CHECK(rig.assignment->status.packages.empty());
    CHECK(rig.assignment->status.observed_generation == rig.assignment->metadata.generation);
    CHECK(reconcile::is_true(rig.assignment->status.conditions, "Wiped"));
    CHECK(rig.writes[Topic::node] == 0);  // it doesn't come back
    CHECK(rig.host->state() == HostState::releasing);

    const auto uid = rig.node->metadata.uid;  // the machine loop deletes the Node and the assignment
    rig.node.reset();
    rig.host->saw_node_go(uid, rig.now);
    rig.assignment.reset();
    rig.leases.clear();  // garbage collection
    rig.show();
    rig.run(10min);
    CHECK_FALSE(rig.node);
    CHECK(rig.leases.empty());
    CHECK(rig.host->state() == HostState::free);

    rig.writes.clear();
    rig.assign({package("runtime", "containerd", "1.7.20"), package("kubelet", "kubelet", "1.34.3", "containerd")}, "r9", "m-2");
    rig.run(5min);
    CHECK(rig.host->state() == HostState::ready);
    CHECK(rig.assignment->status.observed_revision == "r9");
    CHECK_FALSE(reconcile::find_condition(rig.assignment->status.conditions, "Wiped"));
    CHECK(rig.writes[Topic::node] == 1);
    CHECK(rig.leases.at("endstate-system/host-h-1").metadata.owner_references.at(0).uid == rig.assignment->metadata.uid);
  }
}

TEST_CASE("released before anything was installed: wiped at once") {
  Rig rig(1.0);
  rig.moment();
  rig.assign_usual();
  rig.release();
  rig.moment();
  CHECK(rig.assignment->status.packages.empty());
  CHECK(reconcile::is_true(rig.assignment->status.conditions, "Wiped"));
}

TEST_CASE("a silent host does not wipe when it is released") {
  Rig rig;
  rig.joined();
  rig.fault("AgentSilent");
  rig.release();
  rig.run(10min);
  CHECK_FALSE(rig.assignment->status.packages.empty());
  rig.fault("");
  rig.moment();
  CHECK(rig.assignment->status.packages.empty());
}

TEST_CASE("a vanished assignment never wipes a host; the same machine's goes on, another's wipes first") {
  Rig rig;
  rig.joined();
  rig.assignment.reset();
  rig.show();
  rig.run(10min);
  CHECK(rig.writes[Topic::agent_lease] == 0);  // there is nobody to tell
  CHECK(rig.writes[Topic::node_lease] > 5);    // the kubelet knows nothing of it
  CHECK(rig.host->packages().all_ready());
  rig.writes.clear();

  SECTION("the same machine") {
    rig.assign_usual();
    rig.moment();
    CHECK(rig.writes[Topic::report] == 1);
    CHECK(rig.writes[Topic::node] == 0);
    CHECK(rig.host->packages().applied == 2);
    CHECK(rig.host->state() == HostState::ready);
  }
  SECTION("another machine") {
    rig.assign({package("runtime", "containerd", "1.7.20"), package("kubelet", "kubelet", "1.34.3", "containerd")}, "r1", "m-2");
    rig.moment();
    CHECK(rig.host->packages().applied == 4);
    CHECK(rig.host->state() == HostState::ready);
  }
}

TEST_CASE("the fleet may be restarted at any moment of a host's life") {
  // Whatever was in flight or unsaid: a fresh model goes on from what the API server holds, and ends at the same.
  for (int restart_at = 0; restart_at < 40; ++restart_at) {
    Rig rig(1.0);
    rig.facts.seed = 1000 + static_cast<std::uint64_t>(restart_at);
    int moments = 0;
    const auto step = [&](std::chrono::nanoseconds duration) {
      for (int i = 0; i < 10; ++i) {
        rig.run(duration / 10);
        if (++moments == restart_at) rig.restart();
      }
      rig.run(20s);
    };
    rig.restart();
    rig.moment();
    rig.assign_usual();
    step(60s);
    INFO("restarted after " << restart_at);
    CHECK(rig.host->state() == HostState::ready);
    rig.assign_usual("1.34.4", "r2");
    step(60s);
    CHECK(rig.host->state() == HostState::ready);
    CHECK(rig.node->status.node_info.kubelet_version == "v1.34.4");
    rig.release();
    step(60s);
    CHECK(rig.assignment->status.packages.empty());
    CHECK(reconcile::is_true(rig.assignment->status.conditions, "Wiped"));
    rig.node.reset();
    rig.assignment.reset();
    rig.restart();
    rig.assign({package("runtime", "containerd", "1.7.20"), package("kubelet", "kubelet", "1.34.3", "containerd")}, "r1", "m-2");
    step(60s);
    CHECK(rig.host->state() == HostState::ready);
    CHECK(rig.writes[Topic::node] == 2);
  }
}

TEST_CASE("a restart beside a host in service writes nothing but its leases, soon") {
  const double scale = GENERATE(0.0, 1.0);
  Rig rig(scale);
  rig.joined();
  const auto boot = rig.assignment->status.agent->boot_id;
  rig.restart();
  rig.run(20s);
  CHECK(rig.writes == std::map<Topic, int>{{Topic::agent_lease, 1}, {Topic::node_lease, 1}});
  CHECK(rig.assignment->status.agent->boot_id == boot);
  CHECK(rig.host->state() == HostState::ready);
  CHECK(rig.host->packages().applied == 0);

  const auto before = rig.node->status.conditions;  // and since when it is Ready is not forgotten
  rig.assign_usual("1.34.4", "r2");
  rig.run(5min);
  REQUIRE(rig.node->status.node_info.kubelet_version == "v1.34.4");
  for (std::size_t i = 0; i < before.size(); ++i)
    CHECK(rig.node->status.conditions[i].last_transition_time == before[i].last_transition_time);
}

TEST_CASE("requests are done once: a reboot changes the boot, a wipe installs anew") {
  Rig rig;
  rig.joined();
  const auto boot = rig.assignment->status.agent->boot_id;
  *rig.assignment->metadata.generation += 1;
  rig.assignment->spec.requests = {{"q1", api::RequestType::reboot}, {"q2", api::RequestType::restart}};
  rig.show();
  rig.moment();
  REQUIRE(rig.assignment->status.requests.size() == 2);
  for (const auto& r : rig.assignment->status.requests) CHECK(r.state == api::RequestState::done);
  const auto second = rig.assignment->status.agent->boot_id;
  CHECK(second != boot);
  CHECK(rig.node->status.node_info.boot_id == second);
  CHECK(rig.host->state() == HostState::ready);

  rig.restart();  // done stays done
  rig.run(1min);
  CHECK(rig.assignment->status.agent->boot_id == second);

  const auto applied = rig.host->packages().applied;
  *rig.assignment->metadata.generation += 1;
  rig.assignment->spec.requests = {{"q3", api::RequestType::wipe}};
  rig.show();
  rig.moment();
  REQUIRE(rig.assignment->status.requests.size() == 1);
  CHECK(rig.assignment->status.requests[0].id == "q3");
  CHECK(rig.host->packages().applied == applied + 2);
  CHECK(rig.host->state() == HostState::ready);
}

TEST_CASE("a lease that was deleted comes back; one that is there is taken over") {
  Rig rig;
  rig.joined();
  rig.leases.clear();
  rig.run(3min);
  CHECK(rig.leases.size() == 2);

  Rig fresh;
  fresh.moment();
  fresh.leases["endstate-system/host-h-1"] = {};
  fresh.assign_usual();
  fresh.moment();
  CHECK(fresh.leases.at("endstate-system/host-h-1").spec.renew_time.time == fresh.now.wall);
}

TEST_CASE("a write that is refused is tried again, ever less often, and holds up no other") {
  for (const auto topic : {Topic::inventory, Topic::enrolment, Topic::report, Topic::agent_lease, Topic::node, Topic::node_lease}) {
    for (const auto code : {Code::forbidden, Code::invalid, Code::conflict}) {
      Rig rig;
      rig.refuse[topic] = code;
      rig.moment();
      if (rig.stored_host) {
        rig.assign_usual();
        rig.run(10min);
        CHECK(rig.writes[topic] >= 6);
        CHECK(rig.writes[topic] <= 20);
      }
      rig.refuse.clear();
      rig.run(2min);
      if (!rig.assignment) rig.assign_usual();
      rig.run(2min);
      INFO(static_cast<int>(topic) << " " << reconcile::code_name(code));
      CHECK(rig.host->state() == HostState::ready);
    }
  }
}

TEST_CASE("a write that was not answered is wanted again at once") {
  Rig rig;
  rig.host->advance(rig.now);
  REQUIRE(rig.host->wants(Topic::inventory, rig.now.mono));
  (void)rig.host->take(Topic::inventory, rig.now);
  CHECK_FALSE(rig.host->wants(Topic::inventory, rig.now.mono));
  rig.host->put_back(Topic::inventory);
  CHECK(rig.host->wants(Topic::inventory, rig.now.mono));
}
