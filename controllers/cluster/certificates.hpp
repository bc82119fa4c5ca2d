// What the keys and certificates of a Hosted cluster are, as plain facts: wished for (LeafSpec) and found (CertificateFacts). Pure; no
// private key is ever in one of these.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "reconcile/base/time.hpp"

namespace endstate::cluster {

using reconcile::WallTime;

enum class KeyType : std::uint8_t { ecdsa, rsa };  // P-256; 2048 bits (NIST SP 800-57 part 1, table 2: good until 2030 and after)
enum class CaName : std::uint8_t { cluster, etcd, front_proxy };
inline constexpr CaName all_cas[] = {CaName::cluster, CaName::etcd, CaName::front_proxy};

// Lifetimes. A leaf is made anew when less than a third of its life is left, a CA is rotated when less than a fifth is: at least two lives
// of a leaf before its end, so that none has to be cut short by it. Certificates begin a little early, for clocks that are behind ours.
inline constexpr std::chrono::hours ca_lifetime{24 * 3650}, leaf_lifetime{24 * 365};
inline constexpr std::chrono::minutes backdate{5};

// The certificate of one program in one role.
struct LeafSpec {
  std::string name;  // of its Secret, without the cluster's name
  CaName ca{};
  std::string common_name, organization;
  std::vector<std::string> dns_names, addresses;  // sorted
  bool server = false, client = false;
  friend bool operator==(const LeafSpec&, const LeafSpec&) = default;
};

struct CertificateFacts {
  std::string fingerprint;            // SHA-256 of the certificate, lower-case hex
  std::string key_id, issuer_key_id;  // RFC 5280, 4.2.1.2 and 4.2.1.1, lower-case hex
  std::string common_name, organization;
  std::vector<std::string> dns_names, addresses;  // sorted
  bool ca = false, server = false, client = false;
  KeyType key_type{};
  WallTime not_before{}, not_after{};
  friend bool operator==(const CertificateFacts&, const CertificateFacts&) = default;
};

// "…-ca", "…-etcd", "…-proxy", "…-sa": Cluster API's names, so that its tools find them.
constexpr std::string_view secret_suffix(CaName ca) {
  constexpr std::string_view names[] = {"ca", "etcd", "proxy"};
  return names[static_cast<std::size_t>(ca)];
}
inline constexpr std::string_view service_account_suffix = "sa";

}  // namespace endstate::cluster
