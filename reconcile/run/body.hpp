// Body: preconditions into the bodies of writes, and what a write's answer says about the object. Pure.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "reconcile/base/describe.hpp"
#include "reconcile/base/env.hpp"
#include "reconcile/base/result.hpp"

namespace reconcile {

// A merge patch (RFC 7396) with metadata.uid and metadata.resourceVersion added, so that it is a 409 when the object is another or has
// moved on. Empty ones are left out. A body that is not a JSON object is Code::invalid.
Result<std::string> with_preconditions(std::string_view merge_patch, std::string_view uid, std::string_view resource_version);
// A JSON patch with tests of them put first. A body that is not a JSON array is Code::invalid.
Result<std::string> with_tests(std::string_view json_patch, std::string_view uid, std::string_view resource_version);

struct Answer {
  std::string uid{}, resource_version{};  // of the object, as it stands after the write; empty: the answer holds none (a Status)
  Labels labels{};
};
Answer read_answer(std::string_view body);

// A 422 that is no validation error: a JSON patch whose test failed (the API server says only that), or a uid that is another's.
bool is_stale(Verb verb, const Error& error);

}  // namespace reconcile
