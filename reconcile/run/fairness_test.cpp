// What one API server does to the passes of the others, and to those of a leader that comes or goes.
#include <catch2/catch.hpp>

#include "reconcile/run/testing.hpp"

using namespace reconcile;
using namespace reconcile::toy;
using namespace std::chrono_literals;
using nlohmann::json;

namespace {

// In front of an API server: what a test does to its calls.
class Front final : public SimServer {
 public:
  explicit Front(SimApi& api) : api_(api) {}
  std::function<std::optional<Error>(const Call&)> answers;  // instead of it
  Reply serve(const Call& call) override {
    if (const auto error = answers ? answers(call) : std::nullopt) return {.result = fail(*error), .frames = {}};
    return api_.serve(call);
  }
  Result<Handle> serve_watch(const Call& call, Push push, End end) override {
    return api_.serve_watch(call, std::move(push), std::move(end));
  }

 private:
  SimApi& api_;
};

// A widget makes one part, once: in the business cluster if it is "far", else in the meta cluster. Parts there are watched.
class FarLoop final : public WidgetLoop {
 public:
  std::vector<Source> sources() const override {
    auto all = WidgetLoop::sources();
    all[1].remote = true;
    all[1].keys = [](const View&, std::string_view, const void* before, const void* after, const std::function<void(Key)>& enqueue) {
      const auto name = static_cast<const Part*>(after ? after : before)->metadata.name.str();
      enqueue({"ns", name.substr(0, name.rfind('-'))});
    };
    return all;
  }
  std::function<Plan()> observe(const Snapshot& s, const Key& key) const override {
    if (on_pass) on_pass(key);
    auto w = s.view.get<Widget>("", key.name_space, key.name);
    if (!w) return nullptr;
    const bool ready = w->spec.color != "far" || s.connection("ns/far").known;
    return [w, ready, done = s.memory.done.contains("made"), stages = stages, name = key.name.str()] {
      Plan plan;
      const std::string cluster = w->spec.color == "far" ? "ns/far" : "";
      plan.connections = {{.cluster = "ns/far", .secret_namespace = "ns", .secret_name = "far-kubeconfig"}};
      for (int stage = 0; stage < stages && ready && !done; ++stage)
        plan.actions.push_back({.verb = Verb::create,
                                .kind = &kind_of<Part>,
                                .cluster = cluster,
                                .name_space = "ns",
                                .name = name + "-" + std::to_string(stage),
                                .body = json{{"metadata", {{"name", name + "-" + std::to_string(stage)}}}}.dump(),
                                .stage = static_cast<std::uint8_t>(stage),
                                .tolerate_exists = true,
                                .mark = stage + 1 == stages ? "made" : ""});
      return plan;
    };
  }
  int stages = 1;
  std::function<void(const Key&)> on_pass;
};

void make_secret(SimApi& api) {
  constexpr Resource secrets{"", "v1", "secrets", "Secret", true};
  // printf 'kubeconfig of far' | base64
  REQUIRE(api.request({.verb = Verb::create,
                       .resource = &secrets,
                       .name_space = "ns",
                       .body = R"({"metadata":{"name":"far-kubeconfig"},"data":{"value":"a3ViZWNvbmZpZyBvZiBmYXI="}})"}));
}

struct TwoClusters {
  SimWorld world{31};
  SimApi meta{world}, far{world};
  Front front{far};
  FarLoop* loop = new FarLoop;
  std::unique_ptr<Process> p;
  int creates = 0;  // sent to far

  void start(ManagerOptions options = {}) {
    make_secret(meta);
    make_widget(meta, "first", 1, "far");
    p = std::make_unique<Process>(world, meta, SimFaults{}, "", std::unique_ptr<Loop>(loop), std::move(options));
    p->env.reachable("kubeconfig of far", front);
    p->env.on_send = [this](const Call& c) { creates += c.cluster == "ns/far" && c.verb == Verb::create; };
    REQUIRE(world.run_until([&] { return far.count(parts) > 0; }, 20s));
    world.run_for(15s);
    REQUIRE(p->manager->connection("ns/far").reachable == ConditionStatus::true_);
    creates = 0;
  }
  void make_far(int n) {
    for (int i = 0; i < n; ++i) make_widget(meta, "f" + std::to_string(i), 1, "far");
  }
  // How long a change of the meta cluster's own takes.
  std::chrono::nanoseconds near(const std::string& name) {
    const auto from = world.now();
    make_widget(meta, name, 1);
    REQUIRE(world.run_until([&] { return meta.get(parts, "ns", name + "-0").has_value(); }, 10min));
    return world.now() - from;
  }
  bool shows(const std::string& text) const { return p->metrics.text().find(text) != std::string::npos; }
};

}  // namespace

TEST_CASE("fairness: an API server that hangs holds nobody else up", "[fairness]") {
  TwoClusters t;
  t.start();
  t.p->env.cut("ns/far", true);
  t.make_far(100);
  t.world.run_for(1s);
  CHECK(t.near("a") < 5s);
  CHECK(t.creates == 16);  // a quarter of the places; the others wait in line
  t.world.run_for(5s);
  CHECK(t.shows("toy_connection_waiting_keys{connection=\"ns/far\"} 84\n"));
  CHECK(t.near("b") < 5s);
  t.world.run_for(2min);
  CHECK(t.near("c") < 5s);
  t.p->env.cut("ns/far", false);
  CHECK(t.world.run_until([&] { return t.far.count(parts) == 101; }, 5min));
  t.world.run_for(10min);
  CHECK(t.p->manager->idle());
}

TEST_CASE("fairness: nor does one that is slow, and what waits for it is done in its order", "[fairness]") {
  TwoClusters t;
  t.start();
  t.p->env.slow("ns/far", 15s);
  std::vector<std::string> order;
  t.far.written = [&](const Call& c, std::string_view) { order.push_back(json::parse(c.body)["metadata"]["name"]); };
  t.make_far(40);
  t.world.run_for(1s);
  CHECK(t.near("a") < 5s);
  CHECK(t.world.run_until([&] { return t.far.count(parts) == 41; }, 60s));  // 16, 16, 8
  CHECK(t.near("b") < 5s);
  REQUIRE(order.size() == 40);
  const std::set<std::string> first(order.begin(), order.begin() + 16);
  CHECK(first.contains("f0-0"));
  CHECK_FALSE(first.contains("f39-0"));
}

TEST_CASE("fairness: nor does one whose objects change without end", "[fairness]") {
  TwoClusters t;
  t.start();
  t.make_far(500);
  REQUIRE(t.world.run_until([&] { return t.far.count(parts) == 501; }, 60s));
  std::function<void()> stream = [&] {
    for (int i = 0; i < 250; ++i)
      REQUIRE(t.far.request({.verb = Verb::merge_patch,
                             .resource = &parts,
                             .name_space = "ns",
                             .name = "f" + std::to_string(t.world.random() % 500) + "-0",
                             .body = json{{"spec", {{"color", std::to_string(t.world.random())}}}}.dump()}));
    t.world.post(t.world.now() + 100ms, stream);
  };
  stream();
  for (int i = 0; i < 10; ++i) {
    t.world.run_for(1s);
    CHECK(t.near("n" + std::to_string(i)) < 5s);
  }
}

TEST_CASE("fairness: a pass that only waits for what became of its write holds no place, and ends when there is no hope", "[fairness]") {
  TwoClusters t;
  t.start();
  int reads = 0;
  t.front.answers = [&](const Call& c) -> std::optional<Error> {
    if (c.verb == Verb::create) return Error{Code::maybe_done, "the reply was lost", {}, {}};
    if (c.resource && c.verb == Verb::get) {
      ++reads;
      return Error{Code::unavailable, "no reply", {}, {}};
    }
    return std::nullopt;
  };
  t.make_far(100);
  t.world.run_for(10s);
  CHECK(t.creates >= 100);  // none waits for the 31 s that another needs to read its own
  t.front.answers = [](const Call&) { return Error{Code::unavailable, "no reply", {}, {}}; };
  t.world.run_for(25s);
  CHECK(t.p->manager->connection("ns/far").reachable == ConditionStatus::false_);
  const int before = reads;
  t.world.run_for(1min);
  CHECK(reads == before);
  CHECK(t.near("a") < 5s);
  t.front.answers = nullptr;
  CHECK(t.world.run_until([&] { return t.far.count(parts) == 101; }, 5min));
}

TEST_CASE("fairness: who asks to be left alone is, by all", "[fairness]") {
  TwoClusters t;
  t.loop->stages = 1;
  t.start();
  bool busy = true;
  t.front.answers = [&](const Call& c) -> std::optional<Error> {
    if (busy && c.verb == Verb::create) return Error{Code::throttled, "too many requests", 20s, "TooManyRequests"};
    return std::nullopt;
  };
  t.make_far(100);
  t.world.run_for(19s);
  CHECK(t.creates <= 16);  // those that were on their way
  CHECK(t.near("a") < 5s);
  CHECK(t.shows("toy_connection_rests_total{connection=\"ns/far\"} 1\n"));
  busy = false;
  CHECK(t.world.run_until([&] { return t.far.count(parts) == 101; }, 60s));
  t.world.run_for(10min);
  CHECK(t.p->manager->idle());
}

TEST_CASE("actor: the rest of a pass isn't sent to a server that asks to be left alone", "[fairness]") {
  WithAnyLoop t;
  int sent = 0;
  t.loop->on_observe = [](const Snapshot& s, const Key&) -> std::function<Plan()> {
    auto have = s.view.list<Part>("");
    return [have = have.size()] {
      Plan plan;
      for (int i = 0; i < 60 && have < 60; ++i)
        plan.actions.push_back({.verb = Verb::create,
                                .kind = &kind_of<Part>,
                                .name_space = "ns",
                                .name = "p" + std::to_string(i),
                                .body = json{{"metadata", {{"name", "p" + std::to_string(i)}}}}.dump(),
                                .tolerate_exists = true});
      return plan;
    };
  };
  bool busy = true;
  t.api.admit = [&](const Call& c, const std::string&) -> std::optional<Error> {
    if (!busy || c.resource->plural != "parts") return std::nullopt;
    return Error{Code::throttled, "too many requests", 5s, "TooManyRequests"};
  };
  t.start();
  t.p->env.on_send = [&](const Call& c) { sent += c.verb == Verb::create && c.resource->plural == "parts"; };
  make_widget(t.api, "w", 1);
  t.world.run_for(4s);
  CHECK(sent <= 16);
  busy = false;
  CHECK(t.world.run_until([&] { return t.api.count(parts) == 60; }, 20s));
}

TEST_CASE("actor: what was refused is told by the next pass, not sent again by it", "[fairness]") {
  WithAnyLoop t;
  const auto code = GENERATE(Code::invalid, Code::forbidden, Code::throttled);
  std::vector<MonoTime> sent;
  std::vector<std::string> told;
  t.loop->on_observe = [&](const Snapshot& s, const Key&) -> std::function<Plan()> {
    for (const auto& f : s.memory.failures) told.push_back(f.error.message);
    return [] {
      Plan plan;
      plan.actions = {
          {.verb = Verb::create, .kind = &kind_of<Part>, .name_space = "ns", .name = "p", .body = R"({"metadata":{"name":"p"}})"}};
      return plan;
    };
  };
  t.api.admit = [&](const Call& c, const std::string&) -> std::optional<Error> {
    if (c.resource->plural != "parts") return std::nullopt;
    sent.push_back(t.world.now());
    return Error{code, "no, for this reason", {}, {}};
  };
  make_widget(t.api, "w", 1);
  t.start();
  t.world.run_for(1500ms);
  CHECK(sent.size() == 1);
  REQUIRE_FALSE(told.empty());
  CHECK(told.front() == "no, for this reason");
  t.world.run_for(20s);
  for (std::size_t i = 1; i < sent.size(); ++i) CHECK(sent[i] - sent[i - 1] >= 2s);
  CHECK(sent.size() <= 10);
}

TEST_CASE("manager: exceptions of whatever a program hands in are errors of that key", "[fairness]") {
  WithAnyLoop t;
  ManagerOptions options;
  options.disruptive = [](const Action& a) -> bool {
    if (a.name == "judged") throw std::runtime_error("disruptive");
    return false;
  };
  options.make = [](const std::string&, const std::vector<std::string>&, WallTime) -> Result<std::string> {
    throw std::runtime_error("make");
  };
  std::map<std::string, int> passes;
  t.loop->on_observe = [&](const Snapshot& s, const Key& key) -> std::function<Plan()> {
    ++passes[key.name.str()];
    auto w = s.view.get<Widget>("", key.name_space, key.name);
    return [name = key.name.str()] {
      Plan plan;
      Action a{.verb = Verb::create,
               .kind = &kind_of<Part>,
               .name_space = "ns",
               .name = name,
               .body = json{{"metadata", {{"name", name}}}}.dump(),
               .tolerate_exists = true};
      if (name == "made") a.making = Making{.what = "x", .secrets = {}};
      if (name == "told") plan.metrics = {{.name = "not a name", .help = "", .label = "bad label", .value = "x"}};
      if (name == "wished") plan.connections = {{.cluster = "x"}};
      plan.actions = {a};
      return plan;
    };
  };
  for (const char* name : {"judged", "made", "told", "good"}) make_widget(t.api, name, 1);
  t.p = std::make_unique<Process>(t.world, t.api, SimFaults{}, "", std::unique_ptr<Loop>(t.loop), options);
  t.world.run_for(30s);
  CHECK(t.api.get(parts, "ns", "good"));
  CHECK(passes["good"] <= 3);
  for (const char* name : {"judged", "made"}) {
    CHECK_FALSE(t.api.get(parts, "ns", name));
    CHECK(passes[name] > 5);
    CHECK(passes[name] < 20);
  }
  CHECK(t.p->metrics.text().find("toy_reconcile_plan_exceptions_total{loop=\"widget_maker\"} 0\n") == std::string::npos);
}

namespace {

// Two operators of two clusters, of which one leads.
struct Rivals {
  SimWorld world{41};
  SimApi meta{world}, far{world};
  std::vector<std::unique_ptr<Process>> processes;
  std::vector<FarLoop*> loops;
  int stages = 1;

  Process& start(const std::string& name) {
    ManagerOptions options;
    options.follow = {.kind = &kind_of<Widget>, .wish = [](const void*) {
                        return ConnectWish{.cluster = "ns/far", .secret_namespace = "ns", .secret_name = "far-kubeconfig"};
                      }};
    auto* loop = new FarLoop;
    loop->stages = stages;
    loops.push_back(loop);
    processes.push_back(std::make_unique<Process>(world, meta, SimFaults{}, name, std::unique_ptr<Loop>(loop), options));
    processes.back()->env.reachable("kubeconfig of far", far);
    return *processes.back();
  }
};

}  // namespace

TEST_CASE("manager: a standby follows the connections: its caches are warm, and it lets go of what is gone", "[fairness]") {
  Rivals t;
  make_secret(t.meta);
  make_widget(t.meta, "w", 1, "far");
  auto& a = t.start("a");
  t.world.run_for(5s);
  auto& b = t.start("b");
  t.world.run_for(20s);
  REQUIRE(a.lease->may_act(t.world.now()));
  CHECK(b.manager->ready().text == "standing by");
  CHECK(b.manager->connection("ns/far").reachable == ConditionStatus::true_);
  CHECK(b.caches.synced("ns/far"));
  CHECK(b.caches.list<Part>("ns/far").size() == 1);

  SECTION("its own passes begin with them") {
    a.env.kill();
    REQUIRE(t.world.run_until([&] { return b.lease->may_act(t.world.now()); }, 1min));
    CHECK(b.caches.synced("ns/far"));
  }
  SECTION("what is deleted while it stands by is disconnected") {
    REQUIRE(t.meta.request({.verb = Verb::remove, .resource = &widgets, .name_space = "ns", .name = "w"}));
    t.world.run_for(5s);
    CHECK_FALSE(b.manager->connection("ns/far").known);
  }
}

TEST_CASE("manager: a new leader hears what happened while another led", "[fairness]") {
  Rivals t;
  make_secret(t.meta);
  make_widget(t.meta, "w", 1, "far");
  t.start("a");
  t.world.run_for(5s);
  auto& b = t.start("b");
  t.world.run_for(20s);
  // A part whose widget is not there: only the part itself says that key.
  REQUIRE(t.far.request({.verb = Verb::create, .resource = &parts, .name_space = "ns", .body = R"({"metadata":{"name":"lost-0"}})"}));
  t.world.run_for(5s);
  std::set<std::string> passes;
  t.loops[1]->on_pass = [&](const Key& key) { passes.insert(key.name.str()); };
  CHECK(passes.empty());
  t.processes[0]->env.kill();
  REQUIRE(t.world.run_until([&] { return b.lease->may_act(t.world.now()); }, 1min));
  t.world.run_for(2s);
  CHECK(passes == std::set<std::string>{"lost", "w"});
}

TEST_CASE("manager: who led before and leads again disconnects what was deleted meanwhile", "[fairness]") {
  Rivals t;
  make_secret(t.meta);
  make_widget(t.meta, "w", 1, "far");
  auto& a = t.start("a");
  t.world.run_for(10s);
  REQUIRE(a.manager->connection("ns/far").known);
  a.env.pause(60s);
  auto& b = t.start("b");
  REQUIRE(t.world.run_until([&] { return b.lease->may_act(t.world.now()); }, 1min));
  REQUIRE(t.meta.request({.verb = Verb::remove, .resource = &widgets, .name_space = "ns", .name = "w"}));
  t.world.run_for(10s);
  b.env.kill();
  REQUIRE(t.world.run_until([&] { return a.lease->may_act(t.world.now()) && t.world.now() > MonoTime(75s); }, 5min));
  t.world.run_for(10s);
  CHECK_FALSE(a.manager->connection("ns/far").known);
}

TEST_CASE("actor: a pass of an earlier leadership sends nothing under the next", "[fairness]") {
  Rivals t;
  t.stages = 2;
  make_secret(t.meta);
  auto& a = t.start("a");
  make_widget(t.meta, "w0", 0);
  t.world.run_for(10s);
  REQUIRE(a.manager->connection("ns/far").known);
  a.env.slow("ns/far", 90s);  // its first write
  make_widget(t.meta, "w", 1, "far");
  t.world.run_for(2s);
  const auto generation = a.lease->generation();
  a.env.cut("", true);
  auto& b = t.start("b");
  b.env.cut("ns/far", true);  // it only leads
  REQUIRE(t.world.run_until([&] { return b.lease->may_act(t.world.now()); }, 1min));
  b.env.kill();
  a.env.cut("", false);
  REQUIRE(t.world.run_until([&] { return a.lease->may_act(t.world.now()); }, 60s));
  REQUIRE(a.lease->generation() > generation);
  CHECK(t.far.count(parts) == 0);
  std::vector<MonoTime> second;
  a.env.on_send = [&](const Call& c) {
    if (c.verb == Verb::create && c.cluster == "ns/far" && c.body.find("w-1") != std::string::npos) second.push_back(t.world.now());
  };
  REQUIRE(t.world.run_until([&] { return t.far.count(parts) == 1; }, 2min));
  const auto first_done = t.world.now();
  a.env.slow("ns/far", 0s);
  REQUIRE(t.world.run_until([&] { return !second.empty(); }, 2min));
  CHECK(a.metrics.text().find("toy_reconcile_total{loop=\"widget_maker\",result=\"fenced\"} 0\n") == std::string::npos);
  CHECK(second.front() > first_done);
}
