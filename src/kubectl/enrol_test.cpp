#include "src/kubectl/enrol.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace endstate;
using namespace endstate::kubectl;
using nlohmann::json;

namespace {

v1alpha1::Host host() {
  v1alpha1::Host h;
  h.metadata.name = "h1";
  h.metadata.name_space = "prod";
  h.metadata.uid = "u1";
  return h;
}

}  // namespace

TEST_CASE("a token is taken only if it was made for this very wish", "[enrol]") {
  CHECK(json::parse(wish_for_token(host(), "w1"))["metadata"]["annotations"]["endstate.dev/enrol"] == "w1");
  reconcile::SecretData s;
  s.data.set("token", "YWJjZGVmLjAxMjM0NTY3ODlhYmNkZWY=");
  CHECK_FALSE(token_for(s, "w1"));
  s.metadata.annotations.set("endstate.dev/enrol", "w1");
  CHECK_FALSE(token_for(s, "w1"));  // the API server doesn't know it yet
  s.metadata.annotations.set("endstate.dev/published", "true");
  CHECK(token_for(s, "w1") == Token{"abcdef.0123456789abcdef", 0});
  s.metadata.annotations.set("endstate.dev/identity", "3");
  CHECK(token_for(s, "w1") == Token{"abcdef.0123456789abcdef", 3});
  CHECK_FALSE(token_for(s, "w2"));
}

TEST_CASE("what is printed is what a host can use", "[enrol]") {
  reconcile::Credentials c;
  c.server = "https://api.example.com:6443";
  const auto text = json::parse(enrolment_text(host(), {.text = "t"}, {.host = "h1"}, c, "PEM").value());
  CHECK(text ==
        json{{"hostUID", "u1"}, {"namespace", "prod"}, {"host", "h1"}, {"token", "t"}, {"server", {{"address", c.server}, {"ca", "PEM"}}}});
  CHECK(json::parse(enrolment_text(host(), {.text = "t", .identity = 3}, {.host = "h1"}, c, "PEM").value())["identity"] == 3);
  const auto other = json::parse(
      enrolment_text(host(), {.text = "t"}, {.host = "h1", .server = "https://10.0.0.1", .tls_server_name = "api"}, c, "").value());
  CHECK(other["server"] == json{{"address", "https://10.0.0.1"}, {"tlsServerName", "api"}});
  c.server = "https://127.0.0.1:6443";
  const auto loopback = enrolment_text(host(), {.text = "t"}, {.host = "h1"}, c, "PEM");
  REQUIRE_FALSE(loopback);
  CHECK(loopback.error().message.find("--server") != std::string::npos);
  CHECK(enrolment_text(host(), {.text = "t"}, {.host = "h1", .server = "https://10.0.0.1"}, c, "PEM"));
  c.insecure = true;
  CHECK_FALSE(enrolment_text(host(), {.text = "t"}, {.host = "h1", .server = "https://10.0.0.1"}, c, ""));
}
