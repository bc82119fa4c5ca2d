// plan: what a Hosted cluster is brought beside its control plane: endstate's own add-on (what machines and their agents need there), then
// those of the ClusterPackageVersion that went through last. Pure.
//
//   applied      by server-side apply, in phases (addon.hpp); what is applied is in status.addons before it is (an inventory that never
//                forgets), with the label endstate.dev/addon
//   put right    all of it is applied again every 10 minutes: no cache of a hosted cluster holds these kinds, and an apply that changes
//                nothing is no write there
//   taken away   when the package has it no more, all the rest is applied, and it still carries our label. Never namespaces, CRDs or
//                volumes: others' data is in them
//
// One add-on's trouble holds no other up, but nothing is taken away meanwhile.
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "apis/v1alpha1/cluster.hpp"
#include "controllers/addons/addon.hpp"
#include "reconcile/cache/view.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::addons {

using reconcile::Ref;
namespace api = v1alpha1;

inline constexpr std::chrono::minutes period{10};              // of putting right
inline constexpr std::chrono::seconds settles{2};              // after a CRD was applied its kind is served
inline constexpr std::size_t max_actions = 64, max_gone = 16;  // of one pass: written; looked at and taken away
// Begins the mark of every write of this loop (Action::mark): controllers/guard/disruptive.cpp knows them by it.
inline constexpr std::string_view mark_prefix = "addon/";

struct Snapshot {
  Ref<api::Cluster> cluster;
  reconcile::ConnectionState connection;
  std::shared_ptr<const std::vector<Addon>> addons;  // null: the version that went through last isn't there (yet)
  std::shared_ptr<const reconcile::Memory> memory;   // of this key
  Kinds* kinds = nullptr;
  reconcile::Now now{};
};

reconcile::Plan plan(const Snapshot& snapshot);

struct Planned {
  reconcile::Plan plan;
  std::vector<api::AddonStatus> addons;
  std::optional<api::Condition> ready;
};
Planned plan_in_full(const Snapshot& snapshot);

// What this loop says of a Cluster: its part of status, and nothing of the cluster loop's.
struct StatusPart {
  std::vector<api::AddonStatus> addons;
  std::vector<reconcile::Condition> conditions;
  friend bool operator==(const StatusPart&, const StatusPart&) = default;
};
consteval auto describe(const StatusPart*) {
  return reconcile::object("The add-ons' part of a Cluster's status.", reconcile::field<&StatusPart::addons>("addons", "The add-ons."),
                           reconcile::field<&StatusPart::conditions>("conditions", "AddonsReady."));
}

}  // namespace endstate::addons
