// The children of a Hosted cluster against a real API server: it takes every one of them, without a warning, and what it makes of them
// still is what was wanted. If it weren't, the loop would write the same objects for ever.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "controllers/cluster/child_jobs.hpp"
#include "controllers/cluster/children.hpp"
#include "controllers/cluster/covers.hpp"
#include "controllers/cluster/hosted_facts.hpp"
#include "e2e/conformance/cluster.hpp"

using namespace endstate::cluster;
using namespace std::chrono_literals;
using endstate::conformance::administrator, endstate::conformance::ask;
using nlohmann::json;
using reconcile::Verb;

namespace {

constexpr reconcile::Resource namespaces{"", "v1", "namespaces", "Namespace", false};

Site site(const std::string& name_space, std::int64_t replicas) {
  Site s;
  s.name = std::string(max_hosted_name, 'h');  // the longest
  s.name_space = name_space;
  s.uid = "11111111-2222-3333-4444-555555555555";
  s.replicas = s.members = replicas;
  s.pod_range = "10.128.0.0/14";
  s.service_address = "10.96.200.1";
  for (std::int64_t i = 0; i < replicas; ++i) s.member_addresses.push_back("10.96.201." + std::to_string(i));
  return s;
}

PartVersion version() {
  PartVersion v{.package = "v1.34.4-r1", .component = {}, .trust = "t1"};
  v.component.image = "registry.example.com/x:1";
  v.component.args = {"--v=2"};
  v.component.resources.requests = {{"cpu", "1000m"}, {"memory", "1024Mi"}};  // not as the API server would write them
  v.component.resources.limits = {{"memory", "2Gi"}};
  return v;
}

}  // namespace

TEST_CASE("a real API server takes every child of a hosted cluster under the strictest pod security, and none of them drifts by itself",
          "[hosted]") {
  reconcile::CurlEnv env{{.user_agent = "endstate-test"}, administrator()};
  const auto name_space = "hosted-" + std::to_string(env.random() % 1'000'000'000);
  const json space{{"metadata", {{"name", name_space}, {"labels", {{"pod-security.kubernetes.io/enforce", "restricted"}}}}}};
  REQUIRE(ask(env, {.verb = Verb::create, .resource = &namespaces, .body = space.dump()}));
  for (const std::int64_t replicas : {1, 3, 5}) {
    const auto s = site(name_space, replicas);
    auto all = services(s);
    for (auto& c : guards(s)) all.push_back(std::move(c));
    for (const auto part : all_parts) all.push_back(workload(s, part, version()));
    const JobSketch job{.name = s.child("etcd-defragment-4"),
                        .operation = "replace x",
                        .annotations = {},
                        .image = "registry.example.com/etcd:3.6.4",
                        .first = {{"remove", etcdctl(s, {0}, {"member", "remove", "a1"})}},
                        .then = {{"list", etcdctl(s, {0}, {"member", "list"})}},
                        .volume = true};
    all.push_back(etcd_job(s, job));
    all.push_back(snapshot_claim(s));
    for (const auto& c : all) {
      INFO(c.kind->resource->kind << " " << c.name);
      const auto query = "fieldManager=endstate-cluster&fieldValidation=Strict&dryRun=All";
      const auto answer =
          ask(env, {.verb = Verb::create, .resource = c.kind->resource, .name_space = name_space, .query = query, .body = c.body});
      INFO((answer ? std::string() : answer.error().message));
      REQUIRE(answer);
      CHECK(covers((*answer)["spec"].dump(), c.spec));
    }
    // Pods themselves, which a workload's admission doesn't judge.
    for (const auto& c : all) {
      const auto spec = json::parse(c.spec);
      if (!spec.contains("template")) continue;
      auto pod = spec["template"];
      pod["metadata"]["name"] = "p";
      // The volume of a StatefulSet's claim is added by its controller.
      if (c.name == s.child("etcd")) pod["spec"]["volumes"].push_back({{"name", "data"}, {"emptyDir", json::object()}});
      constexpr reconcile::Resource pods{"", "v1", "pods", "Pod"};
      // The default ServiceAccount is made by a controller a moment after its namespace.
      reconcile::Result<json> answer = reconcile::fail(reconcile::Code::unavailable, "not asked");
      for (int i = 0; i < 100 && !answer; ++i)
        answer = ask(env, {.verb = Verb::create,
                           .resource = &pods,
                           .name_space = name_space,
                           .query = "fieldValidation=Strict&dryRun=All",
                           .body = pod.dump()});
      INFO(c.name << ": " << (answer ? std::string() : answer.error().message));
      CHECK(answer);
    }
  }
  CHECK(ask(env, {.verb = Verb::remove, .resource = &namespaces, .name = name_space}));
}
