#include "controllers/enrolment/pki_request.hpp"

#include <catch2/catch.hpp>

#include "controllers/enrolment/testing.hpp"
#include "reconcile/kube/base64.hpp"

using namespace endstate;
using namespace endstate::enrolment;

TEST_CASE("a request is read: who, for which names, and whether there is more to it", "[enrolment]") {
  const auto plain = read_request(testing::request("endstate:host:u1", {"endstate:hosts"})).value();
  CHECK(plain == RequestFacts{.common_name = "endstate:host:u1", .organizations = {"endstate:hosts"}, .dns_names = {}, .addresses = {}});
  const auto serving = read_request(testing::request("system:node:h1", {"system:nodes"}, "DNS:h1,IP:10.0.0.1,IP:fd00::1")).value();
  CHECK(serving.dns_names == std::vector<std::string>{"h1"});
  CHECK(serving.addresses == std::vector<std::string>{"10.0.0.1", "fd00::1"});
  CHECK_FALSE(serving.more);
  CHECK(read_request(testing::request("c", {"a", "b"})).value().organizations.size() == 2);
  CHECK(read_request(testing::request("c", {}, "URI:spiffe://x")).value().more);
  CHECK(read_request(testing::request("c", {}, "email:a@b.c")).value().more);
  CHECK(read_request(testing::request("c", {}, "", NID_basic_constraints, "CA:TRUE")).value().more);
  CHECK_FALSE(read_request(testing::request("c", {}, "", NID_key_usage, "digitalSignature")).value().more);
}

TEST_CASE("what is no request is refused", "[enrolment]") {
  CHECK_FALSE(read_request(""));
  CHECK_FALSE(read_request("%%%"));
  CHECK_FALSE(read_request(reconcile::to_base64("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n")));
  CHECK_FALSE(read_request(std::string(max_request + 1, 'A')));
  // Another's key in it: whoever asks must hold the key.
  auto pem = reconcile::from_base64(testing::request("c", {})).value();
  std::string der(pem);
  const auto at = der.find('\n') + 120;
  der[at] = der[at] == 'A' ? 'B' : 'A';
  CHECK_FALSE(read_request(reconcile::to_base64(der)));
}
