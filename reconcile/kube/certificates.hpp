// CertificateSigningRequest (k8s.io/api/certificates/v1/types.go), as far as one who approves reads it.
#pragma once
#include "reconcile/kube/kind.hpp"

namespace reconcile {

struct CertificateRequestSpec {
  Text request, signer_name, username;  // request: PEM in base64; username and groups: who asks, as the API server says
  std::vector<Text> usages, groups;
  std::optional<std::chrono::seconds> life;
  friend bool operator==(const CertificateRequestSpec&, const CertificateRequestSpec&) = default;
};
consteval auto describe(const CertificateRequestSpec*) {
  using S = CertificateRequestSpec;
  return object("What is asked for.", field<&S::request>("request", "The PKCS #10 request, PEM in base64.", {.unique = true}),
                field<&S::signer_name>("signerName", "Who is to sign."), field<&S::username>("username", "Who asks."),
                field<&S::usages>("usages", "What the certificate is for."), field<&S::groups>("groups", "Groups of who asks."),
                field<&S::life>("expirationSeconds", "For how long; absent: as long as the signer likes."));
}

struct CertificateRequestCondition {
  Text type, reason, message;  // Approved, Denied, Failed
  ConditionStatus status{};
  friend bool operator==(const CertificateRequestCondition&, const CertificateRequestCondition&) = default;
};
consteval auto describe(const CertificateRequestCondition*) {
  using S = CertificateRequestCondition;
  return object("What became of a request.", field<&S::type>("type", "Approved, Denied or Failed."),
                field<&S::status>("status", "True.", {.required = true}), field<&S::reason>("reason", "Why, in one word."),
                field<&S::message>("message", "Why, for people."));
}

struct CertificateRequestStatus {
  std::vector<CertificateRequestCondition> conditions;
  Text certificate;  // PEM in base64, once it is signed
  friend bool operator==(const CertificateRequestStatus&, const CertificateRequestStatus&) = default;
};
consteval auto describe(const CertificateRequestStatus*) {
  using S = CertificateRequestStatus;
  return object("How far it is.", field<&S::conditions>("conditions", "What became of it.", {.list_key = "type"}),
                field<&S::certificate>("certificate", "The certificate, PEM in base64.", {.unique = true}));
}

struct CertificateSigningRequest {
  ObjectMeta metadata;
  CertificateRequestSpec spec;
  CertificateRequestStatus status;
  friend bool operator==(const CertificateSigningRequest&, const CertificateSigningRequest&) = default;
};
consteval auto describe(const CertificateSigningRequest*) {
  using S = CertificateSigningRequest;
  return object("Somebody asks for a certificate.", field<&S::metadata>("metadata", "Standard object metadata."),
                field<&S::spec>("spec", "What is asked for."), field<&S::status>("status", "How far it is."));
}
constexpr Resource resource(const CertificateSigningRequest*) {
  return {"certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest", false};
}

}  // namespace reconcile
