// Sight: whether a cluster can be seen now. A fact of every snapshot: who can't see must not call anything silent, late or broken, and must
// not change anything there.
//
// Blind begins at the last contact of a watch that is needed, not when that is found out: an API server that froze was not seen since its
// last bookmark (one a minute, k8s.io/apiserver cacher.go defaultBookmarkFrequency). Blind ends when contact is back *and* the caches have
// reached what the API server had then: a watch that is open again may still tell of the past.
#pragma once
#include <string>

#include "reconcile/base/time.hpp"

namespace reconcile {

struct Sight {
  bool seen = false;
  WallTime since{};   // seen: without a gap since then. Blind: of the last contact; zero: there was none since this process began
  std::string why{};  // blind: for people
};

}  // namespace reconcile
