#include "controllers/machine_set/loop_audit.hpp"

#include <catch2/catch.hpp>

using namespace endstate::machine_set;

namespace {

api::MachineSet set_at(std::int64_t generation) {
  api::MachineSet set;
  set.metadata.uid = "u1";
  set.metadata.generation = generation;
  return set;
}
std::string object_of(std::string_view managers) {
  return R"({"apiVersion":"endstate.dev/v1alpha1","kind":"MachineSet","metadata":{"name":"workers","uid":"u1","generation":4,"managedFields":[)" +
         std::string(managers) + R"(]},"spec":{"replicas":3}})";
}
std::string entry(std::string_view manager, std::string_view time, std::string_view fields, std::string_view more = "") {
  return R"({"manager":")" + std::string(manager) + R"(","operation":"Update","apiVersion":"endstate.dev/v1alpha1","time":")" +
         std::string(time) + R"(","fieldsType":"FieldsV1","fieldsV1":)" + std::string(fields) + std::string(more) + "}";
}
constexpr std::string_view of_template = R"({"f:spec":{".":{},"f:replicas":{},"f:template":{".":{},"f:spec":{"f:packages":{}}}}})";
constexpr std::string_view of_scale = R"({"f:spec":{"f:replicas":{}}})";
constexpr std::string_view of_status = R"({"f:status":{"f:rollout":{}}})";

}  // namespace

TEST_CASE("the newest who wrote the template asked for the change", "[audit]") {
  const auto json =
      object_of(entry("kubectl-client-side-apply", "2026-11-23T10:00:00Z", of_template) + "," +
                entry("kubectl-edit", "2026-11-23T12:00:00Z", of_template) + "," + entry("autoscaler", "2026-11-23T13:00:00Z", of_scale) +
                "," + entry("scaler", "2026-11-23T13:00:00Z", of_template, R"(,"subresource":"scale")") + "," +
                entry("endstate-machine-set", "2026-11-23T14:00:00Z", of_template) + "," +
                entry("endstate-machine-set", "2026-11-23T14:00:00Z", of_status, R"(,"subresource":"status")"));
  const auto editor = last_editor(json, set_at(4));
  REQUIRE(editor);
  CHECK(editor->manager == "kubectl-edit");
  CHECK(reconcile::format_rfc3339(editor->time) == "2026-11-23T12:00:00Z");
}

TEST_CASE("who isn't known stays unknown, and another object tells nothing", "[audit]") {
  const auto nobody = last_editor(object_of(entry("autoscaler", "2026-11-23T13:00:00Z", of_scale)), set_at(4));
  REQUIRE(nobody);
  CHECK(nobody->manager.empty());
  const auto untimed = last_editor(object_of(R"({"manager":"old","fieldsV1":{"f:spec":{"f:template":{}}}})"), set_at(4));
  REQUIRE(untimed);
  CHECK(untimed->manager == "old");
  CHECK_FALSE(last_editor(object_of(""), set_at(3)));  // edited again meanwhile
  CHECK_FALSE(last_editor(R"({"metadata":{"uid":"u2","generation":4}})", set_at(4)));
  CHECK_FALSE(last_editor("<html>", set_at(4)));
  const auto bare = last_editor(R"({"metadata":{"uid":"u1","generation":4}})", set_at(4));
  REQUIRE(bare);
  CHECK(bare->manager.empty());
}
