#include "src/agent/fetcher.hpp"

#include <httplib.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <thread>

#include "reconcile/kube/test_server.hpp"
#include "src/agent/testing.hpp"

namespace endstate::agent::testing {
namespace {

// Serves /artifact, with ranges as httplib knows them; /whole without; counts the bytes that it sent.
struct Shop {
  httplib::Server server;
  int port = 0;
  std::thread thread;
  std::string artifact;
  std::atomic<std::size_t> sent{0};
  std::vector<std::string> ranges;

  Shop() {
    for (unsigned i = 0; i < 300'000; ++i) artifact += static_cast<char>('a' + (i * 2654435761U >> 24U) % 26);
    server.Get("/artifact", [this](const httplib::Request& q, httplib::Response& r) {
      ranges.push_back(q.get_header_value("Range"));
      r.set_content(artifact, "application/octet-stream");
    });
    server.Get("/whole", [this](const httplib::Request& q, httplib::Response& r) {
      ranges.push_back(q.get_header_value("Range"));
      const_cast<httplib::Request&>(q).ranges.clear();
      r.set_content(artifact, "application/octet-stream");
    });
    server.Get("/elsewhere", [](const httplib::Request&, httplib::Response& r) { r.set_redirect("/artifact"); });
    server.Get("/wrong", [](const httplib::Request&, httplib::Response& r) { r.set_content("something else", "text/plain"); });
    port = server.bind_to_any_port("127.0.0.1");
    thread = std::thread([this] { server.listen_after_bind(); });
    while (!server.is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // else stop() could come too early
  }
  ~Shop() {
    server.stop();
    thread.join();
  }
  std::string url(const std::string& path) const { return "http://127.0.0.1:" + std::to_string(port) + path; }
};

}  // namespace

TEST_CASE("an artifact is fetched, gone on with, and checked", "[agent][fetch]") {
  Shop shop;
  const Folder folder;
  put(folder.path() + "/reference", shop.artifact);
  const auto sha = sha256_of_file(folder.path() + "/reference");
  const auto part = folder.path() + "/x.part";
  std::atomic<bool> cancelled{false};
  Fetch what{.urls = {shop.url("/artifact")}, .sha256 = sha, .size = shop.artifact.size()};

  SECTION("whole") {
    REQUIRE(fetch_into(what, part, cancelled));
    CHECK(get(part) == shop.artifact);
  }
  SECTION("from where it stopped") {
    put(part, shop.artifact.substr(0, 200'000));
    REQUIRE(fetch_into(what, part, cancelled));
    CHECK(get(part) == shop.artifact);
    CHECK(shop.ranges == std::vector<std::string>{"bytes=200000-"});
  }
  SECTION("from a server that knows no ranges") {
    put(part, shop.artifact.substr(0, 200'000));
    what.urls = {shop.url("/whole")};
    REQUIRE(fetch_into(what, part, cancelled));
    CHECK(get(part) == shop.artifact);
  }
  SECTION("when it is there already") {
    put(part, shop.artifact);
    REQUIRE(fetch_into(what, part, cancelled));
    CHECK(shop.ranges.empty());
  }
  SECTION("when what is there is of something else") {
    put(part, std::string(1000, 'z'));
    REQUIRE(fetch_into(what, part, cancelled));
    CHECK(get(part) == shop.artifact);
  }
  SECTION("from the next place when one fails") {
    what.urls = {"http://127.0.0.1:1/artifact", shop.url("/none"), shop.url("/wrong"), shop.url("/artifact")};
    REQUIRE(fetch_into(what, part, cancelled));
    CHECK(get(part) == shop.artifact);
  }
  SECTION("from a file") {
    what.urls = {"file://" + folder.path() + "/reference"};
    put(part, shop.artifact.substr(0, 1000));
    REQUIRE(fetch_into(what, part, cancelled));
    CHECK(get(part) == shop.artifact);
  }
  SECTION("not: other bytes") {
    what.urls = {shop.url("/wrong")};
    what.size = 0;
    const auto done = fetch_into(what, part, cancelled);
    REQUIRE_FALSE(done);
    CHECK(done.error().code == Code::invalid);
    CHECK(done.error().reason == "ArtifactRejected");
    CHECK_THAT(done.error().message, Catch::Contains("checksum mismatch"));
    CHECK(get(part).empty());
  }
  SECTION("not: more than it may have") {
    what.size = 1000;
    const auto done = fetch_into(what, part, cancelled);
    REQUIRE_FALSE(done);
    CHECK(done.error().reason == "ArtifactRejected");
    CHECK(get(part).size() <= 1000);
  }
  SECTION("not: what isn't there, or somewhere else") {
    for (const auto* path : {"/none", "/elsewhere"}) {
      what.urls = {shop.url(path)};
      const auto done = fetch_into(what, part, cancelled);
      REQUIRE_FALSE(done);
      CHECK(done.error().reason == "ArtifactUnavailable");
      CHECK(get(part).empty());
    }
  }
  SECTION("not: when the agent stops") {
    cancelled = true;
    CHECK(fetch_into(what, part, cancelled).error().code == Code::cancelled);
  }
  SECTION("a probe's question") {
    CHECK(http_status_of(shop.url("/artifact"), std::chrono::seconds(5), cancelled).value() == 200);
    CHECK(http_status_of(shop.url("/none"), std::chrono::seconds(5), cancelled).value() == 404);
    CHECK_FALSE(http_status_of("http://127.0.0.1:1/", std::chrono::seconds(5), cancelled));
  }
}

TEST_CASE("where artifacts may come from", "[agent][fetch]") {
  const Sources sources{.allowed = {"https://packages.example.com/endstate", "http://127.0.0.1:8000/"},
                        .mirrors = {{"https://packages.example.com/endstate", "http://127.0.0.1:8000/m"}}};
  const auto all = addresses_of("https://packages.example.com/endstate/x/1.tar.gz", sources);
  REQUIRE(all);
  CHECK(*all == std::vector<std::string>{"http://127.0.0.1:8000/m/x/1.tar.gz", "https://packages.example.com/endstate/x/1.tar.gz"});
  for (const auto* url :
       {"https://packages.example.com/endstated/x", "https://packages.example.com/other",
        "https://packages.example.com.evil.com/endstate/x", "https://packages.example.com@evil.com/endstate/x",
        "http://packages.example.com/endstate/x", "file:///etc/shadow", "https://packages.example.com/endstate/../other",
        "https://packages.example.com/endstate/%2e%2E/other", "https://packages.example.com/endstate/..",
        "https://packages.example.com/endstate/a\\..\\b", "https://packages.example.com/endstate/x#y",
        "https://packages.example.com/endstate/x y", "http://127.0.0.1:8000@evil.com/", "packages.example.com/endstate/x", ""}) {
    INFO(url);
    const auto refused = addresses_of(url, sources);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().reason == "ArtifactRejected");
  }
  CHECK_FALSE(addresses_of("https://packages.example.com/endstate/x", {}));
  CHECK_FALSE(addresses_of("https://packages.example.com/endstate/x",
                           {.allowed = {"https://packages.example.com/"}, .mirrors = {{"https://packages.example.com", "http://evil/"}}}));
}

TEST_CASE("a name and a password go to the host that they are for, over https only", "[agent][fetch]") {
  const reconcile::test::Pki pki;
  httplib::SSLServer server(pki.server.certificate.get(), pki.server.key.get());
  httplib::Server open_server;
  std::vector<std::string> said;
  const auto answer = [&](const httplib::Request& q, httplib::Response& r) {
    said.push_back(q.get_header_value("Authorization"));
    if (said.back().empty()) r.status = 401;
    r.set_content("the bytes", "application/octet-stream");
  };
  server.Get("/artifact", answer);
  open_server.Get("/artifact", answer);
  const int port = server.bind_to_any_port("127.0.0.1");
  const int open_port = open_server.bind_to_any_port("127.0.0.1");
  std::thread serving([&] { server.listen_after_bind(); });
  std::thread serving_openly([&] { open_server.listen_after_bind(); });
  while (!server.is_running() || !open_server.is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));

  const Folder folder;
  put(folder.path() + "/ca.crt", pki.ca.certificate_pem());
  put(folder.path() + "/reference", "the bytes");
  const auto netrc = folder.path() + "/netrc";
  std::atomic<bool> cancelled{false};
  const auto fetch = [&](const std::string& url) {
    return fetch_into({.urls = {url},
                       .sha256 = sha256_of_file(folder.path() + "/reference"),
                       .destination = {},
                       .netrc = netrc,
                       .ca = folder.path() + "/ca.crt"},
                      folder.path() + "/x.part", cancelled);
  };
  const auto https = "https://127.0.0.1:" + std::to_string(port) + "/artifact";
  const auto http = "http://127.0.0.1:" + std::to_string(open_port) + "/artifact";
  put(netrc, "machine 127.0.0.1 login someone password a-secret\n");
  REQUIRE(fetch(https));
  CHECK(said.back() == "Basic c29tZW9uZTphLXNlY3JldA==");
  std::filesystem::remove(folder.path() + "/x.part");
  const auto openly = fetch(http);
  REQUIRE_FALSE(openly);
  CHECK(said.back().empty());
  CHECK(openly.error().message.find("a-secret") == std::string::npos);
  put(netrc, "machine other.example login someone password a-secret\n");
  const auto elsewhere = fetch(https);
  REQUIRE_FALSE(elsewhere);
  CHECK(said.back().empty());
  CHECK_THAT(elsewhere.error().message, Catch::Contains("401"));
  server.stop();
  open_server.stop();
  serving.join();
  serving_openly.join();
}

TEST_CASE("a netrc is for root's eyes, and names the host of each password", "[agent][fetch]") {
  const Folder folder;
  const auto netrc = folder.path() + "/netrc";
  const auto verdict = [&](const std::string& content, unsigned mode) {
    put(netrc, content);
    ::chmod(netrc.c_str(), mode);
    const auto checked = check_netrc(netrc);
    return checked ? std::string() : checked.error().message;
  };
  CHECK(verdict("machine a.example login default password macdef\nmachine b.example login x password y\n", 0600).empty());
  CHECK_THAT(verdict("machine a.example login x password y\n", 0640), Catch::Contains("chmod 600"));
  CHECK_THAT(verdict("machine a.example login x password y\ndefault login x password y\n", 0600), Catch::Contains("'default'"));
  CHECK_THAT(verdict("machine a.example login x password y\nmacdef init\n", 0600), Catch::Contains("'macdef'"));
  CHECK_THAT(verdict("", 0600), Catch::Contains("no 'machine'"));
  CHECK_FALSE(check_netrc(folder.path() + "/none"));
}

}  // namespace endstate::agent::testing
