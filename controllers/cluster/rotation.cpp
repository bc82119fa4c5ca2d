#include "controllers/cluster/rotation.hpp"

#include <algorithm>

#include "apis/v1alpha1/names.hpp"

namespace endstate::cluster {
namespace {

namespace reason = v1alpha1::reason;

constexpr std::size_t at(CaName ca) { return static_cast<std::size_t>(ca); }

bool has(const std::vector<std::string>& list, const std::string& text) { return std::find(list.begin(), list.end(), text) != list.end(); }
bool trusts(const CaState& ca, const std::string& key_id) {
  return std::any_of(ca.trusted.begin(), ca.trusted.end(), [&](const CertificateFacts& c) { return c.key_id == key_id; });
}

class Planner {
 public:
  explicit Planner(const RotationInput& in) : in_(in) {}

  RotationPlan run() {
    for (const auto ca : all_cas) judge(ca);
    signing_keys();
    for (const auto& leaf : in_.wanted) judge(leaf);
    // A new step of a CA only when the last one's leaves are made: else `settled` would speak of what isn't there yet.
    const bool making = !out_.steps.empty();
    for (const auto ca : all_cas)
      if (!making && usable(ca)) rotate(ca);
    return std::move(out_);
  }

 private:
  const CaState& state(CaName ca) const { return in_.cas[at(ca)]; }
  const std::vector<std::string>& recorded(CaName ca) const { return in_.recorded.cas[at(ca)]; }
  bool is_recorded(CaName ca, const CertificateFacts& c) const { return has(recorded(ca), c.fingerprint); }
  // It is there, it is the cluster's own, and status says so: what is made from it may be relied on.
  bool usable(CaName ca) const { return bad_[at(ca)] == false && state(ca).issuing && is_recorded(ca, *state(ca).issuing); }

  void problem(std::string_view why, std::string_view secret, std::string message) {
    if (!out_.problem) out_.problem = KeyProblem{why, std::string(secret), std::move(message)};
  }
  void due(WallTime when) {
    if (!out_.next || when < *out_.next) out_.next = when;
  }

  void judge(CaName ca) {
    const auto& s = state(ca);
    const auto secret = secret_suffix(ca);
    bad_[at(ca)] = true;
    if (!s.exists) {
      if (recorded(ca).empty()) return out_.steps.push_back({KeyStep::make_ca, ca, {}, false, "the cluster has none"});
      return problem(
          reason::key_lost, secret,
          "the Secret of a CA is gone. No new one is made: it would cut off all clients and nodes. Put the Secret back from a backup");
    }
    if (!s.trouble.empty() || !s.issuing || s.trusted.empty())
      return problem(reason::key_not_usable, secret,
                     "the Secret of a CA can't be used (" + (s.trouble.empty() ? "tls.crt or ca.crt is missing" : s.trouble) +
                         "): put it back from a backup");
    if (!recorded(ca).empty() && !is_recorded(ca, *s.issuing))
      return problem(reason::key_replaced, secret,
                     "the Secret holds another CA than this cluster was made with: put the right one back from a backup");
    if (!trusts(s, s.issuing->key_id))
      return problem(reason::key_not_usable, secret,
                     "the CA that signs (tls.crt) isn't in the bundle (ca.crt): put the Secret back from a backup");
    bad_[at(ca)] = false;
  }

  void signing_keys() {
    const auto& s = in_.signing_keys;
    if (!s.exists) {
      if (in_.recorded.signing_keys.empty())
        return out_.steps.push_back({KeyStep::make_signing_keys, {}, {}, false, "the cluster has none"});
      return problem(
          reason::key_lost, service_account_suffix,
          "the Secret of the keys that service accounts' tokens are signed with is gone. No new ones are made: every token would end. "
          "Put the Secret back from a backup");
    }
    if (!s.trouble.empty())
      return problem(reason::key_not_usable, service_account_suffix,
                     "the signing keys can't be used (" + s.trouble + "): put the Secret back from a backup");
    if (!in_.recorded.signing_keys.empty() && !has(in_.recorded.signing_keys, s.fingerprint))
      return problem(reason::key_replaced, service_account_suffix,
                     "the Secret holds other signing keys than this cluster was made with: put the right ones back from a backup");
  }

  // Why a leaf is to be made; empty: it is good.
  std::string fault(const WantedLeaf& wanted, const LeafState& leaf) const {
    const auto& spec = wanted.spec;
    if (!leaf.certificate) return "its certificate can't be read";
    const auto& c = *leaf.certificate;
    if (c.issuer_key_id != state(spec.ca).issuing->key_id) return "another CA signs now";
    if (c.common_name != spec.common_name || c.organization != spec.organization || c.dns_names != spec.dns_names ||
        c.addresses != spec.addresses || c.server != spec.server || c.client != spec.client)
      return "its names or usages should be others";
    if (leaf.made_for != wanted.made_for) return "it leads to another endpoint or trusts another bundle";
    if (in_.now >= renewal_of_leaf(c)) return "less than a third of its life is left";
    return {};
  }

  void judge(const WantedLeaf& wanted) {
    if (!usable(wanted.spec.ca)) return;
    const auto found = in_.leaves.find(wanted.spec.name);
    if (found == in_.leaves.end()) {
      out_.steps.push_back({KeyStep::make_leaf, wanted.spec.ca, wanted.spec.name, false, "it is missing"});
    } else if (auto why = fault(wanted, found->second); !why.empty()) {
      out_.steps.push_back({KeyStep::make_leaf, wanted.spec.ca, wanted.spec.name, true, std::move(why)});
    } else {
      due(renewal_of_leaf(*found->second.certificate));
    }
  }

  void rotate(CaName ca) {
    const auto& s = state(ca);
    const auto step = [&](KeyStep what, std::string why) { out_.steps.push_back({what, ca, {}, true, std::move(why)}); };
    if (s.next) {
      if (!trusts(s, s.next->key_id))
        return problem(reason::key_not_usable, secret_suffix(ca),
                       "the next CA (next.crt) isn't in the bundle (ca.crt): put the Secret back from a backup");
      if (in_.settled && is_recorded(ca, *s.next)) step(KeyStep::switch_, "all programs trust the next CA");
      return;
    }
    if (s.trusted.size() > 1) {
      if (in_.settled && !in_.held[at(ca)]) step(KeyStep::retire, "nothing of the old CA is left");
      return;
    }
    const bool old = in_.now >= renewal_of_ca(*s.issuing);
    if ((old || in_.asked[at(ca)]) && in_.settled)
      step(KeyStep::trust, old ? "less than a fifth of the CA's life is left" : "somebody asked for a new CA");
    if (!old) due(renewal_of_ca(*s.issuing));
  }

  const RotationInput& in_;
  RotationPlan out_;
  std::array<bool, std::size(all_cas)> bad_{};
};

}  // namespace

WallTime renewal_of_leaf(const CertificateFacts& leaf) { return leaf.not_after - (leaf.not_after - leaf.not_before) / 3; }
WallTime renewal_of_ca(const CertificateFacts& ca) { return ca.not_after - (ca.not_after - ca.not_before) / 5; }

RotationPlan plan_rotation(const RotationInput& input) { return Planner(input).run(); }

}  // namespace endstate::cluster
