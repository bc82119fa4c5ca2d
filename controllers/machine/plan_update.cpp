// Taking a machine in service to another revision: grant and lock, drain if what changes needs it, assign, wait, reopen. A newer wish
// takes the place of what is under way at once: the agent ends the step that it is in, then follows its new assignment.
#include <algorithm>

#include "controllers/machine/pass.hpp"

namespace endstate::machine {

namespace {

// The way back is never held by schedules, metrics or full windows: so it must be told from the way forward. Only what the set says makes
// it one: what the host has is rejected, or the machine is taken back to this very revision. A straggler that comes to the set's current
// revision late goes forward.
bool is_way_back(const Pass& p) {
  if (!p.in.set || !p.assignment) return false;
  if (p.machine.metadata.annotations.get(api::annotation::rollback_to) == p.revision) return true;
  const auto& rejected = p.in.set->status.rejected_revisions;
  return std::any_of(rejected.begin(), rejected.end(), [&](const auto& r) { return r.revision == p.assignment->spec.revision; });
}

std::int64_t next_attempt(const Pass& p, api::OperationType type) {
  const auto& last = p.machine.status.last_operation;
  return last && last->type == type && last->revision == p.revision ? last->attempt + 1 : 0;
}

bool needs_drain(const Pass& p) { return p.disruption >= api::Disruption::drain && p.node_is == NodeIs::ours; }

std::string_view owner(const Pass& p) { return p.machine.metadata.controller() ? "machineset" : "user"; }

// What is being created isn't in service: no lock, nothing to disturb; the grant of the creation covers it.
void reassign_new(Pass& p) {
  auto request = p.creation_request();
  const std::string grant = request.id();
  p.status.phase = api::MachinePhase::provisioning;
  if (!p.ask(std::move(request))) return;
  p.keep_claim(0, grant);  // the lock of a creation
  p.assign(1, grant);
  p.accept_retry(2);
}

void begin(Pass& p) {
  const auto type = is_way_back(p) ? api::OperationType::rollback : api::OperationType::update;
  const std::int64_t attempt = next_attempt(p, type);
  auto request = p.request(type == api::OperationType::rollback ? api::operation::machine_rollback : api::operation::machine_update,
                           p.revision, attempt);
  const std::string id = request.id();
  const auto before = p.machine.status.operation;
  if (before) p.status.phase = api::MachinePhase::updating;
  if (!before && type == api::OperationType::update && needs_drain(p) && !prefetched(p)) return;
  if (!p.ask(std::move(request))) return;
  if (before) end_operation(p, *before, api::OperationResult::superseded, reason::superseded, "revision " + p.revision + " is wanted now");
  api::Operation op{.id = id, .type = type, .owner = owner(p), .revision = p.revision, .attempt = attempt, .start_time = p.now};
  op.deadline = p.now + p.timeout();
  const bool drains = needs_drain(p);
  if (drains) {
    op.drain_start_time = p.now;
    op.deadline += drain_timeout(p.machine.spec.deletion);
  }
  p.status.phase = drains ? api::MachinePhase::draining : api::MachinePhase::updating;
  p.status.operation = std::move(op);
  p.lock();
  p.note(type == api::OperationType::rollback ? "RollingBack" : "Updating", "Update", "to revision " + p.revision);
  p.keep_claim(1, {});
  if (!drains)
    p.assign(1, id);
  else if (!isolated_by_us(*p.in.node))
    isolate(p, 1);
  p.accept_retry(2);
}

void fail_if_late(Pass& p, const api::Operation& op) {
  if (p.node_is == NodeIs::ours && (node_waits(p), node_trouble(p))) return fail_for_node(p, op);  // it can't be closed for the drain
  const bool lost = p.silent() || p.gates[2].status == ConditionStatus::unknown;
  end_operation(p, op, lost ? api::OperationResult::lost : api::OperationResult::failed,
                lost ? reason::host_lost : reason::machine_timed_out,
                p.worst().type.str() + " is not True at the deadline: " + p.worst().message.str());
  p.status.phase = api::MachinePhase::failed;
}

// Whether it is over, or all that is left is to bring the Node to what is wanted.
bool wait_for_gates(Pass& p, const api::Operation& op) {
  p.status.phase = api::MachinePhase::updating;
  if (!p.packages.failed.empty()) {
    end_operation(p, op, api::OperationResult::failed, reason::package_failed, p.gates[1].message);
    p.status.phase = api::MachinePhase::failed;
    return true;
  }
  if (p.gates_status != ConditionStatus::true_) return false;
  if (complete_node(p)) {
    end_operation(p, op, api::OperationResult::succeeded, reason::succeeded, {});
    p.status.node_ref = {p.in.node->metadata.name, p.in.node->metadata.uid};
    p.status.phase = api::MachinePhase::running;
  } else if (is_late_for_node(p, op)) {
    fail_for_node(p, op);
  } else if (const auto left = p.left(op); left > left.zero()) {
    p.again(left);
  }
  return true;
}

void carry_on(Pass& p, const api::Operation& op) {
  p.status.phase = api::MachinePhase::updating;
  // What was done in time is done, also when we look too late: after an outage of ours nothing is condemned that is well.
  if (!p.differs && wait_for_gates(p, op)) return;
  const auto left = p.left(op);
  if (left <= left.zero()) return fail_if_late(p, op);
  p.again(left);
  if (!p.differs || !p.resolved) return;
  const bool drains = needs_drain(p);
  if (drains) p.status.phase = api::MachinePhase::draining;
  if (!p.hold(op)) return;
  if (drains && !drain(p, op)) return;
  p.assign(0, op.id);
}

constexpr std::chrono::seconds node_grace{300};  // past the deadline, for what nobody has refused

}  // namespace

// All gates are True, and the Node isn't what is wanted. A label that was never set is no success. But after an outage of ours a Node that
// only wasn't looked at is given its time.
bool is_late_for_node(const Pass& p, const api::Operation& op) {
  return p.left(op) <= (node_trouble(p) ? std::chrono::seconds(0) : -node_grace);
}

void fail_for_node(Pass& p, const api::Operation& op) {
  const auto* trouble = node_trouble(p);
  const std::string name = p.in.node ? p.in.node->metadata.name.str() : "";
  end_operation(p, op, api::OperationResult::failed, trouble ? trouble->reason.view() : reason::machine_timed_out,
                trouble ? trouble->message.view()
                        : std::string_view("Node " + name + " is not open with the labels and taints of the spec at the deadline"));
  p.status.phase = api::MachinePhase::failed;
}

void end_operation(Pass& p, const api::Operation& op, api::OperationResult result, std::string_view why, std::string_view message) {
  p.status.last_operation = {.id = op.id,
                             .type = op.type,
                             .revision = op.revision,
                             .attempt = op.attempt,
                             .result = result,
                             .reason = why,
                             .message = message.substr(0, 1024),
                             .start_time = op.start_time,
                             .end_time = p.now};
  p.status.operation.reset();
  if (result == api::OperationResult::failed || result == api::OperationResult::lost)
    p.warn(why, "Update", std::string(reconcile::name_of(op.type)) + " to revision " + op.revision.str() + ": " + std::string(message));
}

bool plan_update(Pass& p) {
  const auto& op = p.machine.status.operation;
  const bool under_way = p.updating();
  if (under_way && op->revision == p.revision) {
    carry_on(p, *op);
    return true;
  }
  if (!p.differs) {
    // The wish went back to what the host still has: nothing was assigned, so there is nothing to undo but the isolation (plan_settle).
    if (under_way)
      end_operation(p, *op, api::OperationResult::superseded, reason::superseded, "revision " + p.revision + " is wanted again");
    return false;
  }
  if (!p.resolved) {
    if (under_way) p.status.phase = api::MachinePhase::updating;
    return under_way;  // said by the gate; what is under way stays as it is
  }
  if (!p.in_service)
    reassign_new(p);
  else
    begin(p);
  return true;
}

}  // namespace endstate::machine
