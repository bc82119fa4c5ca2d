// Enrolment on simulated API servers: the operator with its real loops, people, hosts that ask, and the signer, while the operator is
// killed and the network loses what it can.
#include "controllers/enrolment/loop.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <set>

#include "apis/v1alpha1/cluster.hpp"
#include "apis/v1alpha1/enrolment.hpp"
#include "apis/v1alpha1/machine.hpp"
#include "apis/v1alpha1/names.hpp"
#include "controllers/cluster/loop.hpp"
#include "controllers/enrolment/pki_token.hpp"
#include "controllers/enrolment/testing.hpp"
#include "controllers/guard/disruptive.hpp"
#include "reconcile/kube/base64.hpp"
#include "reconcile/kube/certificates.hpp"
#include "reconcile/kube/core.hpp"
#include "reconcile/kube/rbac.hpp"
#include "reconcile/kube/workloads.hpp"
#include "reconcile/run/manager.hpp"
#include "reconcile/sim/seeds.hpp"
#include "reconcile/sim/sim_api.hpp"
#include "reconcile/sim/toy.hpp"

using namespace endstate;
using namespace std::chrono_literals;
namespace api = v1alpha1;
namespace names = v1alpha1::enrolment;
using nlohmann::json;
using reconcile::Call, reconcile::resource_of, reconcile::SimApi, reconcile::SimEnv, reconcile::SimWorld, reconcile::Verb;

namespace {

constexpr std::string_view kubeconfig_text =
    R"({"current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],"clusters":[{"name":"c","cluster":{"server":"https://business:6443","certificate-authority-data":"Q0E="}}],"users":[{"name":"u","user":{"token":"operators"}}]})";

struct Operator {
  SimEnv env;
  reconcile::Caches caches;
  reconcile::toy::ToyGuard guard;
  reconcile::Metrics metrics{"endstate"};
  cluster::ClusterLoop clusters;
  enrolment::EnrolmentLoop enrolment;
  reconcile::Manager manager;
  Operator(SimWorld& world, SimApi& meta, SimApi& business, reconcile::SimFaults faults)
      : env(world, "operator", faults),
        caches(env, reconcile::seed_log("operator")),
        guard(env),
        manager(env, caches, guard, {&clusters, &enrolment},
                {.program = "endstate", .disruptive = guard::disruptive, .make = enrolment::forge}, metrics,
                reconcile::seed_log("operator")) {
    env.serve("", meta);
    env.reachable(std::string(kubeconfig_text), business);
    manager.start();
  }
};

struct Rig : enrolment::testing::Objects {
  explicit Rig(std::uint64_t seed = 1) : world(seed), meta(world), business(world) {
    create<api::Cluster>(meta, "default", {{"metadata", {{"name", "own"}}}, {"spec", {{"controlPlane", {{"type", "External"}}}}}});
    create<api::Cluster>(
        meta, "default",
        {{"metadata", {{"name", "far"}}}, {"spec", {{"controlPlane", {{"type", "External"}, {"kubeconfigSecret", {{"name", "kc"}}}}}}}});
    create<reconcile::Secret>(meta, "default",
                              {{"metadata", {{"name", "kc"}}}, {"data", {{"value", reconcile::to_base64(kubeconfig_text)}}}});
    create<api::Host>(meta, "default", {{"metadata", {{"name", "h1"}}}, {"spec", {{"address", "10.0.0.1"}}}});
    uid = object<api::Host>(meta, "default", "h1")["metadata"]["uid"];
    for (auto* server : {&meta, &business}) isolate(*server);
    start();
  }
  void start(reconcile::SimFaults faults = {}) { op = std::make_unique<Operator>(world, meta, business, faults); }

  static void isolate(SimApi& server) {
    create<reconcile::AdmissionPolicyBinding>(server, "", {{"metadata", {{"name", names::isolation}}}});
  }
  template <class T>
  bool exists(const SimApi& server, const std::string& ns, const std::string& name) const {
    return server.get(resource_of<T>, ns, name).has_value();
  }

  // ---- people ----
  void wish(const std::string& id = "w1") {
    patch<api::Host>(meta, "default", "h1", {{"metadata", {{"annotations", {{names::wanted, id}}}}}});
  }
  void claim(const std::string& cluster) {
    create<api::Machine>(meta, "default", {{"metadata", {{"name", "m-" + cluster}}}, {"spec", {{"clusterName", cluster}}}});
    machine_uid = object<api::Machine>(meta, "default", "m-" + cluster)["metadata"]["uid"];
    patch<api::Host>(
        meta, "default", "h1",
        {{"spec", {{"consumerRef", {{"kind", "Machine"}, {"namespace", "default"}, {"name", "m-" + cluster}, {"uid", machine_uid}}}}}});
    create<api::HostAssignment>(
        server_of(cluster), "",
        {{"metadata", {{"name", uid}}}, {"spec", {{"state", "Active"}, {"machineUID", machine_uid}, {"nodeName", "h1"}}}});
  }
  void claim_again(const std::string& cluster) {
    patch<api::Host>(
        meta, "default", "h1",
        {{"spec", {{"consumerRef", {{"kind", "Machine"}, {"namespace", "default"}, {"name", "m-" + cluster}, {"uid", machine_uid}}}}}});
    create<api::HostAssignment>(
        server_of(cluster), "",
        {{"metadata", {{"name", uid}}}, {"spec", {{"state", "Active"}, {"machineUID", machine_uid}, {"nodeName", "h1"}}}});
  }
  void release(const std::string& cluster) {
    REQUIRE(server_of(cluster).request({.verb = Verb::remove, .resource = &resource_of<api::HostAssignment>, .name = uid}));
    patch<api::Host>(meta, "default", "h1", {{"spec", {{"consumerRef", nullptr}}}});
  }
  SimApi& server_of(const std::string& cluster) { return cluster == "own" ? meta : business; }

  // ---- a host ----
  std::string token_user(const SimApi& server) {  // of the one token that the API server knows
    std::string user;
    for (const auto& text : server.list(resource_of<reconcile::Secret>, "kube-system")) {
      const auto s = json::parse(text);
      if (s["type"] == "bootstrap.kubernetes.io/token") user = "system:bootstrap:" + s["metadata"]["name"].get<std::string>().substr(16);
    }
    return user;
  }
  // With the number of the enrolment, in what is asked for and in who asks; 0: none, as agents of before.
  void ask(SimApi& server, const std::string& name, const std::string& user, const std::string& organization, const std::string& cn = {}) {
    std::vector<std::string> organizations{organization};
    json groups = json::array();
    if (user.starts_with("system:bootstrap:")) groups = {names::token_group, names::token_group_of(uid)};
    if (number > 0) organizations.push_back(names::identity_group(uid, number));
    if (number > 0 && user == names::user(uid)) groups.push_back(names::identity_group(uid, number));
    create<reconcile::CertificateSigningRequest>(
        server, "",
        {{"metadata", {{"name", name}}},
         {"spec",
          {{"request", enrolment::testing::request(cn.empty() ? names::user(uid) : cn, organizations)},
           {"signerName", names::client_signer},
           {"username", user},
           {"groups", groups},
           {"expirationSeconds", 604800},
           {"usages", {"digital signature", "client auth"}}}}});
  }
  json secret(const std::string& name, const std::string& ns = "endstate-system") const {
    return object<reconcile::Secret>(meta, ns, name);
  }
  json host() const { return object<api::Host>(meta, "default", "h1"); }
  std::string bound_to(const json& binding) const {
    return binding.contains("subjects")
               ? binding["subjects"][0]["kind"].get<std::string>() + " " + binding["subjects"][0]["name"].get<std::string>()
               : "";
  }
  std::string said(const SimApi& server, const std::string& name) const {
    const auto r = object<reconcile::CertificateSigningRequest>(server, "", name);
    if (!r.contains("status") || !r["status"].contains("conditions")) return {};
    return r["status"]["conditions"][0]["type"];
  }
  // kube-controller-manager's.
  void sign(SimApi& server) {
    for (const auto& text : server.list(resource_of<reconcile::CertificateSigningRequest>)) {
      const auto r = json::parse(text);
      const std::string name = r["metadata"]["name"];
      if (said(server, name) == "Approved" && !r["status"].contains("certificate"))
        patch<reconcile::CertificateSigningRequest>(server, "", name, {{"status", {{"certificate", "Y2VydA=="}}}}, "status");
    }
  }
  std::string condition(const std::string& type) const {
    const auto host = object<api::Host>(meta, "default", "h1");
    for (const auto& c : host.value("/status/conditions"_json_pointer, json::array()))
      if (c["type"] == type) return c["status"].get<std::string>() + "/" + c["reason"].get<std::string>();
    return {};
  }
  bool until(const std::function<bool()>& done, std::chrono::nanoseconds limit = 60s) {
    return world.run_until(
        [&] {
          sign(meta);
          sign(business);
          return done();
        },
        limit);
  }
  void enrol(const std::string& id = "w1") {
    wish(id);
    REQUIRE(until(
        [&] { return !token_user(meta).empty() && !host()["metadata"].value("annotations", json::object()).contains(names::wanted); }));
    ++number;
    ask(meta, "first-" + id, token_user(meta), "endstate:hosts");
    REQUIRE(until([&] { return condition("Enrolled") == "True/HostEnrolled" && host()["status"].value("identity", 0) == number; }));
  }
  bool handed_over() const {
    return secret(names::hand_over_secret(uid)).value("/metadata/annotations/endstate.dev~1published"_json_pointer, "") == "true";
  }

  SimWorld world;
  SimApi meta, business;
  std::unique_ptr<Operator> op;
  std::string uid, machine_uid;
  std::int64_t number = 0;  // of the host's key
};

}  // namespace

TEST_CASE("a host enrols with a one-time token, and can be claimed", "[enrolment]") {
  Rig r;
  r.enrol();
  CHECK(r.said(r.meta, "first-w1") == "Approved");
  CHECK(r.object<api::Host>(r.meta, "default", "h1")["status"]["phase"] == "Ready");
  // The token has had its time: neither Secret is left, and the wish is gone.
  r.world.run_for(5min);
  CHECK_FALSE(r.token_user(r.meta).empty());  // the host may still have to fetch its certificate with it
  REQUIRE(r.until(
      [&] { return r.token_user(r.meta).empty() && !r.exists<reconcile::Secret>(r.meta, "endstate-system", names::token_secret(r.uid)); },
      15min));
  CHECK_FALSE(r.object<api::Host>(r.meta, "default", "h1")["metadata"].value("annotations", json::object()).contains(names::wanted));
  CHECK_FALSE(r.exists<reconcile::Secret>(r.meta, "default", names::token_secret(r.uid)));  // the copy for people
  const auto role = r.object<reconcile::Role>(r.meta, "default", names::role(r.uid));
  REQUIRE(role["rules"].size() == 1);
  CHECK(role["rules"][0]["resourceNames"] == json::array({"h1"}));
  const auto reads = r.object<reconcile::Role>(r.meta, "endstate-system", names::role(r.uid));
  REQUIRE(reads["rules"].size() == 1);
  CHECK(reads["rules"][0]["resourceNames"] == json::array({names::hand_over_secret(r.uid)}));
  for (const char* ns : {"default", "endstate-system"})
    CHECK(r.bound_to(r.object<reconcile::RoleBinding>(r.meta, ns, names::role(r.uid))) == "Group " + names::identity_group(r.uid, 1));
  r.world.run_for(1min);
  r.meta.writes.clear();
  r.world.run_for(2h);
  CHECK(r.meta.writes == std::map<std::string, int>{});  // at rest nothing is written

  SECTION("renews by itself") {
    r.ask(r.meta, "renewal", names::user(r.uid), "endstate:hosts");
    CHECK(r.until([&] { return r.said(r.meta, "renewal") == "Approved"; }));
  }
  SECTION("and enrols again, when a person wants it") {
    r.enrol("w2");
    CHECK(r.said(r.meta, "first-w2") == "Approved");
  }
}

TEST_CASE("a token is good for one key, for one hour, for one host", "[enrolment]") {
  Rig r;
  r.wish();
  REQUIRE(r.until([&] { return !r.token_user(r.meta).empty() && r.condition("Enrolled") == "False/EnrolmentOpen"; }));
  const auto token = r.token_user(r.meta);
  r.number = 1;
  SECTION("two who come with it: the first has it") {
    r.ask(r.meta, "a", token, "endstate:hosts");
    r.ask(r.meta, "b", token, "endstate:hosts");
    REQUIRE(r.until([&] { return !r.said(r.meta, "a").empty() && !r.said(r.meta, "b").empty(); }));
    CHECK(r.said(r.meta, "a") != r.said(r.meta, "b"));
    CHECK(r.until([&] { return r.condition("Enrolled") == "True/HostEnrolled"; }));
  }
  SECTION("it ends") {
    r.world.run_for(61min);
    CHECK(r.condition("Enrolled") == "False/EnrolmentExpired");
    CHECK(r.token_user(r.meta).empty());
    CHECK(r.object<api::Host>(r.meta, "default", "h1").value("/status/phase"_json_pointer, "") != "Ready");
    r.ask(r.meta, "late", token, "endstate:hosts");  // made before it ended, seen after
    CHECK(r.until([&] { return r.said(r.meta, "late") == "Denied"; }));
  }
  SECTION("what doesn't match is refused; what is others' is left alone") {
    r.ask(r.meta, "stranger", "jane", "endstate:hosts");
    r.ask(r.meta, "admin", token, "system:masters");
    r.ask(r.meta, "other", token, "endstate:hosts", "endstate:host:another");
    r.ask(r.meta, "theirs", "jane", "developers", "jane");
    REQUIRE(r.until([&] {
      return r.said(r.meta, "stranger") == "Denied" && r.said(r.meta, "admin") == "Denied" && r.said(r.meta, "other") == "Denied";
    }));
    r.world.run_for(1min);
    CHECK(r.said(r.meta, "theirs").empty());
  }
}

TEST_CASE("a claim hands the cluster over; the agent gets its certificate there; release takes it back", "[enrolment]") {
  const std::string cluster = GENERATE("own", "far");
  Rig r;
  r.enrol();
  r.claim(cluster);
  REQUIRE(r.until([&] { return r.handed_over(); }));
  auto& server = r.server_of(cluster);
  REQUIRE(r.until([&] { return r.exists<reconcile::ClusterRoleBinding>(server, "", names::role(r.uid)); }));
  const auto hand_over = r.secret(names::hand_over_secret(r.uid));
  CHECK(hand_over["metadata"]["annotations"][names::claimed_by] == r.machine_uid);
  CHECK(r.until([&] { return r.condition("Joined") == "False/HandedOver"; }));
  const auto role = r.object<reconcile::ClusterRole>(server, "", names::role(r.uid));
  CHECK(role["rules"].size() == 1);
  CHECK(role["rules"][0]["resourceNames"] == json::array({r.uid}));
  const bool far = cluster == "far";
  CHECK(hand_over.value("data", json::object()).contains("value") == far);
  if (far) {
    const auto kubeconfig = reconcile::from_base64(hand_over["data"]["value"].get<std::string>()).value();
    CHECK(kubeconfig.find("https://business:6443") != std::string::npos);
    CHECK(kubeconfig.find("operators") == std::string::npos);
  }
  const auto user = far ? r.token_user(server) : names::user(r.uid);
  REQUIRE_FALSE(user.empty());
  r.ask(server, "second", user, "endstate:agents");
  REQUIRE(r.until([&] { return r.condition("Joined") == "True/HostJoined"; }));
  CHECK(r.said(server, "second") == "Approved");
  if (far) {
    r.ask(server, "third", user, "endstate:agents");  // the token again, with another key
    CHECK(r.until([&] { return r.said(server, "third") == "Denied"; }));
    REQUIRE(r.until([&] { return r.token_user(server).empty(); }, 15min));
    r.ask(server, "hosts", names::user(r.uid), "endstate:hosts");
    CHECK(r.until([&] { return r.said(server, "hosts") == "Denied"; }));
  }
  r.patch<api::HostAssignment>(server, "", r.uid, {{"status", {{"agent", {{"version", "1"}}}}}}, "status");
  r.world.run_for(2h);  // requests are forgotten, tokens end: what it has stays
  CHECK(r.condition("Joined") == "True/HostJoined");
  CHECK(r.exists<reconcile::Secret>(r.meta, "endstate-system", names::hand_over_secret(r.uid)));

  r.release(cluster);
  REQUIRE(r.until([&] { return !r.exists<reconcile::Secret>(r.meta, "endstate-system", names::hand_over_secret(r.uid)); }));
  REQUIRE(r.until([&] { return !r.exists<reconcile::ClusterRole>(server, "", names::role(r.uid)); }, 5min));
  CHECK(r.until([&] { return r.condition("Joined").empty(); }));
  r.claim(cluster == "own" ? "far" : "own");
  CHECK(r.until([&] { return r.handed_over(); }));
}

TEST_CASE("a token that was handed over and not used is made anew; a host that enrols again gets another", "[enrolment]") {
  Rig r;
  r.enrol();
  r.claim("far");
  REQUIRE(r.until([&] { return r.handed_over(); }));
  const auto first = r.token_user(r.business);
  SECTION("in time") {
    r.world.run_for(62min);
    REQUIRE(r.until([&] { return r.handed_over() && r.token_user(r.business) != first; }));
    CHECK(r.secret(names::hand_over_secret(r.uid))["metadata"]["annotations"][names::token_id] != first.substr(17));
  }
  SECTION("a disk that was lost") {
    r.ask(r.business, "second", first, "endstate:agents");
    REQUIRE(r.until([&] { return r.condition("Joined") == "True/HostJoined"; }));
    r.world.run_for(20min);
    r.enrol("w2");
    REQUIRE(r.until([&] { return r.handed_over() && !r.token_user(r.business).empty() && r.token_user(r.business) != first; }));
    r.ask(r.business, "again", r.token_user(r.business), "endstate:agents");
    CHECK(r.until([&] { return r.said(r.business, "again") == "Approved"; }));
  }
}

// ---- identities have a number ----

TEST_CASE("a host that enrols anew takes the rights of its old key at once", "[enrolment]") {
  Rig r;
  r.enrol();
  r.claim("far");
  REQUIRE(r.until([&] { return r.handed_over(); }));
  r.ask(r.business, "second", r.token_user(r.business), "endstate:agents");
  REQUIRE(r.until([&] { return r.condition("Joined") == "True/HostJoined"; }));
  const auto first = r.secret(names::hand_over_secret(r.uid))["metadata"]["uid"];
  r.wish("w2");
  REQUIRE(r.until([&] { return r.condition("TokenOpen") == "True/EnrolmentOpen"; }));
  CHECK(r.condition("Enrolled") == "True/HostEnrolled");  // what it has is good until the token is used
  r.number = 2;
  r.ask(r.meta, "anew", r.token_user(r.meta), "endstate:hosts");
  REQUIRE(r.until([&] { return r.host()["status"].value("identity", 0) == 2; }));
  CHECK(r.condition("TokenOpen").empty());
  const auto group = "Group " + names::identity_group(r.uid, 2);
  CHECK(r.until([&] {
    return r.bound_to(r.object<reconcile::RoleBinding>(r.meta, "endstate-system", names::role(r.uid))) == group &&
           r.bound_to(r.object<reconcile::RoleBinding>(r.meta, "default", names::role(r.uid))) == group &&
           r.bound_to(r.object<reconcile::ClusterRoleBinding>(r.business, "", names::role(r.uid))) == group;
  }));
  CHECK(r.until([&] { return r.handed_over() && r.secret(names::hand_over_secret(r.uid))["metadata"]["uid"] != first; }));
  // The thief, with the key of the first enrolment.
  r.number = 1;
  r.ask(r.meta, "thief-host", names::user(r.uid), "endstate:hosts");
  r.ask(r.business, "thief-agent", names::user(r.uid), "endstate:agents");
  r.ask(r.business, "thief-token", r.token_user(r.business), "endstate:agents");
  CHECK(r.until([&] {
    return r.said(r.meta, "thief-host") == "Denied" && r.said(r.business, "thief-agent") == "Denied" &&
           r.said(r.business, "thief-token") == "Denied";
  }));
  r.number = 2;
  r.ask(r.meta, "renewal", names::user(r.uid), "endstate:hosts");
  CHECK(r.until([&] { return r.said(r.meta, "renewal") == "Approved"; }));
}

TEST_CASE("a token that nobody uses takes nothing from a host that has enrolled", "[enrolment]") {
  Rig r;
  r.enrol();
  r.wish("w2");
  REQUIRE(r.until([&] { return r.condition("TokenOpen") == "True/EnrolmentOpen"; }));
  r.world.run_for(62min);
  CHECK(r.condition("TokenOpen").empty());
  CHECK(r.condition("Enrolled") == "True/HostEnrolled");
  r.claim("far");
  CHECK(r.until([&] { return r.handed_over(); }));
}

// An agent of before knows no number, and looks for what it is handed beside its Host.
TEST_CASE("a host without a number goes on as before, until it enrols anew", "[enrolment]") {
  const std::string cluster = GENERATE("own", "far");
  Rig r;
  r.wish();
  REQUIRE(r.until([&] { return !r.token_user(r.meta).empty() && r.condition("Enrolled") == "False/EnrolmentOpen"; }));
  r.ask(r.meta, "old", r.token_user(r.meta), "endstate:hosts");
  REQUIRE(r.until([&] { return r.condition("Enrolled") == "True/HostEnrolled"; }));
  CHECK_FALSE(r.host()["status"].contains("identity"));
  REQUIRE(r.until([&] { return r.exists<reconcile::RoleBinding>(r.meta, "default", names::role(r.uid)); }));
  CHECK(r.bound_to(r.object<reconcile::RoleBinding>(r.meta, "default", names::role(r.uid))) == "User " + names::user(r.uid));
  CHECK(r.object<reconcile::Role>(r.meta, "default", names::role(r.uid))["rules"].size() == 2);
  r.claim(cluster);
  const auto beside = [&] { return r.secret(names::hand_over_secret(r.uid), "default"); };
  REQUIRE(r.until([&] { return r.handed_over() && beside().contains("metadata"); }));
  CHECK(beside()["metadata"]["annotations"][names::published] == "true");
  CHECK(beside()["metadata"]["annotations"][names::claimed_by] == r.machine_uid);
  CHECK(beside().value("data", json::object()).contains("value") == (cluster == "far"));
  auto& server = r.server_of(cluster);
  r.ask(server, "second", cluster == "far" ? r.token_user(server) : names::user(r.uid), "endstate:agents");
  REQUIRE(r.until([&] { return r.condition("Joined") == "True/HostJoined"; }));
  r.ask(server, "renewal", names::user(r.uid), "endstate:agents");
  CHECK(r.until([&] { return r.said(server, "renewal") == "Approved"; }));
  CHECK(r.bound_to(r.object<reconcile::ClusterRoleBinding>(server, "", names::role(r.uid))) == "User " + names::user(r.uid));
  SECTION("released, nothing lies beside the Host") {
    r.release(cluster);
    CHECK(r.until([&] { return !beside().contains("metadata"); }));
  }
  SECTION("anew, by an agent that knows numbers") {
    r.enrol("w2");
    CHECK(r.until([&] { return r.handed_over() && !beside().contains("metadata"); }));
    CHECK(r.until([&] {
      return r.bound_to(r.object<reconcile::ClusterRoleBinding>(server, "", names::role(r.uid))) ==
             "Group " + names::identity_group(r.uid, 1);
    }));
    r.number = 0;
    r.ask(server, "thief", names::user(r.uid), "endstate:agents");
    CHECK(r.until([&] { return r.said(server, "thief") == "Denied"; }));
  }
}

TEST_CASE("what an older version has handed over beside the Host goes on being what its agent has", "[enrolment]") {
  Rig r;
  r.op->env.kill();
  r.op.reset();
  r.patch<api::Host>(
      r.meta, "default", "h1",
      {{"status",
        {{"phase", "Ready"},
         {"conditions",
          {{{"type", "Enrolled"}, {"status", "True"}, {"reason", "HostEnrolled"}, {"lastTransitionTime", "2026-01-01T00:00:00Z"}},
           {{"type", "Joined"}, {"status", "True"}, {"reason", "HostJoined"}, {"lastTransitionTime", "2026-01-01T00:00:00Z"}}}}}}},
      "status");
  r.create<reconcile::Secret>(
      r.meta, "default", {{"metadata", {{"name", names::hand_over_secret(r.uid)}, {"labels", {{"endstate.dev/component", "enrolment"}}}}}});
  r.claim("far");
  r.patch<api::HostAssignment>(r.business, "", r.uid, {{"status", {{"agent", {{"version", "1"}}}}}}, "status");
  r.start();
  r.world.run_for(5min);
  CHECK(r.condition("Joined") == "True/HostJoined");
  CHECK(r.exists<reconcile::Secret>(r.meta, "default", names::hand_over_secret(r.uid)));
  CHECK_FALSE(r.exists<reconcile::Secret>(r.meta, "endstate-system", names::hand_over_secret(r.uid)));
  CHECK(r.token_user(r.business).empty());
  CHECK(r.exists<reconcile::ClusterRoleBinding>(r.business, "", names::role(r.uid)));
  r.release("far");
  CHECK(r.until([&] { return !r.exists<reconcile::Secret>(r.meta, "default", names::hand_over_secret(r.uid)); }));
}

// ---- roles ----

TEST_CASE("a host's role belongs to the assignment that is there, and is made again when it is missing", "[enrolment]") {
  Rig r;
  r.enrol();
  r.claim("far");
  const auto there = [&] {
    return r.exists<reconcile::ClusterRole>(r.business, "", names::role(r.uid)) &&
           r.exists<reconcile::ClusterRoleBinding>(r.business, "", names::role(r.uid));
  };
  REQUIRE(r.until(there));
  SECTION("somebody takes it away") {
    REQUIRE(r.business.request({.verb = Verb::remove, .resource = &resource_of<reconcile::ClusterRole>, .name = names::role(r.uid)}));
    CHECK(r.until(there));
    REQUIRE(r.meta.request({.verb = Verb::remove,
                            .resource = &resource_of<reconcile::RoleBinding>,
                            .name_space = "endstate-system",
                            .name = names::role(r.uid)}));
    CHECK(r.until([&] { return r.exists<reconcile::RoleBinding>(r.meta, "endstate-system", names::role(r.uid)); }));
  }
  SECTION("claimed again while the one of the old claim is still there") {
    // As a garbage collector that is behind leaves it: with an owner that is gone.
    r.patch<reconcile::ClusterRole>(r.business, "", names::role(r.uid), {{"metadata", {{"finalizers", {"example.com/slow"}}}}});
    r.release("far");
    r.world.run_for(1s);
    r.claim_again("far");
    r.world.run_for(20s);
    r.patch<reconcile::ClusterRole>(r.business, "", names::role(r.uid), {{"metadata", {{"finalizers", nullptr}}}});
    r.world.run_for(30s);
    CHECK(there());
    const auto role = r.object<reconcile::ClusterRole>(r.business, "", names::role(r.uid));
    const auto owner = r.object<api::HostAssignment>(r.business, "", r.uid)["metadata"]["uid"];
    CHECK(role["metadata"]["ownerReferences"].back()["uid"] == owner);
  }
}

TEST_CASE("nothing of a Host that is gone is left in endstate-system", "[enrolment]") {
  Rig r;
  r.enrol();
  r.claim("far");
  REQUIRE(r.until([&] { return r.handed_over(); }));
  REQUIRE(r.meta.request({.verb = Verb::remove, .resource = &resource_of<api::Host>, .name_space = "default", .name = "h1"}));
  CHECK(r.until([&] {
    return !r.exists<reconcile::Secret>(r.meta, "endstate-system", names::hand_over_secret(r.uid)) &&
           !r.exists<reconcile::Secret>(r.meta, "endstate-system", names::token_secret(r.uid)) &&
           !r.exists<reconcile::Role>(r.meta, "endstate-system", names::role(r.uid)) &&
           !r.exists<reconcile::RoleBinding>(r.meta, "endstate-system", names::role(r.uid));
  }));
}

// ---- who isn't believed ----

TEST_CASE("no agent is let into a cluster that doesn't keep agents apart; who is in stays", "[enrolment]") {
  const std::string cluster = GENERATE("own", "far");
  Rig r;
  r.enrol();
  auto& server = r.server_of(cluster);
  const auto open_up = [&] {
    REQUIRE(server.request(
        {.verb = Verb::remove, .resource = &resource_of<reconcile::AdmissionPolicyBinding>, .name = std::string(names::isolation)}));
  };
  open_up();
  r.claim(cluster);
  REQUIRE(r.until([&] { return r.handed_over(); }));
  const auto user = cluster == "far" ? r.token_user(server) : names::user(r.uid);
  r.ask(server, "second", user, "endstate:agents");
  REQUIRE(r.until([&] { return r.condition("Joined") == "False/AgentsNotIsolated"; }));
  r.world.run_for(5min);
  CHECK(r.said(server, "second").empty());
  Rig::isolate(server);
  REQUIRE(r.until([&] { return r.condition("Joined") == "True/HostJoined"; }, 3min));
  r.patch<api::HostAssignment>(server, "", r.uid, {{"status", {{"agent", {{"version", "1"}}}}}}, "status");
  open_up();
  r.world.run_for(3min);
  r.ask(server, "renewal", names::user(r.uid), "endstate:agents");
  CHECK(r.until([&] { return r.said(server, "renewal") == "Approved"; }));
}

TEST_CASE("a kubelet gets the certificate of a Node by what endstate has recorded, not by what stands on the Node", "[enrolment]") {
  Rig r;
  r.enrol();
  r.claim("far");
  int asked = 0;
  const auto ask = [&](const std::string& user, std::string_view signer, const std::string& names_ = {}) {
    const std::string name = "k" + std::to_string(++asked);
    json groups = json::array({names::identity_group(r.uid, 1)});
    r.create<reconcile::CertificateSigningRequest>(
        r.business, "",
        {{"metadata", {{"name", name}}},
         {"spec",
          {{"request", enrolment::testing::request("system:node:h1", {"system:nodes"}, names_)},
           {"signerName", signer},
           {"username", user},
           {"groups", groups},
           {"usages", {"digital signature", signer == names::kubelet_serving_signer ? "server auth" : "client auth"}}}}});
    return name;
  };
  const auto client = [&] { return ask(names::user(r.uid), names::kubelet_client_signer); };
  const auto serving = [&](const std::string& n) { return ask("system:node:h1", names::kubelet_serving_signer, n); };
  const auto waits = [&](const std::string& name) {
    r.world.run_for(20s);
    return r.said(r.business, name).empty();
  };
  const auto approved = [&](const std::string& name) { return r.until([&] { return r.said(r.business, name) == "Approved"; }); };
  const auto machine = [&](json status) { r.patch<api::Machine>(r.meta, "default", "m-far", {{"status", std::move(status)}}, "status"); };
  const auto node = [&] {
    r.create<reconcile::Node>(
        r.business, "",
        {{"metadata", {{"name", "h1"}, {"annotations", {{"endstate.dev/machine-uid", r.machine_uid}, {"endstate.dev/adopt", "true"}}}}}});
    return r.object<reconcile::Node>(r.business, "", "h1")["metadata"].value("uid", "");
  };
  const auto first = client();
  CHECK(waits(first));  // the Machine's status doesn't name the Host yet
  machine({{"phase", "Joining"}, {"hostRef", {{"name", "h1"}, {"uid", r.uid}}}});
  CHECK(approved(first));
  const auto uid = node();
  const auto second = client(), third = serving("DNS:h1,IP:10.0.0.1");
  CHECK(waits(second));  // a Node is there, and nobody has said that it is this Machine's
  CHECK(waits(third));
  SECTION("in service") {
    machine({{"phase", "Running"}, {"hostRef", {{"name", "h1"}, {"uid", r.uid}}}, {"nodeRef", {{"name", "h1"}, {"uid", uid}}}});
    CHECK(approved(second));
    CHECK(approved(third));
  }
  SECTION("taken over by a person's word") {
    r.patch<api::Machine>(r.meta, "default", "m-far", {{"metadata", {{"annotations", {{api::annotation::adopt_node, uid}}}}}});
    CHECK(approved(second));
  }
  SECTION("another's") {
    machine({{"phase", "Running"}, {"hostRef", {{"name", "h1"}, {"uid", r.uid}}}, {"nodeRef", {{"name", "h1"}, {"uid", "gone"}}}});
    CHECK(waits(second));
    REQUIRE(r.business.request({.verb = Verb::remove, .resource = &resource_of<reconcile::Node>, .name = "h1"}));
    CHECK(approved(second));
  }
  SECTION("a name that two hosts have is nobody's") {
    machine({{"phase", "Running"}, {"hostRef", {{"name", "h1"}, {"uid", r.uid}}}, {"nodeRef", {{"name", "h1"}, {"uid", uid}}}});
    REQUIRE(approved(second));
    r.create<api::HostAssignment>(
        r.business, "", {{"metadata", {{"name", "twin"}}}, {"spec", {{"state", "Active"}, {"machineUID", "any"}, {"nodeName", "h1"}}}});
    CHECK(waits(client()));
  }
  SECTION("an address that is another Node's") {
    machine({{"phase", "Running"}, {"hostRef", {{"name", "h1"}, {"uid", r.uid}}}, {"nodeRef", {{"name", "h1"}, {"uid", uid}}}});
    r.create<reconcile::Node>(
        r.business, "", {{"metadata", {{"name", "n2"}}}, {"status", {{"addresses", {{{"type", "InternalIP"}, {"address", "10.0.0.1"}}}}}}});
    r.patch<reconcile::Node>(r.business, "", "n2", {{"status", {{"addresses", {{{"type", "InternalIP"}, {"address", "10.0.0.1"}}}}}}},
                             "status");
    r.world.run_for(2s);
    const auto stolen = serving("DNS:h1,IP:10.0.0.1"), named = serving("DNS:h1");
    CHECK(r.until([&] { return r.said(r.business, stolen) == "Denied"; }));
    CHECK(approved(named));
  }
}

TEST_CASE("a claim by a Machine of another namespace leads nowhere", "[enrolment]") {
  Rig r;
  r.enrol();
  r.create<api::Cluster>(r.meta, "other", {{"metadata", {{"name", "c"}}}, {"spec", {{"controlPlane", {{"type", "External"}}}}}});
  r.create<api::Machine>(r.meta, "other", {{"metadata", {{"name", "m"}}}, {"spec", {{"clusterName", "c"}}}});
  const std::string machine = r.object<api::Machine>(r.meta, "other", "m")["metadata"]["uid"];
  r.patch<api::Host>(r.meta, "default", "h1",
                     {{"spec", {{"consumerRef", {{"kind", "Machine"}, {"namespace", "other"}, {"name", "m"}, {"uid", machine}}}}}});
  r.create<api::HostAssignment>(
      r.meta, "", {{"metadata", {{"name", r.uid}}}, {"spec", {{"state", "Active"}, {"machineUID", machine}, {"nodeName", "h1"}}}});
  r.world.run_for(1min);
  CHECK_FALSE(r.exists<reconcile::Secret>(r.meta, "endstate-system", names::hand_over_secret(r.uid)));
  CHECK_FALSE(r.exists<reconcile::Secret>(r.meta, "default", names::hand_over_secret(r.uid)));
  r.ask(r.meta, "second", names::user(r.uid), "endstate:agents");
  r.world.run_for(1min);
  CHECK(r.said(r.meta, "second").empty());
}

TEST_CASE("what a business cluster says wakes no Host outside the namespace of its Cluster", "[enrolment]") {
  Rig r;
  r.enrol();
  api::HostAssignment assignment;
  assignment.metadata.name = r.uid;
  reconcile::Node node;
  node.metadata.name = "h1";
  reconcile::ClusterRole role;
  role.metadata.name = names::role(r.uid);
  reconcile::CertificateSigningRequest by_host, by_kubelet;
  by_host.spec.username = names::user(r.uid);
  by_kubelet.spec.username = "system:node:h1";
  const auto woken = [&](const reconcile::Kind& kind, std::string_view connection, const void* object) {
    std::set<std::string> keys;
    for (const auto& source : r.op->enrolment.sources())
      if (source.kind == &kind)
        source.keys(r.op->caches, connection, nullptr, object, [&](const reconcile::Key& key) { keys.insert(key.str()); });
    return keys.size();
  };
  for (const auto* connection : {"default/far", "", "prod/far", "default2/far", "defaul/far"}) {
    INFO(connection);
    const std::size_t n = std::string_view(connection) == "default/far" || std::string_view(connection).empty() ? 1 : 0;
    CHECK(woken(reconcile::kind_of<api::HostAssignment>, connection, &assignment) == n);
    CHECK(woken(reconcile::kind_of<reconcile::Node>, connection, &node) == n);
    CHECK(woken(reconcile::kind_of<reconcile::ClusterRole>, connection, &role) == n);
    CHECK(woken(reconcile::kind_of<reconcile::CertificateSigningRequest>, connection, &by_host) == n);
    CHECK(woken(reconcile::kind_of<reconcile::CertificateSigningRequest>, connection, &by_kubelet) == n);
  }
}

TEST_CASE("what people write beside a Host is nobody's word", "[enrolment]") {
  Rig r;
  r.enrol();
  REQUIRE(r.until([&] { return !r.exists<reconcile::Secret>(r.meta, "default", names::token_secret(r.uid)); }, 15min));
  r.create<reconcile::Secret>(r.meta, "kube-system", {{"metadata", {{"name", "bootstrap-token-kubead"}}}});
  for (const auto& name : {names::token_secret(r.uid), names::hand_over_secret(r.uid)})
    r.create<reconcile::Secret>(
        r.meta, "default",
        {{"metadata",
          {{"name", name},
           {"labels", {{"endstate.dev/component", "enrolment"}}},
           {"annotations", {{names::token_id, "kubead"}, {names::token_expires, "2026-01-01T00:00:00Z"}, {names::host, "default/h1"}}},
           {"ownerReferences", {{{"apiVersion", "endstate.dev/v1alpha1"}, {"kind", "Host"}, {"name", "h1"}, {"uid", r.uid}}}}}}});
  r.world.run_for(2h);
  CHECK(r.exists<reconcile::Secret>(r.meta, "kube-system", "bootstrap-token-kubead"));
  CHECK(r.condition("Enrolled") == "True/HostEnrolled");
}

TEST_CASE("hosts that nobody enrols cost nothing", "[enrolment]") {
  Rig r;
  r.claim("own");
  r.world.run_for(10min);
  CHECK(r.meta.count(resource_of<reconcile::Role>) == 0);
  CHECK(r.meta.count(resource_of<reconcile::ClusterRole>) == 0);
  CHECK(r.condition("Enrolled").empty());
}

TEST_CASE("an operator that is killed at any moment, on a network that loses things: the end is the same", "[enrolment]") {
  reconcile::for_seeds(15, [](std::uint64_t seed) {
    INFO("seed " << seed);
    Rig r(seed);
    const reconcile::SimFaults faults{.refused = 50, .reply_lost = 50, .request_lost = 20, .watch_cut = 20};
    int kills = 0;
    const auto until = [&](const std::function<bool()>& done) {
      auto next = r.world.now() + std::chrono::milliseconds(r.world.random() % 3000);
      REQUIRE(r.until(
          [&] {
            if (kills < 12 && r.world.now() >= next) {
              ++kills;
              r.op->env.kill();
              r.op.reset();
              r.start(faults);
              next = r.world.now() + std::chrono::milliseconds(r.world.random() % 6000);
            }
            return done();
          },
          10min));
    };
    r.wish();
    until([&] { return !r.token_user(r.meta).empty() && r.condition("Enrolled") == "False/EnrolmentOpen"; });
    r.number = 1;
    r.ask(r.meta, "first", r.token_user(r.meta), "endstate:hosts");
    until([&] { return r.condition("Enrolled") == "True/HostEnrolled"; });
    r.claim("far");
    until([&] { return r.handed_over(); });
    r.ask(r.business, "second", r.token_user(r.business), "endstate:agents");
    until([&] { return r.condition("Joined") == "True/HostJoined"; });
    REQUIRE(r.until([&] { return r.token_user(r.meta).empty() && r.token_user(r.business).empty(); }, 20min));
    r.release("far");
    until([&] {
      return !r.exists<reconcile::Secret>(r.meta, "endstate-system", names::hand_over_secret(r.uid)) && r.condition("Joined").empty();
    });
    CHECK(r.said(r.meta, "first") == "Approved");
    CHECK(r.said(r.business, "second") == "Approved");
  });
}
