// A Secret with all of its data, for who reads one whole and lets it go again. Never for a cache of many: the kind to watch is Secret of
// workloads.hpp, which holds no private part.
#pragma once
#include "reconcile/kube/kind.hpp"

namespace reconcile {

struct SecretData {
  ObjectMeta metadata;
  Labels data;
  friend bool operator==(const SecretData&, const SecretData&) = default;
};
consteval auto describe(const SecretData*) {
  return object("A Secret.", field<&SecretData::metadata>("metadata", "Its metadata."),
                field<&SecretData::data>("data", "Its data, in base64."));
}
constexpr Resource resource(const SecretData*) { return {"", "v1", "secrets", "Secret", true}; }

}  // namespace reconcile
