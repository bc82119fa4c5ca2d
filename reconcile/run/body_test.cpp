#include "reconcile/run/body.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace reconcile;
using nlohmann::json;

TEST_CASE("body: preconditions go into the metadata of a merge patch") {
  CHECK(json::parse(*with_preconditions(R"({"spec":{"a":1}})", "u", "7")) ==
        json::parse(R"({"metadata":{"uid":"u","resourceVersion":"7"},"spec":{"a":1}})"));
  CHECK(json::parse(*with_preconditions(R"({"metadata":{"labels":{"x":null}},"spec":{}})", "u", "7")) ==
        json::parse(R"({"metadata":{"labels":{"x":null},"uid":"u","resourceVersion":"7"},"spec":{}})"));
  CHECK(json::parse(*with_preconditions(R"({})", "u", "")) == json::parse(R"({"metadata":{"uid":"u"}})"));
  CHECK(json::parse(*with_preconditions(R"({"note":"a \"metadata\" in text"})", "", "7"))["metadata"]["resourceVersion"] == "7");
  CHECK(*with_preconditions("anything", "", "") == "anything");
  CHECK(json::parse(*with_preconditions(R"({"a":1})", "quo\"te", ""))["metadata"]["uid"] == "quo\"te");
  for (const char* bad : {"", "[]", "{", R"({"metadata":[]})", "null"}) CHECK_FALSE(with_preconditions(bad, "u", ""));
}

TEST_CASE("body: and in front of a JSON patch") {
  const auto patch = json::parse(*with_tests(R"([{"op":"remove","path":"/a"}])", "u", "7"));
  REQUIRE(patch.size() == 3);
  CHECK(patch[0] == json{{"op", "test"}, {"path", "/metadata/uid"}, {"value", "u"}});
  CHECK(patch[1] == json{{"op", "test"}, {"path", "/metadata/resourceVersion"}, {"value", "7"}});
  CHECK(patch[2]["op"] == "remove");
  CHECK(json::parse(*with_tests("[]", "u", "")).size() == 1);
  CHECK(*with_tests("[]", "", "") == "[]");
  CHECK_FALSE(with_tests("{}", "u", ""));
}

TEST_CASE("body: answers") {
  const auto answer = read_answer(R"({"kind":"Pod","metadata":{"uid":"u","resourceVersion":"7"},"spec":{}})");
  CHECK(answer.uid == "u");
  CHECK(answer.resource_version == "7");
  CHECK(read_answer(R"({"kind":"Status","metadata":{},"status":"Success","details":{"uid":"u"}})").uid.empty());
  CHECK(read_answer("not JSON").resource_version.empty());
}

TEST_CASE("body: 422s that are conflicts") {
  const Error test{Code::invalid, "the server rejected our request due to an error in our request", {}, "Invalid"};
  CHECK(is_stale(Verb::json_patch, test));
  CHECK_FALSE(is_stale(Verb::apply, test));
  CHECK(is_stale(Verb::apply, {Code::invalid, "m is invalid: metadata.uid: Invalid value: \"x\": field is immutable", {}, "Invalid"}));
  CHECK_FALSE(is_stale(Verb::json_patch, {Code::invalid, "Machine \"m\" is invalid: spec.replicas: must be 0 or more", {}, "Invalid"}));
  CHECK_FALSE(is_stale(Verb::apply, {Code::unavailable, "metadata.uid immutable", {}, ""}));
}
