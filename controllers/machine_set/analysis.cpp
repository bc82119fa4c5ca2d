#include "controllers/machine_set/analysis.hpp"

#include <algorithm>

#include "controllers/common/metric_check.hpp"
#include "controllers/machine_set/probe.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::machine_set {
namespace {

using api::CheckResult, api::ProbeResult;
using std::chrono::seconds;
using Result = AnalysisPlan::Result;

constexpr seconds probe_period{3};

template <class List>
auto* named(List& list, const Text& name) {
  const auto it = std::find_if(list.begin(), list.end(), [&](const auto& x) { return x.name == name; });
  return it == list.end() ? nullptr : &*it;
}

// The statuses in the order of what they are of; kept where the name is, new where it isn't.
template <class Status, class Spec>
void align(std::vector<Status>& statuses, const std::vector<Spec>& specs) {
  std::vector<Status> out;
  for (const auto& spec : specs) {
    if (auto* old = named(statuses, spec.name)) {
      out.push_back(std::move(*old));
      continue;
    }
    Status fresh;
    fresh.name = spec.name;
    out.push_back(std::move(fresh));
  }
  statuses = std::move(out);
}

std::string counts(const api::CheckStatus& c) {
  std::string out = std::to_string(c.good) + " good, " + std::to_string(c.bad) + " bad";
  if (c.inconclusive > 0) out += ", " + std::to_string(c.inconclusive) + " inconclusive";
  if (c.errors > 0) out += ", " + std::to_string(c.errors) + " errors in a row";
  return out;
}

class Run {
 public:
  Run(const Snapshot& s, const api::RolloutStep& step, const Text& revision, bool edited, api::AnalysisStatus& status)
      : s_(s), step_(step), revision_(revision), edited_(edited), st_(status) {}

  AnalysisPlan run() {
    begin();
    for (std::size_t i = 0; i < step_.analysis->checks.size(); ++i) check(step_.analysis->checks[i], st_.checks[i]);
    for (std::size_t i = 0; i < step_.analysis->probes.size(); ++i) probe(step_.analysis->probes[i], st_.probes[i]);
    sum_up();
    return std::move(out_);
  }

 private:
  void begin() {
    st_.step = step_.name;
    // A clock that went back would hold everything until it has caught up.
    if (st_.start_time == WallTime{} || st_.start_time > s_.now) st_.start_time = s_.now;
    align(st_.checks, step_.analysis->checks);
    align(st_.probes, step_.analysis->probes);
    if (!edited_) return;
    for (auto& c : st_.checks)
      if (c.result == CheckResult::inconclusive) c = {.name = c.name};
  }

  // ---- checks ----

  void check(const api::MetricCheck& spec, api::CheckStatus& status) {
    if (status.result != CheckResult::running) return;
    const auto source = std::find_if(s_.metric_sources.begin(), s_.metric_sources.end(),
                                     [&](const auto& x) { return x->metadata.name == spec.source_ref.name; });
    if (source == s_.metric_sources.end()) {
      missing_ = missing_ ? missing_ : &spec;
      return;
    }
    auto query = question(spec, **source);
    if (const auto it = s_.answers.find(query.id); it != s_.answers.end() && it->second.time >= st_.start_time)
      metrics::advance(status, spec, it->second);
    if (status.result != CheckResult::running) return;
    const auto due = metrics::due_in(spec, status, s_.now);
    if (due.count() == 0)
      out_.queries.push_back(std::move(query));
    else
      look_again(due);
  }
  // The id holds the question: an answer to what was asked before an edit is none.
  reconcile::Query question(const api::MetricCheck& spec, const api::MetricSource& source) const {
    const auto& meta = s_.set->metadata;
    const auto text = metrics::expand(spec.query.view(), {.name_space = meta.name_space.view(),
                                                          .cluster = s_.set->spec.cluster_name.view(),
                                                          .set = meta.name.view(),
                                                          .revision = revision_.view(),
                                                          .step = step_.name.view()});
    auto query = metrics::question({}, source, text);
    query.id = "check/" + step_.name.str() + "/" + spec.name.str() + "/" + reconcile::hash_of(query.http->url);
    query.max_age = api::interval(spec);
    return query;
  }

  // ---- probes ----

  void probe(const api::JobProbe& spec, api::ProbeStatus& status) {
    if (status.result != ProbeResult::running) return;
    const ProbeSite site{.set = *s_.set,
                         .connection = s_.cluster.connection,
                         .revision = revision_,
                         .step = step_.name,
                         .begun = st_.start_time,
                         .gaps = s_.cluster.gaps};
    const auto seen = s_.jobs.find(probe_query(step_.name, spec.name));
    const auto refused = s_.refused_jobs.find(status.job.view());
    auto plan = advance_probe(site, spec, seen == s_.jobs.end() ? nullptr : &seen->second,
                              refused == s_.refused_jobs.end() ? nullptr : &refused->second, s_.now, status);
    for (auto& q : plan.queries) out_.queries.push_back(std::move(q));
    for (auto& a : plan.actions) out_.actions.push_back(std::move(a));
    if (plan.waits) waiting_ = waiting_ ? waiting_ : &status;
    if (!plan.unreadable.empty() && unreadable_.empty()) unreadable_ = "probe " + spec.name.str() + ": " + plan.unreadable;
    if (status.result == ProbeResult::running) look_again(probe_period);
  }

  // ---- what comes of it ----

  void sum_up() {
    for (const auto& c : st_.checks)
      if (c.result == CheckResult::failed)
        return conclude(Result::failed, api::reason::analysis_failed,
                        "check " + c.name.str() + " failed: " + c.message.str() + " (" + counts(c) + "; failureLimit " +
                            std::to_string(api::failure_limit(*named(step_.analysis->checks, c.name))) + ")");
    for (const auto& p : st_.probes)
      if (p.result == ProbeResult::failed)
        return conclude(Result::failed, api::reason::probe_failed, "probe " + p.name.str() + " failed: " + p.message.str());
    for (const auto& c : st_.checks)
      if (c.result == CheckResult::inconclusive)
        return conclude(Result::inconclusive, api::reason::analysis_inconclusive,
                        "check " + c.name.str() + " has no clear answer: " + c.message.str() + " (" + counts(c) +
                            "). Mend the check or its source, then annotate endstate.dev/retry: " + revision_.str() + remedy());
    if (waiting_) {
      out_.kind = "Job";
      out_.name = waiting_->job;
    }
    if (!unreadable_.empty())
      return conclude(
          Result::inconclusive, api::reason::analysis_inconclusive,
          unreadable_ +
              (waiting_ ? ". That says nothing about the revision. Mend it, then annotate endstate.dev/retry: " + revision_.str()
                        : ". It goes on when that is mended") +
              remedy());
    if (missing_) {
      out_.kind = "MetricSource";
      out_.name = missing_->source_ref.name;
      return conclude(Result::inconclusive, api::reason::metric_source_not_found,
                      "check " + missing_->name.str() + " asks MetricSource " + missing_->source_ref.name.str() +
                          ", which doesn't exist in namespace " + s_.set->metadata.name_space.str() + ": create it, or edit the step" +
                          remedy());
    }
    running();
  }
  std::string remedy() const { return "; or look yourself and annotate endstate.dev/promote: " + revision_.str() + "/" + step_.name.str(); }
  void conclude(Result result, std::string_view reason, std::string message) {
    out_.result = result;
    out_.reason = reason;
    out_.message = "step " + step_.name.str() + ": " + std::move(message);
  }
  void running() {
    std::string open;
    const auto add = [&](const std::string& text) { open.append(open.empty() ? "" : "; ").append(text); };
    for (const auto& c : st_.checks)
      if (c.result != CheckResult::passed)
        add("check " + c.name.str() + " " + std::to_string(c.good) + " of " +
            std::to_string(api::count(*named(step_.analysis->checks, c.name))) + " good" +
            (c.errors > 0 || c.inconclusive > 0 || c.bad > 0 ? " (last: " + c.message.str() + ")" : ""));
    for (const auto& p : st_.probes)
      if (p.result != ProbeResult::passed) add("probe " + p.name.str() + (never_ran(p) ? ": " + p.message.str() : " runs"));
    if (open.empty()) return conclude(Result::passed, {}, "analysis passed");
    conclude(Result::running, api::reason::analyzing, open);
  }
  void look_again(seconds after) {
    if (!out_.again || after < *out_.again) out_.again = after;
  }

  const Snapshot& s_;
  const api::RolloutStep& step_;
  const Text& revision_;
  const bool edited_;
  api::AnalysisStatus& st_;
  AnalysisPlan out_;
  const api::MetricCheck* missing_ = nullptr;  // the first whose source doesn't exist
  std::string unreadable_;
  const api::ProbeStatus* waiting_ = nullptr;  // the first of which no pod has run
};

}  // namespace

bool has_analysis(const api::RolloutStep& step) {
  return step.analysis && (!step.analysis->checks.empty() || !step.analysis->probes.empty());
}

AnalysisPlan advance_analysis(const Snapshot& s, const api::RolloutStep& step, const Text& revision, bool edited,
                              api::AnalysisStatus& status) {
  return Run(s, step, revision, edited, status).run();
}

bool restart_analysis(std::optional<api::AnalysisStatus>& status) {
  if (!status) return false;
  bool any = false;
  for (auto& c : status->checks) {
    if (c.result != CheckResult::inconclusive) continue;
    c = {.name = c.name};
    any = true;
  }
  for (auto& p : status->probes) {
    if (p.result != ProbeResult::running || !never_ran(p)) continue;
    p = {.name = p.name};
    status->start_time = {};  // another attempt: its Job is made anew
    any = true;
  }
  return any;
}

std::optional<std::string> judge_health(const api::RolloutStep& step, std::int64_t unhealthy, std::int64_t updated, std::int64_t restarts) {
  if (!step.analysis || !step.analysis->health) return std::nullopt;
  const auto& health = *step.analysis->health;
  if (health.max_unhealthy) {
    const auto most = api::scaled(*health.max_unhealthy, updated, false);
    if (unhealthy > most)
      return std::to_string(unhealthy) + " of " + std::to_string(updated) +
             " updated machines were available with the revision and aren't any more, more than health.maxUnhealthy allows (" +
             std::to_string(most) + ")";
  }
  if (health.max_restarts && restarts > *health.max_restarts)
    return "the hosts of the updated machines have restarted " + std::to_string(restarts) +
           " times, more than health.maxRestarts allows (" + std::to_string(*health.max_restarts) + ")";
  return std::nullopt;
}

void record_analysis(api::StepRecord& record, const std::optional<api::AnalysisStatus>& status) {
  record.metrics.clear();
  record.probes.clear();
  if (!status || !(status->step == record.name)) return;
  for (const auto& c : status->checks)
    record.metrics.push_back({.name = c.name, .value = c.value, .good = c.good, .bad = c.bad, .inconclusive = c.inconclusive});
  for (const auto& p : status->probes) {
    const std::string_view result = p.result == ProbeResult::passed ? "Passed" : p.result == ProbeResult::failed ? "Failed" : "Running";
    record.probes.emplace_back(p.name.str() + "=" + std::string(result));
  }
}

}  // namespace endstate::machine_set
