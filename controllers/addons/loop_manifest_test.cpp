#include "controllers/addons/loop_manifest.hpp"

#include <catch2/catch.hpp>

#include "controllers/addons/loop_builtin.hpp"

using namespace endstate::addons;

namespace {

Addon read(std::string yaml) {
  Kinds kinds;
  return read_manifests({{"dns", std::move(yaml)}}, kinds).front();
}
bool says(const Addon& a, std::string_view what) {
  INFO(a.trouble);
  return a.objects.empty() && a.trouble.find(what) != std::string::npos;
}

}  // namespace

TEST_CASE("documents become objects with their place, their phase and the add-on's label", "[addons]") {
  Kinds kinds;
  const auto addons = read_manifests({{"dns", R"(# a comment, and no document
---
apiVersion: v1
kind: Namespace
metadata: {name: dns}
---
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: coredns, namespace: dns, labels: {app: coredns}}
spec: {replicas: 2}
status: {replicas: 7}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: corefile}
data:
  Corefile: |
    .:53 {
     --- not a marker
    }
)"}},
                                     kinds);
  REQUIRE(addons.size() == 1);
  INFO(addons[0].trouble);
  REQUIRE(addons[0].objects.size() == 3);
  const auto& [space, deployment, map] = std::tie(addons[0].objects[0], addons[0].objects[1], addons[0].objects[2]);
  CHECK((space.phase == Phase::foundation && deployment.phase == Phase::workload && map.phase == Phase::access));
  CHECK((!space.place->resource->namespaced && deployment.place->resource->plural == "deployments"));
  CHECK(
      deployment.body ==
      R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"coredns","namespace":"dns","labels":{"app":"coredns","endstate.dev/addon":"dns"}},"spec":{"replicas":2}})");
  CHECK(map.name_space == "default");
  CHECK(map.body.find("--- not a marker") != std::string::npos);
}

TEST_CASE("a bad document is the trouble of its whole add-on, and says which one and where", "[addons]") {
  CHECK(says(read("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: [\n"),
             "document 2 (from line 5)"));
  // The line of what is wrong counts from the manifest's beginning.
  CHECK(says(read("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\na: 1\na: 2\n"), "line 6"));
  CHECK(says(read("kind: Namespace\nmetadata: {name: a}\n"), "no apiVersion"));
  CHECK(says(read("apiVersion: v1\nkind: Namespace\nmetadata: {generateName: a}\n"), "no metadata.name"));
  CHECK(says(read("apiVersion: v1\nkind: List\nmetadata: {name: x}\nitems: []\n"), "documents of their own"));
  CHECK(says(read("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n"), "Deployment"));
  CHECK(says(read("apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {a: b}\n"), "whoever reads packages"));
  CHECK(says(read("apiVersion: v1\nkind: Namespace\nmetadata: {name: x, namespace: y}\n"), "has no namespace"));
  CHECK(says(read("apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n"),
             "there twice"));
  CHECK(says(read("- a\n"), "no object"));
  CHECK(says(read("# nothing\n"), "no objects"));
  std::string many;
  for (int i = 0; i < 129; ++i) many += "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: n" + std::to_string(i) + "}\n";
  CHECK(says(read(many), "more than 128"));
  CHECK(read("apiVersion: v1\nkind: Secret\nmetadata: {name: x}\ntype: kubernetes.io/service-account-token\n").trouble.empty());
}

TEST_CASE("one add-on's trouble is its own; the built-in one's name is taken", "[addons]") {
  Kinds kinds;
  const std::string good = "apiVersion: v1\nkind: Namespace\nmetadata: {name: ";
  const auto addons =
      read_manifests({{"endstate", good + "a}\n", true}, {"bad", "a: ["}, {"good", good + "b}\n"}, {"endstate", good + "c}\n"}}, kinds);
  CHECK((addons[0].trouble.empty() && !addons[1].trouble.empty() && addons[2].trouble.empty()));
  CHECK(says(addons[3], "endstate's own"));
}

TEST_CASE("a CRD places the objects of its kind, in whichever add-on they are", "[addons]") {
  Kinds kinds;
  const auto addons = read_manifests(
      {{"late", "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\n"},
       {"crd",
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.com}\nspec:\n  group: "
        "example.com\n  scope: Namespaced\n  names: {kind: Widget, plural: widgets}\n"},
       {"other", "apiVersion: example.org/v1\nkind: Gadget\nmetadata: {name: g}\n"}},
      kinds);
  REQUIRE(addons[0].objects.size() == 1);
  REQUIRE(addons[0].objects[0].place);
  CHECK((addons[0].objects[0].place->resource->plural == "widgets" && addons[0].objects[0].name_space == "default"));
  CHECK(addons[1].objects[0].defines == GroupKind{"example.com", "Widget"});
  CHECK_FALSE(addons[2].objects[0].place);  // the cluster will be asked
}

TEST_CASE("what endstate brings itself can be read, all of it", "[addons]") {
  Kinds kinds;
  const auto addon = read_manifests({{"endstate", std::string(builtin_manifest()), true}}, kinds).front();
  INFO(addon.trouble);
  REQUIRE(addon.trouble.empty());
  std::vector<std::string> names;
  for (const auto& o : addon.objects) {
    CHECK(o.place);
    names.push_back(o.text());
  }
  const auto has = [&](const std::string& name) { return std::find(names.begin(), names.end(), name) != names.end(); };
  CHECK(has("Namespace endstate-system"));
  CHECK(has("CustomResourceDefinition hostassignments.endstate.dev"));
  CHECK(has("ClusterRole endstate-agents"));
  CHECK(has("Role endstate-system/endstate-agents"));
  CHECK(has("ValidatingAdmissionPolicy agents.endstate.dev"));
}
