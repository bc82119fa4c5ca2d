#include "controllers/machine_set/probe.hpp"

#include <algorithm>

#include "controllers/common/cut.hpp"
#include "reconcile/kube/core.hpp"

namespace endstate::machine_set {
namespace {

using api::ProbeResult;
using reconcile::Code, reconcile::Job, reconcile::Verb;
using std::chrono::seconds;

constexpr std::int64_t max_attempts = 2;  // somebody may delete it once
constexpr std::chrono::milliseconds look_each{3'000};

constexpr std::string_view not_started = "no pod of its Job has run: ";
constexpr reconcile::Resource event_resource{"events.k8s.io", "v1", "events", "Event", true};

bool has_run(const reconcile::ContainerStatus& c) {
  return c.state.running || c.state.terminated || c.last_state.running || c.last_state.terminated;
}
bool ran(const reconcile::Pod& pod) {
  const auto any = [](const auto& all) { return std::any_of(all.begin(), all.end(), has_run); };
  return any(pod.status.container_statuses) || any(pod.status.init_container_statuses) || pod.status.phase == "Running" ||
         pod.status.phase == "Succeeded";
}
// Of a pod none of whose containers has run.
std::string why_not(const reconcile::Pod& pod) {
  const auto text = [&](const Text& reason, const Text& message) {
    return "pod " + pod.metadata.name.str() + ": " + reason.str() + (message.empty() ? "" : ": " + message.str());
  };
  for (const auto* all : {&pod.status.init_container_statuses, &pod.status.container_statuses})
    for (const auto& c : *all)
      if (c.state.waiting && !(c.state.waiting->reason == "PodInitializing"))
        return text(c.state.waiting->reason, c.state.waiting->message);
  for (const auto& c : pod.status.conditions)
    if (c.type == "PodScheduled" && c.status != api::ConditionStatus::true_) return text(c.reason, c.message);
  return text(pod.status.reason.empty() ? pod.status.phase : pod.status.reason, pod.status.message);
}

class Look {
 public:
  Look(const ProbeSite& site, const api::JobProbe& probe, const JobSeen* seen, const reconcile::Error* refusal, WallTime now,
       api::ProbeStatus& status)
      : site_(site), probe_(probe), seen_(seen), refusal_(refusal), now_(now), st_(status) {}

  ProbePlan run() {
    if (st_.result != ProbeResult::running) return {};
    if (st_.attempts == 0)
      begin();
    else if (!seen_)
      ask();
    else if (seen_->error)
      cannot_read();
    else if (!seen_->job)
      absent();
    else if (seen_->job->metadata.annotations.get(api::annotation::probe_attempt) != attempt())
      replace();
    else
      present(*seen_->job);
    return std::move(out_);
  }

 private:
  std::string attempt() const { return reconcile::format_rfc3339(site_.begun) + "/" + std::to_string(st_.attempts); }
  bool late() const { return elapsed(st_.start_time, now_, site_.gaps) >= api::timeout(probe_); }

  void begin() {
    st_.job = job_name(site_, probe_.name);
    st_.start_time = now_;
    st_.attempts = 1;
    make();
  }

  void make() {
    auto body = job_of(site_, probe_, attempt());
    if (!body) return end(ProbeResult::failed, body.error().message);
    out_.actions.push_back({.verb = Verb::create,
                            .kind = &reconcile::kind_of<Job>,
                            .cluster = site_.connection,
                            .name_space = site_.set.metadata.name_space,
                            .name = st_.job,
                            .body = std::move(*body),
                            .tolerate_exists = true,  // whose it is, the next look tells
                            .why = "probe " + probe_.name.str() + " of step " + site_.step.str()});
    ask();
  }

  void ask() {
    reconcile::Query query;
    query.id = probe_query(site_.step, probe_.name);
    query.cluster = site_.connection;
    query.resource = reconcile::kind_of<Job>.resource;
    query.name_space = site_.set.metadata.name_space.str();
    query.name = st_.job.str();
    query.max_age = look_each - std::chrono::milliseconds(500);
    out_.queries.push_back(std::move(query));
  }

  // Unknown is neither passed nor failed, however long it takes.
  void cannot_read() {
    st_.message = clip("its Job can't be read: " + seen_->error->message);
    if (late()) out_.unreadable = st_.message.str();
    ask();
  }

  void absent() {
    if (!st_.job_uid.empty()) {  // it was there
      if (st_.attempts >= max_attempts) return end(ProbeResult::failed, "its Job was deleted before it was done, twice");
      ++st_.attempts;
      st_.job_uid = {};
      st_.start_time = now_;
      st_.message = "its Job was deleted before it was done: made once more";
      return make();
    }
    if (refusal_ && refusal_->code == Code::invalid)
      return end(ProbeResult::failed, "the API server refuses its jobTemplate: " + refusal_->message);
    if (refusal_) {
      st_.message = clip("its Job can't be made: " + refusal_->message);
      if (late()) out_.unreadable = st_.message.str();
    }
    make();
  }

  // Of an earlier analysis of the same step, or somebody else's.
  void replace() {
    st_.message = "a Job of its name from an earlier try is taken away first";
    if (!seen_->job->metadata.deleting())
      out_.actions.push_back({.verb = Verb::remove,
                              .kind = &reconcile::kind_of<Job>,
                              .cluster = site_.connection,
                              .name_space = site_.set.metadata.name_space,
                              .name = st_.job,
                              .uid = seen_->job->metadata.uid,
                              .why = "it is of an earlier try"});
    if (late()) out_.unreadable = "a Job of its name from an earlier try doesn't go away";
    ask();
  }

  void present(const Job& job) {
    st_.job_uid = job.metadata.uid;
    const auto holds = [&](std::string_view type) {
      const auto* c = reconcile::find_condition(job.status.conditions, type);
      return c && c->status == api::ConditionStatus::true_ ? c : nullptr;
    };
    if (holds("Complete")) return end(ProbeResult::passed, "");
    const auto* failed = holds("Failed");
    look_at_pods(job, failed);
    out_.waits = never_ran(st_);
    if ((failed || late()) && out_.waits) {
      out_.unreadable = st_.message.str();
      return ask();
    }
    if (failed)
      return end(ProbeResult::failed,
                 "its Job failed: " + failed->reason.str() + (failed->message.empty() ? "" : ": " + failed->message.str()));
    if (late()) return end(ProbeResult::failed, "its Job wasn't done within " + reconcile::format_duration(api::timeout(probe_)));
    if (!never_ran(st_)) st_.message = "its Job runs";
    ask();
    ask_pods(job);
  }

  // A Job that has ended may have taken its pods along: what was seen of them before is believed then, if it ended by its time
  // (activeDeadlineSeconds). If it ended by its pods' failures, there were some that ran.
  void look_at_pods(const Job& job, const api::Condition* ended) {
    if (!seen_->pods) return;
    auto pods = *seen_->pods;
    std::erase_if(pods, [&](const reconcile::Pod& pod) {  // of a Job of an earlier try
      const auto* owner = pod.metadata.controller();
      return owner && !(owner->uid == job.metadata.uid);
    });
    if (std::any_of(pods.begin(), pods.end(), ran) || job.status.succeeded > 0 ||
        (ended && pods.empty() && !(ended->reason == "DeadlineExceeded"))) {
      st_.message = "its Job runs";
      return;
    }
    if (!pods.empty())
      st_.message = clip(std::string(not_started) + why_not(pods.front()));
    else if (!ended && job.status.active == 0 && job.status.failed == 0)
      st_.message = clip(std::string(not_started) +
                         (seen_->failed_creates.empty() ? "none was made" : "none can be made: " + seen_->failed_creates.front()));
  }
  void ask_pods(const Job& job) {
    const auto id = probe_query(site_.step, probe_.name).substr(job_prefix.size());
    const auto list = [&](std::string_view prefix, const reconcile::Resource& resource, const std::string& query) {
      reconcile::Query q;
      q.id = std::string(prefix) + id;
      q.cluster = site_.connection;
      q.resource = &resource;
      q.name_space = site_.set.metadata.name_space.str();
      q.query = query;
      q.max_age = look_each - std::chrono::milliseconds(500);
      out_.queries.push_back(std::move(q));
    };
    list(pods_prefix, *reconcile::kind_of<reconcile::Pod>.resource, "labelSelector=job-name%3D" + st_.job.str() + "&limit=5");
    if (seen_->pods && seen_->pods->empty())
      list(events_prefix, event_resource, "fieldSelector=regarding.uid%3D" + job.metadata.uid.str() + "%2Creason%3DFailedCreate&limit=5");
  }

  void end(ProbeResult result, const std::string& message) {
    st_.result = result;
    st_.message = clip(message);
    st_.end_time = now_;
  }
  static Text clip(std::string_view text) { return Text(cut(text, 512)); }

  const ProbeSite& site_;
  const api::JobProbe& probe_;
  const JobSeen* seen_;
  const reconcile::Error* refusal_;
  const WallTime now_;
  api::ProbeStatus& st_;
  ProbePlan out_;
};

}  // namespace

bool never_ran(const api::ProbeStatus& status) { return status.message.view().starts_with(not_started); }

ProbePlan advance_probe(const ProbeSite& site, const api::JobProbe& probe, const JobSeen* seen, const reconcile::Error* refusal,
                        WallTime now, api::ProbeStatus& status) {
  return Look(site, probe, seen, refusal, now, status).run();
}

}  // namespace endstate::machine_set
