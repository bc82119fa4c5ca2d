#include "controllers/guard/disruptive.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "apis/v1alpha1/enrolment.hpp"
#include "apis/v1alpha1/names.hpp"
#include "controllers/addons/plan.hpp"

namespace endstate::guard {

namespace api = v1alpha1;
using nlohmann::json;
using reconcile::Action, reconcile::Verb;

namespace {

// Wishes, records, and what a loop made for itself alone.
constexpr std::array<std::string_view, 12> harmless{"machines",
                                                    "machinesets",
                                                    "controllerrevisions",
                                                    "clusters",
                                                    "changebudgets",
                                                    "metricsources",
                                                    "machinepackageversions",
                                                    "clusterpackageversions",
                                                    "repairpolicies",
                                                    "repairs",
                                                    "jobs",
                                                    "events"};

std::string text(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

bool starts_with(std::string_view path, std::string_view start) { return path.substr(0, start.size()) == start; }

bool is_closing(std::string_view key) { return key == api::taint::not_ready || key == api::taint::isolated; }

// The patch takes off a closing taint: it tests that the taint is there, then removes that place.
bool opens(const json& patch) {
  return std::any_of(patch.begin(), patch.end(), [&](const json& test) {
    const auto path = text(test, "path");
    if (text(test, "op") != "test" || !starts_with(path, "/spec/taints/") || !is_closing(text(test, "value"))) return false;
    const auto place = path.substr(0, path.rfind('/'));
    return path == place + "/key" &&
           std::any_of(patch.begin(), patch.end(), [&](const json& o) { return text(o, "op") == "remove" && text(o, "path") == place; });
  });
}

bool taint_disturbs(const json& taint, bool opening) {
  if (!taint.is_object()) return true;
  const auto effect = text(taint, "effect");
  if (effect == "PreferNoSchedule") return false;
  return effect != "NoSchedule" || !opening || is_closing(text(taint, "key"));
}

bool op_disturbs(const json& o, bool opening) {
  const auto op = text(o, "op"), path = text(o, "path");
  if (op == "test" || starts_with(path, "/metadata/labels") || starts_with(path, "/metadata/annotations")) return false;
  if (!starts_with(path, "/spec/taints")) return true;
  if (op == "remove") return false;
  const auto value = o.find("value");
  if (op != "add" || value == o.end()) return true;
  if (path != "/spec/taints") return taint_disturbs(*value, opening);
  return !value->is_array() || std::any_of(value->begin(), value->end(), [&](const json& t) { return taint_disturbs(t, opening); });
}

bool node_patch_disturbs(const Action& a) {
  const auto body = json::parse(a.body, nullptr, false);
  if (a.verb == Verb::merge_patch) return !body.is_object() || body.size() != 1 || !body.contains("metadata");
  if (a.verb != Verb::json_patch || !body.is_array()) return true;
  const bool opening = opens(body);
  return std::any_of(body.begin(), body.end(), [&](const json& o) { return !o.is_object() || op_disturbs(o, opening); });
}

// Of a host's enrolment: the two Secrets that are named by its uid, and one-time tokens. Nothing that runs depends on them.
bool is_enrolment(const Action& a) {
  namespace names = api::enrolment;
  const auto name = a.name.view();
  if (a.name_space == names::bootstrap_namespace) return starts_with(name, names::bootstrap_prefix) && a.verb != Verb::merge_patch;
  return starts_with(name, names::token_secret({})) || starts_with(name, names::hand_over_secret({}));
}

// Only annotations of it are written.
bool annotates(const Action& a) {
  if (a.verb != Verb::merge_patch || !a.subresource.empty()) return false;
  const auto body = json::parse(a.body, nullptr, false);
  if (!body.is_object() || body.size() != 1 || !body.contains("metadata") || !body["metadata"].is_object()) return false;
  return body["metadata"].size() == 1 && body["metadata"].contains("annotations");
}

// Whose report of it is taken: no order to the host.
bool identifies(const Action& a) {
  if (a.verb != Verb::merge_patch || !a.subresource.empty()) return false;
  const auto body = json::parse(a.body, nullptr, false);
  return body.is_object() && body.size() == 1 && body.contains("spec") && body["spec"].is_object() && body["spec"].size() == 1 &&
         body["spec"].contains("identity");
}

}  // namespace

bool disruptive(const Action& a) {
  const auto kind = a.kind->resource->plural;
  if (kind == "pods") return !annotates(a);
  if (kind == "nodes") return !a.subresource.empty() || node_patch_disturbs(a);
  if (kind == "hostassignments") return !(a.subresource == "status" || annotates(a) || identifies(a));
  if (kind == "hosts") return a.verb == Verb::remove;
  // Add-ons of a Hosted cluster, in that cluster: what its package brings, and takes away when it has it no more (controllers/addons/).
  if (!a.cluster.empty() && kind != "pods" && a.mark.starts_with(addons::mark_prefix))
    return a.verb != Verb::apply && a.verb != Verb::remove;
  // Children of a Hosted control plane. Making one disturbs nobody, taking one away does, and so does what restarts its pods.
  if (kind == "deployments" || kind == "statefulsets") return a.verb != Verb::create;
  if (kind == "services" || kind == "networkpolicies" || kind == "poddisruptionbudgets" || kind == "persistentvolumeclaims")
    return a.verb != Verb::create && a.verb != Verb::apply;
  // Keys: only what is made for a known place (Action::making); a CA's steps are each safe by themselves
  // (controllers/cluster/rotation.hpp).
  if (kind == "secrets" && is_enrolment(a)) return false;
  if (kind == "secrets") return !a.making || (a.verb != Verb::create && a.verb != Verb::merge_patch);
  // What a host may read, made for it by its name; and the word on its certificates.
  if (a.kind->resource->group == "rbac.authorization.k8s.io")
    return !starts_with(a.name.view(), api::enrolment::user_prefix) ||
           (a.verb != Verb::create && a.verb != Verb::apply && !(a.verb == Verb::remove && a.name_space == api::system_namespace));
  if (kind == "certificatesigningrequests") return !(a.subresource == "approval");
  return std::find(harmless.begin(), harmless.end(), kind) == harmless.end();
}

}  // namespace endstate::guard
