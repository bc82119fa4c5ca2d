// Labels, taints and the opening of a Node: what the API server refuses stands at the Machine and ends; what is others' is never touched,
// whatever the Node says of itself.
#include <catch2/catch.hpp>

#include "controllers/machine/pass.hpp"
#include "controllers/machine/testing.hpp"

using namespace endstate;
using namespace endstate::machine;
using namespace std::chrono_literals;
using reconcile::Code, reconcile::Error, reconcile::resource_of, reconcile::Verb;

namespace {

bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

struct NodeWorld : TestWorld {
  explicit NodeWorld(std::uint64_t seed = 1) : TestWorld(seed) {
    package("k-1");
    package("k-2", "Drain");
    host("h1");
  }
  void make(const std::string& extra = {}, const char* timeout = "60") {
    machine("m1", "k-1", "rev1", extra);
    annotate("m1", "endstate.dev/operation-timeout-seconds", reconcile::quote(timeout));
  }
  void serve(const std::string& extra = {}) {
    make(extra);
    REQUIRE(settle([&] { return running("m1", "rev1"); }, 20));
    granted.clear();
    writes = 0;
    write_kinds.clear();
    events.clear();
  }
  // Whoever looks at Nodes (the API server's own validation, a webhook) says no to those that have this in them.
  void refuse(const std::string& part, Error error = {Code::invalid, R"(Node "h1" is invalid: metadata.labels: a valid label must ...)"}) {
    api_server.admit = [=](const reconcile::Call& c, const std::string& object) -> std::optional<Error> {
      if (c.resource->plural == "nodes" && c.verb == Verb::json_patch && has(object, part)) return error;
      return std::nullopt;
    };
  }
  void steps(int n) {
    for (int i = 0; i < n; ++i) step();
  }
  void spec(const std::string& text, const std::string& revision = "rev1") {
    patch(resource_of<api::Machine>, "default", "m1", "",
          R"({"metadata":{"labels":{"endstate.dev/revision":")" + revision + R"("}},"spec":)" + text + "}");
  }
  const api::MachineStatus& st() { return (kept = m("m1"))->status; }
  std::string blocked() { return st().blocked_by ? st().blocked_by->kind.str() + "/" + st().blocked_by->reason.str() : ""; }
  Ref<Node> node() const { return get<Node>("h1"); }
  Ref<api::Machine> kept;
};

}  // namespace

TEST_CASE_METHOD(NodeWorld, "a label that no Node can have: a new machine says so in the API server's words, and fails at its deadline") {
  for (const Error& error : {Error{Code::invalid, "a valid label must be an empty string or consist of"},
                             Error{Code::forbidden, R"(admission webhook "labels.example.com" denied the request: a valid label)"},
                             Error{Code::conflict, R"(admission webhook "labels.example.com" denied the request: a valid label)"}})
    DYNAMIC_SECTION(error.message) {
      refuse("site reliability", error);
      make(R"(,"labels":{"team":"site reliability"})");
      steps(30);
      CHECK(blocked() == "Node/NodeRefused");
      CHECK(has(st().blocked_by->message, "a valid label"));
      CHECK(condition("m1", "Ready") == "False/NodeRefused");
      CHECK(has_taint(*node(), "endstate.dev/not-ready"));
      CHECK(write_kinds["patch nodes"] <= 4);  // not once more at once, and each 10 s
      CHECK(st().operation);
      REQUIRE(settle([&] { return st().phase == api::MachinePhase::failed; }, 60));
      CHECK(st().last_operation->result == api::OperationResult::failed);
      CHECK(st().last_operation->reason == "NodeRefused");
      CHECK(has(st().last_operation->message, "a valid label"));
      CHECK(condition("m1", "Ready") == "False/NodeRefused");
      CHECK(condition("m1", "Stalled") == "True/NodeRefused");
      steps(30);
      CHECK(st().phase == api::MachinePhase::failed);
      spec(R"({"labels":{"team":"sre"}})");
      REQUIRE(settle([&] { return running("m1", "rev1"); }, 40));
      CHECK(node()->metadata.labels.get("team") == "sre");
      CHECK_FALSE(st().blocked_by);
    }
}

TEST_CASE_METHOD(NodeWorld, "a label that was never set is no success: the update fails, and goes back") {
  serve();
  refuse("site reliability");
  SECTION("in place: the node stays open all the time") {
    spec(R"({"labels":{"team":"site reliability"}})", "rev2");
    for (int i = 0; i < 50; ++i) {
      step();
      CHECK(st().operation);
      CHECK(node()->spec.taints.empty());
    }
    CHECK(blocked() == "Node/NodeRefused");
    REQUIRE(settle([&] { return st().phase == api::MachinePhase::failed; }, 30));
    CHECK(node()->spec.taints.empty());
  }
  SECTION("after a drain: the node stays closed until it has gone back") {
    spec(R"({"labels":{"team":"site reliability"},"packages":[{"name":"kubelet","versionRef":{"name":"k-2"}}]})", "rev2");
    REQUIRE(settle([&] { return st().phase == api::MachinePhase::failed; }, 700));
    CHECK(isolated_by_us(*node()));
  }
  CHECK(st().last_operation->result == api::OperationResult::failed);
  CHECK(st().last_operation->reason == "NodeRefused");
  CHECK(st().last_operation->revision == "rev2");
  CHECK(st().revision.empty());
  steps(40);
  CHECK(st().last_operation->result == api::OperationResult::failed);  // not Recovered
  spec(R"({"labels":null,"packages":[{"name":"kubelet","versionRef":{"name":"k-1"}}]})", "rev1");
  REQUIRE(settle([&] { return running("m1", "rev1"); }, 60));
  CHECK(node()->spec.taints.empty());
  CHECK_FALSE(st().owned);  // never an empty record: the API server refuses one that becomes empty
}

TEST_CASE_METHOD(NodeWorld, "a taint that no Node can have keeps no label away, and none keeps a node in service closed") {
  refuse("\"bad\"");
  SECTION("new: the label stands, the node stays closed: without its taint anything could come") {
    make(R"(,"labels":{"zone":"a"},"taints":[{"key":"bad","effect":"NoSchedule"}])");
    steps(30);
    CHECK(node()->metadata.labels.get("zone") == "a");
    CHECK(has_taint(*node(), "endstate.dev/not-ready"));
    REQUIRE(settle([&] { return st().phase == api::MachinePhase::failed; }, 60));
    CHECK(st().last_operation->reason == "NodeRefused");
  }
  SECTION("in service: closed by a gate, it opens again") {
    serve();
    spec(R"({"taints":[{"key":"bad","effect":"PreferNoSchedule"}],"labels":{"zone":"a"}})");
    steps(20);
    CHECK(blocked() == "Node/NodeRefused");
    CHECK(is_available(*m("m1")));
    CHECK(node()->metadata.labels.get("zone") == "a");
    hosts_state["h1"].node_ready = false;
    REQUIRE(settle([&] { return has_taint(*node(), "endstate.dev/not-ready"); }, 60));
    hosts_state["h1"].node_ready = true;
    REQUIRE(settle([&] { return node()->spec.taints.empty(); }, 30));
  }
}

TEST_CASE_METHOD(NodeWorld, "a node that can't be closed: a deletion goes on at the drain's deadline, an update fails at its own") {
  serve();
  refuse("isolated", {Code::forbidden, R"(admission webhook "taints.example.com" denied the request: ask us first)"});
  pod("h1", "p1");
  SECTION("a deletion") {
    patch(resource_of<api::Machine>, "default", "m1", "", R"({"spec":{"deletion":{"nodeDrainTimeoutSeconds":60}}})");
    remove("m1");
    steps(20);
    CHECK(condition("m1", "Drained") == "False/NodeRefused");
    CHECK(blocked() == "Node/NodeRefused");
    CHECK(has(st().blocked_by->message, "ask us first"));
    CHECK(get<reconcile::Pod>("p1"));
    REQUIRE(settle([&] { return !m("m1"); }, 120));
    CHECK(std::any_of(events.begin(), events.end(), [](const auto& e) { return has(e, "DrainTimedOut") && has(e, "ask us first"); }));
  }
  SECTION("an update") {
    patch(resource_of<api::Machine>, "default", "m1", "", R"({"spec":{"deletion":{"nodeDrainTimeoutSeconds":30}}})");
    want("m1", "k-2", "rev2");
    REQUIRE(settle([&] { return st().phase == api::MachinePhase::failed; }, 120));
    CHECK(st().last_operation->reason == "NodeRefused");
    CHECK(assignment_of("m1")->spec.revision == "rev1");
    CHECK(get<reconcile::Pod>("p1"));
    want("m1", "k-1", "rev1");
    REQUIRE(settle([&] { return running("m1", "rev1"); }, 30));
  }
}

TEST_CASE_METHOD(NodeWorld, "a Node whose deletion is refused is said, and the machine goes without it in the end") {
  serve();
  api_server.admit = [](const reconcile::Call& c, const std::string&) -> std::optional<Error> {
    if (c.resource->plural == "nodes" && c.verb == Verb::remove)
      return Error{Code::forbidden, R"(admission webhook "nodes.example.com" denied the request: still in the CMDB)"};
    return std::nullopt;
  };
  patch(resource_of<api::Machine>, "default", "m1", "", R"({"spec":{"deletion":{"nodeDeletionTimeoutSeconds":60}}})");
  remove("m1");
  steps(30);
  REQUIRE(m("m1"));
  CHECK(blocked() == "Node/NodeDeletionBlocked");
  CHECK(has(st().blocked_by->message, "still in the CMDB"));
  CHECK(condition("m1", "Deleting") == "True/NodeDeletionBlocked");
  CHECK(write_kinds["delete nodes"] <= 4);
  CHECK(get<api::Host>("h1")->spec.consumer_ref);
  SECTION("it heals") {
    api_server.admit = nullptr;
    REQUIRE(settle([&] { return !m("m1"); }, 20));
    CHECK_FALSE(node());
  }
  SECTION("it doesn't") {
    REQUIRE(settle([&] { return !m("m1"); }, 60));
    CHECK(node());
    CHECK_FALSE(get<api::Host>("h1")->spec.consumer_ref);
    CHECK(std::any_of(events.begin(), events.end(), [](const auto& e) { return has(e, "NodeDeletionBlocked") && has(e, "CMDB"); }));
  }
}

TEST_CASE_METHOD(NodeWorld, "taints are one by key and effect: another's value is said and left, our own is replaced") {
  serve(R"(,"taints":[{"key":"app","value":"a","effect":"NoSchedule"},{"key":"app","value":"x","effect":"PreferNoSchedule"}])");
  const auto taints = [&] {
    std::string out;
    const auto on = node();
    for (const auto& t : on->spec.taints) out += t.key.str() + "=" + t.value.str() + ":" + t.effect.str() + " ";
    return out;
  };
  CHECK(taints() == "app=a:NoSchedule app=x:PreferNoSchedule ");
  SECTION("our own gets another value, in its effect only") {
    spec(R"({"taints":[{"key":"app","value":"b","effect":"NoSchedule"},{"key":"app","value":"x","effect":"PreferNoSchedule"}]})");
    steps(5);
    CHECK(taints() == "app=x:PreferNoSchedule app=b:NoSchedule ");
    CHECK(running("m1", "rev1"));
  }
  SECTION("another's") {
    patch(resource_of<Node>, "", "h1", "",
          R"({"spec":{"taints":[{"key":"gpu","value":"theirs","effect":"NoSchedule"},{"key":"app","value":"a","effect":"NoSchedule"}]}})");
    spec(
        R"({"taints":[{"key":"app","value":"a","effect":"NoSchedule"},{"key":"gpu","value":"ours","effect":"NoSchedule"},{"key":"gpu","value":"ours","effect":"NoExecute"}]})",
        "rev2");
    steps(20);
    CHECK(taints() == "gpu=theirs:NoSchedule app=a:NoSchedule gpu=ours:NoExecute ");
    REQUIRE(blocked() == "Taint/NodeRefused");
    CHECK(has(st().blocked_by->message, "gpu=theirs:NoSchedule, which endstate didn't set"));
    REQUIRE(settle([&] { return st().phase == api::MachinePhase::failed; }, 60));
    CHECK(st().last_operation->reason == "NodeRefused");
    CHECK(node()->spec.taints.size() == 3);
    // Its owner takes it off.
    patch(resource_of<Node>, "", "h1", "", R"({"spec":{"taints":[{"key":"app","value":"a","effect":"NoSchedule"}]}})");
    REQUIRE(settle([&] { return running("m1", "rev2"); }, 20));
    CHECK(taints() == "app=a:NoSchedule gpu=ours:NoSchedule gpu=ours:NoExecute ");
  }
}

TEST_CASE("what is ours is recorded at the Machine before it is set on the Node, though we die at any time") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    NodeWorld w(seed);
    w.deaths_per_mille = 300;
    w.after_write = [&w] {
      const auto machine = w.get<api::Machine>("m1");
      const auto on = w.get<Node>("h1");
      if (!machine || !on) return;
      const auto& owned = machine->status.owned;
      if (on->metadata.labels.has("zone")) CHECK((owned && !owned->labels.empty()));
      for (const auto& t : on->spec.taints)
        if (t.key == "gpu") CHECK((owned && !owned->taints.empty()));
    };
    w.machine("m1", "k-1", "rev1", R"(,"labels":{"zone":"a"},"taints":[{"key":"gpu","value":"yes","effect":"NoSchedule"}])");
    REQUIRE(w.settle([&] { return w.running("m1", "rev1"); }, 60));
    w.patch(resource_of<api::Machine>, "default", "m1", "", R"({"spec":{"labels":null,"taints":null}})");
    REQUIRE(w.settle([&] { return w.node()->spec.taints.empty() && !w.node()->metadata.labels.has("zone"); }, 60));
  }
}

TEST_CASE_METHOD(NodeWorld, "what a kubelet writes of its own Node proves nothing") {
  serve(R"(,"labels":{"zone":"a"})");
  const auto uid = node()->metadata.uid;
  SECTION("that a quarantine is endstate's to take off") {
    patch(
        resource_of<Node>, "", "h1", "",
        R"({"metadata":{"labels":{"node-restriction.kubernetes.io/tier":"secret"},"annotations":{"endstate.dev/owned":"{\"labels\":[\"node-restriction.kubernetes.io/tier\"],\"taints\":[{\"key\":\"quarantine\",\"effect\":\"NoExecute\"}]}"}},"spec":{"taints":[{"key":"quarantine","effect":"NoExecute"}]}})");
    steps(10);
    CHECK(has_taint(*node(), "quarantine"));
    CHECK(node()->metadata.labels.has("node-restriction.kubernetes.io/tier"));
    spec(R"({"labels":{"zone":null,"row":"7"}})");
    steps(10);
    CHECK(has_taint(*node(), "quarantine"));
    CHECK(node()->metadata.labels.get("row") == "7");
    CHECK_FALSE(node()->metadata.labels.has("zone"));
  }
  SECTION("that it is another machine's") {
    patch(resource_of<Node>, "", "h1", "", R"({"metadata":{"annotations":{"endstate.dev/machine-uid":"other"}}})");
    steps(5);
    CHECK(running("m1", "rev1"));
    CHECK(node()->metadata.annotations.get("endstate.dev/machine-uid") == m("m1")->metadata.uid.view());
  }
  SECTION("that it may be taken over, or registers as ours would") {
    host("h2");
    must(
        {.verb = Verb::create,
         .resource = &resource_of<Node>,
         .body =
             R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"h2","annotations":{"endstate.dev/adopt":"true"}},"spec":{"taints":[{"key":"endstate.dev/not-ready","effect":"NoSchedule"}]}})"});
    steps(2);
    machine("m2", "k-1", "rev1", R"(,"hostName":"h2")");
    steps(10);
    CHECK(condition("m2", "NodeReady") == "False/NodeNameTaken");
    CHECK(has_taint(*get<Node>("h2"), "endstate.dev/not-ready"));
  }
  CHECK(node()->metadata.uid == uid);
}

TEST_CASE_METHOD(NodeWorld, "an older version's record is taken over as far as the spec has it, by one write and no grant") {
  serve(R"(,"labels":{"zone":"a"},"taints":[{"key":"gpu","value":"yes","effect":"PreferNoSchedule"}])");
  // As version 7ba4c7f left it; and a kubelet has written something into it since.
  patch(resource_of<api::Machine>, "default", "m1", "status", R"({"status":{"owned":null}})");
  patch(
      resource_of<Node>, "", "h1", "",
      R"({"metadata":{"annotations":{"endstate.dev/owned":"{\"labels\":[\"zone\",\"theirs\"],\"taints\":[{\"key\":\"gpu\",\"effect\":\"PreferNoSchedule\"},{\"key\":\"quarantine\",\"effect\":\"NoExecute\"}]}"},"labels":{"theirs":"x"}},"spec":{"taints":[{"key":"gpu","value":"yes","effect":"PreferNoSchedule"},{"key":"quarantine","effect":"NoExecute"}]}})");
  writes = 0;
  write_kinds.clear();
  steps(5);
  CHECK(write_kinds == std::map<std::string, int>{{"apply machines/status", 1}});
  CHECK(granted.empty());
  REQUIRE(st().owned);
  CHECK(st().owned->labels == std::vector<Text>{"zone"});
  REQUIRE(st().owned->taints.size() == 1);
  CHECK(st().owned->taints[0].key == "gpu");
  spec(R"({"labels":null,"taints":null})");
  steps(5);
  CHECK_FALSE(node()->metadata.labels.has("zone"));
  CHECK(node()->metadata.labels.has("theirs"));
  REQUIRE(node()->spec.taints.size() == 1);
  CHECK(node()->spec.taints[0].key == "quarantine");
  CHECK_FALSE(node()->metadata.annotations.has("endstate.dev/owned"));
}
