// What the plan and the report must say alike of a slot, and the report itself. Pure.
#pragma once
#include "src/agent/plan.hpp"

namespace endstate::agent {

bool is_running_wipe(const RequestRecord& request);
bool is_wiping(const Input& in);
Text manifest_key(const Input& in, const Text& generation);           // empty: it isn't there
bool is_good(const Input& in, const TargetSlot& t);                   // the wanted version was brought in, and was Ready
bool is_damaged(const Input& in, const TargetSlot& t);                // its generation
bool has_failed(const SlotRecord* record, const TargetSlot& t);       // by this very order
Text staged_generation(const Input& in, const TargetSlot& t);         // a whole one of what is wanted; empty: none
std::string unmet_requirement(const Input& in, const TargetSlot& t);  // "requires containerd to be Ready"; empty: none
std::string drift_of(const Input& in, const SlotRecord& record);      // what isn't as it should be of its good version; empty: nothing
std::size_t recent_repairs(const SlotRecord& record, WallTime now);

void report(const Input& in, Plan& out);  // packages, requests, conditions, settled

}  // namespace endstate::agent
