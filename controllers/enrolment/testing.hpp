// Requests as hosts make them, with OpenSSL. Only for tests.
#pragma once
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "controllers/cluster/pki.hpp"
#include "reconcile/kube/base64.hpp"

namespace endstate::enrolment::testing {

// `names`: as OpenSSL writes subjectAltName ("DNS:h1,IP:10.0.0.1"); `extra`: one more extension ("basicConstraints=CA:TRUE" is {NID,
// value}).
inline std::string request(const std::string& common_name, const std::vector<std::string>& organizations, const std::string& names = {},
                           int extra = 0, const char* value = nullptr) {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509_REQ* r = X509_REQ_new();
  X509_NAME* subject = X509_REQ_get_subject_name(r);
  const auto add = [&](const char* field, const std::string& text) {
    X509_NAME_add_entry_by_txt(subject, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(text.data()),
                               static_cast<int>(text.size()), -1, 0);
  };
  for (const auto& o : organizations) add("O", o);
  add("CN", common_name);
  X509_REQ_set_pubkey(r, key);
  STACK_OF(X509_EXTENSION)* all = sk_X509_EXTENSION_new_null();
  if (!names.empty()) sk_X509_EXTENSION_push(all, X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, names.c_str()));
  if (value) sk_X509_EXTENSION_push(all, X509V3_EXT_conf_nid(nullptr, nullptr, extra, value));
  if (sk_X509_EXTENSION_num(all) > 0) X509_REQ_add_extensions(r, all);
  sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free);
  if (X509_REQ_sign(r, key, EVP_sha256()) == 0) throw std::logic_error("not signed");
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509_REQ(bio, r);
  char* at = nullptr;
  const auto size = BIO_get_mem_data(bio, &at);
  const std::string pem(at, static_cast<std::size_t>(size));
  BIO_free(bio);
  X509_REQ_free(r);
  EVP_PKEY_free(key);
  return reconcile::to_base64(pem);
}

}  // namespace endstate::enrolment::testing
