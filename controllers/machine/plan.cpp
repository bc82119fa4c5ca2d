#include "controllers/machine/plan.hpp"

#include <functional>

#include "controllers/common/lock_write.hpp"
#include "controllers/machine/pass.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::machine {

using reconcile::Action, reconcile::kind_of, reconcile::Verb;

namespace {

reconcile::Plan write(Pass& p, std::chrono::milliseconds settle) {
  if (p.lock_written) {
    const auto why = "lock: " + std::string(reconcile::name_of(p.status.operation->type));
    p.out.actions.insert(p.out.actions.begin(), lock_write(p.machine, p.status, why));
    return std::move(p.out);
  }
  if (p.is_last) return std::move(p.out);
  reconcile::StatusWrite w{.kind = &kind_of<api::Machine>, .cluster = {}, .key = p.machine.metadata.key()};
  w.uid = p.machine.metadata.uid;
  w.resource_version = p.machine.metadata.resource_version;
  w.changed = !(p.status == p.machine.status);
  if (w.changed) w.status = reconcile::encode(p.status);
  w.settle = settle;
  if (p.tell_now) w.settle = {};
  p.out.status = std::move(w);
  return std::move(p.out);
}

// Nothing is judged or done; what was known stays shown, and why nothing happens is said.
reconcile::Plan stand_still(Pass& p, std::string_view type, ConditionStatus value, std::string_view why, std::string_view message,
                            std::chrono::milliseconds settle) {
  if (p.status.conditions.empty()) p.keep_conditions();
  p.condition(type, value, why, message);
  if (p.machine.metadata.deleting()) say_deleting(p, message);
  return write(p, settle);
}

reconcile::Plan hold(Pass& p, bool by_cluster) {
  return stand_still(p, api::condition::paused, ConditionStatus::true_, reason::paused,
                     by_cluster ? "Cluster " + p.machine.spec.cluster_name.str() + " is paused"
                                : "spec.paused or the annotation endstate.dev/paused is set",
                     {});
}

bool never_hosted(const Pass& p) { return !p.in.host && !p.machine.status.host_ref; }

// It is being deleted, and its cluster is gone or can't be seen: who never got anything has nothing to undo, else it waits until that is
// given up.
bool goes_unseen(Pass& p) {
  if (!p.machine.metadata.deleting() || !(never_hosted(p) || p.is_abandoned())) return false;
  plan_delete(p);
  return true;
}

reconcile::Plan no_cluster(Pass& p) {
  if (goes_unseen(p)) return write(p, {});
  const auto& meta = p.machine.metadata;
  std::string message = "Cluster " + p.machine.spec.cluster_name.str() + " does not exist: ";
  if (meta.deleting()) {
    p.again(*meta.deletion_timestamp + abandon_after - p.now);
    message += "15 min after its deletion this Machine goes without undoing anything there, at once if it is forced";
  } else {
    message += "create it, or delete the Machine";
  }
  p.block("Cluster", p.machine.spec.cluster_name, reason::cluster_not_found, message);
  p.keep_conditions();
  p.condition(api::condition::ready, p.in_service ? ConditionStatus::unknown : ConditionStatus::false_, reason::cluster_not_found, message);
  return stand_still(p, api::condition::stalled, ConditionStatus::true_, reason::cluster_not_found, message, {});
}

// When a machine of a cluster that can't be seen says so: after 5 min, and never all of them at once. One that was never in service is
// waited for by somebody, and says it sooner.
WallTime tells_blindness(const Pass& p) {
  if (!p.in_service) return p.blind_since() + link_settle;
  const auto& counted = p.in.cluster->status.machines;
  const auto seconds = std::max<std::int64_t>(1, (counted ? counted->replicas : 0) / blind_writes);
  const auto place = std::hash<std::string>{}(p.key()) % static_cast<std::size_t>(seconds);
  return p.blind_since() + blind_settle + std::chrono::seconds(place);
}

reconcile::Plan say_nothing(Pass& p) {
  p.status = p.machine.status;
  return write(p, {});
}

// The business cluster can't be seen: nothing there is healthy or broken, nothing is touched, and nothing is written before that lasts.
// What is written is for people: no plan reads it, and it overwrites no word of the machine's own.
reconcile::Plan out_of_sight(Pass& p) {
  if (goes_unseen(p)) return write(p, {});
  p.again(reopen_wait);
  const bool goes = p.machine.metadata.deleting();
  if (const auto at = tells_blindness(p); !goes && p.now < at) {
    p.again(at - p.now);
    return say_nothing(p);
  }
  std::string message = p.in.blind_message;
  if (goes)
    message +=
        p.in.cluster->metadata.deleting()
            ? "; its Cluster is being deleted: after 15 min this Machine goes without undoing anything there, at once if it is forced"
            : "; annotate endstate.dev/force-delete if that cluster is lost for good";
  p.block("Cluster", p.machine.spec.cluster_name, reason::connection_lost, message);
  p.keep_conditions();
  p.condition(api::condition::node_ready, ConditionStatus::unknown, reason::connection_lost, p.in.blind_message);
  p.condition(api::condition::agent_alive, ConditionStatus::unknown, reason::connection_lost, p.in.blind_message);
  if (!p.in_service)
    p.condition(api::condition::ready, ConditionStatus::false_, reason::connection_lost, p.in.blind_message);
  else if (!is_unavailable(p.machine))
    p.condition(api::condition::ready, ConditionStatus::unknown, reason::connection_lost, p.in.blind_message);
  if (goes) say_deleting(p, message);
  return write(p, {});
}

void act(Pass& p) {
  if (p.machine.metadata.deleting()) return plan_delete(p);
  if (!p.in.host) return plan_claim(p);
  if (!p.assignment) return plan_assign(p);
  if (!plan_update(p)) plan_settle(p);
  for (const auto& host : p.in.more_hosts) p.free_host(*host, 0);  // claimed twice: the reply of the first was lost
}

// Its Host was enrolled anew: by the new number its agent may report, and whoever has the old certificate may not. It is no order.
void keep_identity(Pass& p) {
  if (!p.assignment || !p.in.host || p.assignment->spec.identity == p.in.host->status.identity) return;
  for (const Action& a : p.out.actions)
    if (a.kind == &kind_of<api::HostAssignment>) return;  // goes with that
  const auto& meta = p.assignment->metadata;
  const auto& number = p.in.host->status.identity;
  Action a{
      .verb = Verb::merge_patch, .kind = &kind_of<api::HostAssignment>, .cluster = p.in.connection, .name_space = {}, .name = meta.name};
  a.body = R"({"spec":{"identity":)" + (number ? std::to_string(*number) : "null") + "}}";
  a.uid = meta.uid;
  a.resource_version = meta.resource_version;
  a.why = "host " + p.in.host->metadata.name.str() + " was enrolled anew: by its new certificate it may report";
  p.out.actions.push_back(std::move(a));
}

// Clocks run from the grant, never through a pause: what was under way gets that time again. How long it was, the condition tells; the
// status that is written now has it no more. A creation's deadline is counted from its beginning.
std::optional<Input> after_pause(const Input& in) {
  const auto* paused = reconcile::find_condition(in.machine->status.conditions, api::condition::paused);
  const auto now = std::chrono::floor<std::chrono::seconds>(in.now.wall);
  if (!in.machine->status.operation || !paused || paused->status != ConditionStatus::true_ || paused->last_transition_time >= now)
    return std::nullopt;
  const WallTime since = paused->last_transition_time;
  auto machine = std::make_shared<api::Machine>(*in.machine);
  auto& op = *machine->status.operation;
  // What had passed before the pause has passed, and no more; blind gaps before, in and after it count as ever.
  const auto resume = [&](WallTime& t) {
    if (t != WallTime{}) t = began(elapsed(t, since, in.gaps), now, in.gaps);
  };
  if (op.deadline != WallTime{}) op.deadline += elapsed(since, now, in.gaps);
  resume(op.drain_start_time);
  resume(op.node_deletion_start_time);
  if (op.type == api::OperationType::create) resume(op.start_time);
  Input out = in;
  out.machine = std::move(machine);
  return out;
}

reconcile::Plan plan_awake(const Input& in) {
  Pass p(in);
  assess(p);
  if (!in.cluster) return no_cluster(p);
  if (!p.machine.metadata.deleting() && !p.machine.metadata.has_finalizer(api::finalizer::machine)) {
    p.add_finalizer();
    return std::move(p.out);
  }
  if (!in.sight.seen) return out_of_sight(p);
  judge_gates(p);
  act(p);
  keep_identity(p);
  finish_status(p);
  return write(p, settle_for(p));
}

}  // namespace

namespace {

reconcile::Plan plan_own(const Input& in) {
  const bool by_cluster = in.cluster && is_paused(*in.cluster);
  if (is_paused(*in.machine) || by_cluster) {
    Pass p(in);
    return hold(p, by_cluster);
  }
  const auto resumed = after_pause(in);
  return plan_awake(resumed ? *resumed : in);
}

}  // namespace

// A pass has one permit: what an earlier machine of this name left behind waits until there is nothing of its own to do.
reconcile::Plan plan(const Input& in) {
  auto out = plan_own(in);
  if (in.remains.empty() || out.permit || !out.actions.empty()) return out;
  auto left = plan_remains(in.remains, std::chrono::floor<std::chrono::seconds>(in.now.wall));
  out.permit = std::move(left.permit);
  out.actions = std::move(left.actions);
  if (left.again && (!out.again || *left.again < *out.again)) out.again = left.again;
  return out;
}

}  // namespace endstate::machine
