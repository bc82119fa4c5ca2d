#include "controllers/cluster/plan_hosted.hpp"

#include <algorithm>

#include "apis/v1alpha1/names.hpp"
#include "controllers/cluster/child_jobs.hpp"
#include "controllers/cluster/etcd_members.hpp"
#include "controllers/cluster/etcd_snapshots.hpp"
#include "controllers/cluster/hosted_facts.hpp"
#include "controllers/cluster/recipes.hpp"
#include "controllers/cluster/replica_repair.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::cluster {
namespace {

namespace api = v1alpha1;
namespace reason = api::reason;
using api::ConditionStatus;
using reconcile::Action, reconcile::Verb;
using namespace std::chrono_literals;

constexpr std::size_t max_history = 20;

HostedLine yes(std::string_view why, std::string message = {}) { return {ConditionStatus::true_, why, std::move(message)}; }
HostedLine no(std::string_view why, std::string message = {}) { return {ConditionStatus::false_, why, std::move(message)}; }

class Planner {
 public:
  explicit Planner(const HostedInput& in) : in_(in), site_(site_of(in.cluster)) {
    fill_addresses(in.facts, site_);
    out_.status = in.cluster.status.control_plane;
    out_.history = in.cluster.status.history;
    out_.control_plane = no(reason::control_plane_creating, "nothing of it is there yet");
    out_.certificates = no(reason::control_plane_creating, "not all of them are made yet");
  }

  HostedPlan run() {
    out_.connect = in_.facts.leaves.contains("kubeconfig");
    out_.phase = in_.cluster.status.phase;
    out_.status.certificates = certificate_status(in_.facts, in_.cluster.status.control_plane);
    versions();
    snapshots();
    decide();
    describe();
    if (const auto why = refusal(site_); !why.empty()) problem(reason::invalid_spec, "Cluster", site_.name, why);
    // One that was made by its first range alone goes on as it is: clusterNetwork can't change.
    if (!site_.more_ranges.empty() && in_.cluster.status.control_plane.certificates.empty())
      problem(
          reason::invalid_spec, "Cluster", site_.name,
          "clusterNetwork." + site_.more_ranges + ".cidrBlocks: two ranges (dual stack) can't be served yet: create the Cluster with one");
    if (!in_.facts.taken_secrets.empty())
      problem(reason::invalid_spec, "Secret", site_.name_space + "/" + in_.facts.taken_secrets.front(),
              "the Secret " + in_.facts.taken_secrets.front() +
                  " was there before and isn't endstate's: delete it, or create the Cluster by another name");
    if (!in_.facts.endpoint_holder.empty()) {
      problem(reason::invalid_spec, "Cluster", site_.name,
              "controlPlane.endpoint: " + site_.endpoint + ", port " + std::to_string(site_.port) + ", is the endpoint of " +
                  in_.facts.endpoint_holder + " already: choose another host or port");
      look_again_after(30s);  // the other one may go
    }
    if (!in_.facts.refused_writes.empty()) problem(reason::child_refused, "Cluster", site_.name, in_.facts.refused_writes.front());
    if (!in_.paused) act();
    return std::move(out_);
  }

 private:
  const reconcile::Workload* found(Part part) const {
    const auto it = in_.facts.workloads.find(site_.child(suffix(part)));
    return it == in_.facts.workloads.end() ? nullptr : &it->second;
  }
  std::int64_t replicas(Part part) const { return part == Part::etcd ? site_.members : site_.replicas; }
  bool well(Part part, Wellness wellness) const { return found(part) && is_well(*found(part), replicas(part), wellness); }

  void problem(std::string_view why, std::string kind, std::string name, std::string message, bool serious = true) {
    if (!out_.problem) out_.problem = HostedProblem{why, std::move(kind), std::move(name), std::move(message), serious};
  }
  void event(bool warning, std::string_view why, std::string_view action, const std::string& note) {
    out_.events.push_back(
        {.warning = warning, .reason = why, .action = action, .note = std::string_view(note).substr(0, 1024), .regarding = {}});
  }

  // ---- releases ----

  void versions() {
    for (const auto& [name, version] : in_.facts.packages) release_.versions[name] = facts_of(version->spec);
  }
  // What etcd's pods are made from now.
  const api::ClusterPackageVersion* etcd_package() const {
    const auto* w = found(Part::etcd);
    const auto it = w ? in_.facts.packages.find(w->metadata.annotations.get(api::annotation::package_version)) : in_.facts.packages.end();
    return it == in_.facts.packages.end() ? nullptr : it->second.get();
  }
  void snapshots() {
    const auto& before = in_.cluster.status.control_plane.etcd;
    if (!site_.snapshots.enabled) return;
    auto now = snapshots_now(site_, in_.facts, before ? before->snapshots : std::vector<api::EtcdSnapshot>(), out_.queries);
    if (now.empty() && !before) return;
    if (!out_.status.etcd) out_.status.etcd.emplace();
    out_.status.etcd->snapshots = std::move(now);
  }
  // A release that touches etcd or the API server comes after a snapshot that was begun for it; each minor on the way after one of its own.
  bool hold(std::string_view hop) {
    if (!site_.snapshots.enabled || in_.cluster.metadata.annotations.get(api::annotation::skip_snapshot) == release_.wanted) return false;
    const auto from = in_.facts.packages.find(release_.current), to = in_.facts.packages.find(hop);
    if (from == in_.facts.packages.end() || to == in_.facts.packages.end()) return false;
    const auto &a = from->second->spec.components, &b = to->second->spec.components;
    if (a.etcd == b.etcd && a.kube_api_server == b.kube_api_server) return false;
    const auto& history = in_.cluster.status.history;
    const bool open =
        !history.empty() && history.back().result == api::ReleaseResult::none && history.back().package_version == release_.wanted;
    snapshot_since_ = open ? history.back().start_time : in_.now;
    for (const auto& step : release_.steps)
      if (step.state == api::PlanStepState::done) snapshot_since_ = std::max(snapshot_since_, step.start_time);
    const auto& etcd = out_.status.etcd;
    if (etcd && std::any_of(etcd->snapshots.begin(), etcd->snapshots.end(), [&](const auto& s) { return s.time >= snapshot_since_; }))
      return false;
    snapshot_before_ = hop;
    return true;
  }
  void decide() {
    const auto& plane = in_.cluster.status.control_plane;
    const auto rollout = in_.cluster.spec.control_plane.rollout.value_or(api::ControlPlaneRollout{});
    release_.wanted = in_.cluster.spec.package_version ? in_.cluster.spec.package_version->name.str() : std::string();
    release_.current = plane.package_version.str();
    release_.rejected = plane.rejected_package_version.str();
    release_.steps = plane.upgrade_plan;
    release_.pause_on_failure = api::action(rollout.on_failure) == api::ControlPlaneFailureAction::pause;
    release_.now = in_.now;
    const auto wellness = release_.current.empty() ? Wellness::ready : Wellness::available;
    for (const auto part : all_parts) {
      const auto i = static_cast<std::size_t>(part);
      // A Deployment says itself that it doesn't get on; this limit is for a StatefulSet, and for what says nothing.
      release_.limits[i] = (site_.progress_deadline + site_.soak) * (replicas(part) + 1);
      const auto* w = found(part);
      if (!w) continue;
      release_.parts[i] = {.exists = true,
                           .package = std::string(w->metadata.annotations.get(api::annotation::package_version)),
                           .settled = well(part, wellness),
                           .failure = failure_of(*w)};
      if (!release_.parts[i].settled) out_.unsettled.emplace(suffix(part));
    }
    release_.hold = [this](std::string_view hop) { return hold(hop); };
    decision_ = plan_release(release_);
    out_.status.package_version = decision_.current;
    out_.status.rejected_package_version = decision_.rejected;
    out_.status.upgrade_plan = decision_.steps;
    if (const auto& p = decision_.problem)
      problem(p->reason, "ClusterPackageVersion", release_.wanted, p->message, release_.current.empty());
    record();
  }
  void record() {
    auto& history = out_.history;
    const bool open = !history.empty() && history.back().result == api::ReleaseResult::none;
    const bool first = decision_.course == Course::creating && history.empty();
    if ((decision_.began || first) && !decision_.problem) {
      if (open) close(history.back(), api::ReleaseResult::superseded, {});
      history.push_back(
          {.package_version = release_.wanted, .from = release_.current, .field_manager = {}, .start_time = in_.now, .message = {}});
      if (!first) event(false, reason::progressing, "Release", "release of " + release_.wanted + " begins");
    }
    if (const auto& end = decision_.end; end && !history.empty() && history.back().result == api::ReleaseResult::none) {
      if (end->result == api::ReleaseResult::rejected)
        history.back().message = std::string_view(end->message).substr(0, 1024);
      else
        close(history.back(), end->result, end->message);
      const bool good = end->result == api::ReleaseResult::complete;
      event(!good,
            good                                          ? reason::up_to_date
            : end->result == api::ReleaseResult::rejected ? reason::release_rejected
                                                          : reason::rolled_back,
            "Release", "release of " + end->package + ": " + (good ? "complete" : end->message));
    }
    if (history.size() > max_history) history.erase(history.begin(), history.end() - max_history);
  }
  void close(api::Release& release, api::ReleaseResult result, std::string_view message) const {
    release.result = result;
    release.end_time = in_.now;
    if (release.message.empty()) release.message = message.substr(0, 1024);
  }

  // ---- what is said ----

  void describe() {
    auto& status = out_.status;
    status.replicas = site_.replicas;
    status.ready_replicas = found(Part::api_server) ? found(Part::api_server)->status.ready_replicas : 0;
    if (!site_.client_endpoint().empty()) status.endpoint = api::Endpoint{.host = site_.client_endpoint(), .port = site_.port};
    out_.phase = phase();
    // While a release is under way there is a pod more than wanted, for a time: what counts is how many serve.
    std::string not_well;
    for (const auto part : all_parts)
      if (!found(part) || found(part)->status.ready_replicas < replicas(part))
        not_well += (not_well.empty() ? "" : ", ") + std::string(component_name(part)) + " " + count(part);
    if (not_well.empty())
      out_.control_plane = yes(reason::ready);
    else
      out_.control_plane =
          no(release_.current.empty() ? reason::control_plane_creating : reason::control_plane_unhealthy, "not ready: " + not_well);
  }
  std::string count(Part part) const {
    const auto* w = found(part);
    return w ? std::to_string(w->status.ready_replicas) + " of " + std::to_string(replicas(part)) : std::string("(not there yet)");
  }
  api::ClusterPhase phase() const {
    switch (decision_.course) {
      case Course::creating: return api::ClusterPhase::provisioning;
      case Course::updating: return api::ClusterPhase::updating;
      case Course::back: return decision_.steps.empty() ? api::ClusterPhase::running : api::ClusterPhase::rolling_back;
      case Course::stopped: return release_.current.empty() ? api::ClusterPhase::pending : api::ClusterPhase::running;
      case Course::steady: break;
    }
    return api::ClusterPhase::running;
  }

  // ---- what is done ----

  void act() {
    if (out_.problem && out_.problem->reason == reason::invalid_spec) return;
    for (const auto& c : services(site_)) ensure(c);
    for (const auto& c : guards(site_)) ensure(c);
    if (site_.snapshots.enabled) ensure(snapshot_claim(site_));
    const bool keys_rest = keys();
    const bool nothing_else = keys_rest && !decision_.decided && out_.actions.empty();
    if (nothing_else) workloads();
    if (!found(Part::etcd) || !site_.has_addresses()) return;
    const bool busy = !nothing_else || !out_.actions.empty();
    members(busy);
    if (!busy && decision_.course == Course::steady && !release_.current.empty()) repair();
    if (!release_.current.empty() && site_.snapshots.enabled && in_.facts.leaves.contains("apiserver-etcd-client")) take_snapshots();
  }
  void look_again_after(std::optional<std::chrono::seconds> after) {
    if (after) out_.again = std::min<std::chrono::milliseconds>(out_.again.value_or(*after), std::max<std::chrono::seconds>(*after, 1s));
  }

  // ---- etcd's members and snapshots ----

  void members(bool busy) {
    const auto* package = etcd_package();
    const auto all_well = std::all_of(std::begin(all_parts), std::end(all_parts), [&](Part p) { return well(p, Wellness::available); });
    auto plan = plan_members({.site = site_,
                              .facts = in_.facts,
                              .before = in_.cluster.status.control_plane.etcd,
                              .image = package ? package->spec.components.etcd.image.str() : std::string(),
                              .created = !release_.current.empty(),
                              .busy = busy || decision_.course != Course::steady || !all_well,
                              .now = in_.now});
    // What is guarded goes under its own permit, or waits for the next pass.
    for (auto& a : plan.actions) {
      if (a.guarded && out_.permit) continue;
      out_.actions.push_back(std::move(a));
    }
    if (!plan.permit.empty() && !out_.permit) {
      out_.permit = permit(api::operation::control_plane_repair, plan.permit, 0);
      if (!plan.event.empty()) event(true, reason::etcd_member_lost, "Replace", plan.event);
    }
    for (auto& q : plan.queries) out_.queries.push_back(std::move(q));
    if (!plan.members.empty()) {
      if (!out_.status.etcd) out_.status.etcd.emplace();
      out_.status.etcd->members = std::move(plan.members);
      out_.status.etcd->members_time = plan.members_time;
    }
    if (plan.problem) problem(plan.problem->reason, plan.problem->kind, plan.problem->name, plan.problem->message, plan.problem->serious);
    if (!plan.progress.empty() && out_.control_plane.status == ConditionStatus::false_)
      out_.control_plane = no(reason::etcd_member_lost, plan.progress);
    look_again_after(plan.again);
  }

  // ---- replicas ----

  // Without its permit what has been done isn't counted.
  void repair() {
    auto plan = plan_repair({.site = site_, .facts = in_.facts, .before = in_.cluster.status.control_plane.repairs, .now = in_.now});
    if (plan.problem) problem(plan.problem->reason, plan.problem->kind, plan.problem->name, plan.problem->message, plan.problem->serious);
    if (!plan.actions.empty() && out_.permit) return;
    for (auto& a : plan.actions) out_.actions.push_back(std::move(a));
    if (!plan.permit.empty()) out_.permit = permit(api::operation::control_plane_repair, plan.permit, 0);
    if (!plan.event.empty()) event(true, reason::replica_failing, "Repair", plan.event);
    out_.status.repairs = std::move(plan.repairs);
    // Time, not a change, makes a replica one that is unwell.
    if (out_.control_plane.status != ConditionStatus::true_) look_again_after(30s);
  }

  void take_snapshots() {
    static const std::vector<api::EtcdSnapshot> none;
    const auto& there = out_.status.etcd ? out_.status.etcd->snapshots : none;
    const auto* package = etcd_package();
    auto plan = plan_snapshots({.site = site_,
                                .facts = in_.facts,
                                .there = there,
                                .package = package ? package->metadata.name.str() : std::string(),
                                .image = package ? package->spec.components.etcd.image.str() : std::string(),
                                .member = ready_member(site_, in_.facts),
                                .before = snapshot_before_,
                                .since = snapshot_since_,
                                .now = in_.now});
    for (auto& a : plan.actions) out_.actions.push_back(std::move(a));
    look_again_after(plan.again);
    if (!snapshot_before_.empty() && !plan.failure.empty())
      problem(reason::snapshot_failed, "Job", site_.name_space + "/" + plan.job,
              "the release of " + release_.wanted + " waits for a snapshot of etcd: " + plan.failure +
                  ". To release without one: kubectl annotate cluster.endstate.dev " + site_.name + " " +
                  std::string(api::annotation::skip_snapshot) + "=" + release_.wanted,
              false);
    say_snapshots(there, plan.failure);
  }
  void say_snapshots(const std::vector<api::EtcdSnapshot>& there, const std::string& failure) {
    WallTime newest{};
    for (const auto& s : there) newest = std::max(newest, s.time);
    const auto last = there.empty() ? std::string("none has been taken yet") : "the newest is of " + reconcile::format_rfc3339(newest);
    if (!failure.empty())
      out_.backed_up = no(reason::snapshot_failed, failure + "; " + last);
    else if (there.empty() || in_.now - newest > 2 * site_.snapshots.interval + snapshot_limit)
      out_.backed_up = no(reason::snapshot_pending, last);
    else
      out_.backed_up = yes(reason::ready, last);
  }

  void ensure(const Child& wanted) {
    const auto* there = find_child(in_.facts, *wanted.kind, wanted.name);
    if (!there) return create(wanted, "it is missing");
    if (there->metadata.deleting() || is_as_wanted(there->metadata, there->spec, wanted)) return;
    out_.actions.push_back(apply(wanted, there->metadata, "it isn't as it should be"));
  }
  void create(const Child& wanted, std::string why) {
    out_.actions.push_back({.verb = Verb::create,
                            .kind = wanted.kind,
                            .name_space = site_.name_space,
                            .name = wanted.name,
                            .body = wanted.body,
                            .why = std::move(why)});
  }
  Action apply(const Child& wanted, const reconcile::ObjectMeta& there, std::string why) const {
    return {.verb = Verb::apply,
            .kind = wanted.kind,
            .name_space = site_.name_space,
            .name = wanted.name,
            .body = with_identity(wanted.body, there),
            .uid = there.uid,
            .resource_version = there.resource_version,
            .why = std::move(why)};
  }

  // True: every key and certificate is there and good, and pods may be made with them.
  bool keys() {
    RotationInput in;
    in.cas = in_.facts.cas;
    in.signing_keys = in_.facts.signing_keys;
    in.leaves = in_.facts.leaves;
    in.recorded = recorded_keys(in_.cluster.status.control_plane);
    const auto asked = in_.cluster.metadata.annotations.get(api::annotation::rotate_ca);
    for (const auto ca : all_cas) in.asked[static_cast<std::size_t>(ca)] = asked == secret_suffix(ca);
    in.held[static_cast<std::size_t>(CaName::cluster)] = in_.has_machines;
    in.settled = std::all_of(std::begin(all_parts), std::end(all_parts),
                             [&](Part p) { return well(p, Wellness::available) && trust_of(*found(p)) == wanted_trust(in_.facts, p); });
    in.now = in_.now;
    const bool addresses = site_.has_addresses();
    if (addresses)
      in.wanted = wanted_leaves(site_, reconcile::hash_of(bundle_fingerprints(in.cas[static_cast<std::size_t>(CaName::cluster)])));
    const auto plan = plan_rotation(in);
    for (const auto& step : plan.steps) add_key(in, step);
    if (plan.problem)
      problem(plan.problem->reason, "Secret", site_.name_space + "/" + site_.child(plan.problem->secret), plan.problem->message);
    say_keys(in, plan, addresses);
    return addresses && !plan.problem && plan.steps.empty() && recorded(in);
  }
  void add_key(const RotationInput& in, const RotationStep& step) {
    const auto key_type = api::KeyAlgorithm::rsa == in_.cluster.spec.control_plane.key_algorithm.value_or(api::KeyAlgorithm::ecdsa)
                              ? KeyType::rsa
                              : KeyType::ecdsa;
    const auto secret = in_.facts.secrets.find(step.step == KeyStep::make_leaf ? step.leaf : std::string(secret_suffix(step.ca)));
    const bool there = step.anew && secret != in_.facts.secrets.end();
    out_.actions.push_back(key_action(site_, step, in.wanted, key_type, there ? secret->second.get() : nullptr));
    if (step.step == KeyStep::trust || step.step == KeyStep::switch_ || step.step == KeyStep::retire)
      event(false, reason::certificates_rotating, "Rotate", "CA " + site_.child(secret_suffix(step.ca)) + ": " + step.why);
    if (step.step == KeyStep::trust && in.asked[static_cast<std::size_t>(step.ca)]) forget_annotation();
  }
  // One-shot: taken off once accepted.
  void forget_annotation() {
    const auto& meta = in_.cluster.metadata;
    out_.actions.push_back({.verb = Verb::merge_patch,
                            .kind = &reconcile::kind_of<api::Cluster>,
                            .name_space = meta.name_space,
                            .name = meta.name,
                            .body = "{\"metadata\":{\"annotations\":{" + reconcile::quote(api::annotation::rotate_ca) + ":null}}}",
                            .uid = meta.uid,
                            .resource_version = meta.resource_version,
                            .stage = 1,
                            .why = "the CA's rotation has begun"});
  }
  static bool recorded(const RotationInput& in) {
    for (const auto ca : all_cas)
      if (in.recorded.cas[static_cast<std::size_t>(ca)].empty()) return false;
    return !in.recorded.signing_keys.empty();
  }
  void say_keys(const RotationInput& in, const RotationPlan& plan, bool addresses) {
    if (plan.problem) {
      out_.certificates = no(plan.problem->reason, plan.problem->message);
    } else if (!addresses || in.leaves.size() < in.wanted.size() || !recorded(in)) {
      return;
    } else {
      std::string rotating;
      for (const auto ca : all_cas)
        if (in.cas[static_cast<std::size_t>(ca)].trusted.size() > 1)
          rotating += (rotating.empty() ? "" : ", ") + site_.child(secret_suffix(ca));
      const auto next = plan.next ? "the next renewal is due " + reconcile::format_rfc3339(*plan.next) : std::string();
      out_.certificates = yes(rotating.empty() ? reason::ready : reason::certificates_rotating,
                              rotating.empty() ? next : "CAs under rotation: " + rotating);
    }
    // Renewals come by the clock: no watch tells of them.
    if (plan.next)
      out_.again = std::clamp<std::chrono::milliseconds>(std::chrono::ceil<std::chrono::milliseconds>(*plan.next - in_.now), 1s, 1h);
  }

  void workloads() {
    bool before_ready = true, before_settled = true;
    const bool back = decision_.course == Course::back;
    for (const auto part : all_parts) {
      const auto& target = decision_.targets[static_cast<std::size_t>(part)];
      const auto package = in_.facts.packages.find(target);
      const auto* there = found(part);
      if (!target.empty() && package != in_.facts.packages.end()) {
        const auto wanted = workload(
            site_, part,
            {.package = target, .component = component(package->second->spec.components, part), .trust = wanted_trust(in_.facts, part)});
        if (!there) {
          if (before_ready) create(wanted, "it is missing");
        } else if (!there->metadata.deleting() && !is_as_wanted(there->metadata, there->spec, wanted)) {
          if (!back && !before_settled) break;
          change(part, wanted, *there, target);
          if (!back) break;
        }
      }
      // The controller manager and the scheduler don't wait for one another.
      if (part != Part::controller_manager) before_ready = before_ready && well(part, Wellness::ready);
      before_settled = before_settled && well(part, Wellness::available);
    }
    if (decision_.course != Course::steady) out_.again = std::min<std::chrono::milliseconds>(out_.again.value_or(look_again), look_again);
  }
  void change(Part part, const Child& wanted, const reconcile::Workload& there, const std::string& target) {
    auto action = apply(wanted, there.metadata, "a new version");
    const auto was = there.metadata.annotations.get(api::annotation::package_version);
    std::string_view operation = api::operation::control_plane_update;
    if (decision_.course == Course::back) {
      operation = api::operation::control_plane_rollback;
      action.why = "back to the last version that went through";
    } else if (was == target && trust_of(there) != wanted_trust(in_.facts, part)) {
      operation = api::operation::certificate_rotation;
      action.why = "it takes in other CAs";
    } else if (was == target) {
      operation = api::operation::control_plane_rollback;
      action.why = "it isn't as it should be";
    }
    action.guarded = true;
    out_.actions.push_back(std::move(action));
    if (out_.permit) return;
    out_.permit = permit(operation, target + "/" + std::string(suffix(part)), there.metadata.generation.value_or(0));
    if (decision_.course != Course::back) out_.permit->component = suffix(part);  // on the way back all parts go at once
  }
  // By the workload's generation: asking again for the same change costs nothing.
  reconcile::PermitRequest permit(std::string_view operation, const std::string& revision, std::int64_t attempt) const {
    const auto& meta = in_.cluster.metadata;
    return {.cluster = meta.key(),
            .operation = operation,
            .subject = meta.key(),
            .subject_uid = meta.uid,
            .revision = revision,
            .attempt = attempt,
            .domain = {}};
  }

  const HostedInput& in_;
  Site site_;
  HostedPlan out_;
  ReleaseInput release_;
  ReleaseDecision decision_;
  std::string snapshot_before_;  // a release to this version waits for a snapshot that was begun after:
  WallTime snapshot_since_{};
};

}  // namespace

HostedPlan plan_hosted(const HostedInput& input) { return Planner(input).run(); }

}  // namespace endstate::cluster
