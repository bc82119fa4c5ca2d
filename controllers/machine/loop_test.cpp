// The machine loop on a simulated API server: whole lives, and what is defined for every odd thing that happens to them.
#include <catch2/catch.hpp>

#include "apis/v1alpha1/agent_lease.hpp"
#include "controllers/machine/pass.hpp"
#include "controllers/machine/testing.hpp"

using namespace endstate;
using namespace endstate::machine;
using namespace std::chrono_literals;
using reconcile::Key, reconcile::resource_of, reconcile::Verb;

namespace {

struct Ready : TestWorld {  // one machine in service on one of two hosts
  Ready() {
    package("k-1");
    package("k-2", "Drain");
    host("h1");
    host("h2", "r2");
    machine("m1", "k-1", "rev1");
    REQUIRE(settle([this] { return running("m1", "rev1"); }, 20));
    granted.clear();
    writes = 0;
    write_kinds.clear();
  }
  std::string host_name() const { return m("m1")->status.host_ref->name.str(); }
  TestHost& its_host() { return hosts_state[host_name()]; }
};

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a machine comes up in four writes, and the status is written once; what it sets on its Node is recorded first") {
  TestWorld w;
  w.package("k-1");
  w.host("h1");
  w.machine("m1", "k-1", "rev1", R"(,"labels":{"zone":"a"},"taints":[{"key":"gpu","value":"yes","effect":"NoSchedule"}])");
  REQUIRE(w.settle([&] { return w.running("m1", "rev1"); }, 5));
  CHECK(w.write_kinds ==
        std::map<std::string, int>{{"patch hosts", 1}, {"create hostassignments", 1}, {"patch nodes", 1}, {"apply machines/status", 2}});
  {
    TestWorld plain;
    plain.package("k-1");
    plain.host("h1");
    plain.machine("m1", "k-1", "rev1");
    REQUIRE(plain.settle([&] { return plain.running("m1", "rev1"); }, 4));
    CHECK(plain.write_kinds ==
          std::map<std::string, int>{{"patch hosts", 1}, {"create hostassignments", 1}, {"patch nodes", 1}, {"apply machines/status", 1}});
    CHECK_FALSE(plain.m("m1")->status.owned);
  }
  const auto node = w.node_of("m1");
  REQUIRE(node->spec.taints.size() == 1);
  CHECK(node->spec.taints[0].key == "gpu");
  CHECK(node->metadata.labels.get("zone") == "a");
  CHECK(node->metadata.labels.get("endstate.dev/cluster-name") == "c");
  const auto m = w.m("m1");
  REQUIRE(m->status.last_operation);
  CHECK(m->status.last_operation->type == api::OperationType::create);
  CHECK(m->status.last_operation->id == w.granted.front().id());
  CHECK(m->status.failure_domain == "d/r1");
  CHECK_FALSE(m->status.operation);
  CHECK(w.condition("m1", "SchedulingOpen") == "True/SchedulingOpen");
  const auto host = w.get<api::Host>("h1");
  CHECK(host->spec.consumer_ref->uid == m->metadata.uid);
  CHECK(host->metadata.labels.get("endstate.dev/cluster-name") == "c");
  w.writes = 0;
  for (int i = 0; i < 20; ++i) w.step();
  CHECK(w.writes == 0);  // at rest nothing is written

  // An edit of labels and taints is kept on the node; what was ours goes, what is others' stays.
  w.patch(resource_of<Node>, "", "h1", "", R"({"metadata":{"labels":{"theirs":"x"}}})");
  w.patch(resource_of<api::Machine>, "default", "m1", "", R"({"spec":{"labels":{"zone":null,"row":"7"},"taints":null}})");
  for (int i = 0; i < 3; ++i) w.step();
  const auto after = w.node_of("m1");
  CHECK(after->spec.taints.empty());
  CHECK_FALSE(after->metadata.labels.has("zone"));
  CHECK(after->metadata.labels.get("row") == "7");
  CHECK(after->metadata.labels.get("theirs") == "x");
  CHECK(w.running("m1", "rev1"));
}

TEST_CASE("a machine that a user makes gets the finalizer before anything is done") {
  TestWorld w;
  w.package("k-1");
  w.host("h1");
  w.must(
      {.verb = Verb::create,
       .resource = &resource_of<api::Machine>,
       .name_space = "default",
       .body =
           R"({"apiVersion":"endstate.dev/v1alpha1","kind":"Machine","metadata":{"name":"m1"},"spec":{"clusterName":"c","packages":[{"name":"kubelet","versionRef":{"name":"k-1"}}]}})"});
  w.pass("m1");
  CHECK(w.m("m1")->metadata.has_finalizer("endstate.dev/machine"));
  CHECK(w.write_kinds == std::map<std::string, int>{{"patch machines", 1}});
  REQUIRE(w.settle([&] { return is_available(*w.m("m1")); }, 10));
  CHECK(w.assignment_of("m1")->spec.revision == desired_revision(*w.m("m1")));  // hash of its packages
}

TEST_CASE("an unknown package is named, holds no host, and heals") {
  TestWorld w;
  w.host("h1");
  w.machine("m1", "k-9", "rev1");
  for (int i = 0; i < 8; ++i) w.step();
  CHECK(w.condition("m1", "Stalled") == "True/PackageNotFound");
  CHECK(has(find_condition(w.m("m1")->status.conditions, "PackagesReady")->message.str(), "k-9"));
  CHECK_FALSE(w.get<api::Host>("h1")->spec.consumer_ref);
  w.package("k-9");
  CHECK(w.settle([&] { return w.running("m1", "rev1"); }, 10));
  CHECK(w.condition("m1", "Stalled") == "False/NotStalled");
}

TEST_CASE("hosts: none free, pinned, in maintenance, left unwiped") {
  TestWorld w;
  w.package("k-1");
  SECTION("none is free, then one comes") {
    w.machine("m1", "k-1", "rev1");
    for (int i = 0; i < 4; ++i) w.step();
    CHECK(w.condition("m1", "HostClaimed") == "False/NoFreeHost");
    CHECK(w.m("m1")->status.blocked_by->reason == "NoFreeHost");
    w.host("h1");
    CHECK(w.settle([&] { return w.running("m1", "rev1"); }, 10));
  }
  SECTION("the pinned one is taken, whatever else is free") {
    w.host("h1");
    w.host("h2");
    w.machine("m1", "k-1", "rev1", R"(,"hostName":"h2")");
    REQUIRE(w.settle([&] { return w.running("m1", "rev1"); }, 10));
    CHECK(w.m("m1")->status.host_ref->name == "h2");
    w.machine("m2", "k-1", "rev1", R"(,"hostName":"h2")");
    for (int i = 0; i < 4; ++i) w.step();
    CHECK(w.condition("m2", "HostClaimed") == "False/HostNotClaimable");
    CHECK_FALSE(w.get<api::Host>("h1")->spec.consumer_ref);
  }
  SECTION("maintenance, another phase, or an assignment left behind keep a host from being claimed") {
    w.host("h1");
    w.host("h2");
    w.host("h3");
    w.patch(resource_of<api::Host>, "default", "h1", "", R"({"spec":{"maintenance":{"reason":"disk"}}})");
    w.patch(resource_of<api::Host>, "default", "h2", "status", R"({"status":{"phase":"Failed"}})");
    w.must({.verb = Verb::create,
            .resource = &resource_of<api::HostAssignment>,
            .body = R"({"apiVersion":"endstate.dev/v1alpha1","kind":"HostAssignment","metadata":{"name":")" +
                    w.get<api::Host>("h3")->metadata.uid.str() + R"("},"spec":{"state":"Active","machineUID":"x"}})"});
    w.machine("m1", "k-1", "rev1");
    for (int i = 0; i < 6; ++i) w.step();
    CHECK(w.condition("m1", "HostClaimed") == "False/NoFreeHost");
  }
  SECTION("claimed twice: one is given back") {
    w.host("h1");
    w.host("h2");
    w.machine("m1", "k-1", "rev1");
    REQUIRE(w.settle([&] { return w.running("m1", "rev1"); }, 10));
    const std::string other = w.m("m1")->status.host_ref->name == "h1" ? "h2" : "h1";
    w.patch(
        resource_of<api::Host>, "default", other, "",
        R"({"spec":{"consumerRef":{"kind":"Machine","namespace":"default","name":"m1","uid":")" + w.m("m1")->metadata.uid.str() + "\"}}}");
    w.step();
    CHECK_FALSE(w.get<api::Host>(other)->spec.consumer_ref);
    CHECK(w.running("m1", "rev1"));
  }
}

TEST_CASE("two namespaces: no claim, hand-over or quarantine crosses them") {
  TestWorld w;
  w.package("k-1");
  w.host("theirs", "r1", "prod");
  const auto theirs = [&] { return w.get<api::Host>("theirs", "prod"); };
  const auto uid = theirs()->metadata.uid.str();
  w.machine("m1", "k-1", "rev1");
  for (int i = 0; i < 4; ++i) w.step();
  CHECK(w.condition("m1", "HostClaimed") == "False/NoFreeHost");
  const auto steps = [&] {
    for (int i = 0; i < 8; ++i) w.step();
  };
  const auto forge = [&](const std::string& machine, const std::string& spec) {
    w.must({.verb = Verb::create,
            .resource = &resource_of<api::HostAssignment>,
            .body = R"({"apiVersion":"endstate.dev/v1alpha1","kind":"HostAssignment","metadata":{"name":")" + uid +
                    R"(","labels":{"endstate.dev/cluster-name":"c"},"annotations":{"endstate.dev/machine":"default/)" + machine +
                    R"("}},"spec":{"nodeName":"theirs",)" + spec + "}}"});
  };
  SECTION("an assignment that names a free Host of another namespace by its uid (C1)") {
    forge("m1", R"("state":"Active","machineUID":")" + w.m("m1")->metadata.uid.str() + "\"");
    steps();
    CHECK_FALSE(theirs()->spec.consumer_ref);
    CHECK(w.condition("m1", "HostClaimed") == "False/HostNotFound");
    CHECK(has(w.m("m1")->status.blocked_by->message.str(), uid));
    CHECK(w.granted.empty());
  }
  SECTION("a Host of another namespace that says it is this machine's (C3)") {
    w.patch(
        resource_of<api::Host>, "prod", "theirs", "",
        R"({"spec":{"consumerRef":{"kind":"Machine","namespace":"default","name":"m1","uid":")" + w.m("m1")->metadata.uid.str() + "\"}}}");
    steps();
    CHECK(w.view.list<api::HostAssignment>("").empty());
    CHECK(w.condition("m1", "HostClaimed") == "False/NoFreeHost");
    w.host("h1");
    REQUIRE(w.settle([&] { return w.running("m1", "rev1"); }, 20));
    CHECK(w.m("m1")->status.host_ref->name == "h1");
    CHECK(theirs()->spec.consumer_ref);  // not freed either: it is none of ours
  }
  SECTION("a released assignment that lifts another namespace's quarantine") {
    w.patch(
        resource_of<api::Host>, "prod", "theirs", "status",
        R"({"status":{"phase":"Failed","conditions":[{"type":"Wiped","status":"False","reason":"NotWiped","lastTransitionTime":"2026-01-01T00:00:00Z"}]}})");
    forge("never-was", R"("state":"Released","machineUID":"any")");
    w.patch(resource_of<api::HostAssignment>, "", uid, "status", R"({"status":{"observedGeneration":1}})");
    steps();
    CHECK(theirs()->status.phase == api::HostPhase::failed);
    CHECK(is_false(theirs()->status.conditions, "Wiped"));
  }
}

TEST_CASE("what a business cluster says wakes nobody outside the namespace of its Cluster") {
  TestWorld w;
  w.package("k-1");
  w.host("h1");
  w.machine("m1", "k-1", "rev1");
  REQUIRE(w.settle([&] { return w.running("m1", "rev1"); }, 10));
  const auto a = w.assignment_of("m1");
  const auto node = w.node_of("m1");
  Node bare = *node;
  bare.metadata.annotations = {};
  const auto lease = w.get<reconcile::Lease>(api::agent_lease_name(a->metadata.name), std::string(api::system_namespace));
  REQUIRE(lease);
  w.patch(resource_of<api::Machine>, "default", "m1", "status", R"({"status":{"conditions":[]}})");
  GatePod pod;
  pod.spec.node_name = node->metadata.name;
  const auto woken = [&](const reconcile::Kind& kind, std::string_view connection, const void* object) {
    std::size_t n = 0;
    for (const auto& source : w.loop->sources())
      if (source.kind == &kind) source.keys(w.view, connection, nullptr, object, [&](const Key&) { ++n; });
    return n;
  };
  struct Case {
    const char* connection;
    std::size_t n;
  };
  for (const auto& c : {Case{"default/c", 1}, Case{"", 1}, Case{"prod/c", 0}, Case{"default2/c", 0}, Case{"defaul/c", 0}}) {
    INFO(c.connection);
    CHECK(woken(reconcile::kind_of<api::HostAssignment>, c.connection, a.get()) == c.n);
    CHECK(woken(reconcile::kind_of<Node>, c.connection, node.get()) == c.n);
    CHECK(woken(reconcile::kind_of<Node>, c.connection, &bare) == c.n);
    CHECK(woken(reconcile::kind_of<reconcile::Lease>, c.connection, lease.get()) == c.n);
    CHECK(woken(reconcile::kind_of<GatePod>, c.connection, &pod) == c.n);
  }
}

TEST_CASE("the guard is asked before a host is told anything, and its refusal is shown") {
  TestWorld w;
  w.package("k-1");
  w.host("h1");
  w.machine("m1", "k-1", "rev1");
  bool open = false;
  int asked = 0;
  w.guard = [&](const reconcile::PermitRequest& r) -> reconcile::Verdict {
    ++asked;
    CHECK(r.operation == "MachineCreate");
    if (open) return reconcile::Granted{r.id()};
    return reconcile::Refused{.kind = "ChangeBudget", .name = "b", .reason = "WindowFull", .message = "full", .retry_after = 5s};
  };
  for (int i = 0; i < 11; ++i) w.step();
  CHECK(asked <= 3);  // as often as the guard said
  CHECK_FALSE(w.assignment_of("m1"));
  CHECK_FALSE(w.get<api::Host>("h1")->spec.consumer_ref);  // who is refused holds no host
  w.machine("m2", "k-1", "rev1");
  w.step();
  CHECK(w.condition("m1", "HostClaimed") == "Unknown/Progressing");
  w.remove("m2");
  CHECK(w.m("m1")->status.blocked_by->name == "b");
  CHECK(w.m("m1")->status.blocked_by->reason == "WindowFull");
  open = true;
  CHECK(w.settle([&] { return w.running("m1", "rev1"); }, 12));
  CHECK_FALSE(w.m("m1")->status.blocked_by);
  // The claim is the lock of the creation: it names its grant.
  CHECK(w.get<api::Host>("h1")->metadata.annotations.get("endstate.dev/grant") == w.granted.front().id());
  CHECK(w.granted.front().domain == "d/r1");
  CHECK(w.assignment_of("m1")->spec.grant_id == w.granted.front().id());
}

TEST_CASE("a creation that is tried again names its new grant at the claim") {
  TestWorld w;
  w.package("k-1");
  w.package("k-2");
  w.host("h1");
  w.hosts_state["h1"].fails["k-1"] = "ProbeFailed";
  w.machine("m1", "k-1", "rev1");
  REQUIRE(w.settle([&] { return w.m("m1")->status.phase == api::MachinePhase::failed; }, 20));
  w.want("m1", "k-2", "rev2");
  REQUIRE(w.settle([&] { return w.running("m1", "rev2"); }, 20));
  REQUIRE(w.granted.size() == 2);
  CHECK(w.get<api::Host>("h1")->metadata.annotations.get("endstate.dev/grant") == w.granted.back().id());
}

TEST_CASE("machines that wait for a host ask nothing about those that are used") {
  TestWorld w;
  w.package("k-1");
  for (int i = 0; i < 3; ++i) w.machine("m" + std::to_string(i), "k-1", "rev1");
  for (int i = 0; i < 10; ++i) w.step();
  CHECK(w.condition("m1", "HostClaimed") == "False/NoFreeHost");
  CHECK(w.view.asked["used"] == 0);
  w.host("h1");  // and they see it at once
  w.step();
  CHECK(w.view.asked["used"] == 1);
  CHECK(w.get<api::Host>("h1")->spec.consumer_ref);
}

TEST_CASE_METHOD(Ready, "an update without disruption: lock, assign, wait, unlock") {
  package("k-3", "None");
  want("m1", "k-3", "rev3");
  pass("m1");
  const auto locked = m("m1");
  REQUIRE(locked->status.operation);
  CHECK(locked->status.operation->type == api::OperationType::update);
  CHECK(locked->status.operation->id == granted.front().id());
  CHECK(granted.front().operation == "MachineUpdate");
  CHECK(locked->status.phase == api::MachinePhase::updating);
  CHECK_FALSE(is_available(*locked));
  CHECK(locked->status.revision == "rev1");
  CHECK(assignment_of("m1")->spec.revision == "rev3");
  CHECK(assignment_of("m1")->spec.grant_id == locked->status.operation->id);
  REQUIRE(settle([&] { return running("m1", "rev3"); }, 10));
  CHECK(m("m1")->status.last_operation->result == api::OperationResult::succeeded);
  CHECK(write_kinds["patch nodes"] == 0);
  CHECK(write_kinds["update hostassignments"] == 1);
  CHECK(writes <= 4);
}

TEST_CASE_METHOD(Ready, "an update that drains: isolate, evict, assign, reopen") {
  pod(host_name(), "p1");
  pod(host_name(), "p2");
  pod(host_name(), "ds",
      R"(,"ownerReferences":[{"apiVersion":"apps/v1","kind":"DaemonSet","name":"c","uid":")" + get<api::Cluster>("c")->metadata.uid.str() +
          R"(","controller":true}])");
  pod(host_name(), "mirror", R"(,"annotations":{"kubernetes.io/config.mirror":"x"})");
  bool allowed = false;
  api_server.evict = [&](const std::string& text) -> std::optional<reconcile::Error> {
    if (allowed || text.find("\"p2\"") == std::string::npos) return std::nullopt;
    return reconcile::Error{reconcile::Code::throttled, "Cannot evict pod as it would violate the pod's disruption budget web"};
  };
  want("m1", "k-2", "rev2");
  for (int i = 0; i < 8; ++i) {
    step();
    CHECK(assignment_of("m1")->spec.revision == "rev1");  // nothing before the drain
  }
  CHECK(m("m1")->status.phase == api::MachinePhase::draining);
  CHECK(has_taint(*node_of("m1"), "endstate.dev/isolated"));
  CHECK_FALSE(get<Pod>("p1"));
  CHECK(get<Pod>("p2"));
  CHECK(condition("m1", "Drained") == "False/DrainBlocked");
  CHECK(has(m("m1")->status.blocked_by->message.str(), "disruption budget web"));
  CHECK(has(m("m1")->status.blocked_by->message.str(), "default/p2"));
  SECTION("the budget lets it go") {
    allowed = true;
    REQUIRE(settle([&] { return running("m1", "rev2"); }, 30));
    CHECK(get<Pod>("ds"));
    CHECK(get<Pod>("mirror"));
    CHECK(node_of("m1")->spec.taints.empty());
    CHECK(condition("m1", "Drained").empty());
  }
  SECTION("past the deadline it is left behind, by name") {
    for (int i = 0; i < 610; ++i) step();
    CHECK(std::any_of(events.begin(), events.end(), [](const auto& e) { return has(e, "DrainTimedOut") && has(e, "default/p2"); }));
    REQUIRE(settle([&] { return running("m1", "rev2"); }, 30));
    CHECK(get<Pod>("p2"));
  }
  SECTION("the wish goes back before anything was assigned: reopened at the old revision") {
    want("m1", "k-1", "rev1");
    REQUIRE(settle([&] { return running("m1", "rev1"); }, 10));
    CHECK(m("m1")->status.last_operation->result == api::OperationResult::superseded);
    CHECK(node_of("m1")->spec.taints.empty());
    CHECK(assignment_of("m1")->metadata.generation == 1);
  }
}

TEST_CASE_METHOD(Ready, "what a change that drains needs is fetched before the guard is asked") {
  const auto wish = [&] { return assignment_of("m1")->metadata.annotations.has("endstate.dev/prefetch"); };
  its_host().fetched = false;
  for (int i = 0; i < 3; ++i) step();
  CHECK(condition("m1", "Prefetched").empty());
  SECTION("the machine serves until the host has it") {
    want("m1", "k-2", "rev2");
    for (int i = 0; i < 60; ++i) step();
    CHECK(wish());
    CHECK(granted.empty());
    CHECK(condition("m1", "Prefetched") == "False/Prefetching");
    CHECK(condition("m1", "Ready") == "True/Ready");
    CHECK(m("m1")->status.blocked_by->reason == "Prefetching");
    CHECK(has(m("m1")->status.blocked_by->message.str(), "no route"));
    CHECK_FALSE(has_taint(*node_of("m1"), "endstate.dev/isolated"));
    CHECK(assignment_of("m1")->metadata.generation == 1);
    its_host().fetched = true;
    REQUIRE(settle([&] { return running("m1", "rev2"); }, 30));
    CHECK_FALSE(wish());
    CHECK(granted.size() == 1);
    CHECK(condition("m1", "Prefetched").empty());
  }
  SECTION("not for ever, and not once more when the guard refuses then") {
    guard = [](const reconcile::PermitRequest&) {
      return reconcile::Verdict(reconcile::Refused{.reason = "WindowFull", .message = "full"});
    };
    want("m1", "k-2", "rev2");
    for (int i = 0; i < 590; ++i) step();
    CHECK(m("m1")->status.blocked_by->reason == "Prefetching");
    for (int i = 0; i < 60; ++i) step();
    CHECK(m("m1")->status.blocked_by->reason == "WindowFull");
    for (int i = 0; i < 60; ++i) step();
    CHECK(m("m1")->status.blocked_by->reason == "WindowFull");
    CHECK(condition("m1", "Prefetched") == "False/Prefetching");
  }
  SECTION("what doesn't drain isn't held up: an agent fetches before it touches anything") {
    package("k-3");
    want("m1", "k-3", "rev3");
    REQUIRE(settle([&] { return running("m1", "rev3"); }, 10));
    CHECK(granted.size() == 1);
  }
  SECTION("the wish goes back: nothing was asked for") {
    want("m1", "k-2", "rev2");
    for (int i = 0; i < 20; ++i) step();
    want("m1", "k-1", "rev1");
    REQUIRE(settle([&] { return running("m1", "rev1") && condition("m1", "Prefetched").empty(); }, 10));
    CHECK(granted.empty());
  }
}

TEST_CASE_METHOD(Ready, "a package that fails: Failed, named; the wish goes back: rolled back by a grant of its own") {
  its_host().fails["k-2"] = "ProbeFailed";
  want("m1", "k-2", "rev2");
  REQUIRE(settle([&] { return m("m1")->status.phase == api::MachinePhase::failed; }, 20));
  const auto failed = m("m1");
  CHECK(failed->status.last_operation->result == api::OperationResult::failed);
  CHECK(failed->status.last_operation->reason == "PackageFailed");
  CHECK(has(failed->status.last_operation->message.str(), "ProbeFailed"));
  CHECK(failed->status.last_operation->revision == "rev2");
  CHECK_FALSE(failed->status.operation);
  CHECK(condition("m1", "Stalled") == "True/PackageFailed");
  CHECK(failed->status.revision.empty());
  CHECK(has_taint(*node_of("m1"), "endstate.dev/isolated"));  // it stays closed
  SECTION("nothing is tried again by itself") {
    const auto writes_then = writes;
    for (int i = 0; i < 30; ++i) step();
    CHECK(writes == writes_then);
  }
  SECTION("its set takes it back") {
    want("m1", "k-1", "rev1");
    REQUIRE(settle([&] { return running("m1", "rev1"); }, 30));
    CHECK(node_of("m1")->spec.taints.empty());
    CHECK(m("m1")->status.last_operation->result == api::OperationResult::succeeded);
  }
  SECTION("somebody says retry") {
    its_host().fails.clear();
    hosts_state[host_name()].alive = false;  // so that it doesn't heal by itself
    annotate("m1", "endstate.dev/retry", "\"rev2\"");
    hosts_state[host_name()].alive = true;
    REQUIRE(settle([&] { return running("m1", "rev2"); }, 30));
    CHECK_FALSE(m("m1")->metadata.annotations.has("endstate.dev/retry"));
    CHECK(m("m1")->status.last_operation->attempt == 1);
  }
  SECTION("the host heals by itself") {
    its_host().fails.clear();
    REQUIRE(settle([&] { return running("m1", "rev2"); }, 30));
    CHECK(m("m1")->status.last_operation->reason == "Recovered");
    CHECK(m("m1")->status.last_operation->result == api::OperationResult::succeeded);
    CHECK(node_of("m1")->spec.taints.empty());
  }
}

TEST_CASE_METHOD(Ready, "a third wish takes the place of what is under way") {
  its_host().alive = false;  // it will not answer
  package("k-3", "None");
  want("m1", "k-3", "rev3");
  step();
  const auto first = m("m1")->status.operation->id;
  package("k-4", "None");
  want("m1", "k-4", "rev4");
  step();
  CHECK(m("m1")->status.operation->revision == "rev4");
  CHECK(m("m1")->status.last_operation->id == first);
  CHECK(m("m1")->status.last_operation->result == api::OperationResult::superseded);
  CHECK(assignment_of("m1")->spec.revision == "rev4");
  its_host().alive = true;
  CHECK(settle([&] { return running("m1", "rev4"); }, 30));
}

TEST_CASE_METHOD(Ready, "at the deadline: a host that lives has failed, one that is silent is lost") {
  package("k-3", "None");
  SECTION("failed") {
    its_host().node_ready = false;
    want("m1", "k-3", "rev3");
    REQUIRE(settle([&] { return m("m1")->status.phase == api::MachinePhase::failed; }, 1900));
    CHECK(m("m1")->status.last_operation->result == api::OperationResult::failed);
    CHECK(m("m1")->status.last_operation->reason == "MachineTimedOut");
  }
  SECTION("lost") {
    want("m1", "k-3", "rev3");
    its_host().alive = false;
    REQUIRE(settle([&] { return m("m1")->status.phase == api::MachinePhase::failed; }, 1900));
    CHECK(m("m1")->status.last_operation->result == api::OperationResult::lost);
    CHECK(condition("m1", "AgentAlive") == "Unknown/AgentSilent");
    its_host().alive = true;
    REQUIRE(settle([&] { return running("m1", "rev3"); }, 60));
    CHECK(m("m1")->status.last_operation->reason == "Recovered");
  }
  SECTION("its own deadline") {
    annotate("m1", "endstate.dev/operation-timeout-seconds", "\"60\"");
    its_host().node_ready = false;
    want("m1", "k-3", "rev3");
    CHECK(settle([&] { return m("m1")->status.phase == api::MachinePhase::failed; }, 70));
  }
}

TEST_CASE_METHOD(Ready, "a gate turns False: closed by a grant after a while, opened when it is True again") {
  its_host().node_ready = false;
  for (int i = 0; i < 20; ++i) step();
  CHECK(condition("m1", "Ready") == "False/NodeUnhealthy");
  CHECK(condition("m1", "SchedulingOpen") == "True/SchedulingOpen");  // not at once
  CHECK(granted.empty());
  for (int i = 0; i < 20; ++i) step();
  REQUIRE(granted.size() == 1);
  CHECK(granted[0].operation == "CloseScheduling");
  CHECK(has_taint(*node_of("m1"), "endstate.dev/not-ready"));
  CHECK(m("m1")->status.phase == api::MachinePhase::running);
  its_host().node_ready = true;
  REQUIRE(settle([&] { return running("m1", "rev1"); }, 10));
  CHECK(node_of("m1")->spec.taints.empty());
}

TEST_CASE_METHOD(Ready, "unknown closes nothing") {
  its_host().alive = false;
  for (int i = 0; i < 400; ++i) step();
  CHECK(condition("m1", "Ready") == "Unknown/AgentSilent");
  CHECK(granted.empty());
  CHECK(node_of("m1")->spec.taints.empty());
  its_host().alive = true;
  CHECK(settle([&] { return running("m1", "rev1"); }, 60));
}

TEST_CASE("many that look ill at once: nothing is closed, and it says so") {
  TestWorld w;
  w.package("k-1");
  for (int i = 0; i < 6; ++i) w.host("h" + std::to_string(i));
  for (int i = 0; i < 6; ++i) w.machine("m" + std::to_string(i), "k-1", "rev1");
  REQUIRE(w.settle(
      [&] {
        for (int i = 0; i < 6; ++i)
          if (!w.running("m" + std::to_string(i), "rev1")) return false;
        return true;
      },
      20));
  w.granted.clear();
  for (auto& [name, host] : w.hosts_state)
    if (name < "h4") host.node_ready = false;
  for (int i = 0; i < 60; ++i) w.step();
  CHECK(w.granted.empty());
  int said = 0;
  for (int i = 0; i < 6; ++i) said += w.condition("m" + std::to_string(i), "SchedulingOpen") == "True/ClusterSuspect";
  CHECK(said == 4);
}

TEST_CASE_METHOD(Ready, "readiness gates come from the node, the agent and condition ConfigMaps; the worst counts") {
  patch(resource_of<api::Machine>, "default", "m1", "", R"({"spec":{"readinessGates":[{"conditionType":"NetworkReady"}]}})");
  for (int i = 0; i < 3; ++i) step();
  CHECK(condition("m1", "NetworkReady") == "Unknown/Unknown");
  CHECK(condition("m1", "Ready") == "Unknown/Unknown");
  const auto map = [&](const std::string& name, const std::string& conditions) {
    must({.verb = Verb::create,
          .resource = &resource_of<reconcile::ConfigMap>,
          .name_space = "default",
          .body = R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":")" + name +
                  R"(","labels":{"endstate.dev/condition-for":"m1"}},"data":{"conditions":)" + reconcile::quote(conditions) + "}}"});
  };
  map("a", "- type: NetworkReady\n  status: \"True\"\n  reason: Routes\n");
  for (int i = 0; i < 3; ++i) step();
  CHECK(condition("m1", "NetworkReady") == "True/Routes");
  CHECK(find_condition(m("m1")->status.conditions, "NetworkReady")->message == "ConfigMap a");
  CHECK(running("m1", "rev1"));
  map("b", R"([{"type":"NetworkReady","status":"False","reason":"NoRoutes","message":"bgp down"},{"type":"Ready","status":"True"}])");
  map("c", "- type: {");
  for (int i = 0; i < 3; ++i) step();
  CHECK(condition("m1", "NetworkReady") == "False/NoRoutes");
  CHECK(find_condition(m("m1")->status.conditions, "NetworkReady")->message == "ConfigMap b: bgp down");
  CHECK(condition("m1", "Ready") == "False/NoRoutes");
  CHECK(condition("m1", "ExternalConditionsReadable") == "False/Malformed");
}

TEST_CASE_METHOD(Ready, "pods of DaemonSets are gates of their node") {
  const std::string of_daemon_set = R"(,"ownerReferences":[{"apiVersion":"apps/v1","kind":"DaemonSet","name":"net","uid":")" +
                                    get<api::Cluster>("c")->metadata.uid.str() + R"(","controller":true}])";
  const auto label = [](std::string_view type) { return R"(,"labels":{"endstate.dev/readiness-gate":")" + std::string(type) + "\"}"; };
  const auto ready = [&](const std::string& name, const std::string& status) {
    patch(resource_of<Pod>, "default", name, "status",
          R"({"status":{"conditions":[{"type":"Ready","status":")" + status + R"(","message":"no route"}]}})");
    for (int i = 0; i < 3; ++i) step();
  };
  patch(resource_of<api::Machine>, "default", "m1", "", R"({"spec":{"readinessGates":[{"conditionType":"NetworkReady"}]}})");
  SECTION("not started, ready, not ready for long, ready again") {
    pod(host_name(), "net-1", label("NetworkReady") + of_daemon_set);
    for (int i = 0; i < 3; ++i) step();
    CHECK(condition("m1", "NetworkReady") == "False/WaitingForPod");
    ready("net-1", "True");
    CHECK(condition("m1", "NetworkReady") == "True/Ready");
    CHECK(running("m1", "rev1"));
    ready("net-1", "False");
    CHECK(find_condition(m("m1")->status.conditions, "NetworkReady")->message == "pod default/net-1 is not Ready: no route");
    CHECK_FALSE(has_taint(*node_of("m1"), "endstate.dev/not-ready"));
    REQUIRE(settle([&] { return has_taint(*node_of("m1"), "endstate.dev/not-ready"); }, 40));
    ready("net-1", "True");
    CHECK(running("m1", "rev1"));
    CHECK_FALSE(has_taint(*node_of("m1"), "endstate.dev/not-ready"));
  }
  SECTION("of two the worse counts; a gate that nobody asked for is none") {
    pod(host_name(), "net-1", label("NetworkReady") + of_daemon_set);
    pod(host_name(), "net-2", label("NetworkReady") + of_daemon_set);
    pod(host_name(), "disk", label("DiskHealthy") + of_daemon_set);
    ready("net-1", "True");
    CHECK(condition("m1", "NetworkReady") == "False/WaitingForPod");
    ready("net-2", "True");
    CHECK(running("m1", "rev1"));
    CHECK(condition("m1", "DiskHealthy").empty());
  }
  SECTION("gone: not known, and nothing is closed by that") {
    pod(host_name(), "net-1", label("NetworkReady") + of_daemon_set);
    ready("net-1", "True");
    must({.verb = Verb::remove, .resource = &resource_of<Pod>, .name_space = "default", .name = "net-1"});
    for (int i = 0; i < 60; ++i) step();
    CHECK(condition("m1", "NetworkReady") == "Unknown/Unknown");
    CHECK_FALSE(has_taint(*node_of("m1"), "endstate.dev/not-ready"));
  }
  SECTION("who says nothing: another node's pod, and one that no DaemonSet made") {
    pod(host_name() == "h1" ? "h2" : "h1", "net-1", label("NetworkReady") + of_daemon_set);
    pod(host_name(), "net-2", label("NetworkReady"));
    ready("net-1", "True");
    ready("net-2", "True");
    CHECK(condition("m1", "NetworkReady") == "Unknown/Unknown");
  }
}

TEST_CASE_METHOD(Ready, "things deleted by hand") {
  SECTION("the Node: not ready until it registers again, then opened again") {
    must({.verb = Verb::remove, .resource = &resource_of<Node>, .name = host_name()});
    pass("m1");
    CHECK(condition("m1", "Ready") == "False/NodeGone");
    REQUIRE(settle([&] { return running("m1", "rev1"); }, 10));
    CHECK(node_of("m1")->spec.taints.empty());
    CHECK(m("m1")->status.node_ref->uid == node_of("m1")->metadata.uid);
  }
  SECTION("the HostAssignment: made again, by a grant") {
    must({.verb = Verb::remove, .resource = &resource_of<api::HostAssignment>, .name = assignment_of("m1")->metadata.name.str()});
    REQUIRE(settle([&] { return running("m1", "rev1") && assignment_of("m1"); }, 10));
    CHECK(granted.size() == 1);
    CHECK(granted[0].operation == "MachineCreate");
    CHECK(node_of("m1")->spec.taints.empty());
  }
  SECTION("the Host, its finalizer too: failed, nothing else is claimed, and it can be deleted") {
    patch(resource_of<api::Host>, "default", host_name(), "", R"({"metadata":{"finalizers":null}})");
    must({.verb = Verb::remove, .resource = &resource_of<api::Host>, .name_space = "default", .name = host_name()});
    for (int i = 0; i < 5; ++i) step();
    CHECK(m("m1")->status.phase == api::MachinePhase::failed);
    CHECK(condition("m1", "HostClaimed") == "False/HostNotFound");
    CHECK(condition("m1", "Stalled") == "True/HostLost");
    CHECK(granted.empty());
    remove("m1");
    REQUIRE(settle([&] { return !m("m1"); }, 1000));
    // Nobody says that it was wiped: the order to undo it stays, and so it is told.
    REQUIRE(view.list<api::HostAssignment>("").size() == 1);
    CHECK(view.list<api::HostAssignment>("").front()->spec.state == api::AssignmentState::released);
    CHECK(view.list<Node>("").empty());
  }
  SECTION("the claim: put back while the host is free") {
    const auto name = host_name();
    patch(resource_of<api::Host>, "default", name, "", R"({"spec":{"consumerRef":null}})");
    REQUIRE(settle([&] { return get<api::Host>(name)->spec.consumer_ref && running("m1", "rev1"); }, 10));
  }
  SECTION("the claim, and another has it: failed") {
    patch(resource_of<api::Host>, "default", host_name(), "",
          R"({"spec":{"consumerRef":{"kind":"Machine","namespace":"default","name":"other","uid":"x"}}})");
    for (int i = 0; i < 3; ++i) step();
    CHECK(condition("m1", "HostClaimed") == "False/HostTaken");
    CHECK(m("m1")->status.phase == api::MachinePhase::failed);
  }
}

TEST_CASE("a Node that was joined by hand waits for its owner's word, and then stays what it was, open and with its pods") {
  TestWorld w;
  w.package("k-1");
  w.host("h9");
  w.must({.verb = Verb::create,
          .resource = &resource_of<Node>,
          .body = R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"h9","labels":{"theirs":"x"}}})"});
  w.pod("h9", "p1");
  w.step();
  const auto before = w.get<Node>("h9");
  w.machine("m9", "k-1", "rev1");
  for (int i = 0; i < 8; ++i) w.step();
  CHECK(w.condition("m9", "NodeReady") == "False/NodeNameTaken");
  const std::string uid = before->metadata.uid.str();
  CHECK(has(find_condition(w.m("m9")->status.conditions, "NodeReady")->message.str(), "endstate.dev/adopt-node=" + uid));
  w.annotate("m9", "endstate.dev/adopt-node", "\"another\"");  // the word is for one Node only
  for (int i = 0; i < 3; ++i) w.step();
  CHECK(w.condition("m9", "NodeReady") == "False/NodeNameTaken");
  w.annotate("m9", "endstate.dev/adopt-node", reconcile::quote(uid));
  REQUIRE(w.settle([&] { return w.running("m9", "rev1"); }, 10));
  const auto after = w.get<Node>("h9");
  CHECK(after->metadata.uid == before->metadata.uid);
  CHECK(after->metadata.labels.get("theirs") == "x");
  CHECK(after->spec.taints.empty());
  CHECK(w.get<Pod>("p1"));
  CHECK(w.write_kinds["create pods"] == 0);                        // no eviction
  CHECK(w.m("m9")->status.node_ref->uid == before->metadata.uid);  // recorded: from here on the word is needed no more
  w.annotate("m9", "endstate.dev/adopt-node", "null");
  for (int i = 0; i < 3; ++i) w.step();
  CHECK(w.running("m9", "rev1"));
}

TEST_CASE_METHOD(Ready, "a Node of somebody else is left alone") {
  TestWorld w;
  w.package("k-1");
  w.host("h9");
  w.must(
      {.verb = Verb::create,
       .resource = &resource_of<Node>,
       .body =
           R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"h9","annotations":{"endstate.dev/machine-uid":"other"}},"spec":{"taints":[{"key":"endstate.dev/not-ready","effect":"NoSchedule"}]}})"});
  w.machine("m9", "k-1", "rev1");
  for (int i = 0; i < 8; ++i) w.step();
  CHECK(w.condition("m9", "NodeReady") == "False/NodeNameTaken");
  CHECK(w.write_kinds["patch nodes"] == 0);
  w.remove("m9");
  REQUIRE(w.settle([&] { return !w.m("m9"); }, 400));
  CHECK(w.get<Node>("h9"));
}

TEST_CASE_METHOD(Ready, "paused: nothing is done, and it says so") {
  package("k-3", "None");
  const auto quiet = [&](const char* how) {
    INFO(how);
    want("m1", "k-3", "rev3");
    for (int i = 0; i < 5; ++i) step();
    CHECK(assignment_of("m1")->spec.revision == "rev1");
    CHECK(condition("m1", "Paused") == "True/Paused");
    CHECK(granted.empty());
  };
  SECTION("by annotation") {
    annotate("m1", "endstate.dev/paused", "\"\"");
    quiet("annotation");
    annotate("m1", "endstate.dev/paused", "null");
    CHECK(settle([&] { return running("m1", "rev3"); }, 10));
    CHECK(condition("m1", "Paused").empty());
  }
  SECTION("by spec") {
    patch(resource_of<api::Machine>, "default", "m1", "", R"({"spec":{"paused":true}})");
    quiet("spec");
  }
  SECTION("by its Cluster, a deletion too") {
    patch(resource_of<api::Cluster>, "default", "c", "", R"({"spec":{"paused":true}})");
    quiet("cluster");
    remove("m1");
    for (int i = 0; i < 5; ++i) step();
    CHECK(m("m1"));
    CHECK(get<api::Host>(host_name())->spec.consumer_ref);
  }
}

TEST_CASE_METHOD(Ready, "a business cluster that can't be seen: nothing is touched, and after 5 min it is said") {
  const auto since = find_condition(m("m1")->status.conditions, "Ready")->last_transition_time;
  blind();
  want("m1", "k-2", "rev2");
  for (int i = 0; i < 299; ++i) step();
  CHECK(writes == 0);
  for (int i = 0; i < 5; ++i) step();
  CHECK(writes == 1);
  CHECK(condition("m1", "Ready") == "Unknown/ConnectionLost");
  CHECK_FALSE(is_unavailable(*m("m1")));
  CHECK(m("m1")->status.phase == api::MachinePhase::running);
  CHECK(has(m("m1")->status.blocked_by->message.str(), "connection refused"));
  CHECK(granted.empty());
  want("m1", "k-1", "rev1");
  sees_again();
  REQUIRE(settle([&] { return running("m1", "rev1"); }, 5));
  CHECK(find_condition(m("m1")->status.conditions, "Ready")->last_transition_time == since);
  want("m1", "k-2", "rev2");
  CHECK(settle([&] { return running("m1", "rev2"); }, 30));
}

TEST_CASE_METHOD(Ready, "a machine that was ill by its own word before nothing could be seen is told so still") {
  std::string told;
  SECTION("its Node is not Ready") {
    its_host().node_ready = false;
    for (int i = 0; i < 5; ++i) step();
    told = "False/NodeUnhealthy";
  }
  SECTION("its agent is silent") {
    its_host().alive = false;
    for (int i = 0; i < 185; ++i) step();
    told = "Unknown/AgentSilent";
  }
  CHECK(condition("m1", "Ready") == told);
  CHECK(is_unavailable(*m("m1")));
  blind();
  for (int i = 0; i < 400; ++i) step();
  CHECK(condition("m1", "Ready") == told);
  CHECK(condition("m1", "NodeReady") == "Unknown/ConnectionLost");
  CHECK(is_unavailable(*m("m1")));
}

TEST_CASE_METHOD(Ready, "a connection that doesn't answer is out of sight, whatever its watches still believe") {
  link.reachable = ConditionStatus::false_;
  link.message = "no route";
  link.since = world.now();
  want("m1", "k-2", "rev2");
  for (int i = 0; i < 60; ++i) step();
  CHECK(writes == 0);
  CHECK(granted.empty());
  link.reachable = ConditionStatus::true_;
  CHECK(settle([&] { return running("m1", "rev2"); }, 30));
}

TEST_CASE_METHOD(Ready, "after an absence of the API server nobody is silent before he could be heard") {
  its_host().alive = false;  // it can't renew either
  blind();
  for (int i = 0; i < 250; ++i) step();
  sees_again();
  writes = 0;
  for (int i = 0; i < 170; ++i) step();
  CHECK(writes == 0);
  CHECK(running("m1", "rev1"));
  for (int i = 0; i < 15; ++i) step();
  CHECK(condition("m1", "AgentAlive") == "Unknown/AgentSilent");  // who stays away is missed
}

TEST_CASE_METHOD(Ready, "an agent that renews seldom says so in its Lease") {
  patch(resource_of<reconcile::Lease>, std::string(api::system_namespace), api::agent_lease_name(assignment_of("m1")->metadata.name), "",
        R"({"spec":{"leaseDurationSeconds":600}})");
  its_host().alive = false;
  writes = 0;
  for (int i = 0; i < 590; ++i) step();
  CHECK(writes == 0);
  for (int i = 0; i < 15; ++i) step();
  CHECK(condition("m1", "AgentAlive") == "Unknown/AgentSilent");
  CHECK(has(find_condition(m("m1")->status.conditions, "AgentAlive")->message.str(), "10 min"));
}

TEST_CASE_METHOD(Ready, "an operation isn't late for the time when nothing could be seen") {
  package("k-3", "None");
  annotate("m1", "endstate.dev/operation-timeout-seconds", "\"120\"");
  its_host().node_ready = false;
  want("m1", "k-3", "rev3");
  for (int i = 0; i < 20; ++i) step();
  REQUIRE(m("m1")->status.operation);
  blind();
  for (int i = 0; i < 200; ++i) step();
  sees_again();
  for (int i = 0; i < 95; ++i) step();
  CHECK(m("m1")->status.operation);
  CHECK(settle([&] { return m("m1")->status.phase == api::MachinePhase::failed; }, 10));
  CHECK(m("m1")->status.last_operation->reason == "MachineTimedOut");
}

TEST_CASE_METHOD(Ready, "a business cluster that is lost for good holds no Machine that is given up") {
  const std::string host = host_name();
  const auto keep = view.list<Node>("").size();
  const auto writes_there = [&] {
    int n = 0;
    for (const auto& [what, count] : write_kinds)
      if (has(what, "nodes") || has(what, "hostassignments") || has(what, "pods")) n += count;
    return n;
  };
  const auto given_up = [&] {
    CHECK(writes_there() == 0);  // nothing is done unseen
    CHECK(view.list<Node>("").size() == keep);
    const auto left = get<api::Host>(host);
    CHECK_FALSE(left->spec.consumer_ref);
    CHECK_FALSE(left->metadata.has_finalizer("endstate.dev/claimed"));
    CHECK_FALSE(claimable(*left));
    CHECK(is_false(left->status.conditions, "Wiped"));
    CHECK(std::count_if(events.begin(), events.end(), [](const auto& e) { return has(e, "NotWiped"); }) == 1);
  };
  SECTION("forced: within seconds") {
    blind();
    SECTION("by the Machine") { annotate("m1", "endstate.dev/force-delete", "\"site burnt down\""); }
    SECTION("by the Cluster") {
      patch(resource_of<api::Cluster>, "default", "c", "", R"({"metadata":{"annotations":{"endstate.dev/force-delete":"burnt"}}})");
    }
    SECTION("when an update was under way") {
      sees_again();
      hosts_state[host].node_ready = false;
      want("m1", "k-2", "rev2");
      REQUIRE(settle([&] { return m("m1")->status.operation.has_value(); }, 5));
      blind();
      write_kinds.clear();
      annotate("m1", "endstate.dev/force-delete", "\"site burnt down\"");
    }
    remove("m1");
    REQUIRE(settle([&] { return !m("m1"); }, 5));
    given_up();
  }
  SECTION("with its Cluster: 15 min after both are deleted") {
    patch(resource_of<api::Cluster>, "default", "c", "", R"({"metadata":{"finalizers":["endstate.dev/cluster"]}})");
    blind();
    remove("m1");
    for (int i = 0; i < 600; ++i) step();
    must({.verb = Verb::remove, .resource = &resource_of<api::Cluster>, .name_space = "default", .name = "c"});
    for (int i = 0; i < 880; ++i) step();
    REQUIRE(m("m1"));
    CHECK(m("m1")->status.phase == api::MachinePhase::deleting);
    CHECK(has(find_condition(m("m1")->status.conditions, "Deleting")->message.str(), "15 min"));
    REQUIRE(settle([&] { return !m("m1"); }, 40));
    given_up();
  }
  SECTION("neither forced nor with its Cluster: it waits, and says so") {
    blind();
    remove("m1");
    for (int i = 0; i < 2000; ++i) step();
    REQUIRE(m("m1"));
    CHECK(m("m1")->status.phase == api::MachinePhase::deleting);
    CHECK(has(find_condition(m("m1")->status.conditions, "Deleting")->message.str(), "connection refused"));
    CHECK(get<api::Host>(host)->spec.consumer_ref);
    sees_again();
    REQUIRE(settle([&] { return !m("m1"); }, 40));
    CHECK(claimable(*get<api::Host>(host)));
    return;
  }
  // Should it come back: the host is told to undo it, and is free when it has.
  sees_again();
  CHECK(view.list<api::HostAssignment>("").front()->spec.state == api::AssignmentState::active);
  REQUIRE(settle([&] { return view.list<api::HostAssignment>("").empty(); }, 40));
  CHECK(granted.back().operation == "MachineDelete");
  CHECK(view.list<Node>("").empty());
  CHECK(claimable(*get<api::Host>(host)));
}

TEST_CASE_METHOD(Ready, "the assignment of a machine that is gone is released only if it was given up") {
  const std::string host = host_name();
  patch(resource_of<api::Machine>, "default", "m1", "", R"({"metadata":{"finalizers":null}})");
  remove("m1");
  REQUIRE_FALSE(m("m1"));
  for (int i = 0; i < 60; ++i) step();
  CHECK(view.list<api::HostAssignment>("").front()->spec.state == api::AssignmentState::active);  // a missing Machine alone wipes no host
  CHECK(granted.empty());
  patch(
      resource_of<api::Host>, "default", host, "status",
      R"({"status":{"phase":"Failed","conditions":[{"type":"Wiped","status":"False","reason":"NotWiped","lastTransitionTime":"2026-01-01T00:00:00Z"}]}})");
  for (int i = 0; i < 60; ++i) step();
  CHECK(view.list<api::HostAssignment>("").front()->spec.state == api::AssignmentState::active);  // it is claimed still
}

TEST_CASE_METHOD(Ready, "what a machine left behind goes although a new one has its name") {
  const std::string host = host_name();
  hosts_state[host].alive = false;
  remove("m1");
  REQUIRE(settle([&] { return !m("m1"); }, 400));
  CHECK_FALSE(claimable(*get<api::Host>(host)));
  machine("m1", "k-1", "rev1");
  REQUIRE(settle([&] { return running("m1", "rev1"); }, 20));
  CHECK_FALSE(host_name() == host);
  hosts_state[host].alive = true;
  REQUIRE(settle([&] { return claimable(*get<api::Host>(host)); }, 40));
  CHECK(view.list<api::HostAssignment>("").size() == 1);
  CHECK(running("m1", "rev1"));
}

TEST_CASE_METHOD(Ready, "a Host that is deleted while it is claimed waits for its machine") {
  const std::string host = host_name();
  const auto remove_host = [&] {
    must({.verb = Verb::remove, .resource = &resource_of<api::Host>, .name_space = "default", .name = host});
  };
  CHECK(get<api::Host>(host)->metadata.has_finalizer("endstate.dev/claimed"));
  SECTION("it works on, and goes with it") {
    remove_host();
    for (int i = 0; i < 10; ++i) step();
    CHECK(running("m1", "rev1"));
    want("m1", "k-2", "rev2");
    REQUIRE(settle([&] { return running("m1", "rev2"); }, 30));
    remove("m1");
    REQUIRE(settle([&] { return !m("m1"); }, 40));
    CHECK_FALSE(get<api::Host>(host));
    CHECK(view.list<api::HostAssignment>("").empty());
  }
  SECTION("its agent is silent: that it wasn't wiped is told, and stays told") {
    hosts_state[host].alive = false;
    SECTION("held by its finalizer") {}
    SECTION("claimed by an older version, so that it went at once") {
      patch(resource_of<api::Host>, "default", host, "", R"({"metadata":{"finalizers":null}})");
    }
    remove_host();
    step();
    remove("m1");
    for (int i = 0; i < 290; ++i) step();
    CHECK(m("m1"));  // it is waited for as ever
    REQUIRE(settle([&] { return !m("m1"); }, 40));
    CHECK_FALSE(get<api::Host>(host));
    CHECK(std::count_if(events.begin(), events.end(), [](const auto& e) { return has(e, "NotWiped"); }) == 1);
    REQUIRE(view.list<api::HostAssignment>("").size() == 1);  // the record, and the order to undo it
    CHECK(view.list<api::HostAssignment>("").front()->spec.state == api::AssignmentState::released);
  }
  SECTION("claimed by an older version: it gets the finalizer with the next write, and no write of its own") {
    patch(resource_of<api::Host>, "default", host, "", R"({"metadata":{"finalizers":null}})");
    writes = 0;
    for (int i = 0; i < 30; ++i) step();
    CHECK(writes == 0);
    SECTION("an update") {
      want("m1", "k-2", "rev2");
      REQUIRE(settle([&] { return running("m1", "rev2"); }, 30));
    }
    SECTION("what its agent says") {
      its_host().boot = "b2";
      REQUIRE(settle([&] { return get<api::Host>(host)->status.agent->boot_id == "b2"; }, 10));
    }
    CHECK(get<api::Host>(host)->metadata.has_finalizer("endstate.dev/claimed"));
  }
}

TEST_CASE_METHOD(Ready, "an assignment that was deleted under a machine that goes is made again as released, also without its Host") {
  patch(resource_of<api::Host>, "default", host_name(), "", R"({"metadata":{"finalizers":null}})");
  hosts_state[host_name()].alive = false;
  must({.verb = Verb::remove, .resource = &resource_of<api::HostAssignment>, .name = assignment_of("m1")->metadata.name.str()});
  must({.verb = Verb::remove, .resource = &resource_of<api::Host>, .name_space = "default", .name = host_name()});
  remove("m1");
  REQUIRE(settle([&] { return !m("m1"); }, 400));
  REQUIRE(view.list<api::HostAssignment>("").size() == 1);
  CHECK(view.list<api::HostAssignment>("").front()->spec.state == api::AssignmentState::released);
}

TEST_CASE_METHOD(Ready, "a Machine that is being deleted says so in its phase, whatever it waits for") {
  const auto says = [&](std::string_view what) {
    for (int i = 0; i < 5; ++i) step();
    const auto machine = m("m1");  // kept, for the condition points into it
    REQUIRE(machine);
    CHECK(machine->status.phase == api::MachinePhase::deleting);
    const auto* c = find_condition(machine->status.conditions, "Deleting");
    REQUIRE(c);
    CHECK(c->status == ConditionStatus::true_);
    INFO(c->message.view());
    CHECK(has(c->message.str(), what));
  };
  SECTION("paused") {
    annotate("m1", "endstate.dev/paused", "\"\"");
    remove("m1");
    says("paused");
  }
  SECTION("its Cluster is paused") {
    patch(resource_of<api::Cluster>, "default", "c", "", R"({"spec":{"paused":true}})");
    remove("m1");
    says("paused");
  }
  SECTION("its host's word") {
    hosts_state[host_name()].alive = false;
    remove("m1");
    says("");
    for (int i = 0; i < 30; ++i) step();
    says("the host undoes what was installed");
  }
  SECTION("the guard refuses") {
    guard = [](const reconcile::PermitRequest&) {
      return reconcile::Verdict(reconcile::Refused{.kind = "ChangeBudget", .name = "b", .reason = "WindowFull", .message = "full"});
    };
    remove("m1");
    says("full");
  }
  SECTION("the guard can't answer") {
    guard_error = reconcile::Error{reconcile::Code::forbidden, "the namespace is being terminated"};
    remove("m1");
    says("the namespace is being terminated");
    guard_error.reset();
    CHECK(settle([&] { return !m("m1"); }, 40));
  }
  SECTION("its Cluster is gone") {
    must({.verb = Verb::remove, .resource = &resource_of<api::Cluster>, .name_space = "default", .name = "c"});
    remove("m1");
    says("15 min");
  }
  SECTION("a hook") {
    annotate("m1", "pre-drain.delete.hook.endstate.dev/backup", "\"me\"");
    remove("m1");
    says("backup");
  }
  SECTION("it had failed, its host lost") {
    patch(resource_of<api::Host>, "default", host_name(), "", R"({"metadata":{"finalizers":null}})");
    hosts_state[host_name()].alive = false;
    must({.verb = Verb::remove, .resource = &resource_of<api::Host>, .name_space = "default", .name = host_name()});
    for (int i = 0; i < 5; ++i) step();
    CHECK(m("m1")->status.phase == api::MachinePhase::failed);
    remove("m1");
    says("");
  }
}

TEST_CASE("a machine in Joining says what it waits for") {
  TestWorld w;
  w.package("k-1");
  w.host("h1");
  w.hosts_state["h1"].node_ready = false;
  w.machine("m1", "k-1", "rev1");
  for (int i = 0; i < 10; ++i) w.step();
  CHECK(w.m("m1")->status.phase == api::MachinePhase::joining);
  const auto message = [&](const char* type) { return find_condition(w.m("m1")->status.conditions, type)->message.str(); };
  CHECK(has(message("Ready"), "NodeReady"));
  CHECK(has(message("SchedulingOpen"), "NodeReady"));
  CHECK_FALSE(w.condition("m1", "Ready") == "False/SchedulingClosed");
}

TEST_CASE_METHOD(Ready, "a Machine is deleted: drained, released, wiped, freed") {
  pod(host_name(), "p1");
  const std::string host = host_name();
  remove("m1");
  step();
  CHECK(m("m1")->status.operation->type == api::OperationType::delete_);
  CHECK(granted.back().operation == "MachineDelete");
  REQUIRE(settle([&] { return !m("m1"); }, 40));
  CHECK_FALSE(last_plan.status);  // nothing is written to what is gone
  CHECK_FALSE(get<Pod>("p1"));
  CHECK(view.list<Node>("").empty());
  CHECK(view.list<api::HostAssignment>("").empty());
  const auto freed = get<api::Host>(host);
  CHECK_FALSE(freed->spec.consumer_ref);
  CHECK(claimable(*freed));
  CHECK_FALSE(freed->metadata.labels.has("endstate.dev/cluster-name"));
  machine("m2", "k-1", "rev1", R"(,"hostName":")" + host + "\"");
  CHECK(settle([&] { return running("m2", "rev1"); }, 20));
}

TEST_CASE_METHOD(Ready, "a deletion that is refused goes on serving, and its next request still costs availability") {
  bool open = false;
  guard = [&](const reconcile::PermitRequest& r) -> reconcile::Verdict {
    if (open) return reconcile::Granted{r.id()};
    return reconcile::Refused{
        .kind = "ChangeBudget", .name = "b", .reason = "MaxUnavailable", .message = "m", .retry_after = std::chrono::seconds(3)};
  };
  remove("m1");
  for (int i = 0; i < 10; ++i) step();
  CHECK(is_available(*m("m1")));
  CHECK(condition("m1", "Deleting") == "True/Deleting");
  CHECK(m("m1")->status.blocked_by->reason == "MaxUnavailable");
  CHECK(node_of("m1")->spec.taints.empty());
  open = true;
  CHECK(settle([&] { return !m("m1"); }, 30));
}

TEST_CASE_METHOD(Ready, "hooks and exclusions hold or shorten a deletion") {
  const std::string host = host_name();
  SECTION("pre-drain") {
    pod(host, "p1");
    annotate("m1", "pre-drain.delete.hook.endstate.dev/backup", "\"me\"");
    remove("m1");
    for (int i = 0; i < 5; ++i) step();
    CHECK(granted.empty());
    CHECK(get<Pod>("p1"));
    CHECK(condition("m1", "Deleting") == "True/WaitingForHook");
    CHECK(has(m("m1")->status.blocked_by->message.str(), "backup"));
    annotate("m1", "pre-drain.delete.hook.endstate.dev/backup", "null");
    CHECK(settle([&] { return !m("m1"); }, 40));
  }
  SECTION("pre-terminate") {
    pod(host, "p1");
    annotate("m1", "pre-terminate.delete.hook.endstate.dev/disks", "\"me\"");
    remove("m1");
    for (int i = 0; i < 20; ++i) step();
    CHECK_FALSE(get<Pod>("p1"));
    CHECK(assignment_of("m1")->spec.state == api::AssignmentState::active);
    CHECK(condition("m1", "Deleting") == "True/WaitingForHook");
    annotate("m1", "pre-terminate.delete.hook.endstate.dev/disks", "null");
    CHECK(settle([&] { return !m("m1"); }, 40));
  }
  SECTION("exclude-node-draining") {
    pod(host, "p1");
    annotate("m1", "endstate.dev/exclude-node-draining", "\"\"");
    remove("m1");
    REQUIRE(settle([&] { return !m("m1"); }, 40));
    CHECK(get<Pod>("p1"));
  }
  SECTION("forced") {
    pod(host, "p1");
    hosts_state[host].alive = false;  // and its agent will never say that it is wiped
    annotate("m1", "pre-drain.delete.hook.endstate.dev/backup", "\"me\"");
    remove("m1");
    for (int i = 0; i < 5; ++i) step();
    REQUIRE(condition("m1", "Deleting") == "True/WaitingForHook");
    const auto told = [&] { return std::count_if(events.begin(), events.end(), [](const auto& e) { return has(e, "DeleteForced"); }); };
    SECTION("by the Machine") { annotate("m1", "endstate.dev/force-delete", "\"rack lost, ticket 7\""); }
    SECTION("by the Cluster") {
      patch(resource_of<api::Cluster>, "default", "c", "", R"({"metadata":{"annotations":{"endstate.dev/force-delete":"ticket 7"}}})");
    }
    SECTION("without a reason: no") {
      annotate("m1", "endstate.dev/force-delete", "\"\"");
      for (int i = 0; i < 5; ++i) step();
      CHECK(condition("m1", "Deleting") == "True/WaitingForHook");
      CHECK(told() == 0);
      return;
    }
    REQUIRE(settle([&] { return !m("m1"); }, 12));
    CHECK(told() == 1);
    CHECK(std::any_of(events.begin(), events.end(), [](const auto& e) { return has(e, "ticket 7"); }));
    CHECK(granted.back().operation == "MachineDelete");  // the guard is asked all the same
    CHECK(get<Pod>("p1"));
    CHECK_FALSE(claimable(*get<api::Host>(host)));  // nobody has said that it is wiped
  }
  SECTION("never in service: no drain") {
    package("k-5");
    for (auto& [name, state] : hosts_state) state.fails["k-5"] = "x";
    machine("m2", "k-5", "rev5");
    for (int i = 0; i < 5; ++i) step();
    CHECK(m("m2")->status.phase == api::MachinePhase::failed);
    remove("m2");
    CHECK(settle([&] { return !m("m2"); }, 20));
  }
  SECTION("nothing was done yet: no grant is needed") {
    granted.clear();
    machine("m2", "nothing", "rev5");
    step();
    remove("m2");
    step();
    CHECK_FALSE(m("m2"));
    CHECK(granted.empty());
  }
}

TEST_CASE_METHOD(Ready, "a silent host is freed past the deadline, but nothing claims it before it is wiped") {
  const std::string host = host_name();
  hosts_state[host].alive = false;
  remove("m1");
  for (int i = 0; i < 200; ++i) step();
  CHECK(m("m1"));
  REQUIRE(settle([&] { return !m("m1"); }, 500));
  CHECK(view.list<Node>("").empty());
  const auto left = get<api::Host>(host);
  CHECK_FALSE(left->spec.consumer_ref);
  CHECK_FALSE(claimable(*left));
  CHECK(is_false(left->status.conditions, "Wiped"));
  REQUIRE(view.list<api::HostAssignment>("").size() == 1);
  CHECK(std::any_of(events.begin(), events.end(), [](const auto& e) { return has(e, "NotWiped"); }));
  machine("m2", "k-1", "rev1", R"(,"hostName":")" + host + "\"");
  for (int i = 0; i < 5; ++i) step();
  CHECK_FALSE(get<api::Host>(host)->spec.consumer_ref);
  hosts_state[host].alive = true;  // its agent comes back, sees that it was released, and wipes
  REQUIRE(settle([&] { return running("m2", "rev1"); }, 60));
  CHECK(is_true(get<api::Host>(host)->status.conditions, "Wiped"));
}

TEST_CASE_METHOD(Ready, "a deleted Machine whose Cluster is gone is let go after a while, its host marked") {
  const std::string host = host_name();
  must({.verb = Verb::remove, .resource = &resource_of<api::Cluster>, .name_space = "default", .name = "c"});
  for (int i = 0; i < 3; ++i) step();
  CHECK(condition("m1", "Stalled") == "True/ClusterNotFound");
  CHECK(condition("m1", "Ready") == "Unknown/ClusterNotFound");
  CHECK(condition("m1", "PackagesReady") == "True/Ready");  // what was known stays shown
  write_kinds.clear();
  remove("m1");
  SECTION("after 15 min") {
    for (int i = 0; i < 880; ++i) step();
    CHECK(m("m1"));
    REQUIRE(settle([&] { return !m("m1"); }, 30));
  }
  SECTION("forced: within seconds") {
    annotate("m1", "endstate.dev/force-delete", "\"gone\"");
    REQUIRE(settle([&] { return !m("m1"); }, 5));
  }
  CHECK_FALSE(claimable(*get<api::Host>(host)));
  CHECK(is_false(get<api::Host>(host)->status.conditions, "Wiped"));
  CHECK(granted.empty());
  // Without the Cluster no connection is known: the meta cluster's own Node of that name isn't meant.
  CHECK(get<Node>(host));
  for (const auto& [what, count] : write_kinds) CHECK_FALSE((has(what, "nodes") || has(what, "hostassignments")));
}

TEST_CASE_METHOD(Ready, "a cordoned node and one isolated by another are theirs") {
  SECTION("cordon") {
    patch(resource_of<Node>, "", host_name(), "", R"({"spec":{"unschedulable":true}})");
    for (int i = 0; i < 3; ++i) step();
    CHECK(condition("m1", "SchedulingOpen") == "False/SchedulingClosed");
    CHECK(is_available(*m("m1")));
    CHECK(node_of("m1")->spec.unschedulable.value_or(false));
  }
  SECTION("isolated by repair") {
    patch(resource_of<Node>, "", host_name(), "",
          R"({"spec":{"taints":[{"key":"endstate.dev/isolated","value":"repair","effect":"NoSchedule"}]}})");
    for (int i = 0; i < 10; ++i) step();
    CHECK(node_of("m1")->spec.taints.size() == 1);
    CHECK(condition("m1", "Ready") == "False/SchedulingClosed");
  }
}

TEST_CASE_METHOD(Ready, "what the agent says of the host is kept with the Host") {
  its_host().boot = "b2";
  for (int i = 0; i < 4; ++i) step();
  CHECK(get<api::Host>(host_name())->status.agent->boot_id == "b2");
  CHECK(get<api::Host>(host_name())->status.phase == api::HostPhase::ready);
  CHECK(write_kinds["patch hosts/status"] == 1);
}

TEST_CASE_METHOD(Ready, "reboots that nobody asked for are counted, until the machine gets another revision") {
  CHECK(m("m1")->status.boot_id == "b1");
  CHECK(m("m1")->status.restarts == 0);
  for (const char* boot : {"b2", "b3"}) {
    its_host().boot = boot;
    for (int i = 0; i < 4; ++i) step();
  }
  CHECK(m("m1")->status.boot_id == "b3");
  CHECK(m("m1")->status.restarts == 2);
  package("k-reboot", "Reboot");
  want("m1", "k-reboot", "rev2");
  step();
  REQUIRE(m("m1")->status.operation);
  its_host().boot = "b4";  // the package's own
  REQUIRE(settle([&] { return running("m1", "rev2"); }, 60));
  CHECK(m("m1")->status.restarts == 0);
  CHECK(m("m1")->status.boot_id == "b4");
  its_host().boot = "b5";
  for (int i = 0; i < 4; ++i) step();
  CHECK(m("m1")->status.restarts == 1);
}

TEST_CASE("a slow creation shows its progress, and its deadline") {
  TestWorld w;
  w.package("k-1");
  w.host("h1");
  w.hosts_state["h1"].alive = false;
  w.machine("m1", "k-1", "rev1");
  for (int i = 0; i < 4; ++i) w.step();
  CHECK(w.m("m1")->status.phase == api::MachinePhase::pending);  // the zero value: not written yet
  CHECK(w.m("m1")->status.conditions.empty());
  for (int i = 0; i < 6; ++i) w.step();
  CHECK(w.m("m1")->status.phase == api::MachinePhase::provisioning);
  CHECK(w.m("m1")->status.operation->type == api::OperationType::create);
  CHECK(w.condition("m1", "AgentAlive") == "Unknown/WaitingForAgent");
  REQUIRE(w.settle([&] { return w.m("m1")->status.phase == api::MachinePhase::failed; }, 1900));
  CHECK(w.m("m1")->status.last_operation->result == api::OperationResult::lost);
  w.hosts_state["h1"].alive = true;
  REQUIRE(w.settle([&] { return w.running("m1", "rev1"); }, 20));
  CHECK(w.m("m1")->status.last_operation->reason == "Recovered");
}

TEST_CASE("a creation that fails, and a spec that is mended") {
  TestWorld w;
  w.package("k-1");
  w.package("k-2");
  w.host("h1");
  w.hosts_state["h1"].fails["k-1"] = "DownloadFailed";
  w.machine("m1", "k-1", "rev1");
  REQUIRE(w.settle([&] { return w.m("m1")->status.phase == api::MachinePhase::failed; }, 20));
  CHECK(w.m("m1")->status.last_operation->type == api::OperationType::create);
  CHECK(w.m("m1")->status.last_operation->reason == "PackageFailed");
  w.want("m1", "k-2", "rev2");
  REQUIRE(w.settle([&] { return w.running("m1", "rev2"); }, 20));
  CHECK(w.m("m1")->status.last_operation->attempt == 1);
  CHECK(w.granted.back().operation == "MachineCreate");
}
