// Requests as hosts make them, with OpenSSL; and objects of simulated API servers, as JSON. Only for tests.
#pragma once
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "reconcile/kube/base64.hpp"
#include "reconcile/kube/kind.hpp"
#include "reconcile/sim/sim_api.hpp"

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

// What people and other loops write; a test fails where a server refuses it.
struct Objects {
  template <class T>
  static void create(reconcile::SimApi& server, const std::string& ns, nlohmann::json body) {
    body["apiVersion"] = reconcile::api_version(reconcile::resource_of<T>);
    body["kind"] = reconcile::resource_of<T>.kind;
    must(server, {.verb = reconcile::Verb::create, .resource = &reconcile::resource_of<T>, .name_space = ns, .body = body.dump()});
  }
  template <class T>
  static void patch(reconcile::SimApi& server, const std::string& ns, const std::string& name, const nlohmann::json& body,
                    const std::string& sub = {}) {
    must(server, {.verb = reconcile::Verb::merge_patch,
                  .resource = &reconcile::resource_of<T>,
                  .name_space = ns,
                  .name = name,
                  .subresource = sub,
                  .body = body.dump()});
  }
  template <class T>
  static nlohmann::json object(const reconcile::SimApi& server, const std::string& ns, const std::string& name) {
    return nlohmann::json::parse(server.get(reconcile::resource_of<T>, ns, name).value_or("{}"));
  }

 private:
  static void must(reconcile::SimApi& server, reconcile::Call call) {
    if (const auto done = server.request(std::move(call)); !done) FAIL(done.error().message);
  }
};

}  // namespace endstate::enrolment::testing
