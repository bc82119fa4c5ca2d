// What the snapshot means, worked out once a pass.
#include <algorithm>

#include "controllers/machine/pass.hpp"

namespace endstate::machine {
namespace {

// By what we recorded, never by what stands on the Node: its kubelet may write there what it likes. That it isn't ours is believed all the
// same, where nothing is recorded yet.
NodeIs whose(const Pass& p) {
  const Node* node = p.in.node.get();
  if (!node) return NodeIs::absent;
  const auto& meta = node->metadata;
  const auto& known = p.machine.status.node_ref;
  if (known && known->uid == meta.uid) return NodeIs::ours;
  if (!p.machine.spec.provider_id.empty() && !(node->spec.provider_id == p.machine.spec.provider_id)) return NodeIs::foreign;
  if (p.machine.metadata.annotations.get(api::annotation::adopt_node) == meta.uid.view()) return NodeIs::ours;
  const auto& notes = meta.annotations;
  if (notes.has(api::annotation::machine_uid) && !(notes.get(api::annotation::machine_uid) == p.machine.metadata.uid.view()))
    return NodeIs::foreign;
  // The kubelet's own, registered when the host had been told to be this machine; one that was there before is another's.
  const auto& assigned = p.assignment ? p.assignment->metadata.creation_timestamp : std::nullopt;
  return assigned && meta.creation_timestamp && *meta.creation_timestamp >= *assigned ? NodeIs::ours : NodeIs::foreign;
}

const api::PackageReport* report_of(const api::HostAssignment& a, const Text& slot) {
  for (const auto& r : a.status.packages)
    if (r.name == slot) return &r;
  return nullptr;
}

bool is_there(const api::PackageReport& report, const api::ResolvedPackage& package) {
  if (report.state != api::PackageState::ready) return false;
  return !report.actual || report.actual->name == package.version.name;
}

PackageFacts packages_of(const api::HostAssignment& a) {
  PackageFacts f;
  f.observed = is_observed(a);
  f.ready = f.observed;
  for (const auto& package : a.spec.packages) {
    const auto* report = report_of(a, package.name);
    if (report && f.observed && is_there(*report, package)) continue;
    f.ready = false;
    if (f.waiting.empty()) f.waiting = package.name;
    if (!report || !f.observed) continue;
    f.drifted = f.drifted || report->state == api::PackageState::drifted;
    if (report->state == api::PackageState::failed && f.failed.empty()) {
      f.failed = package.name;
      f.failed_reason = report->reason;
      f.failed_message = report->message;
    }
  }
  return f;
}

// Compared by uid: versions are immutable, and a digest's rules may change with endstate, which must never roll a fleet.
void compare(Pass& p, const api::HostAssignment& a) {
  const auto& have = a.spec.packages;
  const auto& want = p.in.packages;
  const bool same_slots =
      std::equal(have.begin(), have.end(), want.begin(), want.end(), [](const auto& h, const Package& w) { return h.name == w.slot; });
  p.differs = a.spec.state != api::AssignmentState::active || !(a.spec.revision == p.revision) || !same_slots;
  if (!same_slots) p.disruption = api::Disruption::restart_service;  // something goes: its version may be gone too, so it can't be asked
  for (const Package& w : want) {
    const auto h = std::find_if(have.begin(), have.end(), [&](const auto& x) { return x.name == w.slot; });
    if (!w.version || (h != have.end() && h->version.uid == w.version->metadata.uid)) continue;
    p.differs = true;
    p.disruption = std::max(p.disruption, disruption(w.version->spec));
  }
}

}  // namespace

void assess(Pass& p) {
  p.revision = desired_revision(p.machine);
  const auto* a = p.in.assignment.get();
  if (a && a->spec.machine_uid == p.machine.metadata.uid) p.assignment = a;
  p.node_is = whose(p);
  // It was opened, though the status doesn't say so yet.
  const bool marked = p.in.node && p.in.node->metadata.annotations.get(api::annotation::machine_uid) == p.machine.metadata.uid.view();
  p.in_service = was_in_service(p.machine) || (p.node_is == NodeIs::ours && marked);
  for (const Package& package : p.in.packages)
    if (!package.version) {
      p.resolved = false;
      if (p.missing_package.empty()) p.missing_package = package.name;
    }
  const auto& last = p.machine.status.last_operation;
  const bool failed =
      last && last->revision == p.revision && (last->result == api::OperationResult::failed || last->result == api::OperationResult::lost);
  p.retry = failed && !p.machine.status.operation && p.machine.metadata.annotations.get(api::annotation::retry) == p.revision;
  if (p.assignment) {
    p.packages = packages_of(*p.assignment);
    compare(p, *p.assignment);
    if (p.retry && !p.differs) {
      p.differs = true;
      for (const Package& package : p.in.packages)
        if (package.version) p.disruption = std::max(p.disruption, disruption(package.version->spec));
    }
  }
  if (p.in.host) {
    p.status.host_ref = {p.in.host->metadata.name, p.in.host->metadata.uid};
    p.status.failure_domain = api::failure_domain(p.in.host->spec.hardware);
  }
}

}  // namespace endstate::machine
