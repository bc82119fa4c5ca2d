#include "controllers/cluster/etcd_members.hpp"

#include <algorithm>

#include "apis/v1alpha1/names.hpp"
#include "controllers/cluster/child_jobs.hpp"
#include "controllers/cluster/etcd_reports.hpp"
#include "controllers/cluster/job_facts.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::cluster {

namespace api = v1alpha1;
using api::ConditionStatus;
using reconcile::Job, reconcile::Pod;
using namespace std::chrono_literals;

namespace {

constexpr auto begun_after = 5s;      // a container that runs so long has begun: without data it ends at once
constexpr auto stands_for = 600s;     // what `member list` said, at most
constexpr auto size_stands_for = 1h;  // what members said of their size
constexpr auto list_again = 10s;
constexpr std::string_view steps[] = {"list", "replace", "add", "promote"};

// etcd's words for "there is no log in my data directory, and --initial-cluster doesn't name me"
// (go.etcd.io/etcd server/v3/config: ServerConfig.hasLocalMember). They are not reached with a log.
constexpr std::string_view proof = "couldn't find local name";

const reconcile::ContainerStatus* container(const Pod& pod) {
  for (const auto& c : pod.status.container_statuses)
    if (c.name == "etcd") return &c;
  return nullptr;
}

struct Member {
  std::int64_t i = 0;
  const Pod* pod = nullptr;
  bool ready = false, running = false, empty = false, unsealed = false;
  WallTime since{};  // running: since when; empty: when it said so last
};

Member look(const Site& site, const HostedFacts& facts, std::int64_t i) {
  Member m{.i = i, .pod = member_pod(site, facts, i)};
  if (!m.pod) return m;
  m.ready = is_ready(*m.pod);
  m.unsealed = m.pod->metadata.annotations.has(api::annotation::initial_cluster);
  const auto* c = container(*m.pod);
  if (!c || m.pod->metadata.deleting()) return m;
  m.running = c->state.running.has_value();
  if (m.running) {
    m.since = c->state.running->started_at;
    return m;
  }
  const auto& ended = c->state.terminated ? c->state.terminated : c->last_state.terminated;
  m.empty = ended && ended->message.view().find(proof) != std::string_view::npos;
  if (m.empty) m.since = ended->finished_at;
  return m;
}

class Planner {
 public:
  explicit Planner(const MembersInput& in) : in_(in) {
    if (in.before) {
      out_.members = in.before->members;
      out_.members_time = in.before->members_time;
    }
    for (std::int64_t i = 0; i < in.site.members; ++i) members_.push_back(look(in.site, in.facts, i));
    for (const auto& m : members_)
      if (m.ready) ready_.push_back(m.i);
  }

  MembersPlan run() {
    if (!in_.created) {
      for (const auto& m : members_) seal(m, !m.ready);
      return std::move(out_);
    }
    const auto* subject = who();
    const bool majority = has_majority();
    for (const auto& m : members_)
      if (m.unsealed && (&m != subject || !majority || has_begun(m))) seal(m, false);
    if (subject && majority)
      replace(*subject);
    else if (subject && subject->empty)
      data_lost(*subject);
    else if (!in_.busy && ready_.size() == members_.size())
      survey();
    return std::move(out_);
  }

 private:
  bool has_majority() const { return in_.site.members > 1 && ready_.size() > members_.size() / 2; }
  bool has_begun(const Member& m) const { return m.running && in_.now - m.since >= begun_after; }

  // Whom to see after: one that is about to begin anew, one without data, one that runs and doesn't become ready (a learner, perhaps).
  const Member* who() const {
    const auto first = [&](auto is) -> const Member* {
      const auto found = std::find_if(members_.begin(), members_.end(), [&](const Member& m) { return m.pod && !m.ready && is(m); });
      return found == members_.end() ? nullptr : &*found;
    };
    if (const auto* m = first([](const Member& x) { return x.unsealed; })) return m;
    if (const auto* m = first([](const Member& x) { return x.empty; })) return m;
    if (!has_majority()) return nullptr;
    if (const auto* m = first([&](const Member& x) { return x.running && under_way(x); })) return m;
    if (in_.busy) return nullptr;
    return first([&](const Member& x) { return x.running && in_.now - x.since >= member_unready; });
  }
  // Something was begun with it, whatever was asked about it since.
  bool under_way(const Member& m) const {
    return std::any_of(std::begin(steps), std::end(steps), [&](std::string_view step) { return step != "list" && step_at(m, step); });
  }

  // ---- may it begin? ----

  void seal(const Member& m, bool open) {
    if (!m.pod || m.pod->metadata.deleting() || m.unsealed == open) return;
    std::string cluster;
    for (std::int64_t i = 0; open && i < in_.site.members; ++i)
      cluster += (i > 0 ? "," : "") + in_.site.member(i) + "=" + in_.site.peer_url(i);
    annotate(m, cluster, "new",
             open ? "the cluster is being created: it may begin without data" : "it has begun: it needs its data from now on");
  }
  void annotate(const Member& m, const std::string& cluster, std::string_view state, std::string why) {
    const auto value = [&](std::string_view text) { return cluster.empty() ? std::string("null") : reconcile::quote(text); };
    const auto& meta = m.pod->metadata;
    out_.actions.push_back({.verb = reconcile::Verb::merge_patch,
                            .kind = &reconcile::kind_of<Pod>,
                            .name_space = meta.name_space,
                            .name = meta.name,
                            .body = "{\"metadata\":{\"annotations\":{" + reconcile::quote(api::annotation::initial_cluster) + ":" +
                                    value(cluster) + "," + reconcile::quote(api::annotation::initial_cluster_state) + ":" + value(state) +
                                    "}}}",
                            .uid = meta.uid,
                            .resource_version = meta.resource_version,
                            .why = std::move(why)});
  }

  // ---- Jobs ----

  std::string job_name(std::string_view step) const { return in_.site.child("etcd-" + std::string(step)); }
  const Job* job(std::string_view step) const { return find_job(in_.facts, job_name(step)); }
  static WallTime created(const Job& j) { return j.metadata.creation_timestamp.value_or(WallTime{}); }
  bool something_runs() const {
    const auto runs = [&](std::string_view step) {
      const auto* j = job(step);
      return j && (j->metadata.deleting() || state_of(*j) == JobState::running);
    };
    for (std::int64_t i = 0; i < in_.site.members; ++i)
      if (runs(defragment_step(i))) return true;
    return runs("status") || std::any_of(std::begin(steps), std::end(steps), runs);
  }
  const Job* step_at(const Member& m, std::string_view step) const {
    const auto* j = job(step);
    const bool stands = j && in_.now - created(*j) <= stands_for && operation_of(*j) == std::string(step) + " " + in_.site.member(m.i);
    return stands ? j : nullptr;
  }
  const Job* newest_step(const Member& m) const {
    const Job* newest = nullptr;
    for (const auto step : steps)
      if (const auto* j = step_at(m, step); j && (!newest || created(*newest) <= created(*j))) newest = j;
    return newest;
  }
  static JobStep list_step(std::vector<std::string> command) { return {"list", std::move(command)}; }
  std::vector<std::string> ctl(std::vector<std::string> words) const { return etcdctl(in_.site, ready_, std::move(words)); }

  // One place for each step: what stands there from before goes first.
  void start(std::string_view step, const std::string& whom, std::vector<JobStep> first, std::vector<JobStep> then, std::string why,
             bool guarded) {
    if (const auto* old = job(step)) {
      out_.actions.push_back(remove_job(*old, "it is to be done again"));
      out_.again = 2s;
      return;
    }
    const JobSketch sketch{.name = job_name(step),
                           .operation = std::string(step) + " " + whom,
                           .annotations = {},
                           .image = in_.image,
                           .first = std::move(first),
                           .then = std::move(then)};
    auto action = create_job(in_.site, etcd_job(in_.site, sketch), std::move(why));
    action.guarded = guarded;
    out_.actions.push_back(std::move(action));
    if (guarded) out_.permit = whom;
  }

  // ---- a member without data ----

  void data_lost(const Member& m) {
    out_.problem = HostedProblem{api::reason::etcd_data_lost, "Pod", in_.site.name_space + "/" + in_.site.member(m.i),
                                 "the volume of " + in_.site.member(m.i) + " is empty, and " + std::to_string(ready_.size()) + " of " +
                                     std::to_string(in_.site.members) +
                                     " members of etcd are ready: too few to make it anew. Bring the others back, or restore a snapshot"};
  }
  void trouble(const Member& m, const std::string& why) {
    out_.problem = HostedProblem{api::reason::etcd_member_lost, "Pod", in_.site.name_space + "/" + in_.site.member(m.i),
                                 in_.site.member(m.i) + " is being made anew: " + why, false};
  }

  // The last failure stands until its step is done again. One that hasn't caught up yet can't be promoted: that is no trouble.
  void say_failure(const Member& m) {
    for (const auto step : steps)
      if (const auto* j = step_at(m, step); j && step != "promote" && state_of(*j) == JobState::failed)
        trouble(m, failure_of(in_.facts, *j));
  }

  void replace(const Member& m) {
    if (m.empty || m.unsealed) out_.progress = in_.site.member(m.i) + " lost its data, and is made anew from the others";
    say_failure(m);
    if (in_.image.empty() || something_runs()) return;
    const auto* last = newest_step(m);
    if (!last) return list(m);
    if (state_of(*last) == JobState::failed) {
      const auto retry = ended_at(*last) + member_retry;
      // A part of it may have been done: what is tried next follows from which members there are now, not from what was said before it.
      if (retry <= in_.now) return list(m);
      out_.again = std::max<std::chrono::seconds>(2s, std::chrono::ceil<std::chrono::seconds>(retry - in_.now));
      return;
    }
    if (!pod_of(in_.facts, *last)) return out_.actions.push_back(remove_job(*last, "what it said is gone"));
    const auto* log = log_of(in_.facts, *last, "list", out_.queries);
    const auto members = log ? read_members(*log) : std::nullopt;
    if (members)
      next(m, *last, *members);
    else
      out_.again = 2s;
  }
  void list(const Member& m) {
    start("list", in_.site.member(m.i), {}, {list_step(ctl({"member", "list", "--write-out=json"}))},
          in_.site.member(m.i) + " isn't ready: which members there are", false);
  }
  void next(const Member& m, const Job& last, const std::vector<MemberEntry>& members) {
    const auto name = in_.site.member(m.i);
    const JobStep add{"add", ctl({"member", "add", name, "--learner", "--peer-urls=" + in_.site.peer_url(m.i)})};
    const auto then = list_step(ctl({"member", "list", "--write-out=json"}));
    const auto* entry = entry_of(in_.site, members, m.i);
    if (!entry) return start("add", name, {add}, {then}, "it is added anew, as a learner", true);
    const bool learner = entry->learner, begun = !entry->name.empty();
    if (m.empty && !m.unsealed && (!learner || begun)) {
      out_.event = name + " lost its data: it is removed, and added anew";
      return start("replace", name, {{"remove", ctl({"member", "remove", entry->id})}, add}, {then},
                   "it lost its data: it is removed, and added anew as a learner", true);
    }
    if (!learner) return;  // a member like the others; what else it lacks isn't for us to guess
    if (begun)
      return start("promote", name, {{"promote", ctl({"member", "promote", entry->id})}}, {then}, "it has begun: it becomes a voter", true);
    if (has_begun(m) && (created(last) < m.since || in_.now - created(last) >= list_again)) return list(m);
    // It may have begun since, and lost its data again: what there is must be younger than its word.
    if (!m.unsealed && m.empty) return created(last) > m.since ? let_begin(m, members) : list(m);
    out_.again = 5s;
  }
  // The others under names that nobody has: this pod alone may begin.
  void let_begin(const Member& m, const std::vector<MemberEntry>& members) {
    std::string cluster;
    const auto* self = entry_of(in_.site, members, m.i);
    for (const auto& e : members)
      for (const auto& url : e.peers)
        cluster += (cluster.empty() ? "" : ",") + (&e == self ? in_.site.member(m.i) : "peer-" + e.id) + "=" + url;
    annotate(m, cluster, "existing", "it has been added: it may begin without data");
    out_.actions.back().guarded = true;
    out_.permit = in_.site.member(m.i);
  }

  // ---- size ----

  // Each member is defragmented once between two surveys at most: its Job is younger than theirs.
  void survey() {
    if (in_.image.empty() || something_runs()) return;
    const auto* newest = job("status");
    const auto due = (newest ? std::max(created(*newest), out_.members_time) : out_.members_time) + in_.site.snapshots.interval;
    if (due <= in_.now) return start("status", "all", {}, {{"status", status_command()}}, "how large its members are", false);
    out_.again = std::chrono::ceil<std::chrono::seconds>(due - in_.now);
    if (!newest) return;
    const auto surveyed = created(*newest);
    for (std::int64_t i = 0; i < in_.site.members; ++i)
      if (const auto* j = job(defragment_step(i)); j && created(*newest) <= created(*j)) newest = j;
    if (state_of(*newest) == JobState::complete && created(*newest) > out_.members_time) {
      const auto* log = log_of(in_.facts, *newest, "status", out_.queries);
      const auto found = log ? read_status(in_.site, *log) : std::nullopt;
      if (!found) return;
      out_.members = *found;
      out_.members_time = created(*newest);
    }
    if (in_.now - out_.members_time < size_stands_for) defragment(surveyed);
  }
  static std::string defragment_step(std::int64_t i) { return "defragment-" + std::to_string(i); }
  std::vector<std::string> status_command() const { return ctl({"endpoint", "status", "--write-out=json"}); }

  void defragment(WallTime surveyed) {
    std::optional<std::int64_t> best;
    for (std::int64_t i = 0; i < in_.site.members; ++i) {
      const auto e = std::find_if(out_.members.begin(), out_.members.end(), [&](const auto& m) { return m.name == in_.site.member(i); });
      const auto* done = job(defragment_step(i));
      if (e == out_.members.end() || (done && created(*done) >= surveyed)) continue;
      if (e->database_bytes < worth_defragmenting || e->database_bytes_in_use >= e->database_bytes / 2) continue;
      const bool leads = e->leader.value_or(false);
      if (!best || !leads) best = i;
      if (!leads) break;
    }
    if (!best) return;
    start(defragment_step(*best), in_.site.member(*best),
          {{"defragment", etcdctl(in_.site, {*best}, {"--command-timeout=100s", "defrag"})}}, {{"status", status_command()}},
          "less than half of its database is in use", true);
  }

  const MembersInput& in_;
  MembersPlan out_;
  std::vector<Member> members_;
  std::vector<std::int64_t> ready_;
};

}  // namespace

const Pod* member_pod(const Site& site, const HostedFacts& facts, std::int64_t i) {
  for (const auto& pod : facts.pods)
    if (pod->metadata.name == site.member(i)) return pod.get();
  return nullptr;
}

bool is_ready(const Pod& pod) {
  return !pod.metadata.deleting() && std::any_of(pod.status.conditions.begin(), pod.status.conditions.end(),
                                                 [](const auto& c) { return c.type == "Ready" && c.status == ConditionStatus::true_; });
}

std::optional<std::int64_t> ready_member(const Site& site, const HostedFacts& facts) {
  for (std::int64_t i = 0; i < site.members; ++i)
    if (const auto* pod = member_pod(site, facts, i); pod && is_ready(*pod)) return i;
  return std::nullopt;
}

MembersPlan plan_members(const MembersInput& input) { return Planner(input).run(); }

}  // namespace endstate::cluster
