// Nothing is under way but perhaps the creation: the node opens when every gate is True, and closes when one is False for long enough.
#include <algorithm>

#include "controllers/machine/pass.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::machine {

using reconcile::Action, reconcile::kind_of, reconcile::Verb;

namespace {

bool is_bad_end(const std::optional<api::LastOperation>& last) {
  return last && (last->result == api::OperationResult::failed || last->result == api::OperationResult::lost);
}

// The creation as an operation. It is written only if it takes long enough to be shown; the assignment has its grant and its time.
api::Operation creation(const Pass& p) {
  const api::HostAssignment& a = *p.assignment;
  const auto& last = p.machine.status.last_operation;
  const bool ended = last && last->id == a.spec.grant_id;
  WallTime start = a.metadata.creation_timestamp.value_or(p.now);
  if (last && !ended) start = std::max(start, last->end_time);
  if (const auto* op = p.operation(api::OperationType::create); op && op->id == a.spec.grant_id) start = op->start_time;
  return {.id = a.spec.grant_id,
          .type = api::OperationType::create,
          .owner = "machine",
          .revision = a.spec.revision,
          .attempt = last && last->type == api::OperationType::create ? last->attempt + (ended ? 0 : 1) : 0,
          .start_time = start,
          .deadline = start + p.timeout()};
}

void create(Pass& p) {
  const api::Operation op = creation(p);
  const auto& last = p.machine.status.last_operation;
  const bool failed_before = last && last->id == op.id && is_bad_end(last);
  p.status.phase = p.packages.ready ? api::MachinePhase::joining : api::MachinePhase::provisioning;
  p.status.operation = op;
  const bool good = p.gates_status == ConditionStatus::true_;
  if (good && complete_node(p)) {
    end_operation(p, op, api::OperationResult::succeeded, failed_before ? reason::recovered : reason::succeeded, {});
    p.status.node_ref = {p.in.node->metadata.name, p.in.node->metadata.uid};
    p.status.phase = api::MachinePhase::running;
    return;
  }
  const auto left = p.left(op);
  const bool late = good ? is_late_for_node(p, op) : left <= left.zero();
  if (!p.packages.failed.empty() || late) {
    if (!failed_before && good)
      fail_for_node(p, op);
    else if (!failed_before)
      end_operation(p, op, p.silent() && late ? api::OperationResult::lost : api::OperationResult::failed,
                    late ? reason::machine_timed_out : reason::package_failed, p.worst().type.str() + ": " + p.worst().message.str());
    p.status.operation.reset();
    p.status.phase = api::MachinePhase::failed;
    return;
  }
  if (left > left.zero()) p.again(left);
}

bool is_suspect(const ClusterHealth& h) { return h.ill >= 3 && h.ill * 3 > h.in_service; }

void close_if_due(Pass& p) {
  const Gate& gate = p.worst();
  const auto* shown = find_condition(p.machine.status.conditions, gate.type);
  const bool stands = shown && shown->status == ConditionStatus::false_;
  const WallTime since = stands ? shown->last_transition_time : p.now;
  if (const auto left = p.left(since, close_after); left > left.zero()) return p.again(left);
  if (is_suspect(p.in.health)) {
    p.condition(
        api::condition::scheduling_open, ConditionStatus::true_, reason::cluster_suspect,
        std::to_string(p.in.health.ill) + " of " + std::to_string(p.in.health.in_service) +
            " machines of the cluster look ill at once: nothing is closed; look for a common cause (network, API server, zone) first");
    p.again(reopen_wait);
    return;
  }
  // One incident, one permit: told apart by when the gate turned, so that a restart asks for the same.
  auto request = p.request(api::operation::close_scheduling, {}, since.time_since_epoch().count() / 1'000'000);
  request.lasts = std::chrono::seconds(300);
  if (p.ask(std::move(request))) close_node(p);
}

// The agent's report of the host, kept with the Host, where it outlives the assignment.
void copy_to_host(Pass& p) {
  if (!p.out.actions.empty() || !p.in.host || !p.assignment) return;
  const auto& reported = p.assignment->status;
  const auto& known = p.in.host->status;
  if (!reported.agent || (known.agent == reported.agent && (reported.capacity.empty() || known.capacity == reported.capacity))) return;
  const auto& meta = p.in.host->metadata;
  if (!meta.has_finalizer(api::finalizer::claimed) && !meta.deleting()) return p.keep_claim(0, {});  // then, of its new version, the rest
  std::string fields = R"("agent":)" + reconcile::encode(*reported.agent);
  if (!reported.capacity.empty()) fields += R"(,"capacity":)" + reconcile::encode(reported.capacity);
  Action a{.verb = Verb::merge_patch,
           .kind = &kind_of<api::Host>,
           .cluster = {},
           .name_space = meta.name_space,
           .name = meta.name,
           .subresource = "status"};
  a.body = R"({"status":{)" + fields + "}}";
  a.uid = meta.uid;
  a.resource_version = meta.resource_version;
  a.why = "keep what the agent says of the host";
  p.out.actions.push_back(std::move(a));
}

void serve(Pass& p) {
  p.status.phase = api::MachinePhase::running;
  p.status.operation.reset();
  auto& last = p.status.last_operation;
  const bool troubled = is_bad_end(last) && p.assignment && last->revision == p.assignment->spec.revision;
  if (p.gates_status == ConditionStatus::true_) {
    // What failed has recovered only when all that it should be stands.
    if (troubled ? complete_node(p) : keep_node(p)) {
      p.status.node_ref = {p.in.node->metadata.name, p.in.node->metadata.uid};
      if (troubled) {
        last->result = api::OperationResult::succeeded;
        last->reason = reason::recovered;
        last->message = {};
        last->end_time = p.now;
      }
      copy_to_host(p);
    } else if (troubled) {
      p.status.phase = api::MachinePhase::failed;
    }
    return;
  }
  if (troubled) p.status.phase = api::MachinePhase::failed;
  if (p.gates_status == ConditionStatus::false_ && is_open(p)) close_if_due(p);
}

}  // namespace

void plan_settle(Pass& p) {
  if (was_in_service(p.machine))
    serve(p);
  else
    create(p);  // also when it is open already and only the status doesn't say so yet
}

}  // namespace endstate::machine
