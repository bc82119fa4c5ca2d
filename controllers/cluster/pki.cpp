#include "controllers/cluster/pki.hpp"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <memory>

#include "reconcile/kube/base64.hpp"
#include "reconcile/kube/openssl.hpp"

namespace endstate::cluster {
namespace {

using reconcile::Code, reconcile::fail, reconcile::FreeBy, reconcile::Result;
using std::chrono::seconds;

namespace openssl = reconcile::openssl;
using openssl::Bio, openssl::Certificate, openssl::entry_of, openssl::Key, openssl::no_passphrase, openssl::read_certificate,
    openssl::read_key, openssl::reader, openssl::text_of, openssl::time_of;
using Extension = std::unique_ptr<X509_EXTENSION, FreeBy<X509_EXTENSION_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, FreeBy<GENERAL_NAMES_free>>;
using Number = std::unique_ptr<BIGNUM, FreeBy<BN_free>>;
using Store = std::unique_ptr<X509_STORE, FreeBy<X509_STORE_free>>;
using StoreContext = std::unique_ptr<X509_STORE_CTX, FreeBy<X509_STORE_CTX_free>>;

// OpenSSL's queue of errors belongs to the thread: emptied, so that it speaks of this call only. It never holds key material.
auto broken(std::string_view what) {
  std::array<char, 256> text{};
  if (const auto code = ERR_peek_last_error(); code != 0) ERR_error_string_n(code, text.data(), text.size());
  ERR_clear_error();
  return fail(Code::invalid, std::string(what) + (text[0] == '\0' ? "" : std::string(": ") + text.data()));
}

// Private keys are wiped from the buffer when it goes (a secure-memory BIO falls back to the ordinary heap, and cleanses it).
Bio memory() { return Bio(BIO_new(BIO_s_secmem())); }

std::string hex(const unsigned char* bytes, std::size_t size) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (std::size_t i = 0; i < size; ++i) {
    out += digits[bytes[i] >> 4];
    out += digits[bytes[i] & 15];
  }
  return out;
}
std::string hex(const ASN1_OCTET_STRING* s) {
  return s ? hex(ASN1_STRING_get0_data(s), static_cast<std::size_t>(ASN1_STRING_length(s))) : std::string();
}

Key generate(KeyType type) { return Key(type == KeyType::ecdsa ? EVP_EC_gen("P-256") : EVP_RSA_gen(2048)); }

std::string key_pem(EVP_PKEY* key) {
  const auto bio = memory();
  return PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1 ? text_of(bio.get()) : std::string();
}
std::string certificate_pem(X509* certificate) {
  const Bio bio(BIO_new(BIO_s_mem()));
  return PEM_write_bio_X509(bio.get(), certificate) == 1 ? text_of(bio.get()) : std::string();
}
// ---- making ----

bool set_serial(X509* x) {  // RFC 5280, 4.1.2.2: positive, at most 20 bytes; 127 bits of chance
  const Number number(BN_new());
  return BN_rand(number.get(), 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
         BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(x)) != nullptr;
}

bool set_time(ASN1_TIME* at, WallTime time) {
  return ASN1_TIME_set(at, std::chrono::system_clock::to_time_t(std::chrono::floor<seconds>(time))) != nullptr;
}

bool add_name(X509_NAME* name, const char* field, std::string_view value) {
  return value.empty() || X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.data()),
                                                     static_cast<int>(value.size()), -1, 0) == 1;
}

// `value` is always one of our own constants; what users wrote goes in as a structure (alternative_names).
bool add_extension(X509* x, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, x, nullptr, nullptr, 0);
  const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  return extension && X509_add_ext(x, extension.get(), -1) == 1;
}

GENERAL_NAME* general_name(int type, ASN1_STRING* value) {
  if (!value) return nullptr;
  auto* const name = GENERAL_NAME_new();
  if (name)
    GENERAL_NAME_set0_value(name, type, value);
  else
    ASN1_STRING_free(value);
  return name;
}
GENERAL_NAME* dns_name(const std::string& text) {
  auto* const value = ASN1_IA5STRING_new();
  if (value && ASN1_STRING_set(value, text.data(), static_cast<int>(text.size())) != 1) {
    ASN1_STRING_free(value);
    return nullptr;
  }
  return general_name(GEN_DNS, value);
}
GENERAL_NAME* address(const std::string& text) { return general_name(GEN_IPADD, a2i_IPADDRESS(text.c_str())); }

bool add_alternative_names(X509* x, const LeafSpec& spec) {
  if (spec.dns_names.empty() && spec.addresses.empty()) return true;
  const Names names(sk_GENERAL_NAME_new_null());
  const auto push = [&](GENERAL_NAME* name) {
    if (!name) return false;
    if (sk_GENERAL_NAME_push(names.get(), name) > 0) return true;
    GENERAL_NAME_free(name);
    return false;
  };
  for (const auto& n : spec.dns_names)
    if (!push(dns_name(n))) return false;
  for (const auto& a : spec.addresses)
    if (!push(address(a))) return false;
  return X509_add1_ext_i2d(x, NID_subject_alt_name, names.get(), 0, X509V3_ADD_DEFAULT) == 1;
}

Certificate begin(EVP_PKEY* key, WallTime from, WallTime until) {
  Certificate x(X509_new());
  const bool good = x && X509_set_version(x.get(), X509_VERSION_3) == 1 && set_serial(x.get()) &&
                    set_time(X509_getm_notBefore(x.get()), from) && set_time(X509_getm_notAfter(x.get()), until) &&
                    X509_set_pubkey(x.get(), key) == 1;
  return good ? std::move(x) : nullptr;
}

const char* usages(const LeafSpec& spec) {
  if (spec.server && spec.client) return "serverAuth,clientAuth";
  return spec.server ? "serverAuth" : "clientAuth";
}

// ---- reading ----

std::string address_text(const ASN1_OCTET_STRING* a) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int size = ASN1_STRING_length(a);
  if (size != 4 && size != 16) return {};
  return inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(a), text.data(), text.size()) ? text.data() : "";
}

void read_names(X509* x, CertificateFacts& out) {
  const Names names(static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(x, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    int type = 0;
    const auto* value = static_cast<const ASN1_STRING*>(GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names.get(), i), &type));
    if (type == GEN_DNS)
      out.dns_names.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                                 static_cast<std::size_t>(ASN1_STRING_length(value)));
    else if (type == GEN_IPADD)
      out.addresses.push_back(address_text(value));
  }
  std::sort(out.dns_names.begin(), out.dns_names.end());
  std::sort(out.addresses.begin(), out.addresses.end());
}

Result<CertificateFacts> facts(X509* x) {
  CertificateFacts out;
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (X509_digest(x, EVP_sha256(), digest.data(), &size) != 1) return broken("a certificate has no digest");
  const auto* key = X509_get0_pubkey(x);
  if (!key) return broken("a certificate's key can't be read");
  out.fingerprint = hex(digest.data(), size);
  out.key_id = hex(X509_get0_subject_key_id(x));
  out.issuer_key_id = hex(X509_get0_authority_key_id(x));
  out.common_name = entry_of(X509_get_subject_name(x), NID_commonName);
  out.organization = entry_of(X509_get_subject_name(x), NID_organizationName);
  out.ca = X509_check_ca(x) == 1;
  const auto usage = X509_get_extended_key_usage(x);
  out.server = usage != UINT32_MAX && (usage & XKU_SSL_SERVER) != 0;
  out.client = usage != UINT32_MAX && (usage & XKU_SSL_CLIENT) != 0;
  out.key_type = EVP_PKEY_get_base_id(key) == EVP_PKEY_EC ? KeyType::ecdsa : KeyType::rsa;
  out.not_before = time_of(X509_get0_notBefore(x));
  out.not_after = time_of(X509_get0_notAfter(x));
  read_names(x, out);
  return out;
}

Result<std::vector<Certificate>> read_all(std::string_view pem) {
  if (pem.size() > max_pem_bytes) return fail(Code::invalid, "more than 256 KiB of certificates");
  std::vector<Certificate> out;
  const auto bio = reader(pem);
  while (Certificate x{PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr)}) {
    if (out.size() == max_bundle) return fail(Code::invalid, "more than 16 certificates in one bundle");
    out.push_back(std::move(x));
  }
  // The end of the text is an error to OpenSSL too: any other is a certificate that can't be read.
  const auto why = ERR_peek_last_error();
  if (out.empty() || ERR_GET_LIB(why) != ERR_LIB_PEM || ERR_GET_REASON(why) != PEM_R_NO_START_LINE)
    return broken("a certificate can't be read");
  ERR_clear_error();
  return out;
}

}  // namespace

Result<KeyPair> make_ca(std::string_view common_name, KeyType type, WallTime now, seconds lifetime) {
  const auto key = generate(type);
  if (!key) return broken("a key could not be made");
  const auto x = begin(key.get(), now - backdate, now + lifetime);
  if (!x) return broken("a certificate could not be made");
  auto* const name = X509_get_subject_name(x.get());
  const bool good = add_name(name, "CN", common_name) && X509_set_issuer_name(x.get(), name) == 1 &&
                    add_extension(x.get(), x.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
                    add_extension(x.get(), x.get(), NID_key_usage, "critical,digitalSignature,keyCertSign,cRLSign") &&
                    add_extension(x.get(), x.get(), NID_subject_key_identifier, "hash") &&
                    add_extension(x.get(), x.get(), NID_authority_key_identifier, "keyid:always") &&
                    X509_sign(x.get(), key.get(), EVP_sha256()) > 0;
  if (!good) return broken("a CA could not be made");
  return KeyPair{certificate_pem(x.get()), key_pem(key.get())};
}

Result<KeyPair> make_leaf(const KeyPair& issuer, const LeafSpec& spec, KeyType type, WallTime now, seconds lifetime) {
  const auto ca = read_certificate(issuer.certificate);
  const auto ca_key = read_key(issuer.key);
  if (!ca || !ca_key) return broken("the CA can't be read");
  if (X509_check_private_key(ca.get(), ca_key.get()) != 1) return broken("the CA's key isn't its certificate's");
  const auto end = time_of(X509_get0_notAfter(ca.get()));
  if (end <= now) return fail(Code::invalid, "the CA has expired");
  const auto key = generate(type);
  if (!key) return broken("a key could not be made");
  const auto x = begin(key.get(), now - backdate, std::min<WallTime>(now + lifetime, end));
  if (!x) return broken("a certificate could not be made");
  auto* const name = X509_get_subject_name(x.get());
  const bool encipher = type == KeyType::rsa;  // RSA key exchange, for old clients; ECDSA keys only sign (RFC 5480, section 3)
  const bool good = add_name(name, "O", spec.organization) && add_name(name, "CN", spec.common_name) &&
                    X509_set_issuer_name(x.get(), X509_get_subject_name(ca.get())) == 1 &&
                    add_extension(x.get(), ca.get(), NID_basic_constraints, "critical,CA:FALSE") &&
                    add_extension(x.get(), ca.get(), NID_key_usage,
                                  encipher ? "critical,digitalSignature,keyEncipherment" : "critical,digitalSignature") &&
                    add_extension(x.get(), ca.get(), NID_ext_key_usage, usages(spec)) &&
                    add_extension(x.get(), ca.get(), NID_subject_key_identifier, "hash") &&
                    add_extension(x.get(), ca.get(), NID_authority_key_identifier, "keyid:always") &&
                    add_alternative_names(x.get(), spec) && X509_sign(x.get(), ca_key.get(), EVP_sha256()) > 0;
  if (!good) return broken("the certificate " + spec.name + " could not be made");
  return KeyPair{certificate_pem(x.get()), key_pem(key.get())};
}

Result<KeyPair> make_signing_keys(KeyType type) {
  const auto key = generate(type);
  const Bio bio(BIO_new(BIO_s_mem()));
  if (!key || PEM_write_bio_PUBKEY(bio.get(), key.get()) != 1) return broken("a key could not be made");
  return KeyPair{text_of(bio.get()), key_pem(key.get())};
}

Result<std::vector<CertificateFacts>> read_certificates(std::string_view pem) {
  const auto all = read_all(pem);
  if (!all) return fail(all.error());
  std::vector<CertificateFacts> out;
  for (const auto& x : *all) {
    auto one = facts(x.get());
    if (!one) return fail(std::move(one.error()));
    out.push_back(std::move(*one));
  }
  return out;
}

Result<std::string> read_public_key(std::string_view pem) {
  const Key key(PEM_read_bio_PUBKEY(reader(pem).get(), nullptr, no_passphrase, nullptr));
  if (!key) return broken("a public key can't be read");
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key.get(), &der);
  if (size <= 0) return broken("a public key can't be written");
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  const bool good = EVP_Digest(der, static_cast<std::size_t>(size), digest.data(), &length, EVP_sha256(), nullptr) == 1;
  OPENSSL_free(der);
  if (!good) return broken("a public key has no digest");
  return hex(digest.data(), length);
}

bool fits(const KeyPair& pair) {
  const auto key = read_key(pair.key);
  Key other;
  if (const auto x = read_certificate(pair.certificate))
    other.reset(X509_get_pubkey(x.get()));
  else
    other.reset(PEM_read_bio_PUBKEY(reader(pair.certificate).get(), nullptr, no_passphrase, nullptr));
  ERR_clear_error();
  return key && other && EVP_PKEY_eq(key.get(), other.get()) == 1;
}

Result<void> verify(std::string_view leaf, std::string_view trusted, Usage usage, WallTime at) {
  const auto x = read_certificate(leaf);
  if (!x) return broken("the certificate can't be read");
  const auto cas = read_all(trusted);
  if (!cas) return fail(cas.error());
  const Store store(X509_STORE_new());
  const StoreContext context(X509_STORE_CTX_new());
  if (!store || !context) return broken("no memory");
  for (const auto& ca : *cas)
    if (X509_STORE_add_cert(store.get(), ca.get()) != 1) return broken("a CA can't be trusted");
  if (X509_STORE_CTX_init(context.get(), store.get(), x.get(), nullptr) != 1) return broken("no verification");
  auto* const rules = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_time(rules, std::chrono::system_clock::to_time_t(std::chrono::floor<seconds>(at)));
  X509_VERIFY_PARAM_set_purpose(rules, usage == Usage::server ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_SSL_CLIENT);
  X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_X509_STRICT | X509_V_FLAG_CHECK_SS_SIGNATURE);
  if (X509_verify_cert(context.get()) == 1) return {};
  const int why = X509_STORE_CTX_get_error(context.get());
  ERR_clear_error();
  return fail(Code::invalid, X509_verify_cert_error_string(why));
}

Result<std::string> from_base64(std::string_view text) {
  if (text.empty()) return std::string();
  auto out = text.size() <= max_pem_bytes * 2 ? reconcile::from_base64(text) : std::nullopt;
  if (!out) return fail(Code::invalid, "not base64");
  return *std::move(out);
}

}  // namespace endstate::cluster
