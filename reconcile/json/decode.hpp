// Reads JSON into described values. What the type doesn't name is skipped unread; null is absence. Strings are interned in the caller's
// pool. Any thread: each has a parser of its own. The input needs no padding and may go away afterwards.
//
// Errors are Code::invalid and name the place: "spec.steps[2].updated: expected an integer or a percentage like 10%".
#pragma once
#include <string_view>

#include "reconcile/base/describe.hpp"
#include "reconcile/base/result.hpp"

namespace reconcile {

// `out` is what the type describes, freshly made (lists are appended to). After an error its content is unspecified.
Result<void> decode(std::string_view json, const Type& type, void* out, Pool& pool);

template <class T>
Result<T> decode(std::string_view json, Pool& pool) {
  T value{};
  if (auto done = decode(json, type_of<T>, &value, pool); !done) return fail(std::move(done.error()));
  return value;
}

}  // namespace reconcile
