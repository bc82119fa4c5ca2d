#include "controllers/observe/state_metrics.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <span>

#include "controllers/common/indexes.hpp"
#include "controllers/common/machine_state.hpp"
#include "controllers/machine_set/steps.hpp"

namespace endstate::observe {

namespace api = v1alpha1;
using reconcile::GaugeFamily, reconcile::name_of;

namespace {

using Words = std::vector<std::string_view>;

double seconds(reconcile::WallTime t) { return std::chrono::duration<double>(t.time_since_epoch()).count(); }
bool is_set(reconcile::WallTime t) { return t != reconcile::WallTime{}; }

struct Family {
  GaugeFamily out;
  Family(std::string_view name, std::string_view help, Words labels) : out{name, help, std::move(labels), {}} {}
  void add(const Words& values, double value) {
    GaugeFamily::Series s;
    s.values.assign(values.begin(), values.end());
    s.value = value;
    out.series.push_back(std::move(s));
  }
};

// Counts by a few words. The words are the records' own strings, which outlive this.
template <std::size_t N>
using Tally = std::map<std::array<std::string_view, N>, double>;
template <std::size_t N>
void add(Family& family, const Tally<N>& tally) {
  for (const auto& [words, count] : tally) family.add({words.begin(), words.end()}, count);
}

// What is true of one moment in a cluster: every phase and operation is shown, at 0 too, so that graphs have no holes.
template <class E>
constexpr std::span<const std::string_view> all_names = reconcile::described<E>.names;

struct MachineFamilies {
  Family phases{"machines", "Machines by the phase of their life.", {"namespace", "cluster", "phase"}};
  Family unavailable{"machines_unavailable", "Machines that were in service and aren't available now.", {"namespace", "cluster"}};
  Family operations{"machines_operation", "Machines that something is being done to, by what.", {"namespace", "cluster", "type"}};
  Family deadline{"machines_operation_deadline_timestamp_seconds",
                  "The earliest deadline of the operations under way; no series: nothing is under way.",
                  {"namespace", "cluster"}};
  Family blocked{"machines_blocked", "Machines that can't go on, by the reason.", {"namespace", "cluster", "reason"}};
  Family stalled{"machines_stalled", "Machines that don't go on without somebody, by the reason.", {"namespace", "cluster", "reason"}};
  Family without_host{"machines_without_host", "Machines that wait for a free host.", {"namespace", "cluster"}};
  Family packages{
      "machines_packages", "Machines by what their hosts report as installed.", {"namespace", "cluster", "package", "version", "state"}};
};

void count_machines(const Records& in, MachineFamilies& out) {
  Tally<3> phases, operations, blocked, stalled;
  Tally<2> unavailable, deadlines, without_host;
  Tally<5> packages;
  const auto begin = [&](std::string_view ns, std::string_view cluster) {
    if (!unavailable.try_emplace({ns, cluster}, 0).second) return;
    without_host[{ns, cluster}] = 0;
    for (const auto name : all_names<api::MachinePhase>) phases[{ns, cluster, name}] = 0;
    for (const auto name : all_names<api::OperationType>) operations[{ns, cluster, name}] = 0;
  };
  for (const auto& c : in.clusters) begin(c->metadata.name_space, c->metadata.name);
  for (const auto& m : in.machines) {
    const auto& st = m->status;
    const std::string_view ns = m->metadata.name_space, cluster = m->spec.cluster_name;
    begin(ns, cluster);
    ++phases[{ns, cluster, name_of(st.phase)}];
    if (was_in_service(*m) && is_unavailable(*m)) ++unavailable[{ns, cluster}];
    if (st.operation) {
      ++operations[{ns, cluster, name_of(st.operation->type)}];
      if (is_set(st.operation->deadline)) {
        auto& earliest = deadlines.try_emplace({ns, cluster}, std::numeric_limits<double>::infinity()).first->second;
        earliest = std::min(earliest, seconds(st.operation->deadline));
      }
    }
    if (st.blocked_by) ++blocked[{ns, cluster, st.blocked_by->reason.view()}];
    if (const auto* c = reconcile::find_condition(st.conditions, api::condition::stalled); c && c->status == api::ConditionStatus::true_)
      ++stalled[{ns, cluster, c->reason.view()}];
    if (reconcile::is_false(st.conditions, api::condition::host_claimed)) ++without_host[{ns, cluster}];
    for (const auto& p : st.packages)
      ++packages[{ns, cluster, p.name.view(), p.actual ? p.actual->name.view() : std::string_view("none"), name_of(p.state)}];
  }
  add(out.phases, phases);
  add(out.unavailable, unavailable);
  add(out.operations, operations);
  add(out.deadline, deadlines);
  add(out.blocked, blocked);
  add(out.stalled, stalled);
  add(out.without_host, without_host);
  add(out.packages, packages);
}

struct SetFamilies {
  Family replicas{"machinesets_replicas",
                  "Machines of a set: desired by its spec, present, ready, available, updated to its newest revision.",
                  {"namespace", "cluster", "set", "kind"}};
  Family max_unavailable{
      "machinesets_max_unavailable", "Machines of a set that may be unavailable at once.", {"namespace", "cluster", "set"}};
  Family phase{"rollout_phase", "1: the phase that the set's rollout is in.", {"namespace", "cluster", "set", "phase"}};
  Family step{"rollout_step_info",
              "1: the revision that the rollout leads to, and its step; an empty step: none, or past the last.",
              {"namespace", "cluster", "set", "revision", "step"}};
  Family machines{"rollout_machines",
                  "Machines of the rollout: the step's target, updated and available, failed, lost with their hosts.",
                  {"namespace", "cluster", "set", "kind"}};
  Family progress{"rollout_progress_ratio", "The share of the set that is updated and available.", {"namespace", "cluster", "set"}};
  Family blocked{"rollout_blocked", "1: why the rollout doesn't go on.", {"namespace", "cluster", "set", "reason"}};
  Family rejected{
      "rollout_rejected", "1: the set's template is a revision that was rejected, and why.", {"namespace", "cluster", "set", "reason"}};
  Family started{"rollout_start_timestamp_seconds", "When the rollout began.", {"namespace", "cluster", "set"}};
  Family got_on{"rollout_last_progress_timestamp_seconds", "When a machine of the rollout last got on.", {"namespace", "cluster", "set"}};
  Family checks{
      "rollout_analysis_checks", "Checks and probes of the step's analysis, by how they stand.", {"namespace", "cluster", "set", "result"}};
};

// What keeps it from going on. A pause is told by the condition, as it blocks nothing that has a name.
std::string_view why_it_waits(const api::MachineSet& s) {
  const auto& r = *s.status.rollout;
  if (r.phase == api::RolloutPhase::complete) return {};
  if (r.blocked_by) return r.blocked_by->reason;
  if (r.phase != api::RolloutPhase::paused) return {};
  const auto* c = reconcile::find_condition(s.status.conditions, api::condition::rolling_out);
  return c ? c->reason.view() : std::string_view();
}

void count_rollout(const api::MachineSet& s, SetFamilies& out) {
  const auto& r = *s.status.rollout;
  const std::string_view ns = s.metadata.name_space, cluster = s.spec.cluster_name, set = s.metadata.name;
  out.phase.add({ns, cluster, set, name_of(r.phase)}, 1);
  out.step.add({ns, cluster, set, r.revision, r.step}, 1);
  const auto desired = api::replicas(s.spec);
  out.progress.add({ns, cluster, set},
                   desired > 0 ? std::min(1.0, static_cast<double>(s.status.up_to_date_replicas) / static_cast<double>(desired)) : 1);
  const std::array<std::pair<std::string_view, std::int64_t>, 4> figures{
      {{"target", r.target}, {"updated", r.updated}, {"failed", r.failed}, {"lost", r.lost}}};
  for (const auto& [kind, n] : figures) out.machines.add({ns, cluster, set, kind}, static_cast<double>(n));
  if (const auto reason = why_it_waits(s); !reason.empty()) out.blocked.add({ns, cluster, set, reason}, 1);
  if (is_set(r.start_time)) out.started.add({ns, cluster, set}, seconds(r.start_time));
  if (is_set(r.last_progress_time)) out.got_on.add({ns, cluster, set}, seconds(r.last_progress_time));
  if (!r.analysis || r.phase == api::RolloutPhase::complete) return;
  Tally<1> results;
  for (const auto& c : r.analysis->checks) ++results[{name_of(c.result)}];
  for (const auto& p : r.analysis->probes) ++results[{name_of(p.result)}];
  for (const auto& [result, n] : results) out.checks.add({ns, cluster, set, result[0]}, n);
}

void count_set(const api::MachineSet& s, SetFamilies& out) {
  const auto& st = s.status;
  const std::string_view ns = s.metadata.name_space, cluster = s.spec.cluster_name, set = s.metadata.name;
  const auto desired = api::replicas(s.spec);
  const std::array<std::pair<std::string_view, std::int64_t>, 5> figures{{{"desired", desired},
                                                                          {"present", st.replicas},
                                                                          {"ready", st.ready_replicas},
                                                                          {"available", st.available_replicas},
                                                                          {"updated", st.up_to_date_replicas}}};
  for (const auto& [kind, n] : figures) out.replicas.add({ns, cluster, set, kind}, static_cast<double>(n));
  out.max_unavailable.add({ns, cluster, set}, static_cast<double>(machine_set::allowed_unavailable(s.spec.rollout, desired)));
  for (const auto& rejected : st.rejected_revisions)
    if (rejected.revision == st.update_revision) out.rejected.add({ns, cluster, set, rejected.reason}, 1);
  if (st.rollout) count_rollout(s, out);
}

// A host is one of three: somebody has it, somebody works on it, or it is free (and claimable only in phase Ready).
std::string_view state_of(const api::Host& h) {
  if (h.spec.consumer_ref) return "claimed";
  if (h.spec.maintenance) return "maintenance";
  return "free";
}

Family count_hosts(const Records& in) {
  Family out{"hosts", "Hosts by how they are, and who has them. What can be claimed is free and Ready.", {"namespace", "phase", "state"}};
  Tally<3> tally;
  for (const auto& h : in.hosts) {
    const std::string_view ns = h->metadata.name_space;
    if (tally.try_emplace({ns, "Ready", "free"}, 0).second) tally[{ns, "Ready", "claimed"}] = 0;  // what alerts ask for is there at 0 too
    ++tally[{ns, name_of(h->status.phase), state_of(*h)}];
  }
  add(out, tally);
  return out;
}

// Times, not ages: an alert subtracts. A CA and a leaf are named as status names them.
struct HostedFamilies {
  Family certificates{"certificate_expiry_timestamp_seconds",
                      "When a certificate of a Hosted control plane ends, by its Secret without the Cluster's name.",
                      {"namespace", "cluster", "certificate"}};
  Family snapshots{"etcd_snapshot_timestamp_seconds",
                   "When the newest snapshot of a Hosted control plane's etcd was begun; no series: there is none.",
                   {"namespace", "cluster"}};
};

void count_hosted(const Records& in, HostedFamilies& out) {
  for (const auto& c : in.clusters) {
    const std::string_view ns = c->metadata.name_space, name = c->metadata.name;
    const auto& plane = c->status.control_plane;
    for (const auto& certificate : plane.certificates)
      if (is_set(certificate.not_after)) out.certificates.add({ns, name, certificate.name}, seconds(certificate.not_after));
    reconcile::WallTime newest{};
    if (plane.etcd)
      for (const auto& s : plane.etcd->snapshots) newest = std::max(newest, s.time);
    if (is_set(newest)) out.snapshots.add({ns, name}, seconds(newest));
  }
}

struct ConditionFamilies {
  Family clusters{"cluster_condition",
                  "1: how the Cluster's condition stands: True, False or Unknown.",
                  {"namespace", "cluster", "condition", "status", "reason"}};
  Family stalled{"object_stalled",
                 "1: the object doesn't go on without somebody. Machines are counted by machines_stalled.",
                 {"kind", "namespace", "name", "reason"}};
  Family reachable{"metric_source_reachable", "1: that MetricSource answers; 0: it doesn't, or isn't known to.", {"namespace", "name"}};
};

void add_stalled(Family& out, std::string_view kind, const reconcile::ObjectMeta& meta, const std::vector<api::Condition>& conditions) {
  const auto* c = reconcile::find_condition(conditions, api::condition::stalled);
  if (c && c->status == api::ConditionStatus::true_) out.add({kind, meta.name_space, meta.name, c->reason}, 1);
}

void count_conditions(const Records& in, ConditionFamilies& out) {
  for (const auto& c : in.clusters) {
    add_stalled(out.stalled, "Cluster", c->metadata, c->status.conditions);
    for (const auto type : {api::condition::ready, api::condition::stalled, api::condition::connected, api::condition::machines_ready,
                            api::condition::control_plane_ready, api::condition::certificates_ready, api::condition::etcd_backed_up})
      if (const auto* condition = reconcile::find_condition(c->status.conditions, type))
        out.clusters.add({c->metadata.name_space, c->metadata.name, type, name_of(condition->status), condition->reason}, 1);
  }
  for (const auto& s : in.sets) add_stalled(out.stalled, "MachineSet", s->metadata, s->status.conditions);
  for (const auto& b : in.budgets) add_stalled(out.stalled, "ChangeBudget", b->metadata, b->status.conditions);
  for (const auto& s : in.sources) {
    add_stalled(out.stalled, "MetricSource", s->metadata, s->status.conditions);
    const bool reachable = reconcile::is_true(s->status.conditions, api::condition::reachable);
    out.reachable.add({s->metadata.name_space, s->metadata.name}, reachable ? 1 : 0);
  }
}

}  // namespace

std::vector<GaugeFamily> state_metrics(const Records& records) {
  MachineFamilies machines;
  count_machines(records, machines);
  SetFamilies sets;
  for (const auto& s : records.sets) count_set(*s, sets);
  ConditionFamilies conditions;
  count_conditions(records, conditions);
  HostedFamilies hosted;
  count_hosted(records, hosted);
  auto hosts = count_hosts(records);
  std::vector<GaugeFamily> out;
  for (auto* f : {&machines.phases,
                  &machines.unavailable,
                  &machines.operations,
                  &machines.deadline,
                  &machines.blocked,
                  &machines.stalled,
                  &machines.without_host,
                  &machines.packages,
                  &hosts,
                  &sets.replicas,
                  &sets.max_unavailable,
                  &sets.phase,
                  &sets.step,
                  &sets.machines,
                  &sets.progress,
                  &sets.blocked,
                  &sets.rejected,
                  &sets.started,
                  &sets.got_on,
                  &sets.checks,
                  &conditions.clusters,
                  &conditions.stalled,
                  &conditions.reachable,
                  &hosted.certificates,
                  &hosted.snapshots})
    out.push_back(std::move(f->out));
  return out;
}

}  // namespace endstate::observe
