// A connection that showed more than this process takes from one (CachesOptions::max_objects ...): its watches were dropped, and nothing of
// it is seen. Sight says why in words that begin so.
#pragma once
#include "reconcile/cache/sight.hpp"

namespace reconcile {

inline constexpr std::string_view too_many_objects = "too many objects: ";

inline bool has_too_many_objects(const Sight& sight) { return !sight.seen && sight.why.starts_with(too_many_objects); }

}  // namespace reconcile
