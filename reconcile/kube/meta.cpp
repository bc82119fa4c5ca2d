#include "reconcile/kube/meta.hpp"

#include <algorithm>

namespace reconcile {

const Condition* find_condition(const std::vector<Condition>& conditions, std::string_view type) {
  for (const auto& c : conditions)
    if (c.type == type) return &c;
  return nullptr;
}

bool is_true(const std::vector<Condition>& conditions, std::string_view type) {
  const auto* c = find_condition(conditions, type);
  return c && c->status == ConditionStatus::true_;
}

bool is_false(const std::vector<Condition>& conditions, std::string_view type) {
  const auto* c = find_condition(conditions, type);
  return c && c->status == ConditionStatus::false_;
}

void set_condition(std::vector<Condition>& conditions, Condition condition, WallTime now) {
  const auto it = std::lower_bound(conditions.begin(), conditions.end(), condition,
                                   [](const Condition& a, const Condition& b) { return a.type < b.type; });
  if (it == conditions.end() || !(it->type == condition.type)) {
    if (condition.last_transition_time == WallTime{}) condition.last_transition_time = now;
    conditions.insert(it, std::move(condition));
    return;
  }
  condition.last_transition_time = it->status == condition.status ? it->last_transition_time : now;
  *it = std::move(condition);
}

}  // namespace reconcile
