// url: how a Call is said in HTTP. Pure.
//
//   request_of({.verb = Verb::apply, .resource = &machines, .name_space = "default", .name = "m1", .subresource = "status",
//               .query = apply_query("endstate-machine"), .body = json})
//     -> PATCH /apis/endstate.dev/v1alpha1/namespaces/default/machines/m1/status?fieldManager=endstate-machine&force=true
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "reconcile/base/env.hpp"

namespace reconcile {

constexpr bool is_read(Verb verb) { return verb == Verb::get || verb == Verb::list || verb == Verb::watch; }

struct Request {
  std::string_view method{};        // GET, POST, PUT, PATCH, DELETE
  std::string target{};             // path and query, percent-encoded
  std::string_view content_type{};  // of the body; empty: no body
  std::string body{};
};

// Code::invalid for what would be another request than the one that is meant: a name with '/', '%' or control characters, "." or ".."
// (path.IsValidPathSegmentName of apimachinery), a missing name (a DELETE without one deletes a collection), a missing namespace, a
// query that is not encoded, an apply without a fieldManager. create: posts to the collection, or to name/subresource if there is one.
// list, watch: an empty namespace means all. watch: adds watch=1. Resource null: `path` and `query` as they stand.
Result<Request> request_of(const Call& call);
// For people and logs: "patch machines default/m1 status". Holds no query and no body.
std::string describe_call(const Call& call);

// Code::invalid for an http:// URL of another machine: whoever stands on the way could read a token and use it.
Result<void> may_carry_token(std::string_view url);

std::string percent_encode(std::string_view text);  // all but RFC 3986's unreserved characters
// "a=1&b=x%3Dy" from its pairs; an empty value leaves its pair out.
std::string encode_query(std::initializer_list<std::pair<std::string_view, std::string_view>> pairs);
// fieldManager=...&force=true: an operator owns its fields, so conflicts are overruled.
std::string apply_query(std::string_view field_manager);

// The body of a remove with preconditions. Empty parts are left out. propagation: Background, Foreground or Orphan.
std::string delete_options(std::string_view uid, std::string_view resource_version, std::string_view propagation = {},
                           std::optional<std::chrono::seconds> grace_period = std::nullopt);

}  // namespace reconcile
