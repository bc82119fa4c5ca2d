// Taking pods off a node: no new ones (our taint), then the eviction API, which asks the PodDisruptionBudgets. Never by deleting pods.
// As kubectl drain and Cluster API: pods of DaemonSets, mirror pods and ended ones stay. Past the deadline what is left is left behind,
// and said by name.
#include <algorithm>

#include "controllers/machine/pass.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::machine {

using reconcile::Action, reconcile::Code, reconcile::kind_of, reconcile::quote, reconcile::Verb;

namespace {

constexpr std::chrono::seconds ask_again{5};  // as kubectl drain
// A kubelet that is gone never ends its pods; Cluster API waits as long (SkipWaitForDeleteTimeoutSeconds of an unreachable node).
constexpr std::chrono::minutes unreachable_wait{5};

bool stays(const Pod& pod) {
  if (pod.status.phase == "Succeeded" || pod.status.phase == "Failed") return true;
  if (pod.metadata.annotations.has("kubernetes.io/config.mirror"))
    return true;  // k8s.io/kubernetes pkg/kubelet/types: ConfigMirrorAnnotationKey
  const auto* owner = pod.metadata.controller();
  return owner && owner->kind == "DaemonSet";
}

bool is_unreachable(const Pass& p) { return p.gates[2].status == ConditionStatus::unknown; }

void evict(Pass& p, const Pod& pod) {
  const auto& meta = pod.metadata;
  Action a{.verb = Verb::create,
           .kind = &kind_of<Pod>,
           .cluster = p.in.connection,
           .name_space = meta.name_space,
           .name = meta.name,
           .subresource = "eviction"};
  a.body = R"({"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":)" + quote(meta.name) + R"(,"namespace":)" +
           quote(meta.name_space) + R"(},"deleteOptions":{"preconditions":{"uid":)" + quote(meta.uid) + "}}}";
  a.guarded = true;
  a.why = "evict " + meta.key().str();
  p.out.actions.push_back(std::move(a));
}

std::vector<const Pod*> left(const Pass& p, const std::vector<Pod>& pods) {
  std::vector<const Pod*> out;
  for (const Pod& pod : pods) {
    if (stays(pod)) continue;
    if (pod.metadata.deletion_timestamp && is_unreachable(p) && p.elapsed(*pod.metadata.deletion_timestamp) > unreachable_wait) continue;
    out.push_back(&pod);
  }
  return out;
}

std::string name_some(const std::vector<const Pod*>& pods) {
  std::string text = std::to_string(pods.size()) + (pods.size() == 1 ? " pod" : " pods") + " left: ";
  for (std::size_t i = 0; i < std::min<std::size_t>(3, pods.size()); ++i) text += (i ? ", " : "") + pods[i]->metadata.key().str();
  return pods.size() > 3 ? text + ", ..." : text;
}

// What the last evictions were answered: a 429 names the PodDisruptionBudget.
const reconcile::Outcome* refused_eviction(const Pass& p) {
  for (const auto& f : p.in.failures)
    if (f.resource && f.resource->plural == "pods" && f.verb == Verb::create && f.error.code == Code::throttled) return &f;
  return nullptr;
}

void ask_for_pods(Pass& p) {
  p.out.queries.push_back({.id = std::string(pods_query),
                           .cluster = p.in.connection,
                           .resource = &reconcile::resource_of<Pod>,
                           .name_space = {},
                           .name = {},
                           .query = "fieldSelector=spec.nodeName%3D" + p.in.node->metadata.name.str() + "&limit=500",
                           .path = {},
                           .max_age = std::chrono::milliseconds(2'000)});
}

// False: still waiting.
bool wait_for_pods(Pass& p, std::chrono::microseconds time_left) {
  const bool late = time_left <= time_left.zero();
  if (!p.in.pods || !p.in.pods->pods) {
    const std::string message =
        p.in.pods ? "listing the pods of the node: " + p.in.pods->pods.error().message : "listing the pods of the node";
    p.condition(api::condition::drained, ConditionStatus::false_, late ? reason::drain_timed_out : reason::draining, message);
    p.again(ask_again);
    return late;
  }
  const auto pods = left(p, *p.in.pods->pods);
  if (pods.empty() && p.in.pods->complete) {
    p.condition(api::condition::drained, ConditionStatus::true_, reason::drained);
    return true;
  }
  std::string message = name_some(pods);
  if (late) {
    p.condition(api::condition::drained, ConditionStatus::false_, reason::drain_timed_out, "the drain's deadline has passed; " + message);
    const auto* shown = find_condition(p.machine.status.conditions, api::condition::drained);
    if (!shown || !(shown->reason == reason::drain_timed_out))
      p.warn(reason::drain_timed_out, "Drain", "going on without draining: " + message);
    return true;
  }
  const auto* refusal = refused_eviction(p);
  const auto& shown = p.machine.status.blocked_by;
  const bool still = !refusal && shown && shown->kind == "Pod" &&
                     std::any_of(pods.begin(), pods.end(), [&](const Pod* pod) { return pod->metadata.name == shown->name; });
  if (refusal) {
    message += "; " + refusal->error.message;
    p.block("Pod", refusal->name, reason::drain_blocked, message);
  } else if (still) {
    message = shown->message.str();  // it is being tried again: until it goes, it blocks
    p.block("Pod", shown->name, reason::drain_blocked, message);
  }
  p.condition(api::condition::drained, ConditionStatus::false_, refusal || still ? reason::drain_blocked : reason::draining, message);
  p.again(std::min<std::chrono::nanoseconds>(ask_again, time_left));
  if (refusal) return false;  // the pass that shows a refusal doesn't try: else a budget that says no is asked at once again
  std::size_t evicted = 0;
  for (const Pod* pod : pods)
    if (!pod->metadata.deletion_timestamp && evicted < evictions_a_pass) {
      evict(p, *pod);
      ++evicted;
    }
  return false;
}

}  // namespace

bool is_drain_skipped(const Pass& p) {
  return p.machine.metadata.annotations.has(api::annotation::exclude_node_draining) || !p.forced().empty();
}

bool drain(Pass& p, const api::Operation& op) {
  const bool excluded = op.type == api::OperationType::delete_ && is_drain_skipped(p);
  if (p.node_is != NodeIs::ours || !p.in_service || excluded) {
    p.condition(api::condition::drained, ConditionStatus::true_, excluded ? reason::drain_skipped : reason::drain_not_needed);
    return true;
  }
  const WallTime start = op.drain_start_time == WallTime{} ? op.start_time : op.drain_start_time;
  if (!isolated_by_us(*p.in.node)) {
    p.condition(api::condition::drained, ConditionStatus::false_, reason::draining, "closing the node first");
    isolate(p, 0);
    return false;
  }
  ask_for_pods(p);
  return wait_for_pods(p, p.left(start, drain_timeout(p.machine.spec.deletion)));
}

}  // namespace endstate::machine
