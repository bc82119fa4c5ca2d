#include "controllers/enrolment/pki_token.hpp"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <array>
#include <nlohmann/json.hpp>

#include "apis/v1alpha1/enrolment.hpp"
#include "controllers/cluster/pki.hpp"
#include "reconcile/kube/base64.hpp"
#include "reconcile/kube/credentials.hpp"

namespace endstate::enrolment {

namespace names = v1alpha1::enrolment;
using cluster::from_base64, reconcile::to_base64;
using nlohmann::json;
using reconcile::Code, reconcile::fail, reconcile::Result;

namespace {

constexpr std::size_t secret_size = 16;  // of bootstrap tokens: [a-z0-9]{6}.[a-z0-9]{16}, 82 bits of chance in the second half

Result<std::string> new_token(const std::string& id) {
  constexpr std::string_view alphabet = "abcdefghijklmnopqrstuvwxyz0123456789";
  std::string out = id + ".";
  while (out.size() < id.size() + 1 + secret_size) {
    unsigned char byte = 0;
    if (RAND_bytes(&byte, 1) != 1) return fail(Code::unavailable, "no chance from OpenSSL");
    if (byte < alphabet.size() * 7) out += alphabet[byte % alphabet.size()];  // 252: a multiple of 36, so that none is likelier
  }
  return out;
}

Result<std::string> data_of(const std::vector<std::string>& secrets, std::string_view key) {
  const auto object = secrets.size() == 1 ? json::parse(secrets[0], nullptr, false) : json();
  const auto data = object.is_object() ? object.value("data", json::object()) : json();
  if (!data.is_object() || !data.contains(key) || !data[std::string(key)].is_string())
    return fail(Code::invalid, "the Secret has no data." + std::string(key));
  return from_base64(data[std::string(key)].get<std::string>());
}

Result<json> kubeconfig_for_host(const std::string& of_operator, const std::string& token) {
  const auto c = reconcile::parse_kubeconfig(of_operator, {}, {}, "kubeconfig Secret");
  if (!c) return fail(c.error());
  if (c->insecure)
    return fail(Code::invalid, "the kubeconfig Secret has insecure-skip-tls-verify: hosts are told whom to trust, put the CA into it");
  json server{{"server", c->server}};
  if (!c->ca.text.empty()) server["certificate-authority-data"] = to_base64(c->ca.text);
  if (!c->tls_server_name.empty()) server["tls-server-name"] = c->tls_server_name;
  return json{{"apiVersion", "v1"},
              {"kind", "Config"},
              {"clusters", {{{"name", "endstate"}, {"cluster", server}}}},
              {"users", {{{"name", "endstate"}, {"user", {{"token", token}}}}}},
              {"contexts", {{{"name", "endstate"}, {"context", {{"cluster", "endstate"}, {"user", "endstate"}}}}}},
              {"current-context", "endstate"}};
}

Result<std::string> with_token(const json& recipe, const std::vector<std::string>& secrets) {
  auto token = new_token(recipe.at("tokenID").get<std::string>());
  if (!token) return fail(token.error());
  json object = recipe.at("object");
  object["data"][names::token_key] = to_base64(*token);
  if (recipe.at("make") == "hand-over") {
    const auto of_operator = data_of(secrets, "value");
    if (!of_operator) return fail(of_operator.error());
    const auto made = kubeconfig_for_host(*of_operator, *token);
    if (!made) return fail(made.error());
    object["data"][names::kubeconfig_key] = to_base64(made->dump());
  }
  OPENSSL_cleanse(token->data(), token->size());
  return object.dump();
}

// https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/#bootstrap-token-secret-format
Result<std::string> bootstrap_token(const json& recipe, const std::vector<std::string>& secrets) {
  const auto token = data_of(secrets, names::token_key);
  if (!token) return fail(token.error());
  const auto dot = token->find('.');
  if (dot == std::string::npos) return fail(Code::invalid, "the Secret holds no token");
  json object = recipe.at("object");
  object["type"] = "bootstrap.kubernetes.io/token";
  object["data"] = {{"token-id", to_base64(token->substr(0, dot))},
                    {"token-secret", to_base64(token->substr(dot + 1))},
                    {"expiration", to_base64(recipe.at("expires").get<std::string>())},
                    {"usage-bootstrap-authentication", to_base64("true")},
                    {"auth-extra-groups", to_base64(recipe.at("groups").get<std::string>())}};
  return object.dump();
}

// A Secret with the same data as another.
Result<std::string> copy(const json& recipe, const std::vector<std::string>& secrets) {
  const auto from = secrets.size() == 1 ? json::parse(secrets[0], nullptr, false) : json();
  if (!from.is_object()) return fail(Code::invalid, "there is no Secret to copy");
  json object = recipe.at("object");
  if (from.contains("data") && from["data"].is_object()) object["data"] = from["data"];
  return object.dump();
}

}  // namespace

bool is_ours(const std::string& text) {
  const auto recipe = json::parse(text, nullptr, false);
  const auto make = recipe.is_object() ? recipe.value("make", "") : "";
  return make == "enrolment-token" || make == "hand-over" || make == "bootstrap-token" || make == "copy";
}

Result<std::string> forge(const std::string& text, const std::vector<std::string>& secrets, reconcile::WallTime) {
  const auto recipe = json::parse(text, nullptr, false);
  if (!recipe.is_object()) return fail(Code::invalid, "no recipe");
  if (recipe.value("make", "") == "bootstrap-token") return bootstrap_token(recipe, secrets);
  if (recipe.value("make", "") == "copy") return copy(recipe, secrets);
  return with_token(recipe, secrets);
}

}  // namespace endstate::enrolment
