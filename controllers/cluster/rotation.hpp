// plan_rotation: which keys and certificates of a Hosted cluster are to be made now, and which CA takes its next step. Pure: facts and a
// time in, steps out; who makes keys is pki_forge.hpp.
//
// A leaf is made when it is missing, can't be read, isn't what it should be, comes from another CA than the one that signs now, or has less
// than a third of its life left. That is always safe: it comes from a CA that everybody trusts.
//
// A CA is made once. One that is missing, can't be read, or is another than the status has recorded stops everything with a problem: a new
// one would cut off every client, node and backup of the cluster, and that is for a person to decide.
//
// A CA is replaced in three steps, each only when all programs have taken in the one before (`settled`), so that at no moment one meets a
// certificate that it doesn't trust:
//   trust    a next CA is made; the bundle holds both; the old one still signs
//   switch   the next one signs; leaves are made anew, since their issuer is another
//   retire   no leaf of the old one is left: the bundle holds the new one only
#pragma once
#include <array>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controllers/cluster/certificates.hpp"

namespace endstate::cluster {

// A CA's Secret: tls.crt signs, ca.crt is what is trusted, next.crt waits to sign.
struct CaState {
  bool exists = false;
  std::string trouble;  // it exists and can't be read: why
  std::optional<CertificateFacts> issuing, next;
  std::vector<CertificateFacts> trusted;
};
struct LeafState {
  std::optional<CertificateFacts> certificate;  // none: missing, or can't be read
  std::string made_for;                         // where a kubeconfig leads; empty: it is none
};
struct SigningKeysState {
  bool exists = false;
  std::string trouble, fingerprint;
};
// What status has recorded: fingerprints that are this cluster's own.
struct RecordedKeys {
  std::array<std::vector<std::string>, std::size(all_cas)> cas;
  std::vector<std::string> signing_keys;
};

struct WantedLeaf {
  LeafSpec spec;
  std::string made_for;
};

struct RotationInput {
  std::array<CaState, std::size(all_cas)> cas;
  SigningKeysState signing_keys;
  std::map<std::string, LeafState, std::less<>> leaves;  // by LeafSpec::name
  std::vector<WantedLeaf> wanted;
  RecordedKeys recorded;
  std::array<bool, std::size(all_cas)> asked{};  // somebody asks for a new CA
  std::array<bool, std::size(all_cas)> held{};   // certificates that we don't make are of the old CA (nodes'): it isn't retired
  bool settled = false;                          // every program runs with what its Secrets hold now
  WallTime now{};
};

enum class KeyStep : std::uint8_t { make_ca, make_signing_keys, make_leaf, trust, switch_, retire };
struct RotationStep {
  KeyStep step{};
  CaName ca{};        // of a CA's steps
  std::string leaf;   // of make_leaf
  bool anew = false;  // make_leaf: its Secret is there
  std::string why;
};
struct KeyProblem {
  std::string_view reason;
  std::string secret, message;  // secret: without the cluster's name
};
struct RotationPlan {
  std::vector<RotationStep> steps;
  std::optional<KeyProblem> problem;  // then there are no steps for what depends on it
  std::optional<WallTime> next;       // when something is due again
};

RotationPlan plan_rotation(const RotationInput& input);

// From when on it is made anew.
WallTime renewal_of_leaf(const CertificateFacts& leaf);
WallTime renewal_of_ca(const CertificateFacts& ca);

}  // namespace endstate::cluster
