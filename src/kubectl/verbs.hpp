// What a person can say to a rollout, as one write each. Pure: from the set as it is to a patch, or to why there is nothing to write.
//
// A pause is the annotation endstate.dev/paused, not spec.paused: what a GitOps tool applies every few seconds holds the spec, so a pause
// in the spec would be gone at once; an annotation that its files don't name stays. `resume` takes both away.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "apis/v1alpha1/machine_set.hpp"
#include "reconcile/cache/view.hpp"
#include "reconcile/kube/core.hpp"
#include "src/kubectl/args.hpp"

namespace endstate::kubectl {

inline constexpr std::string_view field_manager = "kubectl-endstate";

struct Deed {
  enum class What : std::uint8_t { write, nothing, refused } what{};
  std::string said;         // what was done, or why not: one line
  std::string body{};       // of `write`
  bool json_patch = false;  // else a merge patch; both carry uid and resourceVersion
};

// A revision of a set that is recorded, decoded.
struct Recorded {
  std::int64_t number = 0;
  reconcile::Text hash;
  std::string template_;  // as it was recorded: JSON
};
// By number. What isn't the set's, or can't be read, is left out.
std::vector<Recorded> recorded(const v1alpha1::MachineSet& set, const std::vector<reconcile::Ref<reconcile::ControllerRevision>>& objects);

Deed deed_of(const RolloutArgs& args, const v1alpha1::MachineSet& set, const std::vector<Recorded>& revisions);

// The revision that `undo` goes to: the numbered one, or the one before the template's. The error says why there is none.
reconcile::Result<const Recorded*> undo_target(const v1alpha1::MachineSet& set, const std::vector<Recorded>& revisions,
                                               std::optional<std::int64_t> number);

bool is_paused_by_annotation(const v1alpha1::MachineSet& set);
const v1alpha1::RejectedRevision* rejection(const v1alpha1::MachineSet& set, const reconcile::Text& revision);

}  // namespace endstate::kubectl
