// How many bytes a record holds: for bounds on what somebody else decides the size of. Pure.
#pragma once
#include <cstddef>

#include "reconcile/base/describe.hpp"

namespace reconcile {

// Near enough for a bound: the allocator's own isn't counted, and a text that is shared with other records counts in each of them.
std::size_t record_size(const Type& type, const void* record);

}  // namespace reconcile
