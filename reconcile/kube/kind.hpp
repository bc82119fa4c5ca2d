// Kind: all that the generic runtime needs to know of a C++ type that mirrors a Kubernetes object. The described type *is* the
// projection and the cache record: what it doesn't name is never decoded or kept.
//
// A type T takes part by having `ObjectMeta metadata`, a describe() and
//   constexpr Resource resource(const T*) { return {"endstate.dev", "v1alpha1", "machines", "Machine"}; }
#pragma once
#include <memory>

#include "reconcile/base/describe.hpp"
#include "reconcile/base/env.hpp"
#include "reconcile/kube/meta.hpp"

namespace reconcile {

struct Kind {
  const Resource* resource;
  const Type* type;
  std::shared_ptr<void> (*make)();
  const ObjectMeta& (*meta)(const void*);
};

template <class T>
inline constexpr Resource resource_of = resource(static_cast<const T*>(nullptr));  // found by ADL

template <class T>
inline constexpr Kind kind_of{
    .resource = &resource_of<T>,
    .type = &type_of<T>,
    .make = []() -> std::shared_ptr<void> { return std::make_shared<T>(); },
    .meta = [](const void* o) -> const ObjectMeta& { return static_cast<const T*>(o)->metadata; },
};

// "apps/v1", "v1": as apiVersion has it.
inline std::string api_version(const Resource& r) {
  return r.group.empty() ? std::string(r.version) : std::string(r.group).append("/").append(r.version);
}

}  // namespace reconcile
