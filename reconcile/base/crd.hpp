// What a CustomResourceDefinition says besides its schema: constant data beside a described type, read by reconcile/json/schema.hpp.
//
//   inline constexpr Column widget_columns[] = {{"Phase", "string", ".status.phase", "Where it is in its life."}};
//   constexpr Crd crd(const Widget*) { return {.singular = "widget", .short_name = "wi", .columns = widget_columns}; }
#pragma once
#include <span>
#include <string_view>

namespace reconcile {

// A column of `kubectl get`. priority 0 is always shown, 1 only by -o wide.
struct Column {
  std::string_view name, type, json_path, doc;  // type: string, integer, boolean, date
  int priority = 0;
};

// Scope, group, version, plural and kind stand in the type's Resource; its description is the described type's own.
struct Crd {
  std::string_view singular, short_name, category{};
  std::span<const Column> columns{};
  bool status = true;  // has the status subresource
  // The scale subresource, if scale_spec isn't empty: JSON paths. scale_selector is what a HorizontalPodAutoscaler reads.
  std::string_view scale_spec{}, scale_status{}, scale_selector{};
};

}  // namespace reconcile
