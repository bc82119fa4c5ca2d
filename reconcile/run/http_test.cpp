#include "reconcile/run/http.hpp"

#include <httplib.h>

#include <catch2/catch.hpp>
#include <stdexcept>

using namespace reconcile;

TEST_CASE("the program's endpoints answer, and nothing else does", "[http]") {
  auto server = HttpServer::start("127.0.0.1:0", {{"/metrics",
                                                   [] {
                                                     return HttpReply{200, "x 1\n"};
                                                   }},
                                                  {"/readyz",
                                                   [] {
                                                     return http_reply({false, "not synced"});
                                                   }},
                                                  {"/broken", []() -> HttpReply { throw std::runtime_error("secret"); }}});
  REQUIRE(server);
  const auto port = (*server)->port();
  const auto get = [&](const std::string& path) { return httplib::Client("127.0.0.1", port).Get(path.c_str()); };
  CHECK(get("/metrics")->body == "x 1\n");
  CHECK(get("/readyz")->status == 503);
  CHECK(get("/readyz")->body == "not synced\n");
  CHECK(get("/metrics/")->status == 404);
  CHECK(get("/")->status == 404);
  CHECK(get("/" + std::string(300, 'a'))->status == 404);
  CHECK(get("/broken")->status == 500);
  CHECK(get("/broken")->body.find("secret") == std::string::npos);
  const auto post = httplib::Client("127.0.0.1", port).Post("/metrics", "body", "text/plain");
  CHECK((!post || post->status >= 400));
  const auto second = HttpServer::start("127.0.0.1:" + std::to_string(port), {});
  REQUIRE_FALSE(second);
  CHECK(second.error().message.find("can't listen") != std::string::npos);
}

TEST_CASE("an address that isn't one is refused", "[http]") {
  for (const auto* bad : {"", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "127.0.0.1:80x", "no.such.host.invalid:80"})
    CHECK_FALSE(HttpServer::start(bad, {}));
}

TEST_CASE("an address without a host is every address, of both families", "[http]") {
  for (const auto* host : {"", "*", "[::]"}) {
    INFO("host '" << host << "'");
    auto server = HttpServer::start(std::string(host) + ":0", {{"/healthz", [] { return HttpReply{200, "ok\n"}; }}});
    REQUIRE(server);
    const auto ok = [&](const char* at) {
      const auto answer = httplib::Client(at, (*server)->port()).Get("/healthz");
      return answer && answer->status == 200;
    };
    CHECK(ok("127.0.0.1"));
    if (HttpServer::start("[::1]:0", {})) CHECK(ok("::1"));  // a machine without IPv6 has the other one
  }
}
