#include "src/kubectl/rights.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "reconcile/json/yaml.hpp"

using namespace endstate;
using namespace endstate::kubectl;
using nlohmann::json;

TEST_CASE("a right is asked for as the API server names it", "[kubectl][rights]") {
  const Right eviction{.group = "", .resource = "pods/eviction", .verbs = {"create"}};
  const auto asked = json::parse(review(eviction, "create"))["spec"]["resourceAttributes"];
  CHECK(asked["resource"] == "pods");
  CHECK(asked["subresource"] == "eviction");
  CHECK(asked["verb"] == "create");
  CHECK_FALSE(asked.contains("namespace"));
  const Right lease{.group = "coordination.k8s.io", .resource = "leases", .verbs = {"get"}, .name_space = "endstate-system"};
  CHECK(json::parse(review(lease, "get"))["spec"]["resourceAttributes"]["namespace"] == "endstate-system");
}

TEST_CASE("what can't be read is no right", "[kubectl][rights]") {
  CHECK(allowed(R"({"status":{"allowed":true}})"));
  CHECK_FALSE(allowed(R"({"status":{"allowed":false}})"));
  CHECK_FALSE(allowed(R"({"status":{}})"));
  CHECK_FALSE(allowed("nonsense"));
}

TEST_CASE("what is missing comes as YAML that grants just that", "[kubectl][rights]") {
  const auto yaml = grant_yaml({{.group = "storage.k8s.io", .resource = "volumeattachments", .verbs = {"list"}, .without = "x"}});
  const auto object = json::parse(reconcile::yaml_to_json(yaml).value());
  CHECK(object["kind"] == "ClusterRole");
  CHECK(object["rules"] == json::parse(R"([{"apiGroups":["storage.k8s.io"],"resources":["volumeattachments"],"verbs":["list"]}])"));
  CHECK(grant_yaml(business_rights()).find("kind: Role\n") != std::string::npos);
  CHECK(grant_yaml({}).empty());
}
