// The word of the condition ReplicaFailure that ReplicaSets don't have: they never edit a Pod.
#pragma once
#include <string_view>

namespace endstate::v1alpha1 {

namespace reason {
inline constexpr std::string_view failed_update = "FailedUpdate";  // the API server refuses an edit of a Machine
}

}  // namespace endstate::v1alpha1
