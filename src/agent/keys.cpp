#include "src/agent/keys.hpp"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>

#include "reconcile/kube/openssl.hpp"

namespace endstate::agent {

using reconcile::Code, reconcile::fail;

namespace {

namespace openssl = reconcile::openssl;
using openssl::Bio, openssl::entry_of, openssl::Key, openssl::read_key, openssl::Request, openssl::text_of, openssl::time_of;

// OpenSSL's queue of errors belongs to the thread: emptied, so that libcurl never meets what failed here.
auto broken(std::string_view what) {
  ERR_clear_error();
  return fail(Code::invalid, std::string(what));
}
bool add_name(X509_NAME* name, const char* field, const std::string& value) {
  return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.data()),
                                    static_cast<int>(value.size()), -1, 0) == 1;
}
std::vector<std::string> organizations_of(const X509_NAME* name) {
  std::vector<std::string> out;
  for (int at = X509_NAME_get_index_by_NID(name, NID_organizationName, -1); at >= 0;
       at = X509_NAME_get_index_by_NID(name, NID_organizationName, at))
    out.push_back(text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at))));
  return out;
}
bool same_set(std::vector<std::string> a, std::vector<std::string> b) {
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  return a == b;
}

}  // namespace

Result<std::string> make_key() {
  const Key key(EVP_EC_gen("P-256"));
  const Bio bio(BIO_new(BIO_s_secmem()));
  if (!key || PEM_write_bio_PKCS8PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return broken("no key could be made");
  return text_of(bio.get());
}

Result<std::string> make_request(std::string_view key_pem, const std::string& common_name, const std::vector<std::string>& organizations) {
  const auto key = read_key(key_pem);
  if (!key) return broken("the key can't be read");
  const Request request(X509_REQ_new());
  auto* const subject = X509_REQ_get_subject_name(request.get());
  const Bio bio(BIO_new(BIO_s_mem()));
  const bool named = std::all_of(organizations.begin(), organizations.end(), [&](const auto& o) { return add_name(subject, "O", o); });
  if (!named || !add_name(subject, "CN", common_name) || X509_REQ_set_pubkey(request.get(), key.get()) != 1 ||
      X509_REQ_sign(request.get(), key.get(), EVP_sha256()) == 0 || PEM_write_bio_X509_REQ(bio.get(), request.get()) != 1)
    return broken("no certificate request could be made");
  return text_of(bio.get());
}

Result<std::string> fingerprint(std::string_view key_pem) {
  const auto key = read_key(key_pem);
  if (!key) return broken("the key can't be read");
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key.get(), &der);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  const bool good = size > 0 && EVP_Digest(der, static_cast<std::size_t>(size), digest.data(), nullptr, EVP_sha256(), nullptr) == 1;
  OPENSSL_free(der);
  if (!good) return broken("the key has no public half");
  std::string out;
  for (std::size_t i = 0; i < 8; ++i) {
    out += "0123456789abcdef"[digest[i] >> 4U];
    out += "0123456789abcdef"[digest[i] & 15U];
  }
  return out;
}

Result<Validity> check_certificate(std::string_view certificate_pem, std::string_view key_pem, const std::string& common_name,
                                   const std::vector<std::string>& organizations) {
  const auto certificate = openssl::read_certificate(certificate_pem);
  if (!certificate) return broken("it is no certificate in PEM");
  const auto key = read_key(key_pem);
  if (!key || X509_check_private_key(certificate.get(), key.get()) != 1) return broken("the certificate is for another key");
  const auto* subject = X509_get_subject_name(certificate.get());
  if (entry_of(subject, NID_commonName) != common_name || !same_set(organizations_of(subject), organizations))
    return broken("the certificate is for somebody else than " + common_name + " of " +
                  (organizations.empty() ? "" : organizations.back()));
  const Validity out{time_of(X509_get0_notBefore(certificate.get())), time_of(X509_get0_notAfter(certificate.get()))};
  if (out.from == WallTime{} || out.to <= out.from) return broken("the certificate has no time");
  ERR_clear_error();
  return out;
}

}  // namespace endstate::agent
