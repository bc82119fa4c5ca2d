#include "src/kubectl/describe.hpp"

#include <algorithm>
#include <array>
#include <map>

#include "controllers/common/machine_state.hpp"
#include "controllers/machine_set/steps.hpp"
#include "src/kubectl/progress.hpp"
#include "src/kubectl/verbs.hpp"

namespace endstate::kubectl {
namespace {

namespace api = v1alpha1;
using reconcile::name_of, reconcile::Text, reconcile::WallTime;

std::string blocked_text(const api::BlockedBy& b, WallTime now) {
  return "held by " + b.kind.str() + (b.name.empty() ? "" : " " + b.name.str()) + " for " + age(b.since, now) + ": " + b.reason.str() +
         ": " + b.message.str();
}

std::string condition_text(const api::Condition& c, WallTime now) {
  return c.type.str() + " " + std::string(name_of(c.status)) + " for " + age(c.last_transition_time, now) + ": " + c.reason.str() +
         (c.message.empty() ? "" : ": " + c.message.str());
}

std::string share_text(const api::IntOrPercent& v) { return std::to_string(v.value) + (v.percent ? "%" : ""); }

// ---- machines ----

std::string operation_text(const api::Operation& op, WallTime now) {
  std::string out =
      std::string(name_of(op.type)) + (op.revision.empty() ? "" : " to revision " + op.revision.str()) + " for " + age(op.start_time, now);
  if (op.deadline != WallTime{}) out += ", fails in " + age(now, op.deadline);
  if (op.attempt > 0) out += ", attempt " + std::to_string(op.attempt + 1);
  return out;
}

// Why a machine isn't there yet that says nothing of Ready: the first thing that it lacks, in the order in which it comes to have them.
std::string waits_for(const api::Machine& m) {
  using namespace api::condition;
  for (const auto type : {host_claimed, packages_ready, node_ready, agent_alive})
    if (const auto* c = reconcile::find_condition(m.status.conditions, type); c && c->status != api::ConditionStatus::true_)
      return ", waits: " + c->reason.str() + (c->message.empty() ? "" : ": " + c->message.str());
  return m.status.blocked_by ? "" : ", waits: the operator hasn't begun with it";
}

std::string machine_line(const api::Machine& m, WallTime now) {
  const auto& st = m.status;
  std::string out = m.metadata.name.str() + "  " + std::string(name_of(st.phase));
  if (st.host_ref) out += " on " + st.host_ref->name.str();
  const auto* ready = reconcile::find_condition(st.conditions, api::condition::ready);
  if (!ready) return out + waits_for(m);
  if (ready->status != api::ConditionStatus::true_)
    out += ", not ready for " + age(ready->last_transition_time, now) + ": " + ready->reason.str() +
           (ready->message.empty() ? "" : ": " + ready->message.str());
  return out;
}

// What it does, what holds it, and which of its conditions say more than Ready does.
void tell_trouble(const api::Machine& m, WallTime now, Tree& node) {
  const auto& st = m.status;
  if (is_paused(m)) node.add("is paused by hand");
  if (st.operation) node.add(operation_text(*st.operation, now));
  // Not what its line says already; and a package that nobody has begun with says nothing.
  const auto* ready = reconcile::find_condition(st.conditions, api::condition::ready);
  if (st.blocked_by && !(ready && ready->message == st.blocked_by->message)) node.add(blocked_text(*st.blocked_by, now));
  for (const auto& p : st.packages)
    if (p.state != api::PackageState::ready && (p.state != api::PackageState::pending || st.operation))
      node.add("package " + p.name.str() + " " + std::string(name_of(p.state)) + (p.desired ? " (" + p.desired->name.str() + ")" : "") +
               (p.reason.empty() ? "" : ": " + p.reason.str()) + (p.message.empty() ? "" : ": " + p.message.str()));
  if (const auto* drained = reconcile::find_condition(st.conditions, api::condition::drained);
      drained && !(drained->reason == api::reason::drain_not_needed) &&
      (drained->status != api::ConditionStatus::true_ || drained->reason == api::reason::pods_come_back))
    node.add(condition_text(*drained, now));
  if (!st.operation && st.last_operation && st.last_operation->result != api::OperationResult::succeeded)
    node.add("last " + std::string(name_of(st.last_operation->type)) + " " + std::string(name_of(st.last_operation->result)) + " " +
             age(st.last_operation->end_time, now) + " ago: " + st.last_operation->reason.str() +
             (st.last_operation->message.empty() ? "" : ": " + st.last_operation->message.str()));
}

void tell_machines(const Refs<api::Machine>& machines, WallTime now, Tree& node) {
  auto& all = node.add("machines: " + (machines.empty() ? std::string("none") : phases_of(machines)));
  std::size_t told = 0, more = 0;
  for (const auto& m : machines) {
    if (is_fine(*m)) continue;
    if (told++ >= machines_told) {
      ++more;
      continue;
    }
    tell_trouble(*m, now, all.add(machine_line(*m, now)));
  }
  if (more > 0) all.add("... and " + std::to_string(more) + " more that aren't fine");
}

// ---- sets ----

void tell_analysis(const api::AnalysisStatus& a, WallTime now, Tree& node) {
  auto& all = node.add("analysis of step " + a.step.str() + ", since " + age(a.start_time, now) + ": " + std::to_string(a.unhealthy) +
                       " unhealthy, " + std::to_string(a.restarts) + " restarts");
  for (const auto& c : a.checks)
    all.add("check " + c.name.str() + " " + std::string(name_of(c.result)) + ": " + std::to_string(c.good) + " good, " +
            std::to_string(c.bad) + " bad, " + std::to_string(c.inconclusive) + " inconclusive" +
            (c.value.empty() ? "" : ", last " + c.value.str()) + (c.message.empty() ? "" : ": " + c.message.str()));
  for (const auto& p : a.probes)
    all.add("probe " + p.name.str() + " " + std::string(name_of(p.result)) + (p.message.empty() ? "" : ": " + p.message.str()));
}

void tell_rollout(const api::MachineSet& set, WallTime now, Tree& root) {
  const auto progress = progress_of(set);
  auto& node = root.add("rollout " + progress.line);
  const auto& st = set.status;
  if (!st.rollout) return;
  const auto& rollout = *st.rollout;
  const bool over = rollout.phase == api::RolloutPhase::complete || rollout.phase == api::RolloutPhase::rolled_back;
  if (!(st.update_revision == st.current_revision))
    node.add("from revision " + st.current_revision.str() + " to " + st.update_revision.str());
  if (!over)
    for (const auto& s : machine_set::resolve_steps(set.spec.rollout, api::replicas(set.spec))) {
      const bool here = s.name == rollout.step;
      auto& step = node.add(std::string(here ? "> " : "  ") + "step " + s.name.str() + ": " +
                            (here ? bar(rollout.updated, rollout.target, 20) : "up to " + std::to_string(s.target)));
      if (here && rollout.step_start_time != WallTime{}) step.text += ", since " + age(rollout.step_start_time, now);
      if (here && rollout.pause_start_time != WallTime{})
        step.add("its machines are done for " + age(rollout.pause_start_time, now) + ": " + rollout.message.str());
    }
  for (const auto& p : rollout.preflight)
    if (p.result != api::PreflightResult::passed)
      node.add("pre-flight " + std::string(name_of(p.check)) + " " + std::string(name_of(p.result)) +
               (p.message.empty() ? "" : ": " + p.message.str()));
  if (rollout.analysis && !over) tell_analysis(*rollout.analysis, now, node);
  if (rollout.blocked_by) node.add(blocked_text(*rollout.blocked_by, now));
  for (const auto& r : st.rejected_revisions)
    node.add("revision " + r.revision.str() + " rejected " + age(r.time, now) + " ago at step " + r.step.str() + ": " + r.reason.str() +
             ": " + r.message.str());
}

std::string change_line(const api::ChangeRecord& c, WallTime now) {
  std::string out = c.revision.str() + " " + (c.result == api::ChangeResult::none ? "under way" : std::string(name_of(c.result))) +
                    ", began " + age(c.start_time, now) + " ago";
  if (c.end_time != WallTime{}) out += ", took " + age(c.start_time, c.end_time);
  if (!c.field_manager.empty()) out += ", by " + c.field_manager.str();
  if (!c.change.empty()) out += ": " + c.change.str();
  return out;
}

void tell_conditions(const std::vector<api::Condition>& conditions, std::initializer_list<std::string_view> which, WallTime now,
                     Tree& node) {
  for (const auto type : which)
    if (const auto* c = reconcile::find_condition(conditions, type)) node.add(condition_text(*c, now));
}

std::string set_line(const api::MachineSet& set) {
  const auto& st = set.status;
  return "MachineSet " + set.metadata.name_space.str() + "/" + set.metadata.name.str() + ": " + std::to_string(st.available_replicas) +
         " of " + std::to_string(api::replicas(set.spec)) + " machines available, " + std::to_string(st.up_to_date_replicas) +
         " up to date";
}

}  // namespace

bool is_fine(const api::Machine& m) {
  return is_available(m) && !m.status.operation && !m.status.blocked_by && !m.metadata.deleting() && !is_paused(m) &&
         m.status.phase == api::MachinePhase::running;
}

std::string phases_of(const Refs<api::Machine>& machines) {
  std::map<api::MachinePhase, std::int64_t> counts;
  for (const auto& m : machines) ++counts[m->status.phase];
  std::string out;
  for (const auto& [phase, n] : counts) out.append(out.empty() ? "" : ", ").append(name_of(phase)).append(" ").append(std::to_string(n));
  return out;
}

Tree tree_of_budget(const api::ChangeBudget& budget, const std::string& cluster, WallTime now) {
  Tree node{"ChangeBudget " + budget.metadata.name.str()};
  if (budget.spec.max_unavailable) node.text += ": maxUnavailable " + share_text(*budget.spec.max_unavailable);
  for (const auto& l : budget.spec.limits) {
    std::string line = "limit " + l.name.str() + " of";
    for (const auto o : l.operations) line += " " + std::string(name_of(o));
    const auto usage = std::find_if(budget.status.usage.begin(), budget.status.usage.end(),
                                    [&](const api::LimitUsage& u) { return u.cluster == cluster && u.limit == l.name; });
    const bool known = usage != budget.status.usage.end();
    if (l.max_concurrent) line += ", " + std::to_string(known ? usage->in_flight : 0) + " under way of " + share_text(*l.max_concurrent);
    for (const auto& w : l.windows) {
      std::int64_t used = 0;
      if (known)
        for (const auto& u : usage->windows)
          if (u.duration == w.duration) used = u.used;
      line += ", " + std::to_string(used) + " of " + std::to_string(w.max) + " in " + reconcile::format_duration(w.duration) +
              (used >= w.max ? " (full)" : "");
    }
    node.add(line);
  }
  for (const auto& s : budget.status.schedules) {
    const auto spec =
        std::find_if(budget.spec.schedules.begin(), budget.spec.schedules.end(), [&](const auto& x) { return x.name == s.name; });
    const bool denies = spec != budget.spec.schedules.end() && spec->type == api::ScheduleType::deny;
    node.add("schedule " + s.name.str() + " (" + (denies ? "Deny" : "Allow") + ") is " + (s.on ? "on" : "off") +
             (s.until == WallTime{} ? "" : ", until " + reconcile::format_rfc3339(s.until)) +
             (s.on == denies ? ": it holds what it names" : "") + (s.message.empty() ? "" : ": " + s.message.str()));
  }
  for (const auto& b : budget.status.breakers)
    if (b.cluster == cluster)
      node.add("breaker " + std::string(name_of(b.state)) + " for " + age(b.since, now) + (b.reason.empty() ? "" : ": " + b.reason.str()) +
               (b.message.empty() ? "" : ": " + b.message.str()));
  for (const auto& of : budget.status.checks)
    if (of.cluster == cluster)
      for (const auto& c : of.checks)
        node.add("check " + c.name.str() + " " + std::string(name_of(c.result)) + (c.value.empty() ? "" : ", last " + c.value.str()) +
                 (c.message.empty() ? "" : ": " + c.message.str()));
  return node;
}

Tree tree_of(const api::MachineSet& set, const Refs<api::Machine>& machines, const Refs<api::ChangeBudget>& budgets, WallTime now) {
  Tree root{set_line(set)};
  if (set.metadata.deleting()) root.add("is being deleted for " + age(*set.metadata.deletion_timestamp, now));
  tell_conditions(set.status.conditions, {api::condition::ready, api::condition::stalled, api::condition::replica_failure}, now, root);
  tell_rollout(set, now, root);
  tell_machines(machines, now, root);
  const auto cluster = set.metadata.name_space.str() + "/" + set.spec.cluster_name.str();
  for (const auto& b : budgets) root.below.push_back(tree_of_budget(*b, cluster, now));
  if (!set.status.history.empty()) {
    auto& history = root.add("recent changes");
    const auto& all = set.status.history;
    for (std::size_t i = all.size(); i-- > 0 && history.below.size() < 5;) history.add(change_line(all[i], now));
  }
  return root;
}

Tree tree_of(const api::Cluster& cluster, const Refs<api::MachineSet>& sets, const Refs<api::Machine>& machines,
             const Refs<api::ChangeBudget>& budgets, const api::GuardLedger* ledger, WallTime now,
             const std::vector<reconcile::Workload>* workloads) {
  Tree root{"Cluster " + cluster.metadata.key().str() + ": " + std::string(name_of(cluster.status.phase)) +
            (cluster.status.control_plane.version.empty() ? "" : ", Kubernetes " + cluster.status.control_plane.version.str())};
  if (cluster.metadata.deleting()) root.add("is being deleted for " + age(*cluster.metadata.deletion_timestamp, now));
  if (is_paused(cluster)) root.add("is paused by hand: nothing of it is touched");
  tell_conditions(cluster.status.conditions, {api::condition::ready, api::condition::connected, api::condition::stalled}, now, root);
  if (cluster.status.blocked_by) root.add(blocked_text(*cluster.status.blocked_by, now));
  tell_control_plane(cluster, workloads, now, root);
  std::map<std::string_view, Refs<api::Machine>> by_set;
  for (const auto& m : machines) by_set[m->metadata.labels.get(api::label::set_name)].push_back(m);
  for (const auto& set : sets) {
    auto& node = root.add(set_line(*set));
    tell_rollout(*set, now, node);
    tell_machines(by_set[set->metadata.name.view()], now, node);
    by_set.erase(set->metadata.name.view());
  }
  Refs<api::Machine> others;
  for (auto& [name, some] : by_set) others.insert(others.end(), some.begin(), some.end());
  if (!others.empty()) tell_machines(others, now, root.add("machines without a set"));
  for (const auto& b : budgets) root.below.push_back(tree_of_budget(*b, cluster.metadata.key().str(), now));
  if (budgets.empty()) root.add("no ChangeBudget selects it: everything is granted");
  if (ledger && !ledger->status.grants.empty()) {
    auto& grants = root.add("permits given, not begun: " + std::to_string(ledger->status.grants.size()));
    for (const auto& g : ledger->status.grants) {
      if (grants.below.size() >= machines_told) {
        grants.add("... and " + std::to_string(ledger->status.grants.size() - machines_told) + " more");
        break;
      }
      grants.add(g.operation.str() + " of " + g.machine.str() + " for " + age(g.grant_time, now));
    }
  }
  return root;
}

Tree tree_of(const api::Machine& m, const api::Host* host, WallTime now) {
  Tree root{"Machine " + m.metadata.key().str() + ": " + std::string(name_of(m.status.phase))};
  if (m.metadata.deleting()) root.add("is being deleted for " + age(*m.metadata.deletion_timestamp, now));
  const auto set = m.metadata.labels.get(api::label::set_name);
  root.add("cluster " + m.spec.cluster_name.str() + (set.empty() ? std::string(", of no set") : ", of MachineSet " + std::string(set)));
  const Text wanted = desired_revision(m);
  root.add("revision " + (m.status.revision.empty() ? std::string("not settled") : m.status.revision.str()) +
           (m.status.revision == wanted ? "" : ", should have " + wanted.str()));
  if (host) {
    auto& node = root.add("Host " + host->metadata.name.str() + " " + std::string(name_of(host->status.phase)) + ", " +
                          api::failure_domain(host->spec.hardware) + ", " + host->spec.address.str());
    if (host->spec.maintenance) node.add("in maintenance: " + host->spec.maintenance->reason.str());
    for (const auto& c : host->status.conditions) node.add(condition_text(c, now));
  } else if (m.status.host_ref) {
    root.add("Host " + m.status.host_ref->name.str());
  } else {
    root.add("no Host yet");
  }
  if (m.status.node_ref)
    root.add("Node " + m.status.node_ref->name.str() + ", " + std::to_string(m.status.restarts) + " unasked restarts with its revision");
  tell_trouble(m, now, root);
  for (const auto& p : m.status.packages)
    if (p.state == api::PackageState::ready)
      root.add("package " + p.name.str() + " Ready" + (p.actual ? " (" + p.actual->name.str() + ")" : ""));
  auto& conditions = root.add("conditions");
  for (const auto& c : m.status.conditions) conditions.add(condition_text(c, now));
  return root;
}

}  // namespace endstate::kubectl
