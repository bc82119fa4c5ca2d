#include "reconcile/kube/curl_env.hpp"

#include <arpa/inet.h>
#include <httplib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <thread>

#include "reconcile/kube/api_error.hpp"
#include "reconcile/kube/test_server.hpp"
#include "reconcile/kube/url.hpp"

using namespace reconcile;
using namespace std::chrono_literals;
using test::Peer;
using test::Pki;
using test::ScriptedServer;

namespace {

constexpr Resource machines{"endstate.dev", "v1alpha1", "machines", "Machine"};
constexpr Resource nodes{"", "v1", "nodes", "Node", false};
constexpr Resource pods{"", "v1", "pods", "Pod"};

const Pki& pki() {
  static const Pki made;
  return made;
}

Credentials to(const std::string& server) {
  Credentials c;
  c.server = server;
  c.origin = "test";
  c.ca.text = pki().ca.certificate_pem();
  c.token.text = "secret-token";
  return c;
}

Call get(std::string path, std::chrono::milliseconds timeout = 10s) {
  return {.verb = Verb::get, .path = std::move(path), .timeout = timeout};
}
Call create(std::chrono::milliseconds timeout = 10s) {
  return {.verb = Verb::create, .resource = &machines, .name_space = "a", .name = "m", .body = "{\"a\":1}", .timeout = timeout};
}
Call list(std::chrono::milliseconds timeout = 10s) { return {.verb = Verb::list, .resource = &nodes, .timeout = timeout}; }
Call watch(std::chrono::milliseconds silence = 10s) { return {.verb = Verb::watch, .resource = &nodes, .timeout = silence}; }

struct Reply {
  std::vector<std::string> frames;
  std::optional<Result<void>> end;
  bool ok() const { return end && end->has_value(); }
  std::string body() const { return frames.empty() ? "" : frames.front(); }
  Error error() const { return end && !end->has_value() ? end->error() : Error{Code::cancelled, "no error", {}, {}}; }
};

// Runs the env until `done` or 20 s have passed.
void run_until(CurlEnv& env, const std::function<bool()>& done) {
  const auto until = env.now().mono + 20s;
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

std::string status_body(int code, const std::string& reason, const std::string& message) {
  return R"({"kind":"Status","apiVersion":"v1","status":"Failure","message":")" + message + R"(","reason":")" + reason +
         "\",\"code\":" + std::to_string(code) + "}";
}

// An HTTP server as the programs have them; answers by path.
struct HttpServer {
  httplib::SSLServer server{pki().server.certificate.get(), pki().server.key.get()};
  int port = 0;
  std::thread thread;
  std::mutex mutex;
  std::map<std::string, int> asked;
  httplib::Request last;
  template <class F>
  explicit HttpServer(F answer) {
    const auto handler = [this, answer](const httplib::Request& request, httplib::Response& response) {
      int count = 0;
      {
        const std::lock_guard lock(mutex);
        last = request;
        count = ++asked[request.path];
      }
      answer(request, response, count);
    };
    for (const char* const any : {".*"})
      server.Get(any, handler).Post(any, handler).Put(any, handler).Patch(any, handler).Delete(any, handler);
    port = server.bind_to_any_port("127.0.0.1");
    thread = std::thread([this] { server.listen_after_bind(); });
    while (!server.is_running()) std::this_thread::sleep_for(1ms);
  }
  ~HttpServer() {
    server.stop();
    thread.join();
  }
  std::string url() const { return "https://127.0.0.1:" + std::to_string(port); }
};

}  // namespace

TEST_CASE("replies of a server become frames and errors", "[curl_env]") {
  HttpServer server([](const httplib::Request& request, httplib::Response& response, int) {
    if (request.path.rfind("/status/", 0) == 0) {
      response.status = std::stoi(request.path.substr(8));
      response.set_content(status_body(response.status, response.status == 409 ? "AlreadyExists" : "", "because"), "application/json");
    } else if (request.path == "/html") {
      response.status = 502;
      response.set_content("<html>bad gateway</html>", "text/html");
    } else if (request.path == "/moved") {
      response.set_redirect("https://elsewhere.example/");
    } else {
      response.set_content(request.method + " " + request.target + " " + request.get_header_value("Content-Type") + " " + request.body,
                           "text/plain");
    }
  });
  std::vector<std::string> seen;
  CurlEnv env({.user_agent = "endstate/9",
               .observer =
                   [&](const Exchange& e) {
                     seen.push_back(std::string(e.verb) + " " + std::string(e.resource) + " " + std::string(e.subresource) + " " +
                                    std::to_string(e.status) + " " + std::to_string(e.http_version) + " " + std::to_string(e.bytes));
                     CHECK(e.took > 0ns);
                     CHECK(e.waited >= 0ns);
                   }},
              to(server.url()));

  CHECK(ask(env, get("/readyz")).body() == "GET /readyz  ");
  CHECK(server.last.get_header_value("User-Agent") == "endstate/9");
  CHECK(server.last.get_header_value("Authorization") == "Bearer secret-token");
  CHECK(server.last.get_header_value("Accept") == "application/json");
  CHECK_FALSE(server.last.has_header("Accept-Encoding"));
  CHECK(ask(env, create()).body() == R"(POST /apis/endstate.dev/v1alpha1/namespaces/a/machines application/json {"a":1})");
  CHECK(ask(env, {.verb = Verb::apply, .resource = &nodes, .name = "n", .subresource = "status", .query = apply_query("x"), .body = "{}"})
            .body() == "PATCH /api/v1/nodes/n/status?fieldManager=x&force=true application/apply-patch+yaml {}");
  CHECK(ask(env, {.verb = Verb::update, .resource = &nodes, .name = "n", .body = "{}"}).body() ==
        "PUT /api/v1/nodes/n application/json {}");
  CHECK(ask(env, {.verb = Verb::remove, .resource = &nodes, .name = "n", .body = delete_options("u", "")}).body() ==
        R"(DELETE /api/v1/nodes/n application/json {"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"uid":"u"}})");
  CHECK(ask(env, {.verb = Verb::remove, .resource = &nodes, .name = "n"}).body() == "DELETE /api/v1/nodes/n  ");
  CHECK(seen.front() == "get /readyz  200 11 13");
  CHECK(seen.at(2) == "apply nodes status 200 11 86");

  const std::pair<int, Code> codes[] = {{400, Code::invalid},     {401, Code::forbidden},   {403, Code::forbidden},  {404, Code::not_found},
                                        {409, Code::exists},      {410, Code::gone},        {422, Code::invalid},    {429, Code::throttled},
                                        {500, Code::unavailable}, {503, Code::unavailable}, {504, Code::unavailable}};
  for (const auto& [status, code] : codes) {
    CAPTURE(status);
    const auto reply = ask(env, get("/status/" + std::to_string(status)));
    CHECK(reply.frames.empty());
    CHECK(reply.error().code == code);
    CHECK(reply.error().message == "get /status/" + std::to_string(status) + ": because");
    CHECK(server.asked["/status/" + std::to_string(status)] == 1);
  }
  CHECK(ask(env, get("/html")).error().message == "get /html: the server answered HTTP 502: <html>bad gateway</html>");
  const auto moved = ask(env, get("/moved")).error();
  CHECK(moved.code == Code::unavailable);
  CHECK_THAT(moved.message, Catch::Contains("redirect") && Catch::Contains("elsewhere.example"));
  CHECK(ask(env, {.verb = Verb::get, .resource = &nodes, .name = "../x"}).error().code == Code::invalid);
  CHECK(ask(env, {.cluster = "nowhere", .path = "/"}).error().code == Code::unavailable);
}

TEST_CASE("a list comes item by item, a watch event by event", "[curl_env]") {
  std::string item = R"({"metadata":{"name":"n"},"x":")" + std::string(40'000, 'x') + "\"}";
  ScriptedServer server(pki(), [&](Peer& peer) {
    for (auto request = peer.request(); !request.empty(); request = peer.request()) {
      if (request.find("GET /api/v1/nodes?watch=1 ") == 0) {
        peer.stream();
        for (const auto* part : {R"({"type":"ADD)", R"(ED","object":{}})", "\n", "{\"type\":\"MODIFIED\",\"object\":{}}\n{\"type\":\"BO",
                                 "OKMARK\",\"object\":{}}\n", "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410}}\n", ""}) {
          peer.chunk(part);
          std::this_thread::sleep_for(2ms);
        }
      } else {
        std::string body = R"({"kind":"NodeList","metadata":{"resourceVersion":"5"},"items":[)";
        for (int i = 0; i < 50; ++i) body += (i == 0 ? "" : ",") + item;
        peer.reply(200, body + "]}");
      }
    }
  });
  CurlEnv env({}, to(server.url()));
  const auto listed = ask(env, list());
  CHECK(listed.ok());
  REQUIRE(listed.frames.size() == 51);
  CHECK(listed.frames[49] == item);
  CHECK(listed.frames[50] == R"({"metadata":{"resourceVersion":"5"}})");
  const auto watched = ask(env, watch());
  CHECK(watched.ok());
  REQUIRE(watched.frames.size() == 4);
  CHECK(watched.frames[0] == R"({"type":"ADDED","object":{}})");
  CHECK(watch_error(watched.frames[3])->code == Code::gone);
  CHECK(ask(env, list()).ok());
  CHECK(ask(env, watch()).ok());
  CHECK(server.accepted() == 2);  // one connection serves all calls, one all watches
}

TEST_CASE("what a broken connection means depends on the call", "[curl_env]") {
  std::atomic<int> requests{0};
  std::atomic<int> cut{0};  // so many replies break off
  ScriptedServer server(pki(), [&](Peer& peer) {
    for (auto request = peer.request(); !request.empty(); request = peer.request()) {
      ++requests;
      const bool listing = request.find("GET /api/v1/nodes ") == 0;
      if (--cut >= 0) {
        if (listing) peer.write("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"items\":[{\"a\":1},{\"b\"");
        if (request.find("/half") != std::string::npos) peer.write("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhalf");
        return;
      }
      peer.reply(200, listing ? R"({"items":[]})" : "whole");
    }
  });
  CurlEnv env({}, to(server.url()));
  const auto after = [&](int cuts, Call call) {
    cut = cuts;
    requests = 0;
    return ask(env, std::move(call));
  };
  for (const bool reused : {false, true}) {
    CAPTURE(reused);
    if (reused) CHECK(after(0, get("/x")).ok());  // libcurl itself would repeat anything, a POST too, on a connection that it has used
    CHECK(after(1, create()).error().code == Code::maybe_done);
    CHECK(requests == 1);
    if (reused) CHECK(after(0, get("/x")).ok());
    CHECK(after(1, get("/x")).body() == "whole");
    CHECK(requests == 2);
    CHECK(after(1, get("/half")).frames == std::vector<std::string>{"whole"});
    CHECK(after(2, get("/x")).error().code == Code::unavailable);
    CHECK(requests == 2);
  }
  const auto listed = after(1, list());
  CHECK(listed.error().code == Code::unavailable);
  CHECK(listed.frames == std::vector<std::string>{R"({"a":1})"});
  CHECK(requests == 1);  // what was handed out can't be taken back
}

TEST_CASE("garbage in place of HTTP or JSON is an error", "[curl_env]") {
  std::string reply;
  ScriptedServer server(pki(), [&](Peer& peer) {
    while (!peer.request().empty())
      if (!peer.write(reply) || reply.find("chunked") == std::string::npos) return;
  });
  CurlEnv env({}, to(server.url()));
  for (const auto* text :
       {"", "nonsense\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nnonsense\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\nx\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{\"items\":[7]}\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 29\r\n\r\n{\"kind\":\"Status\",\"code\":500}\r\n"}) {
    CAPTURE(text);
    reply = text;
    const auto got = ask(env, list());
    CHECK_FALSE(got.ok());
    CHECK(got.frames.empty());
    CHECK((got.error().code == Code::unavailable || got.error().code == Code::invalid));
  }
  reply = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{\"type\":\r\n0\r\n\r\n";
  CHECK(ask(env, watch()).error().code == Code::unavailable);  // cut inside an event
}

TEST_CASE("frames and bodies have a bound", "[curl_env]") {
  ScriptedServer server(pki(), [&](Peer& peer) {
    while (!peer.request().empty()) {
      peer.write("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n{\"items\":[{\"a\":\"");
      const std::string block(1 << 16, 'x');
      while (peer.write(block)) {
      }
      return;
    }
  });
  CurlEnv env({}, to(server.url()));
  CHECK(ask(env, list()).error().code == Code::invalid);
  CHECK(ask(env, get("/x")).error().code == Code::invalid);
  CHECK(ask(env, watch()).error().code == Code::invalid);
  CHECK(ask(env, create()).error().code == Code::maybe_done);
}

TEST_CASE("Retry-After is obeyed for reads, bounded, and told for writes", "[curl_env]") {
  std::atomic<int> refusals{0};
  HttpServer server([&](const httplib::Request&, httplib::Response& response, int) {
    if (--refusals >= 0) {
      response.status = 429;
      response.set_header("Retry-After", "1");
      response.set_content(status_body(429, "TooManyRequests", "slow down"), "application/json");
    } else {
      response.set_content("ok", "text/plain");
    }
  });
  CurlEnv env({}, to(server.url()));
  const auto started = env.now().mono;
  refusals = 1;
  CHECK(ask(env, get("/a")).body() == "ok");
  CHECK(env.now().mono - started >= 1s);
  CHECK(server.asked["/a"] == 2);

  refusals = 100;
  const auto tired = ask(env, get("/b")).error();
  CHECK(tired.code == Code::throttled);
  CHECK(tired.retry_after == 1s);
  CHECK(server.asked["/b"] == 3);

  const auto write =
      ask(env, {.verb = Verb::create, .resource = &pods, .name_space = "a", .name = "p", .subresource = "eviction", .body = "{}"}).error();
  CHECK(write.code == Code::throttled);
  CHECK(write.retry_after == 1s);
  CHECK(write.reason == "TooManyRequests");
  CHECK(write.message == "create pods a/p eviction: slow down");
  CHECK(server.asked["/api/v1/namespaces/a/pods/p/eviction"] == 1);

  CHECK(ask(env, get("/c", 500ms)).error().code == Code::throttled);  // its time would be over
  CHECK(server.asked["/c"] == 1);
  CHECK(ask(env, watch()).error().code == Code::throttled);  // the reflector's own backoff
  CHECK(server.asked["/api/v1/nodes"] == 1);
}

TEST_CASE("at a 401 the token's file is read again, once", "[curl_env]") {
  std::string name = (std::filesystem::temp_directory_path() / "token-XXXXXX").string();
  close(mkstemp(name.data()));
  const auto store = [&](std::string_view token) { std::ofstream(name, std::ios::trunc) << token; };
  std::atomic<int> wrong{0};
  HttpServer server([&](const httplib::Request& request, httplib::Response& response, int) {
    if (request.get_header_value("Authorization") == "Bearer second") return response.set_content("in", "text/plain");
    ++wrong;
    response.status = 401;
    response.set_content(status_body(401, "Unauthorized", "who are you"), "application/json");
  });
  auto credentials = to(server.url());
  credentials.token = {.file = name};
  store("first");
  CurlEnv env({}, credentials);
  const auto refused = ask(env, get("/a")).error();
  CHECK(refused.code == Code::forbidden);
  CHECK(refused.reason == "Unauthorized");
  CHECK(wrong == 1);  // nothing had changed
  store("second");
  CHECK(ask(env, create()).body() == "in");
  CHECK(wrong == 2);
  CHECK(ask(env, get("/a")).body() == "in");
  CHECK(wrong == 2);
  std::filesystem::remove(name);
  CHECK(ask(env, get("/a")).body() == "in");  // what was read stays in use
  CurlEnv without({}, credentials);
  const auto missing = ask(without, get("/a")).error();
  CHECK(missing.code == Code::unavailable);
  CHECK_THAT(missing.message, Catch::Contains("tokenFile: can't read " + name));
}

TEST_CASE("files that change are read without a refusal, and a new certificate gets a new connection", "[curl_env]") {
  std::string folder = (std::filesystem::temp_directory_path() / "files-XXXXXX").string();
  REQUIRE(mkdtemp(folder.data()) != nullptr);
  const auto store = [&](const std::string& name, std::string_view text) {
    std::ofstream(folder + "/" + name, std::ios::trunc) << text;
    return folder + "/" + name;
  };
  ScriptedServer server(
      pki(),
      [](Peer& peer) {
        for (auto request = peer.request(); !request.empty(); request = peer.request())
          peer.reply(200, request.substr(request.find("Bearer "), 10));
      },
      true);
  auto credentials = to(server.url());
  credentials.token = {.file = store("token", "one")};
  credentials.client_certificate.file = store("c.crt", pki().client.certificate_pem());
  credentials.client_key.file = store("c.key", pki().client.key_pem());
  CurlEnv env({.file_interval = 1ms}, credentials);
  CHECK(ask(env, get("/x")).body() == "Bearer one");
  store("token", "two");
  CHECK(ask(env, get("/x")).body() == "Bearer two");
  CHECK(server.accepted() == 1);
  const auto next = test::issue("client", "", &pki().ca);
  store("c.crt", next.certificate_pem());
  CHECK(ask(env, get("/x")).ok());  // half of the pair: what was read before serves
  CHECK(server.accepted() == 1);
  store("c.key", next.key_pem());
  CHECK(ask(env, get("/x")).ok());
  CHECK(server.accepted() == 2);
  std::filesystem::remove_all(folder);
}

TEST_CASE("calls and silences end in time", "[curl_env]") {
  ScriptedServer server(pki(), [](Peer& peer) {
    for (auto request = peer.request(); !request.empty(); request = peer.request())
      if (request.find("watch=1") != std::string::npos) {
        peer.stream();
        for (int i = 0; i < 4; ++i, std::this_thread::sleep_for(60ms)) peer.chunk("{\"type\":\"BOOKMARK\"}\n");
      }
  });
  CurlEnv env({}, to(server.url()));
  auto started = env.now().mono;
  CHECK(ask(env, get("/x", 100ms)).error().message == "get /x: no reply within 100 ms");
  CHECK(ask(env, get("/x", 100ms)).error().code == Code::unavailable);
  CHECK(ask(env, create(100ms)).error().code == Code::maybe_done);
  CHECK(env.now().mono - started < 2s);
  started = env.now().mono;
  const auto watched = ask(env, watch(200ms));
  CHECK(watched.frames.size() == 4);
  CHECK(watched.error().code == Code::unavailable);
  CHECK(watched.error().message == "watch nodes: silent for 200 ms");
  CHECK(env.now().mono - started >= 380ms);

  test::LoopbackServer mute([](int socket) {
    char c = 0;
    while (recv(socket, &c, 1, 0) > 0) {
    }
  });
  CurlEnv nobody({.connect_timeout = 100ms}, to("https://127.0.0.1:" + std::to_string(mute.port())));
  CHECK(ask(nobody, create()).error().code == Code::unavailable);  // it was never sent
  int port = 0;
  {
    port = test::LoopbackServer([](int) {}).port();
  }
  CurlEnv closed({}, to("https://127.0.0.1:" + std::to_string(port)));
  const auto refused = ask(closed, create()).error();
  CHECK(refused.code == Code::unavailable);
  CHECK_THAT(refused.message, Catch::StartsWith("create machines a/m: ") && Catch::Contains("connect"));
}

TEST_CASE("only the right server is talked to, and only with the right certificate", "[curl_env]") {
  ScriptedServer server(
      pki(),
      [](Peer& peer) {
        for (auto request = peer.request(); !request.empty(); request = peer.request())
          peer.reply(200, request.substr(request.find("Host: "), request.find("\r\n", request.find("Host: ")) - request.find("Host: ")));
      },
      true);
  const auto ask_with = [&](const std::function<void(Credentials&)>& change) {
    auto c = to(server.url());
    c.client_certificate.text = pki().client.certificate_pem();
    c.client_key.text = pki().client.key_pem();
    change(c);
    CurlEnv env({}, c);
    return ask(env, get("/x"));
  };
  const std::string host = "Host: 127.0.0.1:" + std::to_string(server.port());
  CHECK(ask_with([](Credentials&) {}).body() == host);
  CHECK(ask_with([](Credentials& c) { c.tls_server_name = "kubernetes"; }).body() == host);
  CHECK(ask_with([](Credentials& c) { c.insecure = true, c.ca = {}; }).body() == host);
  const auto name = ask_with([](Credentials& c) { c.tls_server_name = "other"; }).error();
  CHECK(name.code == Code::unavailable);
  CHECK_THAT(name.message, Catch::Contains("check certificate-authority, and tls-server-name"));
  CHECK(ask_with([](Credentials& c) { c.ca.text = Pki().ca.certificate_pem(); }).error().code == Code::unavailable);
  CHECK(ask_with([](Credentials& c) { c.ca = {}; }).error().code == Code::unavailable);  // the system's roots don't know it
  CHECK(ask_with([](Credentials& c) { c.client_certificate = c.client_key = {}; }).error().code == Code::unavailable);
}

TEST_CASE("a proxy is used when it is named", "[curl_env]") {
  std::string heard;
  test::LoopbackServer proxy([&](int socket) {
    char buffer[512];
    const auto n = recv(socket, buffer, sizeof buffer, 0);
    heard.assign(buffer, n > 0 ? static_cast<std::size_t>(n) : 0);
    const std::string_view no = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    send(socket, no.data(), no.size(), MSG_NOSIGNAL);
  });
  auto c = to("https://api.example:6443");
  c.proxy_url = "http://127.0.0.1:" + std::to_string(proxy.port());
  CurlEnv env({}, c);
  const auto refused = ask(env, create()).error();
  CHECK(refused.code == Code::unavailable);
  CHECK_THAT(refused.message, Catch::Contains("403"));
  CHECK_THAT(heard, Catch::StartsWith("CONNECT api.example:6443 HTTP/1.1"));
  CHECK(heard.find("secret-token") == std::string::npos);
}

TEST_CASE("a dropped handle's callbacks never run again", "[curl_env]") {
  ScriptedServer server(pki(), [](Peer& peer) {
    for (auto request = peer.request(); !request.empty(); request = peer.request()) {
      if (request.find("watch=1") == std::string::npos) {
        peer.reply(200, "ok");
        continue;
      }
      peer.stream();
      while (peer.chunk("{\"n\":1}\n{\"n\":2}\n")) std::this_thread::sleep_for(1ms);
    }
  });
  auto env = std::make_unique<CurlEnv>(CurlEnvOptions{}, to(server.url()));
  int frames = 0, ends = 0;
  const auto count_end = [&](const Result<void>&) { ++ends; };
  const auto count = [&](std::string_view) { ++frames; };

  SECTION("before anything has happened") {
    { const auto handle = env->call(watch(), count, count_end); }
    CHECK(ask(*env, get("/x")).ok());
    CHECK(frames == 0);
  }
  SECTION("inside its own frame") {
    Handle handle;
    handle = env->call(
        watch(),
        [&](std::string_view) {
          ++frames;
          handle.reset();
        },
        count_end);
    run_until(*env, [&] { return frames > 0; });
    CHECK(ask(*env, get("/x")).ok());
    CHECK(frames == 1);
  }
  SECTION("inside another's frame, and while a body is handed out") {
    Handle one = env->call(watch(), count, count_end);
    Handle two = env->call(
        get("/x"), [&](std::string_view) { one.reset(), two.reset(); }, count_end);
    run_until(*env, [&] { return !two; });
    const int before = frames;
    CHECK(ask(*env, get("/x")).ok());
    CHECK(frames == before);
  }
  SECTION("after its end was decided, before it was told") {
    Handle one = env->call(watch(), count, count_end);
    run_until(*env, [&] { return frames > 0; });
    env->disconnect("");
    one.reset();
    CHECK(ask(*env, get("/x")).error().code == Code::unavailable);
  }
  SECTION("inside its end") {
    Handle handle;
    int told = 0;
    handle = env->call(get("/x"), count, [&](const Result<void>&) {
      ++told;
      handle.reset();
    });
    run_until(*env, [&] { return told == 1; });
  }
  SECTION("by what another callback held when it was destroyed") {
    auto inner = std::make_shared<Handle>(env->call(watch(), count, count_end));
    {
      const auto outer = env->call(
          watch(), [inner](std::string_view) {}, count_end);
    }
    inner.reset();
    CHECK(ask(*env, get("/x")).ok());
    const int before = frames;
    CHECK(ask(*env, get("/x")).ok());
    CHECK(frames == before);
  }
  SECTION("after the env is gone") {
    Handle handle = env->call(watch(), count, count_end);
    Handle timer = env->at(env->now().mono + 1h, [] {});
    Handle job = env->compute([] { return [] {}; });
    run_until(*env, [&] { return frames > 0; });
    env.reset();
    handle.reset();
    timer.reset();
    job.reset();
  }
  CHECK(ends == 0);
}

TEST_CASE("connections come and go", "[curl_env]") {
  const auto name = [](const std::string& text) {
    return [text](Peer& peer) {
      for (auto request = peer.request(); !request.empty(); request = peer.request()) {
        if (request.find("watch=1") == std::string::npos)
          peer.reply(200, text);
        else if (peer.stream())
          peer.chunk("{}\n");
      }
    };
  };
  ScriptedServer a(pki(), name("a")), b(pki(), name("b"));
  const auto kubeconfig = [](const std::string& server, const std::string& user = "{token: t}") {
    const auto ca = pki().ca.certificate_pem();
    std::string data(ca.size() * 2, '\0');
    data.resize(static_cast<std::size_t>(EVP_EncodeBlock(reinterpret_cast<unsigned char*>(data.data()),
                                                         reinterpret_cast<const unsigned char*>(ca.data()), static_cast<int>(ca.size()))));
    return "current-context: x\ncontexts: [{name: x, context: {cluster: x, user: x}}]\nclusters: [{name: x, cluster: {server: '" + server +
           "', certificate-authority-data: " + data + "}}]\nusers: [{name: x, user: " + user + "}]\n";
  };
  CurlEnv env({}, to(a.url()));
  REQUIRE(env.connect("ns/one", kubeconfig(b.url())));
  auto call = get("/x");
  call.cluster = "ns/one";
  CHECK(ask(env, call).body() == "b");
  CHECK(ask(env, get("/x")).body() == "a");

  const auto bad = env.connect("ns/one", kubeconfig(b.url(), "{exec: {command: x}}"));
  REQUIRE_FALSE(bad);
  CHECK(bad.error().code == Code::invalid);
  CHECK_THAT(bad.error().message, Catch::StartsWith("kubeconfig of cluster ns/one"));
  CHECK_FALSE(env.connect("ns/one", kubeconfig(b.url(), "{tokenFile: /etc/hostname}")));
  CHECK(ask(env, call).body() == "b");

  Reply watched;
  auto long_call = watch();
  long_call.cluster = "ns/one";
  const auto handle = begin(env, long_call, watched);
  run_until(env, [&] { return !watched.frames.empty(); });
  REQUIRE(env.connect("ns/one", kubeconfig(b.url(), "{token: t2}")));  // the same server: what runs goes on
  CHECK_FALSE(watched.end);
  REQUIRE(env.connect("ns/one", kubeconfig(a.url())));
  CHECK_FALSE(watched.end);  // never from inside a call
  run_until(env, [&] { return watched.end.has_value(); });
  CHECK(watched.error().code == Code::unavailable);
  CHECK(ask(env, call).body() == "a");

  Reply second, waiting;
  const auto again = begin(env, long_call, second);
  run_until(env, [&] { return !second.frames.empty(); });
  const auto queued = begin(env, call, waiting);
  env.disconnect("ns/one");
  env.disconnect("ns/unknown");
  CHECK_FALSE(second.end);
  run_until(env, [&] { return second.end && waiting.end; });
  CHECK(second.error().code == Code::cancelled);
  CHECK(waiting.error().code == Code::cancelled);
  CHECK(second.error().message == "watch nodes (cluster ns/one): disconnected");
  CHECK(ask(env, call).error().code == Code::unavailable);
  CHECK(ask(env, get("/x")).body() == "a");
}

TEST_CASE("calls wait for their turn, watches don't, and the queue has a bound", "[curl_env]") {
  std::atomic<int> running{0}, most{0};
  ScriptedServer server(pki(), [&](Peer& peer) {
    for (auto request = peer.request(); !request.empty(); request = peer.request()) {
      if (request.find("watch=1") != std::string::npos) {
        peer.stream();
        peer.chunk("{}\n");
        continue;
      }
      most = std::max(most.load(), ++running);
      std::this_thread::sleep_for(5ms);
      --running;
      peer.reply(200, "ok");
    }
  });
  CurlEnv env({.max_in_flight = 3, .max_queued = 50}, to(server.url()));
  int ok = 0, full = 0, events = 0;
  std::vector<Handle> handles;
  handles.reserve(60);
  for (int i = 0; i < 60; ++i)
    handles.push_back(env.call(
        get("/x"), [](std::string_view) {},
        [&](const Result<void>& result) {
          if (result)
            ++ok;
          else if (result.error().code == Code::unavailable)
            ++full;
        }));
  CHECK(ok + full == 0);  // never from inside the call
  run_until(env, [&] { return ok + full == 60; });
  CHECK(ok == 50);
  CHECK(full == 10);
  CHECK(most == 3);
  for (int i = 0; i < 10; ++i)
    handles.push_back(env.call(
        watch(), [&](std::string_view frame) { events += frame.empty() ? 0 : 1; }, [](const Result<void>&) {}));
  run_until(env, [&] { return events == 10; });
  CHECK(ask(env, get("/x")).ok());
  handles.clear();
  for (int i = 0; i < 40; ++i)
    handles.push_back(env.call(
        get("/x"), [](std::string_view) {}, [](const Result<void>&) {}));
  handles.clear();  // what was cancelled leaves its place
  CHECK(ask(env, get("/x")).ok());
}

namespace {

// Takes connections (the kernel does), and never says a word.
class SilentListener {
 public:
  SilentListener() : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    REQUIRE(::bind(socket_, reinterpret_cast<sockaddr*>(&at), size) == 0);
    REQUIRE(::listen(socket_, 128) == 0);
    REQUIRE(::getsockname(socket_, reinterpret_cast<sockaddr*>(&at), &size) == 0);
    port_ = ntohs(at.sin_port);
  }
  ~SilentListener() { ::close(socket_); }
  SilentListener(const SilentListener&) = delete;
  SilentListener& operator=(const SilentListener&) = delete;
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/"; }

 private:
  int socket_, port_ = 0;
};

}  // namespace

TEST_CASE("http: a server that never answers holds up its own line only, and a question's clock starts when it is sent", "[curl_env]") {
  const SilentListener silent;
  ScriptedServer server(pki(), [&](Peer& peer) {
    for (auto request = peer.request(); !request.empty(); request = peer.request()) peer.reply(200, "good");
  });
  CurlEnv env({.max_http_queued = 70});
  std::vector<std::string> errors;
  std::vector<Handle> handles;
  for (int i = 0; i < 80; ++i)
    handles.push_back(env.http({.url = silent.url(), .timeout = 300ms},
                               [&](const Result<HttpAnswer>& answer) { errors.push_back(answer ? "an answer" : answer.error().message); }));
  std::optional<HttpAnswer> good;
  const auto from = env.now().mono;
  handles.push_back(
      env.http({.url = server.url() + "/x", .ca_pem = pki().ca.certificate_pem(), .timeout = 5s}, [&](const Result<HttpAnswer>& answer) {
        good = answer ? *answer : HttpAnswer{0, answer.error().message};
      }));
  run_until(env, [&] { return good.has_value(); });
  CHECK(good->body == "good");
  CHECK(env.now().mono - from < 250ms);
  CHECK(errors == std::vector<std::string>(10, "GET " + silent.url() + ": 70 calls wait already"));
  run_until(env, [&] { return errors.size() == 80; });
  CHECK(env.now().mono - from > 8 * 300ms);  // eight at a time
  for (std::size_t i = 10; i < errors.size(); ++i) CHECK(errors[i] == "GET " + silent.url() + ": no reply within 300 ms");
}

TEST_CASE("http: what waits too long for its turn is told so", "[curl_env]") {
  const SilentListener silent;
  CurlEnv env({.max_http_in_flight = 1, .max_http_wait = 100ms});
  std::vector<std::string> errors;
  std::vector<Handle> handles;
  for (int i = 0; i < 2; ++i)
    handles.push_back(
        env.http({.url = silent.url(), .timeout = 400ms}, [&](const Result<HttpAnswer>& a) { errors.push_back(a.error().message); }));
  run_until(env, [&] { return errors.size() == 2; });
  CHECK(errors[0] == "GET " + silent.url() + ": no reply within 100 ms (waiting for its turn)");
  CHECK(errors[1] == "GET " + silent.url() + ": no reply within 400 ms");
}

TEST_CASE("http: a bearer token isn't sent in clear text to another machine", "[curl_env]") {
  CurlEnv env({});
  std::optional<Error> error;
  const auto handle = env.http({.url = "http://192.0.2.1:9090/api?query=up", .bearer_token = "t0ken"},
                               [&](const Result<HttpAnswer>& a) { error = a.error(); });
  run_until(env, [&] { return error.has_value(); });
  CHECK(error->code == Code::invalid);
  CHECK(error->message.find("https://") != std::string::npos);
  CHECK(error->message.find("t0ken") == std::string::npos);
}

TEST_CASE("compute: what a job holds is destroyed on the owner's thread", "[curl_env]") {
  CurlEnv env({.workers = 2});
  struct Held {
    std::set<std::thread::id>& where;
    explicit Held(std::set<std::thread::id>& w) : where(w) {}
    Held(const Held&) = delete;
    ~Held() { where.insert(std::this_thread::get_id()); }
  };
  std::set<std::thread::id> where;
  int done = 0;
  std::vector<Handle> handles;
  for (int i = 0; i < 200; ++i)
    handles.push_back(
        env.compute([held = std::make_shared<Held>(where), &done]() -> std::function<void()> { return [held, &done] { ++done; }; }));
  for (int i = 0; i < 100; ++i) handles[static_cast<std::size_t>(2 * i)].reset();  // cancelled
  run_until(env, [&] { return done >= 100; });
  handles.clear();
  std::this_thread::sleep_for(20ms);
  env.post([&] { env.stop(); });
  env.run();
  CHECK(where == std::set<std::thread::id>{std::this_thread::get_id()});
}

TEST_CASE("a connection is kept for the next call, however many servers there are", "[curl_env]") {
  std::vector<std::unique_ptr<ScriptedServer>> servers;
  CurlEnv env({});
  for (int i = 0; i < 20; ++i) {
    servers.push_back(std::make_unique<ScriptedServer>(pki(), [](Peer& peer) {
      while (!peer.request().empty()) peer.reply(200, "ok");
    }));
    REQUIRE(env.connect(std::to_string(i), to(servers.back()->url())));
  }
  for (int round = 0; round < 3; ++round)
    for (int i = 0; i < 20; ++i) {
      auto call = get("/readyz");
      call.cluster = std::to_string(i);
      CHECK(ask(env, std::move(call)).ok());
    }
  for (const auto& server : servers) CHECK(server->accepted() == 1);
}

TEST_CASE("a watch tells when it is accepted, before any event; one that is refused doesn't", "[curl_env]") {
  std::atomic<int> asked{0};
  ScriptedServer server(pki(), [&](Peer& peer) {
    for (auto request = peer.request(); !request.empty(); request = peer.request()) {
      if (asked++ == 0)
        peer.reply(403, "{}");
      else
        peer.stream();  // and nothing follows
    }
  });
  CurlEnv env({}, to(server.url()));
  std::vector<std::string> frames;
  bool ended = false;
  const auto take = [&](std::string_view frame) { frames.emplace_back(frame); };
  const auto refused = env.call(watch(), take, [&](const Result<void>&) { ended = true; });
  run_until(env, [&] { return ended; });
  CHECK(frames.empty());
  const auto accepted = env.call(watch(), take, [](const Result<void>&) {});
  run_until(env, [&] { return !frames.empty(); });
  CHECK(frames == std::vector<std::string>{""});
}

TEST_CASE("time is the meta API server's; another server's counts for nothing", "[curl_env][time]") {
  std::string date = "Mon, 23 Nov 2026 03:34:15 GMT";
  ScriptedServer server(pki(), [&](Peer& peer) {
    while (!peer.request().empty()) peer.reply(200, "ok", "Date: " + date + "\r\n");
  });
  ScriptedServer other(pki(), [&](Peer& peer) {
    while (!peer.request().empty()) peer.reply(200, "ok", "Date: Mon, 23 Nov 2020 03:34:15 GMT\r\n");
  });
  std::vector<std::pair<WallTime, WallTime>> jumps;
  CurlEnv env({.server_time = true, .clock_jumped = [&](WallTime before, WallTime after) { jumps.emplace_back(before, after); }},
              to(server.url()));
  REQUIRE(env.connect("other", to(other.url())));
  const auto theirs = *parse_rfc3339("2026-11-23T03:34:15Z");
  CHECK(ask(env, get("/x")).ok());
  CHECK(env.now().wall >= theirs);
  CHECK(env.now().wall < theirs + 3s);
  auto elsewhere = get("/x");
  elsewhere.cluster = "other";
  for (int i = 0; i < 9; ++i) CHECK(ask(env, elsewhere).ok());
  CHECK(env.now().wall >= theirs);
  CHECK(jumps.empty());  // the first answer is none: nothing was done before it
  date = "Mon, 23 Nov 2026 05:34:15 GMT";
  CHECK(ask(env, get("/x")).ok());
  CHECK(env.now().wall < theirs + 5s);  // one answer of many
  CHECK(ask(env, get("/x")).ok());
  CHECK(ask(env, get("/x")).ok());
  run_until(env, [&] { return !jumps.empty(); });
  CHECK(jumps[0].second - jumps[0].first > 7'100s);
  CHECK(env.now().wall >= theirs + 2h);
  CurlEnv plain({}, to(server.url()));
  CHECK(ask(plain, get("/x")).ok());
  CHECK(plain.now().wall - std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now()) < 1s);
}

TEST_CASE("watches that say nothing cost nothing", "[curl_env]") {
  ScriptedServer server(pki(), [&](Peer& peer) {
    if (peer.request().empty() || !peer.stream()) return;
    peer.request();  // until the client goes
  });
  CurlEnv env({.max_connections = 200}, to(server.url()));
  // CPU time of a thousand turns that other things ask for.
  const auto cost = [&] {
    int turns = 0;
    Handle tick;
    std::function<void()> next = [&] {
      if (++turns == 1'000) return env.stop();
      tick = env.at(env.now().mono, next);
    };
    const auto cpu = [] {
      timespec t{};
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
      return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
    };
    const auto before = cpu();
    next();
    env.run();
    return cpu() - before;
  };
  const auto alone = cost();
  std::vector<Reply> replies(200);  // HTTP/1.1: a connection each
  std::vector<Handle> handles;
  for (auto& reply : replies) handles.push_back(begin(env, watch(60s), reply));
  run_until(env, [&] { return server.accepted() == 200; });
  cost();
  CAPTURE(alone.count());
  CHECK(cost().count() < 5 * alone.count());  // each looked at in each turn: 50 times
}

TEST_CASE("plain HTTP", "[curl_env]") {
  HttpServer server([](const httplib::Request& request, httplib::Response& response, int) {
    if (request.path == "/no") response.status = 404;
    response.set_content(request.path == "/big" ? std::string(5000, 'x')
                                                : request.method + " " + request.target + " " + request.get_header_value("Authorization") +
                                                      " " + request.get_header_value("Content-Type") + " " + request.body,
                         "text/plain");
  });
  CurlEnv env({});
  const auto fetch = [&](HttpCall call) {
    std::optional<Result<HttpAnswer>> out;
    call.ca_pem = pki().ca.certificate_pem();
    const auto handle = env.http(std::move(call), [&](Result<HttpAnswer> result) { out = std::move(result); });
    run_until(env, [&] { return out.has_value(); });
    return *out;
  };
  CHECK(fetch({.url = server.url() + "/q?a=b"})->body == "GET /q?a=b   ");
  CHECK(fetch({.method = "POST", .url = server.url() + "/q", .body = "x=1", .content_type = "text/x", .bearer_token = "t"})->body ==
        "POST /q Bearer t text/x x=1");
  CHECK(fetch({.url = server.url() + "/big", .max_bytes = 5000})->body.size() == 5000);
  CHECK(fetch({.url = server.url() + "/big", .max_bytes = 4999}).error().code == Code::invalid);
  const auto no = fetch({.url = server.url() + "/no?key=hidden"});  // a refusal is an answer too, with all that it says
  CHECK(no->status == 404);
  CHECK(no->body.find("GET /no") == 0);
  const auto head = fetch({.method = "HEAD", .url = server.url() + "/q"});
  CHECK(head->status == 200);
  CHECK(head->body.empty());
  const auto nobody = fetch({.url = "https://127.0.0.1:1/q?key=hidden", .bearer_token = "hidden-too"}).error();
  CHECK(nobody.code == Code::unavailable);
  CHECK(nobody.message.find("hidden") == std::string::npos);
  CHECK(fetch({.url = "ftp://x/"}).error().code == Code::invalid);
  CHECK(fetch({.url = "https://user:pw@x/"}).error().code == Code::invalid);
  CHECK(fetch({.url = server.url(), .bearer_token = "a\r\nX: y"}).error().code == Code::invalid);
}

TEST_CASE("timers, jobs and posts run on the owner's thread, in order", "[curl_env]") {
  CurlEnv env({.workers = 2});
  const auto owner = std::this_thread::get_id();
  const auto start = env.now().mono;
  std::vector<int> order;
  std::vector<Handle> handles;
  handles.push_back(env.at(start + 20ms, [&] { order.push_back(2); }));
  handles.push_back(env.at(start + 10ms, [&] { order.push_back(1); }));
  handles.push_back(env.at(start - 1h, [&] { order.push_back(0); }));
  handles.push_back(env.at(start + 15ms, [&] { order.push_back(99); }));
  handles.pop_back();
  run_until(env, [&] { return order.size() == 3; });
  CHECK(order == std::vector<int>{0, 1, 2});
  CHECK(env.now().mono - start >= 20ms);

  int done = 0;
  bool elsewhere = true, here = true;
  for (int i = 0; i < 3000; ++i)
    handles.push_back(env.compute([&elsewhere, &here, &done, owner, i] {
      if (i == 0) elsewhere = std::this_thread::get_id() != owner;
      return [&here, &done, owner] {
        here = here && std::this_thread::get_id() == owner;
        ++done;
      };
    }));
  CHECK(done == 0);
  run_until(env, [&] { return done == 3000; });
  CHECK(elsewhere);
  CHECK(here);

  std::atomic<int> cancelled_ran{0};
  for (int i = 0; i < 100; ++i) const auto dropped = env.compute([&] { return [&] { ++cancelled_ran; }; });
  std::atomic<bool> posted{false};
  std::thread other([&] { env.post([&] { posted = std::this_thread::get_id() == owner; }); });
  run_until(env, [&] { return posted.load(); });
  other.join();
  CHECK(cancelled_ran == 0);
  CHECK(env.random() != env.random());
  const auto wall = std::chrono::system_clock::now() - env.now().wall;
  CHECK(std::chrono::abs(wall) < 1s);
}

TEST_CASE("stop is heard from anywhere, and exceptions are the caller's", "[curl_env]") {
  CurlEnv env({});
  env.stop();
  env.run();  // it was stopped before
  std::thread other([&] {
    std::this_thread::sleep_for(20ms);
    env.stop();
  });
  env.run();
  other.join();
  const auto job = env.compute([]() -> std::function<void()> { throw std::logic_error("a bug"); });
  CHECK_THROWS_AS(env.run(), std::logic_error);
  const auto timer = env.at(env.now().mono, [] { throw std::runtime_error("a bug"); });
  CHECK_THROWS_AS(env.run(), std::runtime_error);

  HttpServer server(
      [](const httplib::Request&, httplib::Response& response, int) { response.set_content(R"({"items":[{}]})", "text/plain"); });
  CurlEnv calling({}, to(server.url()));
  int ends = 0;
  const auto handle = calling.call(
      list(), [](std::string_view) { throw std::domain_error("a bug"); }, [&](const Result<void>&) { ++ends; });
  CHECK_THROWS_AS(calling.run(), std::domain_error);
  CHECK(ask(calling, get("/x")).ok());
  CHECK(ends == 0);
}

TEST_CASE("several envs live beside each other", "[curl_env]") {
  ScriptedServer server(pki(), [](Peer& peer) {
    while (!peer.request().empty()) peer.reply(200, "ok");
  });
  std::atomic<int> ok{0};
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      CurlEnv env({}, to(server.url()));
      int mine = 0;
      Handle handle;
      std::function<void()> next = [&] {
        handle = env.call(
            get("/x"), [](std::string_view) {},
            [&](const Result<void>& result) {
              if (!result || ++mine == 50) return env.stop();
              next();
            });
      };
      next();
      env.run();
      ok += mine;
    });
  for (auto& thread : threads) thread.join();
  CHECK(ok == 200);
}
