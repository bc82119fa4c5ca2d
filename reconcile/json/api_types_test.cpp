// What must hold of every described API type, checked over all of them. It stands here, not in apis/, because apis/'s own tests link
// nothing that reads JSON.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "apis/v1alpha1/cluster.hpp"
#include "apis/v1alpha1/machine_set.hpp"
#include "apis/v1alpha1/policy.hpp"
#include "reconcile/json/decode.hpp"
#include "reconcile/json/encode.hpp"
#include "reconcile/json/schema.hpp"
#include "reconcile/kube/core.hpp"

using namespace reconcile;
using namespace endstate::v1alpha1;
using json = nlohmann::json;

namespace {

constexpr ApiKind kinds[] = {
    api_kind<Cluster>(),        api_kind<ClusterPackageVersion>(),
    api_kind<MachineSet>(),     api_kind<MachinePackageVersion>(),
    api_kind<Machine>(),        api_kind<Host>(),
    api_kind<HostAssignment>(), api_kind<ChangeBudget>(),
    api_kind<GuardLedger>(),    api_kind<MetricSource>(),
    api_kind<RepairPolicy>(),   api_kind<Repair>(),
};

// Gives every field a value that differs from its default and from its neighbours'.
void fill(const Type& type, void* out, int& n) {
  using K = Type::Kind;
  ++n;
  switch (type.kind) {
    case K::boolean: *static_cast<bool*>(out) = true; break;
    case K::integer: *static_cast<std::int64_t*>(out) = n; break;
    case K::seconds: *static_cast<std::chrono::seconds*>(out) = std::chrono::seconds(n); break;
    case K::string: *static_cast<std::string*>(out) = "s\"" + std::to_string(n); break;
    case K::text: *static_cast<Text*>(out) = "t\\é" + std::to_string(n); break;
    case K::names: *static_cast<std::uint8_t*>(out) = static_cast<std::uint8_t>(type.names.size() - 1); break;
    case K::time: *static_cast<WallTime*>(out) = WallTime(std::chrono::seconds(1'700'000'000 + n)); break;
    case K::micro_time: static_cast<MicroTime*>(out)->time = WallTime(std::chrono::microseconds(1'700'000'000'000'000 + n)); break;
    case K::int_or_percent: *static_cast<IntOrPercent*>(out) = {n % 100, n % 2 == 0}; break;
    case K::labels: *static_cast<Labels*>(out) = {{"k/" + std::to_string(n), "v"}, {"empty", ""}}; break;
    case K::json: static_cast<Json*>(out)->raw = R"({"name":")" + std::to_string(n) + "\"}"; break;
    case K::list:
      fill(*type.item, type.grow(out), n);
      fill(*type.item, type.grow(out), n);
      break;
    case K::optional: fill(*type.item, type.grow(out), n); break;
    case K::object:
      for (const Field& f : type.fields) fill(*f.type, f.at(out), n);
      break;
  }
}

template <class T>
void round_trip() {
  int n = 0;
  T value, empty;
  fill(type_of<T>, &value, n);
  const std::string text = encode(value);
  INFO(text);
  REQUIRE(json::accept(text));
  Pool pool;
  const auto back = decode<T>(text, pool);
  if (!back) FAIL(back.error().message);
  CHECK(*back == value);
  CHECK(encode(*back) == text);
  CHECK(decode<T>(encode(empty), pool).value() == empty);
  CHECK_FALSE(value == empty);
}

// Calls visit(path, schema) for every property and item below.
template <class F>
void walk(const std::string& path, const json& schema, const F& visit) {
  visit(path, schema);
  if (schema.contains("properties"))
    for (const auto& [name, property] : schema["properties"].items()) walk(std::string(path).append(".").append(name), property, visit);
  if (schema.contains("items")) walk(path + "[]", schema["items"], visit);
}
template <class F>
void walk_all(const F& visit) {
  for (const ApiKind& kind : kinds) {
    const auto crd = json::parse(custom_resource_definition(kind));
    walk(std::string(kind.resource->kind), crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], visit);
  }
}

}  // namespace

TEMPLATE_TEST_CASE("every API type filled with values reads back what it wrote", "[apis]", Cluster, ClusterPackageVersion, MachineSet,
                   MachinePackageVersion, Machine, Host, HostAssignment, ChangeBudget, GuardLedger, MetricSource, RepairPolicy, Repair,
                   Node, Pod, PodList, reconcile::Lease, ConfigMap, ControllerRevision) {
  round_trip<TestType>();
}

TEST_CASE("the spec that an assignment passes on is the package's own", "[apis]") {
  MachinePackageVersion package;
  int n = 0;
  fill(type_of<MachinePackageVersion>, &package, n);
  HostAssignment assignment;
  auto& resolved = assignment.spec.packages.emplace_back();
  resolved.name = "kubelet";
  resolved.spec.raw = encode(package.spec);
  Pool pool;
  const auto seen = decode<HostAssignment>(encode(assignment), pool).value();
  CHECK(decode<MachinePackageVersionSpec>(seen.spec.packages[0].spec.raw, pool).value() == package.spec);
}

TEST_CASE("every field has a description that is a sentence", "[apis]") {
  walk_all([](const std::string& path, const json& schema) {
    if (path.ends_with(".metadata") && !schema.contains("properties")) return;
    if (path.ends_with("[]") && schema["type"] != "object") return;  // an item of a list of scalars: the list says what it is
    INFO(path);
    REQUIRE(schema.contains("description"));
    const auto text = schema["description"].get<std::string>();
    CHECK(text.size() > 3);
    CHECK((text.back() == '.' || text.back() == ')'));
  });
}

TEST_CASE("every list, map and string is bounded", "[apis]") {
  walk_all([](const std::string& path, const json& schema) {
    if (path.ends_with(".apiVersion") || path.ends_with(".kind") || path.ends_with(".metadata")) return;
    INFO(path);
    if (schema.contains("x-kubernetes-int-or-string")) {
      CHECK(schema.contains("minimum"));
      CHECK(schema.contains("maximum"));
      CHECK(schema.contains("maxLength"));
      CHECK(schema.contains("pattern"));
      return;
    }
    const auto type = schema["type"].get<std::string>();
    if (type == "array") {
      CHECK(schema.contains("maxItems"));
      CHECK(schema.contains("x-kubernetes-list-type"));
    } else if (type == "string") {
      CHECK((schema.contains("maxLength") || schema.contains("enum") || schema.contains("format")));
    } else if (schema.contains("additionalProperties")) {
      CHECK(schema.contains("maxProperties"));
      CHECK(schema["additionalProperties"].contains("maxLength"));
    } else if (schema.contains("x-kubernetes-preserve-unknown-fields")) {
      CHECK(schema.contains("maxProperties"));
    } else if (type == "integer") {
      CHECK(schema.contains("minimum"));
    }
  });
}

// A default also applies on reads: one below a template would change every revision at an upgrade of endstate, and with it roll the fleets.
TEST_CASE("no schema has a default", "[apis]") {
  walk_all([](const std::string& path, const json& schema) {
    INFO(path);
    CHECK_FALSE(schema.contains("default"));
  });
}

TEST_CASE("names follow the API conventions", "[apis]") {
  walk_all([](const std::string& path, const json& schema) {
    if (!schema.contains("properties")) return;
    for (const auto& [name, property] : schema["properties"].items()) {
      INFO(path << "." << name);
      CHECK((name[0] >= 'a' && name[0] <= 'z'));
      CHECK(name.find_first_of("_-") == std::string::npos);
    }
    if (!schema.contains("required")) return;
    for (const auto& name : schema["required"]) {
      INFO(path << " requires " << name.get<std::string>());
      CHECK(schema["properties"].contains(name.get<std::string>()));
    }
  });
}

TEST_CASE("the key of a map list is a required string of its items", "[apis]") {
  walk_all([](const std::string& path, const json& schema) {
    if (schema.value("x-kubernetes-list-type", "") != "map") return;
    INFO(path);
    const auto key = schema["x-kubernetes-list-map-keys"][0].get<std::string>();
    REQUIRE(schema["items"]["properties"].contains(key));
    CHECK(schema["items"]["properties"][key]["type"] == "string");
    const auto& required = schema["items"]["required"];
    CHECK(std::find(required.begin(), required.end(), key) != required.end());
  });
}

TEST_CASE("every kind can be looked at: names, columns, status, conditions", "[apis]") {
  std::set<std::string> short_names;
  for (const ApiKind& kind : kinds) {
    INFO(kind.resource->kind);
    const auto crd = json::parse(custom_resource_definition(kind));
    const auto& names = crd["spec"]["names"];
    CHECK(short_names.insert(names["shortNames"][0]).second);
    CHECK(names["categories"] == json{"endstate"});
    const auto& version = crd["spec"]["versions"][0];
    CHECK(version["subresources"].contains("status"));
    const auto& columns = version["additionalPrinterColumns"];
    CHECK(columns.size() >= 4);
    CHECK(std::any_of(columns.begin(), columns.end(), [](const json& c) { return c["name"] == "Age"; }));
    CHECK(std::any_of(columns.begin(), columns.end(), [](const json& c) { return c.value("priority", 0) == 1; }));
    const auto& status = version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"];
    if (kind.resource->kind != "GuardLedger") {
      CHECK(status.contains("conditions"));
      CHECK(status.contains("observedGeneration"));
      CHECK(status["conditions"]["x-kubernetes-list-map-keys"] == json{"type"});
    }
  }
  CHECK(short_names == std::set<std::string>{"ecl", "ema", "ems", "eha", "ecpv", "empv", "eho", "ecb", "egl", "emt", "erp", "ere"});
}

// The paths of columns and of the scale subresource are strings: nothing else would notice a field that was renamed.
TEST_CASE("columns and scale point at fields that are there", "[apis]") {
  for (const ApiKind& kind : kinds) {
    const auto crd = json::parse(custom_resource_definition(kind));
    const auto& version = crd["spec"]["versions"][0];
    const auto& root = version["schema"]["openAPIV3Schema"];
    // ".status.conditions[?(@.type==\"Ready\")].status" -> status, conditions[], status
    const auto resolves = [&root](const std::string& path) {
      std::string bare = path.substr(1);
      for (auto open = bare.find('['); open != std::string::npos; open = bare.find('[', open + 2))
        bare.replace(open, bare.find(']', open) - open + 1, "[]");
      std::istringstream steps(bare);
      const json* at = &root;
      for (std::string step; std::getline(steps, step, '.');) {
        const bool list = step.ends_with("[]");
        if (list) step.resize(step.size() - 2);
        if (!at->contains("properties") || !(*at)["properties"].contains(step)) return false;
        at = list ? &(*at)["properties"][step]["items"] : &(*at)["properties"][step];
      }
      return true;
    };
    for (const auto& column : version["additionalPrinterColumns"]) {
      const auto path = column["jsonPath"].get<std::string>();
      INFO(kind.resource->kind << " " << path);
      if (!path.starts_with(".metadata")) CHECK(resolves(path));
    }
    if (version["subresources"].contains("scale"))
      for (const auto& [name, path] : version["subresources"]["scale"].items()) CHECK(resolves(path.get<std::string>()));
    CHECK_FALSE(resolves(".status.noSuchField"));
  }
}

TEST_CASE("budget operations are spelled as the guard's permits spell them", "[apis]") {
  CHECK(name_of(BudgetOperation::machine_update) == operation::machine_update);
  CHECK(name_of(BudgetOperation::close_scheduling) == operation::close_scheduling);
  CHECK(name_of(BudgetOperation::teardown) == operation::teardown);
  CHECK(name_of(BudgetOperation::control_plane_repair) == operation::control_plane_repair);
  CHECK(described<BudgetOperation>.names.size() == 12);
}
