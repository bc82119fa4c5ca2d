#include "controllers/enrolment/rules.hpp"

#include <algorithm>

#include "apis/v1alpha1/enrolment.hpp"

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

  // Both certificates of the agent.
  Judgement client() const {
    const bool our_name = f_.common_name.starts_with(names::user_prefix);
    const bool our_group = std::any_of(f_.organizations.begin(), f_.organizations.end(),
                                       [](const auto& o) { return o == names::hosts_group || o == names::agents_group; });
    if (!our_name && !our_group && !host_uid_of(r_)) return {};
    const bool host = organization_is(names::hosts_group), agent = organization_is(names::agents_group);
    const auto purpose = agent ? Purpose::agent : Purpose::host;
    if (f_.common_name != names::user(h_.uid) || (!host && !agent) || !no_names())
      return deny(purpose, "its subject isn't that of host " + h_.uid +
                               ": CN endstate:host:<uid>, O endstate:hosts or endstate:agents, and nothing else");
    if (!usages_are(r_, "client auth")) return deny(purpose, "a host's certificate is for client auth only");
    const auto& token = host ? h_.enrolment_token : h_.hand_over_token;
    const bool by_token = !token.empty() && r_.spec.username == token;
    if (!asked_by_host() && !by_token)
      return deny(purpose, "asked for by " + r_.spec.username.str() +
                               ", which is neither this host nor its valid token: enrol it again (kubectl endstate enrol " + h_.name + ")");
    if (host && !h_.meta) return deny(purpose, "endstate:hosts is for the meta cluster only");
    if (agent && !h_.assigned) return {Verdict::wait, purpose, "the host has no HostAssignment in this cluster yet", by_token};
    return {Verdict::approve, purpose, host ? "the Host's own certificate for its enrolment" : "the agent of a host that is assigned here",
            by_token};
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
    return {Verdict::approve, purpose, "the kubelet of a host that is assigned here"};
  }

  Judgement kubelet_serving() const {
    const auto purpose = Purpose::kubelet_serving;
    if (h_.node_name.empty() || !(r_.spec.username == std::string(node_prefix) + h_.node_name)) return {};
    if (!node_subject())
      return deny(purpose, "this host is Node " + h_.node_name + ": CN system:node:<that>, O system:nodes, and nothing else");
    if (!usages_are(r_, "server auth")) return deny(purpose, "a kubelet's serving certificate is for server auth only");
    if (f_.dns_names.empty() && f_.addresses.empty()) return deny(purpose, "it is for no name and no address");
    const auto known = [&](const std::string& name) { return name == h_.node_name || name == h_.address; };
    for (const auto* all : {&f_.dns_names, &f_.addresses})
      for (const auto& name : *all)
        if (!known(name))
          return deny(purpose, "'" + name + "' is neither the Node's name nor spec.address of Host " + h_.name +
                                   ": correct the Host, or give the kubelet --node-ip");
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
