// The status: what people and other loops see, and when it is written. Once a pass, only if it changed; what is mere progress only when
// it has stood for a while, so that a machine that comes up fast costs one write.
#include "controllers/machine/pass.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::machine {
namespace {

// A machine that isn't open says what it waits for, not that it isn't open.
std::string what_keeps_it_closed(const Pass& p) {
  const auto& op = p.status.operation;
  if (op && op->type != api::OperationType::create)
    return std::string(reconcile::name_of(op->type)) + (op->revision.empty() ? "" : " to revision " + op->revision.str()) + " is under way";
  if (p.status.blocked_by) return p.status.blocked_by->message.str();
  if (p.gates_status != ConditionStatus::true_ && !p.gates.empty()) return p.worst().type.str() + ": " + p.worst().message.str();
  for (const auto& f : p.in.failures)
    if (f.resource && f.resource->plural == "nodes") return "the API server refuses to open the Node: " + f.error.message;
  return "every gate is True: the Node is being opened for pods";
}

void show_node(Pass& p) {
  if (p.node_is == NodeIs::ours && !p.in.node->status.addresses.empty()) {
    p.status.addresses.clear();
    for (const auto& a : p.in.node->status.addresses) p.status.addresses.push_back({a.type, a.address});
  }
  if (find_condition(p.status.conditions, api::condition::scheduling_open)) return;
  const bool open = is_open(p);
  const bool cordoned = open && p.in.node->spec.unschedulable.value_or(false);
  if (cordoned)
    p.condition(api::condition::scheduling_open, ConditionStatus::false_, reason::scheduling_closed,
                "a person closed the node: kubectl uncordon opens it");
  else if (open)
    p.condition(api::condition::scheduling_open, ConditionStatus::true_, reason::scheduling_open);
  else if (p.node_is != NodeIs::ours)
    p.condition(api::condition::scheduling_open, ConditionStatus::false_, reason::waiting_for_node);
  else if (isolated_by_other(*p.in.node))
    p.condition(api::condition::scheduling_open, ConditionStatus::false_, reason::scheduling_closed,
                "isolated by another part of endstate");
  else
    p.condition(api::condition::scheduling_open, ConditionStatus::false_, reason::scheduling_closed, what_keeps_it_closed(p));
}

const api::PackageReport* report_of(const Pass& p, const Text& slot) {
  if (!p.assignment) return nullptr;
  for (const auto& r : p.assignment->status.packages)
    if (r.name == slot) return &r;
  return nullptr;
}

std::optional<api::PackageIdentity> assigned(const Pass& p, const Text& slot) {
  if (p.assignment)
    for (const auto& a : p.assignment->spec.packages)
      if (a.name == slot) return a.version;
  return std::nullopt;
}

void show_packages(Pass& p) {
  p.status.packages.clear();
  for (const Package& package : p.in.packages) {
    api::MachinePackageStatus s;
    s.name = package.slot;
    const auto have = assigned(p, package.slot);
    if (package.version && have && have->uid == package.version->metadata.uid)
      s.desired = have;
    else if (package.version)
      s.desired = api::PackageIdentity{package.name, package.version->metadata.uid, {}};  // its digest is worked out when it is assigned
    const auto* report = report_of(p, package.slot);
    if (report) {
      s.actual = report->actual;
      s.reason = report->reason;
      s.message = report->message;
      s.attempts = report->attempts;
    }
    const bool silent = p.assignment && p.in.agent_silence && p.silent();
    const bool waiting = report && p.assignment && (p.differs || !p.packages.observed);
    s.state = silent    ? api::PackageState::unknown
              : waiting ? api::PackageState::waiting
              : report  ? report->state
                        : api::PackageState::pending;
    p.status.packages.push_back(std::move(s));
  }
}

// What the machine was brought to, for its set's rollout: the last operation alone doesn't say it (one that was superseded because the wish
// went back leaves the machine as it was).
void show_revision(Pass& p) {
  const auto& last = p.status.last_operation;
  const bool bad = last && (last->result == api::OperationResult::failed || last->result == api::OperationResult::lost);
  if (!p.assignment || p.differs || p.status.operation) return;
  if (bad && last->revision == p.assignment->spec.revision)
    p.status.revision = {};
  else if (p.packages.observed && p.packages.failed.empty())
    p.status.revision = p.assignment->spec.revision;
}

bool reboot_asked(const api::HostAssignment& a) {
  for (const auto& r : a.spec.requests)
    if (r.type == api::RequestType::reboot) return true;
  return false;
}

// Reboots that nobody asked for, since the machine was given its revision: its set's rollout judges the revision by them. What happens
// while something is done to the machine belongs to that (a package may need a reboot). Last, as it must cost no write of its own: a
// boot that wasn't known yet goes out with the next status that is written anyway.
void show_boot(Pass& p) {
  const auto& before = p.machine.status;
  if (!(p.status.revision == before.revision)) p.status.restarts = 0;
  if (!p.assignment || !p.assignment->status.agent || p.status.operation) return;
  const auto& boot = p.assignment->status.agent->boot_id;
  if (boot.empty() || before.boot_id == boot) return;
  const bool settled = !before.operation && !before.boot_id.empty() && p.status.revision == before.revision;
  if (settled && !reboot_asked(*p.assignment)) ++p.status.restarts;
  if (before.boot_id.empty() && p.status == before) return;
  p.status.boot_id = boot;
}

struct Verdict {
  ConditionStatus status;
  std::string_view why;
  std::string message;
};

Verdict readiness(const Pass& p) {
  const auto no = ConditionStatus::false_;
  const bool goes = p.status.operation && p.status.operation->type == api::OperationType::delete_;
  if (goes) return {no, reason::deleting, {}};  // before its grant a machine that is to be deleted serves as ever
  if (p.status.phase == api::MachinePhase::failed && p.status.blocked_by)
    return {no, p.status.blocked_by->reason.view(), p.status.blocked_by->message.str()};
  if (!p.in.host)
    return {no,
            p.status.blocked_by ? p.status.blocked_by->reason.view()
            : p.resolved        ? reason::progressing
                                : reason::package_not_found,
            p.status.blocked_by ? p.status.blocked_by->message.str()
            : p.gates.empty()   ? std::string()
                                : p.gates[1].message.str()};
  const auto& op = p.status.operation;
  if (op && op->type != api::OperationType::create)
    return {no, reason::progressing, std::string(reconcile::name_of(op->type)) + " to revision " + op->revision.str()};
  if (p.gates_status == ConditionStatus::true_) {
    if (p.in_service && is_open(p)) return {ConditionStatus::true_, reason::ready, {}};
    if (p.status.node_ref && is_open(p)) return {ConditionStatus::true_, reason::ready, {}};
    if (p.node_is == NodeIs::ours && isolated_by_other(*p.in.node)) return {no, reason::scheduling_closed, what_keeps_it_closed(p)};
    return {no, p.status.blocked_by ? p.status.blocked_by->reason.view() : reason::progressing, what_keeps_it_closed(p)};
  }
  // A machine that never was in service isn't unknown: it isn't there yet.
  const bool unknown = p.gates_status == ConditionStatus::unknown && p.in_service;
  return {unknown ? ConditionStatus::unknown : no, p.worst().reason.view(), p.worst().type.str() + ": " + p.worst().message.str()};
}

void summarize(Pass& p) {
  const Verdict ready = readiness(p);
  p.condition(api::condition::ready, ready.status, ready.why, ready.message);
  const bool failed = p.status.phase == api::MachinePhase::failed;
  const bool no_package = !p.resolved && p.differs;
  const bool stalled = failed || no_package || (!p.resolved && !p.assignment);
  if (stalled) {
    const bool package = !p.resolved && (no_package || !p.assignment);
    const auto& last = p.status.last_operation;
    const std::string_view why = package                                                           ? reason::package_not_found
                                 : failed && last && !last->reason.empty() && !p.status.blocked_by ? last->reason.view()
                                                                                                   : ready.why;
    p.condition(api::condition::stalled, ConditionStatus::true_, why,
                package ? p.gates[1].message.view() : std::string_view(ready.message));
  } else {
    p.condition(api::condition::stalled, ConditionStatus::false_, reason::not_stalled);
  }
  const bool busy =
      !stalled && (p.status.operation || p.machine.metadata.deleting() || ready.status != ConditionStatus::true_ || p.differs);
  p.condition(api::condition::reconciling, busy ? ConditionStatus::true_ : ConditionStatus::false_,
              busy      ? reason::progressing
              : stalled ? ready.why
                        : reason::up_to_date);
}

bool is_early(api::MachinePhase phase) {
  return phase == api::MachinePhase::pending || phase == api::MachinePhase::provisioning || phase == api::MachinePhase::joining;
}

ConditionStatus status_of(const api::MachineStatus& s, std::string_view type) {
  const auto* c = find_condition(s.conditions, type);
  return c ? c->status : ConditionStatus::false_;
}

std::optional<api::Operation> lock_of(const api::MachineStatus& s) {
  return s.operation && s.operation->type != api::OperationType::create ? s.operation : std::nullopt;
}

// Progress under a lock: most updates end within it, and cost two statuses.
constexpr std::chrono::milliseconds update_settle{20'000};

std::chrono::milliseconds settle(const api::MachineStatus& before, const api::MachineStatus& after) {
  const bool step = before.phase != after.phase && !(is_early(before.phase) && is_early(after.phase));
  const auto turned = [&](std::string_view type) { return status_of(before, type) != status_of(after, type); };
  if (step || lock_of(before) != lock_of(after) || before.last_operation != after.last_operation || before.revision != after.revision ||
      before.restarts != after.restarts || before.owned != after.owned || before.node_ref != after.node_ref ||
      turned(api::condition::ready) || turned(api::condition::stalled) || turned(api::condition::paused) ||
      turned(api::condition::scheduling_open) || turned(api::condition::deleting))
    return {};
  // Gates that an open machine waits on are judged by how long they have stood: their turn must be written when it is seen. Under a lock
  // nothing is closed, and the machine says that it isn't Ready already.
  const bool locked = lock_of(after).has_value();
  for (const Condition& c : after.conditions)
    if (after.node_ref && !locked && turned(c.type)) return {};
  // Another cause is told soon; that "7 are under way" are 8 now is not.
  const auto cause = [](const api::MachineStatus& s) {
    return s.blocked_by ? s.blocked_by->kind.str() + "/" + s.blocked_by->name.str() + "/" + s.blocked_by->reason.str() : std::string();
  };
  // The API server's words must stand before what it refused is tried again: until the next answer the plan knows them from there only.
  const auto is_word = [](const api::MachineStatus& s) {
    const std::string_view why = s.blocked_by ? s.blocked_by->reason.view() : std::string_view();
    return why == reason::node_refused || why == reason::drain_blocked || why == reason::eviction_refused ||
           why == reason::node_deletion_blocked;
  };
  if (is_word(after) && before.blocked_by != after.blocked_by) return {};
  if (cause(before) != cause(after)) return refusal_settle;
  return locked ? update_settle : progress_settle;
}

}  // namespace

void finish_status(Pass& p) {
  if (p.in.host && !find_condition(p.status.conditions, api::condition::host_claimed))
    p.condition(api::condition::host_claimed, ConditionStatus::true_, reason::claimed,
                p.in.host->metadata.deleting() ? "the Host is being deleted: it goes when this machine has gone" : "");
  show_node(p);
  show_packages(p);
  show_revision(p);
  summarize(p);
  show_boot(p);
}

std::chrono::milliseconds settle_for(const Pass& p) { return settle(p.machine.status, p.status); }

}  // namespace endstate::machine
