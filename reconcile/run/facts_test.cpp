#include "reconcile/run/facts.hpp"

#include <catch2/catch.hpp>

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
    std::ignore = ask_facts(env, queries, facts, [] {});
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
  const auto handle = ask_facts(w.env, queries, w.facts, [] {});
  ask_http(w.env, queries, w.facts, w.asking, [] {});
  w.world.run_for(1s);
  CHECK(lists == 8);
  CHECK(w.seen.size() == 24);
}
