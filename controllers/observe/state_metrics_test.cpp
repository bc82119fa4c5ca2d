#include "controllers/observe/state_metrics.hpp"

#include <catch2/catch.hpp>
#include <map>

using namespace endstate;
using namespace endstate::observe;
using namespace std::chrono_literals;
namespace api = v1alpha1;

namespace {

const reconcile::WallTime t0{1'700'000'000s};

template <class T>
T named(const std::string& name) {
  T out;
  out.metadata.name_space = "prod";
  out.metadata.name = name;
  return out;
}
template <class T>
reconcile::Ref<T> ref(T object) {
  return std::make_shared<const T>(std::move(object));
}
void condition(std::vector<api::Condition>& to, std::string_view type, api::ConditionStatus status, std::string_view reason) {
  reconcile::set_condition(to, {.type = type, .status = status, .reason = reason, .message = {}}, t0);
}
constexpr auto yes = api::ConditionStatus::true_, no = api::ConditionStatus::false_;

api::Machine machine(const std::string& name, api::MachinePhase phase, bool available, std::string_view cluster = "hz") {
  auto m = named<api::Machine>(name);
  m.spec.cluster_name = cluster;
  m.status.phase = phase;
  m.status.node_ref = api::UidRef{};
  condition(m.status.conditions, "Ready", available ? yes : no, available ? "Ready" : "NotReady");
  return m;
}

// "name{values,...}" -> value
std::map<std::string, double> flat(const Records& records) {
  std::map<std::string, double> out;
  for (const auto& f : state_metrics(records))
    for (const auto& s : f.series) {
      REQUIRE(s.values.size() == f.labels.size());
      std::string key(f.name);
      for (std::size_t i = 0; i < s.values.size(); ++i) key += (i == 0 ? "{" : ",") + s.values[i];
      REQUIRE(out.emplace(key + "}", s.value).second);  // no series twice
    }
  return out;
}

}  // namespace

TEST_CASE("machines are counted by cluster, phase and operation", "[observe]") {
  Records in;
  auto busy = machine("b", api::MachinePhase::updating, false);
  busy.status.operation = api::Operation{.type = api::OperationType::update, .deadline = t0 + 600s};
  auto later = machine("c", api::MachinePhase::updating, true);
  later.status.operation = api::Operation{.type = api::OperationType::update, .deadline = t0 + 900s};
  later.status.blocked_by = api::BlockedBy{.kind = "Pod", .reason = "DrainBlocked"};
  auto young = named<api::Machine>("d");  // never in service: it can't be unavailable
  young.spec.cluster_name = "hz";
  condition(young.status.conditions, "HostClaimed", no, "NoFreeHost");
  condition(young.status.conditions, "Stalled", yes, "PackageNotFound");
  in.machines = {ref(machine("a", api::MachinePhase::running, true)), ref(busy), ref(later), ref(young),
                 ref(machine("e", api::MachinePhase::running, true, "gz"))};
  in.clusters = {ref(named<api::Cluster>("hz")), ref(named<api::Cluster>("empty"))};
  auto got = flat(in);
  CHECK(got["machines{prod,hz,Running}"] == 1);
  CHECK(got["machines{prod,hz,Updating}"] == 2);
  CHECK(got["machines{prod,hz,Pending}"] == 1);
  CHECK(got["machines{prod,gz,Running}"] == 1);
  CHECK(got.at("machines{prod,empty,Failed}") == 0);  // a cluster without machines shows zeros
  CHECK(got["machines_unavailable{prod,hz}"] == 1);
  CHECK(got.at("machines_unavailable{prod,gz}") == 0);
  CHECK(got["machines_operation{prod,hz,Update}"] == 2);
  CHECK(got.at("machines_operation{prod,hz,Delete}") == 0);
  CHECK(got["machines_operation_deadline_timestamp_seconds{prod,hz}"] == 1'700'000'600);
  CHECK(got.count("machines_operation_deadline_timestamp_seconds{prod,gz}") == 0);
  CHECK(got["machines_blocked{prod,hz,DrainBlocked}"] == 1);
  CHECK(got["machines_stalled{prod,hz,PackageNotFound}"] == 1);
  CHECK(got["machines_without_host{prod,hz}"] == 1);
}

TEST_CASE("packages are counted by what is there", "[observe]") {
  Records in;
  auto m = machine("a", api::MachinePhase::running, true);
  m.status.packages = {{.name = "kubelet", .actual = api::PackageIdentity{.name = "kubelet-1.34.3"}, .state = api::PackageState::ready},
                       {.name = "runtime", .state = api::PackageState::applying}};
  in.machines = {ref(m), ref(m)};
  auto got = flat(in);
  CHECK(got["machines_packages{prod,hz,kubelet,kubelet-1.34.3,Ready}"] == 2);
  CHECK(got["machines_packages{prod,hz,runtime,none,Applying}"] == 2);
}

TEST_CASE("a set shows its replicas and its rollout", "[observe]") {
  auto set = named<api::MachineSet>("workers");
  set.spec.cluster_name = "hz";
  set.spec.replicas = 40;
  set.spec.rollout.max_unavailable = api::IntOrPercent{10, true};
  auto& st = set.status;
  st.replicas = 40, st.ready_replicas = 38, st.available_replicas = 37, st.up_to_date_replicas = 10;
  st.update_revision = "r2";
  st.rollout = api::RolloutStatus{.revision = "r2",
                                  .phase = api::RolloutPhase::paused,
                                  .step = "canary",
                                  .start_time = t0,
                                  .last_progress_time = t0 + 60s,
                                  .target = 12,
                                  .updated = 10,
                                  .failed = 1};
  condition(st.conditions, "RollingOut", yes, "WaitingForPromotion");
  SECTION("it waits for a person: the condition says so") {
    auto got = flat({.sets = {ref(set)}});
    CHECK(got["machinesets_replicas{prod,hz,workers,desired}"] == 40);
    CHECK(got["machinesets_replicas{prod,hz,workers,ready}"] == 38);
    CHECK(got["machinesets_replicas{prod,hz,workers,available}"] == 37);
    CHECK(got["machinesets_replicas{prod,hz,workers,updated}"] == 10);
    CHECK(got["machinesets_max_unavailable{prod,hz,workers}"] == 4);
    CHECK(got["rollout_phase{prod,hz,workers,Paused}"] == 1);
    CHECK(got.count("rollout_phase{prod,hz,workers,Progressing}") == 0);
    CHECK(got["rollout_step_info{prod,hz,workers,r2,canary}"] == 1);
    CHECK(got["rollout_machines{prod,hz,workers,target}"] == 12);
    CHECK(got["rollout_machines{prod,hz,workers,failed}"] == 1);
    CHECK(got["rollout_progress_ratio{prod,hz,workers}"] == 0.25);
    CHECK(got["rollout_blocked{prod,hz,workers,WaitingForPromotion}"] == 1);
    CHECK(got["rollout_start_timestamp_seconds{prod,hz,workers}"] == 1'700'000'000);
    CHECK(got["rollout_last_progress_timestamp_seconds{prod,hz,workers}"] == 1'700'000'060);
    CHECK(got.count("rollout_rejected{prod,hz,workers,TooManyFailures}") == 0);
  }
  SECTION("what blocks it goes before the condition") {
    st.rollout->blocked_by = api::BlockedBy{.kind = "ChangeBudget", .name = "b", .reason = "WindowFull"};
    auto got = flat({.sets = {ref(set)}});
    CHECK(got["rollout_blocked{prod,hz,workers,WindowFull}"] == 1);
    CHECK(got.count("rollout_blocked{prod,hz,workers,WaitingForPromotion}") == 0);
  }
  SECTION("a rejected revision is told while the template asks for it") {
    st.rejected_revisions = {{.revision = "r1", .reason = "MachineFailed"}, {.revision = "r2", .reason = "TooManyFailures"}};
    auto got = flat({.sets = {ref(set)}});
    CHECK(got["rollout_rejected{prod,hz,workers,TooManyFailures}"] == 1);
    CHECK(got.count("rollout_rejected{prod,hz,workers,MachineFailed}") == 0);
  }
  SECTION("checks and probes by how they stand") {
    st.rollout->analysis = api::AnalysisStatus{
        .step = "canary",
        .checks = {{.name = "a", .result = api::CheckResult::passed}, {.name = "b", .result = api::CheckResult::inconclusive}},
        .probes = {{.name = "c", .result = api::ProbeResult::passed}}};
    auto got = flat({.sets = {ref(set)}});
    CHECK(got["rollout_analysis_checks{prod,hz,workers,Passed}"] == 2);
    CHECK(got["rollout_analysis_checks{prod,hz,workers,Inconclusive}"] == 1);
  }
  SECTION("a complete rollout waits for nothing") {
    st.rollout->phase = api::RolloutPhase::complete;
    CHECK(flat({.sets = {ref(set)}}).count("rollout_blocked{prod,hz,workers,WaitingForPromotion}") == 0);
  }
  SECTION("a set of no machines is done") {
    set.spec.replicas = 0;
    CHECK(flat({.sets = {ref(set)}})["rollout_progress_ratio{prod,hz,workers}"] == 1);
  }
}

TEST_CASE("hosts are claimed, in maintenance or free", "[observe]") {
  auto free = named<api::Host>("a"), claimed = named<api::Host>("b"), worked_on = named<api::Host>("c"), fresh = named<api::Host>("d");
  free.status.phase = claimed.status.phase = api::HostPhase::ready;
  claimed.spec.consumer_ref = api::ConsumerRef{};
  worked_on.spec.maintenance = api::Maintenance{};
  worked_on.status.phase = api::HostPhase::maintenance;
  auto got = flat({.hosts = {ref(free), ref(claimed), ref(worked_on), ref(fresh)}});
  CHECK(got["hosts{prod,Ready,free}"] == 1);
  CHECK(got["hosts{prod,Ready,claimed}"] == 1);
  CHECK(got["hosts{prod,Maintenance,maintenance}"] == 1);
  CHECK(got["hosts{prod,Registered,free}"] == 1);
  got = flat({.hosts = {ref(claimed)}});
  CHECK(got.at("hosts{prod,Ready,free}") == 0);  // exhausted is 0, not absent
}

TEST_CASE("conditions of clusters, and whatever is stalled", "[observe]") {
  auto cluster = named<api::Cluster>("hz");
  condition(cluster.status.conditions, "Connected", no, "ConnectionLost");
  condition(cluster.status.conditions, "Stalled", yes, "SecretNotFound");
  auto set = named<api::MachineSet>("workers");
  condition(set.status.conditions, "Stalled", no, "NotStalled");
  auto source = named<api::MetricSource>("prometheus");
  condition(source.status.conditions, "Stalled", yes, "NotReachable");
  auto good = named<api::MetricSource>("other");
  condition(good.status.conditions, "Reachable", yes, "Reachable");
  auto got = flat({.clusters = {ref(cluster)}, .sets = {ref(set)}, .sources = {ref(source), ref(good)}});
  CHECK(got.at("metric_source_reachable{prod,prometheus}") == 0);
  CHECK(got["metric_source_reachable{prod,other}"] == 1);
  CHECK(got["object_stalled{MetricSource,prod,prometheus,NotReachable}"] == 1);
  CHECK(got["cluster_condition{prod,hz,Connected,False,ConnectionLost}"] == 1);
  CHECK(got["object_stalled{Cluster,prod,hz,SecretNotFound}"] == 1);
  CHECK(got.count("object_stalled{MachineSet,prod,workers,NotStalled}") == 0);
}

TEST_CASE("ten thousand machines are counted in milliseconds", "[observe]") {
  Records in;
  for (int i = 0; i < 10'000; ++i) {
    auto m = machine("m" + std::to_string(i), api::MachinePhase::running, true);
    for (const auto* slot : {"containerd", "kubelet", "node-exporter", "config"})
      m.status.packages.push_back({.name = slot, .actual = api::PackageIdentity{.name = slot}, .state = api::PackageState::ready});
    in.machines.push_back(ref(std::move(m)));
  }
  const auto began = std::clock();
  CHECK(flat(in)["machines{prod,hz,Running}"] == 10'000);
  CHECK(static_cast<double>(std::clock() - began) / CLOCKS_PER_SEC < 0.5);  // some 10 ms; under sanitizers much more
}

TEST_CASE("when certificates of a hosted control plane end, and of when its newest snapshot is", "[observe][hosted]") {
  auto c = named<api::Cluster>("hz");
  c.status.control_plane.certificates = {{.name = "apiserver", .not_after = t0 + 24h, .fingerprints = {}},
                                         {.name = "sa", .not_after = {}, .fingerprints = {"k"}}};
  Records records;
  records.clusters = {ref(c)};
  auto found = flat(records);
  CHECK(found.at("certificate_expiry_timestamp_seconds{prod,hz,apiserver}") == 1'700'086'400);
  CHECK_FALSE(found.contains("certificate_expiry_timestamp_seconds{prod,hz,sa}"));  // signing keys don't end
  CHECK_FALSE(found.contains("etcd_snapshot_timestamp_seconds{prod,hz}"));
  api::EtcdStatus etcd;
  for (const auto age : {2h, 1h, 3h}) {
    api::EtcdSnapshot snapshot;
    snapshot.time = t0 - age;
    etcd.snapshots.push_back(snapshot);
  }
  c.status.control_plane.etcd = etcd;
  condition(c.status.conditions, "EtcdBackedUp", no, "SnapshotFailed");
  records.clusters = {ref(c)};
  found = flat(records);
  CHECK(found.at("etcd_snapshot_timestamp_seconds{prod,hz}") == 1'699'996'400);
  CHECK(found.at("cluster_condition{prod,hz,EtcdBackedUp,False,SnapshotFailed}") == 1);
}
