// The runtime against a real kube-apiserver (ENDSTATE_TEST_KUBECONFIG: an administrator of a cluster that may be written to): what the
// simulated API promises elsewhere is held to the real one here.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "e2e/conformance/cluster.hpp"
#include "reconcile/json/encode.hpp"
#include "reconcile/kube/core.hpp"
#include "reconcile/kube/curl_env.hpp"
#include "reconcile/kube/kind.hpp"
#include "reconcile/kube/url.hpp"
#include "reconcile/run/body.hpp"
#include "reconcile/run/events.hpp"
#include "reconcile/run/lease.hpp"
#include "reconcile/run/manager.hpp"

using namespace reconcile;
using namespace std::chrono_literals;
using endstate::conformance::administrator;
using nlohmann::json;

namespace {

bool run_until(CurlEnv& env, const std::function<bool()>& done, std::chrono::seconds limit = 30s) {
  const auto until = env.now().mono + limit;
  Handle tick;
  std::function<void()> look = [&] {
    if (done() || env.now().mono >= until)
      env.stop();
    else
      tick = env.at(env.now().mono + 2ms, look);
  };
  look();
  env.run();
  return done();
}

Result<std::string> ask(CurlEnv& env, Call call) {
  std::string body;
  std::optional<Result<void>> end;
  const auto handle = env.call(
      std::move(call), [&](std::string_view frame) { body.assign(frame); }, [&](Result<void> r) { end = std::move(r); });
  run_until(env, [&] { return end.has_value(); });
  if (!end) return fail(Code::unavailable, "no answer");
  if (!*end) return fail(end->error());
  return body;
}

const Resource& config_maps = resource_of<ConfigMap>;

// Names of this run's own, so that runs don't meet.
struct Run {
  CurlEnv env{{.user_agent = "endstate-test"}, administrator()};
  std::string label = "rt-" + std::to_string(env.random() % 1'000'000'000);
  std::string selector() const { return encode_query({{"labelSelector", "run=" + label}}); }
  std::string name(const std::string& suffix) const { return label + "-" + suffix; }
  Result<std::string> create(const std::string& suffix, const std::string& value = "v") {
    const json body{{"apiVersion", "v1"},
                    {"kind", "ConfigMap"},
                    {"metadata", {{"name", name(suffix)}, {"labels", {{"run", label}}}}},
                    {"data", {{"k", value}}}};
    return ask(env, {.verb = Verb::create, .resource = &config_maps, .name_space = "default", .body = body.dump()});
  }
  Result<std::string> patch(const std::string& suffix, const std::string& value) {
    return ask(env, {.verb = Verb::merge_patch,
                     .resource = &config_maps,
                     .name_space = "default",
                     .name = name(suffix),
                     .body = json{{"data", {{"k", value}}}}.dump()});
  }
  Result<std::string> remove(const std::string& suffix) {
    return ask(env, {.verb = Verb::remove, .resource = &config_maps, .name_space = "default", .name = name(suffix)});
  }
};

}  // namespace

TEST_CASE("runtime: the reflector follows a real API server, by stream and by list", "[integration]") {
  const bool streaming = GENERATE(true, false);
  Run run;
  for (const char* n : {"a", "b", "c"}) REQUIRE(run.create(n));
  Caches caches(run.env, no_log(), {.streaming = streaming});
  std::vector<std::string> heard;
  caches.on_change([&](std::string_view, const Kind& kind, const Ref<void>& before, const Ref<void>& after) {
    heard.push_back((before ? "-" : "") + std::string(after ? "+" : "") +
                    kind.meta((after ? after : before).get()).name.str().substr(run.label.size()));
  });
  caches.watch("", {.kind = &kind_of<ConfigMap>, .name_space = "default", .selector = run.selector()});
  REQUIRE(run_until(run.env, [&] { return caches.synced("", kind_of<ConfigMap>); }));
  CHECK(heard == std::vector<std::string>{"+-a", "+-b", "+-c"});
  const View& view = caches;
  CHECK(view.list<ConfigMap>("").size() == 3);
  CHECK(view.lag<ConfigMap>("") == 0ns);

  heard.clear();
  REQUIRE(run.patch("b", "w"));
  REQUIRE(run.remove("a"));
  REQUIRE(run.create("d"));
  REQUIRE(run_until(run.env, [&] { return heard.size() == 3; }));
  CHECK(heard == std::vector<std::string>{"-+-b", "--a", "+-d"});
  CHECK(view.get<ConfigMap>("", "default", run.name("b"))->data.get("k") == "w");
  CHECK(caches.states().at(0).relists >= 1);
  CHECK(caches.states().at(0).relists <= 2);  // sight may ask for a small collection once more (caches_sight.cpp)
  CHECK(caches.states().at(0).undecodable == 0);
  for (const char* n : {"b", "c", "d"}) REQUIRE(run.remove(n));
}

TEST_CASE("runtime: leadership is handed over in under a second, and a compare-and-swap keeps the rest of the Lease", "[integration]") {
  Run run;
  CurlEnv& env = run.env;
  const LeaseOptions mine{.name_space = "default", .name = run.label, .identity = "one"};
  auto theirs = mine;
  theirs.identity = "two";
  Leadership one(env, mine, no_log()), two(env, theirs, no_log());
  int changes = 0;
  one.start([&](bool) { ++changes; });
  REQUIRE(run_until(env, [&] { return one.may_act(env.now().mono); }));
  two.start([&](bool) { ++changes; });
  run_until(
      env, [] { return false; }, 5s);
  CHECK(one.may_act(env.now().mono));
  CHECK_FALSE(two.may_act(env.now().mono));
  REQUIRE(ask(env, {.verb = Verb::merge_patch,
                    .resource = &resource_of<reconcile::Lease>,
                    .name_space = "default",
                    .name = run.label,
                    .body = R"({"metadata":{"labels":{"somebody":"else"}}})"}));
  run_until(
      env, [] { return false; }, 3s);
  CHECK(one.may_act(env.now().mono));

  bool released = false;
  const auto from = env.now().mono;
  one.release([&] { released = true; });
  REQUIRE(run_until(env, [&] { return two.may_act(env.now().mono); }));
  const auto took = env.now().mono - from;
  CHECK(took < 1s);
  CHECK(released);
  CHECK(one.generation() == 0);
  CHECK(two.generation() == 1);
  const auto lease = json::parse(*ask(env, {.resource = &resource_of<reconcile::Lease>, .name_space = "default", .name = run.label}));
  CHECK(lease["spec"]["holderIdentity"] == "two");
  CHECK(lease["spec"]["leaseTransitions"] == 1);
  CHECK(lease["metadata"]["labels"]["somebody"] == "else");
  REQUIRE(ask(env, {.verb = Verb::remove, .resource = &resource_of<reconcile::Lease>, .name_space = "default", .name = run.label}));
}

TEST_CASE("runtime: how a real API server says that a precondition does not hold", "[integration]") {
  Run run;
  const auto made = run.create("x");
  REQUIRE(made);
  const auto answer = read_answer(*made);
  REQUIRE(run.patch("x", "w"));
  const auto patch = [&](Verb verb, std::string body, std::string query = "fieldManager=test") {
    return ask(run.env, {.verb = verb,
                         .resource = &config_maps,
                         .name_space = "default",
                         .name = run.name("x"),
                         .query = std::move(query),
                         .body = std::move(body)});
  };
  const auto is_conflict = [](Verb verb, const Result<std::string>& r) {
    return !r && (r.error().code == Code::conflict || is_stale(verb, r.error()));
  };
  const std::string other = "00000000-0000-4000-8000-000000000000";
  SECTION("merge patch, old version") {
    CHECK(is_conflict(Verb::merge_patch,
                      patch(Verb::merge_patch, *with_preconditions(R"({"data":{"k":"z"}})", answer.uid, answer.resource_version))));
  }
  SECTION("merge patch, another's uid") {
    const auto r = patch(Verb::merge_patch, *with_preconditions(R"({"data":{"k":"z"}})", other, ""));
    INFO((r ? std::string("done") : r.error().message));
    CHECK(is_conflict(Verb::merge_patch, r));
  }
  SECTION("JSON patch, old version") {
    const auto r =
        patch(Verb::json_patch, *with_tests(R"([{"op":"replace","path":"/data/k","value":"z"}])", answer.uid, answer.resource_version));
    INFO((r ? std::string("done") : r.error().message));
    CHECK(is_conflict(Verb::json_patch, r));
  }
  SECTION("JSON patch, all is right") {
    CHECK(patch(Verb::json_patch, *with_tests(R"([{"op":"replace","path":"/data/k","value":"z"}])", answer.uid, "")));
  }
  SECTION("apply with old version, and with another's uid") {
    const auto body = [&](const std::string& uid, const std::string& version) {
      return json{{"apiVersion", "v1"},
                  {"kind", "ConfigMap"},
                  {"metadata", {{"name", run.name("x")}, {"uid", uid}, {"resourceVersion", version}}},
                  {"data", {{"k", "z"}}}}
          .dump();
    };
    CHECK(is_conflict(Verb::apply, patch(Verb::apply, body(answer.uid, answer.resource_version), apply_query("test"))));
    const auto r = patch(Verb::apply, body(other, answer.resource_version), apply_query("test"));
    INFO((r ? std::string("done") : r.error().message));
    CHECK(is_conflict(Verb::apply, r));
  }
  SECTION("apply with a uid does not bring back what has gone") {
    REQUIRE(run.remove("x"));
    const auto r = patch(
        Verb::apply, json{{"apiVersion", "v1"}, {"kind", "ConfigMap"}, {"metadata", {{"name", run.name("x")}, {"uid", answer.uid}}}}.dump(),
        apply_query("test"));
    CHECK(is_conflict(Verb::apply, r));
    CHECK_FALSE(run.remove("x"));
    return;
  }
  SECTION("delete of another's uid") {
    const auto r = ask(run.env, {.verb = Verb::remove,
                                 .resource = &config_maps,
                                 .name_space = "default",
                                 .name = run.name("x"),
                                 .body = delete_options(other, "")});
    CHECK(is_conflict(Verb::remove, r));
  }
  std::ignore = run.remove("x");
}

TEST_CASE("runtime: events are stored, and become series", "[integration]") {
  Run run;
  Metrics metrics("test");
  Events events(run.env, {.controller = "endstate-test", .instance = "pod", .series_write = 1s}, metrics, no_log());
  const Regarding about{"v1", "ConfigMap", {"default", run.name("x")}, "11111111-0000-4000-8000-000000000000"};
  for (int i = 0; i < 5; ++i) events.emit(about, {.reason = "Tried", .action = "Try", .note = "it was tried"});
  bool flushed = false;
  run_until(
      run.env, [] { return false; }, 3s);
  events.flush(5s, [&] { flushed = true; });
  REQUIRE(run_until(run.env, [&] { return flushed; }));
  constexpr Resource resource{"events.k8s.io", "v1", "events", "Event"};
  std::vector<json> stored;
  std::optional<Result<void>> end;
  const auto handle = run.env.call(
      {.verb = Verb::list, .resource = &resource, .name_space = "default"},
      [&](std::string_view frame) {
        const auto e = json::parse(frame);
        if (e.contains("regarding") && e["regarding"]["name"] == run.name("x")) stored.push_back(e);
      },
      [&](Result<void> r) { end = std::move(r); });
  REQUIRE(run_until(run.env, [&] { return end.has_value(); }));
  REQUIRE(stored.size() == 1);
  CHECK(stored[0]["series"]["count"] == 5);
  CHECK(stored[0]["reportingController"] == "endstate-test");
}

namespace {

// Keeps a ConfigMap `<name>-copy` equal to each ConfigMap of this run, by optimistic patches: as many conflicts as views are old.
class CopyLoop final : public Loop {
 public:
  explicit CopyLoop(std::string selector) : selector_(std::move(selector)) {}
  std::string_view name() const override { return "copier"; }
  const Kind& kind() const override { return kind_of<ConfigMap>; }
  std::vector<Source> sources() const override {
    return {{.kind = &kind_of<ConfigMap>,
             .name_space = "default",
             .selector = selector_,
             .keys = [](const View&, std::string_view, const void* before, const void* after, const std::function<void(Key)>& enqueue) {
               auto key = static_cast<const ConfigMap*>(after ? after : before)->metadata.key();
               if (key.name.view().ends_with("-copy")) key.name = key.name.view().substr(0, key.name.view().size() - 5);
               enqueue(key);
             }}};
  }
  std::function<Plan()> observe(const Snapshot& s, const Key& key) const override {
    auto from = s.view.get<ConfigMap>("", key.name_space, key.name);
    auto to = s.view.get<ConfigMap>("", key.name_space, key.name.str() + "-copy");
    if (!from) return nullptr;
    return [from, to] {
      Plan plan;
      const std::string name = from->metadata.name.str() + "-copy";
      if (!to) {
        ConfigMap copy;
        copy.metadata.name = name;
        copy.metadata.name_space = from->metadata.name_space;
        copy.metadata.labels = from->metadata.labels;
        copy.data = from->data;
        plan.actions.push_back({.verb = Verb::create,
                                .kind = &kind_of<ConfigMap>,
                                .name_space = copy.metadata.name_space,
                                .name = name,
                                .body = encode_object("v1", "ConfigMap", type_of<ConfigMap>, &copy)});
      } else if (to->data != from->data) {
        plan.actions.push_back({.verb = Verb::merge_patch,
                                .kind = &kind_of<ConfigMap>,
                                .name_space = from->metadata.name_space,
                                .name = name,
                                .body = "{\"data\":{\"k\":" + quote(from->data.get("k")) + "}}",
                                .uid = to->metadata.uid,
                                .resource_version = to->metadata.resource_version});
      }
      return plan;
    };
  }

 private:
  std::string selector_;
};

struct OpenGuard final : Guard {
  void ask(std::vector<PermitRequest>, std::function<void(Result<std::vector<Verdict>>)>) override {}
};

}  // namespace

TEST_CASE("runtime: the manager never acts on a view that is older than its own writes", "[integration]") {
  Run run;
  Metrics metrics("test");
  Caches caches(run.env, no_log());
  OpenGuard guard;
  CopyLoop loop(run.selector());
  Manager manager(run.env, caches, guard, {&loop}, {.program = "endstate-test"}, metrics, no_log());
  manager.start();
  REQUIRE(run_until(run.env, [&] { return manager.ready().ok; }));
  constexpr int n = 40;
  std::vector<Handle> calls;
  int answered = 0;
  const auto done = [&](Result<void> r) {
    REQUIRE(r);
    ++answered;
  };
  for (int i = 0; i < n; ++i) {
    const json body{{"apiVersion", "v1"},
                    {"kind", "ConfigMap"},
                    {"metadata", {{"name", run.name(std::to_string(i))}, {"labels", {{"run", run.label}}}}},
                    {"data", {{"k", "0"}}}};
    calls.push_back(run.env.call(
        {.verb = Verb::create, .resource = &config_maps, .name_space = "default", .body = body.dump()}, [](std::string_view) {}, done));
  }
  const View& view = caches;
  const auto copied = [&](const std::string& value) {
    int good = 0;
    for (const auto& m : view.list<ConfigMap>("")) good += m->metadata.name.view().ends_with("-copy") && m->data.get("k") == value;
    return good == n;
  };
  REQUIRE(run_until(run.env, [&] { return copied("0"); }));
  for (int round = 1; round <= 3; ++round) {
    for (int i = 0; i < n; ++i)
      calls.push_back(run.env.call(
          {.verb = Verb::merge_patch,
           .resource = &config_maps,
           .name_space = "default",
           .name = run.name(std::to_string(i)),
           .body = json{{"data", {{"k", std::to_string(round)}}}}.dump()},
          [](std::string_view) {}, done));
    REQUIRE(run_until(run.env, [&] { return copied(std::to_string(round)); }));
  }
  CHECK(answered == 4 * n);
  const auto text = metrics.text();
  std::istringstream lines(text);  // the series stands from the start, at 0
  for (std::string line; std::getline(lines, line);)
    if (line.find("result=\"conflict\"") != std::string::npos) CHECK(line.ends_with("} 0"));
  CHECK(text.find("test_writes_total{loop=\"copier\",resource=\"configmaps\",result=\"done\",verb=\"create\"} 40") != std::string::npos);
  CHECK(text.find("test_writes_total{loop=\"copier\",resource=\"configmaps\",result=\"done\",verb=\"patch\"} 120") != std::string::npos);
  for (const auto& m : view.list<ConfigMap>(""))
    calls.push_back(run.env.call(
        {.verb = Verb::remove, .resource = &config_maps, .name_space = "default", .name = m->metadata.name.str()}, [](std::string_view) {},
        [](Result<void>) {}));
  run_until(
      run.env, [&] { return view.list<ConfigMap>("").empty(); }, 10s);
}
