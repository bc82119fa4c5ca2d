#include "controllers/machine/plan.hpp"

#include "controllers/machine/pass.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::machine {

using reconcile::Action, reconcile::kind_of, reconcile::quote, reconcile::Verb;

namespace {

// The lock: the draft of the status as the first guarded write, by compare-and-swap. What the grant permits follows at stage 1. Refused,
// neither is written.
void put_lock(Pass& p) {
  const auto& meta = p.machine.metadata;
  const reconcile::Kind& kind = kind_of<api::Machine>;
  Action a{.verb = Verb::apply, .kind = &kind, .cluster = {}, .name_space = meta.name_space, .name = meta.name, .subresource = "status"};
  a.body = R"({"apiVersion":)" + quote(api_version(*kind.resource)) + R"(,"kind":)" + quote(kind.resource->kind) +
           R"(,"metadata":{"name":)" + quote(meta.name) + R"(,"namespace":)" + quote(meta.name_space) + R"(,"uid":)" + quote(meta.uid) +
           R"(,"resourceVersion":)" + quote(meta.resource_version) + R"(},"status":)" + reconcile::encode(p.status) + "}";
  a.uid = meta.uid;
  a.resource_version = meta.resource_version;
  a.guarded = true;
  a.why = "lock: " + std::string(reconcile::name_of(p.status.operation->type));
  p.out.actions.insert(p.out.actions.begin(), std::move(a));
}

reconcile::Plan write(Pass& p, std::chrono::milliseconds settle) {
  if (p.lock_written) {
    put_lock(p);
    return std::move(p.out);
  }
  if (p.is_last) return std::move(p.out);
  reconcile::StatusWrite w{.kind = &kind_of<api::Machine>, .cluster = {}, .key = p.machine.metadata.key()};
  w.uid = p.machine.metadata.uid;
  w.resource_version = p.machine.metadata.resource_version;
  w.changed = !(p.status == p.machine.status);
  if (w.changed) w.status = reconcile::encode(p.status);
  w.settle = settle;
  p.out.status = std::move(w);
  return std::move(p.out);
}

// Nothing is judged or done; what was known stays shown, and why nothing happens is said.
reconcile::Plan stand_still(Pass& p, std::string_view type, ConditionStatus value, std::string_view why, std::string_view message,
                            std::chrono::milliseconds settle) {
  p.keep_conditions();
  p.condition(type, value, why, message);
  return write(p, settle);
}

reconcile::Plan hold(Pass& p, bool by_cluster) {
  return stand_still(p, api::condition::paused, ConditionStatus::true_, reason::paused,
                     by_cluster ? "Cluster " + p.machine.spec.cluster_name.str() + " is paused"
                                : "spec.paused or the annotation endstate.dev/paused is set",
                     {});
}

reconcile::Plan no_cluster(Pass& p) {
  const std::string message = "Cluster " + p.machine.spec.cluster_name.str() + " does not exist: create it, or delete the Machine";
  const auto& meta = p.machine.metadata;
  if (meta.deleting() && (!p.in.host || p.now >= *meta.deletion_timestamp + abandon_after)) {
    plan_delete(p);
    return write(p, {});
  }
  if (meta.deleting()) p.again(*meta.deletion_timestamp + abandon_after - p.now);
  p.block("Cluster", p.machine.spec.cluster_name, reason::cluster_not_found, message);
  p.keep_conditions();
  p.condition(api::condition::ready, p.in_service ? ConditionStatus::unknown : ConditionStatus::false_, reason::cluster_not_found, message);
  return stand_still(p, api::condition::stalled, ConditionStatus::true_, reason::cluster_not_found, message, {});
}

// The business cluster can't be seen: nothing there is healthy or broken, and nothing disruptive is done.
reconcile::Plan no_link(Pass& p) {
  if (p.machine.metadata.deleting() && !p.in.host && !p.machine.status.host_ref) {
    plan_delete(p);  // it never got anything: nothing to undo
    return write(p, {});
  }
  p.block("Cluster", p.machine.spec.cluster_name, reason::connection_lost, p.in.link_message);
  p.keep_conditions();
  p.condition(api::condition::node_ready, ConditionStatus::unknown, reason::connection_lost, p.in.link_message);
  p.condition(api::condition::agent_alive, ConditionStatus::unknown, reason::connection_lost, p.in.link_message);
  p.again(reopen_wait);
  const auto ready = p.in_service ? ConditionStatus::unknown : ConditionStatus::false_;
  return stand_still(p, api::condition::ready, ready, reason::connection_lost, p.in.link_message, link_settle);
}

void act(Pass& p) {
  if (p.machine.metadata.deleting()) return plan_delete(p);
  if (!p.in.host) return plan_claim(p);
  if (!p.assignment) return plan_assign(p);
  if (!plan_update(p)) plan_settle(p);
  for (const auto& host : p.in.more_hosts) p.free_host(*host, 0);  // claimed twice: the reply of the first was lost
}

// Clocks run from the grant, never through a pause: what was under way gets that time again. How long it was, the condition tells; the
// status that is written now has it no more. A creation's deadline is counted from its beginning.
std::optional<Input> after_pause(const Input& in) {
  const auto* paused = reconcile::find_condition(in.machine->status.conditions, api::condition::paused);
  const auto now = std::chrono::floor<std::chrono::seconds>(in.now.wall);
  if (!in.machine->status.operation || !paused || paused->status != ConditionStatus::true_ || paused->last_transition_time >= now)
    return std::nullopt;
  auto machine = std::make_shared<api::Machine>(*in.machine);
  auto& op = *machine->status.operation;
  const auto shift = [&](WallTime& t) {
    if (t != WallTime{}) t += now - paused->last_transition_time;
  };
  shift(op.deadline);
  shift(op.drain_start_time);
  shift(op.node_deletion_start_time);
  if (op.type == api::OperationType::create) shift(op.start_time);
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
  if (in.link != Input::Link::up) return no_link(p);
  judge_gates(p);
  act(p);
  finish_status(p);
  return write(p, settle_for(p));
}

}  // namespace

reconcile::Plan plan(const Input& in) {
  const bool by_cluster = in.cluster && is_paused(*in.cluster);
  if (is_paused(*in.machine) || by_cluster) {
    Pass p(in);
    return hold(p, by_cluster);
  }
  const auto resumed = after_pause(in);
  return plan_awake(resumed ? *resumed : in);
}

}  // namespace endstate::machine
