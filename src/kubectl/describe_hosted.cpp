#include "src/kubectl/describe_hosted.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apis/v1alpha1/names.hpp"

namespace endstate::kubectl {
namespace {

namespace api = v1alpha1;
using reconcile::name_of, reconcile::WallTime;

constexpr std::size_t releases_told = 5;

std::string image_of(const reconcile::Workload& w) {
  const auto spec = nlohmann::json::parse(w.spec.raw.view(), nullptr, false);
  const auto at = nlohmann::json::json_pointer("/template/spec/containers/0/image");
  return spec.is_object() && spec.contains(at) && spec[at].is_string() ? spec[at].get<std::string>() : std::string("no image");
}
std::int64_t replicas_of(const reconcile::Workload& w) {
  const auto spec = nlohmann::json::parse(w.spec.raw.view(), nullptr, false);
  return spec.is_object() ? spec.value("replicas", std::int64_t{1}) : 1;
}

void tell_components(const std::vector<reconcile::Workload>* workloads, Tree& node) {
  if (!workloads) return;
  for (const auto* const name : {"etcd", "apiserver", "controller-manager", "scheduler"}) {
    const auto w = std::find_if(workloads->begin(), workloads->end(),
                                [&](const auto& x) { return x.metadata.labels.get(api::label::component) == name; });
    if (w == workloads->end()) {
      node.add(std::string(name) + ": not there yet");
      continue;
    }
    const auto wanted = replicas_of(*w);
    std::string line = std::string(name) + ": " + std::to_string(w->status.ready_replicas) + " of " + std::to_string(wanted) + " ready";
    if (w->status.updated_replicas < wanted) line += ", " + std::to_string(w->status.updated_replicas) + " up to date";
    const auto package = w->metadata.annotations.get(api::annotation::package_version);
    node.add(line + (package.empty() ? "" : ", of " + std::string(package)) + ", " + image_of(*w));
  }
}

std::string mib(std::int64_t bytes) { return std::to_string((bytes + (1 << 19)) >> 20) + " MiB"; }

// What its members said of themselves, the snapshots that are kept, and what was made anew of late.
void tell_etcd(const api::Cluster& cluster, WallTime now, Tree& root) {
  const auto& plane = cluster.status.control_plane;
  if (plane.etcd) {
    auto& node = root.add("etcd: " + counted(static_cast<std::int64_t>(plane.etcd->members.size()), "member") + " answered " +
                          age(plane.etcd->members_time, now) + " ago");
    for (const auto& m : plane.etcd->members)
      node.add(m.name.str() + (m.leader.value_or(false) ? " (leader)" : "") + ": " + m.version.str() + ", database " +
               mib(m.database_bytes) + ", " + mib(m.database_bytes_in_use) + " of it in use");
    for (const auto& s : plane.etcd->snapshots)
      node.add("snapshot " + s.name.str() + ", " + mib(s.bytes) + ", " + age(s.time, now) + " ago" +
               (s.before.empty() ? "" : ", before the release of " + s.before.str()));
  }
  for (const auto& r : plane.repairs)
    root.add(r.component.str() + ": replicas were made anew " + std::to_string(r.count) + " times, last " + age(r.time, now) + " ago");
}

void tell_release(const api::Cluster& cluster, WallTime now, Tree& root) {
  const auto& steps = cluster.status.control_plane.upgrade_plan;
  const bool over = std::all_of(steps.begin(), steps.end(), [](const auto& s) { return s.state == api::PlanStepState::done; });
  if (over) return;
  auto& node = root.add("release from " + steps.front().from.str() + " to " + steps.back().to.str());
  for (const auto& s : steps) {
    const bool here = s.state == api::PlanStepState::running || s.state == api::PlanStepState::soaking;
    node.add(std::string(here ? "> " : "  ") + s.component.str() + " to " + s.to.str() + ": " + std::string(name_of(s.state)) +
             (s.start_time == WallTime{} ? "" : ", began " + age(s.start_time, now) + " ago"));
  }
}

void tell_certificates(const api::Cluster& cluster, WallTime now, Tree& root) {
  auto all = cluster.status.control_plane.certificates;
  std::erase_if(all, [](const auto& c) { return c.not_after == WallTime{}; });  // signing keys end never
  if (all.empty()) return;
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.not_after < b.not_after; });
  auto& node = root.add("certificates: " + std::to_string(all.size()) + ", the first ends in " + age(now, all.front().not_after));
  for (const auto& c : all)
    node.add(c.name.str() + (c.not_after <= now ? ": ended " + age(c.not_after, now) + " ago" : ": ends in " + age(now, c.not_after)) +
             " (" + reconcile::format_rfc3339(c.not_after) + ")" + (c.fingerprints.empty() ? "" : ", a CA") +
             (c.fingerprints.size() > 1 ? " that is being replaced" : ""));
}

void tell_addons(const api::Cluster& cluster, Tree& root) {
  if (cluster.status.addons.empty()) return;
  auto& node = root.add("add-ons");
  for (const auto& a : cluster.status.addons)
    node.add(a.name.str() + ": " + std::string(name_of(a.state)) + ", " + counted(static_cast<std::int64_t>(a.objects.size()), "object") +
             (a.message.empty() ? "" : ": " + a.message.str()));
}

void tell_releases(const api::Cluster& cluster, WallTime now, Tree& root) {
  const auto& all = cluster.status.history;
  if (all.empty()) return;
  auto& node = root.add("recent releases");
  for (std::size_t i = all.size(); i-- > 0 && node.below.size() < releases_told;) {
    const auto& r = all[i];
    std::string line =
        r.package_version.str() + " " + (r.result == api::ReleaseResult::none ? "under way" : std::string(name_of(r.result)));
    line += ", began " + age(r.start_time, now) + " ago";
    if (r.end_time != WallTime{}) line += ", took " + age(r.start_time, r.end_time);
    if (!r.field_manager.empty()) line += ", by " + r.field_manager.str();
    node.add(line + (r.message.empty() ? "" : ": " + r.message.str()));
  }
}

}  // namespace

void tell_control_plane(const api::Cluster& cluster, const std::vector<reconcile::Workload>* workloads, WallTime now, Tree& root) {
  if (cluster.spec.control_plane.type != api::ControlPlaneType::hosted) return;
  const auto& plane = cluster.status.control_plane;
  std::string line =
      "control plane " + (plane.package_version.empty() ? std::string("(none went through yet)") : plane.package_version.str());
  line += ": " + std::to_string(plane.ready_replicas) + " of " + std::to_string(plane.replicas) + " API servers ready";
  if (plane.endpoint) line += ", at " + plane.endpoint->host.str() + ":" + std::to_string(api::port(*plane.endpoint));
  auto& node = root.add(line);
  if (!plane.rejected_package_version.empty())
    node.add(plane.rejected_package_version.str() + " was rejected: it isn't tried again until spec.packageVersion is edited");
  tell_components(workloads, node);
  if (!workloads) node.add("its Deployments and its StatefulSet can't be read with your rights");
  tell_etcd(cluster, now, root);
  tell_release(cluster, now, root);
  tell_certificates(cluster, now, root);
  tell_addons(cluster, root);
  tell_releases(cluster, now, root);
}

}  // namespace endstate::kubectl
