#include "controllers/cluster/pki.hpp"

#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "reconcile/kube/base64.hpp"

using namespace endstate::cluster;
using namespace std::chrono_literals;
using std::chrono::hours;

namespace {

// A fixed day: nothing here reads a clock.
const WallTime now = std::chrono::sys_days(std::chrono::year(2026) / 3 / 1) + 12h;

LeafSpec server() {
  return {.name = "apiserver",
          .ca = CaName::cluster,
          .common_name = "kube-apiserver",
          .organization = {},
          .dns_names = {"hz-a-apiserver.prod.svc", "kubernetes"},
          .addresses = {"10.96.0.1", "fd00::1"},
          .server = true,
          .client = false};
}
LeafSpec client() {
  return {.name = "admin",
          .ca = CaName::cluster,
          .common_name = "admin",
          .organization = "system:masters",
          .dns_names = {},
          .addresses = {},
          .server = false,
          .client = true};
}

// The openssl program's own words on files of ours.
struct OpenSsl {
  std::filesystem::path folder;
  OpenSsl() {
    std::string name = (std::filesystem::temp_directory_path() / "endstate-pki-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    folder = name;
  }
  OpenSsl(const OpenSsl&) = delete;
  OpenSsl& operator=(const OpenSsl&) = delete;
  ~OpenSsl() { std::filesystem::remove_all(folder); }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(folder / name) << text;
    return (folder / name).string();
  }
  std::string run(const std::string& arguments) const {
    const auto command = "openssl " + arguments + " 2>&1";
    FILE* const pipe = popen(command.c_str(), "r");
    REQUIRE(pipe != nullptr);
    std::string out;
    for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) out += static_cast<char>(c);
    pclose(pipe);
    return out;
  }
};

bool says(const std::string& text, std::string_view part) {
  INFO(text);
  const bool found = text.find(part) != std::string::npos;
  CHECK(found);
  return found;
}

}  // namespace

TEST_CASE("what is made is what was asked for, with either kind of key", "[pki]") {
  const auto type = GENERATE(KeyType::ecdsa, KeyType::rsa);
  const auto ca = make_ca("hz-a", type, now);
  REQUIRE(ca);
  const auto leaf = make_leaf(*ca, server(), type, now);
  REQUIRE(leaf);
  CHECK(fits(*ca));
  CHECK(fits(*leaf));
  CHECK_FALSE(fits({leaf->certificate, ca->key}));

  const auto root = read_certificates(ca->certificate)->at(0);
  CHECK(root.ca);
  CHECK(root.common_name == "hz-a");
  CHECK(root.key_type == type);
  CHECK(root.not_before == now - backdate);
  CHECK(root.not_after == now + ca_lifetime);
  CHECK(root.issuer_key_id == root.key_id);
  const auto facts = read_certificates(leaf->certificate)->at(0);
  CHECK_FALSE(facts.ca);
  CHECK(facts.common_name == "kube-apiserver");
  CHECK(facts.organization.empty());
  CHECK(facts.dns_names == server().dns_names);
  CHECK(facts.addresses == server().addresses);
  CHECK((facts.server && !facts.client));
  CHECK(facts.issuer_key_id == root.key_id);
  CHECK(facts.not_after == now + leaf_lifetime);
  CHECK(facts.fingerprint.size() == 64);
  CHECK(read_certificates(make_leaf(*ca, client(), type, now)->certificate)->at(0).organization == "system:masters");
}

TEST_CASE("OpenSSL's verification says yes and no where it should", "[pki]") {
  const auto ca = make_ca("hz-a", KeyType::ecdsa, now).value();
  const auto other = make_ca("hz-a", KeyType::ecdsa, now).value();  // the same name, another key
  const auto leaf = make_leaf(ca, server(), KeyType::ecdsa, now).value();
  const auto admin = make_leaf(ca, client(), KeyType::ecdsa, now).value();
  struct Row {
    std::string what, certificate, trusted;
    Usage usage;
    WallTime at;
    bool good;
  };
  const auto end = now + leaf_lifetime;
  const Row rows[] = {
      {"a server", leaf.certificate, ca.certificate, Usage::server, now, true},
      {"a server is no client", leaf.certificate, ca.certificate, Usage::client, now, false},
      {"a client", admin.certificate, ca.certificate, Usage::client, now, true},
      {"a client is no server", admin.certificate, ca.certificate, Usage::server, now, false},
      {"another CA of the same name", leaf.certificate, other.certificate, Usage::server, now, false},
      {"a bundle of both", leaf.certificate, other.certificate + ca.certificate, Usage::server, now, true},
      {"a clock that is five minutes behind", leaf.certificate, ca.certificate, Usage::server, now - backdate, true},
      {"a clock that is further behind", leaf.certificate, ca.certificate, Usage::server, now - backdate - 1s, false},
      {"its last second", leaf.certificate, ca.certificate, Usage::server, end - 1s, true},
      {"after its end", leaf.certificate, ca.certificate, Usage::server, end + 1s, false},
  };
  for (const auto& row : rows) {
    INFO(row.what);
    CHECK(verify(row.certificate, row.trusted, row.usage, row.at).has_value() == row.good);
  }
}

TEST_CASE("a leaf never outlives its issuer, and an expired or foreign CA signs nothing", "[pki]") {
  const auto ca = make_ca("hz-a", KeyType::ecdsa, now, 24h).value();
  const auto leaf = make_leaf(ca, server(), KeyType::ecdsa, now).value();
  CHECK(read_certificates(leaf.certificate)->at(0).not_after == now + 24h);
  CHECK(make_leaf(ca, server(), KeyType::ecdsa, now + 24h - 1s));
  CHECK(make_leaf(ca, server(), KeyType::ecdsa, now + 24h).error().message == "the CA has expired");
  const auto other = make_ca("hz-a", KeyType::ecdsa, now).value();
  CHECK_FALSE(make_leaf({ca.certificate, other.key}, server(), KeyType::ecdsa, now));
  CHECK_FALSE(make_leaf({"no PEM", ca.key}, server(), KeyType::ecdsa, now));
}

TEST_CASE("a leaf can't sign, and a CA made by another CA's leaf isn't trusted", "[pki]") {
  const auto ca = make_ca("hz-a", KeyType::ecdsa, now).value();
  const auto leaf = make_leaf(ca, server(), KeyType::ecdsa, now).value();
  const auto forged = make_leaf(leaf, client(), KeyType::ecdsa, now).value();
  CHECK_FALSE(verify(forged.certificate, ca.certificate + leaf.certificate, Usage::client, now));
}

TEST_CASE("names come in as they are: nothing in them becomes another name", "[pki]") {
  const auto ca = make_ca("hz-a", KeyType::ecdsa, now).value();
  auto spec = server();
  spec.dns_names = {"a.example.com,IP:6.6.6.6"};
  spec.addresses = {};
  const auto facts = read_certificates(make_leaf(ca, spec, KeyType::ecdsa, now)->certificate)->at(0);
  CHECK(facts.addresses.empty());
  CHECK(facts.dns_names == spec.dns_names);
  spec.addresses = {"10.0.0.300"};
  const auto refused = make_leaf(ca, spec, KeyType::ecdsa, now);
  REQUIRE_FALSE(refused);
  CHECK(says(refused.error().message, "apiserver could not be made"));
}

TEST_CASE("serial numbers and keys are never the same twice", "[pki]") {
  const auto ca = make_ca("hz-a", KeyType::ecdsa, now).value();
  const auto a = read_certificates(make_leaf(ca, client(), KeyType::ecdsa, now)->certificate)->at(0);
  const auto b = read_certificates(make_leaf(ca, client(), KeyType::ecdsa, now)->certificate)->at(0);
  CHECK(a.fingerprint != b.fingerprint);
  CHECK(a.key_id != b.key_id);
}

TEST_CASE("bundles: all of them are read, what can't be read is refused, and there is a bound", "[pki]") {
  const auto a = make_ca("a", KeyType::ecdsa, now).value(), b = make_ca("b", KeyType::ecdsa, now).value();
  const auto both = read_certificates(a.certificate + "\n# a comment between\n" + b.certificate);
  REQUIRE(both);
  REQUIRE(both->size() == 2);
  CHECK((both->at(0).common_name == "a" && both->at(1).common_name == "b"));
  CHECK_FALSE(read_certificates(""));
  CHECK_FALSE(read_certificates("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
  CHECK_FALSE(read_certificates(a.certificate + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
  CHECK_FALSE(read_certificates(a.certificate + "-----BEGIN CERTIFICATE-----\nAA"));
  std::string many;
  for (std::size_t i = 0; i < max_bundle; ++i) many += a.certificate;
  CHECK(read_certificates(many)->size() == max_bundle);
  CHECK_FALSE(read_certificates(many + a.certificate));
  CHECK_FALSE(read_certificates(std::string(max_pem_bytes + 1, ' ')));
}

TEST_CASE("signing keys of service accounts", "[pki]") {
  const auto type = GENERATE(KeyType::ecdsa, KeyType::rsa);
  const auto keys = make_signing_keys(type).value(), others = make_signing_keys(type).value();
  CHECK(fits(keys));
  CHECK_FALSE(fits({keys.certificate, others.key}));
  CHECK(read_public_key(keys.certificate)->size() == 64);
  CHECK(*read_public_key(keys.certificate) != *read_public_key(others.certificate));
  CHECK_FALSE(read_public_key("no PEM"));
}

TEST_CASE("base64 there and back, whatever the length", "[pki]") {
  for (std::size_t size = 0; size < 70; ++size) {
    std::string bytes;
    for (std::size_t i = 0; i < size; ++i) bytes += static_cast<char>(i * 37 + 200);
    CHECK(from_base64(reconcile::to_base64(bytes)).value() == bytes);
  }
  CHECK(reconcile::to_base64("endstate") == "ZW5kc3RhdGU=");
  for (const auto* bad : {"a", "ab=", "a*b=", "====="}) CHECK_FALSE(from_base64(bad));
}

TEST_CASE("the openssl program agrees", "[pki]") {
  const OpenSsl openssl;
  const auto at = std::to_string(std::chrono::system_clock::to_time_t(std::chrono::floor<std::chrono::seconds>(now)));
  for (const auto type : {KeyType::ecdsa, KeyType::rsa}) {
    const auto ca = make_ca("hz-a", type, now).value();
    const auto leaf = make_leaf(ca, server(), type, now).value();
    const auto ca_file = openssl.write("ca.crt", ca.certificate), leaf_file = openssl.write("leaf.crt", leaf.certificate);
    const auto key_file = openssl.write("leaf.key", leaf.key);
    CHECK(says(openssl.run("verify -attime " + at + " -x509_strict -purpose sslserver -CAfile " + ca_file + " " + leaf_file), "OK"));
    CHECK(says(openssl.run("verify -attime " + at + " -purpose sslclient -CAfile " + ca_file + " " + leaf_file),
               "unsuitable certificate purpose"));
    const auto text = openssl.run("x509 -noout -text -in " + leaf_file);
    CHECK(says(text, "DNS:hz-a-apiserver.prod.svc, DNS:kubernetes, IP Address:10.96.0.1, IP Address:FD00:0:0:0:0:0:0:1"));
    CHECK(says(text, "TLS Web Server Authentication"));
    CHECK(says(openssl.run("pkey -noout -text -in " + key_file), type == KeyType::ecdsa ? "prime256v1" : "2048 bit"));
  }
}
