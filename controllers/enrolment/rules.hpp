// Which certificates a host may have: a pure judgement of one request, by what the API server says of who asks and by what is known of the
// host. What isn't ours is left to others; what claims to be ours and doesn't match is refused with a reason.
//
//   signer                          subject                              asked for by
//   kube-apiserver-client           endstate:host:UID, endstate:hosts    the enrolment's token, or that very user; in the meta cluster
//   kube-apiserver-client           endstate:host:UID, endstate:agents   the hand-over's token, or that very user; where it is assigned
//   kube-apiserver-client-kubelet   system:node:NAME, system:nodes       endstate:host:UID, or that very user; NAME: of its assignment
//   kubelet-serving                 system:node:NAME, system:nodes       that very user; for its name and address only
//
// The first two carry a further O, the number of the enrolment (apis/v1alpha1/enrolment.hpp, identity_group): who asks with a lower one is
// refused.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "reconcile/kube/certificates.hpp"

namespace endstate::enrolment {

// What is in a PKCS #10 request (pki_request.hpp reads it).
struct RequestFacts {
  std::string common_name;
  std::vector<std::string> organizations, dns_names, addresses;  // addresses: as inet_ntop writes them, so canonical
  bool more = false;                                             // something else is asked for: other names, other parts of a subject, a CA
  friend bool operator==(const RequestFacts&, const RequestFacts&) = default;
};

// What is known of the host that a request is about, in the cluster where it was made.
struct HostFacts {
  std::string uid, name, address;
  std::int64_t identity = 0;    // of its last enrolment
  bool meta = false;            // it is the meta cluster
  bool assigned = false;        // the host has a HostAssignment in this cluster
  std::string node_name;        // of an active one that is for its Machine; empty: there is none
  std::string node_trouble;     // why nobody gets a certificate for that Node now; empty: nothing stands against it
  std::string address_trouble;  // why nobody gets one for that address; empty: nothing stands against it
  std::string enrolment_token;  // user of the token that is valid for its enrolment; empty: none is
  std::int64_t enrolment = 0;   // the number that this enrolment gives
  std::string hand_over_token;  // and of the one for this business cluster
  std::string not_isolated;     // why this cluster lets no new agent in; empty: it does
};

enum class Verdict : std::uint8_t { not_ours, wait, approve, deny };
enum class Purpose : std::uint8_t { none, host, agent, kubelet_client, kubelet_serving };
struct Judgement {
  Verdict verdict{};
  Purpose purpose{};
  std::string message{};  // why, for people
  bool by_token = false;  // asked for with a one-time token: good for one key only
};

Judgement judge(const reconcile::CertificateSigningRequest& request, const RequestFacts& facts, const HostFacts& host);

// The uids of hosts that a request may be about, by who asks; nullopt: by nobody of ours.
std::optional<std::string> host_uid_of(const reconcile::CertificateSigningRequest& request);
// The Node's name, of a kubelet that asks for itself.
std::optional<std::string> node_of(const reconcile::CertificateSigningRequest& request);

bool is_approved(const reconcile::CertificateSigningRequest& request);
bool is_pending(const reconcile::CertificateSigningRequest& request);  // neither approved nor denied nor failed
bool is_issued(const reconcile::CertificateSigningRequest& request);

}  // namespace endstate::enrolment
