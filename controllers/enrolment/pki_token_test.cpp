#include "controllers/enrolment/pki_token.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <regex>

#include "apis/v1alpha1/enrolment.hpp"
#include "controllers/cluster/pki.hpp"
#include "reconcile/kube/base64.hpp"
#include "reconcile/kube/credentials.hpp"

using namespace endstate;
using namespace endstate::enrolment;
using cluster::from_base64, reconcile::to_base64;
using nlohmann::json;

namespace {

json made(const json& recipe, const std::vector<std::string>& secrets = {}) {
  REQUIRE(is_ours(recipe.dump()));
  const auto body = forge(recipe.dump(), secrets, {});
  REQUIRE(body);
  return json::parse(*body);
}
std::string data(const json& secret, const char* key) { return from_base64(secret["data"][key].get<std::string>()).value(); }
std::string kubeconfig_secret(const std::string& more = {}) {
  const auto text =
      R"({"current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],"clusters":[{"name":"c","cluster":{"server":"https://api.example.com:6443","tls-server-name":"inside","certificate-authority-data":")" +
      to_base64("-----CA-----") + "\"" + more + R"(}}],"users":[{"name":"u","user":{"token":"the-operators-own"}}]})";
  return json{{"data", {{"value", to_base64(text)}}}}.dump();
}

}  // namespace

TEST_CASE("a one-time token, and what an API server knows it by", "[enrolment]") {
  const json recipe{{"make", "enrolment-token"}, {"tokenID", "abc123"}, {"object", {{"kind", "Secret"}, {"metadata", {{"name", "s"}}}}}};
  const auto a = made(recipe), b = made(recipe);
  CHECK(std::regex_match(data(a, "token"), std::regex("abc123\\.[a-z0-9]{16}")));
  CHECK(data(a, "token") != data(b, "token"));
  CHECK(a["metadata"]["name"] == "s");

  const json publish{{"make", "bootstrap-token"}, {"expires", "2026-01-01T00:00:00Z"}, {"groups", "g,h"}, {"object", {{"kind", "Secret"}}}};
  const auto t = made(publish, {a.dump()});
  CHECK(t["type"] == "bootstrap.kubernetes.io/token");
  CHECK(data(t, "token-id") + "." + data(t, "token-secret") == data(a, "token"));
  CHECK(data(t, "expiration") == "2026-01-01T00:00:00Z");
  CHECK(data(t, "usage-bootstrap-authentication") == "true");
  CHECK_FALSE(t["data"].contains("usage-bootstrap-signing"));
  CHECK(data(t, "auth-extra-groups") == "g,h");
  CHECK_FALSE(forge(publish.dump(), {"{}"}, {}));
  CHECK_FALSE(forge(publish.dump(), {}, {}));
}

TEST_CASE("what is handed over leads to the cluster, and holds nothing of the operator's", "[enrolment]") {
  const json recipe{{"make", "hand-over"}, {"tokenID", "abc123"}, {"object", {{"kind", "Secret"}}}};
  const auto s = made(recipe, {kubeconfig_secret()});
  const auto text = data(s, "value");
  CHECK(text.find("the-operators-own") == std::string::npos);
  const auto c = reconcile::parse_kubeconfig(text, {}, {}, "test").value();
  CHECK(c.server == "https://api.example.com:6443");
  CHECK(c.tls_server_name == "inside");
  CHECK(c.ca.text == "-----CA-----");
  CHECK(c.token.text == data(s, "token"));
  const auto insecure = forge(
      recipe.dump(),
      {json{
          {"data",
           {{"value",
             to_base64(
                 R"({"current-context":"c","contexts":[{"name":"c","context":{"cluster":"c"}}],"clusters":[{"name":"c","cluster":{"server":"https://a","insecure-skip-tls-verify":true}}]})")}}}}
           .dump()},
      {});
  REQUIRE_FALSE(insecure);
  CHECK(insecure.error().message.find("insecure") != std::string::npos);
}

TEST_CASE("recipes of others are not taken", "[enrolment]") {
  CHECK_FALSE(is_ours(R"({"make":"leaf"})"));
  CHECK_FALSE(is_ours("nonsense"));
}
