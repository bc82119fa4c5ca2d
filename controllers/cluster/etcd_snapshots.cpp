#include "controllers/cluster/etcd_snapshots.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apis/v1alpha1/names.hpp"
#include "controllers/cluster/child_jobs.hpp"
#include "controllers/cluster/job_facts.hpp"

namespace endstate::cluster {

namespace api = v1alpha1;
using api::EtcdSnapshot;
using reconcile::Job;

namespace {

constexpr std::chrono::seconds tell_after{60};  // a pod that waits so long waits for something that doesn't come by itself

std::string place(std::int64_t i) { return "snapshot-" + std::to_string(i); }
std::string job_name(const Site& site, std::int64_t i) { return site.child("etcd-" + place(i)); }

// The figures of `etcdutl snapshot status -w json`: the last line that is an object. They are for people: without them it counts as well.
void take_figures(std::string_view log, EtcdSnapshot& out) {
  const auto begin = log.rfind("{\"hash\"");
  if (begin == std::string_view::npos) return;
  const auto found = nlohmann::json::parse(log.substr(begin, log.find('}', begin) - begin + 1), nullptr, false);
  if (!found.is_object()) return;
  const auto number = [&](const char* name) {
    return found.contains(name) && found[name].is_number_unsigned() ? found[name].get<std::int64_t>() : std::int64_t{0};
  };
  constexpr std::string_view digits = "0123456789abcdef";
  std::string hash;
  for (int shift = 28; shift >= 0; shift -= 4) hash += digits[static_cast<std::size_t>(number("hash") >> shift) & 15];
  out.hash = hash;
  out.revision = number("revision");
  out.bytes = number("totalSize");
}

EtcdSnapshot snapshot_of(const Job& job, std::int64_t i) {
  EtcdSnapshot out{.name = place(i), .time = job.metadata.creation_timestamp.value_or(WallTime{}), .hash = {}};
  out.package_version = job.metadata.annotations.get(api::annotation::package_version);
  const auto operation = operation_of(job);
  constexpr std::string_view before = "snapshot before ";
  if (operation.starts_with(before)) out.before = operation.substr(before.size());
  return out;
}

class Planner {
 public:
  explicit Planner(const SnapshotInput& in) : in_(in) {}

  SnapshotPlan run() {
    const Job* failed = nullptr;
    for (std::int64_t i = 0; i < in_.site.snapshots.keep; ++i) {
      const auto* job = find_job(in_.facts, job_name(in_.site, i));
      if (!job) continue;
      if (job->metadata.deleting()) return again(std::chrono::seconds(2));
      const auto state = state_of(*job);
      if (state == JobState::running) return watch(*job);
      if (state == JobState::failed && (!failed || ended_at(*failed) < ended_at(*job))) failed = job;
    }
    const auto due = when_due();
    if (due > in_.now) return again(whole(due - in_.now));
    if (failed && newest() < failed->metadata.creation_timestamp.value_or(WallTime{})) {
      out_.failure = failure_of(in_.facts, *failed);
      out_.job = failed->metadata.name.str();
      if (const auto retry = ended_at(*failed) + snapshot_retry; retry > in_.now) return again(whole(retry - in_.now));
    }
    take();
    return std::move(out_);
  }

 private:
  template <class D>
  static std::chrono::seconds whole(D d) {
    return std::chrono::ceil<std::chrono::seconds>(d);
  }
  SnapshotPlan again(std::chrono::seconds after) {
    out_.again = after;
    return std::move(out_);
  }
  // A Job ends by its own limit at the latest; what it waits for is told before that.
  SnapshotPlan watch(const Job& job) {
    const auto* pod = pod_of(in_.facts, job);
    const auto age = in_.now - job.metadata.creation_timestamp.value_or(in_.now);
    if (age < tell_after) return again(tell_after);
    if (const auto why = pod ? waiting_of(*pod) : std::string(); !why.empty()) {
      out_.failure = "it waits: " + why;
      out_.job = job.metadata.name.str();
    }
    return std::move(out_);
  }
  WallTime newest() const {
    WallTime out{};
    for (const auto& s : in_.there) out = std::max(out, s.time);
    return out;
  }
  WallTime when_due() const {
    if (!in_.before.empty() && newest() < in_.since) return in_.now;
    return in_.there.empty() ? in_.now : newest() + in_.site.snapshots.interval;
  }

  std::int64_t next_place() const {
    WallTime kept{};
    for (const auto& s : in_.there)
      if (!s.before.empty()) kept = std::max(kept, s.time);
    std::optional<std::int64_t> best;
    WallTime oldest{};
    for (std::int64_t i = 0; i < in_.site.snapshots.keep; ++i) {
      const auto found = std::find_if(in_.there.begin(), in_.there.end(), [&](const auto& s) { return s.name == place(i); });
      if (found == in_.there.end()) return i;
      if (!found->before.empty() && found->time == kept) continue;
      if (best && found->time >= oldest) continue;
      best = i;
      oldest = found->time;
    }
    return best.value_or(0);
  }
  void take() {
    if (!in_.member || in_.image.empty()) {
      out_.failure = "no member of etcd is ready";
      out_.job = in_.site.child("etcd");
      return;
    }
    const auto i = next_place();
    if (const auto* old = find_job(in_.facts, job_name(in_.site, i))) {
      out_.actions.push_back(remove_job(*old, "its place is needed for the next snapshot"));
      out_.again = std::chrono::seconds(2);
      return;
    }
    const auto file = std::string(snapshot_folder) + "/" + place(i) + ".db";
    JobSketch job{.name = job_name(in_.site, i),
                  .operation = in_.before.empty() ? "snapshot" : "snapshot before " + in_.before,
                  .annotations = {{std::string(api::annotation::package_version), in_.package}},
                  .image = in_.image,
                  .first = {{"save", etcdctl(in_.site, {*in_.member}, {"--command-timeout=600s", "snapshot", "save", file})}},
                  .then = {{"status", {"etcdutl", "snapshot", "status", file, "--write-out=json"}}},
                  .volume = true,
                  .retries = 1,
                  .limit = snapshot_limit};
    out_.actions.push_back(create_job(in_.site, etcd_job(in_.site, job),
                                      in_.before.empty() ? "a snapshot is due" : "a snapshot before the release of " + in_.before));
  }

  const SnapshotInput& in_;
  SnapshotPlan out_;
};

}  // namespace

std::vector<EtcdSnapshot> snapshots_now(const Site& site, const HostedFacts& facts, const std::vector<EtcdSnapshot>& before,
                                        std::vector<reconcile::Query>& queries) {
  std::vector<EtcdSnapshot> out;
  for (std::int64_t i = 0; i < site.snapshots.keep; ++i) {
    const auto known = std::find_if(before.begin(), before.end(), [&](const auto& s) { return s.name == place(i); });
    const auto* job = find_job(facts, job_name(site, i));
    const auto state = job ? state_of(*job) : JobState::running;
    if (state == JobState::failed) continue;  // its file may be the one before, or may not: it isn't vouched for
    if (state == JobState::running) {         // none, or until it is whole the one before stands
      if (known != before.end()) out.push_back(*known);
      continue;
    }
    auto snapshot = snapshot_of(*job, i);
    if (known != before.end() && known->time == snapshot.time && !known->hash.empty())
      snapshot = *known;
    else if (const auto* log = log_of(facts, *job, "status", queries))
      take_figures(*log, snapshot);
    out.push_back(std::move(snapshot));
  }
  return out;
}

SnapshotPlan plan_snapshots(const SnapshotInput& input) { return Planner(input).run(); }

}  // namespace endstate::cluster
