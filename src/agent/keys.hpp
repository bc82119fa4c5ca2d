// Keys, certificate requests and certificates of this host, with OpenSSL 3. Nothing here logs or keeps a key, and no error holds one.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "reconcile/base/result.hpp"
#include "reconcile/base/time.hpp"

namespace endstate::agent {

using reconcile::Result, reconcile::WallTime;

Result<std::string> make_key();  // ECDSA P-256, PKCS #8 in PEM
// PKCS #10 in PEM, signed by the key: CN and the O's, and nothing else.
Result<std::string> make_request(std::string_view key_pem, const std::string& common_name, const std::vector<std::string>& organizations);
// Of its public half: 16 hexadecimal digits, for names.
Result<std::string> fingerprint(std::string_view key_pem);

struct Validity {
  WallTime from{}, to{};
};
// Of the first certificate. Code::invalid also if it isn't for that key, common name and organizations (in any order: signers sort them).
Result<Validity> check_certificate(std::string_view certificate_pem, std::string_view key_pem, const std::string& common_name,
                                   const std::vector<std::string>& organizations);

}  // namespace endstate::agent
