// For tests of the runtime: an operator of toys in a simulated world.
#pragma once
#include <catch2/catch.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "reconcile/run/manager.hpp"
#include "reconcile/sim/seeds.hpp"
#include "reconcile/sim/sim_api.hpp"
#include "reconcile/sim/toy.hpp"

namespace reconcile::toy {

inline const Resource& widgets = resource_of<Widget>;
inline const Resource& parts = resource_of<Part>;

inline void make_widget(SimApi& api, const std::string& name, int count, const std::string& color = "red") {
  const nlohmann::json body{{"metadata", {{"name", name}, {"namespace", "ns"}}}, {"spec", {{"parts", count}, {"color", color}}}};
  REQUIRE(api.request({.verb = Verb::create, .resource = &widgets, .name_space = "ns", .body = body.dump()}));
}
inline void edit_widget(SimApi& api, const std::string& name, const nlohmann::json& spec) {
  REQUIRE(api.request(
      {.verb = Verb::merge_patch, .resource = &widgets, .name_space = "ns", .name = name, .body = nlohmann::json{{"spec", spec}}.dump()}));
}
inline nlohmann::json widget(const SimApi& api, const std::string& name) {
  return nlohmann::json::parse(api.get(widgets, "ns", name).value_or("null"));
}

inline bool complete(const SimApi& api, const std::string& name) {
  const auto w = widget(api, name);
  const int wanted = w["spec"]["parts"];
  int have = 0;
  for (const auto& text : api.list(parts)) {
    const auto p = nlohmann::json::parse(text);
    if (!p["metadata"]["name"].get<std::string>().starts_with(name + "-")) continue;
    ++have;
    if (p["spec"].value("color", "") != w["spec"].value("color", "")) return false;
  }
  return have == wanted && w.contains("status") && w["status"]["parts"] == wanted;
}

// One operator.
struct Process {
  SimEnv env;
  Caches caches;
  toy::ToyGuard guard;
  std::unique_ptr<Loop> loop;
  std::unique_ptr<Leadership> lease;
  Metrics metrics{"toy"};
  std::unique_ptr<Manager> manager;

  Process(SimWorld& world, SimApi& api, SimFaults faults = {}, const std::string& identity = {}, std::unique_ptr<Loop> l = nullptr,
          ManagerOptions options = {}, CachesOptions caches_options = {})
      : env(world, identity, faults), caches(env, seed_log(identity), caches_options), guard(env), loop(std::move(l)) {
    env.serve("", api);
    if (!loop) loop = std::make_unique<toy::WidgetLoop>();
    if (!identity.empty())
      lease = std::make_unique<Leadership>(env, LeaseOptions{.name_space = "sys", .name = "op", .identity = identity}, seed_log(identity));
    options.program = "toy";
    options.lease = lease.get();
    manager = std::make_unique<Manager>(env, caches, guard, std::vector<const Loop*>{loop.get()}, options, metrics, seed_log(identity));
    manager->start();
    if (lease) lease->start([this](bool leading) { manager->lead(leading); });
  }
};

// A loop whose plan a test gives.
class AnyLoop final : public toy::WidgetLoop {
 public:
  std::function<std::function<Plan()>(const Snapshot&, const Key&)> on_observe;
  std::function<Plan()> observe(const Snapshot& s, const Key& key) const override { return on_observe(s, key); }
};

struct WithAnyLoop {
  SimWorld world{11};
  SimApi api{world};
  AnyLoop* loop = new AnyLoop;
  std::unique_ptr<Process> p;
  void start(SimFaults faults = {}) { p = std::make_unique<Process>(world, api, faults, "", std::unique_ptr<Loop>(loop)); }
};

}  // namespace reconcile::toy
