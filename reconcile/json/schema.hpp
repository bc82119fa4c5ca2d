// What described types look like to the API server (CustomResourceDefinitions) and to people (a reference page). Deterministic: the same
// types always give the same text, so that a generated file is stale exactly when it differs.
#pragma once
#include <span>
#include <string>

#include "reconcile/base/crd.hpp"
#include "reconcile/base/describe.hpp"
#include "reconcile/base/env.hpp"

namespace reconcile {

// A kind that a CRD defines. The pointees are constants with static storage.
struct ApiKind {
  const Resource* resource;
  const Type* type;
  const Crd* crd;
};
template <class T>
inline constexpr Crd crd_of = crd(static_cast<const T*>(nullptr));  // found by ADL
template <class T>
inline constexpr Resource api_resource_of = resource(static_cast<const T*>(nullptr));
template <class T>
constexpr ApiKind api_kind() {
  return {&api_resource_of<T>, &type_of<T>, &crd_of<T>};
}

// The structural schema (apiextensions.k8s.io/v1 JSONSchemaProps) of a type, as JSON.
std::string schema(const Type& type);
// The whole CustomResourceDefinition, as JSON: one version, served and stored, with the schema and the columns.
std::string custom_resource_definition(const ApiKind& kind);
// A reference page in Markdown: of each kind its facts, its fields with type and bounds, and its rules.
std::string reference_page(std::string_view title, std::string_view introduction, std::span<const ApiKind> kinds);

}  // namespace reconcile
