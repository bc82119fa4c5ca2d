#include "controllers/cluster/plan_hosted.hpp"

#include <algorithm>

#include "apis/v1alpha1/names.hpp"
#include "controllers/cluster/hosted_facts.hpp"
#include "controllers/cluster/recipes.hpp"
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
    decide();
    describe();
    if (const auto why = refusal(site_); !why.empty()) problem(reason::invalid_spec, "Cluster", site_.name, why);
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
    }
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
    const bool keys_rest = keys();
    if (!keys_rest || decision_.decided || !out_.actions.empty()) return;
    workloads();
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
    if (!out_.permit) out_.permit = permit(operation, target + "/" + std::string(suffix(part)), there.metadata.generation.value_or(0));
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
};

}  // namespace

HostedPlan plan_hosted(const HostedInput& input) { return Planner(input).run(); }

}  // namespace endstate::cluster
