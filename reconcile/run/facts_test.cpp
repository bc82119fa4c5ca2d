#include "reconcile/run/facts.hpp"

#include <catch2/catch.hpp>

#include "reconcile/cache/record_size.hpp"
#include "reconcile/kube/core.hpp"
#include "reconcile/kube/kind.hpp"
#include "reconcile/sim/sim_api.hpp"
#include "reconcile/sim/sim_env.hpp"

using namespace reconcile;
using namespace std::chrono_literals;

namespace {

constexpr Resource secrets{"", "v1", "secrets", "Secret", true};

struct World {
  SimWorld world{1};
  SimApi api{world};
  SimEnv env{world, "p"};
  Pool pool;
  Facts facts;
  Inquiries asking;
  std::vector<HttpCall> seen;
  int answers = 0;
  Result<HttpAnswer> reply = HttpAnswer{200, "ok"};

  World() {
    env.serve("", api);
    env.on_http = [this](const HttpCall& call) {
      seen.push_back(call);
      return reply;
    };
  }
  void make(const Resource& resource, const std::string& body) {
    REQUIRE(api.request({.verb = Verb::create, .resource = &resource, .name_space = "ns", .body = body}));
  }
  void ask(const std::vector<Query>& queries) {
    std::ignore = ask_facts(env, pool, queries, facts, [] {});
    ask_http(env, queries, facts, asking, [this] { ++answers; });
  }
  const Fact& fact(const std::string& id) {
    world.run_for(1s);
    REQUIRE(facts.count(id) == 1);
    return facts.at(id);
  }
};

Query query(const std::string& id, HttpQuery http, std::chrono::milliseconds max_age = 10s) {
  Query q{.id = id, .max_age = max_age};
  q.http = std::move(http);
  return q;
}

}  // namespace

TEST_CASE("facts: a review is posted, and its answer is the fact", "[facts]") {
  World w;
  constexpr Resource pods{"", "v1", "pods", "Pod"};
  std::vector<Call> sent;
  w.env.on_send = [&](const Call& c) { sent.push_back(c); };
  w.api.review = [](const Call& c) { return c.body; };
  Query q{.id = "r", .resource = &pods, .name_space = "n", .name = "p", .max_age = 1h};
  q.body = R"({"metadata":{"name":"x"},"spec":{"namespace":"n"}})";
  const auto held = ask_facts(w.env, w.pool, {q}, w.facts, [] {});
  REQUIRE(w.fact("r").body);
  CHECK(w.fact("r").body->find("\"namespace\":\"n\"") != std::string::npos);
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].verb == Verb::create);
  REQUIRE(sent[0].resource);
  CHECK(sent[0].resource->plural == "selfsubjectrulesreviews");  // whatever resource the query names: nothing else can be written so
  CHECK(sent[0].name.empty());
  CHECK_FALSE(ask_facts(w.env, w.pool, {q}, w.facts, [] {}));  // young enough
}

TEST_CASE("facts: an HTTP exchange, answered with its time, asked again when it is old", "[facts]") {
  World w;
  const std::vector<Query> q{query("a", {.method = "HEAD", .url = "http://x/q", .timeout = 3s, .max_bytes = 100})};
  w.ask(q);
  w.ask(q);  // under way: not twice
  const auto& f = w.fact("a");
  CHECK(*f.body == "ok");
  CHECK(f.status == 200);
  CHECK(f.time > w.env.now().wall - 2s);
  CHECK(f.at > w.env.now().mono - 2s);
  REQUIRE(w.seen.size() == 1);
  CHECK(w.seen[0].method == "HEAD");
  CHECK(w.seen[0].timeout == 3s);
  CHECK(w.seen[0].max_bytes == 100);
  CHECK(w.answers == 1);
  w.ask(q);
  w.world.run_for(1s);
  CHECK(w.seen.size() == 1);  // young enough
  w.world.run_for(10s);
  w.ask(q);
  w.world.run_for(1s);
  CHECK(w.seen.size() == 2);
}

TEST_CASE("facts: another question under the same id is another question; what is not asked any more is dropped", "[facts]") {
  World w;
  w.ask({query("a", {.url = "http://x/1"})});
  CHECK(*w.fact("a").body == "ok");
  w.reply = HttpAnswer{400, "no"};
  w.ask({query("a", {.url = "http://x/2"})});
  CHECK(w.facts.count("a") == 0);  // an answer to the first is none to the second
  CHECK(w.fact("a").status == 400);
  CHECK(*w.fact("a").body == "no");
  w.ask({query("a", {.url = "http://x/3"})});
  w.ask({});
  w.world.run_for(1s);
  CHECK(w.facts.empty());
  CHECK(w.asking.empty());
  CHECK(w.seen.size() == 2);
}

TEST_CASE("facts: token and CA are read at each use and stand in no error", "[facts]") {
  World w;
  HttpQuery http{.url = "https://x/q"};
  http.bearer_token = KeyRef{"ns", "prom", "token"};
  http.ca = KeyRef{"ns", "prom-ca", "ca.crt"};
  const auto once = [&] {
    w.facts.clear();
    w.ask({query("a", http)});
    return w.fact("a");
  };
  CHECK(once().body.error().message == "Secret ns/prom: doesn't exist");
  CHECK(once().body.error().code == Code::not_found);
  w.make(secrets, R"({"metadata":{"name":"prom"},"data":{"other":"aGlkZGVuCg==","bad":"???"}})");
  CHECK(once().body.error().message == "Secret ns/prom: has no key token");
  REQUIRE(w.api.request({.verb = Verb::merge_patch,
                         .resource = &secrets,
                         .name_space = "ns",
                         .name = "prom",
                         .body = R"({"data":{"token":"aGlkZGVuCg=="}})"}));  // "hidden\n"
  CHECK(once().body.error().message == "ConfigMap ns/prom-ca: doesn't exist");
  w.make(resource_of<ConfigMap>, R"({"metadata":{"name":"prom-ca"},"data":{"ca.crt":"PEM"}})");
  CHECK(w.seen.empty());
  CHECK(*once().body == "ok");
  CHECK(w.seen.back().bearer_token == "hidden");
  CHECK(w.seen.back().ca_pem == "PEM");
  REQUIRE(w.api.request(
      {.verb = Verb::merge_patch, .resource = &secrets, .name_space = "ns", .name = "prom", .body = R"({"data":{"token":"bmV3"}})"}));
  w.reply = fail(Code::unavailable, "connection refused");
  const auto refused = once();
  CHECK(w.seen.back().bearer_token == "new");
  CHECK(refused.status == 0);
  CHECK(refused.body.error().message == "connection refused");
}

TEST_CASE("facts: 32 questions of a plan, 8 of them lists", "[facts]") {
  World w;
  std::vector<Query> queries;
  for (int i = 0; i < 10; ++i)
    queries.push_back({.id = "list" + std::to_string(i), .resource = &resource_of<ConfigMap>, .name_space = "ns"});
  for (int i = 0; i < 40; ++i) queries.push_back(query("h" + std::to_string(i), {.url = "http://x/" + std::to_string(i)}));
  int lists = 0;
  w.env.on_send = [&](const Call& c) { lists += c.verb == Verb::list; };
  const auto handle = ask_facts(w.env, w.pool, queries, w.facts, [] {});
  ask_http(w.env, queries, w.facts, w.asking, [] {});
  w.world.run_for(1s);
  CHECK(lists == 8);
  CHECK(w.seen.size() == 24);
}

namespace {

struct Crowd : World {
  explicit Crowd(int pods, std::size_t bytes = 100) {
    const std::string env_value(bytes, 'x');
    for (int i = 0; i < pods; ++i)
      make(resource_of<Pod>, R"({"metadata":{"name":"pod-)" + std::to_string(i) + R"(","annotations":{"a":")" +
                                 (bytes > 1'000 ? "" : env_value) +
                                 R"("}},"spec":{"nodeName":"n1","containers":[{"env":[{"name":"X","value":")" + env_value + R"("}]}]}})");
  }
  Query pods(std::string more = {}) const {
    return {.id = "pods", .resource = &resource_of<Pod>, .query = "fieldSelector=spec.nodeName%3Dn1" + more, .items = &kind_of<Pod>};
  }
  const Fact& read(const Query& q) {
    handle = ask_facts(env, pool, {q}, facts, [this] { ++done; });
    REQUIRE(handle);
    world.run_for(30s);
    REQUIRE(done == 1);
    return facts.at("pods");
  }
  Handle handle;
  int done = 0;
};

}  // namespace

TEST_CASE("facts: a list of records is read page by page and its text is not kept", "[facts]") {
  Crowd w(1'201);
  std::vector<std::string> asked;
  w.env.on_send = [&](const Call& c) { asked.push_back(c.query); };
  const auto& f = w.read(w.pods());
  REQUIRE(f.body);
  CHECK(f.body->empty());
  CHECK(f.items.size() == 1'201);
  CHECK(static_cast<const Pod*>(f.items[0].get())->metadata.name == "pod-0");
  REQUIRE(asked.size() == 3);
  CHECK(asked[0] == "fieldSelector=spec.nodeName%3Dn1&limit=500");
  CHECK(asked[2].find("&limit=500&continue=") != std::string::npos);
}

TEST_CASE("facts: a list from the API server's memory is one page, for that knows no limit", "[facts]") {
  Crowd w(600);
  int calls = 0;
  w.env.on_send = [&](const Call& c) { calls += c.verb == Verb::list; };
  CHECK(w.read(w.pods("&resourceVersion=0")).items.size() == 600);
  CHECK(calls == 1);
}

TEST_CASE("facts: what is missing of a list never looks as if it were gone", "[facts]") {
  SECTION("too many") {
    Crowd w(4'097);
    const auto& f = w.read(w.pods());
    REQUIRE(!f.body);
    CHECK(f.body.error().code == Code::invalid);
    CHECK(f.body.error().message == "list pods: more than 4096 items");
    CHECK(f.items.empty());
  }
  SECTION("too big") {
    Crowd w(0);
    for (int i = 0; i < 20; ++i)
      w.make(resource_of<Pod>, R"({"metadata":{"name":"pod-)" + std::to_string(i) + R"(","annotations":{"a":")" +
                                   std::string(1u << 20, static_cast<char>('a' + i)) + R"("}},"spec":{"nodeName":"n1"}})");
    CHECK(w.read(w.pods()).body.error().message == "list pods: more than 16 MiB of items");
  }
  SECTION("one can't be read") {
    Crowd w(3);
    w.make(resource_of<Pod>, R"({"metadata":{"name":"z"},"spec":{"nodeName":"n1"},"status":{"containerStatuses":"all"}})");
    const auto& f = w.read(w.pods());
    REQUIRE(!f.body);
    CHECK(f.body.error().message.find("an item can't be read: status.containerStatuses") != std::string::npos);
    CHECK(f.items.empty());
  }
  SECTION("the API server has forgotten where the page before ended") {
    SimWorld world(1);
    SimApi api(world, {.continue_expires = true});
    SimEnv env(world, "p");
    env.serve("", api);
    Pool pool;
    Facts facts;
    for (int i = 0; i < 501; ++i)
      REQUIRE(api.request({.verb = Verb::create,
                           .resource = &resource_of<Pod>,
                           .name_space = "ns",
                           .body = R"({"metadata":{"name":"p)" + std::to_string(i) + "\"}}"}));
    int calls = 0;
    env.on_send = [&](const Call&) { ++calls; };
    const Query q{.id = "pods", .resource = &resource_of<Pod>, .items = &kind_of<Pod>};
    const auto handle = ask_facts(env, pool, {q}, facts, [] {});
    world.run_for(30s);
    REQUIRE(facts.contains("pods"));
    CHECK(facts.at("pods").body.error().code == Code::gone);  // tried twice from the start, then told
    CHECK(calls == 4);
  }
}

TEST_CASE("facts: the pods of a thousand draining nodes fit into 64 MiB", "[facts]") {
  Crowd w(60, 12'000);
  const auto& f = w.read(w.pods());
  REQUIRE(f.items.size() == 60);
  std::size_t bytes = f.items.capacity() * sizeof(f.items[0]);
  for (const auto& pod : f.items) bytes += record_size(type_of<Pod>, pod.get()) + 16 /* its count of owners */;
  CHECK(bytes > 60 * 100);
  CHECK(1'000 * bytes <= (64u << 20));
}
