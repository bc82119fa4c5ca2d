// ChangeBudgets that this version can't read, or not all of: whom they may select, and what they could say no to.
#pragma once
#include <string>
#include <vector>

#include "apis/v1alpha1/policy.hpp"
#include "controllers/guard/plan.hpp"

namespace endstate::guard {

// What is wrong with it; empty: all of it can be read.
inline std::string unreadable_part(const v1alpha1::ChangeBudget& budget) {
  const auto word = reconcile::find_unknown_word(budget.spec);
  return word.empty() ? word : "spec." + word + " isn't known";
}

// Whether it may select a cluster of these labels: yes, if even its selector can't be read.
inline bool may_select(const v1alpha1::LabelSelector& selector, const reconcile::Labels& labels) {
  return !reconcile::find_unknown_word(selector).empty() || v1alpha1::matches(selector, labels);
}

// Of an object that can't be decoded what decides whom it selects is decoded apart.
struct BudgetHead {
  struct Spec {
    v1alpha1::LabelSelector cluster_selector;
  };
  reconcile::ObjectMeta metadata;
  Spec spec;
};
consteval auto describe(const BudgetHead::Spec*) {
  return reconcile::object("Whom it is for.",
                           reconcile::field<&BudgetHead::Spec::cluster_selector>("clusterSelector", "The Clusters that it is for."));
}
consteval auto describe(const BudgetHead*) {
  return reconcile::object("The head of a ChangeBudget.", reconcile::field<&BudgetHead::metadata>("metadata", "Standard object metadata."),
                           reconcile::field<&BudgetHead::spec>("spec", "The policy."));
}

}  // namespace endstate::guard
