// A Hosted cluster's life over tables: a meta cluster that is played here (objects, addresses, pods that become well or don't), and an
// operator that may die between any two actions.
#include "controllers/cluster/plan_hosted.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <set>

#include "controllers/cluster/etcd_members.hpp"
#include "controllers/cluster/etcd_snapshots.hpp"
#include "controllers/cluster/hosted_facts.hpp"
#include "controllers/cluster/plan.hpp"
#include "controllers/cluster/testing.hpp"

using namespace endstate::cluster;
using namespace std::chrono_literals;
using api::ClusterPhase, api::ConditionStatus;
using nlohmann::json;
using reconcile::Action, reconcile::kind_of, reconcile::Verb;

namespace {

constexpr std::size_t at(CaName ca) { return static_cast<std::size_t>(ca); }

struct MetaCluster {
  api::Cluster cluster;
  HostedFacts facts;
  reconcile::ConnectionState connection;
  std::vector<reconcile::Ref<api::Machine>> machines;
  WallTime now = std::chrono::sys_days(std::chrono::year(2026) / 3 / 1);
  std::map<std::string, CaName> issuers;  // of leaves
  std::set<std::string> broken;           // package/component whose pods never become ready
  std::vector<std::string> operations;    // of permits
  std::string jobs_fail;                  // why Jobs fail from now on; empty: they succeed
  int keys = 0, versions = 0, addresses = 0, writes = 0, jobs = 0;
  bool gone = false;

  explicit MetaCluster(std::int64_t replicas = 3) {
    cluster.metadata.name = "hz-a";
    cluster.metadata.name_space = "prod";
    cluster.metadata.uid = "u1";
    cluster.metadata.resource_version = "1";
    cluster.metadata.finalizers = {api::finalizer::cluster};
    cluster.spec.control_plane.type = api::ControlPlaneType::hosted;
    cluster.spec.control_plane.replicas = replicas;
    cluster.spec.control_plane.etcd = api::Etcd{.replicas = replicas, .storage = {}};
    cluster.spec.package_version = api::NameRef{"v1.33.1"};
    api::ClusterNetwork network;
    network.services.cidr_blocks = {"10.112.0.0/16"};
    cluster.spec.cluster_network = network;
    facts.synced = true;
    for (const auto* v : {"v1.33.1", "v1.34.4"}) add_package(v);
  }
  void add_package(const std::string& version) {
    auto p = std::make_shared<api::ClusterPackageVersion>();
    p->metadata.name = version;
    p->spec.kubernetes_version = version;
    p->spec.components.etcd.image = "r/etcd:3.6.4";
    p->spec.components.kube_api_server.image = "r/kube-apiserver:" + version;
    p->spec.components.kube_controller_manager.image = "r/kube-controller-manager:" + version;
    p->spec.components.kube_scheduler.image = "r/kube-scheduler:" + version;
    facts.packages[version] = p;
  }

  Planned plan() const {
    Snapshot s;
    s.cluster = std::make_shared<api::Cluster>(cluster);
    s.connection = connection;
    s.machines = machines;
    s.hosted = facts;
    s.now = now;
    return plan_in_full(s);
  }

  // ---- what the API server does ----

  std::string version() { return std::to_string(++versions); }
  CertificateFacts certificate(std::chrono::seconds life) {
    CertificateFacts c;
    c.key_id = std::to_string(++keys);
    c.fingerprint = "f" + c.key_id;
    c.not_before = now;
    c.not_after = now + life;
    return c;
  }
  void write_key(const Action& a) {
    const auto recipe = json::parse(a.making->what);
    const auto make = recipe["make"].get<std::string>();
    const auto name = a.name.str().substr(5);
    REQUIRE((a.verb == Verb::create) == !facts.secrets.contains(name));
    if (a.verb == Verb::merge_patch) REQUIRE(a.resource_version == facts.secrets[name]->metadata.resource_version);
    auto secret = std::make_shared<reconcile::Secret>();
    secret->metadata.name = a.name;
    secret->metadata.name_space = "prod";
    secret->metadata.uid = a.name;
    secret->metadata.resource_version = version();
    facts.secrets[name] = secret;
    if (make == "keys") {
      facts.signing_keys = {true, {}, "k" + std::to_string(++keys)};
    } else if (make == "leaf") {
      const auto& wanted = recipe["leaf"];
      const auto issuer = std::find_if(std::begin(all_cas), std::end(all_cas),
                                       [&](CaName ca) { return a.making->secrets.at(0).name == "hz-a-" + std::string(secret_suffix(ca)); });
      auto c = certificate(leaf_lifetime);
      c.issuer_key_id = facts.cas[at(*issuer)].issuing->key_id;
      issuers[name] = *issuer;
      c.common_name = wanted["commonName"];
      c.organization = wanted["organization"];
      c.dns_names = wanted["dnsNames"].get<std::vector<std::string>>();
      c.addresses = wanted["addresses"].get<std::vector<std::string>>();
      c.server = wanted["server"], c.client = wanted["client"];
      std::string made_for = recipe.value("madeFor", "");
      if (recipe.contains("object") && recipe["object"]["metadata"].contains("annotations"))
        made_for = recipe["object"]["metadata"]["annotations"]["endstate.dev/made-for"];
      facts.leaves[name] = {c, made_for};
    } else {
      write_ca(make, name);
    }
  }
  void write_ca(const std::string& make, const std::string& name) {
    for (const auto which : all_cas) {
      auto& ca = facts.cas[at(which)];
      if (name != secret_suffix(which)) continue;
      if (make == "ca") ca.exists = true, ca.issuing = certificate(ca_lifetime), ca.trusted = {*ca.issuing};
      if (make == "trust") ca.next = certificate(ca_lifetime), ca.trusted.push_back(*ca.next);
      if (make == "switch") ca.issuing = std::exchange(ca.next, std::nullopt);
      if (make == "retire") ca.trusted = {*ca.issuing};
    }
  }
  static void take_metadata(reconcile::ObjectMeta& meta, const json& body) {
    meta.name = body["metadata"]["name"].get<std::string>();
    meta.name_space = body["metadata"]["namespace"].get<std::string>();
    for (const auto& [k, v] : body["metadata"]["labels"].items()) meta.labels.set(k, v.get<std::string>());
    if (body["metadata"].contains("annotations"))
      for (const auto& [k, v] : body["metadata"]["annotations"].items()) meta.annotations.set(k, v.get<std::string>());
    if (!body["metadata"].contains("ownerReferences")) return;
    meta.owner_references = {{.api_version = {},
                              .kind = "Cluster",
                              .name = "hz-a",
                              .uid = body["metadata"]["ownerReferences"][0]["uid"].get<std::string>(),
                              .controller = true,
                              .block_owner_deletion = {}}};
  }
  void write_child(const Action& a) {
    auto body = json::parse(a.body);
    if (a.verb == Verb::apply) {
      REQUIRE(body["metadata"]["uid"] == a.name.str());
      REQUIRE(body["metadata"]["resourceVersion"] == a.resource_version.str());
    }
    if (a.kind == &kind_of<reconcile::Deployment> || a.kind == &kind_of<reconcile::StatefulSet>) {
      auto& w = facts.workloads[a.name.str()];
      const bool changed = w.spec.raw.view() != body["spec"].dump();
      take_metadata(w.metadata, body);
      w.metadata.uid = a.name;
      w.metadata.resource_version = version();
      if (changed) w.metadata.generation = w.metadata.generation.value_or(0) + 1;
      w.spec.raw = body["spec"].dump();
      return;
    }
    if (a.kind == &kind_of<reconcile::Service> && !body["spec"].contains("clusterIP"))
      body["spec"]["clusterIP"] = "10.96.0." + std::to_string(++addresses);
    auto found = std::find_if(facts.children.begin(), facts.children.end(),
                              [&](const FoundChild& c) { return c.kind == a.kind && c.metadata.name == a.name; });
    if (found == facts.children.end()) found = facts.children.insert(found, FoundChild{a.kind, {}, {}});
    take_metadata(found->metadata, body);
    found->metadata.uid = a.name;
    found->metadata.resource_version = version();
    found->spec.raw = body["spec"].dump();
  }
  void write_job(const Action& a) {
    if (a.verb == Verb::remove) {
      std::erase_if(facts.jobs, [&](const auto& j) { return j->metadata.name == a.name; });
      return;
    }
    REQUIRE(std::none_of(facts.jobs.begin(), facts.jobs.end(), [&](const auto& j) { return j->metadata.name == a.name; }));
    auto job = std::make_shared<reconcile::Job>();
    take_metadata(job->metadata, json::parse(a.body));
    job->metadata.uid = "job-" + std::to_string(++jobs);
    job->metadata.creation_timestamp = now;
    facts.jobs.push_back(job);
  }
  // What its Job has come to.
  void end_jobs() {
    for (auto& job : facts.jobs) {
      if (!job->status.conditions.empty()) continue;
      auto ended = std::make_shared<reconcile::Job>(*job);
      ended->status.conditions.push_back({.type = jobs_fail.empty() ? "Complete" : "Failed",
                                          .status = ConditionStatus::true_,
                                          .reason = {},
                                          .message = jobs_fail,
                                          .last_transition_time = now,
                                          .observed_generation = {}});
      job = ended;
    }
  }
  void annotate_pod(const Action& a) {
    for (auto& p : facts.pods) {
      if (p->metadata.name != a.name) continue;
      auto pod = std::make_shared<reconcile::Pod>(*p);
      const auto patch = json::parse(a.body);
      for (const auto& [key, value] : patch["metadata"]["annotations"].items())
        if (value.is_null())
          pod->metadata.annotations.erase(key);
        else
          pod->metadata.annotations.set(key, value.get<std::string>());
      p = pod;
    }
  }
  // Members of etcd: without data one begins only when its pod says so.
  void play_etcd() {
    if (!facts.workloads.contains("hz-a-etcd")) return facts.pods.clear();
    const auto members = static_cast<std::size_t>(json::parse(facts.workloads["hz-a-etcd"].spec.raw.view())["replicas"].get<int>());
    for (auto i = facts.pods.size(); i < members; ++i) {
      auto pod = std::make_shared<reconcile::Pod>();
      pod->metadata.name = "hz-a-etcd-" + std::to_string(i);
      pod->metadata.name_space = "prod";
      pod->metadata.uid = pod->metadata.name;
      facts.pods.push_back(pod);
    }
    for (auto& p : facts.pods) {
      if (is_ready(*p) || !p->metadata.annotations.has(api::annotation::initial_cluster)) continue;
      auto pod = std::make_shared<reconcile::Pod>(*p);
      pod->status.conditions = {
          {.type = "Ready", .status = ConditionStatus::true_, .reason = {}, .message = {}, .last_transition_time = {}}};
      p = pod;
    }
  }
  void remove(const Action& a) {
    const auto name = a.name.str();
    if (a.kind == &kind_of<reconcile::Secret>) {
      facts.secrets.erase(name.substr(5));
      facts.leaves.erase(name.substr(5));
    } else if (facts.workloads.erase(name) == 0 ||
               (a.kind != &kind_of<reconcile::Deployment> && a.kind != &kind_of<reconcile::StatefulSet>)) {
      std::erase_if(facts.children, [&](const FoundChild& c) { return c.kind == a.kind && c.metadata.name == a.name; });
    }
  }
  void write(const Action& a, const Planned& p) {
    if (a.guarded) REQUIRE(p.plan.permit);
    if (a.kind == &kind_of<reconcile::Job>) return write_job(a);
    if (a.kind == &kind_of<reconcile::Pod>) return annotate_pod(a);
    ++writes;
    const bool workload = a.kind == &kind_of<reconcile::Deployment> || a.kind == &kind_of<reconcile::StatefulSet>;
    if (a.verb == Verb::remove || (workload && a.verb != Verb::create)) REQUIRE(a.guarded);  // as guard::disruptive says
    if (a.kind == &kind_of<api::Cluster>) {
      if (a.verb == Verb::json_patch) gone = true;
      cluster.metadata.annotations.erase(api::annotation::rotate_ca);
    } else if (a.verb == Verb::remove) {
      remove(a);
    } else if (a.making) {
      write_key(a);
    } else {
      write_child(a);
    }
  }

  // ---- a pass of the operator; it may do only the first `limit` actions, and then die before the status ----
  Planned pass(std::size_t limit = 1000) {
    const auto p = plan();
    if (p.plan.permit) operations.push_back(p.plan.permit->operation.str());
    auto actions = p.plan.actions;
    std::stable_sort(actions.begin(), actions.end(), [](const Action& a, const Action& b) { return a.stage < b.stage; });
    std::size_t done = 0;
    for (const auto& a : actions)
      if (done++ < limit) write(a, p);
    if (done <= limit && p.status) cluster.status = *p.status;
    return p;
  }
  // ---- what Kubernetes does meanwhile ----
  void tick(std::chrono::seconds by = 5s) {
    now += by;
    end_jobs();
    play_etcd();
    const bool store = std::all_of(facts.pods.begin(), facts.pods.end(), [](const auto& p) { return is_ready(*p); });
    for (auto& [name, w] : facts.workloads) {
      const auto spec = json::parse(w.spec.raw.view());
      const std::int64_t n = spec["replicas"];
      const auto package = std::string(w.metadata.annotations.get(api::annotation::package_version));
      const bool good = !broken.contains(package + "/" + name.substr(5));
      w.status.observed_generation = w.metadata.generation;
      w.status.replicas = good ? n : n + 1;
      w.status.updated_replicas = good ? n : 1;
      w.status.ready_replicas = w.status.available_replicas = name == "hz-a-etcd" && !store ? 0 : n;
      w.status.conditions.clear();
      if (!good)
        w.status.conditions.push_back({.type = "Progressing",
                                       .status = ConditionStatus::false_,
                                       .reason = "ProgressDeadlineExceeded",
                                       .message = "has timed out progressing",
                                       .observed_generation = {}});
    }
    if (facts.leaves.contains("kubeconfig") && facts.workloads.contains("hz-a-apiserver"))
      connection = {
          .known = true, .reachable = ConditionStatus::true_, .message = {}, .version = cluster.status.control_plane.package_version.str()};
  }
  void settle(int rounds = 60) {
    for (int i = 0; i < rounds && !gone; ++i) {
      pass();
      tick();
    }
  }
  bool is(std::string_view type, ConditionStatus status) const {
    const auto* c = reconcile::find_condition(cluster.status.conditions, type);
    return c && c->status == status;
  }
  std::string why(std::string_view type) const {
    const auto* c = reconcile::find_condition(cluster.status.conditions, type);
    return c ? c->reason.str() : std::string();
  }
  bool idle() const { return plan().plan.actions.empty(); }
};

MetaCluster running(std::int64_t replicas = 3) {
  MetaCluster m(replicas);
  m.settle();
  REQUIRE(m.is("Ready", ConditionStatus::true_));
  m.operations.clear();
  m.writes = 0;
  return m;
}

}  // namespace

TEST_CASE("from nothing to Ready, in the order in which things need one another", "[hosted][plan]") {
  MetaCluster m(GENERATE(1, 3));
  std::vector<std::string> made;
  for (int i = 0; i < 30; ++i) {
    const auto p = m.pass();
    CHECK_FALSE(p.plan.permit);  // creating disturbs nobody
    for (const auto& a : p.plan.actions)
      if (a.kind == &kind_of<reconcile::Deployment> || a.kind == &kind_of<reconcile::StatefulSet>) made.push_back(a.name.str());
    m.tick();
  }
  CHECK(made == std::vector<std::string>{"hz-a-etcd", "hz-a-apiserver", "hz-a-controller-manager", "hz-a-scheduler"});
  CHECK(m.is("Ready", ConditionStatus::true_));
  CHECK(m.is("ControlPlaneReady", ConditionStatus::true_));
  CHECK(m.is("CertificatesReady", ConditionStatus::true_));
  CHECK(m.is("Stalled", ConditionStatus::false_));
  CHECK(m.cluster.status.phase == ClusterPhase::running);
  CHECK(m.cluster.status.control_plane.package_version == "v1.33.1");
  CHECK(m.cluster.status.control_plane.endpoint->host == "10.96.0.1");
  CHECK(m.cluster.status.control_plane.certificates.size() == 14);
  REQUIRE(m.cluster.status.history.size() == 1);
  CHECK(m.cluster.status.history[0].result == api::ReleaseResult::complete);
  CHECK(m.idle());
  const auto p = m.plan();
  CHECK_FALSE(p.plan.status->changed);
  REQUIRE(p.plan.again);  // renewals come by the clock
  CHECK(*p.plan.again <= 1h);
  REQUIRE(p.plan.connections.size() == 1);
  CHECK((p.plan.connections[0].connected && p.plan.connections[0].secret_name == "hz-a-kubeconfig"));
}

TEST_CASE("killed after any number of actions of any pass, it still comes up, with one CA each", "[hosted][plan]") {
  for (unsigned seed = 1; seed <= 8; ++seed) {
    MetaCluster m;
    Chance chance(seed * 2654435761u);
    for (int i = 0; i < 80; ++i) {
      m.pass(chance(3) == 0 ? 1000 : chance(6));
      m.tick();
    }
    m.settle(40);
    INFO("seed " << seed << ": " << m.why("Ready"));
    CHECK(m.is("Ready", ConditionStatus::true_));
    CHECK(m.idle());
    for (const auto ca : all_cas) CHECK(m.facts.cas[at(ca)].trusted.size() == 1);
  }
}

TEST_CASE("a lost Secret: a leaf is made again, a CA never", "[hosted][plan]") {
  auto m = running();
  SECTION("a leaf") {
    const auto* name = GENERATE("apiserver", "etcd-peer", "scheduler", "kubeconfig");
    m.facts.leaves.erase(name), m.facts.secrets.erase(name);
    const auto p = m.pass();
    REQUIRE(p.plan.actions.size() == 1);
    CHECK(p.plan.actions[0].making);
    m.settle(5);
    CHECK(m.is("Ready", ConditionStatus::true_));
    CHECK(m.operations.empty());
  }
  SECTION("a CA") {
    const auto ca = GENERATE(CaName::cluster, CaName::etcd, CaName::front_proxy);
    m.facts.cas[at(ca)] = {};
    m.facts.secrets.erase(std::string(secret_suffix(ca)));
    for (int i = 0; i < 20; ++i) {
      const auto p = m.pass();
      CHECK(p.plan.actions.empty());
      m.tick();
    }
    CHECK(m.why("Stalled") == api::reason::key_lost);
    CHECK(m.why("Ready") == api::reason::key_lost);
    CHECK(m.cluster.status.blocked_by->kind == "Secret");
    CHECK(m.cluster.status.blocked_by->name == "prod/hz-a-" + std::string(secret_suffix(ca)));
  }
  SECTION("the signing keys") {
    m.facts.signing_keys = {};
    m.facts.secrets.erase("sa");
    m.settle(5);
    CHECK(m.writes == 0);
    CHECK(m.why("Stalled") == api::reason::key_lost);
  }
  SECTION("a CA that comes back ends the trouble") {
    const auto kept = m.facts.cas[0];
    m.facts.cas[0] = {};
    m.settle(3);
    REQUIRE(m.why("Stalled") == api::reason::key_lost);
    m.facts.cas[0] = kept;
    m.settle(3);
    CHECK(m.is("Ready", ConditionStatus::true_));
  }
}

TEST_CASE("drift is put back, by what was granted, and then there is nothing to do", "[hosted][plan]") {
  auto m = running();
  SECTION("a workload that somebody edited") {
    auto& w = m.facts.workloads["hz-a-scheduler"];
    auto spec = json::parse(w.spec.raw.view());
    spec["template"]["spec"]["containers"][0]["image"] = "evil";
    w.spec.raw = spec.dump();
    m.pass();
    CHECK(m.operations == std::vector<std::string>{"ControlPlaneRollback"});
    CHECK(m.writes == 2);  // its lock, and itself
  }
  SECTION("a workload that is gone") {
    m.facts.workloads.erase("hz-a-controller-manager");
    m.pass();
    CHECK(m.facts.workloads.contains("hz-a-controller-manager"));
  }
  SECTION("a policy that is gone, one that was edited, a label") {
    std::erase_if(m.facts.children,
                  [](const FoundChild& c) { return c.kind == &kind_of<reconcile::NetworkPolicy> && c.metadata.name == "hz-a-etcd"; });
    for (auto& c : m.facts.children) {
      if (c.kind == &kind_of<reconcile::PodDisruptionBudget> && c.metadata.name == "hz-a-etcd") c.spec.raw = R"({"maxUnavailable":3})";
      if (c.kind == &kind_of<reconcile::Service> && c.metadata.name == "hz-a-etcd-1")
        c.metadata.labels.set("app.kubernetes.io/managed-by", "me");
    }
    m.pass();
    CHECK(m.writes == 3);
    CHECK(m.operations.empty());
  }
  SECTION("what the API server adds is no drift") {
    for (auto& [name, w] : m.facts.workloads) {
      auto spec = json::parse(w.spec.raw.view());
      spec["template"]["spec"]["dnsPolicy"] = "ClusterFirst";
      spec["template"]["spec"]["containers"][0]["livenessProbe"]["successThreshold"] = 1;
      w.spec.raw = spec.dump();
    }
    CHECK(m.idle());
  }
  m.settle(10);
  CHECK(m.idle());
  CHECK(m.is("Ready", ConditionStatus::true_));
}

TEST_CASE("a release goes part by part under a permit each, and what doesn't change isn't touched", "[hosted][plan]") {
  auto m = running();
  m.cluster.spec.package_version = api::NameRef{"v1.34.4"};
  m.pass();
  m.tick(1s);
  CHECK(m.cluster.status.phase == ClusterPhase::updating);
  CHECK(m.is("Reconciling", ConditionStatus::true_));
  CHECK(m.is("Ready", ConditionStatus::true_));  // it serves all the while
  m.settle(20);
  CHECK(m.operations == std::vector<std::string>(4, "ControlPlaneUpdate"));
  CHECK(m.cluster.status.control_plane.package_version == "v1.34.4");
  CHECK(m.cluster.status.history.back().result == api::ReleaseResult::complete);
  CHECK(m.cluster.status.history.back().from == "v1.33.1");
  CHECK(m.facts.workloads["hz-a-etcd"].metadata.generation == 1);  // the same image: its pods stay
  CHECK(m.facts.workloads["hz-a-scheduler"].metadata.generation == 2);
  CHECK(m.idle());
}

TEST_CASE("a release that touches etcd or the API server comes after a snapshot that was begun for it", "[hosted][plan]") {
  auto m = running();
  const auto version = [&](std::string_view part) {
    return m.facts.workloads["hz-a-" + std::string(part)].metadata.annotations.get(api::annotation::package_version);
  };
  const auto taken = m.cluster.status.control_plane.etcd->snapshots.size();
  m.cluster.spec.package_version = api::NameRef{"v1.34.4"};
  SECTION("it waits, and then it goes") {
    m.pass();
    CHECK(version("apiserver") == "v1.33.1");
    CHECK(m.cluster.status.phase == ClusterPhase::updating);
    CHECK(m.is("Stalled", ConditionStatus::false_));
    m.settle(20);
    const auto& snapshots = m.cluster.status.control_plane.etcd->snapshots;
    REQUIRE(snapshots.size() == taken + 1);
    CHECK(snapshots.back().before == "v1.34.4");
    CHECK(snapshots.back().package_version == "v1.33.1");
    CHECK(version("apiserver") == "v1.34.4");
  }
  SECTION("it fails: nothing is touched, and it is said how to go on without") {
    m.jobs_fail = "no space left on device";
    m.settle(20);
    CHECK(version("etcd") == "v1.33.1");
    CHECK(version("apiserver") == "v1.33.1");
    CHECK(m.why("Stalled") == api::reason::snapshot_failed);
    CHECK(m.is("Ready", ConditionStatus::true_));
    CHECK(m.why("EtcdBackedUp") == api::reason::snapshot_failed);
    CHECK(m.cluster.status.blocked_by->message.str().find("endstate.dev/skip-snapshot=v1.34.4") != std::string::npos);
    const auto jobs = m.jobs;
    m.settle(20);  // 100 s: not again so soon
    CHECK(m.jobs == jobs);
    SECTION("tried again after a while") {
      m.jobs_fail.clear();
      m.settle(60);
      CHECK(version("apiserver") == "v1.34.4");
      CHECK(m.is("Stalled", ConditionStatus::false_));
    }
    SECTION("skipped for another version") {
      m.cluster.metadata.annotations.set(api::annotation::skip_snapshot, "v1.33.1");
      m.settle(10);
      CHECK(version("apiserver") == "v1.33.1");
    }
    SECTION("skipped") {
      m.cluster.metadata.annotations.set(api::annotation::skip_snapshot, "v1.34.4");
      m.settle(30);
      CHECK(version("apiserver") == "v1.34.4");
    }
    SECTION("edited back: nothing waits any more") {
      m.cluster.spec.package_version = api::NameRef{"v1.33.1"};
      m.settle(5);
      CHECK(m.is("Stalled", ConditionStatus::false_));
    }
  }
  SECTION("a release of the scheduler alone needs none") {
    auto p = std::make_shared<api::ClusterPackageVersion>(*m.facts.packages["v1.33.1"]);
    p->spec.components.kube_scheduler.args = {"--v=2"};
    m.facts.packages["other"] = p;
    m.cluster.spec.package_version = api::NameRef{"other"};
    m.jobs_fail = "no";
    m.settle(20);
    CHECK(version("scheduler") == "other");
  }
  SECTION("without snapshots") {
    m.cluster.spec.control_plane.etcd->snapshots =
        api::EtcdSnapshots{.enabled = false, .interval = {}, .keep = {}, .storage_class_name = {}, .size = {}};
    m.jobs_fail = "no";
    m.settle(30);
    CHECK(version("apiserver") == "v1.34.4");
    CHECK(m.why("EtcdBackedUp").empty());
  }
}

TEST_CASE("killed after any number of actions of a release, it goes through with one snapshot, or two", "[hosted][plan]") {
  for (unsigned seed = 1; seed <= 8; ++seed) {
    auto m = running();
    const auto jobs = m.jobs;
    m.cluster.spec.package_version = api::NameRef{"v1.34.4"};
    Chance chance(seed * 2654435761u);
    for (int i = 0; i < 60; ++i) {
      m.pass(chance(3) == 0 ? 1000 : chance(3));
      m.tick();
    }
    m.settle(20);
    INFO("seed " << seed);
    CHECK(m.cluster.status.control_plane.package_version == "v1.34.4");
    CHECK(m.jobs - jobs >= 1);
    CHECK(m.jobs - jobs <= 3);
    CHECK(m.idle());
  }
}

TEST_CASE("snapshots are taken on schedule, in their places in turn; the one before a release isn't overwritten", "[hosted][plan]") {
  auto m = running();
  m.cluster.spec.control_plane.etcd->snapshots =
      api::EtcdSnapshots{.enabled = {}, .interval = 600s, .keep = 3, .storage_class_name = {}, .size = {}};
  m.cluster.spec.package_version = api::NameRef{"v1.34.4"};
  m.settle(20);
  for (int i = 0; i < 20; ++i) {
    m.tick(600s);
    m.settle(4);
    const auto& snapshots = m.cluster.status.control_plane.etcd->snapshots;
    CHECK(std::any_of(snapshots.begin(), snapshots.end(), [](const auto& s) { return s.before == "v1.34.4"; }));
    CHECK(std::any_of(snapshots.begin(), snapshots.end(), [&](const auto& s) { return m.now - s.time < 60s; }));
    CHECK(m.is("EtcdBackedUp", ConditionStatus::true_));
  }
  CHECK(m.cluster.status.control_plane.etcd->snapshots.size() == 3);
  CHECK(m.facts.jobs.size() == 3 + 1);  // one of them asks for sizes
  CHECK(m.operations == std::vector<std::string>(4, "ControlPlaneUpdate"));
}

TEST_CASE("a broken release is taken back under ControlPlaneRollback, and says so", "[hosted][plan]") {
  const auto* part = GENERATE("apiserver", "controller-manager", "scheduler");
  auto m = running();
  m.broken.insert("v1.34.4/" + std::string(part));
  m.cluster.spec.package_version = api::NameRef{"v1.34.4"};
  m.settle(40);
  CHECK(m.cluster.status.control_plane.package_version == "v1.33.1");
  CHECK(m.cluster.status.control_plane.rejected_package_version == "v1.34.4");
  CHECK(m.cluster.status.history.back().result == api::ReleaseResult::rolled_back);
  CHECK(m.why("Stalled") == api::reason::release_rejected);
  CHECK(m.is("Ready", ConditionStatus::true_));  // the old version serves
  CHECK(std::count(m.operations.begin(), m.operations.end(), "ControlPlaneRollback") >= 1);
  for (const auto& [name, w] : m.facts.workloads) CHECK(w.metadata.annotations.get(api::annotation::package_version) == "v1.33.1");
  CHECK(m.idle());
  m.cluster.spec.package_version = api::NameRef{"v1.33.1"};
  m.settle(3);
  CHECK(m.is("Stalled", ConditionStatus::false_));
}

TEST_CASE("a CA is replaced when asked: everybody restarts twice or more under CertificateRotation, one part at a time", "[hosted][plan]") {
  const auto ca = GENERATE(CaName::cluster, CaName::etcd, CaName::front_proxy);
  auto m = running();
  const auto old = m.facts.cas[at(ca)].issuing->fingerprint;
  m.cluster.metadata.annotations.set(api::annotation::rotate_ca, secret_suffix(ca));
  std::size_t most = 0;
  for (int i = 0; i < 100; ++i) {
    const auto p = m.pass();
    std::size_t guarded = 0;
    for (const auto& a : p.plan.actions) guarded += a.guarded && a.subresource.empty();  // beside its lock
    most = std::max(most, guarded);
    m.tick();
  }
  CHECK(most == 1);
  CHECK(m.facts.cas[at(ca)].trusted.size() == 1);
  CHECK(m.facts.cas[at(ca)].issuing->fingerprint != old);
  CHECK_FALSE(m.cluster.metadata.annotations.has(api::annotation::rotate_ca));
  CHECK_FALSE(m.operations.empty());
  for (const auto& o : m.operations) CHECK(o == "CertificateRotation");
  CHECK(m.is("Ready", ConditionStatus::true_));
  CHECK(m.idle());
  for (const auto other : all_cas)
    if (other != ca) CHECK(m.facts.cas[at(other)].issuing->fingerprint.size() > 1);
}

TEST_CASE("with machines the cluster's CA isn't retired: their certificates are of the old one", "[hosted][plan]") {
  auto m = running();
  m.machines.push_back(std::make_shared<api::Machine>());
  m.cluster.metadata.annotations.set(api::annotation::rotate_ca, "ca");
  m.settle(100);
  CHECK(m.facts.cas[0].trusted.size() == 2);
  m.machines.clear();
  m.settle(20);
  CHECK(m.facts.cas[0].trusted.size() == 1);
}

TEST_CASE("leaves are renewed by the clock, without a restart", "[hosted][plan]") {
  auto m = running();
  m.now += leaf_lifetime;
  m.settle(5);
  CHECK(m.writes == 10);
  CHECK(m.operations.empty());
  CHECK(m.idle());
  CHECK(m.is("Ready", ConditionStatus::true_));
}

TEST_CASE("what is refused stops before anything is made", "[hosted][plan]") {
  MetaCluster m;
  m.cluster.spec.cluster_network->services.cidr_blocks = {"10.96.0.0/16"};  // the played meta cluster's
  m.settle(10);
  CHECK(m.why("Stalled") == api::reason::invalid_spec);
  CHECK(m.facts.workloads.empty());
  MetaCluster missing;
  missing.cluster.spec.package_version = api::NameRef{"gone"};
  missing.settle(10);
  CHECK(missing.why("Stalled") == api::reason::package_not_found);
  CHECK(missing.facts.workloads.empty());
  missing.add_package("gone");
  missing.facts.packages["gone"] = missing.facts.packages["v1.34.4"];
  missing.settle();
  CHECK(missing.is("Ready", ConditionStatus::true_));
}

TEST_CASE("an endpoint that another Cluster has already is refused to the younger, until the other goes", "[hosted][plan]") {
  MetaCluster m;
  m.facts.endpoint_holder = "Cluster hz-b";
  m.settle(10);
  CHECK(m.why("Stalled") == api::reason::invalid_spec);
  CHECK(m.facts.workloads.empty());
  CHECK(m.plan().plan.again);
  m.facts.endpoint_holder.clear();
  m.settle();
  CHECK(m.is("Ready", ConditionStatus::true_));
}

TEST_CASE("who has an endpoint: host and port alike, and older; the same age by uid", "[hosted]") {
  const auto cluster = [](const char* name, int age, const char* host, std::optional<std::int64_t> port) {
    api::Cluster c;
    c.metadata.name_space = "prod";
    c.metadata.name = c.metadata.uid = name;
    c.metadata.creation_timestamp = WallTime{} - std::chrono::hours(age);
    c.spec.control_plane.type = api::ControlPlaneType::hosted;
    if (*host) c.spec.control_plane.endpoint = api::Endpoint{.host = host, .port = port};
    return std::make_shared<const api::Cluster>(c);
  };
  const auto old = cluster("a", 9, "10.0.0.1", {});
  struct Case {
    Ref<api::Cluster> cluster;
    std::string holder;
  };
  for (const auto& c : {Case{cluster("b", 1, "10.0.0.1", 6443), "Cluster a"}, Case{cluster("b", 1, "10.0.0.1", 6444), ""},
                        Case{cluster("b", 1, "10.0.0.2", {}), ""}, Case{cluster("b", 1, "", {}), ""},
                        Case{cluster("b", 10, "10.0.0.1", {}), ""}, Case{cluster("b", 9, "10.0.0.1", {}), "Cluster a"}}) {
    INFO(c.cluster->metadata.name.str() << " " << c.holder);
    CHECK(endpoint_holder(*c.cluster, {old, c.cluster}) == c.holder);
  }
}

TEST_CASE("an endpoint is held by a Hosted Cluster that is run, and by nobody else; other namespaces aren't named", "[hosted][trust]") {
  const auto cluster = [](const char* name_space, const char* name, int age) {
    api::Cluster c;
    c.metadata.name_space = name_space;
    c.metadata.name = c.metadata.uid = name;
    c.metadata.creation_timestamp = WallTime{} - std::chrono::hours(age);
    c.spec.control_plane.type = api::ControlPlaneType::hosted;
    c.spec.control_plane.endpoint = api::Endpoint{.host = "10.0.0.1", .port = 6443};
    return c;
  };
  const auto ours = cluster("prod", "ours", 1);
  auto other = cluster("other", "squat", 9);
  const auto holder = [&](const api::Cluster& c) { return endpoint_holder(c, {std::make_shared<const api::Cluster>(other)}); };
  CHECK(holder(ours) == "a Cluster of another namespace");
  SECTION("External: its endpoint is for people") {
    other.spec.control_plane.type = api::ControlPlaneType::external;
    CHECK(holder(ours).empty());
  }
  SECTION("being deleted") {
    other.metadata.deletion_timestamp = WallTime{};
    CHECK(holder(ours).empty());
  }
  SECTION("paused before it was begun") {
    other.spec.paused = true;
    CHECK(holder(ours).empty());
    other.status.control_plane.certificates.push_back({.name = "ca"});
    CHECK_FALSE(holder(ours).empty());
  }
  SECTION("who was begun has it, however young") {
    auto begun = ours;
    begun.status.control_plane.certificates.push_back({.name = "ca"});
    CHECK(holder(begun).empty());
  }
}

TEST_CASE("two ranges are refused while the Cluster is new; one that runs by its first goes on", "[hosted][plan]") {
  MetaCluster m;
  m.cluster.spec.cluster_network.emplace();
  m.cluster.spec.cluster_network->services.cidr_blocks = {"10.112.0.0/16", "fd00:20::/112"};
  SECTION("new") {
    m.settle(10);
    CHECK(m.why("Stalled") == api::reason::invalid_spec);
    CHECK(m.facts.workloads.empty());
  }
  SECTION("it runs") {
    auto one = m.cluster.spec.cluster_network;
    m.cluster.spec.cluster_network->services.cidr_blocks = {"10.112.0.0/16"};
    m.settle();
    m.cluster.spec.cluster_network = one;
    m.settle(3);
    CHECK(m.is("Ready", ConditionStatus::true_));
  }
}

TEST_CASE("a Secret that was there before is not taken for the Cluster's own", "[hosted][trust]") {
  MetaCluster m;
  m.facts.taken_secrets = {"hz-a-ca"};
  m.settle(5);
  CHECK(m.why("Stalled") == api::reason::invalid_spec);
  CHECK(m.facts.workloads.empty());
}

TEST_CASE("paused: it is looked at, and left alone", "[hosted][plan]") {
  auto m = running();
  m.cluster.spec.paused = true;
  m.facts.workloads.erase("hz-a-scheduler");
  m.settle(3);
  CHECK(m.writes == 0);
  CHECK(m.why("ControlPlaneReady") == api::reason::control_plane_unhealthy);
}

TEST_CASE("caches that are behind: nothing is said, done or disconnected", "[hosted][plan]") {
  auto m = running();
  m.facts = {};
  const auto p = m.plan();
  CHECK(p.plan.actions.empty());
  CHECK(p.plan.connections.empty());
  CHECK_FALSE(p.plan.status);
  CHECK(p.plan.again);
}

TEST_CASE("deleted: masters, etcd, what led to them, keys; by policy data's keys stay", "[hosted][plan]") {
  const bool keep = GENERATE(true, false);
  auto m = running();
  if (!keep) m.cluster.spec.control_plane.etcd->storage.deletion_policy = api::DeletionPolicy::delete_;
  m.cluster.metadata.deletion_timestamp = m.now;
  SECTION("machines first") {
    m.machines.push_back(std::make_shared<api::Machine>());
    m.settle(3);
    CHECK(m.facts.workloads.size() == 4);
    CHECK(m.why("Deleting") == api::reason::machines_remain);
  }
  SECTION("what somebody's finalizer holds is named") {
    auto& child = m.facts.children.front();
    child.metadata.deletion_timestamp = m.now;
    child.metadata.finalizers = {"example.com/backup"};
    m.plan();
    const auto p = m.plan();
    REQUIRE(p.plan.status);
    CHECK(p.plan.status->status.find(child.metadata.name.str() + " waits for whoever owns its finalizer example.com/backup") !=
          std::string::npos);
    child.metadata.finalizers = {"kubernetes.io/pvc-protection"};
    CHECK(m.plan().plan.status->status.find(child.metadata.name.str() + " waits for pods that use it") != std::string::npos);
  }
  SECTION("all of it") {
    const auto p = m.plan();
    REQUIRE(p.plan.permit);
    CHECK(p.plan.permit->operation == "Teardown");
    std::map<std::string, int> stages;
    for (const auto& a : p.plan.actions) stages[a.name.str()] = std::max(stages[a.name.str()], static_cast<int>(a.stage));
    m.settle(10);
    CHECK(m.gone);
    CHECK(m.facts.workloads.empty());
    CHECK(m.facts.children.size() == (keep ? 1u : 0u));  // the volume of the snapshots
    CHECK(m.facts.leaves.empty());
    CHECK(m.facts.secrets.size() == (keep ? 4u : 0u));
    CHECK(m.facts.jobs.empty());
  }
}

TEST_CASE("killed after any number of actions of a rotation: it ends, with one CA, and nobody was cut off", "[hosted][plan]") {
  for (unsigned seed = 1; seed <= 6; ++seed) {
    auto m = running();
    const auto ca = all_cas[seed % std::size(all_cas)];
    const auto old = m.facts.cas[at(ca)].issuing->fingerprint;
    m.cluster.metadata.annotations.set(api::annotation::rotate_ca, secret_suffix(ca));
    Chance chance(seed * 2654435761u);
    INFO("seed " << seed);
    for (int i = 0; i < 150; ++i) {
      m.pass(chance(3) == 0 ? 1000 : chance(4));
      m.tick();
      // Who signs is trusted, and whoever has a leaf of the old one meets nobody who has forgotten it.
      const auto& state_of_ca = m.facts.cas[at(ca)];
      REQUIRE(std::any_of(state_of_ca.trusted.begin(), state_of_ca.trusted.end(),
                          [&](const auto& c) { return c.fingerprint == state_of_ca.issuing->fingerprint; }));
      for (const auto& [name, leaf] : m.facts.leaves)
        if (leaf.certificate && m.issuers.at(name) == ca)
          REQUIRE(std::any_of(state_of_ca.trusted.begin(), state_of_ca.trusted.end(),
                              [&](const auto& c) { return c.key_id == leaf.certificate->issuer_key_id; }));
    }
    m.settle(60);
    CHECK(m.facts.cas[at(ca)].issuing->fingerprint != old);
    CHECK(m.facts.cas[at(ca)].trusted.size() == 1);
    CHECK(m.is("Ready", ConditionStatus::true_));
    CHECK(m.idle());
  }
}

TEST_CASE("killed after any number of actions of its deletion: nothing is left but what the policy keeps", "[hosted][plan]") {
  for (unsigned seed = 1; seed <= 15; ++seed) {
    auto m = running();
    const bool keep = seed % 2 == 0;
    if (!keep) m.cluster.spec.control_plane.etcd->storage.deletion_policy = api::DeletionPolicy::delete_;
    m.cluster.metadata.deletion_timestamp = m.now;
    Chance chance(seed * 2654435761u);
    INFO("seed " << seed);
    for (int i = 0; i < 200 && !m.gone; ++i) {
      m.pass(chance(4));
      // CAs go last: until then what is left can be reached and read.
      if (!m.facts.workloads.empty()) REQUIRE(m.facts.secrets.size() >= 4);
      m.tick();
    }
    CHECK(m.gone);
    CHECK(m.facts.workloads.empty());
    CHECK(m.facts.jobs.empty());
    CHECK(m.facts.children.size() == (keep ? 1u : 0u));
    CHECK(m.facts.secrets.size() == (keep ? 4u : 0u));
  }
}
