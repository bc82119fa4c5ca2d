#include "src/kubectl/changes.hpp"

#include <catch2/catch.hpp>

#include "apis/v1alpha1/machine_set.hpp"

using namespace endstate::kubectl;

TEST_CASE("what apply would send", "[changes]") {
  const struct {
    const char *what, *last, *manifest, *live, *patch;
  } cases[] = {
      {"nothing", "", R"({"spec":{"replicas":3}})", R"({"metadata":{"uid":"u"},"spec":{"replicas":3},"status":{"replicas":3}})", "{}"},
      {"a new value", "", R"({"spec":{"replicas":5}})", R"({"spec":{"replicas":3}})", R"({"spec":{"replicas":5}})"},
      {"what others wrote stays", "", R"({"spec":{"replicas":3}})", R"({"spec":{"replicas":3,"paused":true}})", "{}"},
      {"what was applied and is no more goes", R"({"spec":{"replicas":3,"paused":true}})", R"({"spec":{"replicas":3}})",
       R"({"spec":{"replicas":3,"paused":true}})", R"({"spec":{"paused":null}})"},
      {"gone already", R"({"spec":{"replicas":3,"paused":true}})", R"({"spec":{"replicas":3}})", R"({"spec":{"replicas":3}})", "{}"},
      {"lists are taken whole", "", R"({"spec":{"a":[{"name":"x"}]}})", R"({"spec":{"a":[{"name":"x"},{"name":"y"}]}})",
       R"({"spec":{"a":[{"name":"x"}]}})"},
      {"one goes and one comes, in one map", R"({"metadata":{"labels":{"a":"1","b":"2"}}})", R"({"metadata":{"labels":{"b":"3"}}})",
       R"({"metadata":{"labels":{"a":"1","b":"2","c":"4"}}})", R"({"metadata":{"labels":{"a":null,"b":"3"}}})"},
  };
  for (const auto& c : cases) {
    INFO(c.what);
    CHECK(apply_patch(c.last, c.manifest, c.live) == c.patch);
  }
}

TEST_CASE("a patch is applied as RFC 7386 says", "[changes]") {
  CHECK(merged(R"({"spec":{"a":1,"b":{"c":2}}})", R"({"spec":{"a":null,"b":{"d":3}}})") == R"({"spec":{"b":{"c":2,"d":3}}})");
  CHECK(annotation_of(R"({"metadata":{"annotations":{"x":"y"}}})", "x") == "y");
  CHECK(annotation_of(R"({"metadata":{}})", "x").empty());
}

TEST_CASE("differences are told by field, and by name in lists", "[changes]") {
  const auto all = changes_between(
      R"({"kind":"MachineSet","metadata":{"uid":"1","labels":{"a":"b"}},"spec":{"replicas":3,"packages":[{"name":"kubelet","versionRef":{"name":"k1"}},{"name":"runtime"}]}})",
      R"({"kind":"MachineSet","metadata":{"uid":"2"},"spec":{"replicas":4,"packages":[{"name":"kubelet","versionRef":{"name":"k2"}},{"name":"runtime"}],"paused":true},"status":{"x":1}})");
  std::vector<std::string> lines;
  for (const auto& c : all) lines.push_back(c.path + ": " + c.before + " -> " + c.after);
  CHECK(lines == std::vector<std::string>{"metadata.labels.a: b -> ", "spec.packages[kubelet].versionRef.name: k1 -> k2",
                                          "spec.replicas: 3 -> 4", "spec.paused:  -> true"});
  CHECK(changes_between(R"({"spec":{"a":1}})", R"({"spec":{"a":1},"status":{}})").empty());
}

TEST_CASE("lists without names, in another order, and of nothing", "[changes]") {
  CHECK(changes_between(R"({"spec":{"a":[1,2]}})", R"({"spec":{"a":[1,3]}})")[0].after == "[1,3]");
  CHECK(changes_between(R"({"spec":{"a":[{"name":"x"},{"name":"y"}]}})", R"({"spec":{"a":[{"name":"y"},{"name":"x"}]}})").size() == 1);
  const auto gone = changes_between(R"({"spec":{"a":[{"name":"x"}]}})", R"({"spec":{}})");
  REQUIRE(gone.size() == 1);
  CHECK(gone[0].path == "spec.a[x].name");
}

TEST_CASE("a field that nobody knows is named", "[changes]") {
  const auto& type = reconcile::type_of<endstate::v1alpha1::MachineSet>;
  CHECK(unknown_field(R"({"apiVersion":"x","kind":"y","metadata":{"name":"n","whatever":1},"spec":{"replicas":1}})", type).empty());
  CHECK(unknown_field(R"({"spec":{"replica":1}})", type) == "spec.replica");
  CHECK(unknown_field(R"({"spec":{"rollout":{"steps":[{"name":"a"},{"name":"b","updatd":1}]}}})", type) == "spec.rollout.steps[1].updatd");
  CHECK(unknown_field(R"({"spec":{"template":{"metadata":{"labels":{"any":"thing"}}}}})", type).empty());
}
