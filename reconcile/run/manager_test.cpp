#include "reconcile/run/manager.hpp"

#include <catch2/catch.hpp>
#include <deque>

#include "reconcile/kube/core.hpp"
#include "reconcile/run/testing.hpp"

using namespace reconcile;
using namespace reconcile::toy;
using namespace std::chrono_literals;
using nlohmann::json;

namespace reconcile::toy {

struct RedPart {  // of some parts, less
  ObjectMeta metadata;
};
consteval auto describe(const RedPart*) { return object("A red part.", field<&RedPart::metadata>("metadata", "Metadata.")); }
constexpr Resource resource(const RedPart*) { return {"toy.dev", "v1", "parts", "Part", true, "red-parts"}; }

}  // namespace reconcile::toy

TEST_CASE("caches: two of one kind, each with a type and a selector of its own") {
  SimWorld world(1);
  SimApi api(world);
  SimEnv env(world, "", {});
  env.serve("", api);
  for (const auto* color : {"red", "blue"}) {
    const json body{{"metadata", {{"name", color}, {"namespace", "ns"}, {"labels", {{color, "x"}}}}}};
    REQUIRE(api.request({.verb = Verb::create, .resource = &parts, .name_space = "ns", .body = body.dump()}));
  }
  Caches caches(env, seed_log(""));
  caches.watch("", {.kind = &kind_of<Part>});
  caches.watch("", {.kind = &kind_of<toy::RedPart>, .selector = "labelSelector=red"});
  world.run_for(5s);
  REQUIRE(caches.synced(""));
  CHECK(caches.list<Part>("").size() == 2);
  CHECK(caches.list<toy::RedPart>("").size() == 1);
  CHECK(caches.get<toy::RedPart>("", "ns", "red"));
}

TEST_CASE("manager: a loop drives its objects to their end state, with the writes that it takes and no more") {
  SimWorld world(1);
  SimApi api(world);
  make_widget(api, "w", 5);
  api.writes.clear();
  std::set<std::string> managers;
  api.written = [&](const Call& c, std::string_view manager) {
    if (c.resource->plural != "events") managers.insert(std::string(manager));
  };
  Process p(world, api);
  CHECK(p.manager->ready().text == "the caches are being filled");
  REQUIRE(world.run_until([&] { return complete(api, "w"); }, 10s));
  world.run_for(5min);
  CHECK(p.manager->idle());
  CHECK(p.manager->ready().ok);
  CHECK(api.writes == std::map<std::string, int>{{"create parts", 5}, {"apply widgets/status", 1}, {"create events", 1}});
  CHECK(managers == std::set<std::string>{"toy-widget-maker"});

  SECTION("a change makes a pass") {
    edit_widget(api, "w", {{"color", "blue"}});
    REQUIRE(world.run_until([&] { return complete(api, "w"); }, 5s));
    world.run_for(1min);
    CHECK(api.writes["patch parts"] == 5);
  }
  SECTION("what was deleted comes back") {
    REQUIRE(api.request({.verb = Verb::remove, .resource = &parts, .name_space = "ns", .name = "w-3"}));
    REQUIRE(world.run_until([&] { return api.count(parts) == 5; }, 5s));
  }
  SECTION("the object goes, and with it what it owns, and all that is known of it") {
    REQUIRE(api.request({.verb = Verb::remove, .resource = &widgets, .name_space = "ns", .name = "w"}));
    world.run_for(10s);
    CHECK(api.count(parts) == 0);
    CHECK(p.manager->idle());
  }
}

TEST_CASE("manager: after a write a key waits for its cache, however late that is") {
  SimWorld world(2);
  SimApi api(world);
  int refused = 0;
  Process p(world, api, {.watch_lag = 7s});
  world.run_for(30s);
  // Any create of what exists, and any conflict, would be an act on an old view.
  p.env.on_send = [&](const Call& c) {
    if (c.verb == Verb::create && c.resource && c.resource->plural == "parts") {
      const auto name = json::parse(c.body)["metadata"]["name"].get<std::string>();
      if (api.get(parts, "ns", name)) ++refused;
    }
  };
  make_widget(api, "w", 120);  // more than a pass does
  REQUIRE(world.run_until([&] { return complete(api, "w"); }, 5min));
  for (int n : {130, 118, 3}) {
    edit_widget(api, "w", {{"parts", n}, {"color", "c" + std::to_string(n)}});
    if (n == 3) edit_widget(api, "w", {{"parts", 115}});
    REQUIRE(world.run_until([&] { return complete(api, "w"); }, 20min));
  }
  CHECK(refused == 0);
  CHECK(p.metrics.text().find("toy_reconcile_total{loop=\"widget_maker\",result=\"conflict\"} 0\n") != std::string::npos);
  CHECK(p.metrics.text().find("resource=\"parts\",result=\"conflict\"") == std::string::npos);
}

// Makes a part at each pass, and one pass a second; the parts' watch has a selector.
class SelectingLoop : public toy::WidgetLoop {
 public:
  explicit SelectingLoop(bool labelled) : labelled_(labelled) {}
  std::vector<Source> sources() const override {
    auto all = WidgetLoop::sources();
    all.at(1).selector = "labelSelector=seen";
    return all;
  }
  std::function<Plan()> observe(const Snapshot& s, const Key& key) const override {
    if (!s.view.get<Widget>("", key.name_space, key.name)) return nullptr;
    return [this, now = s.now.mono.time_since_epoch().count(), seen = s.view.list<Part>("").size()] {
      if (labelled_) old_ = std::max(old_, made_ - seen);
      Part part;
      part.metadata.name = "w-" + std::to_string(now);
      part.metadata.name_space = "ns";
      if (labelled_) part.metadata.labels.set("seen", "");
      Plan out;
      out.actions.push_back({.verb = Verb::create,
                             .kind = &kind_of<Part>,
                             .name_space = "ns",
                             .name = part.metadata.name,
                             .body = encode_object("toy.dev/v1", "Part", type_of<Part>, &part),
                             .why = "test"});
      out.again = 1s;
      ++made_;
      return out;
    };
  }
  mutable std::size_t made_ = 0, old_ = 0;  // passes, and how many parts a pass did not see at most

 private:
  bool labelled_;
};

TEST_CASE("manager: a key waits for what its cache will show, and not for what a selector hides") {
  SimWorld world(2);
  SimApi api(world);
  make_widget(api, "w", 0);
  const bool labelled = GENERATE(false, true);
  auto loop = std::make_unique<SelectingLoop>(labelled);
  const auto& seen = *loop;
  Process p(world, api, {.watch_lag = 200ms}, {}, std::move(loop));
  world.run_for(30s);
  CHECK(seen.made_ >= 20);  // else it would wait for a bookmark, which comes once a minute
  CHECK(seen.old_ == 0);    // what its cache shows, it has seen before it makes more
}

TEST_CASE("manager: at most 16 writes of a pass are on their way") {
  SimWorld world(3);
  SimApi api(world);
  make_widget(api, "w", 60);
  int now = 0, most = 0;
  Process p(world, api, {.fastest = 50ms, .slowest = 60ms});
  p.env.on_send = [&](const Call& c) {
    if (c.verb == Verb::create) most = std::max(most, ++now);
  };
  api.written = [&](const Call& c, std::string_view) { now -= c.verb == Verb::create ? 1 : 0; };
  REQUIRE(world.run_until([&] { return complete(api, "w"); }, 1min));
  CHECK(most <= 32);  // 16 on the way there, 16 replies on the way back
  CHECK(most >= 16);
}

TEST_CASE("manager: what the guard refuses is not done, is told, and is done when it opens") {
  SimWorld world(4);
  SimApi api(world);
  make_widget(api, "w", 5);
  Process p(world, api);
  REQUIRE(world.run_until([&] { return complete(api, "w"); }, 10s));
  p.guard.open = false;
  edit_widget(api, "w", {{"parts", 2}});
  REQUIRE(world.run_until([&] { return widget(api, "w")["status"]["blockedBy"] == "night"; }, 10s));
  const int asked = p.guard.asked;
  world.run_for(20s);
  CHECK(api.count(parts) == 5);
  CHECK(p.guard.asked - asked <= 12);  // each 2 s, as the refusal said
  CHECK(p.guard.asked - asked >= 8);
  p.guard.open = true;
  REQUIRE(world.run_until([&] { return complete(api, "w"); }, 20s));
  world.run_for(10s);
  CHECK_FALSE(widget(api, "w")["status"].contains("blockedBy"));
  CHECK(p.metrics.text().find("toy_permits_refused_total{kind=\"ToyBudget\",name=\"night\",reason=\"Closed\"}") != std::string::npos);
}

TEST_CASE("manager: a permit is asked for once, and answered for each") {
  SimWorld world(5);
  SimApi api(world);
  for (int i = 0; i < 30; ++i) make_widget(api, "w" + std::to_string(i), 1);
  Process p(world, api);
  REQUIRE(world.run_until([&] { return api.count(parts) == 30; }, 10s));
  for (int i = 0; i < 30; ++i) edit_widget(api, "w" + std::to_string(i), {{"parts", 0}});
  REQUIRE(world.run_until([&] { return api.count(parts) == 0; }, 20s));
  CHECK(p.guard.asked == 30);
}

TEST_CASE("manager: whatever the network does, the end state is reached") {
  for_seeds(300, [&](std::uint64_t seed) {
    INFO("seed " << seed);
    SimWorld world(seed);
    SimApi api(world, {.streaming = seed % 4 != 0, .history = seed % 5 ? 20'000u : 10u});
    const SimFaults faults{.refused = 40,
                           .reply_lost = 60,
                           .request_lost = 40,
                           .throttled = 30,
                           .watch_cut = 30,
                           .fastest = 1ms,
                           .slowest = seed % 3 ? 80ms : 800ms,
                           .watch_lag = std::chrono::milliseconds(world.random() % 2000)};
    make_widget(api, "a", 3);
    Process p(world, api, faults);
    make_widget(api, "b", 12);
    world.run_for(3s);
    edit_widget(api, "a", {{"parts", 6}, {"color", "green"}});
    std::shared_ptr<const SimApi::Saved> saved;
    for (int i = 0; i < 4; ++i) {
      world.run_for(world.between(100ms, 8s));
      switch (world.random() % 6) {
        case 0: api.cut_watches(); break;
        case 1:
          api.forget_history();
          api.cut_watches();
          break;
        case 2:
          api.stop();
          world.run_for(world.between(1s, 70s));
          api.start();
          break;
        case 3: p.env.pause(world.between(1s, 20s)); break;
        case 4:
          if (saved) {
            api.restore(saved);
            // Nobody can tell two histories apart once the new one has silently passed the old one's versions (hence etcdutl's
            // --bump-revision). Here watches come back before anybody writes.
            api.admit = [](const Call&, const std::string&) { return Error{Code::unavailable, "starting"}; };
            world.run_for(200s);
            api.admit = nullptr;
          }
          saved = api.save();
          break;
        default:
          std::ignore = api.request(
              {.verb = Verb::remove, .resource = &parts, .name_space = "ns", .name = "b-" + std::to_string(world.random() % 12)});
      }
      edit_widget(api, "b", {{"parts", 4 + static_cast<int>(world.random() % 10)}});
    }
    p.env.set_faults({});
    REQUIRE(world.run_until([&] { return complete(api, "a") && complete(api, "b"); }, 30min));
    world.run_for(10min);
    REQUIRE(complete(api, "a"));
    REQUIRE(complete(api, "b"));
  });
}

TEST_CASE("manager: leaders come and go, one acts at a time, and the work is finished") {
  int leaders = 0;
  for_seeds(25, [&](std::uint64_t seed) {
    INFO("seed " << seed);
    SimWorld world(seed);
    SimApi api(world);
    const SimFaults faults{.refused = 30, .reply_lost = 40, .request_lost = 20, .watch_cut = 10, .fastest = 1ms, .slowest = 60ms};
    std::deque<std::unique_ptr<Process>> processes;
    const Process* acting = nullptr;
    bool overlap = false;
    const auto spawn = [&] {
      processes.push_back(std::make_unique<Process>(world, api, faults, "p" + std::to_string(processes.size())));
      Process* p = processes.back().get();
      p->env.on_send = [&, p](const Call& c) {
        if (!c.resource || c.resource->group != "toy.dev" || c.verb == Verb::get || c.verb == Verb::list || c.verb == Verb::watch) return;
        for (const auto& other : processes) overlap = overlap || (other.get() != p && other->lease->may_act(world.now()));
        overlap = overlap || !p->lease->may_act(world.now());
        if (acting != p) ++leaders;
        acting = p;
      };
    };
    spawn();
    spawn();
    make_widget(api, "w", 20);
    for (int i = 0; i < 5; ++i) {
      world.run_for(world.between(200ms, 12s));
      edit_widget(api, "w", {{"parts", 10 + static_cast<int>(world.random() % 60)}, {"color", "c" + std::to_string(i)}});
      auto& p = *processes[world.random() % processes.size()];
      switch (world.random() % 4) {
        case 0:
          p.env.kill();
          spawn();
          break;
        case 1: p.env.pause(world.between(5s, 30s)); break;
        case 2:
          p.manager->stop([&p] { p.lease->release([] {}); });
          spawn();
          break;
        default: break;
      }
    }
    if (processes.size() < 7) spawn();
    for (auto& p : processes) p->env.set_faults({});
    REQUIRE(world.run_until([&] { return complete(api, "w"); }, 30min));
    REQUIRE_FALSE(overlap);
  });
  CHECK(leaders > 25);
}

TEST_CASE("manager: a clean end takes no new keys, finishes what runs, and hands over in under a second") {
  SimWorld world(6);
  SimApi api(world);
  Process a(world, api, {}, "a");
  world.run_for(3s);
  Process b(world, api, {}, "b");
  make_widget(api, "w", 50);
  REQUIRE(world.run_until([&] { return api.count(parts) > 5; }, 10s));
  bool released = false;
  a.manager->stop([&] { a.lease->release([&] { released = true; }); });
  CHECK_FALSE(a.manager->ready().ok);
  const auto from = world.now();
  REQUIRE(world.run_until([&] { return b.lease->may_act(world.now()); }, 10s));
  CHECK(world.now() - from < 1s);
  CHECK(released);
  REQUIRE(world.run_until([&] { return complete(api, "w"); }, 10s));
  CHECK(b.manager->ready().text == "leading");
  CHECK(b.lease->generation() == 1);
}

TEST_CASE("manager: a loop that throws harms only that key, and backs off") {
  WithAnyLoop t;
  std::map<std::string, int> passes;
  t.loop->on_observe = [&](const Snapshot&, const Key& key) -> std::function<Plan()> {
    ++passes[key.name.str()];
    if (key.name == "bad") throw std::runtime_error("observe");
    if (key.name == "worse") return []() -> Plan { throw std::runtime_error("plan"); };
    return [] { return Plan{}; };
  };
  for (const char* name : {"bad", "good", "worse"}) make_widget(t.api, name, 1);
  t.start();
  t.world.run_for(60s);
  CHECK(passes["good"] == 1);
  CHECK(passes["bad"] > 8);
  CHECK(passes["bad"] < 20);
  CHECK(passes["worse"] > 8);
  const auto text = t.p->metrics.text();
  const auto thrown = std::to_string(passes["bad"] + passes["worse"]);
  CHECK(text.find("toy_reconcile_plan_exceptions_total{loop=\"widget_maker\"} " + thrown + "\n") != std::string::npos);
  CHECK(text.find("toy_reconcile_total{loop=\"widget_maker\",result=\"exception\"} " + thrown + "\n") != std::string::npos);
}

TEST_CASE("manager: errors of a plan: invalid waits for a change, others back off; again comes whatever happens") {
  WithAnyLoop t;
  std::map<std::string, int> passes;
  t.loop->on_observe = [&](const Snapshot&, const Key& key) -> std::function<Plan()> {
    ++passes[key.name.str()];
    return [name = key.name.str()] {
      Plan plan;
      if (name == "invalid") plan.error = Error{Code::invalid, "no"};
      if (name == "later") plan.error = Error{Code::unavailable, "not yet"};
      if (name == "often") plan.again = 2s;
      return plan;
    };
  };
  for (const char* name : {"invalid", "later", "often"}) make_widget(t.api, name, 1);
  t.start();
  t.world.run_for(61s);
  CHECK(passes["invalid"] == 1);
  CHECK(passes["later"] > 8);
  CHECK(passes["later"] < 20);
  CHECK(passes["often"] >= 29);
  CHECK(passes["often"] <= 31);
  edit_widget(t.api, "invalid", {{"color", "x"}});
  t.world.run_for(1s);
  CHECK(passes["invalid"] == 2);
}

TEST_CASE("manager: a status that settles is written when it has stood, or not at all") {
  WithAnyLoop t;
  t.loop->on_observe = [&](const Snapshot& s, const Key& key) -> std::function<Plan()> {
    auto w = s.view.get<Widget>("", key.name_space, key.name);
    if (!w) return nullptr;
    return [w] {
      Plan plan;
      toy::WidgetStatus status{w->spec.parts.value_or(0), {}};
      plan.status = StatusWrite{.kind = &kind_of<Widget>,
                                .key = w->metadata.key(),
                                .uid = w->metadata.uid,
                                .resource_version = w->metadata.resource_version,
                                .status = encode(status),
                                .changed = status != w->status,
                                .settle = 5s};
      return plan;
    };
  };
  make_widget(t.api, "w", 1);
  t.start();
  t.world.run_for(4s);
  CHECK(t.api.writes["apply widgets/status"] == 0);
  edit_widget(t.api, "w", {{"parts", 0}});  // it was only passing
  t.world.run_for(10s);
  CHECK(t.api.writes["apply widgets/status"] == 0);
  edit_widget(t.api, "w", {{"parts", 7}});
  t.world.run_for(3s);
  edit_widget(t.api, "w", {{"parts", 8}});
  t.world.run_for(2500ms);
  CHECK(t.api.writes["apply widgets/status"] == 1);
  CHECK(widget(t.api, "w")["status"]["parts"] == 8);
}

TEST_CASE("manager: a lock comes first, stages follow each other, and nothing follows a failure") {
  WithAnyLoop t;
  std::vector<std::string> order;
  bool refuse_lock = false, refuse_one = false;
  t.api.admit = [&](const Call& c, const std::string&) -> std::optional<Error> {
    if (c.resource->group != "toy.dev" || c.resource->plural == "widgets" ? c.subresource != "status" : false) return std::nullopt;
    const std::string what = c.subresource == "status" ? "lock" : json::parse(c.body)["metadata"]["name"].get<std::string>();
    order.push_back(what);
    if ((what == "lock" && refuse_lock) || (what == "one" && refuse_one)) return Error{Code::invalid, "refused by policy"};
    return std::nullopt;
  };
  std::vector<Outcome> seen;
  t.loop->on_observe = [&](const Snapshot& s, const Key& key) -> std::function<Plan()> {
    seen = s.memory.failures;
    auto w = s.view.get<Widget>("", key.name_space, key.name);
    return [w] {
      Plan plan;
      toy::WidgetStatus status{9, {}};
      plan.status = StatusWrite{.kind = &kind_of<Widget>,
                                .key = w->metadata.key(),
                                .uid = w->metadata.uid,
                                .resource_version = w->metadata.resource_version,
                                .status = encode(status),
                                .changed = status != w->status,
                                .first = true};
      if (!plan.status->changed) return Plan{};
      const auto create = [](const char* name, std::uint8_t stage) {
        return Action{.verb = Verb::create,
                      .kind = &kind_of<Part>,
                      .name_space = "ns",
                      .name = name,
                      .body = json{{"metadata", {{"name", name}}}}.dump(),
                      .stage = stage,
                      .tolerate_exists = true};
      };
      plan.actions = {create("three", 2), create("one", 0), create("two", 1)};
      return plan;
    };
  };
  SECTION("all is well") {
    make_widget(t.api, "w", 1);
    t.start();
    t.world.run_for(10s);
    CHECK(order == std::vector<std::string>{"lock", "one", "two", "three"});
  }
  SECTION("no lock, no action; the next plan is told why, and then it waits") {
    refuse_lock = true;
    make_widget(t.api, "w", 1);
    t.start();
    t.world.run_for(60s);
    CHECK(order == std::vector<std::string>{"lock"});  // what was refused isn't sent again to tell it
    REQUIRE(seen.size() == 1);
    CHECK(seen[0].error.message == "refused by policy");
    CHECK(seen[0].what == "apply widgets/status ns/w");
  }
  SECTION("no next stage after a failure") {
    refuse_one = true;
    make_widget(t.api, "w", 1);
    t.start();
    t.world.run_for(5s);
    CHECK(order == std::vector<std::string>{"lock", "one"});
    CHECK(t.api.count(parts) == 0);
  }
}

TEST_CASE("manager: a slow server's answer holds no key; it comes to the pass after it") {
  WithAnyLoop t;
  int passes = 0, asked = 0;
  std::vector<int> seen;
  t.loop->on_observe = [&](const Snapshot& s, const Key&) -> std::function<Plan()> {
    ++passes;
    if (const auto it = s.memory.facts.find("q"); it != s.memory.facts.end()) seen.push_back(it->second.status);
    return [] {
      Plan plan;
      plan.queries = {{.id = "q", .max_age = 1h, .http = HttpQuery{.url = "http://slow/"}}};
      plan.again = 1s;
      return plan;
    };
  };
  make_widget(t.api, "w", 1);
  t.start();
  t.p->env.on_http = [&](const HttpCall&) -> Result<HttpAnswer> {
    ++asked;
    return HttpAnswer{503, "busy"};
  };
  t.p->env.set_faults({.fastest = 2s, .slowest = 2s});
  t.world.run_for(12s);
  CHECK(asked == 1);
  CHECK(passes >= 4);
  REQUIRE(!seen.empty());
  CHECK(static_cast<int>(seen.size()) < passes);  // it was looked at meanwhile
  CHECK(seen.front() == 503);
}

TEST_CASE("manager: a plan's questions are answered before its next pass, and not asked again while fresh") {
  WithAnyLoop t;
  int passes = 0, gets = 0;
  std::vector<std::string> answers;
  t.loop->on_observe = [&](const Snapshot& s, const Key&) -> std::function<Plan()> {
    ++passes;
    for (const auto& [id, fact] : s.memory.facts)
      answers.push_back(id + " " + (fact.body ? *fact.body : std::string(code_name(fact.body.error().code))));
    return [] {
      Plan plan;
      plan.queries = {{.id = "list", .resource = &resource_of<Part>, .name_space = "ns"},
                      {.id = "missing", .resource = &resource_of<Part>, .name_space = "ns", .name = "none", .max_age = 1h},
                      {.id = "version", .path = "/version"}};
      return plan;
    };
  };
  make_widget(t.api, "w", 1);
  REQUIRE(t.api.request({.verb = Verb::create, .resource = &parts, .name_space = "ns", .body = R"({"metadata":{"name":"p"}})"}));
  t.start();
  t.p->env.on_send = [&](const Call& c) { gets += c.resource && c.verb == Verb::get; };
  t.world.run_for(30s);
  CHECK(passes == 2);
  CHECK(gets == 1);
  REQUIRE(answers.size() == 3);
  const auto list = json::parse(answers[0].substr(5));
  CHECK(list["items"].size() == 1);
  CHECK(list["items"][0]["metadata"]["name"] == "p");
  CHECK(list["metadata"].contains("resourceVersion"));
  CHECK(answers[1] == "missing not found");
  CHECK(answers[2] == "version {\"gitVersion\":\"v1.34.4\"}");
}

TEST_CASE("manager: a write whose reply is lost is read back, not repeated") {
  WithAnyLoop t;
  int creates = 0;
  t.loop->on_observe = [&](const Snapshot& s, const Key& key) -> std::function<Plan()> {
    auto w = s.view.get<Widget>("", key.name_space, key.name);
    auto part = s.view.get<Part>("", "ns", "p");
    return [part] {
      Plan plan;
      if (!part)
        plan.actions = {
            {.verb = Verb::create, .kind = &kind_of<Part>, .name_space = "ns", .name = "p", .body = R"({"metadata":{"name":"p"}})"}};
      return plan;
    };
  };
  t.start({.reply_lost = 1000, .watch_lag = 5s});
  t.p->env.on_send = [&](const Call& c) {
    if (c.verb != Verb::create || c.resource->plural != "parts") return;
    ++creates;
    t.p->env.set_faults({.watch_lag = 5s});  // only this one is lost
  };
  make_widget(t.api, "w", 1);
  // The first lists and watches must get through: reads are not lost for ever.
  t.p->env.set_faults({.watch_lag = 5s});
  t.world.run_for(20s);
  CHECK(creates == 1);
  CHECK(t.api.count(parts) == 1);
}

TEST_CASE("manager: business clusters are connected, probed, lost and dropped") {
  SimWorld world(21);
  SimApi meta(world), far(world, {.version = "v1.33.2"});
  struct RemoteLoop final : toy::WidgetLoop {
    std::vector<Source> sources() const override {
      auto all = toy::WidgetLoop::sources();
      all[1].remote = true;
      all[1].keys = [](const View&, std::string_view, const void*, const void*, const std::function<void(Key)>& enqueue) {
        enqueue({"ns", "w"});
      };
      return all;
    }
    std::function<Plan()> observe(const Snapshot& s, const Key& key) const override {
      auto w = s.view.get<Widget>("", key.name_space, key.name);
      state = s.connection("ns/far");
      remote = s.view.list<Part>("ns/far").size();
      synced = s.view.synced<Part>("ns/far");
      lag = s.view.lag<Part>("ns/far");
      ++passes;
      if (!w) return nullptr;
      return [wanted = w->spec.parts.value_or(0) > 0] {
        Plan plan;
        plan.connections = {{.cluster = "ns/far", .connected = wanted, .secret_namespace = "ns", .secret_name = "far-kubeconfig"}};
        return plan;
      };
    }
    mutable ConnectionState state;
    mutable std::size_t remote = 0;
    mutable bool synced = false;
    mutable std::chrono::nanoseconds lag{0};
    mutable int passes = 0;
  };
  auto* loop = new RemoteLoop;
  make_widget(meta, "w", 1);
  REQUIRE(far.request({.verb = Verb::create, .resource = &parts, .name_space = "x", .body = R"({"metadata":{"name":"p"}})"}));
  Process p(world, meta, {}, "", std::unique_ptr<Loop>(loop));
  p.env.reachable("kubeconfig of far", far);
  world.run_for(8s);
  CHECK_FALSE(loop->state.known);
  CHECK(loop->state.message == "Secret ns/far-kubeconfig: secrets \"far-kubeconfig\" not found");

  constexpr Resource secrets{"", "v1", "secrets", "Secret", true};
  // printf 'kubeconfig of far' | base64
  REQUIRE(meta.request({.verb = Verb::create,
                        .resource = &secrets,
                        .name_space = "ns",
                        .body = R"({"metadata":{"name":"far-kubeconfig"},"data":{"value":"a3ViZWNvbmZpZyBvZiBmYXI="}})"}));
  world.run_for(10s);
  CHECK(loop->state.known);
  CHECK(loop->state.reachable == ConditionStatus::true_);
  CHECK(loop->state.version == "v1.33.2");
  CHECK(loop->remote == 1);
  CHECK(loop->synced);

  const int passes = loop->passes;
  world.run_for(1min);
  CHECK(loop->passes == passes);  // nothing is new
  const auto shows = [&](const std::string& text) { return p.metrics.text().find(text) != std::string::npos; };
  CHECK(shows("toy_connection_up{connection=\"ns/far\"} 1\n"));
  CHECK(shows("toy_cache_objects{connection=\"ns/far\",resource=\"parts\"} 1\n"));
  CHECK(shows("toy_connection_up{connection=\"meta\"} 1\n"));

  far.stop();
  world.run_for(31s);
  CHECK(shows("toy_connection_up{connection=\"ns/far\"} 0\n"));
  CHECK(loop->state.reachable == ConditionStatus::false_);
  p.manager->enqueue("widget_maker", {"ns", "w"});
  world.run_for(1s);
  CHECK(loop->lag > 20s);
  CHECK(loop->remote == 1);  // what was last known
  far.start();
  world.run_for(40s);
  CHECK(loop->state.reachable == ConditionStatus::true_);

  edit_widget(meta, "w", {{"parts", 0}});
  world.run_for(5s);
  p.manager->enqueue("widget_maker", {"ns", "w"});
  world.run_for(1s);
  CHECK_FALSE(loop->state.known);
  CHECK(loop->remote == 0);
  CHECK_FALSE(loop->synced);
  world.run_for(6s);
  CHECK_FALSE(shows("connection=\"ns/far\""));  // what is gone leaves no series behind
  CHECK(shows("toy_connection_up{connection=\"meta\"} 1\n"));
}

TEST_CASE("manager: a key that asked whether a cluster can be seen is looked at again when that changes", "[sight]") {
  SimWorld world(22);
  SimApi api(world);
  struct Looker final : toy::WidgetLoop {
    std::function<Plan()> observe(const Snapshot& s, const Key& key) const override {
      ++passes;
      if (key.name == "w") seen = s.view.sight("").seen;
      return [] { return Plan(); };
    }
    mutable int passes = 0;
    mutable bool seen = false;
  };
  auto* loop = new Looker;
  make_widget(api, "w", 1);
  make_widget(api, "doesn't ask", 1);
  Process p(world, api, {}, "", std::unique_ptr<Loop>(loop));
  world.run_for(10s);
  CHECK(loop->seen);
  const int passes = loop->passes;
  world.run_for(10min);
  CHECK(loop->passes == passes);
  p.env.freeze("", true);
  world.run_for(1min);
  CHECK(!loop->seen);
  p.env.freeze("", false);
  world.run_for(1min);
  CHECK(loop->seen);
  CHECK(loop->passes <= passes + 6);  // the probe's changes, too
}

TEST_CASE("manager: alive says when the main thread is stuck") {
  SimWorld world(8);
  SimApi api(world);
  Process p(world, api);
  world.run_for(10s);
  CHECK(p.manager->alive(world.now()).ok);
  p.env.pause(1h);
  world.run_for(29s);
  CHECK(p.manager->alive(world.now()).ok);
  world.run_for(5s);
  CHECK_FALSE(p.manager->alive(world.now()).ok);
}

TEST_CASE("manager: loops that contradict each other are refused at the start") {
  SimWorld world(9);
  SimEnv env(world, "");
  Caches caches(env, no_log());
  toy::ToyGuard guard(env);
  Metrics metrics("toy");
  toy::WidgetLoop a, b;
  CHECK_THROWS_AS(Manager(env, caches, guard, {&a, &b}, {}, metrics, no_log()), std::invalid_argument);
  ManagerOptions options;
  options.also_watch = {{.kind = &kind_of<Part>, .selector = "labelSelector=a%3Db", .keys = nullptr}};
  CHECK_THROWS_AS(Manager(env, caches, guard, {&a}, options, metrics, no_log()), std::invalid_argument);
}

namespace {

// Wants one Secret whose body only an effect can make, from another one.
class KeyLoop : public toy::WidgetLoop {
 public:
  std::function<Plan()> observe(const Snapshot& s, const Key& key) const override {
    auto widget = s.view.get<Widget>("", key.name_space, key.name);
    if (!widget || !s.memory.failures.empty()) return nullptr;
    return [name = widget->metadata.name] {
      Plan out;
      Action a{.verb = Verb::create,
               .kind = &kind_of<Part>,
               .name_space = "ns",
               .name = name.str() + "-key",
               .tolerate_exists = true,
               .why = "test"};
      a.making = Making{.what = "copy", .secrets = {{"ns", "source"}}};
      out.actions.push_back(std::move(a));
      return out;
    };
  }
};

}  // namespace

TEST_CASE("actor: a body that only an effect can make is made from what its Secrets hold, just before the write") {
  constexpr Resource secrets{"", "v1", "secrets", "Secret", true};
  SimWorld world(5);
  SimApi api(world);
  ManagerOptions options;
  std::vector<std::string> given;
  options.make = [&](const std::string& what, const std::vector<std::string>& found, WallTime) -> Result<std::string> {
    given.push_back(what);
    if (found.size() != 1) return fail(Code::invalid, "one Secret is needed");
    const auto color = json::parse(found[0])["data"]["color"].get<std::string>();
    return json{{"metadata", {{"name", "w-key"}, {"namespace", "ns"}}}, {"spec", {{"color", color}}}}.dump();
  };
  const bool there = GENERATE(true, false);
  if (there)
    REQUIRE(api.request({.verb = Verb::create,
                         .resource = &secrets,
                         .name_space = "ns",
                         .body = R"({"metadata":{"name":"source","namespace":"ns"},"data":{"color":"blue"}})"}));
  make_widget(api, "w", 0);
  Process p(world, api, {}, {}, std::make_unique<KeyLoop>(), options);
  world.run_for(30s);
  if (there) {
    REQUIRE(api.get(parts, "ns", "w-key"));
    CHECK(json::parse(*api.get(parts, "ns", "w-key"))["spec"]["color"] == "blue");
    CHECK(given.at(0) == "copy");
  } else {
    CHECK_FALSE(api.get(parts, "ns", "w-key"));
    CHECK(given.empty());  // what it needs isn't there: it is never asked
  }
}

TEST_CASE("actor: a body that nobody can make is not sent") {
  SimWorld world(6);
  SimApi api(world);
  make_widget(api, "w", 0);
  Process p(world, api, {}, {}, std::make_unique<KeyLoop>());
  world.run_for(30s);
  CHECK(api.count(parts) == 0);
}
