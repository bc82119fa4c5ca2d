#include "controllers/cluster/job_facts.hpp"

#include <algorithm>

#include "apis/v1alpha1/names.hpp"

namespace endstate::cluster {

namespace api = v1alpha1;
using reconcile::ConditionStatus, reconcile::Job, reconcile::Pod;
using namespace std::chrono_literals;

namespace {

const reconcile::Condition* is(const Job& job, std::string_view type) {
  const auto* c = reconcile::find_condition(job.status.conditions, type);
  return c && c->status == ConditionStatus::true_ ? c : nullptr;
}

}  // namespace

std::string last_line(std::string_view text) {
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  const auto line = text.rfind('\n');
  return std::string(text.substr(line == std::string_view::npos ? 0 : line + 1).substr(0, 512));
}

JobState state_of(const Job& job) {
  if (is(job, "Complete")) return JobState::complete;
  return is(job, "Failed") ? JobState::failed : JobState::running;
}

WallTime ended_at(const Job& job) {
  if (const auto* c = is(job, "Complete")) return c->last_transition_time;
  if (const auto* c = is(job, "Failed")) return c->last_transition_time;
  return {};
}

std::string_view operation_of(const Job& job) { return job.metadata.annotations.get(api::annotation::etcd_operation); }

const Job* find_job(const HostedFacts& facts, std::string_view name) {
  for (const auto& job : facts.jobs)
    if (job->metadata.name == name) return job.get();
  return nullptr;
}

const Pod* pod_of(const HostedFacts& facts, const Job& job) {
  const Pod* newest = nullptr;
  for (const auto& pod : facts.pods) {
    const auto* owner = pod->metadata.controller();
    if (!owner || owner->uid != job.metadata.uid) continue;
    if (!newest || newest->metadata.creation_timestamp < pod->metadata.creation_timestamp) newest = pod.get();
  }
  return newest;
}

std::string waiting_of(const Pod& pod) {
  for (const auto* list : {&pod.status.init_container_statuses, &pod.status.container_statuses})
    for (const auto& c : *list)
      if (const auto& w = c.state.waiting; w && w->reason != "PodInitializing" && w->reason != "ContainerCreating")
        return w->reason.str() + (w->message.empty() ? "" : ": " + w->message.str());
  for (const auto& c : pod.status.conditions)
    if (c.type == "PodScheduled" && c.status == ConditionStatus::false_) return c.message.str();
  return {};
}

std::string failure_of(const HostedFacts& facts, const Job& job) {
  if (const auto* pod = pod_of(facts, job)) {
    for (const auto* list : {&pod->status.init_container_statuses, &pod->status.container_statuses})
      for (const auto& c : *list)
        if (const auto& t = c.state.terminated; t && t->exit_code != 0)
          return c.name.str() + ": " + (t->message.empty() ? t->reason.str() : last_line(t->message.view()));
    if (auto waiting = waiting_of(*pod); !waiting.empty()) return waiting;
  }
  const auto* c = is(job, "Failed");
  return c ? c->message.str() : std::string();
}

const std::string* log_of(const HostedFacts& facts, const Job& job, std::string_view step, std::vector<reconcile::Query>& queries) {
  const auto id = "log/" + job.metadata.uid.str() + "/" + std::string(step);
  const auto found = facts.logs.find(id);
  const auto* pod = pod_of(facts, job);
  if (pod) {
    reconcile::Query q{.id = id};
    q.path = "/api/v1/namespaces/" + pod->metadata.name_space.str() + "/pods/" + pod->metadata.name.str() + "/log";
    q.query = "container=" + std::string(step) + "&tailLines=20&limitBytes=65536";
    q.max_age = found == facts.logs.end() ? 2s : 24h;  // it has ended: what it printed doesn't change
    queries.push_back(std::move(q));
  }
  return found == facts.logs.end() ? nullptr : &found->second;
}

reconcile::Action remove_job(const Job& job, std::string why) {
  return {.verb = reconcile::Verb::remove,
          .kind = &reconcile::kind_of<Job>,
          .name_space = job.metadata.name_space,
          .name = job.metadata.name,
          .uid = job.metadata.uid,
          .why = std::move(why)};
}
reconcile::Action create_job(const Site& site, const Child& job, std::string why) {
  return {.verb = reconcile::Verb::create,
          .kind = job.kind,
          .name_space = site.name_space,
          .name = job.name,
          .body = job.body,
          .why = std::move(why)};
}

}  // namespace endstate::cluster
