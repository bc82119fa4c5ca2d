#include "controllers/machine_set/preflight.hpp"

#include <catch2/catch.hpp>
#include <limits>

#include "controllers/machine_set/testing.hpp"

using namespace endstate::machine_set;
using namespace endstate::machine_set::testing;
using api::PreflightCheck, api::PreflightResult, api::RolloutPhase;
using reconcile::Verb;

namespace {

std::string sha() { return std::string(64, 'a'); }

std::shared_ptr<api::MachinePackageVersion> package(std::string_view object, std::string_view name, std::string_view version,
                                                    std::vector<std::string_view> urls, std::optional<std::int64_t> size = {}) {
  auto p = std::make_shared<api::MachinePackageVersion>();
  p->metadata.name = object;
  p->spec.package_name = name;
  p->spec.version = version;
  int arch = 0;
  for (const auto url : urls)
    p->spec.install.artifacts.push_back({.arch = arch++ == 0 ? "amd64" : "arm64", .url = url, .sha256 = Text(sha()), .size = size});
  return p;
}
// A set at v1 whose template was edited to v2: package version "v2" is new, "v1" is what it has.
Scene edited(std::shared_ptr<api::MachinePackageVersion> v2) {
  auto scene = settled(4, "v1");
  edit_template(scene, "v2");
  scene.preflight->packages = {package("v1", "kubelet", "1.20.0", {"https://mirror.test/old"}), std::move(v2)};
  return scene;
}
Preflight look(const Scene& scene) {
  const auto s = scene.snapshot();
  const auto from = revision_of(template_of("v1"), 1), to = revision_of(template_of("v2"), 2);
  return plan_preflight(s, &from, to);
}
const api::PreflightStatus& of(const Preflight& p, PreflightCheck check) {
  REQUIRE(p.checks.size() == 5);
  for (const auto& c : p.checks)
    if (c.check == check) return c;
  throw std::logic_error("no such check");
}
bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

constexpr auto artifacts = PreflightCheck::artifacts_reachable;
constexpr auto skew = PreflightCheck::version_skew;
constexpr auto healthy = PreflightCheck::cluster_healthy;
constexpr auto budget = PreflightCheck::budget_open;
constexpr auto room = PreflightCheck::disk_room;

}  // namespace

TEST_CASE("versions are read as Kubernetes and packagers write them", "[preflight]") {
  struct Row {
    std::string_view text;
    std::optional<KubernetesVersion> version;
  };
  const Row table[] = {
      {"v1.34.4", {{1, 34}}},      {"1.34.4", {{1, 34}}},      {"1.34", {{1, 34}}},
      {"1:1.34.4-1.1", {{1, 34}}}, {"1.34.4+k3s1", {{1, 34}}}, {"1.9", {{1, 9}}},
      {"v2.0.0", {{2, 0}}},        {"", std::nullopt},         {"v", std::nullopt},
      {"latest", std::nullopt},    {"1", std::nullopt},        {"1.", std::nullopt},
      {"1.x", std::nullopt},       {"-1.3", std::nullopt},     {"99999999999999999999.1", std::nullopt},
  };
  for (const auto& row : table) {
    INFO(row.text);
    CHECK(parse_version(row.text) == row.version);
  }
}

TEST_CASE("bytes are read as quantities", "[preflight]") {
  struct Row {
    std::string_view text;
    std::optional<std::int64_t> bytes;
  };
  const Row table[] = {{"0", 0},
                       {"123", 123},
                       {"20Gi", 20LL << 30},
                       {"1500M", 1'500'000'000},
                       {"1.5Gi", 3LL << 29},
                       {"2k", 2000},
                       {"2Ki", 2048},
                       {"12e6", 12'000'000},
                       {"1E", 1'000'000'000'000'000'000},
                       {"2Ei", 1LL << 61},
                       {"1500m", 2},
                       {"", std::nullopt},
                       {"Gi", std::nullopt},
                       {"10GB", std::nullopt},
                       {"-5", std::nullopt},
                       {"many", std::nullopt},
                       {"9999999Pi", std::numeric_limits<std::int64_t>::max()}};
  for (const auto& row : table) {
    INFO(row.text);
    CHECK(parse_bytes(row.text) == row.bytes);
  }
}

TEST_CASE("which addresses can be asked for at all", "[preflight]") {
  struct Row {
    std::string_view url;
    Reach reach;
  };
  const Row table[] = {
      {"https://packages.example/kubelet.tar.gz", Reach::reserved},
      {"https://packages.example.com/a", Reach::reserved},
      {"http://a.invalid:8080/x", Reach::reserved},
      {"https://A.B.TEST./x", Reach::reserved},
      {"https://user:pw@mirror.example/x", Reach::reserved},
      {"https://example/x", Reach::reserved},
      {"file:///opt/a.tar", Reach::file},
      {"http://10.0.0.1:80/x", Reach::ask},
      {"http://[::1]:80/x", Reach::ask},
      {"https://notexample.com/x", Reach::ask},
      {"https://mirror.corp/example.com", Reach::ask},
      {"https://myexample/x", Reach::ask},
      {"https://example.com.corp/x", Reach::ask},
      {"http://localhost/x", Reach::ask},
  };
  for (const auto& row : table) {
    INFO(row.url);
    CHECK(reach_of(row.url) == row.reach);
  }
}

TEST_CASE("new artifacts must answer", "[preflight]") {
  const std::string url = "https://mirror.corp/kubelet.tar.gz?key=hidden";
  auto scene = edited(package("v2", "agent", "2", {url}));
  const auto say = [&](const std::string& id, int status, std::string error = {}) {
    scene.preflight->answers[id] = {.status = status, .error = std::move(error)};
  };
  SECTION("asked for, and waited for") {
    const auto p = look(scene);
    REQUIRE(p.queries.size() == 1);
    CHECK(p.queries[0].http->method == "HEAD");
    CHECK(p.queries[0].http->url == url);
    CHECK(of(p, artifacts).result == PreflightResult::pending);
    CHECK(p.problem->reason == api::reason::preflight_pending);
    CHECK_FALSE(p.needs_somebody);
  }
  SECTION("any 2xx and 3xx will do") {
    for (const int status : {200, 206, 301, 302, 307}) {
      say(head_id(url), status);
      CHECK(of(look(scene), artifacts).result == PreflightResult::passed);
      CHECK_FALSE(look(scene).problem);
    }
  }
  SECTION("a refusal, and silence") {
    for (const int status : {401, 403, 404, 410, 429, 500, 503, 0}) {
      say(head_id(url), status, status == 0 ? "connection refused" : "");
      const auto p = look(scene);
      CHECK(of(p, artifacts).result == PreflightResult::failed);
      CHECK(p.problem->reason == api::reason::preflight_failed);
      CHECK(p.problem->name == "v2");
      CHECK(p.needs_somebody);
      CHECK(has(p.problem->message, status == 0 ? "connection refused" : "answers " + std::to_string(status)));
      CHECK(has(p.problem->message, "https://mirror.corp/kubelet.tar.gz"));
      CHECK_FALSE(has(p.problem->message, "hidden"));
      CHECK(p.queries.size() == 1);  // asked for again, so that it heals
    }
  }
  SECTION("a server that doesn't know HEAD is asked by GET") {
    for (const int status : {405, 501}) {
      say(head_id(url), status);
      const auto p = look(scene);
      REQUIRE(p.queries.size() == 2);
      CHECK(p.queries[1].http->method == "GET");
      CHECK(of(p, artifacts).result == PreflightResult::pending);
      say(get_id(url), 200);
      CHECK(of(look(scene), artifacts).result == PreflightResult::passed);
      say(get_id(url), 404);
      CHECK(of(look(scene), artifacts).result == PreflightResult::failed);
      scene.preflight->answers.clear();
    }
  }
  SECTION("what the revision before has too isn't asked for") {
    scene.preflight->packages.pop_back();
    const auto p = look(scene);
    CHECK(p.queries.empty());
    CHECK(of(p, artifacts).result == PreflightResult::passed);
  }
  SECTION("what can't be asked for is skipped and says so") {
    scene.preflight->packages[1] = package("v2", "agent", "2", {"file:///x", "https://packages.example/y"});
    const auto p = look(scene);
    CHECK(p.queries.empty());
    CHECK(of(p, artifacts).result == PreflightResult::skipped);
    CHECK(has(of(p, artifacts).message, "reserved name"));
    CHECK(has(of(p, artifacts).message, "file://"));
    CHECK(p.skipped.empty());  // nobody said so
    CHECK_FALSE(p.problem);
  }
  SECTION("a bounded number is asked for") {
    auto many = std::make_shared<api::MachinePackageVersion>(*package("v2", "agent", "2", {}));
    for (int i = 0; i < 40; ++i)
      many->spec.install.artifacts.push_back(
          {.arch = "amd64", .url = Text("https://m.corp/" + std::to_string(i)), .sha256 = Text(sha()), .size = {}});
    scene.preflight->packages[1] = many;
    auto p = look(scene);
    REQUIRE(p.queries.size() == max_artifacts);
    for (const auto& q : p.queries) say(q.id, 200);
    p = look(scene);
    CHECK(of(p, artifacts).result == PreflightResult::passed);
    CHECK(has(of(p, artifacts).message, "only the first 24"));
  }
}

TEST_CASE("kubelets keep to the version skew policy", "[preflight]") {
  struct Row {
    std::string_view name, version, server;
    PreflightResult result;
    std::string_view says;
  };
  using R = PreflightResult;
  const Row table[] = {
      {"kubelet", "1.34.4", "v1.34.4", R::passed, "fits"},
      {"kubelet", "1.34.9", "v1.34.4", R::passed, "fits"},  // the policy speaks of minor versions
      {"kubelet", "1.35.0", "v1.34.4", R::failed, "newer"},
      {"kubelet", "1.31.0", "v1.34.4", R::passed, "fits"},
      {"kubelet", "1.30.9", "v1.34.4", R::failed, "more than 3 minor"},
      {"kubelet", "2.0.0", "v1.34.4", R::failed, "newer"},
      {"kubelet", "0.34.0", "v1.34.4", R::failed, "older"},
      {"kube-proxy", "1.35.0", "v1.34.4", R::failed, "newer"},
      {"kubelet", "1.34.4", "", R::pending, "waits for Cluster local"},
      {"kubelet", "1.34.4", "unreleased", R::failed, "can't be compared"},
      {"kubelet", "latest", "v1.34.4", R::failed, "doesn't begin with two numbers"},
      {"containerd", "9.9", "", R::passed, "no new kubelet"},
  };
  for (const auto& row : table) {
    INFO(row.name << " " << row.version << " at " << row.server);
    auto scene = edited(package("v2", row.name, row.version, {}));
    scene.cluster.version = row.server;
    const auto p = look(scene);
    CHECK(of(p, skew).result == row.result);
    CHECK(has(of(p, skew).message, row.says));
    CHECK(p.problem.has_value() == (row.result != R::passed));
  }
}

TEST_CASE("the Cluster must be Ready, whatever its machines are", "[preflight]") {
  auto scene = edited(package("v2", "agent", "2", {}));
  for (auto& m : scene.machines) set_ready(m, api::ConditionStatus::false_, "PackageFailed", scene.now);
  CHECK_FALSE(look(scene).problem);
  scene.cluster.ready = api::ConditionStatus::false_;
  scene.cluster.why_not_ready = "the API server doesn't answer";
  auto p = look(scene);
  CHECK(of(p, healthy).result == PreflightResult::failed);
  CHECK(p.problem->kind == "Cluster");
  CHECK(has(p.problem->message, "doesn't answer"));
  scene.cluster.ready = api::ConditionStatus::unknown;
  p = look(scene);
  CHECK(of(p, healthy).result == PreflightResult::pending);
  CHECK(p.problem->reason == api::reason::preflight_pending);
}

TEST_CASE("a budget that needs a person or a clock holds, one that is busy doesn't", "[preflight]") {
  auto scene = edited(package("v2", "agent", "2", {}));
  auto rule = std::make_shared<api::ChangeBudget>();
  rule->metadata.name = "default";
  auto ledger = std::make_shared<api::GuardLedger>();
  scene.preflight->budgets = {rule};
  scene.preflight->ledger = ledger;
  for (const auto& m : scene.machines) scene.preflight->cluster_machines.push_back(std::make_shared<api::Machine>(m));
  const auto limit = [&](std::optional<std::int64_t> window, std::optional<std::int64_t> concurrent) {
    api::BudgetLimit l;
    l.name = "updates";
    l.operations = {api::BudgetOperation::machine_update};
    if (window) l.windows = {{.duration = seconds(3600), .max = *window}};
    if (concurrent) l.max_concurrent = api::IntOrPercent{*concurrent, false};
    rule->spec.limits = {l};
  };
  SECTION("open") {
    limit(1, 1);
    CHECK(of(look(scene), budget).result == PreflightResult::passed);
  }
  SECTION("a window that is full: a clock frees it") {
    limit(0, std::nullopt);
    const auto p = look(scene);
    CHECK(of(p, budget).result == PreflightResult::failed);
    CHECK(p.problem->kind == "ChangeBudget");
    CHECK(p.problem->name == "default");
    CHECK(has(p.problem->message, "WindowFull"));
    CHECK_FALSE(p.needs_somebody);
    CHECK(p.again <= preflight_again);
  }
  SECTION("as many under way as may be: soon over") {
    limit(std::nullopt, 0);
    CHECK(of(look(scene), budget).result == PreflightResult::passed);
  }
  SECTION("maxUnavailable: soon over") {
    rule->spec.max_unavailable = api::IntOrPercent{0, false};
    CHECK(of(look(scene), budget).result == PreflightResult::passed);
  }
  SECTION("a breaker: a person") {
    rule->spec.breaker = api::Breaker{};
    ledger->status.breakers = {{.budget = "default",
                                .state = api::BreakerState::open,
                                .reason = "TooManyOperationsFailed",
                                .message = "bad day",
                                .since = scene.now}};
    const auto p = look(scene);
    CHECK(of(p, budget).result == PreflightResult::failed);
    CHECK(p.needs_somebody);
    CHECK(has(p.problem->message, "bad day"));
  }
  SECTION("one failure domain is open: it begins there") {
    limit(1, std::nullopt);
    rule->spec.limits[0].scope = api::LimitScope::failure_domain;
    for (std::size_t i = 0; i < scene.machines.size(); ++i) {
      scene.machines[i].status.failure_domain = i == 0 ? "a" : "b";
      scene.preflight->cluster_machines[i] = std::make_shared<api::Machine>(scene.machines[i]);
    }
    ledger->status.windows = {
        {.budget = "default", .limit = "updates", .domain = "a", .duration = seconds(3600), .buckets = {{.start = scene.now, .used = 1}}}};
    CHECK(of(look(scene), budget).result == PreflightResult::passed);
    ledger->status.windows.push_back(
        {.budget = "default", .limit = "updates", .domain = "b", .duration = seconds(3600), .buckets = {{.start = scene.now, .used = 1}}});
    CHECK(of(look(scene), budget).result == PreflightResult::failed);
  }
  SECTION("no account yet: nobody would make one if it held") {
    limit(0, std::nullopt);
    scene.preflight->ledger = nullptr;
    CHECK(of(look(scene), budget).result == PreflightResult::passed);
  }
}

TEST_CASE("every host needs room for three times what is new", "[preflight]") {
  auto scene = edited(package("v2", "agent", "2", {"https://a.test/amd64", "https://a.test/arm64"}, 1000));
  const auto old = revision_for("v1");
  const auto host = [&](std::string_view name, std::string_view free, const Text& revision) {
    auto h = std::make_shared<api::Host>();
    h->metadata.name = name;
    if (!free.empty()) h->status.capacity = {{"endstate.dev/free-disk", free}};
    scene.preflight->hosts.push_back({revision, h});
  };
  SECTION("enough") {
    host("h1", "3000", old);
    host("h2", "3Ki", old);
    CHECK(of(look(scene), room).result == PreflightResult::passed);
  }
  SECTION("too little: the first three are named") {
    for (const char* name : {"h1", "h2", "h3", "h4", "h5"}) host(name, "2999", old);
    const auto p = look(scene);
    CHECK(of(p, room).result == PreflightResult::failed);
    CHECK(p.problem->kind == "Host");
    CHECK(p.problem->name == "h1");
    CHECK(has(p.problem->message, "3000 bytes"));
    CHECK(has(p.problem->message, "h1 (2999), h2 (2999), h3 (2999) and 2 more"));
  }
  SECTION("a host that has it already needs none") {
    host("h1", "10", revision_for("v2"));
    host("h2", "4000", old);
    CHECK(of(look(scene), room).result == PreflightResult::passed);
  }
  SECTION("who doesn't say isn't looked at, and it is said") {
    host("h1", "", old);
    host("h2", "lots", old);
    CHECK(of(look(scene), room).result == PreflightResult::skipped);
    host("h3", "5000", old);
    const auto p = look(scene);
    CHECK(of(p, room).result == PreflightResult::passed);
    CHECK(has(of(p, room).message, "2 hosts don't report"));
  }
  SECTION("no size, no check") {
    scene.preflight->packages[1] = package("v2", "agent", "2", {"https://a.test/x"});
    host("h1", "1", old);
    const auto p = look(scene);
    CHECK(of(p, room).result == PreflightResult::skipped);
    CHECK(has(of(p, room).message, "sizeBytes"));
  }
}

TEST_CASE("checks are skipped by name, and an unknown name skips nothing", "[preflight]") {
  auto scene = edited(package("v2", "kubelet", "9.9", {"https://mirror.corp/x"}));
  scene.cluster.ready = api::ConditionStatus::false_;
  const auto say = [&](std::string_view value) {
    scene.set.metadata.annotations.set(api::annotation::skip_preflight, value);
    return look(scene);
  };
  auto p = say("VersionSkew, ArtifactsReachable");
  CHECK(p.skipped == std::vector{artifacts, skew});
  CHECK(p.queries.empty());
  CHECK(of(p, skew).result == PreflightResult::skipped);
  CHECK(of(p, healthy).result == PreflightResult::failed);
  p = say("all");
  CHECK(p.skipped.size() == 5);
  CHECK_FALSE(p.problem);
  p = say("versionskew,,Everything");
  CHECK(p.skipped.empty());
  CHECK(p.unknown == std::vector<std::string>{"versionskew", "Everything"});
  CHECK(of(p, skew).result == PreflightResult::failed);
}

TEST_CASE("what isn't known yet is pending", "[preflight]") {
  auto scene = edited(package("v2", "agent", "2", {}));
  SECTION("nothing was gathered") { scene.preflight.reset(); }
  SECTION("a cache isn't filled") { scene.preflight->known = false; }
  const auto p = look(scene);
  for (const auto& c : p.checks) CHECK(c.result == PreflightResult::pending);
  CHECK(p.problem->reason == api::reason::preflight_pending);
  CHECK(p.again == seconds(1));
}

// ---- in the course of a rollout ----

TEST_CASE("no machine is touched before the pre-flight is passed, and it heals by itself", "[machine_set][preflight]") {
  auto scene = edited(package("v2", "kubelet", "1.35.0", {"https://mirror.corp/x"}));
  scene.preflight->answers[head_id("https://mirror.corp/x")] = {.status = 200, .error = {}};
  auto p = scene.pass();
  CHECK(actions_of(p, Verb::merge_patch, "Machine").empty());
  REQUIRE(p.status);
  CHECK(p.status->rollout->phase == RolloutPhase::paused);
  CHECK(p.status->rollout->step.empty());
  CHECK(p.status->rollout->preflight.size() == 5);
  CHECK(condition(p, "Stalled")->status == api::ConditionStatus::true_);
  CHECK(condition(p, "Stalled")->reason == api::reason::preflight_failed);
  CHECK(has(condition(p, "Stalled")->message, "VersionSkew"));
  CHECK(p.status->rollout->blocked_by->kind == "MachinePackageVersion");
  CHECK(p.plan.again <= std::chrono::milliseconds(preflight_again));
  const auto warned = [](const Planned& x) {
    return std::count_if(x.plan.events.begin(), x.plan.events.end(),
                         [](const auto& e) { return e.reason == api::reason::preflight_failed; });
  };
  CHECK(warned(p) == 1);
  REQUIRE(p.plan.status);
  CHECK(p.plan.status->first);  // else the next pass would warn again
  // Said once; the clock of the rollout doesn't run meanwhile.
  scene.now += seconds(7200);
  p = scene.pass();
  CHECK(warned(p) == 0);
  CHECK(condition(p, "Stalled")->reason == api::reason::preflight_failed);
  CHECK(actions_of(p, Verb::merge_patch, "Machine").empty());
  // The control plane was upgraded.
  scene.cluster.version = "v1.35.1";
  p = scene.pass();
  CHECK(actions_of(p, Verb::merge_patch, "Machine").size() == 1);
  CHECK(p.status->rollout->phase == RolloutPhase::progressing);
  CHECK(condition(p, "Stalled")->status == api::ConditionStatus::false_);
  CHECK(p.status->rollout->last_progress_time == scene.now);
  for (const auto& c : p.status->rollout->preflight) CHECK(c.result != PreflightResult::failed);
  // Once it is under way nothing of it holds it any more.
  scene.cluster.ready = api::ConditionStatus::false_;
  scene.preflight.reset();
  p = scene.pass();
  CHECK(p.status->rollout->phase == RolloutPhase::progressing);
}

TEST_CASE("a release is taken back whatever the pre-flight says", "[machine_set][preflight]") {
  auto scene = edited(package("v2", "kubelet", "1.34.0", {}));
  scene.set.spec.rollout.steps = {step_of("canary", {1, false})};
  auto p = scene.pass();
  const auto edits = actions_of(p, Verb::merge_patch, "Machine");
  REQUIRE(edits.size() == 1);
  for (auto& m : scene.machines)
    if (m.metadata.name == edits[0]->name) {
      m.metadata.labels.set(api::label::revision, revision_for("v2"));
      m.spec = api::machine_spec(template_of("v2").spec, "local");
      fail_update(m, scene.now);
    }
  scene.cluster.ready = api::ConditionStatus::false_;
  scene.preflight.reset();
  SECTION("by itself") {}
  SECTION("by hand") { edit_template(scene, "v1"); }
  p = scene.pass();
  CHECK(p.status->rollout->phase == RolloutPhase::rolling_back);
  CHECK(actions_of(p, Verb::merge_patch, "Machine").size() == 1);
}

TEST_CASE("what was skipped is recorded", "[machine_set][preflight]") {
  auto scene = edited(package("v2", "kubelet", "1.35.0", {}));
  scene.set.metadata.annotations.set(api::annotation::skip_preflight, "VersionSkew,Nonsense");
  const auto p = scene.pass();
  CHECK(actions_of(p, Verb::merge_patch, "Machine").size() == 1);
  REQUIRE_FALSE(p.status->history.empty());
  CHECK(p.status->history.back().skipped_preflight == std::vector{skew});
  const auto told = [&](std::string_view reason) {
    return std::any_of(p.plan.events.begin(), p.plan.events.end(), [&](const auto& e) { return e.reason == reason; });
  };
  CHECK(told("PreflightSkipped"));
  CHECK(told(api::reason::unknown_preflight_check));
}

TEST_CASE("a third revision has a pre-flight of its own", "[machine_set][preflight]") {
  auto scene = edited(package("v2", "kubelet", "1.34.0", {}));
  scene.pass();
  edit_template(scene, "v3");
  scene.preflight->packages = {package("v3", "kubelet", "1.36.0", {})};
  auto p = scene.pass();
  CHECK(p.status->rollout->phase == RolloutPhase::paused);
  CHECK(actions_of(p, Verb::merge_patch, "Machine").empty());
  edit_template(scene, "v2");  // and that one is the same as before
  scene.preflight->packages = {package("v2", "kubelet", "1.34.0", {})};
  p = scene.pass();
  CHECK(p.status->rollout->phase == RolloutPhase::progressing);
}

TEST_CASE("the facts are gathered only while a pre-flight is near", "[preflight]") {
  auto scene = settled(3, "v1");
  CHECK_FALSE(preflight_is_near(scene.set));
  edit_template(scene, "v2");
  CHECK(preflight_is_near(scene.set));
  scene.pass();
  CHECK_FALSE(preflight_is_near(scene.set));  // under way
  scene.set.metadata.annotations.set(api::annotation::retry, "x");
  CHECK(preflight_is_near(scene.set));
}
