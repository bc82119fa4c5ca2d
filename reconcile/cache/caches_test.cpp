#include "reconcile/cache/caches.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "reconcile/cache/excess.hpp"
#include "reconcile/run/manager.hpp"
#include "reconcile/sim/seeds.hpp"
#include "reconcile/sim/sim_api.hpp"
#include "reconcile/sim/toy.hpp"

using namespace reconcile;
using namespace std::chrono_literals;
using nlohmann::json;
using toy::Part, toy::Widget;

namespace {

const Resource& widgets = resource_of<Widget>;

void make_widget(SimApi& api, const std::string& name, const json& spec = {{"parts", 1}}) {
  const json body{{"metadata", {{"name", name}, {"namespace", "ns"}}}, {"spec", spec}};
  REQUIRE(api.request({.verb = Verb::create, .resource = &widgets, .name_space = "ns", .body = body.dump()}));
}
void edit_widget(SimApi& api, const std::string& name, const json& spec) {
  REQUIRE(api.request(
      {.verb = Verb::merge_patch, .resource = &widgets, .name_space = "ns", .name = name, .body = json{{"spec", spec}}.dump()}));
}

struct Watching {
  SimWorld world;
  SimApi api;
  SimEnv env;
  Caches caches;

  explicit Watching(std::uint64_t seed = 1, SimApiOptions api_options = {}, CachesOptions options = {})
      : world(seed), api(world, std::move(api_options)), env(world, "p"), caches(env, seed_log("p"), options) {
    env.serve("", api);
  }
  WatchState state(std::string_view plural = "widgets") const {
    for (const auto& s : caches.states())
      if (s.kind->resource->plural == plural) return s;
    FAIL("not watched");
    return caches.states().front();
  }
};

}  // namespace

// The operator of the last release over objects of a new one: a field has another type.
TEST_CASE("caches: objects that this version can't read are known by name, and are no reason to read all again", "[unreadable]") {
  SimWorld world(1);
  SimApi api(world);
  make_widget(api, "good");
  make_widget(api, "new", {{"parts", "as many as there are"}});
  make_widget(api, "changed", {{"parts", 2}});
  SimEnv env(world, "p");
  env.serve("", api);
  Caches caches(env, seed_log("p"));
  toy::ToyGuard guard(env);
  toy::WidgetLoop loop;
  Metrics metrics("toy");
  Manager manager(env, caches, guard, {&loop}, {.program = "toy"}, metrics, seed_log("p"));
  manager.start();
  REQUIRE(world.run_until([&] { return api.count(resource_of<Part>) == 3; }, 30s));
  const auto unreadable = caches.unreadable("", kind_of<Widget>);
  REQUIRE(unreadable.size() == 1);
  CHECK(unreadable[0].key.str() == "ns/new");
  CHECK(json::parse(unreadable[0].text)["spec"]["parts"] == "as many as there are");
  CHECK(caches.newest_object("", widgets) > 0);

  // Now while it runs, and our own write meets it: the status of the old record is written over the new object's.
  edit_widget(api, "changed", {{"parts", {{"exactly", 3}}}});
  world.run_for(2s);
  CHECK(caches.any_unreadable("", kind_of<Widget>));
  CHECK(caches.get<Widget>("", "ns", "changed")->spec.parts == 2);
  manager.enqueue("widget_maker", {"ns", "changed"});
  REQUIRE(api.request({.verb = Verb::remove, .resource = &resource_of<Part>, .name_space = "ns", .name = "changed-1"}));  // makes it write
  world.run_for(20min);
  for (const auto& s : caches.states()) CHECK(s.relists == 1);  // the first
  CHECK(caches.newest_object("", widgets) <= caches.version("", widgets));

  edit_widget(api, "changed", {{"parts", 1}});
  edit_widget(api, "new", {{"parts", 1}});
  REQUIRE(world.run_until([&] { return !caches.any_unreadable("", kind_of<Widget>); }, 10s));
  CHECK(world.run_until([&] { return api.count(resource_of<Part>) == 3; }, 30min));
}

TEST_CASE("caches: an unreadable object that was deleted or made again leaves nothing behind", "[unreadable]") {
  Watching w;
  make_widget(w.api, "a");
  w.caches.watch("", {.kind = &kind_of<Widget>});
  w.world.run_for(5s);
  REQUIRE(w.api.request({.verb = Verb::remove, .resource = &widgets, .name_space = "ns", .name = "a"}));
  make_widget(w.api, "a", {{"parts", "x"}});
  w.world.run_for(5s);
  CHECK(!w.caches.get<Widget>("", "ns", "a"));  // the one that could be read is gone
  CHECK(w.caches.unreadable("", kind_of<Widget>).size() == 1);
  w.api.forget_history();
  w.api.cut_watches();
  w.world.run_for(1min);
  CHECK(w.caches.unreadable("", kind_of<Widget>).size() == 1);
  REQUIRE(w.api.request({.verb = Verb::remove, .resource = &widgets, .name_space = "ns", .name = "a"}));
  w.world.run_for(5s);
  CHECK(!w.caches.any_unreadable("", kind_of<Widget>));
}

namespace {

struct Crowded : Watching {
  explicit Crowded(CachesOptions options) : Watching(1, {}, std::move(options)) { env.serve("far", api); }
  bool is_cut() const { return has_too_many_objects(caches.sight("far")); }
};

}  // namespace

TEST_CASE("caches: a connection that shows too many objects is dropped while they stream in, and tried again", "[excess]") {
  Crowded w({.max_objects = 1'000});
  for (int i = 0; i < 1'500; ++i) make_widget(w.api, "w" + std::to_string(i));
  int broke = 0;
  w.caches.on_progress([&](std::string_view cluster, const Kind&, bool b) { broke += cluster == "far" && b; });
  w.caches.watch("far", {.kind = &kind_of<Widget>});
  w.caches.watch("far", {.kind = &kind_of<Part>});
  w.caches.watch("", {.kind = &kind_of<Widget>});  // the meta cluster's are ours
  w.world.run_for(20s);
  CHECK(w.is_cut());
  CHECK(w.caches.sight("far").why.find(" of them widgets; at most 1000 of 128 MiB") != std::string::npos);
  CHECK(broke == 2);
  CHECK(w.caches.states().size() == 1);  // nothing of it is held
  CHECK(w.caches.synced("", kind_of<Widget>));
  CHECK(w.caches.sight("").seen);
  int calls = 0;
  w.env.on_send = [&](const Call& c) { calls += c.cluster == "far"; };
  w.world.run_for(4min);
  CHECK(calls == 0);
  CHECK(w.is_cut());
  for (int i = 100; i < 1'500; ++i)
    REQUIRE(w.api.request({.verb = Verb::remove, .resource = &widgets, .name_space = "ns", .name = "w" + std::to_string(i)}));
  REQUIRE(w.world.run_until([&] { return w.caches.sight("far").seen; }, 2min));
  CHECK(w.caches.list<Widget>("far").size() == 100);

  for (int i = 0; i < 1'500; ++i) make_widget(w.api, "x" + std::to_string(i));  // now one by one
  w.world.run_for(20s);
  CHECK(w.is_cut());
  w.caches.drop("far");
  w.world.run_for(10min);  // it was disconnected: nobody tries again
  CHECK(w.caches.states().size() == 1);
}

TEST_CASE("caches: bytes have a bound of their own, and so have all connections together", "[excess]") {
  const std::string big(1u << 20, 'x');
  SECTION("of one") {
    Crowded w({.max_bytes = 10u << 20});
    for (int i = 0; i < 9; ++i) make_widget(w.api, "w" + std::to_string(i), {{"color", big + std::to_string(i)}});
    w.caches.watch("far", {.kind = &kind_of<Widget>});
    w.world.run_for(20s);
    CHECK(!w.is_cut());
    edit_widget(w.api, "w0", {{"color", big + big + big}});
    w.world.run_for(5s);
    CHECK(w.is_cut());
  }
  SECTION("of all: the biggest goes") {
    Crowded w({.max_total_bytes = 10u << 20});
    SimApi small(w.world);
    w.env.serve("near", small);
    for (int i = 0; i < 8; ++i) make_widget(w.api, "w" + std::to_string(i), {{"color", big + std::to_string(i)}});
    for (int i = 0; i < 4; ++i) make_widget(small, "w" + std::to_string(i), {{"color", big + std::to_string(i)}});
    w.caches.watch("far", {.kind = &kind_of<Widget>});
    w.world.run_for(20s);
    CHECK(!w.is_cut());
    w.caches.watch("near", {.kind = &kind_of<Widget>});
    w.world.run_for(20s);
    CHECK(w.is_cut());
    CHECK(w.caches.sight("near").seen);
  }
  SECTION("a relist of what is there costs nothing more") {
    Crowded w({.max_objects = 1'000});
    for (int i = 0; i < 900; ++i) make_widget(w.api, "w" + std::to_string(i));
    w.caches.watch("far", {.kind = &kind_of<Widget>});
    w.world.run_for(20s);
    w.api.forget_history();
    w.api.cut_watches();
    w.world.run_for(1min);
    CHECK(w.caches.states().front().relists >= 2);
    CHECK(w.caches.sight("far").seen);
  }
}
