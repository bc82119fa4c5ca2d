// Do two described values hold the same? For dropping updates that changed nothing that is read. Pure.
#pragma once
#include "reconcile/base/describe.hpp"

namespace reconcile {

// `skip`: a field of `a` (by address) that is not compared, at any depth; the objects' resourceVersion, say.
bool equal(const Type& type, const void* a, const void* b, const void* skip = nullptr);

}  // namespace reconcile
