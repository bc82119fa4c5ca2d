// Writes described values as JSON. Pure: plans link it. Canonical: fields in described order, no white space, the same value always gives
// the same text, so that texts can be compared and hashed. What is absent (describe.hpp) is left out, unless it is required.
#pragma once
#include <string>
#include <string_view>

#include "reconcile/base/describe.hpp"

namespace reconcile {

void encode_to(std::string& out, const Type& type, const void* value);
template <class T>
std::string encode(const T& value) {
  std::string out;
  encode_to(out, type_of<T>, &value);
  return out;
}
// A whole object: {"apiVersion":..., "kind":..., and its own fields}.
std::string encode_object(std::string_view api_version, std::string_view kind, const Type& type, const void* value);

// A JSON string with its quotes. Bytes that are not UTF-8 (RFC 3629) become U+FFFD: one bad byte in a message must not make a write fail.
std::string quote(std::string_view text);

// "/metadata/labels/" + pointer("endstate.dev/revision"): a JSON Pointer token (RFC 6901: ~ is ~0, / is ~1).
std::string pointer(std::string_view key);

// Ten characters for names and labels, of the alphabet of k8s.io/apimachinery's rand.SafeEncodeString (no vowels, no words). 64-bit FNV-1a:
// short enough for a name, so whoever names by it must compare the content too.
std::string hash_of(std::string_view canonical);

// True when both encode alike. The way to ask "would this write change anything?".
template <class T>
bool same(const T& a, const T& b) {
  return encode(a) == encode(b);
}

}  // namespace reconcile
