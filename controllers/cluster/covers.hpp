// covers: is everything that we want of an object there already? What the API server adds (defaults, its own fields) doesn't count, so a
// write is made only when it would change something, and drift by whoever else writes is seen. Pure.
#pragma once
#include <string_view>

namespace endstate::cluster {

// Both JSON objects. Objects: every wanted member is there and covered. Lists: as long, each covered in its place. Quantities ("1",
// "1000m") are compared by what they mean where Kubernetes has quantities (requests, limits, storage), since it stores them in a form of
// its own. `wanted` empty of something ("" or {} or [] or null) is covered by nothing there. Text that is no JSON covers nothing.
bool covers(std::string_view found, std::string_view wanted);

}  // namespace endstate::cluster
