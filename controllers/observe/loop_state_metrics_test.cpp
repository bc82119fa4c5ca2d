#include "controllers/observe/loop_state_metrics.hpp"

#include <catch2/catch.hpp>

#include "apis/v1alpha1/cluster.hpp"
#include "apis/v1alpha1/machine.hpp"
#include "apis/v1alpha1/machine_set.hpp"
#include "apis/v1alpha1/policy.hpp"
#include "reconcile/json/encode.hpp"
#include "reconcile/sim/sim_api.hpp"

using namespace endstate;
using namespace endstate::observe;
using namespace std::chrono_literals;
using Catch::Contains;
namespace api = v1alpha1;

namespace {

struct World {
  reconcile::SimWorld world{1};
  reconcile::SimApi server{world};
  reconcile::SimEnv env{world, "operator"};
  reconcile::Caches caches{env, reconcile::no_log()};
  reconcile::Metrics metrics{"toy"};
  bool leads = true;
  StateExporter exporter{env, caches, metrics, [this] { return leads; }};

  explicit World(bool all_caches = true) {
    env.serve("", server);
    caches.watch("", {.kind = &reconcile::kind_of<api::Cluster>});
    caches.watch("", {.kind = &reconcile::kind_of<api::MachineSet>});
    caches.watch("", {.kind = &reconcile::kind_of<api::Machine>});
    caches.watch("", {.kind = &reconcile::kind_of<api::ChangeBudget>});
    caches.watch("", {.kind = &reconcile::kind_of<api::MetricSource>});
    if (all_caches) caches.watch("", {.kind = &reconcile::kind_of<api::Host>});
  }
  void machine(const std::string& name, reconcile::Verb verb = reconcile::Verb::create) {
    api::Machine m;
    m.metadata.name = name;
    m.metadata.name_space = "prod";
    m.spec.cluster_name = "hz";
    const auto& r = reconcile::resource_of<api::Machine>;
    REQUIRE(server.request({.verb = verb,
                            .resource = &r,
                            .name_space = "prod",
                            .name = verb == reconcile::Verb::create ? "" : name,
                            .body = reconcile::encode_object(reconcile::api_version(r), r.kind, reconcile::type_of<api::Machine>, &m)}));
  }
  void run(std::chrono::seconds time) {
    const auto end = env.now().mono + time;
    world.run_until([&] { return env.now().mono >= end; }, time + 1s);
  }
  bool shows(const std::string& sample) { return metrics.text().find("\ntoy_" + sample) != std::string::npos; }
};

}  // namespace

TEST_CASE("the state of the fleet is shown within a period, by the leader only", "[observe]") {
  World w;
  w.machine("a");
  w.exporter.start();
  w.run(5s);
  CHECK(w.shows("machines{cluster=\"hz\",namespace=\"prod\",phase=\"Pending\"} 1\n"));

  w.machine("b");
  w.run(StateExporter::period + 2s);
  CHECK(w.shows("machines{cluster=\"hz\",namespace=\"prod\",phase=\"Pending\"} 2\n"));

  SECTION("a standby shows nothing, and all of it once it leads") {
    w.leads = false;
    w.run(StateExporter::period + 2s);
    CHECK_FALSE(w.shows("machines"));
    w.leads = true;
    w.run(3s);
    CHECK(w.shows("machines{cluster=\"hz\",namespace=\"prod\",phase=\"Pending\"} 2\n"));
  }
  SECTION("series of what is gone go") {
    w.machine("a", reconcile::Verb::remove);
    w.machine("b", reconcile::Verb::remove);
    w.run(StateExporter::period + 2s);
    CHECK_FALSE(w.shows("machines"));
  }
}

TEST_CASE("nothing is shown before the caches are filled", "[observe]") {
  World w(false);
  w.machine("a");
  w.exporter.start();
  w.run(30s);
  CHECK_FALSE(w.shows("machines"));
  w.caches.watch("", {.kind = &reconcile::kind_of<api::Host>});
  w.run(5s);
  CHECK(w.shows("machines{cluster=\"hz\",namespace=\"prod\",phase=\"Pending\"} 1\n"));
}
