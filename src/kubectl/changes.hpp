// Objects as JSON: what an apply would make of them, and in which fields two of them differ. Pure; JSON goes in and out as text.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "reconcile/base/describe.hpp"
#include "reconcile/base/result.hpp"

namespace endstate::kubectl {

inline constexpr std::string_view last_applied = "kubectl.kubernetes.io/last-applied-configuration";

// The merge patch that `kubectl apply` would send for a custom resource: what the manifest says and the live object doesn't, and null for
// what the last applied manifest (the annotation) said and this one doesn't (jsonmergepatch.CreateThreeWayJSONMergePatch of
// k8s.io/apimachinery). "{}": nothing. `last` may be empty. Without the annotation itself, status and what the API server gives.
std::string apply_patch(std::string_view last, std::string_view manifest, std::string_view live);
// RFC 7386.
std::string merged(std::string_view object, std::string_view merge_patch);
// The object with another spec.template: replaced, not merged.
std::string with_template(std::string_view object, std::string_view template_);
// The object with that namespace.
std::string with_namespace(std::string_view object, const std::string& name_space);
// The value at a key of metadata.annotations; empty: none.
std::string annotation_of(std::string_view object, std::string_view key);

struct Change {
  std::string path, before, after;  // one of the two is empty where the field is not there
};
// Of spec, labels and annotations; lists by their name where their entries have one:
// "spec.template.spec.packages[kubelet].versionRef.name".
std::vector<Change> changes_between(std::string_view before, std::string_view after);

// Where the JSON says what the type doesn't know: the path of the first such field; empty: nowhere.
std::string unknown_field(std::string_view json, const reconcile::Type& type);

}  // namespace endstate::kubectl
