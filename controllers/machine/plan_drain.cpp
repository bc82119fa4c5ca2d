// Taking pods off a node: no new ones (our taint), then the eviction API, which asks the PodDisruptionBudgets. Never by deleting pods.
// As kubectl drain and Cluster API: pods of DaemonSets, mirror pods and ended ones stay. A pod that tolerates our taint may come back at
// once: after two such comebacks of one controller its pods stay too. Past the deadline what is left is left behind. All of them are named.
#include <algorithm>

#include "controllers/machine/pass.hpp"
#include "controllers/machine/refusals.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::machine {

using reconcile::Action, reconcile::kind_of, reconcile::quote, reconcile::Verb;

namespace {

constexpr std::chrono::seconds ask_again{5};  // as kubectl drain
// A kubelet that is gone never ends its pods; Cluster API waits as long (SkipWaitForDeleteTimeoutSeconds of an unreachable node).
constexpr std::chrono::minutes unreachable_wait{5};
constexpr std::size_t max_comebacks = 2;  // of the pods of one controller, in one drain: evicted so often again

struct Drain {  // one drain, of its operation
  const api::Operation& op;
  WallTime start;
  std::chrono::nanoseconds time_left;
  bool late() const { return time_left.count() <= 0; }
};

// ---- which pods ----

bool stays(const DrainPod& pod) {
  if (pod.status.phase == "Succeeded" || pod.status.phase == "Failed") return true;
  if (!pod.metadata.annotations.mirror.empty()) return true;
  const auto* owner = pod.controller();
  return owner && owner->kind == "DaemonSet";
}

bool tolerates_isolation(const DrainPod& pod) {
  return std::any_of(pod.spec.tolerations.begin(), pod.spec.tolerations.end(), [](const DrainToleration& t) {
    if (!t.effect.empty() && !(t.effect == api::taint::no_schedule)) return false;
    if (t.key.empty()) return t.op == "Exists";
    return t.key == api::taint::isolated && (t.op == "Exists" || t.value == isolated_value);
  });
}

// It was made after the node had been closed, and came all the same. Both times are whole seconds: who was made in the second of the start
// may have been there before, and is evicted once more.
bool came_back(const DrainPod& pod, const Drain& d) {
  return pod.controller() && pod.metadata.creation_timestamp && *pod.metadata.creation_timestamp > d.start && tolerates_isolation(pod);
}

bool is_unreachable(const Pass& p) { return p.gates[2].status == ConditionStatus::unknown; }

using Pods = std::vector<Ref<DrainPod>>;
struct Left {
  Pods waiting, stubborn;  // must go; come back each time
};

Left left_on_node(const Pass& p, const Pods& pods, const Drain& d) {
  Left out;
  for (const auto& pod : pods) {
    if (stays(*pod)) continue;
    const auto& deleted = pod->metadata.deletion_timestamp;
    if (deleted && is_unreachable(p) && p.elapsed(*deleted) > unreachable_wait) continue;
    const auto again = pod->controller() ? p.in.evicted_again.find(pod->controller()->uid) : p.in.evicted_again.end();
    const bool stubborn = !deleted && again != p.in.evicted_again.end() && again->second >= max_comebacks && came_back(*pod, d);
    (stubborn ? out.stubborn : out.waiting).push_back(pod);
  }
  return out;
}

std::string name_some(const Pods& pods, std::string_view what) {
  std::string text = std::to_string(pods.size()) + (pods.size() == 1 ? " pod " : " pods ") + std::string(what);
  for (std::size_t i = 0; i < std::min<std::size_t>(3, pods.size()); ++i) text += (i ? ", " : "") + pods[i]->key();
  return pods.size() > 3 ? text + ", ..." : text;
}

std::string name_left(const Left& left) {
  std::string text = name_some(left.waiting, "left: ");
  if (!left.stubborn.empty()) text += "; " + name_some(left.stubborn, "that came back each time: ");
  return text;
}

// ---- what is asked and done ----

// While it is polled the API server's memory is good enough, and an index there by node (k8s.io/kubernetes pkg/registry/core/pod:
// Indexers) makes it cheap; without a version it would read all pods of the cluster from etcd.
void ask_for_pods(Pass& p, std::string_view id, const char* version) {
  reconcile::Query q{.id = std::string(id), .cluster = p.in.connection, .resource = drain_pods.resource};
  q.query = "fieldSelector=spec.nodeName%3D" + p.in.node->metadata.name.str() + version;
  q.max_age = std::chrono::milliseconds(2'000);
  q.items = &drain_pods;
  p.out.queries.push_back(std::move(q));
}

void evict(Pass& p, const DrainPod& pod, const Drain& d) {
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
  a.why = "evict " + pod.key();
  if (came_back(pod, d)) a.mark = comeback_mark(d.op.id, pod.controller()->uid) + meta.uid.str();
  p.out.actions.push_back(std::move(a));
}

void evict_some(Pass& p, const Pods& pods, const Drain& d) {
  std::size_t evicted = 0;
  for (const auto& pod : pods) {
    if (pod->metadata.deletion_timestamp || evicted == evictions_a_pass) continue;
    evict(p, *pod, d);
    ++evicted;
  }
}

// ---- what is said ----

bool is_shown(const Pass& p, std::string_view why) {
  const auto* shown = find_condition(p.machine.status.conditions, api::condition::drained);
  return shown && shown->reason == why;
}

bool give_up(Pass& p, const std::string& message) {
  p.condition(api::condition::drained, ConditionStatus::false_, reason::drain_timed_out, "the drain's deadline has passed; " + message);
  if (!is_shown(p, reason::drain_timed_out)) p.warn(reason::drain_timed_out, "Drain", "going on without draining: " + message);
  return true;
}

bool be_done(Pass& p, const Left& left) {
  if (left.stubborn.empty()) {
    p.condition(api::condition::drained, ConditionStatus::true_, reason::drained);
    return true;
  }
  const std::string message =
      name_some(left.stubborn, "left, which came back each time: ") + ": they tolerate the taint " + std::string(api::taint::isolated);
  p.condition(api::condition::drained, ConditionStatus::true_, reason::pods_come_back, message);
  if (!is_shown(p, reason::pods_come_back)) p.note(reason::pods_come_back, "Drain", "going on: " + message);
  return true;
}

// Nobody knows what runs there. Nothing is evicted, and at the deadline that is said.
bool not_listed(Pass& p, const Drain& d, const Listed<DrainPod>& pods) {
  std::string message = "listing the pods of the node";
  if (pods) message = "the pods of the node can't be listed: " + words_of(pods->error());
  if (d.late() && pods) return give_up(p, message);
  if (pods) p.block("Node", p.in.node->metadata.name, reason::draining, message);
  p.condition(api::condition::drained, ConditionStatus::false_, reason::draining, message);
  p.again(ask_again);
  return false;
}

struct Refusals {
  const reconcile::Outcome* first = nullptr;
  std::size_t more = 0;
};

Refusals refused_evictions(const Pass& p) {
  Refusals out;
  for (const auto& f : p.in.failures) {
    if (!f.resource || f.resource->plural != "pods" || f.verb != Verb::create || !is_refusal(f.error)) continue;
    if (out.first)
      ++out.more;
    else
      out.first = &f;
  }
  return out;
}

// What the API server says no to stands at the Machine until it goes, and is asked for again after a while. True: not in this pass.
bool say_refused(Pass& p, const Left& left, std::string& message) {
  const auto refused = refused_evictions(p);
  const auto& shown = p.machine.status.blocked_by;
  const bool still = shown && shown->kind == "Pod" && std::any_of(left.waiting.begin(), left.waiting.end(), [&](const auto& pod) {
                       return pod->metadata.name == shown->name && !pod->metadata.deletion_timestamp;
                     });
  if (refused.first) {
    message += "; " + words_of(refused.first->error);
    if (refused.more > 0) message += " (and " + std::to_string(refused.more) + " more are refused)";
    p.block("Pod", refused.first->name, eviction_word(refused.first->error), message);
  } else if (still) {
    message = shown->message.str();
    p.block("Pod", shown->name, shown->reason, message);
  } else {
    return false;
  }
  p.condition(api::condition::drained, ConditionStatus::false_, p.status.blocked_by->reason, message);
  return refused.first || p.in.eviction_refused.value_or(ask_again) < ask_again;
}

// False: still waiting.
bool wait_for_pods(Pass& p, const Drain& d) {
  const auto* before = find_condition(p.machine.status.conditions, api::condition::drained);
  const bool was_drained = before && before->status == ConditionStatus::true_ && before->last_transition_time >= d.start;
  ask_for_pods(p, pods_query, "&resourceVersion=0");
  if (!p.in.pods || !*p.in.pods) {
    if (!was_drained) return not_listed(p, d, p.in.pods);
    p.condition(api::condition::drained, ConditionStatus::true_, before->reason, before->message);
    return true;
  }
  auto left = left_on_node(p, **p.in.pods, d);
  if (left.waiting.empty() && !was_drained) {  // that memory may be old: before it counts, what is stored is read
    ask_for_pods(p, pods_now_query, "");
    if (!p.in.pods_now || !*p.in.pods_now) return not_listed(p, d, p.in.pods_now);
    left = left_on_node(p, **p.in.pods_now, d);
  }
  if (left.waiting.empty()) return be_done(p, left);
  std::string message = name_left(left);
  p.condition(api::condition::drained, ConditionStatus::false_, reason::draining, message);
  const bool waits = say_refused(p, left, message);
  if (d.late()) return give_up(p, message);
  p.again(std::min<std::chrono::nanoseconds>(ask_again, d.time_left));
  if (!waits) evict_some(p, left.waiting, d);
  return false;
}

// A deletion goes on without what can't be closed, at the drain's deadline; an update never does: it fails at its own.
bool close_first(Pass& p, const Drain& d) {
  node_waits(p);
  const auto* trouble = node_trouble(p);
  if (trouble && d.op.type == api::OperationType::delete_ && d.late()) return give_up(p, trouble->message.str());
  p.condition(api::condition::drained, ConditionStatus::false_, trouble ? trouble->reason.view() : reason::draining,
              trouble ? trouble->message.view() : "closing the node first");
  isolate(p, 0);
  return false;
}

}  // namespace

std::string comeback_mark(std::string_view operation, std::string_view controller) {
  return "came-back/" + std::string(operation) + "/" + std::string(controller) + "/";
}

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
  const Drain d{op, start, p.left(start, drain_timeout(p.machine.spec.deletion))};
  return isolated_by_us(*p.in.node) ? wait_for_pods(p, d) : close_first(p, d);
}

}  // namespace endstate::machine
