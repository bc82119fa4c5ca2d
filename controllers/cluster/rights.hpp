// rights: the condition RightsComplete of an External Cluster with a connection of its own: whether whom its kubeconfig names may do all
// that endstate must. Asked at connect, each hour, and each minute while something is missing: somebody may be putting it right. It costs
// what needs the right, and nothing else: no Cluster waits for it. Pure.
#pragma once
#include <optional>

#include "apis/v1alpha1/cluster.hpp"
#include "controllers/cluster/plan_hosted.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::cluster {

inline constexpr std::string_view rights_question = "rights";

struct RightsPlan {
  std::optional<reconcile::Query> query;             // to be asked
  std::optional<HostedLine> line;                    // what the condition says now; none: as it stands
  std::optional<std::chrono::milliseconds> again{};  // when it is to be asked next
};
// `answer`: of rights_question; null: there is none yet.
RightsPlan plan_rights(const v1alpha1::Cluster& cluster, bool connected, const reconcile::Fact* answer, reconcile::WallTime now);

}  // namespace endstate::cluster
