// What every Kubernetes object has (k8s.io/apimachinery pkg/apis/meta/v1/types.go), as far as a loop reads it, and Key.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "reconcile/base/describe.hpp"
#include "reconcile/base/env.hpp"

namespace reconcile {

// An object's place in its cluster; the name of a queue item. `name_space` is empty for what is cluster-scoped.
struct Key {
  Text name_space, name;
  friend auto operator<=>(const Key&, const Key&) = default;
  friend bool operator==(const Key&, const Key&) = default;
  std::string str() const { return name_space.empty() ? name.str() : name_space.str() + "/" + name.str(); }
};

struct OwnerReference {
  Text api_version, kind, name, uid;
  std::optional<bool> controller, block_owner_deletion;
  friend bool operator==(const OwnerReference&, const OwnerReference&) = default;
};
consteval auto describe(const OwnerReference*) {
  return object("The object that this one belongs to.", field<&OwnerReference::api_version>("apiVersion", "Its API version."),
                field<&OwnerReference::kind>("kind", "Its kind."), field<&OwnerReference::name>("name", "Its name."),
                field<&OwnerReference::uid>("uid", "Its uid."), field<&OwnerReference::controller>("controller", "It is the managing one."),
                field<&OwnerReference::block_owner_deletion>("blockOwnerDeletion", "Foreground deletion of the owner waits for this."));
}

// managedFields, selfLink and the like are never decoded: nothing unread is kept.
struct ObjectMeta {
  Text name, name_space, uid, resource_version;
  std::optional<std::int64_t> generation;
  std::optional<WallTime> creation_timestamp, deletion_timestamp;
  Labels labels, annotations;
  std::vector<Text> finalizers;
  std::vector<OwnerReference> owner_references;

  Key key() const { return {name_space, name}; }
  bool deleting() const { return deletion_timestamp.has_value(); }
  bool has_finalizer(std::string_view f) const {
    for (const auto& x : finalizers)
      if (x == f) return true;
    return false;
  }
  // The managing owner, or null.
  const OwnerReference* controller() const {
    for (const auto& o : owner_references)
      if (o.controller.value_or(false)) return &o;
    return nullptr;
  }
  friend bool operator==(const ObjectMeta&, const ObjectMeta&) = default;
};
consteval auto describe(const ObjectMeta*) {
  return object("Standard object metadata.", field<&ObjectMeta::name>("name", "Its name."),
                field<&ObjectMeta::name_space>("namespace", "Its namespace."), field<&ObjectMeta::uid>("uid", "Its uid."),
                field<&ObjectMeta::resource_version>("resourceVersion", "Its version, for optimistic locking.", {.unique = true}),
                field<&ObjectMeta::generation>("generation", "Counts the changes of its spec."),
                field<&ObjectMeta::creation_timestamp>("creationTimestamp", "When it was created."),
                field<&ObjectMeta::deletion_timestamp>("deletionTimestamp", "When its deletion was asked for."),
                field<&ObjectMeta::labels>("labels", "Its labels."), field<&ObjectMeta::annotations>("annotations", "Its annotations."),
                field<&ObjectMeta::finalizers>("finalizers", "Who must finish before it goes."),
                field<&ObjectMeta::owner_references>("ownerReferences", "What it belongs to."));
}

// metav1.Condition's tri-state. Unknown is its own value: neither healthy nor broken.
enum class ConditionStatus : std::uint8_t { unknown, true_, false_ };
consteval auto describe(const ConditionStatus*) { return names("True, False or Unknown.", "Unknown", "True", "False"); }

struct Condition {
  Text type;
  ConditionStatus status{};
  Text reason, message;  // reason: CamelCase, has a runbook page; message: for people
  WallTime last_transition_time{};
  std::optional<std::int64_t> observed_generation;
  friend bool operator==(const Condition&, const Condition&) = default;
};
consteval auto describe(const Condition*) {
  return object(
      "One aspect of the state of the object (metav1.Condition).",
      field<&Condition::type>(
          "type", "Which aspect.",
          {.required = true, .max_length = 316, .pattern = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9][-A-Za-z0-9_.]*$"}),
      field<&Condition::status>("status", "True, False, or Unknown: not known, neither healthy nor broken.", {.required = true}),
      field<&Condition::reason>("reason", "Why, in one CamelCase word; docs/runbook has a page for each.",
                                {.required = true, .min_length = 1, .max_length = 1024}),
      field<&Condition::message>("message", "Why, for people.", {.max_length = 32768}),
      field<&Condition::last_transition_time>("lastTransitionTime", "When the status last changed.", {.required = true}),
      field<&Condition::observed_generation>("observedGeneration", "The metadata.generation that this was judged on.", {.minimum = 0}));
}

// The condition of that type, or null.
const Condition* find_condition(const std::vector<Condition>& conditions, std::string_view type);
bool is_true(const std::vector<Condition>& conditions, std::string_view type);
bool is_false(const std::vector<Condition>& conditions, std::string_view type);
// Sets or adds; lastTransitionTime moves only when the status changes (meta.SetStatusCondition in apimachinery). Keeps them sorted by type.
void set_condition(std::vector<Condition>& conditions, Condition condition, WallTime now);

}  // namespace reconcile
