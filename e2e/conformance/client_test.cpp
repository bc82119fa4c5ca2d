// The client against a real kube-apiserver (ENDSTATE_TEST_KUBECONFIG: an administrator of a cluster that may be written to).
#include <poll.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "e2e/conformance/cluster.hpp"
#include "reconcile/cache/caches.hpp"
#include "reconcile/kube/api_error.hpp"
#include "reconcile/kube/core.hpp"
#include "reconcile/kube/curl_env.hpp"
#include "reconcile/kube/test_server.hpp"
#include "reconcile/kube/url.hpp"

using namespace reconcile;
using namespace std::chrono_literals;
using endstate::conformance::administrator;
using nlohmann::json;

namespace {

constexpr Resource config_maps{"", "v1", "configmaps", "ConfigMap"};
constexpr Resource nodes{"", "v1", "nodes", "Node", false};
constexpr Resource leases{"coordination.k8s.io", "v1", "leases", "Lease"};

struct Reply {
  std::vector<std::string> frames;
  std::optional<Result<void>> end;
  bool ok() const { return end && end->has_value(); }
  json body() const { return json::parse(frames.at(0)); }
  Error error() const { return end && !end->has_value() ? end->error() : Error{Code::cancelled, "no error", {}, {}}; }
};

void run_until(CurlEnv& env, const std::function<bool()>& done, std::chrono::seconds limit = 60s) {
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
  REQUIRE(done());
}

Handle begin(CurlEnv& env, Call call, Reply& reply) {
  return env.call(
      std::move(call),
      [&reply](std::string_view frame) {
        if (!frame.empty()) reply.frames.emplace_back(frame);  // a watch's header
      },
      [&reply](Result<void> result) { reply.end = std::move(result); });
}

Reply ask(CurlEnv& env, Call call) {
  Reply reply;
  const auto handle = begin(env, std::move(call), reply);
  run_until(env, [&] { return reply.end.has_value(); });
  return reply;
}

// Names of this run's own, so that runs don't meet.
struct Run {
  std::vector<int> versions;
  CurlEnv env{{.user_agent = "endstate-test", .observer = [this](const Exchange& e) { versions.push_back(e.http_version); }},
              administrator()};
  std::string label = "run-" + std::to_string(env.random() % 1'000'000'000);
  std::string name(const std::string& suffix) const { return label + "-" + suffix; }
  std::string selector() const { return encode_query({{"labelSelector", "run=" + label}}); }
  json config_map(const std::string& suffix, const std::string& value = "v") const {
    return {{"apiVersion", "v1"},
            {"kind", "ConfigMap"},
            {"metadata", {{"name", name(suffix)}, {"namespace", "default"}, {"labels", {{"run", label}}}}},
            {"data", {{"k", value}}}};
  }
  Call on(Verb verb, const std::string& suffix, const json& body = nullptr, std::string query = {}) const {
    return {.verb = verb,
            .resource = &config_maps,
            .name_space = "default",
            .name = suffix.empty() ? "" : name(suffix),
            .query = std::move(query),
            .body = body.is_null() ? "" : body.dump()};
  }
  Reply make(const std::string& suffix) { return ask(env, on(Verb::create, suffix, config_map(suffix))); }
  ~Run() {
    for (const auto& item : ask(env, on(Verb::list, "", nullptr, selector())).frames)
      if (const auto object = json::parse(item); object["metadata"].contains("name"))
        ask(env, {.verb = Verb::remove,
                  .resource = &config_maps,
                  .name_space = "default",
                  .name = object["metadata"]["name"].get<std::string>()});
  }
};

// Stands between a client and the API server; can cut all connections, or freeze those that are open.
class Forwarder {
 public:
  explicit Forwarder(const Endpoint& to) : to_(to), server_([this](int socket) { forward(socket); }) {}
  int port() const { return server_.port(); }
  int accepted() const { return server_.accepted(); }
  void cut() { server_.drop_all(); }
  void freeze() { ++generation_; }
  void stop(bool on) { stopped_ = on; }  // SIGSTOP of the server: connections are taken, nothing is read or said until it goes on

 private:
  void forward(int client) {
    const int mine = generation_;
    const int upstream = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(to_.port)));
    inet_pton(AF_INET, to_.host.c_str(), &address.sin_addr);
    if (connect(upstream, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0)
      while (pump(client, upstream, mine)) {
      }
    close(upstream);
  }
  bool pump(int client, int upstream, int mine) {
    if (stopped_) {
      std::this_thread::sleep_for(20ms);
      return true;
    }
    if (generation_ != mine) {  // says nothing more, but stays open until its client gives up
      char c = 0;
      while (recv(client, &c, 1, 0) > 0) {
      }
      return false;
    }
    pollfd fds[] = {{client, POLLIN, 0}, {upstream, POLLIN, 0}};
    if (poll(fds, 2, 20) < 0) return false;
    char buffer[16384];
    for (int i = 0; i < 2; ++i) {
      if (fds[i].revents == 0) continue;
      const auto n = recv(fds[i].fd, buffer, sizeof buffer, 0);
      if (n <= 0) return false;
      for (ssize_t at = 0; at < n;) {
        const auto sent = send(fds[1 - i].fd, buffer + at, static_cast<std::size_t>(n - at), MSG_NOSIGNAL);
        if (sent <= 0) return false;
        at += sent;
      }
    }
    return true;
  }
  const Endpoint to_;
  std::atomic<int> generation_{0};
  std::atomic<bool> stopped_{false};
  test::LoopbackServer server_;
};

}  // namespace

TEST_CASE("an object's life", "[integration][client]") {
  Run run;
  const auto made = run.make("a");
  REQUIRE(made.ok());
  const std::string uid = made.body()["metadata"]["uid"], version = made.body()["metadata"]["resourceVersion"];
  CHECK(run.make("a").error().code == Code::exists);
  CHECK(run.make("a").error().reason == "AlreadyExists");
  CHECK(ask(run.env, run.on(Verb::get, "a")).body()["metadata"]["uid"] == uid);

  auto patched =
      ask(run.env, run.on(Verb::merge_patch, "a", {{"metadata", {{"uid", uid}, {"resourceVersion", version}}}, {"data", {{"k", "w"}}}}));
  REQUIRE(patched.ok());
  CHECK(patched.body()["data"]["k"] == "w");
  CHECK(ask(run.env, run.on(Verb::merge_patch, "a", {{"metadata", {{"resourceVersion", version}}}, {"data", {{"k", "x"}}}})).error().code ==
        Code::conflict);
  CHECK(ask(run.env, run.on(Verb::json_patch, "a", json::array({{{"op", "test"}, {"path", "/data/k"}, {"value", "no"}}}))).error().code ==
        Code::invalid);
  CHECK(ask(run.env, run.on(Verb::json_patch, "a", json::array({{{"op", "replace"}, {"path", "/data/k"}, {"value", "y"}}})))
            .body()["data"]["k"] == "y");

  auto applied = run.config_map("a", "z");
  CHECK(ask(run.env, run.on(Verb::apply, "a", applied, apply_query("tester"))).body()["data"]["k"] == "z");
  applied["metadata"]["uid"] = "11111111-2222-3333-4444-555555555555";
  const auto another = ask(run.env, run.on(Verb::apply, "a", applied, apply_query("tester"))).error();
  CAPTURE(another.message);
  CHECK(another.code == Code::conflict);
  auto updated = run.config_map("a", "u");
  updated["metadata"]["resourceVersion"] = version;
  CHECK(ask(run.env, run.on(Verb::update, "a", updated)).error().code == Code::conflict);
  updated["metadata"].erase("resourceVersion");
  CHECK(ask(run.env, run.on(Verb::update, "a", updated)).body()["data"]["k"] == "u");

  auto wrong = run.on(Verb::remove, "a");
  wrong.body = delete_options("11111111-2222-3333-4444-555555555555", "");
  CHECK(ask(run.env, wrong).error().code == Code::conflict);
  wrong.body = delete_options(uid, "", "Background");
  CHECK(ask(run.env, wrong).ok());
  CHECK(ask(run.env, wrong).error().code == Code::not_found);
  CHECK(ask(run.env, run.on(Verb::get, "a")).error().code == Code::not_found);
  CHECK_FALSE(run.versions.empty());
  CHECK(std::set<int>(run.versions.begin(), run.versions.end()) == std::set<int>{20});  // HTTP/2 throughout
}

TEST_CASE("status is a subresource, and errors name fields", "[integration][client]") {
  Run run;
  const std::string name = run.name("node");
  REQUIRE(ask(run.env, {.verb = Verb::create,
                        .resource = &nodes,
                        .body = json{{"apiVersion", "v1"}, {"kind", "Node"}, {"metadata", {{"name", name}}}}.dump()})
              .ok());
  const auto status = ask(run.env, {.verb = Verb::apply,
                                    .resource = &nodes,
                                    .name = name,
                                    .subresource = "status",
                                    .query = apply_query("tester"),
                                    .body = json{{"apiVersion", "v1"},
                                                 {"kind", "Node"},
                                                 {"metadata", {{"name", name}}},
                                                 {"status", {{"conditions", {{{"type", "Ready"}, {"status", "True"}}}}}}}
                                                .dump()});
  REQUIRE(status.ok());
  CHECK(status.body()["status"]["conditions"][0]["type"] == "Ready");
  const auto invalid = ask(run.env, {.verb = Verb::create,
                                     .resource = &leases,
                                     .name_space = "default",
                                     .body = json{{"apiVersion", "coordination.k8s.io/v1"},
                                                  {"kind", "Lease"},
                                                  {"metadata", {{"name", run.name("l")}}},
                                                  {"spec", {{"leaseDurationSeconds", -5}}}}
                                                 .dump()})
                           .error();
  CHECK(invalid.code == Code::invalid);
  CHECK(invalid.reason == "Invalid");
  CHECK_THAT(invalid.message, Catch::Contains("spec.leaseDurationSeconds"));
  CHECK(ask(run.env, {.verb = Verb::create, .resource = &leases, .name_space = "default", .body = "{nonsense"}).error().code ==
        Code::invalid);
  CHECK(ask(run.env, {.verb = Verb::remove, .resource = &nodes, .name = name}).ok());
}

TEST_CASE("lists and their pages", "[integration][client]") {
  Run run;
  const auto none = ask(run.env, run.on(Verb::list, "", nullptr, run.selector()));
  REQUIRE(none.ok());
  REQUIRE(none.frames.size() == 1);
  CHECK_FALSE(none.body()["metadata"]["resourceVersion"].get<std::string>().empty());
  for (const auto* suffix : {"a", "b", "c"}) REQUIRE(run.make(suffix).ok());
  const auto all = ask(run.env, run.on(Verb::list, "", nullptr, run.selector()));
  REQUIRE(all.frames.size() == 4);
  CHECK(json::parse(all.frames[2])["metadata"]["name"] == run.name("c"));
  const auto page = ask(run.env, run.on(Verb::list, "", nullptr, run.selector() + "&limit=2"));
  REQUIRE(page.frames.size() == 3);
  const std::string more = json::parse(page.frames[2])["metadata"]["continue"];
  const auto rest =
      ask(run.env, run.on(Verb::list, "", nullptr, run.selector() + "&" + encode_query({{"limit", "2"}, {"continue", more}})));
  REQUIRE(rest.frames.size() == 2);
  CHECK(json::parse(rest.frames[0])["metadata"]["name"] == run.name("c"));
  auto everywhere = run.on(Verb::list, "", nullptr, run.selector());
  everywhere.name_space.clear();
  CHECK(ask(run.env, everywhere).frames.size() == 4);
}

TEST_CASE("watches: events, bookmarks, streaming lists, and a version that is too new", "[integration][client]") {
  Run run;
  REQUIRE(run.make("a").ok());
  const auto listed = ask(run.env, run.on(Verb::list, "", nullptr, run.selector()));
  const std::string version = json::parse(listed.frames.back())["metadata"]["resourceVersion"];

  Reply watched;
  const auto handle =
      begin(run.env, run.on(Verb::watch, "", nullptr, run.selector() + "&timeoutSeconds=3&resourceVersion=" + version), watched);
  REQUIRE(run.make("b").ok());
  REQUIRE(ask(run.env, run.on(Verb::merge_patch, "b", {{"data", {{"k", "w"}}}})).ok());
  REQUIRE(ask(run.env, run.on(Verb::remove, "a")).ok());
  run_until(run.env, [&] { return watched.frames.size() >= 3; });
  const auto type = [&](std::size_t i) { return json::parse(watched.frames.at(i))["type"].get<std::string>(); };
  CHECK((type(0) == "ADDED" && type(1) == "MODIFIED" && type(2) == "DELETED"));
  run_until(run.env, [&] { return watched.end.has_value(); });
  CHECK(watched.ok());  // the server ends it in time

  Reply streamed;
  const auto streaming =
      begin(run.env,
            run.on(Verb::watch, "", nullptr,
                   run.selector() + "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"),
            streamed);
  run_until(run.env, [&] { return streamed.frames.size() >= 2; });
  CHECK(json::parse(streamed.frames[0])["object"]["metadata"]["name"] == run.name("b"));
  CHECK(json::parse(streamed.frames[1])["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true");

  const auto late = ask(run.env, run.on(Verb::list, "", nullptr, "resourceVersion=99999999999&resourceVersionMatch=NotOlderThan")).error();
  CHECK(late.code == Code::unavailable);
  CHECK(late.reason == "ResourceVersionTooLarge");
}

TEST_CASE("a watch from a version that is gone", "[integration][client]") {
  Run run;
  const std::string group = run.label + ".example.com", name = "widgets." + group;
  const Resource crds{"apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false};
  const Resource widgets{group, "v1", "widgets", "Widget"};
  json definition = json::parse(R"({"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","spec":{"scope":"Namespaced",
    "names":{"plural":"widgets","singular":"widget","kind":"Widget","listKind":"WidgetList"},"versions":[{"name":"v1","served":true,
    "storage":true,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}]}})");
  definition["metadata"]["name"] = name;
  definition["spec"]["group"] = group;
  REQUIRE(ask(run.env, {.verb = Verb::create, .resource = &crds, .body = definition.dump()}).ok());
  // Its cache starts now, so it knows nothing of version 1. Served some time after the definition: until then 404, then 429 while its
  // storage is made.
  Reply old;
  for (int i = 0; i < 200; ++i) {
    old = ask(run.env, {.verb = Verb::watch, .resource = &widgets, .query = "resourceVersion=1&timeoutSeconds=5"});
    if (old.error().code != Code::not_found && old.error().code != Code::throttled) break;
    bool waited = false;
    const auto pause = run.env.at(run.env.now().mono + 50ms, [&] { waited = true; });
    run_until(run.env, [&] { return waited; });
  }
  CHECK(ask(run.env, {.verb = Verb::remove, .resource = &crds, .name = name}).ok());
  if (old.ok()) {  // in-band
    REQUIRE_FALSE(old.frames.empty());
    REQUIRE(watch_error(old.frames[0]));
    CHECK(watch_error(old.frames[0])->code == Code::gone);
    CHECK(watch_error(old.frames[0])->reason == "Expired");
  } else {
    CHECK(old.error().code == Code::gone);
  }
}

TEST_CASE("who may not, is told so", "[integration][client]") {
  auto credentials = administrator();
  credentials.client_certificate = credentials.client_key = {};
  credentials.token = {};
  CurlEnv nobody({.user_agent = "endstate-test"}, credentials);
  const auto forbidden = ask(nobody, {.verb = Verb::list, .resource = &nodes}).error();
  CHECK(forbidden.code == Code::forbidden);
  CHECK((forbidden.reason == "Forbidden" || forbidden.reason == "Unauthorized"));
  credentials.token.text = "nonsense";
  CurlEnv impostor({.user_agent = "endstate-test"}, credentials);
  CHECK(ask(impostor, {.verb = Verb::list, .resource = &nodes}).error().reason == "Unauthorized");
  Run run;
  CHECK(ask(run.env, {.verb = Verb::get, .path = "/readyz"}).frames.at(0) == "ok");
  CHECK(ask(run.env, {.verb = Verb::get, .path = "/version"}).body().contains("gitVersion"));
  CHECK(ask(run.env, {.verb = Verb::get, .path = "/openapi/v2"}).frames.at(0).size() > 1'000'000);
}

namespace {

// Follows a selection as a reflector does: an API server may end a watch at any time, and does so when it is short of CPU.
struct Follower {
  CurlEnv& env;
  Call call;
  std::string query, version;
  std::set<std::string> names{};
  bool failed = false;
  Handle handle{};
  void follow() {
    call.query = query + "&resourceVersion=" + version;
    handle = env.call(
        call,
        [this](std::string_view frame) {
          if (frame.empty()) return;  // its header
          const auto metadata = json::parse(frame)["object"]["metadata"];
          names.insert(metadata["name"].get<std::string>());
          version = metadata["resourceVersion"];
        },
        [this](const Result<void>& result) {
          failed = failed || !result;
          if (result) follow();
        });
  }
};

}  // namespace

TEST_CASE("hundreds of calls, a big list and watches share connections", "[integration][client]") {
  Run run;
  constexpr std::size_t count = 500;
  const auto listed = ask(run.env, run.on(Verb::list, "", nullptr, run.selector()));
  const std::string now = json::parse(listed.frames.back())["metadata"]["resourceVersion"];
  std::vector<Follower> followers;
  followers.reserve(8);
  for (int i = 0; i < 8; ++i) followers.push_back({run.env, run.on(Verb::watch, ""), run.selector(), now});
  for (auto& follower : followers) follower.follow();

  std::vector<Handle> handles;
  std::vector<Reply> made(count), lists(10), removed(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto suffix = "n" + std::to_string(i);
    handles.push_back(begin(run.env, run.on(Verb::create, suffix, run.config_map(suffix, std::string(3000, 'x'))), made[i]));
  }
  for (auto& reply : lists) handles.push_back(begin(run.env, run.on(Verb::list, "", nullptr, run.selector()), reply));
  run_until(run.env, [&] {
    return std::all_of(lists.begin(), lists.end(), [](const Reply& r) { return r.end.has_value(); }) &&
           std::all_of(followers.begin(), followers.end(), [](const Follower& f) { return f.failed || f.names.size() == count; });
  });
  for (const auto& reply : made) CHECK(reply.ok());
  for (const auto& reply : lists) CHECK(reply.ok());
  for (const auto& follower : followers) CHECK_FALSE(follower.failed);
  for (std::size_t i = 0; i < count; ++i) handles.push_back(begin(run.env, run.on(Verb::remove, "n" + std::to_string(i)), removed[i]));
  run_until(run.env, [&] { return std::all_of(removed.begin(), removed.end(), [](const Reply& r) { return r.ok(); }); });
}

TEST_CASE("big bodies go out side by side", "[integration][client]") {
  Run run;
  std::vector<Reply> replies(24);
  std::vector<Handle> handles;
  for (std::size_t i = 0; i < replies.size(); ++i)  // each is more than a stream's window at first
    handles.push_back(begin(
        run.env, run.on(Verb::create, "", run.config_map("big" + std::to_string(i), std::string(400'000, 'x')), "dryRun=All"), replies[i]));
  run_until(run.env, [&] { return std::all_of(replies.begin(), replies.end(), [](const Reply& r) { return r.end.has_value(); }); });
  for (const auto& reply : replies) CHECK(reply.ok());
  for (const int version : run.versions) CHECK(version == 20);
}

TEST_CASE("a connection that breaks under many calls: reads are asked again on one new connection, writes are not sent twice",
          "[integration][client]") {
  auto credentials = administrator();
  const auto endpoint = parse_server(credentials.server);
  REQUIRE(endpoint);
  Forwarder forwarder(*endpoint);
  credentials.server = "https://127.0.0.1:" + std::to_string(forwarder.port());
  CurlEnv env({.user_agent = "endstate-test"}, credentials);
  const Call get{.verb = Verb::get, .path = "/readyz"};
  const Call post{.verb = Verb::create,
                  .resource = &leases,
                  .name_space = "default",
                  .query = "dryRun=All",
                  .body = R"({"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"generateName":"dry-"}})"};
  CHECK(ask(env, get).ok());
  // Idle, and closed by the server: nobody is told.
  forwarder.cut();
  std::this_thread::sleep_for(100ms);
  CHECK(ask(env, post).ok());
  CHECK(forwarder.accepted() == 2);
  // In use.
  forwarder.freeze();
  std::vector<Reply> reads(40), writes(10);
  std::vector<Handle> handles;
  for (auto& reply : reads) handles.push_back(begin(env, get, reply));
  for (auto& reply : writes) handles.push_back(begin(env, post, reply));
  bool cut = false;
  const auto later = env.at(env.now().mono + 300ms, [&] {
    forwarder.cut();
    cut = true;
  });
  const auto ended = [](const std::vector<Reply>& all) {
    return std::all_of(all.begin(), all.end(), [](const Reply& r) { return r.end.has_value(); });
  };
  run_until(env, [&] { return ended(reads) && ended(writes); });
  CHECK(cut);
  for (const auto& reply : reads) CHECK(reply.ok());
  for (const auto& reply : writes) CHECK(reply.error().code == Code::maybe_done);
  CHECK(forwarder.accepted() == 3);
  CHECK(ask(env, post).ok());
}

TEST_CASE("cut and frozen connections", "[integration][client]") {
  auto credentials = administrator();
  const auto endpoint = parse_server(credentials.server);
  REQUIRE(endpoint);
  Forwarder forwarder(*endpoint);
  credentials.server = "https://127.0.0.1:" + std::to_string(forwarder.port());
  std::vector<int> versions;
  CurlEnv env({.user_agent = "endstate-test", .observer = [&](const Exchange& e) { versions.push_back(e.http_version); }}, credentials);
  const Call get{.verb = Verb::get, .path = "/readyz", .timeout = 500ms};
  const Call post{.verb = Verb::create,
                  .resource = &leases,
                  .name_space = "default",
                  .body = R"({"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"generateName":"dry-"}})",
                  .timeout = 500ms};
  Reply watched;
  const auto handle = begin(env, {.verb = Verb::watch, .resource = &nodes, .timeout = 30s}, watched);
  CHECK(ask(env, get).ok());
  CHECK(ask(env, get).ok());
  CHECK(forwarder.accepted() == 2);

  forwarder.cut();
  CHECK(ask(env, get).ok());
  run_until(env, [&] { return watched.end.has_value(); });
  CHECK(watched.error().code == Code::unavailable);
  CHECK(forwarder.accepted() == 3);

  // A peer that is gone but whose connection stands: the first call learns it, the next one gets through.
  forwarder.freeze();
  CHECK(ask(env, get).error().code == Code::unavailable);
  CHECK(ask(env, get).ok());
  forwarder.freeze();
  auto dry = post;
  dry.query = "dryRun=All";
  CHECK(ask(env, dry).error().code == Code::maybe_done);
  CHECK(ask(env, dry).ok());
  CHECK(forwarder.accepted() == 5);
}

// With short times: a watch is asked for again after 2 s of silence, and without contact after 4.
TEST_CASE("sight: a resting kind is not out of it, a server that is frozen is, and the gap's changes are seen before it is over",
          "[integration][client][sight]") {
  Run run;
  auto credentials = administrator();
  const auto endpoint = parse_server(credentials.server);
  REQUIRE(endpoint);
  Forwarder forwarder(*endpoint);
  credentials.server = "https://127.0.0.1:" + std::to_string(forwarder.port());
  CurlEnv env({.user_agent = "endstate-test", .server_time = true}, credentials);
  Caches caches(env, no_log(), {.quiet = 2s, .contact = 4s});
  int changes = 0;
  caches.on_sight([&](std::string_view) { ++changes; });
  caches.watch("", {.kind = &kind_of<ConfigMap>, .name_space = "default", .selector = run.selector()});
  run_until(
      env, [&] { return caches.sight("").seen; }, 20s);
  const auto rest = env.now().mono + 15s;
  run_until(
      env, [&] { return env.now().mono >= rest; }, 20s);
  CHECK(changes == 1);
  CHECK(caches.states().front().relists == 1);

  const auto frozen = env.now().wall;
  forwarder.stop(true);
  run_until(
      env, [&] { return !caches.sight("").seen; }, 8s);
  CHECK(caches.sight("").since <= frozen + 1s);
  CHECK(caches.sight("").since >= frozen - 5s);
  REQUIRE(run.make("unseen").ok());
  CHECK(caches.states().front().lag > 3s);
  forwarder.stop(false);
  run_until(
      env, [&] { return caches.sight("").seen; }, 60s);
  CHECK(caches.get<ConfigMap>("", "default", run.name("unseen")));
  REQUIRE(ask(run.env, run.on(Verb::remove, "unseen")).ok());
}
