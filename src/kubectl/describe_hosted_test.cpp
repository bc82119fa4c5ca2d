#include "src/kubectl/describe_hosted.hpp"

#include <catch2/catch.hpp>

#include "apis/v1alpha1/names.hpp"

using namespace endstate::kubectl;
using reconcile::WallTime;
using std::chrono::hours, std::chrono::seconds;
namespace api = endstate::v1alpha1;

namespace {

const WallTime now{seconds(1'790'000'000)};

reconcile::Workload workload(std::string_view component, std::int64_t ready, std::string_view image) {
  reconcile::Workload w;
  w.metadata.labels.set(api::label::component, component);
  w.metadata.annotations.set(api::annotation::package_version, "v1.33.1-r1");
  w.spec.raw = R"({"replicas":3,"template":{"spec":{"containers":[{"image":")" + std::string(image) + "\"}]}}}";
  w.status.ready_replicas = ready;
  w.status.updated_replicas = 2;
  return w;
}
api::Cluster cluster() {
  api::Cluster c;
  c.metadata.name = "hz-a";
  c.metadata.name_space = "prod";
  c.spec.control_plane.type = api::ControlPlaneType::hosted;
  auto& plane = c.status.control_plane;
  plane.package_version = "v1.33.1-r1";
  plane.rejected_package_version = "v1.34.3-r1";
  plane.replicas = 3;
  plane.ready_replicas = 2;
  plane.endpoint = api::Endpoint{.host = "10.96.0.9", .port = 6443};
  plane.upgrade_plan = {
      {.component = "etcd", .from = "v1.33.1-r1", .to = "v1.34.4-r1", .state = api::PlanStepState::done, .start_time = now - seconds(90)},
      {.component = "kubeAPIServer",
       .from = "v1.33.1-r1",
       .to = "v1.34.4-r1",
       .state = api::PlanStepState::running,
       .start_time = now - seconds(30)}};
  plane.certificates = {{.name = "ca", .not_after = now + hours(24 * 3000), .fingerprints = {"a", "b"}},
                        {.name = "apiserver", .not_after = now + hours(24 * 100), .fingerprints = {}},
                        {.name = "sa", .not_after = {}, .fingerprints = {"c"}},
                        {.name = "scheduler", .not_after = now - hours(1), .fingerprints = {}}};
  api::EtcdStatus etcd;
  etcd.members = {
      {.name = "hz-a-etcd-0", .version = "3.6.4", .leader = true, .database_bytes = 20 << 20, .database_bytes_in_use = 5 << 20}};
  etcd.members_time = now - seconds(40);
  etcd.snapshots = {{.name = "snapshot-1",
                     .time = now - hours(1),
                     .package_version = "v1.33.1-r1",
                     .before = "v1.34.4-r1",
                     .hash = {},
                     .revision = 7,
                     .bytes = 3 << 20}};
  plane.etcd = etcd;
  plane.repairs = {{.component = "kubeAPIServer", .count = 2, .time = now - seconds(60)}};
  c.status.addons = {{.name = "endstate", .state = api::AddonState::applied, .hash = "h", .message = {}, .objects = {{}, {}}},
                     {.name = "dns", .state = api::AddonState::failed, .hash = {}, .message = "document 2: no kind", .objects = {}}};
  c.status.history = {
      {.package_version = "v1.34.3-r1",
       .from = "v1.33.1-r1",
       .field_manager = {},
       .start_time = now - hours(2),
       .end_time = now - hours(1),
       .result = api::ReleaseResult::rolled_back,
       .message = "kubeAPIServer failed"},
      {.package_version = "v1.34.4-r1", .from = "v1.33.1-r1", .field_manager = {}, .start_time = now - seconds(90), .message = {}}};
  return c;
}
bool has(const std::string& text, std::string_view what) {
  INFO(text << "\n--- misses: " << what);
  CHECK(text.find(what) != std::string::npos);
  return text.find(what) != std::string::npos;
}

}  // namespace

TEST_CASE("a hosted cluster's tree: components, the release, certificates, add-ons, history", "[describe]") {
  Tree root{"Cluster"};
  const std::vector<reconcile::Workload> workloads{workload("etcd", 3, "r/etcd:3.6.4"),
                                                   workload("apiserver", 2, "r/kube-apiserver:v1.34.4")};
  tell_control_plane(cluster(), &workloads, now, root);
  const auto text = draw(root);
  has(text, "control plane v1.33.1-r1: 2 of 3 API servers ready, at 10.96.0.9:6443");
  has(text, "v1.34.3-r1 was rejected");
  has(text, "apiserver: 2 of 3 ready, 2 up to date, of v1.33.1-r1, r/kube-apiserver:v1.34.4");
  has(text, "scheduler: not there yet");
  has(text, "etcd: 1 member answered 40s ago");
  has(text, "hz-a-etcd-0 (leader): 3.6.4, database 20 MiB, 5 MiB of it in use");
  has(text, "snapshot snapshot-1, 3 MiB, 1h ago, before the release of v1.34.4-r1");
  has(text, "kubeAPIServer: replicas were made anew 2 times, last 1m ago");
  has(text, "release from v1.33.1-r1 to v1.34.4-r1");
  has(text, "> kubeAPIServer to v1.34.4-r1: Running, began 30s ago");
  has(text, "certificates: 3, ");
  has(text, "scheduler: ended 1h ago");
  has(text, "a CA that is being replaced");
  has(text, "endstate: Applied, 2 objects");
  has(text, "dns: Failed, 0 objects: document 2: no kind");
  has(text, "v1.34.4-r1 under way, began 1m30s ago");
  has(text, "v1.34.3-r1 RolledBack, began 2h ago, took 1h: kubeAPIServer failed");
  CHECK(text.find("v1.34.4-r1 under way") < text.find("v1.34.3-r1 RolledBack"));
}

TEST_CASE("without rights to its workloads the tree says so; an External cluster has no such branches", "[describe]") {
  Tree root{"Cluster"};
  tell_control_plane(cluster(), nullptr, now, root);
  has(draw(root), "can't be read with your rights");
  Tree none{"Cluster"};
  auto external = cluster();
  external.spec.control_plane.type = api::ControlPlaneType::external;
  tell_control_plane(external, nullptr, now, none);
  CHECK(none.below.empty());
}
