#include "controllers/enrolment/rules.hpp"

#include <algorithm>

#include "apis/v1alpha1/enrolment.hpp"
#include "controllers/common/network.hpp"

namespace endstate::enrolment {

namespace names = v1alpha1::enrolment;
using reconcile::CertificateSigningRequest, reconcile::Text;

namespace {

constexpr std::string_view node_prefix = "system:node:";
constexpr std::string_view nodes_group = "system:nodes";

bool has_condition(const CertificateSigningRequest& r, std::string_view type) {
  const auto& all = r.status.conditions;
  return std::any_of(all.begin(), all.end(), [&](const auto& c) { return c.type == type; });
}

// As kube-controller-manager's signers allow them (pkg/apis/certificates/helpers.go): key encipherment may be left out.
bool usages_are(const CertificateSigningRequest& r, std::string_view authentication) {
  bool signs = false, authenticates = false;
  for (const Text& u : r.spec.usages) {
    signs = signs || u == "digital signature";
    authenticates = authenticates || u == authentication;
    if (!(u == "digital signature") && !(u == "key encipherment") && !(u == authentication)) return false;
  }
  return signs && authenticates;
}

class Judge {
 public:
  Judge(const CertificateSigningRequest& r, const RequestFacts& f, const HostFacts& h) : r_(r), f_(f), h_(h) {}

  Judgement judge() const {
    const Text& signer = r_.spec.signer_name;
    if (signer == names::client_signer) return client();
    if (signer == names::kubelet_client_signer) return kubelet_client();
    if (signer == names::kubelet_serving_signer) return kubelet_serving();
    return {};
  }

 private:
  Judgement deny(Purpose purpose, std::string why) const { return {Verdict::deny, purpose, std::move(why)}; }
  bool organization_is(std::string_view o) const { return f_.organizations.size() == 1 && f_.organizations[0] == o; }
  bool no_names() const { return f_.dns_names.empty() && f_.addresses.empty() && !f_.more; }
  bool asked_by_host() const { return r_.spec.username == names::user(h_.uid); }

  // The number in the groups of who asks; 0: none.
  std::int64_t asker() const {
    for (const Text& g : r_.spec.groups)
      if (const auto n = names::identity_in(g, h_.uid)) return *n;
    return 0;
  }
  // The number that is asked for; nullopt: the organizations are something else than `group`, perhaps with a number.
  std::optional<std::int64_t> asked_number(std::string_view group) const {
    const auto& all = f_.organizations;
    if (all.empty() || all.size() > 2 || std::find(all.begin(), all.end(), group) == all.end()) return std::nullopt;
    if (all.size() == 1) return 0;
    return names::identity_in(all[0] == group ? all[1] : all[0], h_.uid);
  }
  std::string old_identity(std::int64_t number) const {
    return "it is of enrolment " + std::to_string(number) + ", and host " + h_.name + " has enrolled since (" +
           std::to_string(h_.identity) + "): kubectl endstate enrol " + h_.name + ", with an agent of this version";
  }

  // Both certificates of the agent.
  Judgement client() const {
    const bool our_name = f_.common_name.starts_with(names::user_prefix);
    const bool our_group = std::any_of(f_.organizations.begin(), f_.organizations.end(), [](const auto& o) {
      return o == names::hosts_group || o == names::agents_group || o.starts_with(names::user_prefix);
    });
    if (!our_name && !our_group && !host_uid_of(r_)) return {};
    const auto as_host = asked_number(names::hosts_group), as_agent = asked_number(names::agents_group);
    const bool agent = as_agent.has_value();
    const auto purpose = agent ? Purpose::agent : Purpose::host;
    if (f_.common_name != names::user(h_.uid) || (!as_host && !as_agent) || !no_names())
      return deny(purpose,
                  "its subject isn't that of host " + h_.uid +
                      ": CN endstate:host:<uid>, O endstate:hosts or endstate:agents and the number of its enrolment, and nothing else");
    if (!usages_are(r_, "client auth")) return deny(purpose, "a host's certificate is for client auth only");
    if (!r_.spec.life || *r_.spec.life > names::longest_life)
      return deny(purpose, "it must say for how long (expirationSeconds), and for 31 days at most");
    const auto& token = agent ? h_.hand_over_token : h_.enrolment_token;
    const bool by_token = !token.empty() && r_.spec.username == token;
    if (!asked_by_host() && !by_token)
      return deny(purpose, "asked for by " + r_.spec.username.str() +
                               ", which is neither this host nor its valid token: enrol it again (kubectl endstate enrol " + h_.name + ")");
    if (!agent && !h_.meta) return deny(purpose, "endstate:hosts is for the meta cluster only");
    return agent ? agent_certificate(*as_agent, by_token) : host_certificate(*as_host, by_token);
  }
  // By the token: the number that this enrolment gives. An agent of before knows of none, and can enrol a host that never had one.
  Judgement host_certificate(std::int64_t number, bool by_token) const {
    if (!by_token) return renewal(Purpose::host, number, "the Host's own certificate for its enrolment");
    if (number != h_.enrolment && (number != 0 || h_.identity != 0))
      return deny(Purpose::host, "this enrolment has the number " + std::to_string(h_.enrolment) + ", and " + std::to_string(number) +
                                     " is asked for: use the file that kubectl endstate enrol prints, with an agent of this version");
    return {Verdict::approve, Purpose::host, "the Host's own certificate for its enrolment", true};
  }
  Judgement agent_certificate(std::int64_t number, bool by_token) const {
    const auto purpose = Purpose::agent;
    if (!h_.assigned) return {Verdict::wait, purpose, "the host has no HostAssignment in this cluster yet", by_token};
    if (!h_.not_isolated.empty()) return {Verdict::wait, purpose, h_.not_isolated, by_token};
    if (!by_token) return renewal(purpose, number, "the agent of a host that is assigned here");
    if (number != h_.identity) return deny(purpose, old_identity(number));
    return {Verdict::approve, purpose, "the agent of a host that is assigned here", true};
  }
  Judgement renewal(Purpose purpose, std::int64_t number, std::string why) const {
    if (asker() > h_.identity) return {Verdict::wait, purpose, "its enrolment is not noted at the Host yet"};
    if (asker() < h_.identity) return deny(purpose, old_identity(asker()));
    if (number != h_.identity) return deny(purpose, old_identity(number));
    return {Verdict::approve, purpose, std::move(why)};
  }

  bool node_subject() const {
    return f_.common_name == std::string(node_prefix) + h_.node_name && organization_is(nodes_group) && !f_.more;
  }

  Judgement kubelet_client() const {
    const auto purpose = Purpose::kubelet_client;
    const bool renews = !h_.node_name.empty() && r_.spec.username == std::string(node_prefix) + h_.node_name;
    if (!asked_by_host() && !renews) return {};
    if (h_.node_name.empty()) return {Verdict::wait, purpose, "the host has no active HostAssignment in this cluster yet"};
    if (!node_subject() || !no_names())
      return deny(purpose, "this host is Node " + h_.node_name + ": CN system:node:<that>, O system:nodes, and nothing else");
    if (!usages_are(r_, "client auth")) return deny(purpose, "a kubelet's client certificate is for client auth only");
    if (!renews && asker() < h_.identity) return deny(purpose, old_identity(asker()));
    if (!renews && asker() > h_.identity) return {Verdict::wait, purpose, "its enrolment is not noted at the Host yet"};
    if (!h_.node_trouble.empty()) return {Verdict::wait, purpose, h_.node_trouble};
    return {Verdict::approve, purpose, "the kubelet of a host that is assigned here"};
  }

  Judgement kubelet_serving() const {
    const auto purpose = Purpose::kubelet_serving;
    if (h_.node_name.empty() || !(r_.spec.username == std::string(node_prefix) + h_.node_name)) return {};
    if (!node_subject())
      return deny(purpose, "this host is Node " + h_.node_name + ": CN system:node:<that>, O system:nodes, and nothing else");
    if (!usages_are(r_, "server auth")) return deny(purpose, "a kubelet's serving certificate is for server auth only");
    if (f_.dns_names.empty() && f_.addresses.empty()) return deny(purpose, "it is for no name and no address");
    for (const auto& name : f_.dns_names)
      if (name != h_.node_name) return deny(purpose, "'" + name + "' is not the Node's name");
    const auto own = canonical_address(h_.address);
    for (const auto& address : f_.addresses)
      if (!own || address != *own)
        return deny(purpose,
                    "'" + address + "' is not spec.address of Host " + h_.name + ": correct the Host, or give the kubelet --node-ip");
    if (!f_.addresses.empty() && !h_.address_trouble.empty()) return deny(purpose, h_.address_trouble);
    if (!h_.node_trouble.empty()) return {Verdict::wait, purpose, h_.node_trouble};
    return {Verdict::approve, purpose, "the kubelet of a host that is assigned here, for its own name and address"};
  }

  const CertificateSigningRequest& r_;
  const RequestFacts& f_;
  const HostFacts& h_;
};

}  // namespace

Judgement judge(const CertificateSigningRequest& request, const RequestFacts& facts, const HostFacts& host) {
  return Judge(request, facts, host).judge();
}

std::optional<std::string> host_uid_of(const CertificateSigningRequest& r) {
  const auto user = r.spec.username.view();
  if (user.starts_with(names::user_prefix)) return std::string(user.substr(names::user_prefix.size()));
  for (const Text& g : r.spec.groups) {
    const auto prefix = names::token_group_of({});
    if (g.view().starts_with(prefix)) return std::string(g.view().substr(prefix.size()));
  }
  return std::nullopt;
}

std::optional<std::string> node_of(const CertificateSigningRequest& r) {
  const auto user = r.spec.username.view();
  if (!user.starts_with(node_prefix)) return std::nullopt;
  return std::string(user.substr(node_prefix.size()));
}

bool is_approved(const CertificateSigningRequest& r) { return has_condition(r, "Approved"); }
bool is_pending(const CertificateSigningRequest& r) { return r.status.conditions.empty(); }
bool is_issued(const CertificateSigningRequest& r) { return is_approved(r) && !r.status.certificate.empty(); }

}  // namespace endstate::enrolment
