// A host's way to its cluster and back, with the operator's own loops, on simulated API servers that know who asks: tokens and certificates
// are real, and are refused when they are over. Both sides are killed at every moment.
#include "src/agent/enrolment.hpp"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "apis/v1alpha1/cluster.hpp"
#include "apis/v1alpha1/enrolment.hpp"
#include "controllers/cluster/loop.hpp"
#include "controllers/cluster/pki.hpp"
#include "controllers/enrolment/loop.hpp"
#include "controllers/enrolment/pki_token.hpp"
#include "controllers/enrolment/testing.hpp"
#include "controllers/guard/disruptive.hpp"
#include "reconcile/kube/base64.hpp"
#include "reconcile/kube/certificates.hpp"
#include "reconcile/kube/core.hpp"
#include "reconcile/kube/credentials.hpp"
#include "reconcile/kube/openssl.hpp"
#include "reconcile/kube/rbac.hpp"
#include "reconcile/kube/url.hpp"
#include "reconcile/kube/workloads.hpp"
#include "reconcile/run/manager.hpp"
#include "reconcile/sim/seeds.hpp"
#include "reconcile/sim/sim_api.hpp"
#include "reconcile/sim/toy.hpp"
#include "src/agent/agent.hpp"
#include "src/agent/testing.hpp"

namespace endstate::agent::testing {
namespace {

namespace names = v1alpha1::enrolment;
using namespace std::chrono_literals;
using nlohmann::json;
using reconcile::Call, reconcile::CertificateSigningRequest, reconcile::resource_of, reconcile::SimApi, reconcile::SimEnv,
    reconcile::SimServer, reconcile::SimWorld, reconcile::Verb;

std::string plain(const std::string& base64) { return reconcile::from_base64_lines(base64).value(); }

// ---- an API server that knows who asks ----

struct Who {
  std::string name;
  std::vector<std::string> groups;
};

class Front final : public SimServer {
 public:
  Front(SimApi& api, SimWorld& world, reconcile::Credentials c) : api_(api), world_(world), credentials_(std::move(c)) {}

  Reply serve(const Call& call) override {
    const auto who = authenticate();
    if (!who) return {.result = reconcile::fail(reconcile::Code::forbidden, "Unauthorized")};
    if (!may(*who, call))
      return {.result = reconcile::fail(reconcile::Code::forbidden, who->name + " may not " + std::string(verb_name(call.verb)))};
    if (call.verb != Verb::create || call.resource->plural != "certificatesigningrequests") return api_.serve(call);
    auto body = json::parse(call.body);
    body["spec"]["username"] = who->name;
    body["spec"]["groups"] = who->groups;
    Call known = call;
    known.body = body.dump();
    return api_.serve(known);
  }
  reconcile::Result<reconcile::Handle> serve_watch(const Call& call, Push push, End end) override {
    const auto who = authenticate();
    if (!who) return reconcile::fail(reconcile::Code::forbidden, "Unauthorized");
    if (!may(*who, call)) return reconcile::fail(reconcile::Code::forbidden, who->name + " may not watch");
    return api_.serve_watch(call, std::move(push), std::move(end));
  }

 private:
  std::optional<Who> authenticate() const { return credentials_.token.empty() ? by_certificate() : by_token(credentials_.token.text); }
  std::optional<Who> by_token(const std::string& token) const {
    const auto id = token.substr(0, 6);
    const auto text = api_.get(resource_of<reconcile::Secret>, "kube-system", "bootstrap-token-" + id);
    if (!text) return std::nullopt;
    const auto data = json::parse(*text)["data"];
    if (plain(data["token-secret"]) != token.substr(7)) return std::nullopt;
    if (world_.wall() >= reconcile::parse_rfc3339(plain(data["expiration"]))) return std::nullopt;
    Who who{"system:bootstrap:" + id, {"system:bootstrappers"}};
    const auto groups = plain(data["auth-extra-groups"]);
    const auto comma = groups.find(',');
    who.groups.push_back(groups.substr(0, comma));
    who.groups.push_back(groups.substr(comma + 1));
    return who;
  }
  std::optional<Who> by_certificate() const {
    const auto& pem = credentials_.client_certificate.text;
    const auto facts = cluster::read_certificates(pem.substr(0, pem.find("-----BEGIN PRIVATE")));
    if (!facts || world_.wall() >= facts->front().not_after) return std::nullopt;
    return Who{facts->front().common_name, organizations(pem)};
  }
  static std::vector<std::string> organizations(const std::string& pem) {
    const auto certificate = reconcile::openssl::read_certificate(pem);
    const auto* subject = X509_get_subject_name(certificate.get());
    std::vector<std::string> out;
    for (int at = -1; (at = X509_NAME_get_index_by_NID(subject, NID_organizationName, at)) >= 0;)
      out.push_back(reconcile::openssl::text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at))));
    return out;
  }
  template <class T>
  bool is_bound(const Who& who, const std::string& name_space, std::string_view uid) const {
    const auto text = api_.get(resource_of<T>, name_space, names::role(uid));
    if (!text) return false;
    const json subject = json::parse(*text)["subjects"][0];
    if (subject["kind"] == "User") return subject["name"] == who.name;
    const std::string group = subject["name"];
    return std::find(who.groups.begin(), who.groups.end(), group) != who.groups.end();
  }
  // As the roles say: manifests/rbac/agent.yaml, and those that the operator makes.
  bool may(const Who& who, const Call& c) const {
    const auto plural = c.resource->plural;
    if (plural == "certificatesigningrequests") return c.verb != Verb::remove && c.subresource.empty();
    if (!who.name.starts_with(names::user_prefix)) return false;
    const auto uid = who.name.substr(names::user_prefix.size());
    const bool agent = who.groups[0] == names::agents_group;
    if (plural == "secrets")
      return reconcile::is_read(c.verb) && c.query.find(names::hand_over_secret(uid)) != std::string::npos &&
             is_bound<reconcile::RoleBinding>(who, c.name_space, uid);
    if (plural == "hostassignments" && reconcile::is_read(c.verb))
      return c.query.find(uid) != std::string::npos && is_bound<reconcile::ClusterRoleBinding>(who, {}, uid);
    return agent && (plural == "leases" || (plural == "hostassignments" && c.subresource == "status"));
  }

  SimApi& api_;
  SimWorld& world_;
  reconcile::Credentials credentials_;
};

// The agent's way out: what it connects to is found by the address, and known by the credentials.
class HostEnv final : public reconcile::Env {
 public:
  using Fronts = std::vector<std::unique_ptr<Front>>;  // outlive it: what a killed process has sent still arrives
  HostEnv(SimWorld& world, SimApi& meta, SimApi& business, Fronts& fronts, reconcile::SimFaults faults)
      : sim(world, "agent", faults), world_(world), meta_(meta), business_(business), fronts_(fronts) {}
  reconcile::Now now() const override { return sim.now(); }
  std::uint64_t random() override { return sim.random(); }
  reconcile::Handle at(reconcile::MonoTime when, std::function<void()> task) override { return sim.at(when, std::move(task)); }
  reconcile::Handle call(Call call, std::function<void(std::string_view)> frame, std::function<void(Result<void>)> end) override {
    return sim.call(std::move(call), std::move(frame), std::move(end));
  }
  reconcile::Handle http(reconcile::HttpCall call, std::function<void(Result<reconcile::HttpAnswer>)> end) override {
    return sim.http(std::move(call), std::move(end));
  }
  reconcile::Handle compute(std::function<std::function<void()>()> job) override { return sim.compute(std::move(job)); }
  Result<void> connect(const std::string& cluster, std::string_view kubeconfig) override {
    auto credentials = reconcile::parse_kubeconfig(kubeconfig, {}, {}, cluster);
    if (!credentials) return fail(credentials.error());
    if (!credentials->client_certificate.empty()) REQUIRE(reconcile::load_secrets(*credentials));  // libcurl would take it
    SimApi& api = credentials->server == "https://meta:6443" ? meta_ : business_;
    fronts_.push_back(std::make_unique<Front>(api, world_, std::move(*credentials)));
    sim.serve(cluster, *fronts_.back());
    return {};
  }
  void disconnect(const std::string& cluster) override { sim.disconnect(cluster); }
  SimEnv sim;

 private:
  SimWorld& world_;
  SimApi &meta_, &business_;
  Fronts& fronts_;
};

// kube-controller-manager's signer.
std::string sign(const std::string& request_base64, reconcile::WallTime now, std::chrono::seconds life) {
  static EVP_PKEY* ca = EVP_EC_gen("P-256");
  const auto pem = plain(request_base64);
  BIO* in = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  X509_REQ* request = PEM_read_bio_X509_REQ(in, nullptr, nullptr, nullptr);
  X509* x = X509_new();
  ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
  X509_set_subject_name(x, X509_REQ_get_subject_name(request));
  X509_set_issuer_name(x, X509_REQ_get_subject_name(request));
  X509_set_pubkey(x, X509_REQ_get0_pubkey(request));
  ASN1_TIME_set(X509_getm_notBefore(x), std::chrono::system_clock::to_time_t(std::chrono::floor<std::chrono::seconds>(now)));
  ASN1_TIME_set(X509_getm_notAfter(x), std::chrono::system_clock::to_time_t(std::chrono::floor<std::chrono::seconds>(now + life)));
  REQUIRE(X509_sign(x, ca, EVP_sha256()) > 0);
  BIO* out = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(out, x);
  char* at = nullptr;
  const auto size = BIO_get_mem_data(out, &at);
  const std::string certificate(at, static_cast<std::size_t>(size));
  BIO_free(in);
  BIO_free(out);
  X509_free(x);
  X509_REQ_free(request);
  return reconcile::to_base64(certificate);
}

struct Operator {
  SimEnv env;
  reconcile::Caches caches;
  reconcile::toy::ToyGuard guard;
  reconcile::Metrics metrics{"endstate"};
  cluster::ClusterLoop clusters;
  enrolment::EnrolmentLoop enrolment;
  reconcile::Manager manager;
  Operator(SimWorld& world, SimApi& meta, SimApi& business, const std::string& kubeconfig, reconcile::SimFaults faults)
      : env(world, "operator", faults),
        caches(env, reconcile::seed_log("operator")),
        guard(env),
        manager(env, caches, guard, {&clusters, &enrolment},
                {.program = "endstate", .disruptive = guard::disruptive, .make = enrolment::forge}, metrics,
                reconcile::seed_log("operator")) {
    env.serve("", meta);
    env.reachable(kubeconfig, business);
    manager.start();
  }
};

struct Rig : Machine, enrolment::testing::Objects {
  explicit Rig(std::uint64_t seed = 1, std::string far_server = "https://business:6443") : world(seed), meta(world), business(world) {
    kubeconfig = token_kubeconfig({.address = std::move(far_server), .ca = {}, .tls_server_name = {}, .proxy = {}}, "operators");
    create<v1alpha1::Cluster>(meta, "default", {{"metadata", {{"name", "own"}}}, {"spec", {{"controlPlane", {{"type", "External"}}}}}});
    json far{{"metadata", {{"name", "far"}}}};
    far["spec"]["controlPlane"] = {{"type", "External"}, {"kubeconfigSecret", {{"name", "kc"}}}};
    create<v1alpha1::Cluster>(meta, "default", far);
    create<reconcile::Secret>(meta, "default", {{"metadata", {{"name", "kc"}}}, {"data", {{"value", reconcile::to_base64(kubeconfig)}}}});
    create<v1alpha1::Host>(meta, "default", {{"metadata", {{"name", "h1"}}}, {"spec", {{"address", "10.0.0.1"}}}});
    uid = object<v1alpha1::Host>(meta, "default", "h1")["metadata"]["uid"];
    for (auto* server : {&meta, &business})
      create<reconcile::AdmissionPolicyBinding>(*server, "", {{"metadata", {{"name", names::isolation}}}});
    start_operator();
  }
  void start_operator(reconcile::SimFaults faults = {}) { op = std::make_unique<Operator>(world, meta, business, kubeconfig, faults); }

  // ---- people ----
  std::string wish(const std::string& id) {  // as kubectl endstate enrol does
    patch<v1alpha1::Host>(meta, "default", "h1", {{"metadata", {{"annotations", {{names::wanted, id}}}}}});
    REQUIRE(until([&] {
      const auto s = object<reconcile::Secret>(meta, "default", names::token_secret(uid));
      return s.contains("data") && s["metadata"]["annotations"].value(std::string(names::published), "") == "true" &&
             s["metadata"]["annotations"][names::wanted] == id;
    }));
    const auto copy = object<reconcile::Secret>(meta, "default", names::token_secret(uid));
    number = knows_numbers ? std::stoll(copy["metadata"]["annotations"][names::identity].get<std::string>()) : 0;
    return plain(copy["data"]["token"]);
  }
  void bring(const std::string& token) {  // as endstate-agent --enrol does
    const auto h = host();
    Identity files(*h);
    REQUIRE(files.remove("host.pem"));
    REQUIRE(files.store(EnrolmentFile{.host_uid = uid,
                                      .name_space = "default",
                                      .host = "h1",
                                      .token = token,
                                      .identity = number,
                                      .server = {.address = "https://meta:6443", .ca = {}, .tls_server_name = {}, .proxy = {}}}));
  }
  void claim(const std::string& cluster) {
    create<v1alpha1::Machine>(meta, "default", {{"metadata", {{"name", "m-" + cluster}}}, {"spec", {{"clusterName", cluster}}}});
    const std::string machine = object<v1alpha1::Machine>(meta, "default", "m-" + cluster)["metadata"]["uid"];
    json consumer;
    consumer["spec"]["consumerRef"] = {{"kind", "Machine"}, {"namespace", "default"}, {"name", "m-" + cluster}, {"uid", machine}};
    patch<v1alpha1::Host>(meta, "default", "h1", consumer);
    create<v1alpha1::HostAssignment>(
        server_of(cluster), "",
        {{"metadata", {{"name", uid}}}, {"spec", {{"state", "Active"}, {"machineUID", machine}, {"nodeName", "h1"}}}});
  }
  void release(const std::string& cluster) {
    REQUIRE(server_of(cluster).request({.verb = Verb::remove, .resource = &resource_of<v1alpha1::HostAssignment>, .name = uid}));
    patch<v1alpha1::Host>(meta, "default", "h1", {{"spec", {{"consumerRef", nullptr}}}});
    REQUIRE(
        meta.request({.verb = Verb::remove, .resource = &resource_of<v1alpha1::Machine>, .name_space = "default", .name = "m-" + cluster}));
  }
  SimApi& server_of(const std::string& cluster) { return cluster == "own" ? meta : business; }

  // ---- the host ----
  void start(reconcile::SimFaults faults = {}) {
    fault = host();
    identity_host = host();
    engine = std::make_unique<Engine>(*fault, settings());
    env = std::make_unique<HostEnv>(world, meta, business, fronts, faults);
    identity = std::make_unique<Identity>(*identity_host);
    agent = std::make_unique<Agent>(*env, *engine, AgentOptions{.host_uid = uid, .identity = "h1", .version = "1", .capacity = {}},
                                    reconcile::seed_log("agent"));
    const auto file = identity->enrolment();
    REQUIRE((file && *file));
    enrolment = std::make_unique<Enrolment>(*env, *identity, **file, Enrolment::Options{life},
                                            Worker{[this] { agent->follow(); }, [this] { agent->leave(); },
                                                   [this] { return agent->is_assigned(); }, [this] { return agent->silence(); }},
                                            nullptr, reconcile::seed_log("enrolment"));
    agent->start();
    REQUIRE(enrolment->start());
  }
  void kill() {
    if (env) env->sim.kill();
    enrolment.reset();
    agent.reset();
    identity.reset();
    engine.reset();
    env.reset();
  }
  void sign_all(SimApi& server) {
    for (const auto& text : server.list(resource_of<CertificateSigningRequest>)) {
      const auto r = json::parse(text);
      const auto conditions = r.value("/status/conditions"_json_pointer, json::array());
      if (conditions.empty() || conditions[0]["type"] != "Approved" || r["status"].contains("certificate")) continue;
      patch<CertificateSigningRequest>(server, "", r["metadata"]["name"],
                                       {{"status", {{"certificate", sign(r["spec"]["request"], world.wall(), life)}}}}, "status");
    }
  }
  bool until(const std::function<bool()>& done, std::chrono::nanoseconds limit = 3min) {
    return world.run_until(
        [&] {
          if (world.now() >= next_sign) {
            next_sign = world.now() + 500ms;
            sign_all(meta);
            sign_all(business);
          }
          return done();
        },
        limit);
  }
  bool reports(const std::string& cluster) {
    const auto a = object<v1alpha1::HostAssignment>(server_of(cluster), "", uid);
    return a.value("/status/observedGeneration"_json_pointer, 0) >= 1 && a["status"].contains("agent");
  }
  bool is_free() {
    return get(at("/var/lib/endstate/identity/cluster.json")).empty() && get(at("/var/lib/endstate/identity/agent.pem")).empty();
  }
  int mode(const std::string& file) {
    struct stat s {};
    return ::stat(at(file).c_str(), &s) == 0 ? static_cast<int>(s.st_mode & 0777U) : -1;
  }

  SimWorld world;
  SimApi meta, business;
  HostEnv::Fronts fronts;
  std::string kubeconfig, uid;
  std::int64_t number = 0;    // of the enrolment that `wish` was for
  bool knows_numbers = true;  // false: the host's agent is of before
  std::chrono::seconds life = std::chrono::hours(24 * 30);
  reconcile::MonoTime next_sign{};
  std::unique_ptr<Operator> op;
  std::unique_ptr<FaultHost> fault, identity_host;
  std::unique_ptr<Engine> engine;
  std::unique_ptr<HostEnv> env;
  std::unique_ptr<Identity> identity;
  std::unique_ptr<Agent> agent;
  std::unique_ptr<Enrolment> enrolment;
};

}  // namespace

TEST_CASE("a host enrols, is claimed, works, is released, and is claimed by another cluster", "[enrolment]") {
  Rig r;
  r.knows_numbers = GENERATE(true, false);  // an agent of before works with this operator
  r.bring(r.wish("w1"));
  r.start();
  REQUIRE(r.until([&] { return r.enrolment->is_enrolled(); }));
  const std::string folder = "/var/lib/endstate/identity";
  CHECK(r.mode(folder) == 0700);
  CHECK(r.mode(folder + "/host.pem") == 0600);
  CHECK(r.mode(folder + "/enrolment.json") == 0600);
  REQUIRE(r.until([&] { return get(r.at(folder + "/enrolment.json")).find("\"token\"") == std::string::npos; }));
  CHECK(get(r.at(folder + "/host.next")).empty());

  std::vector<std::string> way{"far", "own", "far"};
  for (const auto& cluster : way) {
    INFO(cluster);
    r.claim(cluster);
    REQUIRE(r.until([&] { return r.reports(cluster); }));
    CHECK(r.mode(folder + "/agent.pem") == 0600);
    CHECK(get(r.at(folder + "/cluster.json")).find("\"token\"") == std::string::npos);
    const auto kubelet = get(r.at("/etc/endstate/kubelet/bootstrap-kubeconfig"));
    CHECK(kubelet.find(cluster == "far" ? "https://business:6443" : "https://meta:6443") != std::string::npos);
    CHECK(kubelet.find(folder + "/agent.pem") != std::string::npos);
    CHECK(r.mode("/etc/endstate/kubelet/bootstrap-kubeconfig") == 0600);
    r.world.run_for(1h);
    r.release(cluster);
    REQUIRE(r.until([&] { return r.is_free(); }));
    CHECK(get(r.at("/etc/endstate/kubelet/bootstrap-kubeconfig")).empty());
  }
}

TEST_CASE("while it is assigned the meta cluster is not asked, whatever it is like", "[enrolment]") {
  Rig r;
  r.bring(r.wish("w1"));
  r.start();
  r.claim("far");
  REQUIRE(r.until([&] { return r.reports("far"); }));
  r.world.run_for(1min);
  int asked = 0;
  r.env->sim.on_send = [&](const Call& c) { asked += c.cluster == "meta" || c.cluster == "enrol"; };
  r.world.run_for(6h);
  CHECK(asked == 0);
  r.meta.stop();
  r.kill();
  r.start();
  r.world.run_for(10min);
  r.patch<v1alpha1::HostAssignment>(r.business, "", r.uid, {{"spec", {{"revision", "r2"}}}});
  CHECK(r.until([&] {
    return r.object<v1alpha1::HostAssignment>(r.business, "", r.uid).value("/status/observedRevision"_json_pointer, "") == "r2";
  }));
  r.meta.start();
}

TEST_CASE("certificates are renewed at two thirds of their life, with another key, for ever", "[enrolment]") {
  Rig r;
  r.life = 2h;
  r.bring(r.wish("w1"));
  r.start();
  r.claim("far");
  REQUIRE(r.until([&] { return r.reports("far"); }));
  const auto pem = [&](const char* name) { return get(r.at(std::string("/var/lib/endstate/identity/") + name)); };
  const auto host = pem("host.pem"), agent = pem("agent.pem");
  REQUIRE_FALSE(r.until([&] { return false; }, 75min));
  CHECK(pem("host.pem") == host);
  CHECK(pem("agent.pem") == agent);
  REQUIRE(r.until([&] { return pem("host.pem") != host && pem("agent.pem") != agent; }, 15min));
  REQUIRE_FALSE(r.until([&] { return false; }, 6h));  // three lives
  CHECK(check_certificate(pem("host.pem"), pem("host.pem"), names::user(r.uid), {"endstate:hosts", names::identity_group(r.uid, 1)})
            .value()
            .to > r.world.wall());
  r.patch<v1alpha1::HostAssignment>(r.business, "", r.uid, {{"spec", {{"revision", "r2"}}}});
  CHECK(r.until([&] {
    return r.object<v1alpha1::HostAssignment>(r.business, "", r.uid).value("/status/observedRevision"_json_pointer, "") == "r2";
  }));
}

TEST_CASE("a host whose disk was lost enrols again, and is what it was", "[enrolment]") {
  Rig r;
  r.bring(r.wish("w1"));
  r.start();
  r.claim("far");
  REQUIRE(r.until([&] { return r.reports("far"); }));
  r.kill();
  std::filesystem::remove_all(r.at("/var/lib/endstate"));
  r.patch<v1alpha1::HostAssignment>(r.business, "", r.uid, {{"spec", {{"revision", "r2"}}}});
  r.bring(r.wish("w2"));
  r.start();
  CHECK(r.until([&] {
    return r.object<v1alpha1::HostAssignment>(r.business, "", r.uid).value("/status/observedRevision"_json_pointer, "") == "r2";
  }));
}

TEST_CASE("a host in service that enrols anew loses nothing but its old keys", "[enrolment]") {
  Rig r;
  r.knows_numbers = GENERATE(true, false);
  r.bring(r.wish("w1"));
  r.start();
  r.claim("far");
  REQUIRE(r.until([&] { return r.reports("far"); }));
  const auto pem = [&](const char* name) { return get(r.at(std::string("/var/lib/endstate/identity/") + name)); };
  const auto agent = pem("agent.pem");
  r.knows_numbers = true;
  r.kill();  // endstate-agent --enrol keeps what it is in its cluster
  r.bring(r.wish("w2"));
  r.start();
  REQUIRE(r.until([&] { return !pem("agent.pem").empty() && pem("agent.pem") != agent; }));
  r.patch<v1alpha1::HostAssignment>(r.business, "", r.uid, {{"spec", {{"revision", "r2"}}}});
  CHECK(r.until([&] {
    return r.object<v1alpha1::HostAssignment>(r.business, "", r.uid).value("/status/observedRevision"_json_pointer, "") == "r2";
  }));
}

TEST_CASE("an agent and an operator that are killed at any moment, on a network that loses things: the host arrives, and comes back",
          "[enrolment]") {
  reconcile::for_seeds(15, [](std::uint64_t seed) {
    INFO("seed " << seed);
    Rig r(seed);
    const reconcile::SimFaults faults{.refused = 50, .reply_lost = 50, .request_lost = 20, .watch_cut = 20};
    r.bring(r.wish("w1"));
    r.start(faults);
    int kills = 0;
    auto next = r.world.now() + 500ms;
    const auto until = [&](const std::function<bool()>& done) {
      kills = 0;
      REQUIRE(r.until(
          [&] {
            if (kills < 12 && r.world.now() >= next) {
              ++kills;
              next = r.world.now() + std::chrono::milliseconds(r.world.random() % 4000);
              if (r.world.chance(300)) {
                r.op->env.kill();
                r.op.reset();
                r.start_operator(faults);
              } else {
                r.kill();
                r.start(faults);
              }
            }
            return done();
          },
          20min));
    };
    const std::string first = seed % 2 == 0 ? "own" : "far", second = seed % 2 == 0 ? "far" : "own";
    r.claim(first);
    until([&] { return r.reports(first); });
    r.release(first);
    until([&] { return r.is_free(); });
    r.claim(second);
    until([&] { return r.reports(second); });
  });
}

TEST_CASE("what a person brings is looked at before it is taken", "[enrolment]") {
  const json good{
      {"hostUID", "0a-1b"}, {"namespace", "default"}, {"token", "abcdef.0123456789abcdef"}, {"server", {{"address", "https://meta:6443"}}}};
  CHECK(parse_enrolment(good.dump()));
  for (const char* key : {"hostUID", "namespace", "token", "server"}) {
    auto bad = good;
    bad.erase(key);
    const auto read = parse_enrolment(bad.dump());
    REQUIRE_FALSE(read);
    CHECK(read.error().message.find("kubectl endstate enrol") != std::string::npos);
  }
  auto climbs = good;
  climbs["hostUID"] = "../x";
  CHECK_FALSE(parse_enrolment(climbs.dump()));
  auto plain_http = good;
  plain_http["server"]["address"] = "http://meta:6443";
  CHECK_FALSE(parse_enrolment(plain_http.dump()));
  CHECK_FALSE(parse_enrolment("hello"));
}

TEST_CASE("keys and certificates of a host", "[enrolment]") {
  const auto key = make_key().value(), other = make_key().value();
  CHECK(fingerprint(key).value().size() == 16);
  CHECK(fingerprint(key).value() != fingerprint(other).value());
  const auto request = make_request(key, "endstate:host:u", {"endstate:hosts", "endstate:host:u:1"}).value();
  const auto now = reconcile::parse_rfc3339("2026-01-01T00:00:00Z").value();
  const auto certificate = plain(sign(reconcile::to_base64(request), now, 1h));
  const auto valid = check_certificate(certificate, key, "endstate:host:u", {"endstate:host:u:1", "endstate:hosts"});
  REQUIRE(valid);
  CHECK((valid->from == now && valid->to == now + 1h));
  CHECK_FALSE(check_certificate(certificate, other, "endstate:host:u", {"endstate:hosts", "endstate:host:u:1"}));
  CHECK_FALSE(check_certificate(certificate, key, "endstate:host:v", {"endstate:hosts", "endstate:host:u:1"}));
  CHECK_FALSE(check_certificate(certificate, key, "endstate:host:u", {"endstate:agents", "endstate:host:u:1"}));
  CHECK_FALSE(check_certificate(certificate, key, "endstate:host:u", {"endstate:hosts"}));
  CHECK_FALSE(check_certificate(certificate, key, "endstate:host:u", {"endstate:hosts", "endstate:host:u:2"}));
  CHECK_FALSE(check_certificate("", key, "endstate:host:u", {"endstate:hosts"}));
  CHECK_FALSE(make_request("nonsense", "a", {"b"}));
}

}  // namespace endstate::agent::testing
