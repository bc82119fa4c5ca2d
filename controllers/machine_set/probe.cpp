#include "controllers/machine_set/probe.hpp"

#include "reconcile/kube/core.hpp"

namespace endstate::machine_set {
namespace {

using api::ProbeResult;
using reconcile::Code, reconcile::Job, reconcile::Verb;
using std::chrono::seconds;

constexpr std::int64_t max_attempts = 2;  // somebody may delete it once
constexpr std::chrono::milliseconds look_each{3'000};

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
  bool late() const { return now_ >= st_.start_time + api::timeout(probe_); }

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
    if (const auto* failed = holds("Failed"))
      return end(ProbeResult::failed,
                 "its Job failed: " + failed->reason.str() + (failed->message.empty() ? "" : ": " + failed->message.str()));
    if (late()) return end(ProbeResult::failed, "its Job wasn't done within " + reconcile::format_duration(api::timeout(probe_)));
    st_.message = "its Job runs";
    ask();
  }

  void end(ProbeResult result, const std::string& message) {
    st_.result = result;
    st_.message = clip(message);
    st_.end_time = now_;
  }
  static Text clip(std::string_view text) { return Text(text.substr(0, 512)); }

  const ProbeSite& site_;
  const api::JobProbe& probe_;
  const JobSeen* seen_;
  const reconcile::Error* refusal_;
  const WallTime now_;
  api::ProbeStatus& st_;
  ProbePlan out_;
};

}  // namespace

ProbePlan advance_probe(const ProbeSite& site, const api::JobProbe& probe, const JobSeen* seen, const reconcile::Error* refusal,
                        WallTime now, api::ProbeStatus& status) {
  return Look(site, probe, seen, refusal, now, status).run();
}

}  // namespace endstate::machine_set
