#include "reconcile/run/guard.hpp"

#include <cstdio>

namespace reconcile {

// FNV-1a over the fields that tell two permits apart, each ended by a byte that no name contains.
std::string PermitRequest::id() const {
  std::uint64_t hash = 14695981039346656037ULL;
  const auto mix = [&hash](std::string_view s) {
    for (const char c : s) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
    hash = (hash ^ 0xff) * 1099511628211ULL;
  };
  mix(subject_uid.view());
  mix(operation.view());
  mix(revision.view());
  mix(std::to_string(attempt));
  char out[17];
  std::snprintf(out, sizeof out, "%016llx", static_cast<unsigned long long>(hash));
  return out;
}

}  // namespace reconcile
