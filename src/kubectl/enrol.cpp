#include "src/kubectl/enrol.hpp"

#include <charconv>
#include <nlohmann/json.hpp>

#include "apis/v1alpha1/enrolment.hpp"
#include "reconcile/json/encode.hpp"
#include "reconcile/kube/base64.hpp"

namespace endstate::kubectl {

namespace names = v1alpha1::enrolment;
using reconcile::Code, reconcile::fail, reconcile::quote, reconcile::Result;

std::string wish_for_token(const v1alpha1::Host& host, const std::string& wish) {
  return "{\"metadata\":{\"uid\":" + quote(host.metadata.uid) + ",\"annotations\":{" + quote(names::wanted) + ":" + quote(wish) + "}}}";
}

std::optional<Token> token_for(const reconcile::SecretData& secret, const std::string& wish) {
  const auto& notes = secret.metadata.annotations;
  if (notes.get(names::wanted) != wish || notes.get(names::published) != "true") return std::nullopt;
  auto token = reconcile::from_base64(secret.data.get(names::token_key));
  if (!token) return std::nullopt;
  Token out{.text = std::move(*token)};
  const auto number = notes.get(names::identity);
  std::from_chars(number.data(), number.data() + number.size(), out.identity);
  return out;
}

Result<std::string> enrolment_text(const v1alpha1::Host& host, const Token& token, const EnrolArgs& args,
                                   const reconcile::Credentials& credentials, const std::string& ca_pem) {
  const auto address = args.server.empty() ? credentials.server : args.server;
  const auto endpoint = reconcile::parse_server(address);
  if (!endpoint) return fail(Code::invalid, "--server " + endpoint.error().message);
  if (endpoint->loopback)
    return fail(Code::invalid,
                "a host can't reach the API server at " + address + ": give --server https://... as it is reached from there");
  if (credentials.insecure)
    return fail(Code::invalid, "the kubeconfig has insecure-skip-tls-verify: a host is told whom to trust, so use one with the CA");
  nlohmann::ordered_json server{{"address", address}};
  if (!ca_pem.empty()) server["ca"] = ca_pem;
  const auto name = args.tls_server_name.empty() ? credentials.tls_server_name : args.tls_server_name;
  if (!name.empty()) server["tlsServerName"] = name;
  nlohmann::ordered_json text{{"hostUID", host.metadata.uid.view()},
                              {"namespace", host.metadata.name_space.view()},
                              {"host", host.metadata.name.view()},
                              {"token", token.text},
                              {"server", std::move(server)}};
  if (token.identity > 0) text["identity"] = token.identity;
  return text.dump() + "\n";
}

}  // namespace endstate::kubectl
