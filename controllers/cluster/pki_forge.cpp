#include "controllers/cluster/pki_forge.hpp"

#include <nlohmann/json.hpp>

#include "apis/v1alpha1/names.hpp"
#include "controllers/cluster/pki.hpp"
#include "reconcile/kube/base64.hpp"

namespace endstate::cluster {
namespace {

using nlohmann::json;
using reconcile::Code, reconcile::fail, reconcile::Result;
using Data = std::vector<std::pair<std::string, std::string>>;  // keys of a Secret, decoded; an empty text removes one

struct Ca {
  KeyPair issuing, next;
  std::string trusted;
};

Result<Ca> read_ca(const std::vector<std::string>& secrets) {
  const auto object = secrets.size() == 1 ? json::parse(secrets[0], nullptr, false) : json();
  const auto data = object.is_object() ? object.value("data", json::object()) : json();
  if (!data.is_object()) return fail(Code::invalid, "the CA's Secret holds no data");
  const auto read = [&](const char* key) {
    return from_base64(data.contains(key) && data[key].is_string() ? data[key].get<std::string>() : "");
  };
  Ca ca;
  for (const auto& [key, to] : {std::pair{"tls.crt", &ca.issuing.certificate},
                                {"tls.key", &ca.issuing.key},
                                {"ca.crt", &ca.trusted},
                                {"next.crt", &ca.next.certificate},
                                {"next.key", &ca.next.key}}) {
    auto value = read(key);
    if (!value) return fail(Code::invalid, std::string("the CA's Secret: ") + key + " is not base64");
    *to = std::move(*value);
  }
  if (!fits(ca.issuing)) return fail(Code::invalid, "the CA's Secret: tls.key isn't the key of tls.crt");
  return ca;
}

std::string body(const json& recipe, const Data& data) {
  auto out = recipe.contains("object") ? recipe["object"] : json::object();
  const bool patch = !recipe.contains("object");
  if (patch && !recipe.value("madeFor", "").empty())
    out["metadata"]["annotations"][std::string(v1alpha1::annotation::made_for)] = recipe["madeFor"];
  for (const auto& [key, value] : data)
    if (patch || !value.empty()) out["data"][key] = value.empty() ? json() : json(reconcile::to_base64(value));
  return out.dump();
}

json kubeconfig(const json& recipe, const json& cluster, const json& user) {
  const auto& name = recipe["cluster"];
  return {{"apiVersion", "v1"},
          {"kind", "Config"},
          {"clusters", {{{"name", name}, {"cluster", cluster}}}},
          {"users", {{{"name", "endstate"}, {"user", user}}}},
          {"contexts", {{{"name", name}, {"context", {{"cluster", name}, {"user", "endstate"}}}}}},
          {"current-context", name}};
}

void add_kubeconfig(const json& recipe, const Ca& ca, const KeyPair& pair, Data& data) {
  if (recipe.value("inside", false)) {  // relative to the file itself; client-go takes in files that change
    data.emplace_back("kubeconfig", kubeconfig(recipe, {{"server", recipe["server"]}, {"certificate-authority", "ca.crt"}},
                                               {{"client-certificate", "client.crt"}, {"client-key", "client.key"}})
                                        .dump());
    return;
  }
  data.emplace_back(
      "value",
      kubeconfig(recipe, {{"server", recipe["server"]}, {"certificate-authority-data", reconcile::to_base64(ca.trusted)}},
                 {{"client-certificate-data", reconcile::to_base64(pair.certificate)}, {"client-key-data", reconcile::to_base64(pair.key)}})
          .dump());
}

KeyType key_type(const json& recipe) { return recipe.value("keyType", "") == "rsa" ? KeyType::rsa : KeyType::ecdsa; }

Result<std::string> leaf(const json& recipe, const Ca& ca, WallTime now) {
  const auto& wanted = recipe.at("leaf");
  LeafSpec spec;
  spec.name = wanted.at("name");
  spec.common_name = wanted.at("commonName");
  spec.organization = wanted.at("organization");
  spec.dns_names = wanted.at("dnsNames").get<std::vector<std::string>>();
  spec.addresses = wanted.at("addresses").get<std::vector<std::string>>();
  spec.server = wanted.at("server");
  spec.client = wanted.at("client");
  const auto pair = make_leaf(ca.issuing, spec, key_type(recipe), now);
  if (!pair) return fail(pair.error());
  Data data{{"tls.crt", pair->certificate}, {"tls.key", pair->key}};
  if (recipe.contains("server")) add_kubeconfig(recipe, ca, *pair, data);
  return body(recipe, data);
}

Result<std::string> new_ca(const json& recipe, WallTime now) {
  const auto pair = make_ca(recipe.at("commonName").get<std::string>(), key_type(recipe), now);
  if (!pair) return fail(pair.error());
  return body(recipe, {{"tls.crt", pair->certificate}, {"tls.key", pair->key}, {"ca.crt", pair->certificate}});
}

Result<std::string> new_keys(const json& recipe) {
  const auto pair = make_signing_keys(key_type(recipe));
  if (!pair) return fail(pair.error());
  return body(recipe, {{"tls.crt", pair->certificate}, {"tls.key", pair->key}});
}

Result<std::string> trust(const json& recipe, const Ca& ca, WallTime now) {
  if (!ca.next.certificate.empty()) return fail(Code::invalid, "the CA's Secret holds a next CA already");
  // The name tells the two apart: a client that finds its issuer by name would else find the wrong one first (RFC 5280, 4.1.2.4).
  const auto name = recipe.at("commonName").get<std::string>() + "-" +
                    std::to_string(std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count());
  const auto pair = make_ca(name, key_type(recipe), now);
  if (!pair) return fail(pair.error());
  return body(recipe, {{"next.crt", pair->certificate}, {"next.key", pair->key}, {"ca.crt", ca.trusted + pair->certificate}});
}

Result<std::string> switch_over(const json& recipe, const Ca& ca) {
  if (!fits(ca.next)) return fail(Code::invalid, "the CA's Secret: next.key isn't the key of next.crt");
  return body(recipe, {{"tls.crt", ca.next.certificate}, {"tls.key", ca.next.key}, {"next.crt", ""}, {"next.key", ""}});
}

}  // namespace

Result<std::string> forge(const std::string& text, const std::vector<std::string>& secrets, WallTime now) {
  const auto recipe = json::parse(text, nullptr, false);
  if (!recipe.is_object()) return fail(Code::invalid, "no recipe");
  const auto make = recipe.value("make", "");
  if (make == "ca") return new_ca(recipe, now);
  if (make == "keys") return new_keys(recipe);
  const auto ca = read_ca(secrets);
  if (!ca) return fail(ca.error());
  if (make == "leaf") return leaf(recipe, *ca, now);
  if (make == "trust") return trust(recipe, *ca, now);
  if (make == "switch") return switch_over(recipe, *ca);
  if (make == "retire") return body(recipe, {{"ca.crt", ca->issuing.certificate}});
  return fail(Code::invalid, "a recipe for '" + make + "'");
}

}  // namespace endstate::cluster
