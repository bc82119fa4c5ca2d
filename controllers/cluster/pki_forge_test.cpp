// From a plan's recipe to a Secret's body and back to facts: what is asked for is what is made, for every step of a CA's life.
#include "controllers/cluster/pki_forge.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "controllers/cluster/pki.hpp"

using namespace endstate::cluster;
using namespace std::chrono_literals;
using nlohmann::json;
namespace api = endstate::v1alpha1;

namespace {

const WallTime now = std::chrono::sys_days(std::chrono::year(2026) / 3 / 1);

Site site() {
  Site s;
  s.name = "hz-a";
  s.name_space = "prod";
  s.uid = "u1";
  s.members = 1;
  s.service_address = "10.96.7.1";
  s.member_addresses = {"10.96.8.1"};
  return s;
}

// A Secret that keeps what is written, as an API server does.
struct Stored {
  json object;
  reconcile::Secret found;
  void write(const std::string& body) {
    const auto b = json::parse(body);
    if (object.is_null())
      object = b;
    else
      object.merge_patch(b);
    found.metadata.uid = "s1";
    found.metadata.resource_version = "7";
  }
  std::string get(const std::string& key) const {
    return object["data"].contains(key) ? from_base64(object["data"][key].get<std::string>()).value() : "";
  }
};

std::string made(const reconcile::Action& action, const std::vector<std::string>& secrets = {}) {
  REQUIRE(action.making);
  REQUIRE(action.making->secrets.size() == secrets.size());
  auto body = forge(action.making->what, secrets, now);
  INFO((body ? std::string() : body.error().message));
  REQUIRE(body);
  return *body;
}
reconcile::Action step(KeyStep what, CaName ca, const Stored* stored = nullptr, const std::string& leaf = {},
                       KeyType type = KeyType::ecdsa) {
  return key_action(site(), {.step = what, .ca = ca, .leaf = leaf, .anew = stored != nullptr, .why = "test"}, wanted_leaves(site(), "f1"),
                    type, stored ? &stored->found : nullptr);
}

}  // namespace

TEST_CASE("a CA's Secret: Cluster API's keys and labels, and no owner that could take it along", "[pki][forge]") {
  Stored ca;
  const auto action = step(KeyStep::make_ca, CaName::cluster);
  CHECK(action.verb == reconcile::Verb::create);
  CHECK(action.name == "hz-a-ca");
  ca.write(made(action));
  CHECK(ca.object["metadata"]["labels"]["cluster.x-k8s.io/cluster-name"] == "hz-a");
  CHECK_FALSE(ca.object["metadata"].contains("ownerReferences"));
  CHECK(fits({ca.get("tls.crt"), ca.get("tls.key")}));
  CHECK(ca.get("ca.crt") == ca.get("tls.crt"));
  CHECK(action.making->what.find("PRIVATE") == std::string::npos);  // a recipe holds no key
}

TEST_CASE("every leaf that is wanted can be made, is what was wanted, and is trusted for its use", "[pki][forge]") {
  const auto type = GENERATE(KeyType::ecdsa, KeyType::rsa);
  std::map<CaName, Stored> cas;
  for (const auto ca : all_cas) cas[ca].write(made(step(KeyStep::make_ca, ca, nullptr, {}, type)));
  for (const auto& wanted : wanted_leaves(site(), "f1")) {
    const auto& spec = wanted.spec;
    INFO(spec.name);
    Stored leaf;
    const auto action = step(KeyStep::make_leaf, spec.ca, nullptr, spec.name, type);
    CHECK(action.making->secrets.at(0).name == "hz-a-" + std::string(secret_suffix(spec.ca)));
    leaf.write(made(action, {cas[spec.ca].object.dump()}));
    CHECK(leaf.object["metadata"]["ownerReferences"][0]["uid"] == "u1");
    CHECK(fits({leaf.get("tls.crt"), leaf.get("tls.key")}));
    const auto facts = read_certificates(leaf.get("tls.crt"))->at(0);
    CHECK((facts.common_name == spec.common_name && facts.organization == spec.organization));
    CHECK((facts.dns_names == spec.dns_names && facts.addresses == spec.addresses));
    CHECK((facts.server == spec.server && facts.client == spec.client && facts.key_type == type));
    CHECK(verify(leaf.get("tls.crt"), cas[spec.ca].get("ca.crt"), spec.server ? Usage::server : Usage::client, now));
    CHECK_FALSE(verify(leaf.get("tls.crt"), cas[spec.ca == CaName::etcd ? CaName::cluster : CaName::etcd].get("ca.crt"),
                       spec.server ? Usage::server : Usage::client, now));
    if (!wanted.made_for.empty()) CHECK(leaf.object["metadata"]["annotations"][std::string(api::annotation::made_for)] == wanted.made_for);
  }
}

TEST_CASE("kubeconfigs: all inside for people, files beside it for pods", "[pki][forge]") {
  Stored ca, admin, scheduler;
  ca.write(made(step(KeyStep::make_ca, CaName::cluster)));
  admin.write(made(step(KeyStep::make_leaf, CaName::cluster, nullptr, "kubeconfig"), {ca.object.dump()}));
  const auto outside = json::parse(admin.get("value"));
  CHECK(outside["clusters"][0]["cluster"]["server"] == "https://10.96.7.1:6443");
  CHECK(from_base64(outside["clusters"][0]["cluster"]["certificate-authority-data"].get<std::string>()).value() == ca.get("ca.crt"));
  CHECK(from_base64(outside["users"][0]["user"]["client-key-data"].get<std::string>()).value() == admin.get("tls.key"));
  CHECK(outside["current-context"] == outside["contexts"][0]["name"]);
  scheduler.write(made(step(KeyStep::make_leaf, CaName::cluster, nullptr, "scheduler"), {ca.object.dump()}));
  const auto inside = json::parse(scheduler.get("kubeconfig"));
  CHECK(inside["users"][0]["user"]["client-key"] == "client.key");
  CHECK(scheduler.get("kubeconfig").find("PRIVATE") == std::string::npos);
}

TEST_CASE("a CA over trust, switch and retire: what it signed is trusted for as long as it is in the bundle", "[pki][forge]") {
  Stored ca, leaf;
  ca.write(made(step(KeyStep::make_ca, CaName::cluster)));
  leaf.write(made(step(KeyStep::make_leaf, CaName::cluster, nullptr, "scheduler"), {ca.object.dump()}));
  const auto old_leaf = leaf.get("tls.crt"), old_key = ca.get("tls.key");
  const auto trusted = [&](const std::string& certificate) {
    return verify(certificate, ca.get("ca.crt"), Usage::client, now).has_value();
  };

  const auto trust = step(KeyStep::trust, CaName::cluster, &ca);
  CHECK((trust.verb == reconcile::Verb::merge_patch && trust.uid == "s1" && trust.resource_version == "7"));
  ca.write(made(trust, {ca.object.dump()}));
  CHECK(read_certificates(ca.get("ca.crt"))->size() == 2);
  CHECK(fits({ca.get("next.crt"), ca.get("next.key")}));
  CHECK(trusted(old_leaf));
  CHECK_FALSE(forge(trust.making->what, {ca.object.dump()}, now));  // there is a next one already

  ca.write(made(step(KeyStep::switch_, CaName::cluster, &ca), {ca.object.dump()}));
  CHECK(fits({ca.get("tls.crt"), ca.get("tls.key")}));
  CHECK(ca.get("tls.key") != old_key);
  CHECK(ca.get("next.crt").empty());
  CHECK_FALSE(ca.object["data"].contains("next.key"));
  CHECK(trusted(old_leaf));
  leaf.write(made(step(KeyStep::make_leaf, CaName::cluster, &leaf, "scheduler"), {ca.object.dump()}));
  CHECK(trusted(leaf.get("tls.crt")));
  CHECK_FALSE(forge(step(KeyStep::switch_, CaName::cluster, &ca).making->what, {ca.object.dump()}, now));  // nothing waits to sign

  ca.write(made(step(KeyStep::retire, CaName::cluster, &ca), {ca.object.dump()}));
  CHECK(read_certificates(ca.get("ca.crt"))->size() == 1);
  CHECK(trusted(leaf.get("tls.crt")));
  CHECK_FALSE(trusted(old_leaf));
}

TEST_CASE("what can't be made is refused, and no error holds a key", "[pki][forge]") {
  Stored ca, keys;
  ca.write(made(step(KeyStep::make_ca, CaName::cluster)));
  keys.write(made(step(KeyStep::make_signing_keys, {})));
  CHECK(fits({keys.get("tls.crt"), keys.get("tls.key")}));
  const auto recipe = step(KeyStep::make_leaf, CaName::cluster, nullptr, "scheduler").making->what;
  auto foreign = ca.object;
  foreign["data"]["tls.key"] = keys.object["data"]["tls.key"];
  auto garbled = ca.object;
  garbled["data"]["tls.crt"] = "***";
  for (const auto& secrets : std::vector<std::vector<std::string>>{
           {}, {"no JSON"}, {"{}"}, {foreign.dump()}, {garbled.dump()}, {ca.object.dump(), ca.object.dump()}}) {
    const auto body = forge(recipe, secrets, now);
    REQUIRE_FALSE(body);
    CHECK(body.error().message.find("PRIVATE") == std::string::npos);
    CHECK(body.error().code == reconcile::Code::invalid);
  }
  CHECK_FALSE(forge("no JSON", {}, now));
  CHECK_FALSE(forge(R"({"make":"gold"})", {ca.object.dump()}, now));
}
