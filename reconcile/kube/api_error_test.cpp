#include "reconcile/kube/api_error.hpp"

#include <catch2/catch.hpp>

using namespace reconcile;
using namespace std::chrono_literals;

TEST_CASE("a reply becomes a code", "[api_error]") {
  struct Row {
    int http;
    std::string_view reason;
    bool write;
    Code code;
  };
  const Row rows[] = {
      {404, "NotFound", false, Code::not_found},
      {409, "AlreadyExists", true, Code::exists},
      {409, "Conflict", true, Code::conflict},
      {409, "", true, Code::conflict},
      {410, "Expired", false, Code::gone},
      {410, "", false, Code::gone},
      {400, "BadRequest", false, Code::invalid},
      {400, "Expired", false, Code::gone},
      {405, "MethodNotAllowed", true, Code::invalid},
      {406, "", false, Code::invalid},
      {413, "RequestEntityTooLarge", true, Code::invalid},
      {415, "UnsupportedMediaType", true, Code::invalid},
      {422, "Invalid", true, Code::invalid},
      {401, "Unauthorized", false, Code::forbidden},
      {403, "Forbidden", true, Code::forbidden},
      {429, "TooManyRequests", true, Code::throttled},
      {500, "InternalError", false, Code::unavailable},
      {500, "InternalError", true, Code::unavailable},  // a webhook that failed, a pod under two budgets
      {500, "", true, Code::maybe_done},                // "etcdserver: request timed out"
      {504, "Timeout", true, Code::maybe_done},
      {502, "", true, Code::maybe_done},
      {503, "ServiceUnavailable", true, Code::unavailable},
      {504, "Timeout", true, Code::maybe_done},
      {504, "Timeout", false, Code::unavailable},
      {302, "", false, Code::unavailable},
  };
  for (const auto& row : rows) {
    CAPTURE(row.http, row.reason, row.write);
    const std::string body = std::string(R"({"kind":"Status","apiVersion":"v1","status":"Failure","message":"because","reason":")") +
                             std::string(row.reason) + "\",\"code\":" + std::to_string(row.http) + "}";
    const Error error = api_error(row.http, body, row.write);
    CHECK(error.code == row.code);
    CHECK(error.message == "because");
    CHECK(error.reason == row.reason);
    CHECK(api_error(0, body, row.write).code == row.code);
  }
}

TEST_CASE("a reply's causes, waiting time and foreign bodies", "[api_error]") {
  const auto invalid = api_error(422, R"({"kind":"Status","message":"Machine \"m\" is invalid","reason":"Invalid","details":{"causes":[
    {"reason":"FieldValueInvalid","message":"must be 0 or more","field":"spec.replicas"},
    {"reason":"FieldValueRequired","message":"required","field":"spec.a"}]},"code":422})");
  CHECK(invalid.message == "Machine \"m\" is invalid; spec.replicas: must be 0 or more; spec.a: required");

  const auto known = api_error(422, R"({"kind":"Status","message":"spec.a: required","reason":"Invalid","details":{"causes":[
    {"message":"required","field":"spec.a"}]},"code":422})");
  CHECK(known.message == "spec.a: required");

  const auto successor = api_error(422, R"({"kind":"Status","message":"metadata.uid: Invalid value: \"u\": field is immutable",
    "reason":"Invalid","details":{"causes":[{"reason":"FieldValueInvalid","field":"metadata.uid"}]},"code":422})");
  CHECK(successor.code == Code::conflict);

  const auto late = api_error(504, R"({"kind":"Status","message":"Timeout: Too large resource version: 9, current: 2","reason":"Timeout",
    "details":{"causes":[{"reason":"ResourceVersionTooLarge","message":"Too large resource version"}],"retryAfterSeconds":1},"code":504})");
  CHECK(late.code == Code::unavailable);
  CHECK(late.reason == "ResourceVersionTooLarge");
  CHECK(late.retry_after == 1s);
  CHECK(api_error(429, R"({"kind":"Status","details":{"retryAfterSeconds":10},"code":429})", true, 2s).retry_after == 2s);
  CHECK(api_error(429, R"({"kind":"Status","details":{"retryAfterSeconds":99999999}})").retry_after == 3600s);

  CHECK(api_error(502, "<html>bad\x01 gateway</html>").message == "the server answered HTTP 502: <html>bad  gateway</html>");
  CHECK(api_error(500, std::string(5000, 'x')).message.size() < 1100);
  CHECK(api_error(503, "").message == "the server answered HTTP 503");
  CHECK(api_error(400, std::string(200'000, '[')).code == Code::invalid);  // no stack is exhausted
  CHECK(api_error(400, R"({"kind":"Status","details":{"causes":[1,null,"x"]}})").code == Code::invalid);
  CHECK(api_error(400, R"({"kind":7,"message":[]})").code == Code::invalid);
}

TEST_CASE("an error inside a watch", "[api_error]") {
  const auto gone = watch_error(
      R"x({"type":"ERROR","object":{"kind":"Status","status":"Failure","message":"too old resource version: 1 (2)","reason":"Expired",)x"
      R"x("code":410}})x");
  REQUIRE(gone);
  CHECK(gone->code == Code::gone);
  CHECK(gone->message == "too old resource version: 1 (2)");
  CHECK(watch_error(R"({"object":{"kind":"Status","code":500},"type":"ERROR"})")->code == Code::unavailable);
  CHECK(watch_error(R"({"type":"ERROR","object":{"kind":"Pod"}})")->code == Code::unavailable);
  CHECK_FALSE(watch_error(R"({"type":"ADDED","object":{"kind":"Status"}})"));
  CHECK_FALSE(watch_error(R"({"type":"ADDED","object":{"x":"ERROR"}})"));
  CHECK_FALSE(watch_error(""));
}

TEST_CASE("api_error: the words stay, the regular expressions go", "[api_error]") {
  const auto words = [](const std::string& message) {
    return api_error(422, R"({"kind":"Status","code":422,"reason":"Invalid","message":")" + message + "\"}", true).message;
  };
  CHECK(
      words(
          "metadata.labels: Invalid value: \\\"a b\\\": a valid label must be an empty string or consist of alphanumeric characters (e.g. "
          "'MyValue', or 'my_value', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')") ==
      "metadata.labels: Invalid value: \"a b\": a valid label must be an empty string or consist of alphanumeric characters (e.g. "
      "'MyValue', or 'my_value', regex used for validation is '...')");
  CHECK(words("spec.x: Invalid value: \\\"?\\\": spec.x in body should match '^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\\\.[a-z0-9]+)*$', spec.y: "
              "Required value") == "spec.x: Invalid value: \"?\": spec.x in body should match '...', spec.y: Required value");
  CHECK(words("spec.x in body should match '^a+$'") == "spec.x in body should match '^a+$'");
  CHECK(words(std::string(9000, 'x')).size() < 2100);
}

TEST_CASE("api_error: an eviction that two budgets refuse is an answer", "[api_error]") {
  const auto e =
      api_error(500,
                R"({"kind":"Status","apiVersion":"v1","status":"Failure","code":500,)"
                R"("message":"This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."})",
                true);
  CHECK(e.code == Code::unavailable);
  CHECK(e.reason == "InternalError");
  CHECK(e.message.find("more than one PodDisruptionBudget") != std::string::npos);
}
