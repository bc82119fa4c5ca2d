// What this project's users of OpenSSL share: owners of its objects, and what goes into them and out. For .cpp files only: its headers are
// heavy.
#pragma once
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <ctime>
#include <memory>
#include <string>
#include <string_view>

#include "reconcile/base/free_by.hpp"
#include "reconcile/base/time.hpp"

namespace reconcile::openssl {

using Bio = std::unique_ptr<BIO, FreeBy<BIO_free_all>>;
using Key = std::unique_ptr<EVP_PKEY, FreeBy<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, FreeBy<X509_free>>;
using Request = std::unique_ptr<X509_REQ, FreeBy<X509_REQ_free>>;

// Reads where `text` stands: it must outlive the BIO.
inline Bio reader(std::string_view text) { return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

// What was written into a memory BIO.
inline std::string text_of(BIO* bio) {
  char* at = nullptr;
  const auto size = BIO_get_mem_data(bio, &at);
  return {at, static_cast<std::size_t>(size)};
}

// As UTF-8; empty: it can't be said so.
inline std::string text_of(const ASN1_STRING* s) {
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, s);
  std::string out = size > 0 ? std::string(reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(size)) : std::string();
  OPENSSL_free(utf8);
  return out;
}

// One part of a subject or issuer; empty: it has none.
inline std::string entry_of(const X509_NAME* name, int nid) {
  const int at = X509_NAME_get_index_by_NID(name, nid, -1);
  return at < 0 ? std::string() : text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
}

inline WallTime time_of(const ASN1_TIME* at) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(at, &parts) != 1) return {};
  using namespace std::chrono;
  const auto day = sys_days(year(parts.tm_year + 1900) / month(static_cast<unsigned>(parts.tm_mon + 1)) / parts.tm_mday);
  return day + hours(parts.tm_hour) + minutes(parts.tm_min) + seconds(parts.tm_sec);
}

// A passphrase is never asked for: a key that has one can't be read.
inline int no_passphrase(char*, int, int, void*) { return -1; }

// The first of a text in PEM; null: there is none.
inline Key read_key(std::string_view pem) { return Key(PEM_read_bio_PrivateKey(reader(pem).get(), nullptr, no_passphrase, nullptr)); }
inline Certificate read_certificate(std::string_view pem) {
  return Certificate(PEM_read_bio_X509(reader(pem).get(), nullptr, no_passphrase, nullptr));
}

}  // namespace reconcile::openssl
