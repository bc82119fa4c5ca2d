// The lock of what is under way, as a write: the whole status of its object, by compare-and-swap, as the first guarded write of a plan.
// What the grant permits follows at stage 1. Refused, neither is written.
#pragma once
#include <string>

#include "reconcile/json/encode.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate {

template <class T, class Status>
reconcile::Action lock_write(const T& object, const Status& status, std::string why) {
  const auto& meta = object.metadata;
  const auto& kind = reconcile::kind_of<T>;
  reconcile::Action a{.verb = reconcile::Verb::apply, .kind = &kind, .cluster = {}, .name_space = meta.name_space, .name = meta.name};
  a.subresource = "status";
  a.body = R"({"apiVersion":)" + reconcile::quote(api_version(*kind.resource)) + R"(,"kind":)" + reconcile::quote(kind.resource->kind) +
           R"(,"metadata":{"name":)" + reconcile::quote(meta.name) + R"(,"namespace":)" + reconcile::quote(meta.name_space) + R"(,"uid":)" +
           reconcile::quote(meta.uid) + R"(,"resourceVersion":)" + reconcile::quote(meta.resource_version) + R"(},"status":)" +
           reconcile::encode(status) + "}";
  a.uid = meta.uid;
  a.resource_version = meta.resource_version;
  a.guarded = true;
  a.why = std::move(why);
  return a;
}

}  // namespace endstate
