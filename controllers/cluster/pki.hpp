// Keys and certificates, with OpenSSL 3: made, and read as facts. Making is chance (OpenSSL's own generator), so no plan calls it: the
// actor does, for an action that asks for it (pki_forge.hpp). Reading is a pure function, but OpenSSL is not what plans link.
//
// Nothing here logs or keeps a key, and no error names one.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "controllers/cluster/certificates.hpp"
#include "reconcile/base/result.hpp"

namespace endstate::cluster {

struct KeyPair {
  std::string certificate, key;  // PEM; key: PKCS #8
};

inline constexpr std::size_t max_bundle = 16;  // certificates of one PEM text
inline constexpr std::size_t max_pem_bytes = 256 << 10;

// A self-signed CA that may sign leaves only (path length 0).
reconcile::Result<KeyPair> make_ca(std::string_view common_name, KeyType type, WallTime now, std::chrono::seconds lifetime = ca_lifetime);
// A leaf; it never outlives its issuer. A CA that has expired, or a key that isn't its certificate's, is Code::invalid.
reconcile::Result<KeyPair> make_leaf(const KeyPair& issuer, const LeafSpec& spec, KeyType type, WallTime now,
                                     std::chrono::seconds lifetime = leaf_lifetime);
// What service accounts' tokens are signed with: `certificate` is the public key's PEM (SubjectPublicKeyInfo).
reconcile::Result<KeyPair> make_signing_keys(KeyType type);

// All certificates of a PEM text, in order. None, one that can't be read, more than max_bundle or max_pem_bytes: Code::invalid.
reconcile::Result<std::vector<CertificateFacts>> read_certificates(std::string_view pem);
// SHA-256 of a public key's DER, hex.
reconcile::Result<std::string> read_public_key(std::string_view pem);
// Whether the private key is that of the (first) certificate or the public key.
bool fits(const KeyPair& pair);

enum class Usage : std::uint8_t { server, client };
// OpenSSL's own judgement of a leaf at a time, with a bundle of trusted CAs: chain, times, usage.
reconcile::Result<void> verify(std::string_view leaf, std::string_view trusted, Usage usage, WallTime at);

reconcile::Result<std::string> from_base64(std::string_view text);

}  // namespace endstate::cluster
