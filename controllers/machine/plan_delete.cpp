// A Machine goes: grant and lock, hooks, drain, release; the host undoes what was installed and says so; then the Node, the assignment,
// the claim and the finalizer go, in this order. A host that stays silent past the deadline is freed, but marked: nothing claims it
// before it has been wiped. A person may force it (annotation endstate.dev/force-delete): the same steps, but nothing is waited for.
// If its cluster can't be seen and that is given up (Pass::is_abandoned), nothing there is touched: the host is freed, marked, and that is
// all. What then is left there goes when the cluster comes back (plan_remains).
#include <algorithm>

#include "controllers/machine/pass.hpp"
#include "controllers/machine/refusals.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::machine {

using reconcile::Action, reconcile::kind_of, reconcile::quote, reconcile::Verb;

namespace {

// Cluster API's hooks: an annotation whose key has the prefix holds the deletion at that point until its owner takes it off.
Text hook(const Pass& p, std::string_view prefix) {
  for (const auto& [key, value] : p.machine.metadata.annotations)
    if (key.view().substr(0, prefix.size()) == prefix) return key;
  return {};
}

bool held_by_hook(Pass& p, std::string_view prefix) {
  const Text key = hook(p, prefix);
  if (key.empty() || !p.forced().empty()) return false;
  const std::string message = "waiting for the owner of the annotation " + key.str() + " to take it off";
  p.block("Annotation", key, reason::waiting_for_hook, message);
  p.condition(api::condition::deleting, ConditionStatus::true_, reason::waiting_for_hook, message);
  return true;
}

// The word of the host's agent, or its absence, kept with the Host. A merge patch, as all that the loop writes into a Host's status: an
// apply would take back what an earlier one of another purpose had set.
Action host_phase(const api::Host& host, api::HostPhase phase, Condition wiped, std::uint8_t stage) {
  auto conditions = host.status.conditions;
  reconcile::set_condition(conditions, wiped, wiped.last_transition_time);
  const auto& meta = host.metadata;
  Action a{.verb = Verb::merge_patch,
           .kind = &kind_of<api::Host>,
           .cluster = {},
           .name_space = meta.name_space,
           .name = meta.name,
           .subresource = "status"};
  a.body = R"({"status":{"phase":)" + quote(reconcile::name_of(phase)) + R"(,"conditions":)" + reconcile::encode(conditions) + "}}";
  a.uid = meta.uid;
  a.resource_version = meta.resource_version;
  a.stage = stage;
  return a;
}

void mark_unwiped(Pass& p, const api::Host& host, std::uint8_t stage) {
  Action a =
      host_phase(host, api::HostPhase::failed,
                 {.type = api::condition::wiped,
                  .status = ConditionStatus::false_,
                  .reason = reason::not_wiped,
                  .message = "freed from Machine " + p.key() +
                             " without its agent's word that it was wiped: bring the agent back, or wipe the host by hand, delete its "
                             "HostAssignment and set status.phase to Ready",
                  .last_transition_time = p.now,
                  .observed_generation = {}},
                 stage);
  a.why = "host " + host.metadata.name.str() + " must be wiped before anything claims it";
  p.out.actions.push_back(std::move(a));
}

bool is_marked(const api::Host& host) {
  return host.status.phase == api::HostPhase::failed && is_false(host.status.conditions, api::condition::wiped);
}

constexpr std::chrono::seconds node_retry{10};

std::chrono::microseconds left_for_node(const Pass& p) {
  if (!p.forced().empty()) return {};
  const auto& op = p.status.operation;
  const bool begun = op && op->node_deletion_start_time != WallTime{};
  return p.left(begun ? op->node_deletion_start_time : p.machine.metadata.deletion_timestamp.value_or(p.now),
                node_deletion_timeout(p.machine.spec.deletion));
}

// False: the API server refuses it (a webhook, a lacking right). That is said, and tried again until the deadline; then the machine goes
// without it.
bool remove_node(Pass& p) {
  if (p.node_is != NodeIs::ours || !p.seen()) return true;
  const auto refused = std::find_if(p.in.failures.begin(), p.in.failures.end(), [](const auto& f) {
    return f.resource && f.resource->plural == "nodes" && f.verb == Verb::remove && is_refusal(f.error);
  });
  const bool fresh = refused != p.in.failures.end();
  const auto& shown = p.machine.status.blocked_by;
  if (fresh || (shown && shown->reason == reason::node_deletion_blocked)) {
    const std::string message =
        fresh ? "the API server refuses to delete Node " + p.in.node->metadata.name.str() + ": " + words_of(refused->error)
              : shown->message.str();
    const auto left = left_for_node(p);
    if (left <= left.zero()) {
      p.warn(reason::node_deletion_blocked, "Delete", "going on without it: " + message);
      return true;
    }
    p.block("Node", p.in.node->metadata.name, reason::node_deletion_blocked, message);
    p.condition(api::condition::deleting, ConditionStatus::true_, reason::node_deletion_blocked, message);
    p.again(std::min<std::chrono::nanoseconds>(left, node_retry));
    if (fresh || p.in.node_refused.value_or(node_retry) < node_retry) return false;
  }
  p.remove(kind_of<Node>, p.in.connection, p.in.node->metadata, 0, "the machine of this node is gone");
  p.out.actions.back().guarded = true;
  return true;
}

// Everything is undone, or it never was done, or it is given up.
void finish(Pass& p, bool wiped) {
  // The agent that comes back later must still find that it is released, whatever became of its Host.
  const bool keep_assignment = !wiped;
  const bool disturbs = p.seen() && (p.node_is == NodeIs::ours || (p.assignment && !keep_assignment));
  if (disturbs && !p.ask(p.request(api::operation::machine_delete, {}, 0))) return;
  if (!remove_node(p)) return;
  if (p.assignment && !keep_assignment && p.seen()) {  // by it we know whose the Node is: it goes after that
    p.remove(kind_of<api::HostAssignment>, p.in.connection, p.assignment->metadata, 1, "the host has nothing of the machine left");
    p.out.actions.back().guarded = true;
  }
  if (p.in.host) {
    if (keep_assignment && !is_marked(*p.in.host)) {
      mark_unwiped(p, *p.in.host, 2);
      p.warn(reason::not_wiped, "Delete",
             "Host " + p.in.host->metadata.name.str() +
                 (p.seen() ? " was not wiped in time" : " was not wiped, its cluster can't be seen") +
                 (p.in.host->metadata.deleting() ? ", and it is being deleted: what was installed may still run there"
                                                 : ": it is kept from being claimed"));
      return;  // its version changes with the mark: freed in the next pass
    }
    p.free_host(*p.in.host, 2);
  } else if (keep_assignment && p.status.host_ref) {
    p.warn(reason::not_wiped, "Delete",
           "Host " + p.status.host_ref->name.str() + " was not wiped, and its Host object is gone: what was installed may still run there" +
               (p.seen() ? "; HostAssignment " + p.status.host_ref->uid.str() + " stays, Released, until its agent has undone it" : ""));
  }
  for (const auto& host : p.in.more_hosts) p.free_host(*host, 2);
  p.drop_finalizer(3);
}

void wait_for_wipe(Pass& p) {
  auto& op = *p.status.operation;
  if (op.node_deletion_start_time == WallTime{}) op.node_deletion_start_time = p.now;
  const auto left = p.forced().empty()
                        ? p.left_of_settling(p.left(op.node_deletion_start_time, node_deletion_timeout(p.machine.spec.deletion)))
                        : std::chrono::microseconds(0);
  if (!p.assignment || p.assignment->spec.state != api::AssignmentState::released) {
    p.condition(api::condition::wiped, ConditionStatus::false_, reason::wiping, "the host is told to undo what was installed");
    p.keep_claim(0, {});
    p.release(0);
    p.again(left);
    return;
  }
  const bool wiped = is_wiped(*p.assignment);
  if (!wiped && left > left.zero()) {  // also when its Host object is gone: what is installed runs on
    p.condition(api::condition::wiped, ConditionStatus::false_, reason::wiping,
                p.silent() ? "the agent is silent; waiting for it until the deadline" : "the host undoes what was installed");
    p.again(left);
    return;
  }
  p.condition(api::condition::wiped, wiped ? ConditionStatus::true_ : ConditionStatus::false_, wiped ? reason::wiped : reason::not_wiped);
  finish(p, wiped);
}

void begin(Pass& p) {
  if (held_by_hook(p, api::annotation::pre_drain_hook_prefix)) return;
  auto request = p.request(api::operation::machine_delete, {}, 0);
  const std::string id = request.id();
  if (!p.ask(std::move(request))) return;
  const auto before = p.machine.status.operation;
  if (before) end_operation(p, *before, api::OperationResult::superseded, reason::superseded, "the machine is being deleted");
  api::Operation op{.id = id, .type = api::OperationType::delete_, .owner = "user", .revision = {}, .start_time = p.now};
  op.drain_start_time = p.now;
  op.deadline = p.now + drain_timeout(p.machine.spec.deletion) + node_deletion_timeout(p.machine.spec.deletion);
  p.status.operation = std::move(op);
  p.lock();
  p.note(reason::deleting, "Delete", "taking its pods off, then releasing its host");
  const bool drains = p.in_service && p.node_is == NodeIs::ours && !is_drain_skipped(p);
  if (drains) p.status.phase = api::MachinePhase::draining;
  if (drains && !isolated_by_us(*p.in.node)) isolate(p, 1);
}

}  // namespace

// Who forces it says why, and that stays with the object and in an event: written once, when it is first seen. What is being deleted says
// so in its phase, whatever it waits for.
void say_deleting(Pass& p, std::string_view waits_for) {
  const bool drains = p.machine.status.phase == api::MachinePhase::draining && p.operation(api::OperationType::delete_);
  p.status.phase = drains ? api::MachinePhase::draining : api::MachinePhase::deleting;
  const auto why = p.forced();
  if (why.empty()) return p.condition(api::condition::deleting, ConditionStatus::true_, reason::deleting, waits_for);
  const std::string message = "forced, without hooks, drain and the host's word: " + std::string(why);
  const auto* shown = find_condition(p.machine.status.conditions, api::condition::deleting);
  if (!shown || !(shown->reason == reason::delete_forced)) p.warn(reason::delete_forced, "Delete", message);
  p.condition(api::condition::deleting, ConditionStatus::true_, reason::delete_forced, message);
}

namespace {

// Somebody deleted the assignment under a machine in service: it is made again, as released, for what is on the host must go. Not for a
// Host that another has by now.
bool must_tell_host(const Pass& p) {
  if (p.assignment || p.in.assignment || !p.in_service || !p.seen()) return false;
  return p.in.host || (p.status.host_ref && !p.in.former_host);
}

std::string waits_for(const Pass& p) {
  if (p.status.blocked_by) return p.status.blocked_by->message.str();
  for (const auto type : {api::condition::wiped, api::condition::drained})
    if (const auto* c = find_condition(p.status.conditions, type); c && c->status == ConditionStatus::false_) return c->message.str();
  return {};
}

void undo(Pass& p) {
  const auto* op = p.operation(api::OperationType::delete_);
  if (!op) return begin(p);
  if (!p.assignment || p.assignment->spec.state != api::AssignmentState::released) {
    if (!p.hold(*op)) return;
    if (!drain(p, *op)) {
      p.status.phase = api::MachinePhase::draining;
      return;
    }
    if (held_by_hook(p, api::annotation::pre_terminate_hook_prefix)) return p.again(reopen_wait);
    if (!volumes_detached(p)) return;
  }
  wait_for_wipe(p);
}

}  // namespace

void plan_delete(Pass& p) {
  if (!p.machine.metadata.has_finalizer(api::finalizer::machine)) return;  // another's finalizer holds it: nothing left for us
  say_deleting(p);
  p.status.phase = api::MachinePhase::deleting;
  if (p.seen() && (p.assignment || must_tell_host(p)))
    undo(p);
  else
    finish(p, p.seen() || !p.status.host_ref);  // no host was ever told to be this machine, or it has been undone, or it is given up
  const auto* shown = find_condition(p.status.conditions, api::condition::deleting);
  if (shown->reason == reason::deleting) p.condition(api::condition::deleting, ConditionStatus::true_, reason::deleting, waits_for(p));
}

namespace {

// Its Host was freed unwiped while the cluster couldn't be seen: the host is told now.
bool was_given_up(const Remains& r) {
  return r.assignment->spec.state == api::AssignmentState::active && r.host && !r.host->spec.consumer_ref && is_marked(*r.host);
}

Action release_remains(const Remains& r) {
  const auto& meta = r.assignment->metadata;
  Action a{.verb = Verb::merge_patch, .kind = &kind_of<api::HostAssignment>, .cluster = r.connection, .name_space = {}, .name = meta.name};
  a.body = R"({"spec":{"state":"Released","packages":null,"files":null,"requests":null}})";
  a.uid = meta.uid;
  a.resource_version = meta.resource_version;
  a.guarded = true;
  a.why = "its machine was given up while its cluster could not be seen: the host is told to undo it";
  return a;
}

}  // namespace

reconcile::Plan plan_remains(const std::vector<Remains>& remains, WallTime now) {
  reconcile::Plan out;
  for (const Remains& r : remains) {
    const bool given_up = was_given_up(r);
    if (!given_up && !is_wiped(*r.assignment)) continue;
    if (out.permit) {  // one permit a pass: the next of them in the next one
      out.again = std::chrono::milliseconds(1'000);
      break;
    }
    out.permit = reconcile::PermitRequest{.cluster = r.cluster,
                                          .operation = api::operation::machine_delete,
                                          .subject = {r.cluster.name_space, r.assignment->spec.node_name},
                                          .subject_uid = r.assignment->spec.machine_uid,
                                          .lasts = std::chrono::seconds(60)};
    if (given_up) {
      out.actions.push_back(release_remains(r));
      continue;
    }
    const auto remove = [&](const reconcile::Kind& kind, const reconcile::ObjectMeta& meta) {
      Action a{.verb = Verb::remove, .kind = &kind, .cluster = r.connection, .name_space = meta.name_space, .name = meta.name};
      a.uid = meta.uid;
      a.guarded = true;
      a.why = "left behind by a machine that is gone, wiped now";
      out.actions.push_back(std::move(a));
    };
    if (r.node && r.node->metadata.annotations.get(api::annotation::machine_uid) == r.assignment->spec.machine_uid.view())
      remove(kind_of<Node>, r.node->metadata);
    remove(kind_of<api::HostAssignment>, r.assignment->metadata);
    if (!r.host || !is_marked(*r.host)) continue;
    Action a = host_phase(*r.host, api::HostPhase::ready,
                          {.type = api::condition::wiped,
                           .status = ConditionStatus::true_,
                           .reason = reason::wiped,
                           .message = "its agent has reported the wipe",
                           .last_transition_time = now,
                           .observed_generation = {}},
                          1);
    a.why = "host " + r.host->metadata.name.str() + " is wiped and may be claimed again";
    out.actions.push_back(std::move(a));
  }
  return out;
}

}  // namespace endstate::machine
