#include "apis/v1alpha1/common.hpp"

#include <algorithm>

namespace endstate::v1alpha1 {
namespace {

// metav1.LabelSelectorAsSelector: NotIn also matches what lacks the label.
bool holds(const SelectorRequirement& r, const Labels& labels) {
  const bool there = labels.has(r.key);
  const auto value = labels.get(r.key);
  const bool listed = there && std::any_of(r.values.begin(), r.values.end(), [value](const Text& v) { return v == value; });
  switch (r.operator_) {
    case SelectorOperator::in: return listed;
    case SelectorOperator::not_in: return !listed;
    case SelectorOperator::exists: return there;
    case SelectorOperator::does_not_exist: return !there;
  }
  return false;
}

}  // namespace

bool matches(const LabelSelector& selector, const Labels& labels) {
  return labels.contains(selector.match_labels) && std::all_of(selector.match_expressions.begin(), selector.match_expressions.end(),
                                                               [&labels](const SelectorRequirement& r) { return holds(r, labels); });
}

}  // namespace endstate::v1alpha1
