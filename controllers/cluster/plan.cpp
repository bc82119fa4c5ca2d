#include "controllers/cluster/plan.hpp"

#include <algorithm>

#include "controllers/cluster/blind.hpp"
#include "controllers/cluster/break_glass.hpp"
#include "controllers/cluster/operations.hpp"
#include "controllers/cluster/plan_delete.hpp"
#include "controllers/cluster/rights.hpp"
#include "controllers/common/machine_state.hpp"
#include "reconcile/cache/excess.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::cluster {
namespace {

using api::ConditionStatus;
using namespace std::chrono_literals;

struct Line {  // what a condition says
  ConditionStatus status{};
  Text reason;
  std::string message;
};
Line yes(std::string_view reason, std::string message = {}) { return {ConditionStatus::true_, reason, std::move(message)}; }
Line no(std::string_view reason, std::string message = {}) { return {ConditionStatus::false_, reason, std::move(message)}; }

bool is_external(const api::Cluster& c) { return c.spec.control_plane.type == api::ControlPlaneType::external; }

api::ClusterMachines count(const Snapshot& s) {
  api::ClusterMachines out;
  out.replicas = static_cast<std::int64_t>(s.machines.size());
  for (const auto& m : s.machines) {
    out.ready_replicas += is_available(*m);
    out.failed_replicas += m->status.phase == api::MachinePhase::failed;
    if (m->status.revision.empty()) continue;
    out.up_to_date_replicas += m->status.revision == desired_revision(*m);
  }
  return out;
}

Line connected(const Snapshot& s) {
  const auto& connection = s.connection;
  if (reconcile::has_too_many_objects(s.sight)) return no(api::reason::too_many_objects, s.sight.why);
  switch (connection.reachable) {
    case ConditionStatus::true_: return yes(api::reason::connected, connection.version.empty() ? "" : "Kubernetes " + connection.version);
    case ConditionStatus::false_: return no(api::reason::connection_lost, connection.message);
    case ConditionStatus::unknown: break;
  }
  // Before it is known, what there is to say is about the Secret (reconcile/run: the runtime reads it and never shows it to a loop).
  if (!connection.known && !connection.message.empty()) {
    const bool missing = connection.message.find("not found") != std::string::npos;
    return no(missing ? api::reason::secret_not_found : api::reason::secret_not_usable, connection.message);
  }
  return {ConditionStatus::unknown, api::reason::connecting, connection.message.empty() ? "no answer yet" : connection.message};
}

bool is_off(const Snapshot& s) { return !is_external(*s.cluster) && !s.hosted_on; }
constexpr std::string_view off_text =
    "this operator doesn't run Hosted control planes: start it with --hosted-control-planes and give it the rights of "
    "manifests/rbac/operator-hosted.yaml (the chart's value hostedControlPlanes.enabled does both)";

bool was_connected(const api::Cluster& c) { return !c.status.control_plane.version.empty(); }

api::ClusterPhase phase(const Snapshot& s, const Line& link, const HostedPlan* hosted) {
  if (s.cluster->metadata.deleting()) return api::ClusterPhase::deleting;
  if (hosted) return hosted->phase;
  if (link.status == ConditionStatus::true_) return api::ClusterPhase::running;
  if (!was_connected(*s.cluster)) return api::ClusterPhase::provisioning;
  return link.status == ConditionStatus::false_ ? api::ClusterPhase::failed : api::ClusterPhase::running;
}

RightsPlan rights(const Snapshot& s) {
  return plan_rights(*s.cluster, connected(s).status == ConditionStatus::true_, s.rights ? &*s.rights : nullptr, s.now);
}

class Writer {
 public:
  Writer(const Snapshot& s, const Deletion& deletion, const HostedPlan* hosted, const RightsPlan& rights)
      : s_(s), deletion_(deletion), hosted_(hosted), rights_(rights) {}

  api::ClusterStatus run() {
    const auto link = connected(s_);
    status_ = s_.cluster->status;
    status_.conditions.clear();
    status_.addons.clear();
    status_.observed_generation = s_.cluster->metadata.generation;
    if (hosted_) status_.operations = under_way(s_.cluster->status.operations, hosted_->unsettled, s_.now);
    status_.phase = phase(s_, link, hosted_);
    status_.break_glass = plan_break_glass(*s_.cluster, s_.now).status;
    if (hosted_) {
      status_.control_plane = hosted_->status;
      status_.history = hosted_->history;
      set(api::condition::control_plane_ready, line(hosted_->control_plane));
      set(api::condition::certificates_ready, line(hosted_->certificates));
      if (hosted_->backed_up) set(api::condition::etcd_backed_up, line(*hosted_->backed_up));
    } else if (is_external(*s_.cluster)) {
      status_.control_plane.endpoint = s_.cluster->spec.control_plane.endpoint;
    }
    if (!s_.connection.version.empty()) status_.control_plane.version = s_.connection.version;
    status_.machines = count(s_);
    if (was_connected(*s_.cluster)) status_.blind = note_blind(s_.cluster->status.blind, s_.sight, s_.now);
    status_.blocked_by = blocked_by(link);
    set(api::condition::connected, link);
    rights_complete();
    machines();
    summary(link);
    if (is_paused(*s_.cluster))
      set(api::condition::paused, yes(api::reason::paused, "spec.paused or the annotation endstate.dev/paused says so"));
    return std::move(status_);
  }

 private:
  bool deleting() const { return s_.cluster->metadata.deleting(); }

  std::optional<Line> stalled(const Line& link) const {
    if (deleting() && deletion_.stalled) return yes(deletion_.reason, deletion_.message);
    if (deleting()) return std::nullopt;
    if (is_off(s_)) return yes(api::reason::hosted_control_planes_off, std::string(off_text));
    if (hosted_) return hosted_->problem ? std::optional(yes(hosted_->problem->reason, hosted_->problem->message)) : std::nullopt;
    if (link.reason == api::reason::secret_not_found || link.reason == api::reason::secret_not_usable)
      return yes(link.reason, link.message);
    return std::nullopt;
  }

  void machines() {
    const auto& m = *status_.machines;
    const auto text = std::to_string(m.ready_replicas) + " of " + std::to_string(m.replicas) + " machines are Ready";
    set(api::condition::machines_ready, m.ready_replicas == m.replicas ? yes(api::reason::ready, text) : no(api::reason::not_ready, text));
  }

  // What was found last stays while nobody can ask.
  void rights_complete() {
    if (!s_.cluster->spec.control_plane.kubeconfig_secret) return;
    const auto* old = reconcile::find_condition(s_.cluster->status.conditions, api::condition::rights_complete);
    if (rights_.line)
      set(api::condition::rights_complete, line(*rights_.line));
    else if (old)
      set(api::condition::rights_complete, {old->status, old->reason, old->message.str()});
  }

  static Line line(const HostedLine& from) { return {from.status, from.reason, from.message}; }
  // Of a Hosted one: its parts are ready, it answers, and nothing serious is wrong.
  bool is_ready(const Line& link) const {
    if (deleting() || is_off(s_) || link.status != ConditionStatus::true_) return false;
    return !hosted_ || (hosted_->control_plane.status == ConditionStatus::true_ && !(hosted_->problem && hosted_->problem->serious));
  }

  void summary(const Line& link) {
    const auto problem = stalled(link);
    const bool ready = is_ready(link);
    Line why = link;
    if (hosted_ && hosted_->control_plane.status != ConditionStatus::true_) why = line(hosted_->control_plane);
    if (deleting()) why = no(deletion_.reason, deletion_.message);
    if (problem) why = no(problem->reason, problem->message);
    if (ready)
      set(api::condition::ready, yes(api::reason::ready, link.message));
    else
      set(api::condition::ready, {why.status == ConditionStatus::true_ ? ConditionStatus::false_ : why.status, why.reason, why.message});
    const bool moving = hosted_ && (status_.phase == api::ClusterPhase::updating || status_.phase == api::ClusterPhase::rolling_back);
    const bool works = (!ready && !problem) || moving;
    if (moving) why = yes(api::reason::progressing, "a release is under way: see status.controlPlane.upgradePlan");
    set(api::condition::reconciling, works ? yes(why.reason, why.message) : no(ready ? Text(api::reason::ready) : why.reason));
    set(api::condition::stalled, problem ? *problem : no(api::reason::not_stalled));
    if (deleting()) set(api::condition::deleting, yes(deletion_.reason, deletion_.message));
  }

  std::optional<api::BlockedBy> blocked_by(const Line& link) const {
    api::BlockedBy out;
    if (deleting() && deletion_.stalled) {
      out.kind = deletion_.reason == api::reason::machines_remain ? "Machine" : "Cluster";
      out.name = deletion_.reason == api::reason::machines_remain && !s_.machines.empty() ? s_.machines.front()->metadata.name
                                                                                          : s_.cluster->metadata.name;
      out.reason = deletion_.reason;
      out.message = deletion_.message;
    } else if (!deleting() && is_off(s_)) {
      out.kind = "Cluster";
      out.name = s_.cluster->metadata.name;
      out.reason = api::reason::hosted_control_planes_off;
      out.message = off_text;
    } else if (!deleting() && hosted_) {
      if (!hosted_blocked(out)) return std::nullopt;
    } else if (!deleting() && (link.reason == api::reason::secret_not_found || link.reason == api::reason::secret_not_usable)) {
      out.kind = "Secret";
      out.name = s_.cluster->spec.control_plane.kubeconfig_secret->name;
      out.reason = link.reason;
      out.message = Text(std::string_view(link.message).substr(0, 1024));
    } else {
      return std::nullopt;
    }
    const auto& old = s_.cluster->status.blocked_by;
    const bool same = old && old->kind == out.kind && old->reason == out.reason;
    out.since = same ? old->since : s_.now;
    return out;
  }

  bool hosted_blocked(api::BlockedBy& out) const {
    if (const auto& p = hosted_->problem) {
      out.kind = p->kind;
      out.name = p->name;
      out.reason = p->reason;
      out.message = std::string_view(p->message).substr(0, 1024);
      return true;
    }
    if (!s_.refused || !hosted_->permit) return false;
    out.kind = s_.refused->kind;
    out.name = s_.refused->name;
    out.reason = s_.refused->reason;
    out.message = std::string_view(s_.refused->message).substr(0, 1024);
    return true;
  }

  void set(std::string_view type, const Line& line) {
    const auto* old = reconcile::find_condition(s_.cluster->status.conditions, type);
    api::Condition c{.type = type,
                     .status = line.status,
                     .reason = line.reason,
                     .message = Text(std::string_view(line.message).substr(0, 4096)),
                     .last_transition_time = old && old->status == line.status ? old->last_transition_time : s_.now,
                     .observed_generation = s_.cluster->metadata.generation};
    reconcile::set_condition(status_.conditions, std::move(c), s_.now);
  }

  const Snapshot& s_;
  const Deletion& deletion_;
  const HostedPlan* hosted_;  // null: External, or it is deleted
  const RightsPlan& rights_;
  api::ClusterStatus status_;
};

// Counters alone may wait; what a person or another loop acts on is written at once.
bool only_counters(const api::ClusterStatus& a, const api::ClusterStatus& b) {
  const auto story = [](const api::ClusterStatus& s) {
    auto copy = s;
    copy.machines.reset();
    std::erase_if(copy.conditions, [](const api::Condition& c) { return c.type == api::condition::machines_ready; });
    return copy;
  };
  return story(a) == story(b);
}

// Of what stands in status, the cluster loop's part: add-ons are another's (controllers/addons/).
api::ClusterStatus own_part(api::ClusterStatus status) {
  status.addons.clear();
  std::erase_if(status.conditions, [](const api::Condition& c) { return c.type == api::condition::addons_ready; });
  // A merge of two managers' lists may come in another order than ours.
  std::sort(status.conditions.begin(), status.conditions.end(), [](const auto& a, const auto& b) { return a.type.view() < b.type.view(); });
  return status;
}

// What is said and what is locked are one status. A lock goes out under its permit, so what is to be said is said first, alone; counters
// wait.
void write_status(const Snapshot& s, api::ClusterStatus status, Planned& out) {
  const auto& c = *s.cluster;
  const auto before = own_part(c.status);
  bool changed = !(status == before);
  const bool locks = !c.metadata.deleting();  // a Teardown ends with its Cluster
  if (locks && out.plan.permit && changed && !only_counters(status, before)) {
    out.plan.permit.reset();
    std::erase_if(out.plan.actions, [](const reconcile::Action& a) { return a.guarded; });
    out.plan.again = std::min<std::chrono::milliseconds>(out.plan.again.value_or(1s), 1s);
  } else if (locks && lock_first(c, status, s.now, out.plan)) {
    changed = false;
  }
  out.plan.status = reconcile::StatusWrite{.kind = &reconcile::kind_of<api::Cluster>,
                                           .key = c.metadata.key(),
                                           .uid = c.metadata.uid,
                                           .resource_version = c.metadata.resource_version,
                                           .status = changed ? reconcile::encode(status) : std::string(),
                                           .changed = changed,
                                           .settle = changed && only_counters(status, before) ? settle : 0ms};
  out.status = std::move(status);
}

// Its Secret is not among what an operator without Hosted control planes watches.
bool had_kubeconfig(const api::Cluster& c) {
  const auto& all = c.status.control_plane.certificates;
  return std::any_of(all.begin(), all.end(), [](const api::CertificateStatus& one) { return one.name == "kubeconfig"; });
}

// The meta cluster is always connected; a Cluster that names no Secret (any more) has no connection of its own. A Hosted one has from when
// its kubeconfig is made, and keeps what it has when that Secret goes first (its namespace is being deleted): its machines need it still.
reconcile::ConnectWish wish(const api::Cluster& c, bool has_kubeconfig, bool wanted) {
  if (!is_external(c))
    return {.cluster = c.metadata.key().str(),
            .connected = wanted && has_kubeconfig,
            .secret_namespace = c.metadata.name_space,
            .secret_name = c.metadata.name.str() + "-kubeconfig"};
  const auto& secret = c.spec.control_plane.kubeconfig_secret;
  return {.cluster = c.metadata.key().str(),
          .connected = wanted && secret.has_value(),
          .secret_namespace = secret ? c.metadata.name_space : Text(),
          .secret_name = secret ? secret->name : Text()};
}
reconcile::ConnectWish wish(const Snapshot& s, bool wanted) {
  const bool made = s.hosted_on ? s.hosted.leaves.contains("kubeconfig") : had_kubeconfig(*s.cluster);
  return wish(*s.cluster, s.connection.known || made, wanted);
}

reconcile::Action add_finalizer(const api::Cluster& c) {
  auto finalizers = c.metadata.finalizers;
  finalizers.emplace_back(api::finalizer::cluster);
  return {.verb = reconcile::Verb::merge_patch,
          .kind = &reconcile::kind_of<api::Cluster>,
          .name_space = c.metadata.name_space,
          .name = c.metadata.name,
          .body = "{\"metadata\":{\"finalizers\":" + reconcile::encode(finalizers) + "}}",
          .uid = c.metadata.uid,
          .resource_version = c.metadata.resource_version,
          .why = "it must not go before what belongs to it"};
}

// A gap becomes one to be noted without anything that changes.
void look_for_gap(const Snapshot& s, Planned& out) {
  if (!was_connected(*s.cluster)) return;
  if (const auto wait = until_noted(s.cluster->status.blind, s.sight, s.now)) {
    const auto again = std::chrono::ceil<std::chrono::milliseconds>(*wait) + 1s;  // now is in whole seconds
    out.plan.again = std::min<std::chrono::milliseconds>(out.plan.again.value_or(again), again);
  }
  const bool noted = out.status && out.status->blind.size() != s.cluster->status.blind.size() && !s.sight.seen;
  if (noted && s.sight.why.starts_with(clock_jumped))
    out.plan.events.push_back({.warning = true, .reason = api::reason::clock_jump, .action = "Look", .note = Text(s.sight.why)});
}

}  // namespace

reconcile::ConnectWish standby_wish(const api::Cluster& c) {
  // As the leader does: one whose part is done has no connection any more.
  return wish(c, had_kubeconfig(c), !c.metadata.deleting() || c.metadata.has_finalizer(api::finalizer::cluster));
}

Planned plan_in_full(const Snapshot& s) {
  Planned out;
  const auto& meta = s.cluster->metadata;
  const bool ours = meta.has_finalizer(api::finalizer::cluster);
  // Nothing of it was made yet, and nothing would take the finalizer off.
  if (is_off(s) && !ours && !meta.deleting()) {
    write_status(s, Writer(s, {}, nullptr, {}).run(), out);
    return out;
  }
  if (!meta.deleting() && !ours) {
    out.plan.actions.push_back(add_finalizer(*s.cluster));
    out.plan.connections.push_back(wish(s, true));
    return out;
  }
  if (meta.deleting() && !ours) {  // somebody else's finalizer holds it; our part is done
    out.plan.connections.push_back(wish(s, false));
    return out;
  }
  if (!is_external(*s.cluster) && s.hosted_on &&
      !s.hosted.synced) {  // nothing is said or done by what isn't known; a connection stays as it is
    out.plan.again = 1s;
    return out;
  }
  Deletion deletion;
  if (meta.deleting()) {
    if (!s.fresh) {
      out.plan.again = 1s;
      return out;
    }
    if (is_off(s))
      deletion = {.actions = {}, .reason = api::reason::hosted_control_planes_off, .message = std::string(off_text), .stalled = true};
    else if (!is_paused(*s.cluster))
      deletion = plan_delete(s);
    else
      deletion = {.actions = {}, .reason = api::reason::paused, .message = "it is paused: nothing of it is deleted", .stalled = true};
  }
  out.plan.actions = std::move(deletion.actions);
  out.plan.permit = std::move(deletion.permit);
  if (deletion.waits) out.plan.again = look_again;
  out.plan.connections.push_back(wish(s, !deletion.done));
  std::optional<HostedPlan> hosted;
  if (!meta.deleting() && !is_external(*s.cluster) && s.hosted_on) {
    hosted = plan_hosted(
        {.cluster = *s.cluster, .facts = s.hosted, .has_machines = !s.machines.empty(), .paused = is_paused(*s.cluster), .now = s.now});
    out.plan.actions = std::move(hosted->actions);
    out.plan.permit = hosted->permit;
    out.plan.events = std::move(hosted->events);
    out.plan.queries = std::move(hosted->queries);
    out.plan.again = hosted->again;
  }
  auto asked = rights(s);
  if (asked.query) out.plan.queries.push_back(std::move(*asked.query));
  if (asked.again) out.plan.again = std::min(out.plan.again.value_or(*asked.again), *asked.again);
  auto glass = plan_break_glass(*s.cluster, s.now);
  for (auto& event : glass.events) out.plan.events.push_back(std::move(event));
  if (glass.again) out.plan.again = std::min(out.plan.again.value_or(*glass.again), *glass.again);
  if (!deletion.done) write_status(s, Writer(s, deletion, hosted ? &*hosted : nullptr, asked).run(), out);
  look_for_gap(s, out);
  return out;
}

reconcile::Plan plan(const Snapshot& snapshot) { return plan_in_full(snapshot).plan; }

}  // namespace endstate::cluster
