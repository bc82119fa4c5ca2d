// Enrolment: the names by which a host becomes known to API servers, shared by operator, agent and plugin (and by manifests/rbac/agent.yaml
// and manifests/policies/agents.yaml). The path is told in docs/decisions/0010-enrolment.md.
#pragma once
#include <charconv>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace endstate::v1alpha1 {

namespace enrolment {
// Who a host is, in certificates and tokens.
inline constexpr std::string_view user_prefix = "endstate:host:";    // + uid of its Host: the CN of both of its certificates
inline constexpr std::string_view hosts_group = "endstate:hosts";    // O of the one for the meta cluster
inline constexpr std::string_view agents_group = "endstate:agents";  // O of the one for its business cluster
// Group of all one-time tokens; with ":" and the uid: of those of one host.
inline constexpr std::string_view token_group = "system:bootstrappers:endstate";
inline std::string user(std::string_view uid) { return std::string(user_prefix).append(uid); }
inline std::string token_group_of(std::string_view uid) { return std::string(token_group).append(":").append(uid); }
// Which enrolment of the host a certificate is of: a further O of both certificates, and whom its roles are bound to. So a host that enrols
// anew takes the rights of every key that it, or a thief, had before. 0: enrolled before this was counted; such a certificate has no
// further O.
inline std::string identity_group(std::string_view uid, std::int64_t number) { return user(uid) + ":" + std::to_string(number); }
inline std::optional<std::int64_t> identity_in(std::string_view group, std::string_view uid) {
  const auto prefix = user(uid) + ":";
  if (!group.starts_with(prefix)) return std::nullopt;
  group.remove_prefix(prefix.size());
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(group.data(), group.data() + group.size(), number);
  if (error != std::errc() || end != group.data() + group.size() || number < 1) return std::nullopt;
  return number;
}

// https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers
inline constexpr std::string_view client_signer = "kubernetes.io/kube-apiserver-client";
inline constexpr std::string_view kubelet_client_signer = "kubernetes.io/kube-apiserver-client-kubelet";
inline constexpr std::string_view kubelet_serving_signer = "kubernetes.io/kubelet-serving";

// Objects of one host: Secrets in endstate-system (and copies beside its Host, see below), CertificateSigningRequests in both clusters (+
// "-" and a hash of the key), and the name of its Role and ClusterRole with their bindings.
inline std::string token_secret(std::string_view uid) { return std::string("endstate-enrol-").append(uid); }
inline std::string hand_over_secret(std::string_view uid) { return std::string("endstate-host-").append(uid); }
inline std::string request_prefix(std::string_view uid) { return std::string("endstate-host-").append(uid).append("-"); }
inline std::string role(std::string_view uid) { return user(uid); }
inline constexpr std::string_view bootstrap_namespace = "kube-system";
inline constexpr std::string_view bootstrap_prefix = "bootstrap-token-";

// Annotations. Host: a token is wanted; the value tells one wish from the next; goes once the token is there.
inline constexpr std::string_view wanted = "endstate.dev/enrol";
// Of the two Secrets: the token's public part, its end, whether its API server knows it; which wish, which claim it is for.
inline constexpr std::string_view token_id = "endstate.dev/token-id";
inline constexpr std::string_view token_expires = "endstate.dev/token-expires";
inline constexpr std::string_view published = "endstate.dev/published";    // true; withdrawn: it has had its time
inline constexpr std::string_view used_at = "endstate.dev/token-used-at";  // when it had become a certificate, as the operator saw it
inline constexpr std::string_view claimed_by = "endstate.dev/machine-uid";
inline constexpr std::string_view cluster = "endstate.dev/cluster";  // "<namespace>/<name>"
inline constexpr std::string_view enrolled =
    "endstate.dev/enrolled";  // when the host had enrolled: one that does it again gets another token
// Label: finds the two Secrets (value of label::component).
inline constexpr std::string_view component = "enrolment";
// Of what is in endstate-system, where a Host of another namespace can own nothing: "<namespace>/<name>" of the Host.
inline constexpr std::string_view host = "endstate.dev/host";
// Of the Secrets and roles: the number of the identity that they are for.
inline constexpr std::string_view identity = "endstate.dev/identity";

// Data of the hand-over: a kubeconfig with the business cluster's address, CA and the one-time token. Absent: it is the meta cluster
// itself, where the host has a certificate already.
inline constexpr std::string_view kubeconfig_key = "value";
inline constexpr std::string_view token_key = "token";

inline constexpr std::chrono::seconds token_life{3600};
// How long a certificate may be asked for, and how long agents ask for.
inline constexpr std::chrono::hours longest_life{24 * 31}, usual_life{24 * 7};
// The policy (and its binding) that keeps agents apart: manifests/policies/agents.yaml.
inline constexpr std::string_view isolation = "agents.endstate.dev";
// A used token is good for fetching its certificate, and for nothing else; so long.
inline constexpr std::chrono::seconds used_token_life{600};
}  // namespace enrolment

namespace condition {
// Host.
inline constexpr std::string_view enrolled = "Enrolled";     // it has a certificate of the meta cluster
inline constexpr std::string_view token_open = "TokenOpen";  // it has one, and somebody may enrol it anew; not there: nobody may
inline constexpr std::string_view joined = "Joined";         // and one of the cluster of the Machine that has it
}  // namespace condition

namespace reason {
inline constexpr std::string_view enrolled = "HostEnrolled";
inline constexpr std::string_view enrolment_open = "EnrolmentOpen";
inline constexpr std::string_view enrolment_expired = "EnrolmentExpired";
inline constexpr std::string_view joined = "HostJoined";
inline constexpr std::string_view handed_over = "HandedOver";
inline constexpr std::string_view certificate_refused = "CertificateRefused";
}  // namespace reason

}  // namespace endstate::v1alpha1
