// What several kinds share: references, selectors, bounds that are the same everywhere.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "apis/v1alpha1/names.hpp"
#include "reconcile/base/crd.hpp"
#include "reconcile/base/describe.hpp"
#include "reconcile/kube/meta.hpp"

namespace endstate::v1alpha1 {

using reconcile::Column, reconcile::Condition, reconcile::ConditionStatus, reconcile::Crd, reconcile::IntOrPercent, reconcile::Json,
    reconcile::JsonOf, reconcile::Labels, reconcile::ObjectMeta, reconcile::Resource, reconcile::Rules, reconcile::Text,
    reconcile::WallTime;
using reconcile::field, reconcile::names, reconcile::object;

// Bounds. A string's are needed by the API server's cost estimate of CEL rules, and keep objects far from etcd's limit of 1.5 MiB.
inline constexpr std::string_view dns_subdomain = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";  // RFC 1123
inline constexpr std::string_view dns_label = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
// Labels and taints as Kubernetes checks them (k8s.io/apimachinery/pkg/util/validation: IsQualifiedName, IsValidLabelValue).
inline constexpr std::string_view label_value = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$";
inline constexpr std::string_view qualified_name =
    "^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";
inline constexpr reconcile::Cel label_keys{
    "self.all(k, size(k) <= 317 && "
    "k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",
    "a label's key is a name of at most 63 letters, digits, '-', '_', '.', perhaps behind a DNS name and '/': example.com/team"};
inline constexpr std::string_view percent_pattern = "^(100|[1-9]?[0-9])%$";
inline constexpr std::string_view condition_type_pattern = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9][-A-Za-z0-9_.]*$";
inline constexpr Rules object_name{.max_length = 253, .pattern = dns_subdomain};  // the name of another object
inline constexpr Rules required_name{.required = true, .min_length = 1, .max_length = 253, .pattern = dns_subdomain};
inline constexpr Rules slot_name{.required = true, .min_length = 1, .max_length = 63, .pattern = dns_label};  // the key of a map list
inline constexpr Rules condition_list{.max_items = 64, .list_key = "type"};
inline constexpr Rules share{.minimum = 0, .maximum = 100'000, .max_length = 4, .pattern = percent_pattern};  // an IntOrPercent
inline constexpr Rules counter{.minimum = 0};
consteval Rules text(std::int64_t max_length) { return {.max_length = max_length}; }
consteval Rules list(std::int64_t max_items, std::string_view key) { return {.max_items = max_items, .list_key = key}; }
consteval Rules duration(std::int64_t minimum, std::int64_t maximum) { return {.minimum = minimum, .maximum = maximum}; }
// A map of labels: the value's length is bounded like a label's.
consteval Rules label_map(std::int64_t max_entries) { return {.max_length = 63, .max_properties = max_entries}; }
consteval Resource api(std::string_view plural, std::string_view kind, bool namespaced) {
  return {group, version, plural, kind, namespaced};
}

struct NameRef {
  Text name;
  friend bool operator==(const NameRef&, const NameRef&) = default;
};
consteval auto describe(const NameRef*) {
  return object("The name of another object.", field<&NameRef::name>("name", "Its name.", required_name));
}

// A user of something, for people and finalizers.
struct ObjectRef {
  Text kind, name_space, name;
  friend bool operator==(const ObjectRef&, const ObjectRef&) = default;
};
consteval auto describe(const ObjectRef*) {
  return object("Another object.", field<&ObjectRef::kind>("kind", "Its kind.", {.required = true, .min_length = 1, .max_length = 63}),
                field<&ObjectRef::name_space>("namespace", "Its namespace; absent: it has none.", text(63)),
                field<&ObjectRef::name>("name", "Its name.", required_name));
}

enum class SelectorOperator : std::uint8_t { in, not_in, exists, does_not_exist };
consteval auto describe(const SelectorOperator*) {
  return names("How a label's value is compared.", "In", "NotIn", "Exists", "DoesNotExist");
}
struct SelectorRequirement {
  Text key;
  SelectorOperator operator_{};
  std::vector<Text> values;
  friend bool operator==(const SelectorRequirement&, const SelectorRequirement&) = default;
};
consteval auto describe(const SelectorRequirement*) {
  return object("One demand on a label.",
                field<&SelectorRequirement::key>("key", "The label.", {.required = true, .min_length = 1, .max_length = 317}),
                field<&SelectorRequirement::operator_>("operator", "How its value is compared.", {.required = true}),
                field<&SelectorRequirement::values>("values", "With In: one of these. With NotIn: none of these. Else empty.",
                                                    {.max_length = 63, .max_items = 32, .atomic = true}))
      .check("self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0",
             "values must be given for In and NotIn, and must not be given for Exists and DoesNotExist");
}
// metav1.LabelSelector: all demands must hold; an empty selector matches everything.
struct LabelSelector {
  Labels match_labels;
  std::vector<SelectorRequirement> match_expressions;
  friend bool operator==(const LabelSelector&, const LabelSelector&) = default;
};
consteval auto describe(const LabelSelector*) {
  return object(
      "Chooses objects by their labels; an empty one chooses all.",
      field<&LabelSelector::match_labels>("matchLabels", "Labels that must be there with these values.", label_map(16)),
      field<&LabelSelector::match_expressions>("matchExpressions", "More demands; all must hold.", {.max_items = 16, .atomic = true}));
}
bool matches(const LabelSelector& selector, const Labels& labels);

// What keeps an object from going on, so that no wait is silent.
struct BlockedBy {
  Text kind, name, reason, message;
  WallTime since{};
  friend bool operator==(const BlockedBy&, const BlockedBy&) = default;
};
consteval auto describe(const BlockedBy*) {
  return object("What keeps it from going on.",
                field<&BlockedBy::kind>("kind", "The kind of what blocks: ChangeBudget, Pod, ...", text(63)),
                field<&BlockedBy::name>("name", "Its name, with its namespace where it has one.", text(317)),
                field<&BlockedBy::reason>("reason", "Why, in one CamelCase word; docs/runbook has a page for each.", text(128)),
                field<&BlockedBy::message>("message", "Why, for people.", text(1024)), field<&BlockedBy::since>("since", "Since when."));
}

enum class TaintEffect : std::uint8_t { no_schedule, prefer_no_schedule, no_execute };
consteval auto describe(const TaintEffect*) {
  return names("What happens to pods that don't tolerate the taint.", "NoSchedule", "PreferNoSchedule", "NoExecute");
}
struct NodeTaint {
  Text key, value;
  TaintEffect effect{};
  friend bool operator==(const NodeTaint&, const NodeTaint&) = default;
};
consteval auto describe(const NodeTaint*) {
  return object(
             "A taint of a Node.",
             field<&NodeTaint::key>("key", "Its key.", {.required = true, .min_length = 1, .max_length = 317, .pattern = qualified_name}),
             field<&NodeTaint::value>("value", "Its value.", {.max_length = 63, .pattern = label_value}),
             field<&NodeTaint::effect>("effect", "What happens to pods that don't tolerate it.", {.required = true}))
      .check("!self.key.startsWith('endstate.dev/')", "taints endstate.dev/... are endstate's own; choose another key");
}

struct ReadinessGate {
  Text condition_type;
  friend bool operator==(const ReadinessGate&, const ReadinessGate&) = default;
};
consteval auto describe(const ReadinessGate*) {
  return object(
      "A condition that must be True before pods may come.",
      field<&ReadinessGate::condition_type>(
          "conditionType",
          "Type of a condition of the Node, of the agent's report, of a condition ConfigMap, or that pods of a DaemonSet speak for.",
          {.required = true, .min_length = 1, .max_length = 316, .pattern = condition_type_pattern}));
}

enum class CheckOperator : std::uint8_t { greater_or_equal, greater, less_or_equal, less };
consteval auto describe(const CheckOperator*) {
  return names("How the measured value is compared with the threshold.", "GreaterOrEqual", "Greater", "LessOrEqual", "Less");
}
enum class OnNoData : std::uint8_t { pause, fail, ignore };
consteval auto describe(const OnNoData*) { return names("What a check without an answer means.", "Pause", "Fail", "Ignore"); }
// A question to a metric source, asked again and again. An answer is good (it passes the threshold), bad, inconclusive (between the two
// thresholds, or no data), or an error (no answer, or one that isn't one number).
struct MetricCheck {
  Text name;
  NameRef source_ref;
  Text query;
  CheckOperator operator_{};
  Text threshold, failure_threshold;
  std::optional<std::chrono::seconds> interval;
  std::optional<std::int64_t> count, failure_limit, inconclusive_limit, error_limit;
  std::optional<OnNoData> on_no_data;
  friend bool operator==(const MetricCheck&, const MetricCheck&) = default;
};
consteval auto describe(const MetricCheck*) {
  return object(
      "A question to a MetricSource, asked again and again.", field<&MetricCheck::name>("name", "Its name, for status.", slot_name),
      field<&MetricCheck::source_ref>("sourceRef", "The MetricSource that is asked.", {.required = true}),
      field<&MetricCheck::query>("query",
                                 "The question, in the source's language (PromQL); its answer must be one number. $(namespace), "
                                 "$(cluster), $(set), $(revision) and $(step) in it are replaced; a budget's check knows the first two.",
                                 {.required = true, .min_length = 1, .max_length = 4096}),
      field<&MetricCheck::operator_>("operator", "How the answer is compared with the threshold.", {.required = true}),
      field<&MetricCheck::threshold>("threshold", "A decimal number, as a string.",
                                     {.required = true, .min_length = 1, .max_length = 32, .pattern = "^-?[0-9]+(\\.[0-9]+)?$"}),
      field<&MetricCheck::failure_threshold>(
          "failureThreshold",
          "A decimal number, as a string: what misses the threshold is bad only when it is beyond this too, else inconclusive; "
          "absent: whatever misses the threshold is bad.",
          {.max_length = 32, .pattern = "^-?[0-9]+(\\.[0-9]+)?$"}),
      field<&MetricCheck::interval>("intervalSeconds", "Time between two questions; unset: 60.", duration(5, 86'400)),
      field<&MetricCheck::count>("count", "How many good answers are needed; unset: 5.", duration(1, 1000)),
      field<&MetricCheck::failure_limit>("failureLimit", "More bad answers than this fail the check; unset: 0.", duration(0, 1000)),
      field<&MetricCheck::inconclusive_limit>("inconclusiveLimit", "More inconclusive answers than this pause for a person; unset: 3.",
                                              duration(0, 1000)),
      field<&MetricCheck::error_limit>("errorLimit", "More errors in a row than this pause for a person; unset: 4.", duration(0, 1000)),
      field<&MetricCheck::on_no_data>("onNoData",
                                      "What an empty answer or NaN means: Pause: inconclusive, Fail: bad, Ignore: good; unset: Pause."));
}
inline std::chrono::seconds interval(const MetricCheck& c) { return c.interval.value_or(std::chrono::seconds(60)); }
inline std::int64_t count(const MetricCheck& c) { return c.count.value_or(5); }
inline std::int64_t failure_limit(const MetricCheck& c) { return c.failure_limit.value_or(0); }
inline std::int64_t inconclusive_limit(const MetricCheck& c) { return c.inconclusive_limit.value_or(3); }
inline std::int64_t error_limit(const MetricCheck& c) { return c.error_limit.value_or(4); }
inline OnNoData on_no_data(const MetricCheck& c) { return c.on_no_data.value_or(OnNoData::pause); }

// How a check stands after some answers; what Plans decide by, so it is stored.
enum class CheckResult : std::uint8_t { running, passed, failed, inconclusive };
consteval auto describe(const CheckResult*) {
  return names("How a check stands. Inconclusive: its limit of unclear or missing answers is reached; a person must look.", "Running",
               "Passed", "Failed", "Inconclusive");
}
struct CheckStatus {
  Text name;
  CheckResult result{};
  Text value, message;                                           // value: the last answer, as a decimal; empty: none yet, or no number
  std::int64_t good = 0, bad = 0, inconclusive = 0, errors = 0;  // errors: in a row
  WallTime time{};                                               // of the last answer
  friend bool operator==(const CheckStatus&, const CheckStatus&) = default;
};
consteval auto describe(const CheckStatus*) {
  using S = CheckStatus;
  return object("How a check of a metric stands.", field<&S::name>("name", "The check.", slot_name),
                field<&S::result>("result", "How it stands.", {.required = true}),
                field<&S::value>("value", "The last answer; absent: none yet, or no number.", text(64)),
                field<&S::message>("message", "What the last answer meant, for people.", text(512)),
                field<&S::good>("good", "Good answers.", counter), field<&S::bad>("bad", "Bad answers.", counter),
                field<&S::inconclusive>("inconclusive", "Inconclusive answers.", counter),
                field<&S::errors>("errors", "Errors in a row.", counter), field<&S::time>("time", "When the last answer came."));
}

}  // namespace endstate::v1alpha1
