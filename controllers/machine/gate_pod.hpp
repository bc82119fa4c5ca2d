// GatePod: a pod of a DaemonSet without which a node is of no use (network, storage, ...), as much of it as a readiness gate needs.
//
// The pod carries the label endstate.dev/readiness-gate: <condition type>, and speaks for that gate on its node by its own Ready. Only
// labelled pods are watched, so that 10,000 nodes cost some pods each and not all.
#pragma once
#include "apis/v1alpha1/names.hpp"
#include "reconcile/cache/view.hpp"
#include "reconcile/kube/core.hpp"

namespace endstate::machine {

struct GatePodSpec {
  reconcile::Text node_name;
  friend bool operator==(const GatePodSpec&, const GatePodSpec&) = default;
};
consteval auto describe(const GatePodSpec*) {
  return reconcile::object("Where it is.", reconcile::field<&GatePodSpec::node_name>("nodeName", "The node that it is bound to."));
}
struct GatePodCondition {  // without its times: what doesn't change a gate is no event
  reconcile::Text type;
  reconcile::ConditionStatus status{};
  reconcile::Text reason, message;
  friend bool operator==(const GatePodCondition&, const GatePodCondition&) = default;
};
consteval auto describe(const GatePodCondition*) {
  using C = GatePodCondition;
  return reconcile::object("One aspect of its state.", reconcile::field<&C::type>("type", "Which aspect."),
                           reconcile::field<&C::status>("status", "True, False or Unknown.", {.required = true}),
                           reconcile::field<&C::reason>("reason", "Why, in one word."),
                           reconcile::field<&C::message>("message", "Why, for people."));
}
struct GatePodStatus {
  std::vector<GatePodCondition> conditions;
  friend bool operator==(const GatePodStatus&, const GatePodStatus&) = default;
};
consteval auto describe(const GatePodStatus*) {
  return reconcile::object("What it is.",
                           reconcile::field<&GatePodStatus::conditions>("conditions", "Its conditions.", {.list_key = "type"}));
}
struct GatePod {
  reconcile::ObjectMeta metadata;
  GatePodSpec spec;
  GatePodStatus status;
  friend bool operator==(const GatePod&, const GatePod&) = default;
};
consteval auto describe(const GatePod*) {
  return reconcile::object("A pod that is a gate.", reconcile::field<&GatePod::metadata>("metadata", "Standard object metadata."),
                           reconcile::field<&GatePod::spec>("spec", "Where it is."),
                           reconcile::field<&GatePod::status>("status", "What it is."));
}
constexpr reconcile::Resource resource(const GatePod*) { return {"", "v1", "pods", "Pod", true, "gate-pods"}; }

inline constexpr std::string_view gate_pods_selector = "labelSelector=endstate.dev%2Freadiness-gate";

// Value: the name of its Node.
inline constexpr reconcile::Index gate_pods_by_node = reconcile::index<GatePod>("node", [](const GatePod& p, auto& emit) {
  if (!p.spec.node_name.empty() && p.metadata.labels.has(v1alpha1::label::readiness_gate)) emit(p.spec.node_name.view());
});

}  // namespace endstate::machine
