// Reads JSON into described values. What the type doesn't name is skipped unread; null is absence. Strings are interned in the caller's
// pool. Any thread: each has a parser of its own. The input needs no padding and may go away afterwards.
//
// Errors are Code::invalid and name the place: "spec.steps[2].updated: expected an integer or a percentage like 10%".
#pragma once
#include <string_view>

#include "reconcile/base/describe.hpp"
#include "reconcile/base/result.hpp"

namespace reconcile {

// What a word of an enum means that this version doesn't know. Refused: an error, for what is obeyed to the letter (an agent's orders and
// journals, what users write into files). Kept: a value that is none of the enum's own (base/words.hpp), for caches: one new word must not
// make a whole object vanish.
enum class UnknownWords : std::uint8_t { refused, kept };

// `out` is what the type describes, freshly made (lists are appended to). After an error its content is unspecified.
Result<void> decode(std::string_view json, const Type& type, void* out, Pool& pool, UnknownWords unknown = UnknownWords::refused);

template <class T>
Result<T> decode(std::string_view json, Pool& pool, UnknownWords unknown = UnknownWords::refused) {
  T value{};
  if (auto done = decode(json, type_of<T>, &value, pool, unknown); !done) return fail(std::move(done.error()));
  return value;
}

}  // namespace reconcile
