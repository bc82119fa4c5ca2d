// Reads a certificate request (PKCS #10, RFC 2986) with OpenSSL. A pure function of its text, but OpenSSL is not what plans link.
#pragma once
#include <string_view>

#include "controllers/enrolment/rules.hpp"
#include "reconcile/base/result.hpp"

namespace endstate::enrolment {

inline constexpr std::size_t max_request = 64 << 10;

// `pem_base64`: spec.request. Its signature is checked: whoever asks holds the key. What can't be read is Code::invalid.
reconcile::Result<RequestFacts> read_request(std::string_view pem_base64);

}  // namespace endstate::enrolment
