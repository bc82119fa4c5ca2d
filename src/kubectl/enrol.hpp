// What `enrol` writes, waits for and prints. Pure.
#pragma once
#include <optional>
#include <string>

#include "apis/v1alpha1/machine.hpp"
#include "reconcile/kube/credentials.hpp"
#include "reconcile/kube/secret.hpp"
#include "src/kubectl/args.hpp"

namespace endstate::kubectl {

// The patch of the Host that asks for a token; `wish` tells it from every other.
std::string wish_for_token(const v1alpha1::Host& host, const std::string& wish);
// The token that was made for that wish, and the number of the enrolment that it is for (0: by an operator that has none); nullopt: it
// isn't there yet.
struct Token {
  std::string text;
  std::int64_t identity = 0;
  friend bool operator==(const Token&, const Token&) = default;
};
std::optional<Token> token_for(const reconcile::SecretData& secret, const std::string& wish);

// What the agent takes (src/agent/identity.hpp: EnrolmentFile). An error says what the host couldn't use.
reconcile::Result<std::string> enrolment_text(const v1alpha1::Host& host, const Token& token, const EnrolArgs& args,
                                              const reconcile::Credentials& credentials, const std::string& ca_pem);

}  // namespace endstate::kubectl
