// blind: Cluster.status.blind, the times when the cluster could not be seen (controllers/common/elapsed.hpp reads them). Pure.
//
// A gap of 30 s or more is written twice: while it lasts, so that whoever takes over knows it, and when it is over. What is shorter is of
// no matter to clocks of minutes. A cluster that has never been connected has none.
#pragma once
#include <optional>
#include <string_view>
#include <vector>

#include "apis/v1alpha1/cluster.hpp"
#include "reconcile/cache/sight.hpp"

namespace endstate::cluster {

inline constexpr std::chrono::seconds shortest_gap{30};
inline constexpr std::size_t max_gaps = 16;
// Sight's word for a jump of the meta API server's clock begins so (src/operator/main.cpp).
inline constexpr std::string_view clock_jumped = "the meta API server's clock jumped";

// The list as it should be now. Past 16 the two that are nearest to each other become one: a clock then stands still for longer, and
// nothing is called late that isn't.
std::vector<v1alpha1::BlindGap> note_blind(std::vector<v1alpha1::BlindGap> gaps, const reconcile::Sight& sight, reconcile::WallTime now);

// When a gap that goes on becomes long enough; none: it is noted, or there is none.
std::optional<std::chrono::microseconds> until_noted(const std::vector<v1alpha1::BlindGap>& gaps, const reconcile::Sight& sight,
                                                     reconcile::WallTime now);

}  // namespace endstate::cluster
