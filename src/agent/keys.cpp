#include "src/agent/keys.hpp"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <array>
#include <memory>

namespace endstate::agent {

using reconcile::Code, reconcile::fail;

namespace {

template <auto Free>
struct Deleter {
  template <class T>
  void operator()(T* p) const {
    Free(p);
  }
};
using Bio = std::unique_ptr<BIO, Deleter<BIO_free_all>>;
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using Request = std::unique_ptr<X509_REQ, Deleter<X509_REQ_free>>;
using Certificate = std::unique_ptr<X509, Deleter<X509_free>>;

// OpenSSL's queue of errors belongs to the thread: emptied, so that libcurl never meets what failed here.
auto broken(std::string_view what) {
  ERR_clear_error();
  return fail(Code::invalid, std::string(what));
}
int no_passphrase(char*, int, int, void*) { return -1; }
Bio reader(std::string_view pem) { return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))); }
Key read_key(std::string_view pem) { return Key(PEM_read_bio_PrivateKey(reader(pem).get(), nullptr, no_passphrase, nullptr)); }
std::string text_of(BIO* bio) {
  char* at = nullptr;
  const auto size = BIO_get_mem_data(bio, &at);
  return {at, static_cast<std::size_t>(size)};
}

bool add_name(X509_NAME* name, const char* field, const std::string& value) {
  return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.data()),
                                    static_cast<int>(value.size()), -1, 0) == 1;
}
std::string name_part(const X509_NAME* name, int nid) {
  const int at = X509_NAME_get_index_by_NID(name, nid, -1);
  if (at < 0) return {};
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
  std::string out = size > 0 ? std::string(reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(size)) : std::string();
  OPENSSL_free(utf8);
  return out;
}
WallTime time_of(const ASN1_TIME* t) {
  std::tm tm{};
  if (ASN1_TIME_to_tm(t, &tm) != 1) return {};
  return WallTime(std::chrono::seconds(timegm(&tm)));
}

}  // namespace

Result<std::string> make_key() {
  const Key key(EVP_EC_gen("P-256"));
  const Bio bio(BIO_new(BIO_s_secmem()));
  if (!key || PEM_write_bio_PKCS8PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return broken("no key could be made");
  return text_of(bio.get());
}

Result<std::string> make_request(std::string_view key_pem, const std::string& common_name, const std::string& organization) {
  const auto key = read_key(key_pem);
  if (!key) return broken("the key can't be read");
  const Request request(X509_REQ_new());
  auto* const subject = X509_REQ_get_subject_name(request.get());
  const Bio bio(BIO_new(BIO_s_mem()));
  if (!add_name(subject, "O", organization) || !add_name(subject, "CN", common_name) ||
      X509_REQ_set_pubkey(request.get(), key.get()) != 1 || X509_REQ_sign(request.get(), key.get(), EVP_sha256()) == 0 ||
      PEM_write_bio_X509_REQ(bio.get(), request.get()) != 1)
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
                                   const std::string& organization) {
  const Certificate certificate(PEM_read_bio_X509(reader(certificate_pem).get(), nullptr, no_passphrase, nullptr));
  if (!certificate) return broken("it is no certificate in PEM");
  const auto key = read_key(key_pem);
  if (!key || X509_check_private_key(certificate.get(), key.get()) != 1) return broken("the certificate is for another key");
  const auto* subject = X509_get_subject_name(certificate.get());
  if (name_part(subject, NID_commonName) != common_name || name_part(subject, NID_organizationName) != organization)
    return broken("the certificate is for somebody else than " + common_name + " of " + organization);
  const Validity out{time_of(X509_get0_notBefore(certificate.get())), time_of(X509_get0_notAfter(certificate.get()))};
  if (out.from == WallTime{} || out.to <= out.from) return broken("the certificate has no time");
  ERR_clear_error();
  return out;
}

std::string to_base64(std::string_view bytes) {
  std::string out(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), reinterpret_cast<const unsigned char*>(bytes.data()),
                                   static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(size));
  return out;
}

Result<std::string> from_base64_text(std::string_view text) {
  const std::unique_ptr<EVP_ENCODE_CTX, Deleter<EVP_ENCODE_CTX_free>> context(EVP_ENCODE_CTX_new());
  EVP_DecodeInit(context.get());
  std::string out(text.size() + 64, '\0');
  auto* const to = reinterpret_cast<unsigned char*>(out.data());
  int size = 0, rest = 0;
  if (EVP_DecodeUpdate(context.get(), to, &size, reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size())) < 0 ||
      EVP_DecodeFinal(context.get(), to + size, &rest) < 0)
    return broken("it isn't base64");
  out.resize(static_cast<std::size_t>(size) + static_cast<std::size_t>(rest));
  return out;
}

}  // namespace endstate::agent
