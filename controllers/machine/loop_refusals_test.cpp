#include <catch2/catch.hpp>

#include "apis/v1alpha1/names.hpp"
#include "controllers/machine/refusals.hpp"
#include "reconcile/kube/api_error.hpp"

using namespace endstate::machine;
namespace reason = endstate::v1alpha1::reason;

namespace {
std::string status(int code, const std::string& why, const std::string& message) {
  return R"({"kind":"Status","apiVersion":"v1","status":"Failure","message":")" + message + R"(","reason":")" + why + R"(","code":)" +
         std::to_string(code) + "}";
}
}  // namespace

TEST_CASE("what the API server answers to an eviction has its word") {
  struct Case {
    int http;
    const char *why, *message;
    std::string_view word;  // empty: no refusal
  };
  for (const Case& c :
       {Case{429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.", reason::drain_blocked},
        Case{429, "TooManyRequests", "The disruption budget web is still being processed by the server.", reason::drain_blocked},
        Case{500, "", "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
             reason::drain_blocked},
        Case{429, "TooManyRequests", "Too many requests, please try again later.", reason::eviction_refused},
        Case{403, "Forbidden", "pods \\\"web-0\\\" is forbidden: User \\\"endstate\\\" cannot create resource \\\"pods/eviction\\\"",
             reason::eviction_refused},
        Case{403, "", "admission webhook \\\"drain.example.com\\\" denied the request: ask the database's operator first",
             reason::eviction_refused},
        Case{409, "Conflict", "admission webhook \\\"drain.example.com\\\" denied the request: the disruption budget is mine",
             reason::eviction_refused},
        Case{500, "InternalError", "Internal error occurred: failed calling webhook \\\"drain.example.com\\\": context deadline exceeded",
             reason::eviction_refused},
        Case{422, "Invalid", "Eviction in version \\\"v1\\\" is invalid", reason::eviction_refused},
        Case{400, "BadRequest", "name in URL does not match name in Eviction object", reason::eviction_refused},
        // What heals by looking again, or was no answer of the API server.
        Case{409, "Conflict", "Precondition failed: UID in precondition: a, UID in object meta: b", ""},
        Case{404, "NotFound", "pods \\\"web-0\\\" not found", ""}, Case{502, "", "", ""}, Case{504, "", "", ""}}) {
    const auto error = reconcile::api_error(c.http, *c.message ? status(c.http, c.why, c.message) : std::string(), true, {});
    INFO(c.http << " " << c.message);
    CHECK(is_refusal(error) == !c.word.empty());
    if (!c.word.empty()) CHECK(eviction_word(error) == c.word);
  }
  CHECK_FALSE(is_refusal({reconcile::Code::maybe_done, "the connection was cut"}));
  CHECK_FALSE(is_refusal({reconcile::Code::unavailable, "connection refused"}));
  CHECK_FALSE(is_refusal({reconcile::Code::fenced, "not the leader"}));
}

TEST_CASE("the API server's words are bounded, and not cut within a character") {
  std::string long_message(598, 'x');
  for (int i = 0; i < 100; ++i) long_message += "ő";
  const auto words = words_of({reconcile::Code::invalid, long_message});
  CHECK(words == std::string(598, 'x') + "ő...");
  CHECK(words_of({reconcile::Code::invalid, "x" + long_message}) == "x" + std::string(598, 'x') + "...");
  CHECK(words_of({reconcile::Code::invalid, "short"}) == "short");
}
