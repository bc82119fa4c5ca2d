#include "controllers/cluster/replica_repair.hpp"

#include <algorithm>

#include "apis/v1alpha1/names.hpp"
#include "controllers/cluster/etcd_members.hpp"
#include "controllers/cluster/job_facts.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::cluster {

namespace api = v1alpha1;
using api::ConditionStatus, api::ReplicaRepair;
using reconcile::Pod;

namespace {

constexpr Part repaired[] = {Part::api_server, Part::controller_manager, Part::scheduler};

struct Replicas {
  std::vector<const Pod*> pods, isolated;
  std::int64_t ready = 0;
};

Replicas replicas_of(const HostedFacts& facts, Part part) {
  Replicas out;
  for (const auto& pod : facts.pods) {
    const auto component = pod->metadata.labels.get(api::label::component);
    if (!component.starts_with(suffix(part)) || pod->metadata.deleting()) continue;
    if (component == suffix(part)) {
      out.pods.push_back(pod.get());
      out.ready += is_ready(*pod);
    } else if (component.substr(suffix(part).size()) == isolated_suffix) {
      out.isolated.push_back(pod.get());
    }
  }
  return out;
}

WallTime unready_since(const Pod& pod) {
  for (const auto& c : pod.status.conditions)
    if (c.type == "Ready" && c.status != ConditionStatus::true_) return c.last_transition_time;
  return pod.metadata.creation_timestamp.value_or(WallTime{});
}

// Why it is to be made anew; empty: it isn't. One that has no node yet would have none again.
std::string ailment(const Pod& pod, WallTime now) {
  if (is_ready(pod) || pod.spec.node_name.empty() || pod.status.container_statuses.empty()) return {};
  const auto& c = pod.status.container_statuses.front();
  const auto& last = c.state.terminated ? c.state.terminated : c.last_state.terminated;
  if (c.restart_count.value_or(0) >= crashes && c.state.waiting && c.state.waiting->reason == "CrashLoopBackOff")
    return "it ended " + std::to_string(*c.restart_count) + " times" + (last ? ": " + last_line(last->message.view()) : "");
  const bool started = c.started.value_or(false);
  const auto since = unready_since(pod);
  if (since == WallTime{} || now - since < (started ? unwell_for : start_takes)) return {};
  return started ? "it isn't ready" : "it doesn't start";
}

class Planner {
 public:
  explicit Planner(const RepairInput& in) : in_(in) {}

  RepairPlan run() {
    for (const auto part : repaired) see_after(part);
    return std::move(out_);
  }

 private:
  const ReplicaRepair* before(Part part) const {
    for (const auto& r : in_.before)
      if (r.component == component_name(part)) return &r;
    return nullptr;
  }
  void see_after(Part part) {
    const auto all = replicas_of(in_.facts, part);
    const bool well = all.ready >= in_.site.replicas;
    const auto* known = before(part);
    const bool rested = known && in_.now - known->time >= repair_rest;
    for (const auto* pod : all.isolated)
      if (out_.actions.empty() && (well || in_.now - isolated_at(*pod) >= isolated_for)) {
        out_.actions.push_back(evict(*pod, "it was isolated, and another one is in its place"));
        out_.permit = pod->metadata.name.str();
      }
    const auto sick = std::find_if(all.pods.begin(), all.pods.end(), [&](const Pod* p) { return !ailment(*p, in_.now).empty(); });
    if (sick == all.pods.end()) {
      if (known && !(well && rested)) out_.repairs.push_back(*known);
      return;
    }
    const auto why = ailment(**sick, in_.now);
    const bool others = all.ready + 1 >= in_.site.replicas;
    const bool again = !known || known->count < max_repairs || rested;
    auto entry = known ? *known : ReplicaRepair{.component = component_name(part)};
    if (!others || !again) {
      escalate(part, **sick, all, entry, why);
    } else if (out_.actions.empty() && all.isolated.empty()) {
      isolate(part, **sick, why);
      ++entry.count;
      entry.time = in_.now;
    }
    if (entry.count > 0) out_.repairs.push_back(std::move(entry));
  }
  void escalate(Part part, const Pod& pod, const Replicas& all, const ReplicaRepair& entry, const std::string& why) {
    if (out_.problem) return;
    auto text = std::string(component_name(part)) + ": " + pod.metadata.name.str() + ": " + why + "; " + std::to_string(all.ready) +
                " of " + std::to_string(in_.site.replicas) + " are ready";
    if (entry.count > 0) text += ". Replicas were made anew " + std::to_string(entry.count) + " times";
    out_.problem = HostedProblem{api::reason::replica_failing, "Pod", pod.metadata.key().str(), std::move(text), false};
  }
  // Since when: from the moment at which it lost its owner it isn't ready for anybody; its own clock is as good.
  static WallTime isolated_at(const Pod& pod) { return unready_since(pod); }

  void isolate(Part part, const Pod& pod, const std::string& why) {
    const auto& meta = pod.metadata;
    const auto label = std::string(suffix(part)) + std::string(isolated_suffix);
    out_.actions.push_back(
        {.verb = reconcile::Verb::merge_patch,
         .kind = &reconcile::kind_of<Pod>,
         .name_space = meta.name_space,
         .name = meta.name,
         .body = "{\"metadata\":{\"labels\":{" + reconcile::quote(api::label::component) + ":" + reconcile::quote(label) + "}}}",
         .uid = meta.uid,
         .resource_version = meta.resource_version,
         .guarded = true,
         .why = "it is isolated, to be made anew: " + why});
    out_.permit = meta.name.str();
    out_.event = meta.name.str() + " is isolated, and another one made: " + why;
  }

  const RepairInput& in_;
  RepairPlan out_;
};

}  // namespace

reconcile::Action evict(const Pod& pod, std::string why) {
  const auto& meta = pod.metadata;
  return {.verb = reconcile::Verb::create,
          .kind = &reconcile::kind_of<Pod>,
          .name_space = meta.name_space,
          .name = meta.name,
          .subresource = "eviction",
          .body = R"({"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":)" + reconcile::quote(meta.name) + R"(,"namespace":)" +
                  reconcile::quote(meta.name_space) + R"(},"deleteOptions":{"preconditions":{"uid":)" + reconcile::quote(meta.uid) + "}}}",
          .guarded = true,
          .why = std::move(why)};
}

bool is_isolated(const Pod& pod) { return pod.metadata.labels.get(api::label::component).ends_with(isolated_suffix); }

RepairPlan plan_repair(const RepairInput& input) { return Planner(input).run(); }

}  // namespace endstate::cluster
