#include "controllers/cluster/replica_repair.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "apis/v1alpha1/names.hpp"

using namespace endstate::cluster;
using namespace std::chrono_literals;
using reconcile::Pod, reconcile::Verb;
namespace api = endstate::v1alpha1;

namespace {

// Pods of one component as their Deployment keeps them.
struct World {
  Site site;
  HostedFacts facts;
  std::vector<api::ReplicaRepair> repairs;
  WallTime now = std::chrono::sys_days(std::chrono::year(2026) / 3 / 1);
  int made = 0;
  bool cursed = false;  // new pods end at once, too

  World() {
    site.name = "hz-a";
    site.name_space = "prod";
    site.replicas = 3;
    for (int i = 0; i < 3; ++i) make(true);
  }
  void make(bool ready) {
    auto p = std::make_shared<Pod>();
    p->metadata.name = "hz-a-apiserver-" + std::to_string(++made);
    p->metadata.name_space = "prod";
    p->metadata.uid = p->metadata.name;
    p->metadata.labels.set(api::label::component, "apiserver");
    p->metadata.creation_timestamp = now;
    p->spec.node_name = "n1";
    facts.pods.push_back(p);
    set(facts.pods.size() - 1, ready);
  }
  Pod& at(std::size_t i) {
    auto copy = std::make_shared<Pod>(*facts.pods[i]);
    auto* out = copy.get();
    facts.pods[i] = std::move(copy);
    return *out;
  }
  void set(std::size_t i, bool ready) {
    auto& p = at(i);
    p.status.conditions = {{.type = "Ready",
                            .status = ready ? reconcile::ConditionStatus::true_ : reconcile::ConditionStatus::false_,
                            .reason = {},
                            .message = {},
                            .last_transition_time = now}};
    p.status.container_statuses = {reconcile::ContainerStatus{}};
    p.status.container_statuses[0].started = true;
  }
  void crash(std::size_t i, std::int64_t restarts) {
    set(i, false);
    auto& c = at(i).status.container_statuses[0];
    c.started = false;
    c.restart_count = restarts;
    c.state.waiting = reconcile::Waiting{.reason = "CrashLoopBackOff", .message = {}};
    c.last_state.terminated =
        reconcile::Terminated{.exit_code = 2, .reason = "Error", .message = "goroutine 1\npanic: no luck\n", .finished_at = now};
  }
  RepairPlan plan() const { return plan_repair({.site = site, .facts = facts, .before = repairs, .now = now}); }
  RepairPlan pass(bool carry_out = true) {
    auto p = plan();
    CHECK(p.actions.size() <= 1);
    for (const auto& a : p.actions) {
      CHECK(a.guarded);
      CHECK(p.permit == a.name.str());
      if (!carry_out) continue;
      for (std::size_t i = 0; i < facts.pods.size(); ++i) {
        if (facts.pods[i]->metadata.name != a.name) continue;
        if (a.subresource == "eviction")
          facts.pods.erase(facts.pods.begin() + static_cast<std::ptrdiff_t>(i));
        else
          at(i).metadata.labels.set(api::label::component,
                                    nlohmann::json::parse(a.body)["metadata"]["labels"]["endstate.dev/component"].get<std::string>());
        break;
      }
    }
    if (carry_out) repairs = p.repairs;
    return p;
  }
  void play() {
    now += 30s;
    const auto own = std::count_if(facts.pods.begin(), facts.pods.end(), [](const auto& p) { return !is_isolated(*p); });
    for (auto i = own; i < site.replicas; ++i) {
      make(true);
      if (cursed) crash(facts.pods.size() - 1, 3);
    }
  }
};

}  // namespace

TEST_CASE("a replica that crashes is isolated, replaced, and then removed", "[hosted][repair]") {
  World w;
  w.crash(1, 3);
  auto p = w.pass();
  REQUIRE(p.actions.size() == 1);
  CHECK(p.actions[0].verb == Verb::merge_patch);
  CHECK(p.actions[0].uid == "hz-a-apiserver-2");
  CHECK(p.event.find("panic: no luck") != std::string::npos);
  CHECK(is_isolated(*w.facts.pods[1]));
  CHECK(w.pass().actions.empty());  // another one isn't there yet
  w.play();
  p = w.pass();
  REQUIRE(p.actions.size() == 1);
  CHECK(p.actions[0].subresource == "eviction");
  CHECK(w.facts.pods.size() == 3);
  CHECK(w.repairs.size() == 1);
  w.now += repair_rest;
  w.pass();
  CHECK(w.repairs.empty());  // an hour of rest: forgotten
  CHECK_FALSE(w.plan().problem);
}

TEST_CASE("what is left alone", "[hosted][repair]") {
  World w;
  SECTION("all are well") {}
  SECTION("a crash or two: Kubernetes starts it again") { w.crash(0, 2); }
  SECTION("not ready for a moment") {
    w.set(0, false);
    w.now += unwell_for - 1s;
  }
  SECTION("slow to start") {
    w.set(0, false);
    w.at(0).status.container_statuses[0].started = false;
    w.now += start_takes - 1s;
  }
  SECTION("no node for it") {
    w.set(0, false);
    w.at(0).spec.node_name = "";
    w.now += 1h;
  }
  SECTION("about to go anyway") {
    w.crash(0, 5);
    w.at(0).metadata.deletion_timestamp = w.now;
  }
  const auto p = w.plan();
  CHECK(p.actions.empty());
  CHECK_FALSE(p.problem);
}

TEST_CASE("not ready for long is an ailment, too", "[hosted][repair]") {
  World w;
  w.set(2, false);
  w.now += unwell_for;
  REQUIRE(w.plan().actions.size() == 1);
  w.set(2, false);
  w.at(2).status.container_statuses[0].started = false;
  w.now += start_takes;
  REQUIRE(w.plan().actions.size() == 1);
}

TEST_CASE("several that are sick aren't cured by restarts: it is said, and nothing is done", "[hosted][repair]") {
  World w;
  w.crash(0, 3), w.crash(1, 3);
  const auto p = w.plan();
  CHECK(p.actions.empty());
  REQUIRE(p.problem);
  CHECK(p.problem->reason == api::reason::replica_failing);
  CHECK_FALSE(p.problem->serious);
}

TEST_CASE("the only replica may be made anew: it serves nobody as it is", "[hosted][repair]") {
  World w;
  w.site.replicas = 1;
  w.facts.pods.resize(1);
  w.crash(0, 3);
  CHECK(w.plan().actions.size() == 1);
}

TEST_CASE("again and again: three times, then it is reported, and tried once an hour", "[hosted][repair]") {
  World w;
  w.cursed = true;
  w.crash(0, 3);
  int isolated = 0;
  const auto run = [&](int rounds) {
    for (int i = 0; i < rounds; ++i) {
      const auto p = w.pass();
      isolated += !p.event.empty();
      CHECK(std::count_if(w.facts.pods.begin(), w.facts.pods.end(), [](const auto& pod) { return is_isolated(*pod); }) <= 1);
      w.play();
    }
  };
  run(100);  // 50 minutes
  CHECK(isolated == 3);
  REQUIRE(w.plan().problem);
  CHECK(w.plan().problem->message.find("made anew 3 times") != std::string::npos);
  run(120);
  CHECK(isolated == 4);
}

TEST_CASE("a permit that isn't given changes nothing, and counts nothing", "[hosted][repair]") {
  World w;
  w.crash(0, 3);
  for (int i = 0; i < 5; ++i) CHECK(w.pass(false).actions.size() == 1);
  CHECK(w.repairs.empty());
}
