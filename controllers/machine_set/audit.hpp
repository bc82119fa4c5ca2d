// The audit trail: status.history, one record a change. Pure. Who asked for it and when comes by one GET of the set, when the change
// begins (loop_audit.hpp reads the answer): managed fields are nothing that a cache should hold for every object.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "controllers/machine_set/facts.hpp"
#include "controllers/machine_set/revisions.hpp"
#include "controllers/machine_set/snapshot.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::machine_set {

inline constexpr std::size_t max_changes = 20;              // of the list
inline constexpr std::size_t max_history_bytes = 40'000;    // of its JSON: the whole status must stay well under 100 KB
inline constexpr std::chrono::seconds ask_editor_for{300};  // from the change's beginning on; who it was isn't known after that
inline constexpr std::string_view editor_question = "editor";

reconcile::Query ask_editor(const api::MachineSet& set);

// "<slot>: <old version> -> <new version>", for every slot that differs, and what else of the template does.
std::string change_text(const Revision* from, const Revision& to);

// How many machines were given a permit for that revision since then: each counts once, and only as long as its status still tells.
std::int64_t permits_seen(const Facts& facts, const Text& revision, WallTime since);

// " (asked for by kubectl-edit)"; empty: not known.
std::string by_whom(const api::ChangeRecord& change);

// Within its bounds: first the metrics of the oldest changes go, then their steps, then the changes.
void trim_history(std::vector<api::ChangeRecord>& history);

}  // namespace endstate::machine_set
