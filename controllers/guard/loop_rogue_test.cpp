// No loop reaches a disruptive call around the guard: a rogue one tries each of them, through the real manager and actor, on the simulated
// API server.
#include <catch2/catch.hpp>

#include "apis/v1alpha1/machine.hpp"
#include "apis/v1alpha1/policy.hpp"
#include "controllers/guard/disruptive.hpp"
#include "reconcile/cache/caches.hpp"
#include "reconcile/json/encode.hpp"
#include "reconcile/json/patch.hpp"
#include "reconcile/kube/core.hpp"
#include "reconcile/run/manager.hpp"
#include "reconcile/sim/sim_api.hpp"

using namespace endstate;
using namespace std::chrono_literals;
using reconcile::Action, reconcile::Call, reconcile::Key, reconcile::kind_of, reconcile::Plan, reconcile::Result, reconcile::Verb,
    reconcile::Verdict;
namespace api = v1alpha1;

namespace {

class TestGuard final : public reconcile::Guard {
 public:
  explicit TestGuard(reconcile::Env& env) : env_(env) {}
  bool grants = true;
  std::chrono::seconds thinks{0};
  void ask(std::vector<reconcile::PermitRequest> requests, std::function<void(Result<std::vector<Verdict>>)> answer) override {
    std::vector<Verdict> verdicts;
    for (const auto& r : requests)
      verdicts.push_back(grants ? Verdict(reconcile::Granted{r.id()})
                                : Verdict(reconcile::Refused{.kind = "ChangeBudget", .reason = "No"}));
    timer_ = env_.at(env_.now().mono + thinks, [verdicts = std::move(verdicts), answer = std::move(answer)] { answer(verdicts); });
  }

 private:
  reconcile::Env& env_;
  reconcile::Handle timer_;
};

// What the rogue loop would do, with each pass of its ChangeBudget.
struct Wish {
  Action action;
  bool with_permit = false;
};

class Rogue final : public reconcile::Loop {
 public:
  explicit Rogue(Wish wish) : wish_(std::move(wish)) {}
  std::string_view name() const override { return "rogue"; }
  const reconcile::Kind& kind() const override { return kind_of<api::ChangeBudget>; }
  std::vector<reconcile::Source> sources() const override {
    return {{.kind = &kind(),
             .keys = [](const reconcile::View&, std::string_view, const void*, const void* after, const std::function<void(Key)>& enqueue) {
               if (after) enqueue(static_cast<const api::ChangeBudget*>(after)->metadata.key());
             }}};
  }
  std::function<Plan()> observe(const reconcile::Snapshot&, const Key&) const override {
    return [wish = wish_] {
      Plan plan;
      plan.actions.push_back(wish.action);
      if (wish.with_permit)
        plan.permit = reconcile::PermitRequest{.cluster = {"prod", "hz"}, .operation = "MachineUpdate", .subject_uid = "u"};
      return plan;
    };
  }

 private:
  Wish wish_;
};

struct World {
  explicit World(Wish wish, bool grants = true, std::chrono::seconds thinks = 0s) : rogue(std::move(wish)) {
    guard.grants = grants;
    guard.thinks = thinks;
    store<reconcile::Pod>("default", R"({"metadata":{"name":"p"},"spec":{"nodeName":"n"}})");
    store<reconcile::Node>("", R"({"metadata":{"name":"n"},"spec":{}})");
    store<api::HostAssignment>("", R"({"metadata":{"name":"h"},"spec":{"state":"Active","revision":"r1"}})");
    store<api::Host>("default", R"({"metadata":{"name":"h"},"spec":{}})");
    store<api::ChangeBudget>("", R"({"metadata":{"name":"b"},"spec":{}})");
    server.writes.clear();
    env.serve("", server);
    manager.start();
    world.run_for(10min);
  }
  template <class T>
  void store(std::string name_space, std::string body) {
    REQUIRE(server.request(
        {.verb = Verb::create, .resource = &reconcile::resource_of<T>, .name_space = std::move(name_space), .body = std::move(body)}));
  }
  int writes() const {
    int n = 0;
    for (const auto& [what, count] : server.writes)
      if (what.find(" events") == std::string::npos) n += count;
    return n;
  }
  bool counted() const { return metrics.text().find("endstate_unguarded_total{") != std::string::npos; }

  reconcile::SimWorld world{1};
  reconcile::SimApi server{world};
  reconcile::SimEnv env{world, "operator"};
  reconcile::Caches caches{env, reconcile::no_log()};
  TestGuard guard{env};
  reconcile::Metrics metrics{"endstate"};
  Rogue rogue;
  reconcile::Manager manager{
      env, caches, guard, {&rogue}, {.program = "endstate", .disruptive = guard::disruptive}, metrics, reconcile::no_log()};
};

template <class T>
Action on(Verb verb, std::string_view name_space, std::string_view name, std::string body, std::string_view subresource = {}) {
  return {.verb = verb, .kind = &kind_of<T>, .name_space = name_space, .name = name, .subresource = subresource, .body = std::move(body)};
}

// Every way that something disruptive can be called.
std::vector<std::pair<std::string, Action>> disruptive_calls() {
  const auto taint = reconcile::JsonPatch().add("/spec/taints", R"([{"key":"endstate.dev/isolated","effect":"NoSchedule"}])").str();
  const std::string assignment =
      R"({"apiVersion":"endstate.dev/v1alpha1","kind":"HostAssignment","metadata":{"name":"h"},"spec":{"state":"Active","revision":"r2"}})";
  const std::string other =
      R"({"apiVersion":"endstate.dev/v1alpha1","kind":"HostAssignment","metadata":{"name":"other"},"spec":{"state":"Active","revision":"r2"}})";
  return {
      {"evict",
       on<reconcile::Pod>(Verb::create, "default", "p",
                          R"({"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"p","namespace":"default"}})", "eviction")},
      {"delete a pod", on<reconcile::Pod>(Verb::remove, "default", "p", {})},
      {"delete a node", on<reconcile::Node>(Verb::remove, {}, "n", {})},
      {"close a node", on<reconcile::Node>(Verb::json_patch, {}, "n", taint)},
      {"cordon a node", on<reconcile::Node>(Verb::merge_patch, {}, "n", R"({"spec":{"unschedulable":true}})")},
      {"create an assignment", on<api::HostAssignment>(Verb::create, {}, "other", other)},
      {"apply an assignment", on<api::HostAssignment>(Verb::apply, {}, "h", assignment)},
      {"patch an assignment", on<api::HostAssignment>(Verb::merge_patch, {}, "h", R"({"spec":{"state":"Released"}})")},
      {"delete an assignment", on<api::HostAssignment>(Verb::remove, {}, "h", {})},
      {"delete a host", on<api::Host>(Verb::remove, "default", "h", {})},
  };
}

}  // namespace

TEST_CASE("a disruptive call without a permit gets nothing through", "[guard][rogue]") {
  for (const auto& [what, action] : disruptive_calls()) {
    INFO(what);
    World w({.action = action});
    CHECK(w.writes() == 0);
    CHECK(w.counted());
  }
}

TEST_CASE("nor does one beside a permit, that isn't guarded by it", "[guard][rogue]") {
  for (const auto& [what, action] : disruptive_calls()) {
    INFO(what);
    World w({.action = action, .with_permit = true});
    World refused({.action = action, .with_permit = true}, false);
    // A permit that was granted covers what says that it needs it; what doesn't say so was never meant to be covered.
    CHECK(w.writes() == 0);
    CHECK(w.counted());
    CHECK(refused.writes() == 0);
  }
}

TEST_CASE("nor does a guarded one whose permit was refused, or never asked for", "[guard][rogue]") {
  for (auto [what, action] : disruptive_calls()) {
    INFO(what);
    action.guarded = true;
    World refused({.action = action, .with_permit = true}, false);
    CHECK(refused.writes() == 0);
    World without({.action = action});
    CHECK(without.writes() == 0);
  }
}

TEST_CASE("guarded, under a granted permit, each of them is done: the test can fail", "[guard][rogue]") {
  for (auto [what, action] : disruptive_calls()) {
    INFO(what);
    action.guarded = true;
    World w({.action = action, .with_permit = true});
    CHECK(w.writes() > 0);
    CHECK_FALSE(w.counted());
  }
}

TEST_CASE("what disturbs nothing needs no permit", "[guard][rogue]") {
  World w({.action = on<api::Host>(Verb::merge_patch, "default", "h", R"({"metadata":{"labels":{"a":"b"}}})")});
  CHECK(w.writes() > 0);
  CHECK_FALSE(w.counted());
}

TEST_CASE("nothing begins by a permit that was asked for more than 30 s ago: the guard may have given it back", "[guard]") {
  Wish wish{.action = {.verb = Verb::remove, .kind = &kind_of<reconcile::Pod>, .name_space = "default", .name = "p"}, .with_permit = true};
  wish.action.guarded = true;
  CHECK(World(wish, true, 29s).writes() > 0);
  CHECK(World(wish, true, 31s).writes() == 0);
}
