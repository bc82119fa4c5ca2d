#include "controllers/package/plan.hpp"

#include "apis/v1alpha1/names.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::package {
namespace {

using reconcile::Action, reconcile::Verb;
using namespace std::chrono_literals;

Action patch(const Snapshot& s, Verb verb, std::string body, std::string why) {
  return {.verb = verb, .kind = s.kind, .name = s.metadata->name, .body = std::move(body), .uid = s.metadata->uid, .why = std::move(why)};
}

Action add_finalizer(const Snapshot& s) {
  auto finalizers = s.metadata->finalizers;
  finalizers.emplace_back(api::finalizer::in_use);
  auto action = patch(s, Verb::merge_patch, "{\"metadata\":{\"finalizers\":" + reconcile::encode(finalizers) + "}}", "it is in use");
  action.resource_version = s.metadata->resource_version;
  return action;
}

Action remove_finalizer(const Snapshot& s) {
  std::size_t at = 0;
  while (at < s.metadata->finalizers.size() && !(s.metadata->finalizers[at] == api::finalizer::in_use)) ++at;
  const auto path = reconcile::quote("/metadata/finalizers/" + std::to_string(at));
  const auto test = [](const std::string& where, std::string_view value) {
    return "{\"op\":\"test\",\"path\":" + where + ",\"value\":" + reconcile::quote(value) + "}";
  };
  return patch(s, Verb::json_patch,
               "[" + test("\"/metadata/uid\"", s.metadata->uid) + "," + test(path, api::finalizer::in_use) +
                   ",{\"op\":\"remove\",\"path\":" + path + "}]",
               "nobody uses it any more");
}

std::string users_text(const Snapshot& s) {
  if (s.users == 0) return s.complete ? "nobody uses it" : "not known: " + s.unknown;
  const auto& first = s.first_users.front();
  std::string text =
      "used by " + first.kind.str() + " " + (first.name_space.empty() ? "" : first.name_space.str() + "/") + first.name.str();
  if (s.users > 1) text += " and " + std::to_string(s.users - 1) + " more";
  return text;
}

void set(const Snapshot& s, api::PackageVersionStatus& status, std::string_view type, bool value, std::string_view reason,
         std::string message) {
  const auto& meta = *s.metadata;
  const auto* old = reconcile::find_condition(s.status->conditions, type);
  const auto wanted = value ? api::ConditionStatus::true_ : api::ConditionStatus::false_;
  api::Condition c{.type = type,
                   .status = wanted,
                   .reason = reason,
                   .message = Text(message),
                   .last_transition_time = old && old->status == wanted ? old->last_transition_time : s.now,
                   .observed_generation = meta.generation};
  reconcile::set_condition(status.conditions, std::move(c), s.now);
}

api::PackageVersionStatus new_status(const Snapshot& s) {
  const bool used = s.users > 0 || !s.complete, deleting = s.metadata->deleting();
  const auto in_use = used ? api::reason::in_use : api::reason::not_in_use;
  api::PackageVersionStatus out;
  out.observed_generation = s.metadata->generation;
  out.in_use_count = s.users;
  out.in_use_by = s.first_users;
  set(s, out, api::condition::ready, !deleting, deleting ? api::reason::deleting : in_use, users_text(s));
  set(s, out, api::condition::reconciling, deleting && !used, deleting && !used ? api::reason::deleting : in_use, {});
  const bool stalled = deleting && used;
  set(s, out, api::condition::stalled, stalled, stalled ? in_use : api::reason::not_stalled,
      stalled ? "it goes when nobody needs it any more: " + users_text(s) : std::string());
  return out;
}

}  // namespace

Planned plan_in_full(const Snapshot& s) {
  Planned out;
  const auto& meta = *s.metadata;
  const bool held = meta.has_finalizer(api::finalizer::in_use);
  if (s.users > 0 && !held && !meta.deleting())
    out.plan.actions.push_back(add_finalizer(s));
  else if (s.users == 0 && s.complete && held)
    out.plan.actions.push_back(remove_finalizer(s));
  if (!s.complete) out.plan.again = 10s;
  if (!out.plan.actions.empty()) return out;  // they change the resourceVersion that the status is written at: next pass
  auto status = new_status(s);
  const bool changed = !(status == *s.status);
  out.plan.status = reconcile::StatusWrite{.kind = s.kind,
                                           .key = meta.key(),
                                           .uid = meta.uid,
                                           .resource_version = meta.resource_version,
                                           .status = changed ? reconcile::encode(status) : std::string(),
                                           .changed = changed,
                                           .settle = meta.deleting() ? 0ms : settle};
  out.status = std::move(status);
  return out;
}

reconcile::Plan plan(const Snapshot& snapshot) { return plan_in_full(snapshot).plan; }

}  // namespace endstate::package
