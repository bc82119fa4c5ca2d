#include "controllers/machine_set/analysis.hpp"

#include <catch2/catch.hpp>

#include "controllers/machine_set/testing.hpp"

using namespace endstate::machine_set;
using namespace endstate::machine_set::testing;
using api::CheckResult, api::ConditionStatus, api::RolloutPhase;
using endstate::metrics::Answer;
using reconcile::Verb;

namespace {

api::MetricCheck errors_check() {
  api::MetricCheck c;
  c.name = "errors";
  c.source_ref.name = "prom";
  c.query = "errors{ns=\"$(namespace)\",set=\"$(set)\",step=\"$(step)\"}";
  c.operator_ = api::CheckOperator::less;
  c.threshold = "0.05";
  c.interval = seconds(10);
  c.count = 3;
  c.error_limit = 2;
  return c;
}
api::JobProbe smoke_probe() {
  api::JobProbe p;
  p.name = "smoke";
  p.job_template.raw = R"({"metadata":{"labels":{"a":"b"}},"spec":{"template":{"spec":{"containers":[{"name":"c","image":"i"}]}}}})";
  p.timeout = seconds(60);
  return p;
}

// Ten machines; the first step, "canary", has two of them, which have taken v2 and are available. Its analysis is what a test gives it.
struct World : Scene {
  explicit World(const api::Analysis& analysis) : Scene(settled(10, "v1")) {
    auto canary = step_of("canary", {.value = 2});
    canary.analysis = analysis;
    set.spec.rollout.max_unavailable = api::IntOrPercent{.value = 4};  // and none of the canaries may be ill: 4/10 of 2
    set.spec.rollout.steps = {canary, step_of("rest", {.value = 100, .percent = true})};
    edit_template(*this, "v2");
    api::MetricSource source;
    source.metadata.name = "prom";
    source.metadata.name_space = "default";
    source.spec.prometheus.address = "http://prom";
    metric_sources = {source};
    editor = Editor{.manager = "kubectl", .time = now};  // else each pass would ask for them too
    take(pass());
  }
  // What the plan edits is done, and available.
  void take(const Planned& p) {
    for (const auto* a : actions_of(p, Verb::merge_patch, "Machine"))
      for (auto& m : machines)
        if (m.metadata.name == a->name) {
          const auto* version = a->body.find("v2") != std::string::npos ? "v2" : "v1";
          m.metadata.labels.set(api::label::revision, revision_for(version));
          m.spec = api::machine_spec(template_of(version).spec, "local");
          m.status.revision = revision_for(version);
          m.status.restarts = 0;
        }
  }
  int updated() const {
    int n = 0;
    for (const auto& m : machines) n += m.status.revision == revision_for("v2");
    return n;
  }
  api::Machine& canary() {
    for (auto& m : machines)
      if (m.status.revision == revision_for("v2")) return m;
    throw std::logic_error("no canary");
  }
  // Passes and answers until `seconds` are over: what the runtime does. `number` empty: no reply.
  Planned go(seconds length, const std::string& number) {
    Planned last;
    for (const auto end = now + length; now < end; now += seconds(1)) {
      last = pass();
      take(last);
      answers.clear();
      for (const auto& q : last.plan.queries) {
        if (!q.http) continue;
        ++asked;
        Answer a{.kind = Answer::Kind::error, .message = "connection refused", .time = now + seconds(1)};
        if (!number.empty()) a = {.kind = Answer::Kind::number, .value = std::stod(number), .text = number, .time = now + seconds(1)};
        answers[q.id] = a;
      }
    }
    last = pass();
    return last;
  }
  const api::RolloutStatus& rollout() const { return *set.status.rollout; }
  int asked = 0;
};

api::Analysis with(std::vector<api::MetricCheck> checks, std::vector<api::JobProbe> probes = {}) {
  api::Analysis a;
  a.checks = std::move(checks);
  a.probes = std::move(probes);
  return a;
}
bool is(const Planned& p, std::string_view type, bool status, std::string_view reason) {
  const auto* c = condition(p, type);
  REQUIRE(c);
  INFO(type << ": " << c->reason.view() << ": " << c->message.view());
  CHECK(c->reason == reason);
  return c->status == (status ? ConditionStatus::true_ : ConditionStatus::false_);
}
const reconcile::Action* job_action(const Planned& p, Verb verb) {
  const auto all = actions_of(p, verb, "Job");
  return all.empty() ? nullptr : all.front();
}
JobSeen job(std::string_view attempt, std::string_view condition = {}, std::string_view uid = "job-uid") {
  reconcile::Job j;
  j.metadata.uid = uid;
  j.metadata.annotations.set(api::annotation::probe_attempt, attempt);
  if (!condition.empty())
    j.status.conditions = {{.type = condition, .status = ConditionStatus::true_, .reason = "Why", .message = "exit 1"}};
  return {.job = j, .error = {}};
}

}  // namespace

TEST_CASE("analysis: good answers at their interval lead to the next step, and are kept in the history", "[analysis]") {
  World w(with({errors_check()}));
  REQUIRE(w.updated() == 2);
  auto p = w.pass();
  CHECK(is(p, "RollingOut", true, "Analyzing"));
  CHECK(is(p, "Reconciling", true, "Analyzing"));
  CHECK(is(p, "Stalled", false, "NotStalled"));
  REQUIRE(p.plan.queries.size() == 1);
  CHECK(p.plan.queries[0].http->url.find("errors%7Bns%3D%22default%22%2Cset%3D%22workers%22%2Cstep%3D%22canary%22%7D") !=
        std::string::npos);
  w.go(seconds(19), "0.01");
  CHECK(w.asked == 2);  // at 0 and 10 s
  CHECK(w.updated() == 2);
  REQUIRE(w.rollout().analysis);
  CHECK(w.rollout().analysis->checks[0].good == 2);
  CHECK(w.rollout().analysis->checks[0].value == "0.01");
  CHECK(w.rollout().phase == RolloutPhase::paused);
  w.go(seconds(30), "0.01");
  CHECK(w.asked == 3);
  CHECK(w.updated() == 10);
  w.go(seconds(3), "0.01");
  CHECK(w.rollout().phase == RolloutPhase::complete);
  const auto& steps = w.set.status.history.back().steps;
  REQUIRE(steps.size() == 2);
  REQUIRE(steps[0].metrics.size() == 1);
  CHECK(steps[0].metrics[0].good == 3);
  CHECK(steps[0].metrics[0].value == "0.01");
}

TEST_CASE("analysis: a bad answer rejects the revision, with the check, the value and the threshold", "[analysis]") {
  World w(with({errors_check()}));
  w.go(seconds(2), "0.31");
  REQUIRE(w.set.status.rejected_revisions.size() == 1);
  const auto& rejected = w.set.status.rejected_revisions[0];
  CHECK(rejected.reason == "AnalysisFailed");
  CHECK(rejected.step == "canary");
  CHECK(rejected.message.view().find("check errors failed: 0.31, wanted < 0.05") != std::string_view::npos);
  w.go(seconds(3), "0.31");
  CHECK(w.updated() == 0);
  CHECK(w.rollout().phase == RolloutPhase::rolled_back);
  CHECK(w.set.status.history.back().steps.back().metrics[0].bad == 1);
  CHECK(w.rollout().analysis->checks[0].result == CheckResult::failed);  // still to be seen
}

TEST_CASE("analysis: an outage of the metrics makes no progress; before the limit it heals, after it a person is called", "[analysis]") {
  World w(with({errors_check()}));
  w.go(seconds(15), "");  // two errors: errorLimit is 2
  CHECK(w.rollout().analysis->checks[0].errors == 2);
  CHECK(w.updated() == 2);
  SECTION("readable again") {
    w.go(seconds(40), "0");
    CHECK(w.updated() == 10);
  }
  SECTION("not") {
    auto p = w.go(seconds(10), "");
    CHECK(is(p, "Stalled", true, "AnalysisInconclusive"));
    const auto says = condition(p, "Stalled")->message.view();
    CHECK(says.find("check errors has no clear answer: connection refused") != std::string_view::npos);
    CHECK(says.find("endstate.dev/promote: " + revision_for("v2").str() + "/canary") != std::string_view::npos);
    const int asked = w.asked;
    p = w.go(seconds(100), "0");
    CHECK(w.asked == asked);  // a person must say so
    CHECK(w.updated() == 2);
    CHECK(w.set.status.rejected_revisions.empty());
    SECTION("tried again") {
      w.set.metadata.annotations.set(api::annotation::retry, revision_for("v2"));
      w.pass();
      w.set.metadata.annotations = {};
      w.go(seconds(40), "0");
      CHECK(w.updated() == 10);
    }
    SECTION("promoted") {
      w.set.metadata.annotations.set(api::annotation::promote, revision_for("v2").str() + "/canary");
      w.take(w.pass());
      w.set.metadata.annotations = {};
      w.go(seconds(3), "");
      CHECK(w.updated() == 10);
    }
    SECTION("mended by an edit") {
      w.set.spec.rollout.steps[0].analysis->checks[0].query = "other";
      w.go(seconds(40), "0");
      CHECK(w.updated() == 10);
    }
  }
}

TEST_CASE("analysis: a source that doesn't exist is named, and it heals when it appears", "[analysis]") {
  World w(with({errors_check()}));
  const auto sources = std::exchange(w.metric_sources, {});
  auto p = w.go(seconds(100), "0");
  CHECK(is(p, "Stalled", true, "MetricSourceNotFound"));
  CHECK(w.rollout().blocked_by->kind == "MetricSource");
  CHECK(w.rollout().blocked_by->name == "prom");
  CHECK(w.updated() == 2);
  w.metric_sources = sources;
  w.go(seconds(40), "0");
  CHECK(w.updated() == 10);
}

TEST_CASE("analysis: steps edited meanwhile: what vanished is dropped, what is new begins, what stays goes on", "[analysis]") {
  auto other = errors_check();
  other.name = "latency";
  World w(with({errors_check(), other}));
  w.go(seconds(12), "0.01");
  REQUIRE(w.rollout().analysis->checks.size() == 2);
  auto fresh = errors_check();
  fresh.name = "fresh";
  w.set.spec.rollout.steps[0].analysis->checks = {fresh, other};
  w.pass();
  const auto& checks = w.rollout().analysis->checks;
  REQUIRE(checks.size() == 2);
  CHECK((checks[0].name == "fresh" && checks[0].good == 0));
  CHECK((checks[1].name == "latency" && checks[1].good == 2));
  w.set.spec.rollout.steps[0].analysis.reset();
  w.go(seconds(3), "");
  CHECK(w.updated() == 10);
}

TEST_CASE("analysis: paused, nothing is asked and no clock runs; a clock that goes back holds nothing", "[analysis]") {
  World w(with({errors_check()}));
  w.go(seconds(5), "0.01");
  SECTION("paused") {
    const bool cluster = GENERATE(false, true);
    (cluster ? w.cluster.paused : w.set.spec.paused.emplace()) = true;
    const int asked = w.asked;
    auto p = w.go(seconds(300), "0.31");
    CHECK(w.asked == asked);
    CHECK(w.updated() == 2);
    w.cluster.paused = false;
    w.set.spec.paused.reset();
    w.go(seconds(40), "0.01");
    CHECK(w.updated() == 10);
  }
  SECTION("back by an hour") {
    w.now -= std::chrono::hours(1);
    w.go(seconds(40), "0.01");
    CHECK(w.updated() == 10);
  }
  SECTION("a machine is not available for a while") {
    set_ready(w.canary(), ConditionStatus::false_, "NodeUnhealthy", w.now);
    const int asked = w.asked;
    w.go(seconds(60), "0.31");
    CHECK(w.asked <= asked + 1);
    CHECK(w.updated() == 2);
    CHECK(w.set.status.rejected_revisions.empty());
  }
}

TEST_CASE("analysis: health is judged from the step's beginning on", "[analysis]") {
  api::Analysis analysis;
  analysis.health = api::HealthCheck{};
  SECTION("a machine that was available with the revision isn't any more, while the step still moves") {
    analysis.health->max_unhealthy = api::IntOrPercent{};
    World w(analysis);
    w.machines.back().status.operation.emplace();
    auto& m = w.canary();
    set_ready(m, ConditionStatus::false_, "NodeUnhealthy", w.now);
    w.pass();
    REQUIRE(w.set.status.rejected_revisions.size() == 1);
    CHECK(w.set.status.rejected_revisions[0].reason == "HealthDegraded");
    CHECK(w.set.status.rejected_revisions[0].message.view().find("1 of 2 updated machines") != std::string_view::npos);
  }
  SECTION("restarts") {
    analysis.health->max_restarts = 1;
    World w(analysis);
    auto step = w.set.spec.rollout.steps[0];
    w.set.spec.rollout.steps[0].pause = api::Pause{.type = api::PauseType::promotion};
    w.canary().status.restarts = 1;
    w.pass();
    CHECK(w.set.status.rejected_revisions.empty());
    CHECK(w.rollout().analysis->restarts == 1);
    w.canary().status.restarts = 2;
    w.pass();
    REQUIRE(w.set.status.rejected_revisions.size() == 1);
    CHECK(w.set.status.rejected_revisions[0].message.view().find("restarted 2 times") != std::string_view::npos);
  }
  SECTION("within the limits, and a host that died is no sign") {
    analysis.health->max_unhealthy = api::IntOrPercent{.value = 50, .percent = true};
    World w(analysis);
    w.set.spec.rollout.steps[0].pause = api::Pause{.type = api::PauseType::promotion};
    set_ready(w.canary(), ConditionStatus::false_, "NodeUnhealthy", w.now);
    w.pass();
    CHECK(w.set.status.rejected_revisions.empty());
    CHECK(w.rollout().analysis->unhealthy == 1);
    set_ready(w.canary(), ConditionStatus::unknown, api::reason::agent_silent, w.now);
    w.pass();
    CHECK(w.set.status.rejected_revisions.empty());
  }
  SECTION("that we can't see it is no sign either; that its Node is Unknown by its own word is one") {
    analysis.health->max_unhealthy = api::IntOrPercent{.value = 0, .percent = false};
    World w(analysis);
    w.set.spec.rollout.steps[0].pause = api::Pause{.type = api::PauseType::promotion};
    for (const auto reason : {"ConnectionLost", "Unknown"}) {
      set_ready(w.canary(), ConditionStatus::unknown, reason, w.now);
      w.pass();
      CHECK(w.set.status.rejected_revisions.empty());
      CHECK(w.rollout().analysis->unhealthy == 0);
    }
    set_ready(w.canary(), ConditionStatus::unknown, "NodeUnhealthy", w.now);
    w.pass();
    REQUIRE(w.set.status.rejected_revisions.size() == 1);
    CHECK(w.set.status.rejected_revisions[0].reason == "HealthDegraded");
  }
}

TEST_CASE("probe: its Job is made from the template, read, and believed by its attempt", "[analysis][probe]") {
  World w(with({}, {smoke_probe()}));
  auto p = w.pass();
  const auto* create = job_action(p, Verb::create);
  REQUIRE(create);
  CHECK(p.plan.status->first);  // stored before it is made
  const auto name = create->name.str();
  CHECK(create->name_space == "default");
  CHECK(create->name.view().size() <= 63);
  CHECK(create->name.view().starts_with("workers-"));
  const auto attempt = reconcile::format_rfc3339(w.now) + "/1";
  for (const auto* part :
       {R"("apiVersion":"batch/v1")", R"("kind":"Job")", R"("backoffLimit":0)", R"("activeDeadlineSeconds":60)",
        R"("ttlSecondsAfterFinished":3600)", R"("restartPolicy":"Never")", R"("a":"b")", R"("endstate.dev/set-name":"workers")"}) {
    INFO(part << " in " << create->body);
    CHECK(create->body.find(part) != std::string::npos);
  }
  CHECK(create->body.find(R"("endstate.dev/probe-attempt":")" + attempt) != std::string::npos);
  REQUIRE(p.plan.queries.size() == 1);
  const auto id = p.plan.queries[0].id;
  CHECK(p.plan.queries[0].name == name);
  const auto& status = [&]() -> const api::ProbeStatus& { return w.rollout().analysis->probes[0]; };

  SECTION("passed") {
    w.now += seconds(3);
    w.jobs[id] = job(attempt);
    p = w.pass();
    CHECK(status().message == "its Job runs");
    CHECK_FALSE(job_action(p, Verb::create));
    CHECK(p.plan.again <= std::chrono::seconds(3));
    w.jobs[id] = job(attempt, "Complete");
    w.go(seconds(3), "");
    CHECK(w.updated() == 10);
    CHECK(w.set.status.history.back().steps[0].probes == std::vector<reconcile::Text>{"smoke=Passed"});
  }
  SECTION("failed, with the Job's words") {
    w.jobs[id] = job(attempt, "Failed");
    w.pass();
    REQUIRE(w.set.status.rejected_revisions.size() == 1);
    CHECK(w.set.status.rejected_revisions[0].reason == "ProbeFailed");
    CHECK(w.set.status.rejected_revisions[0].message.view().find("probe smoke failed: its Job failed: Why: exit 1") !=
          std::string_view::npos);
    CHECK(w.set.status.history.back().steps[0].probes == std::vector<reconcile::Text>{"smoke=Failed"});
  }
  SECTION("not done in time") {
    w.jobs[id] = job(attempt);
    w.now += seconds(59);
    w.pass();
    CHECK(w.set.status.rejected_revisions.empty());
    w.now += seconds(1);
    w.pass();
    CHECK(w.set.status.rejected_revisions.size() == 1);
  }
  SECTION("a pause doesn't run its time out") {
    w.jobs[id] = job(attempt);
    w.pass();
    w.set.spec.paused = true;
    w.pass();
    w.now += seconds(1000);
    w.set.spec.paused.reset();
    w.pass();
    CHECK(w.set.status.rejected_revisions.empty());
    w.now += seconds(60);
    w.pass();
    CHECK(w.set.status.rejected_revisions.size() == 1);
  }
  SECTION("deleted by hand: made once more, then failed") {
    w.jobs[id] = job(attempt);
    w.pass();
    w.jobs[id] = {};
    w.now += seconds(3);
    p = w.pass();
    create = job_action(p, Verb::create);
    REQUIRE(create);
    const auto second = attempt.substr(0, attempt.size() - 1) + "2";
    CHECK(create->body.find(second) != std::string::npos);
    p = w.pass();  // the answer is still the old one: the same again, nothing is counted
    CHECK(status().attempts == 2);
    w.jobs[id] = job(second, {}, "another");
    w.pass();
    w.jobs[id] = {};
    w.pass();
    REQUIRE(w.set.status.rejected_revisions.size() == 1);
    CHECK(w.set.status.rejected_revisions[0].message.view().find("twice") != std::string_view::npos);
  }
  SECTION("one of an earlier analysis is taken away first") {
    w.jobs[id] = job("2020-01-01T00:00:00Z/1", "Complete");
    p = w.pass();
    const auto* remove = job_action(p, Verb::remove);
    REQUIRE(remove);
    CHECK(remove->uid == "job-uid");
    CHECK(w.updated() == 2);
    w.jobs[id] = {};
    CHECK(job_action(w.pass(), Verb::create));
  }
  SECTION("what the API server refuses is a failed probe; what may pass is not") {
    w.jobs[id] = {};
    w.refused_jobs[name] = {reconcile::Code::forbidden, "jobs is forbidden"};
    p = w.pass();
    CHECK(is(p, "Stalled", false, "NotStalled"));
    w.now += seconds(61);
    p = w.pass();
    CHECK(is(p, "Stalled", true, "AnalysisInconclusive"));
    CHECK(job_action(p, Verb::create));
    w.refused_jobs[name] = {reconcile::Code::invalid, "spec.template: Required"};
    w.pass();
    REQUIRE(w.set.status.rejected_revisions.size() == 1);
    CHECK(w.set.status.rejected_revisions[0].message.view().find("refuses its jobTemplate: spec.template: Required") !=
          std::string_view::npos);
  }
  SECTION("a time when the cluster can't be seen doesn't run its time out") {
    w.jobs[id] = job(attempt);
    w.pass();
    w.cluster.gaps = {{w.now, w.now + seconds(500)}};
    w.now += seconds(559);
    w.pass();
    CHECK(w.set.status.rejected_revisions.empty());
    w.now += seconds(1);
    w.pass();
    CHECK(w.set.status.rejected_revisions.size() == 1);
  }
  SECTION("a Job that no pod ever ran of says nothing about the revision") {
    w.jobs[id] = job(attempt);
    p = w.pass();
    REQUIRE(p.plan.queries.size() == 2);
    CHECK(p.plan.queries[1].id == "probe-pods/canary/smoke");
    CHECK(p.plan.queries[1].query.find("limit=5") != std::string::npos);
    auto& seen = w.jobs[id];
    seen.pods.emplace();
    std::string why;
    const auto cause = GENERATE(0, 1, 2);
    const bool ends_itself = GENERATE(true, false);
    if (cause == 0) {  // a quota refuses its pods
      p = w.pass();
      REQUIRE(p.plan.queries.size() == 3);
      CHECK(p.plan.queries[2].id == "probe-events/canary/smoke");
      CHECK(p.plan.queries[2].query.find("job-uid") != std::string::npos);
      seen.failed_creates = {"Error creating: pods \"p\" is forbidden: failed quota: cpu: must specify requests.cpu"};
      why = "failed quota: cpu";
    }
    if (cause == 1) {  // there is no room for them
      reconcile::Pod pod;
      pod.metadata.name = "p";
      pod.status.phase = "Pending";
      pod.status.conditions = {
          {.type = "PodScheduled", .status = ConditionStatus::false_, .reason = "Unschedulable", .message = "0/5 nodes are available"}};
      seen.pods->push_back(pod);
      why = "Unschedulable: 0/5 nodes are available";
    }
    if (cause == 2) {  // there is no such image
      reconcile::Pod pod;
      pod.metadata.name = "p";
      reconcile::ContainerStatus c;
      c.state.waiting = reconcile::Waiting{"ImagePullBackOff", "not found"};
      pod.status.container_statuses = {c};
      seen.pods->push_back(pod);
      why = "ImagePullBackOff: not found";
    }
    p = w.pass();
    CHECK(status().message.view().find(why) != std::string_view::npos);
    REQUIRE(w.rollout().blocked_by);
    CHECK(w.rollout().blocked_by->kind == "Job");
    CHECK(w.rollout().blocked_by->message.view().find(why) != std::string_view::npos);
    if (ends_itself) {
      seen = job(attempt, "Failed");
      seen.job->status.conditions[0].reason = "DeadlineExceeded";  // which took the pods along
      seen.job->status.failed = 1;
      seen.pods.emplace();
    } else {
      w.now += seconds(60);
    }
    p = w.pass();
    CHECK(w.set.status.rejected_revisions.empty());
    CHECK(is(p, "Stalled", true, "AnalysisInconclusive"));
    CHECK(w.rollout().blocked_by->message.view().find(why) != std::string_view::npos);
    w.now += seconds(10);
    w.set.metadata.annotations.set(api::annotation::retry, revision_for("v2"));  // a person has mended it
    p = w.pass();
    const auto* again = job_action(p, Verb::create);
    REQUIRE(again);
    const auto second = reconcile::format_rfc3339(w.now) + "/1";
    CHECK(again->body.find(second) != std::string::npos);
    w.set.metadata.annotations.erase(api::annotation::retry);
    w.jobs[id] = job(second, "Complete");
    w.go(seconds(3), "");
    CHECK(w.updated() == 10);
  }
  SECTION("a pod that ran and failed is a verdict, whatever became of it") {
    w.jobs[id] = job(attempt);
    auto& seen = w.jobs[id];
    reconcile::Pod pod;
    reconcile::ContainerStatus c;
    c.state.terminated = reconcile::Terminated{};
    pod.status.container_statuses = {c};
    seen.pods = {pod};
    w.pass();
    CHECK(status().message == "its Job runs");
    seen = job(attempt, "Failed");
    seen.job->status.conditions[0].reason = GENERATE("DeadlineExceeded", "BackoffLimitExceeded");
    seen.pods.emplace();
    w.pass();
    CHECK(w.set.status.rejected_revisions.size() == 1);
  }
  SECTION("a cluster that can't be read is neither") {
    w.jobs[id].error = reconcile::Error{reconcile::Code::unavailable, "connection refused"};
    w.now += seconds(100);
    p = w.pass();
    CHECK(is(p, "Stalled", true, "AnalysisInconclusive"));
    w.jobs[id] = job(attempt, "Complete");
    w.go(seconds(3), "");
    CHECK(w.updated() == 10);
  }
}

TEST_CASE("probe: a template that is none fails it at once", "[analysis][probe]") {
  auto probe = smoke_probe();
  probe.job_template.raw = GENERATE("[]", "\"x\"", "{\"spec\":[]}", "{\"metadata\":{\"labels\":1}}");
  World w(with({}, {probe}));
  w.pass();
  REQUIRE(w.set.status.rejected_revisions.size() == 1);
  CHECK(w.set.status.rejected_revisions[0].reason == "ProbeFailed");
}
