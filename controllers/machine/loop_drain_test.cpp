// Drains: every refusal is named, pods that come back at once end it, volumes are waited for, and what nobody could list is said.
#include <catch2/catch.hpp>

#include "controllers/machine/pass.hpp"
#include "controllers/machine/testing.hpp"
#include "reconcile/cache/record_size.hpp"

using namespace endstate;
using namespace endstate::machine;
using namespace std::chrono_literals;
using reconcile::Code, reconcile::Error, reconcile::Pod, reconcile::resource_of, reconcile::Verb;

namespace {

bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

struct DrainWorld : TestWorld {
  DrainWorld() {
    package("k-1");
    host("h1");
    machine("m1", "k-1", "rev1", R"(,"deletion":{"nodeDrainTimeoutSeconds":180})");
    REQUIRE(settle([this] { return running("m1", "rev1"); }, 20));
    api_server.evict = [this](const std::string& text) -> std::optional<Error> {
      ++evictions;
      return refuse ? refuse(text) : std::nullopt;
    };
  }
  void steps(int n) {
    for (int i = 0; i < n; ++i) step();
  }
  bool told(std::string_view what, std::string_view part = {}) const {
    return std::any_of(events.begin(), events.end(), [&](const auto& e) { return has(e, what) && has(e, part); });
  }
  std::string message(std::string_view type) const {
    const auto machine = m("m1");
    const auto* c = machine ? find_condition(machine->status.conditions, type) : nullptr;
    return c ? c->message.str() : "";
  }
  std::string blocked() const {
    const auto machine = m("m1");
    const auto b = machine ? machine->status.blocked_by : std::nullopt;
    return b ? b->kind.str() + "/" + b->name.str() + "/" + b->reason.str() : "";
  }
  // A pod of the ReplicaSet shop, which tolerates what is given.
  void shop(int number, const std::string& tolerations = R"([{"operator":"Exists"}])") {
    must({.verb = Verb::create,
          .resource = &resource_of<Pod>,
          .name_space = "default",
          .body = R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"shop-)" + std::to_string(number) +
                  R"(","ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"shop","uid":")" +
                  get<api::Cluster>("c")->metadata.uid.str() + R"(","controller":true}]},"spec":{"nodeName":"h1","tolerations":)" +
                  tolerations + "}}"});
  }
  void attach(const std::string& name, const std::string& node) {
    must({.verb = Verb::create,
          .resource = &resource_of<Attachment>,
          .body = R"({"apiVersion":"storage.k8s.io/v1","kind":"VolumeAttachment","metadata":{"name":")" + name +
                  R"("},"spec":{"attacher":"x.csi","nodeName":")" + node + R"(","source":{"persistentVolumeName":"pv1"}}})"});
  }
  void detach(const std::string& name) { must({.verb = Verb::remove, .resource = &resource_of<Attachment>, .name = name}); }

  std::function<std::optional<Error>(const std::string&)> refuse;
  int evictions = 0;
};

}  // namespace

TEST_CASE_METHOD(DrainWorld, "whatever refuses an eviction stands at the Machine in the API server's words") {
  struct Case {
    Error error;
    const char *word, *words;
  };
  const auto& c = GENERATE(
      Case{{Code::throttled, "Cannot evict pod as it would violate the pod's disruption budget."}, "DrainBlocked", "disruption budget"},
      Case{{Code::maybe_done,
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            {},
            "InternalError"},
           "DrainBlocked",
           "more than one PodDisruptionBudget"},
      Case{{Code::forbidden, "admission webhook \"db\" denied the request: primary"}, "EvictionRefused", "primary"},
      Case{{Code::invalid, "Eviction is invalid: no"}, "EvictionRefused", "is invalid"});
  INFO(c.error.message);
  pod("h1", "p1");
  bool allowed = false;
  refuse = [&](const std::string&) { return allowed ? std::nullopt : std::optional(c.error); };
  remove("m1");
  steps(4);
  CHECK(blocked() == std::string("Pod/p1/") + c.word);
  steps(20);
  CHECK(condition("m1", "Drained") == std::string("False/") + c.word);
  CHECK(has(message("Drained"), c.words));
  CHECK(has(message("Drained"), "1 pod left: default/p1"));
  CHECK(has(m("m1")->status.blocked_by->message, c.words));
  CHECK(evictions <= 6);  // each 5 s, never twice at once
  CHECK(evictions >= 3);
  SECTION("other words take their place") {
    refuse = [](const std::string&) { return Error{Code::throttled, "the disruption budget web says no now"}; };
    steps(7);
    CHECK(has(message("Drained"), "web says no now"));
    CHECK(has(m("m1")->status.blocked_by->message, "web says no now"));
  }
  SECTION("it heals") {
    allowed = true;
    CHECK(settle([&] { return !m("m1"); }, 40));
    CHECK_FALSE(told("DrainTimedOut"));
  }
  SECTION("at the deadline it is said again") {
    CHECK(settle([&] { return !m("m1"); }, 250));
    CHECK(told("DrainTimedOut", c.words));
  }
}

TEST_CASE_METHOD(DrainWorld, "what is no refusal isn't told as one") {
  pod("h1", "p1");
  int n = 0;
  refuse = [&](const std::string&) -> std::optional<Error> {
    if (++n > 3) return std::nullopt;
    return n == 1 ? Error{Code::conflict, "Precondition failed: UID in precondition: a, UID in object meta: b"}
                  : Error{Code::maybe_done, "the connection was cut"};
  };
  remove("m1");
  for (int i = 0; i < 10 && m("m1"); ++i) {
    step();
    if (m("m1")) CHECK_FALSE(m("m1")->status.blocked_by);
  }
  CHECK(settle([&] { return !m("m1"); }, 30));
}

TEST_CASE_METHOD(DrainWorld, "several refusals are counted, and the rest leaves") {
  for (int i = 0; i < 5; ++i) pod("h1", "p" + std::to_string(i));
  refuse = [](const std::string& text) -> std::optional<Error> {
    if (has(text, "\"p0\"")) return std::nullopt;
    return Error{Code::throttled, "disruption budget web"};
  };
  remove("m1");
  steps(4);
  CHECK_FALSE(get<Pod>("p0"));
  CHECK(has(message("Drained"), "4 pods left"));
  CHECK(has(message("Drained"), "(and 3 more are refused)"));
}

TEST_CASE_METHOD(DrainWorld, "pods that come back at once end the drain soon, by name") {
  int made = 0;
  std::string tolerations = R"([{"operator":"Exists"}])";
  shop(made, tolerations);
  pod("h1", "p1");
  const auto play = [&](int seconds) {  // its ReplicaSet makes another at once, and nothing but this node can take it
    for (int i = 0; i < seconds && m("m1"); ++i) {
      step();
      if (!get<Pod>("shop-" + std::to_string(made)) && m("m1")) shop(++made, tolerations);
    }
  };
  SECTION("it tolerates everything, or our taint by name") {
    tolerations = GENERATE(as<std::string>(), R"([{"operator":"Exists"}])", R"([{"operator":"Exists","effect":"NoSchedule"}])",
                           R"([{"key":"endstate.dev/isolated","operator":"Exists"}])",
                           R"([{"key":"endstate.dev/isolated","value":"machine","effect":"NoSchedule"}])");
    remove("m1");
    play(60);
    CHECK_FALSE(m("m1"));
    CHECK(evictions == 1 + 1 + 2);  // the other pod, and this one: as it was, and two comebacks
    CHECK(told("PodsComeBack", "default/shop-"));
    CHECK_FALSE(told("DrainTimedOut"));
  }
  SECTION("it doesn't tolerate it: it can't have come by itself, and is evicted until the deadline") {
    tolerations = GENERATE(as<std::string>(), R"([{"key":"other","operator":"Exists"}])", R"([{"operator":"Exists","effect":"NoExecute"}])",
                           R"([{"key":"endstate.dev/isolated","value":"repair"}])");
    remove("m1");
    play(60);
    CHECK(m("m1"));
    CHECK(evictions > 6);
  }
  SECTION("many pods of one controller that were there before are all evicted") {
    for (int i = 0; i < 10; ++i) {
      must(
          {.verb = Verb::create,
           .resource = &resource_of<Pod>,
           .name_space = "default",
           .body =
               R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"old-)" + std::to_string(i) +
               R"(","ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"old","uid":"rs-old","controller":true}]},"spec":{"nodeName":"h1","tolerations":[{"operator":"Exists"}]}})"});
    }
    made = 0;
    remove("m1");
    for (int i = 0; i < 40 && m("m1"); ++i) step();
    CHECK_FALSE(m("m1"));
    for (int i = 0; i < 10; ++i) CHECK_FALSE(get<Pod>("old-" + std::to_string(i)));
    CHECK_FALSE(told("PodsComeBack"));
  }
}

TEST_CASE_METHOD(DrainWorld, "what can't be listed is never called drained: it is said while it is so, and at the deadline") {
  pod("h1", "p1");
  query_errors["pods"] = {Code::invalid, "more than 10,000 items"};
  SECTION("from the API server's memory") {}
  SECTION("as it is stored") {
    query_errors.erase("pods");
    query_errors["pods-now"] = {Code::unavailable, "etcd is away: more than 10,000 items"};
  }
  remove("m1");
  steps(100);
  REQUIRE(m("m1"));
  CHECK(assignment_of("m1")->spec.state == api::AssignmentState::active);
  CHECK(has(message("Drained"), "more than 10,000 items"));
  CHECK(has(m("m1")->status.blocked_by->message, "more than 10,000 items"));
  REQUIRE(settle([&] { return !m("m1"); }, 150));
  CHECK(told("DrainTimedOut", "more than 10,000 items"));
}

TEST_CASE_METHOD(DrainWorld, "polls read the API server's memory; before the drain ends what is stored is read once") {
  pod("h1", "p1");
  bool allowed = false;
  refuse = [&](const std::string&) { return allowed ? std::nullopt : std::optional(Error{Code::throttled, "disruption budget"}); };
  std::vector<std::string> queries;
  remove("m1");
  for (int i = 0; i < 30; ++i) {
    step();
    for (const auto& q : last_plan.queries) queries.push_back(q.query);
  }
  CHECK(asked["pods-now"] == 0);
  CHECK(asked["pods"] > 3);
  for (const auto& q : queries) CHECK(q == "fieldSelector=spec.nodeName%3Dh1&resourceVersion=0");
  allowed = true;
  REQUIRE(settle([&] { return !m("m1"); }, 40));
  CHECK(asked["pods-now"] > 0);
  CHECK(asked["pods-now"] <= 3);
}

TEST_CASE_METHOD(DrainWorld, "a pod that the API server's memory doesn't have yet is evicted all the same") {
  pod("h1", "late");
  stale_pods = true;  // the poll is answered from before the pod was bound
  remove("m1");
  REQUIRE(settle([&] { return !m("m1"); }, 60));
  CHECK(evictions == 1);
}

TEST_CASE_METHOD(DrainWorld, "volumes that are still attached are waited for, by name, and not for ever") {
  attach("va-1", "h1");
  attach("va-other", "h2");
  const auto released = [&] { return !m("m1") || assignment_of("m1")->spec.state == api::AssignmentState::released; };
  SECTION("until they are detached") {
    remove("m1");
    steps(60);
    REQUIRE(m("m1"));
    CHECK_FALSE(released());
    CHECK(blocked() == "VolumeAttachment/va-1/VolumesAttached");
    CHECK(message("Deleting") == "1 volume is still attached: va-1 (PersistentVolume pv1, x.csi)");
    CHECK(condition("m1", "Drained") == "True/Drained");
    detach("va-1");
    CHECK(settle([&] { return !m("m1"); }, 40));
    CHECK_FALSE(told("VolumesAttached"));
  }
  SECTION("at most 300 s, or as the spec says") {
    const int limit = GENERATE(300, 40);
    if (limit != 300)
      patch(resource_of<api::Machine>, "default", "m1", "", R"({"spec":{"deletion":{"nodeVolumeDetachTimeoutSeconds":40}}})");
    remove("m1");
    steps(limit - 5);
    CHECK_FALSE(released());
    CHECK(settle([&] { return !m("m1"); }, 60));
    CHECK(told("VolumesAttached", "va-1"));
  }
  SECTION("not when it is forced, excluded, or nobody hears the host") {
    SECTION("forced") { annotate("m1", "endstate.dev/force-delete", "\"burnt\""); }
    SECTION("excluded") { annotate("m1", "endstate.dev/exclude-node-draining", "\"\""); }
    SECTION("silent") {
      hosts_state["h1"].alive = false;
      steps(200);
    }
    remove("m1");
    CHECK(settle(released, 20));
    CHECK_FALSE(told("VolumesAttached"));
  }
  SECTION("a connection without the right costs this wait only, and it is said once") {
    query_errors["volumes"] = {Code::forbidden, "volumeattachments.storage.k8s.io is forbidden"};
    remove("m1");
    CHECK(settle([&] { return !m("m1"); }, 30));
    CHECK(std::count_if(events.begin(), events.end(), [](const auto& e) { return has(e, "RightsMissing"); }) == 1);
  }
  SECTION("a cluster that has too many to be listed: by the Node's own list") {
    query_errors["volumes"] = {Code::invalid, "list volumeattachments: more than 4096 items"};
    patch(resource_of<Node>, "", "h1", "status",
          R"({"status":{"volumesAttached":[{"name":"kubernetes.io/csi/x.csi^v1","devicePath":""}]}})");
    remove("m1");
    steps(40);
    REQUIRE(m("m1"));
    CHECK(blocked() == "Node/h1/VolumesAttached");
    CHECK(message("Deleting") == "1 volume is still attached: kubernetes.io/csi/x.csi^v1");
    patch(resource_of<Node>, "", "h1", "status", R"({"status":{"volumesAttached":null}})");
    CHECK(settle([&] { return !m("m1"); }, 40));
  }
  SECTION("an update doesn't take the host away: it doesn't wait") {
    package("k-2", "Drain");
    want("m1", "k-2", "rev2");
    CHECK(settle([&] { return running("m1", "rev2"); }, 30));
  }
}

TEST_CASE("a drain's pods are small: 60 pods of 12 KB on each of 1,000 nodes are kept in less than 64 MiB") {
  std::string text =
      R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"cart-6d4cf56db6-x7k2p","namespace":"shop","uid":"0b7a2e2e-5d3c-4f60-9d39-0a1f6f0f0000","resourceVersion":"123456","creationTimestamp":"2026-01-01T00:00:00Z","labels":{"app":"cart"},"annotations":{"cni.projectcalico.org/podIP":"10.1.2.3/32","prometheus.io/scrape":"true"},"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"cart-6d4cf56db6","uid":"5d3c0b7a-2e2e-4f60-9d39-0a1f6f0f0000","controller":true,"blockOwnerDeletion":true}],"managedFields":[{"manager":")" +
      std::string(5000, 'm') + R"("}]},"spec":{"nodeName":"h1","containers":[{"name":"c","env":[{"name":"A","value":")" +
      std::string(6500, 'e') +
      R"("}]}],"tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300},{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}]},"status":{"phase":"Running","podIP":"10.1.2.3"}})";
  REQUIRE(text.size() > 12'000);
  reconcile::Pool pool;
  const auto pod = reconcile::decode<DrainPod>(text, pool);
  REQUIRE(pod);
  CHECK(pod->key() == "shop/cart-6d4cf56db6-x7k2p");
  CHECK(pod->controller()->kind == "ReplicaSet");
  CHECK(pod->spec.tolerations.size() == 2);
  const auto each = reconcile::record_size(*drain_pods.type, &*pod);
  INFO(each << " bytes a pod");
  CHECK(each * 60 * 1'000 < (64u << 20));
}
