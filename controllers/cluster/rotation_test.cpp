#include "controllers/cluster/rotation.hpp"

#include <algorithm>
#include <catch2/catch.hpp>

#include "apis/v1alpha1/names.hpp"
#include "controllers/cluster/testing.hpp"

using namespace endstate::cluster;
using namespace std::chrono_literals;
namespace reason = endstate::v1alpha1::reason;

namespace {

constexpr std::size_t at(CaName ca) { return static_cast<std::size_t>(ca); }

// Plays who makes keys: facts with numbers for keys.
struct World {
  RotationInput in;
  int keys = 0;

  World() {
    in.now = std::chrono::sys_days(std::chrono::year(2026) / 3 / 1);
    in.settled = true;
    want("apiserver", CaName::cluster);
    want("etcd-peer", CaName::etcd);
    want("front-proxy-client", CaName::front_proxy);
    in.wanted.push_back(in.wanted.front());
    in.wanted.back().spec.name = "kubeconfig";
    in.wanted.back().made_for = "https://10.0.0.1:6443";
  }
  void want(const std::string& name, CaName ca) {
    in.wanted.push_back({{.name = name,
                          .ca = ca,
                          .common_name = name,
                          .organization = {},
                          .dns_names = {"a"},
                          .addresses = {},
                          .server = true,
                          .client = false},
                         {}});
  }
  CertificateFacts made(std::chrono::seconds life) {
    CertificateFacts c;
    c.key_id = std::to_string(++keys);
    c.fingerprint = "f" + c.key_id;
    c.not_before = in.now;
    c.not_after = in.now + life;
    return c;
  }
  CaState& ca(CaName name) { return in.cas[at(name)]; }
  void apply(const RotationStep& s) {
    auto& c = ca(s.ca);
    switch (s.step) {
      case KeyStep::make_ca:
        c.exists = true;
        c.issuing = made(ca_lifetime);
        c.trusted = {*c.issuing};
        break;
      case KeyStep::make_signing_keys: in.signing_keys = {true, {}, "keys"}; break;
      case KeyStep::make_leaf: {
        const auto wanted = std::find_if(in.wanted.begin(), in.wanted.end(), [&](const auto& w) { return w.spec.name == s.leaf; });
        REQUIRE(wanted != in.wanted.end());
        REQUIRE(s.anew == in.leaves.contains(s.leaf));
        auto leaf = made(leaf_lifetime);
        leaf.issuer_key_id = c.issuing->key_id;
        leaf.common_name = wanted->spec.common_name;
        leaf.dns_names = wanted->spec.dns_names;
        leaf.server = true;
        in.leaves[s.leaf] = {leaf, wanted->made_for};
        break;
      }
      case KeyStep::trust:
        c.next = made(ca_lifetime);
        c.trusted.push_back(*c.next);
        break;
      case KeyStep::switch_: c.issuing = std::exchange(c.next, std::nullopt); break;
      case KeyStep::retire: c.trusted = {*c.issuing}; break;
    }
  }
  void record() {
    for (const auto name : all_cas) {
      const auto& c = ca(name);
      in.recorded.cas[at(name)].clear();
      for (const auto& x : {c.issuing, c.next})
        if (x) in.recorded.cas[at(name)].push_back(x->fingerprint);
    }
    if (in.signing_keys.exists) in.recorded.signing_keys = {in.signing_keys.fingerprint};
  }
  RotationPlan plan() const { return plan_rotation(in); }
  int rounds() {  // until nothing is to be done
    for (int i = 1; i < 50; ++i) {
      const auto p = plan();
      REQUIRE_FALSE(p.problem);
      if (p.steps.empty()) return i;
      for (const auto& s : p.steps) apply(s);
      record();
    }
    FAIL("it doesn't come to rest");
    return 0;
  }
};

World settled_world() {
  World w;
  w.rounds();
  return w;
}
std::vector<KeyStep> steps(const RotationPlan& p) {
  std::vector<KeyStep> out;
  for (const auto& s : p.steps) out.push_back(s.step);
  return out;
}
using Steps = std::vector<KeyStep>;

}  // namespace

TEST_CASE("a new cluster: CAs first, leaves when status knows them", "[pki][rotation]") {
  World w;
  const auto first = w.plan();
  CHECK(steps(first) == Steps{KeyStep::make_ca, KeyStep::make_ca, KeyStep::make_ca, KeyStep::make_signing_keys});
  for (const auto& s : first.steps) w.apply(s);
  CHECK(w.plan().steps.empty());  // not recorded yet: a leaf of a CA that may be lost unseen is worth nothing
  w.record();
  CHECK(steps(w.plan()) == Steps{KeyStep::make_leaf, KeyStep::make_leaf, KeyStep::make_leaf, KeyStep::make_leaf});
  w.rounds();
  const auto done = w.plan();
  CHECK(done.steps.empty());
  CHECK_FALSE(done.problem);
  CHECK(done.next == renewal_of_leaf(*w.in.leaves.at("apiserver").certificate));
}

TEST_CASE("a CA or signing keys that are lost, unreadable or another's are never made anew", "[pki][rotation]") {
  struct Row {
    std::string what;
    void (*harm)(World&);
    std::string_view reason;
    std::string_view secret;
  };
  const Row rows[] = {
      {"the CA's Secret is gone", [](World& w) { w.ca(CaName::cluster) = {}; }, reason::key_lost, "ca"},
      {"etcd's", [](World& w) { w.ca(CaName::etcd) = {}; }, reason::key_lost, "etcd"},
      {"the front proxy's", [](World& w) { w.ca(CaName::front_proxy) = {}; }, reason::key_lost, "proxy"},
      {"the signing keys are gone", [](World& w) { w.in.signing_keys = {}; }, reason::key_lost, "sa"},
      {"the CA can't be read", [](World& w) { w.ca(CaName::cluster).trouble = "no PEM"; }, reason::key_not_usable, "ca"},
      {"its certificate is missing", [](World& w) { w.ca(CaName::cluster).issuing.reset(); }, reason::key_not_usable, "ca"},
      {"its bundle is empty", [](World& w) { w.ca(CaName::cluster).trusted.clear(); }, reason::key_not_usable, "ca"},
      {"its bundle is another's", [](World& w) { w.ca(CaName::cluster).trusted[0].key_id = "x"; }, reason::key_not_usable, "ca"},
      {"it is another", [](World& w) { w.ca(CaName::etcd).issuing->fingerprint = "x"; }, reason::key_replaced, "etcd"},
      {"the signing keys are others", [](World& w) { w.in.signing_keys.fingerprint = "x"; }, reason::key_replaced, "sa"},
      {"they can't be read", [](World& w) { w.in.signing_keys.trouble = "no PEM"; }, reason::key_not_usable, "sa"},
  };
  for (const auto& row : rows) {
    INFO(row.what);
    auto w = settled_world();
    row.harm(w);
    w.in.leaves.clear();  // even with work to do
    w.in.asked = {true, true, true};
    const auto p = w.plan();
    REQUIRE(p.problem);
    CHECK(p.problem->reason == row.reason);
    CHECK(p.problem->secret == row.secret);
    for (const auto& s : p.steps) CHECK(s.step == KeyStep::make_leaf);  // of the CAs that are well
    for (const auto& s : p.steps) CHECK(secret_suffix(s.ca) != row.secret);
  }
}

TEST_CASE("a leaf is made anew for each fault, and for nothing else", "[pki][rotation]") {
  struct Row {
    std::string what;
    void (*change)(World&);
    bool anew;
  };
  const Row rows[] = {
      {"nothing", [](World&) {}, false},
      {"another name", [](World& w) { w.in.wanted[0].spec.common_name = "x"; }, true},
      {"another organization", [](World& w) { w.in.wanted[0].spec.organization = "x"; }, true},
      {"another DNS name", [](World& w) { w.in.wanted[0].spec.dns_names = {"b"}; }, true},
      {"another address", [](World& w) { w.in.wanted[0].spec.addresses = {"10.0.0.1"}; }, true},
      {"another usage", [](World& w) { w.in.wanted[0].spec.client = true; }, true},
      {"unreadable", [](World& w) { w.in.leaves["apiserver"].certificate.reset(); }, true},
      {"missing", [](World& w) { w.in.leaves.erase("apiserver"); }, true},
      {"a second before its time", [](World& w) { w.in.now = renewal_of_leaf(*w.in.leaves["apiserver"].certificate) - 1s; }, false},
      {"another kind of key", [](World& w) { w.in.leaves["apiserver"].certificate->key_type = KeyType::rsa; }, false},
  };
  for (const auto& row : rows) {
    INFO(row.what);
    auto w = settled_world();
    row.change(w);
    CHECK(steps(w.plan()) == (row.anew ? Steps{KeyStep::make_leaf} : Steps{}));
  }
  auto w = settled_world();
  w.in.wanted.back().made_for = "https://10.0.0.2:6443";
  REQUIRE(w.plan().steps.size() == 1);
  CHECK(w.plan().steps[0].leaf == "kubeconfig");
  w = settled_world();
  w.in.now = renewal_of_leaf(*w.in.leaves["apiserver"].certificate);
  CHECK(w.plan().steps.size() == 4);  // all of them are of one age
}

TEST_CASE("renewal: at two thirds of a leaf's life, at four fifths of a CA's", "[pki][rotation]") {
  CertificateFacts c;
  c.not_before = WallTime{0s};
  c.not_after = WallTime{300s};
  CHECK(renewal_of_leaf(c) == WallTime{200s});
  CHECK(renewal_of_ca(c) == WallTime{240s});
}

TEST_CASE("a CA's rotation waits for everybody at each step, and holds what it should", "[pki][rotation]") {
  auto w = settled_world();
  const auto old = *w.ca(CaName::cluster).issuing;
  const auto due = renewal_of_ca(old);
  const auto tend = [&] {  // leaves live shorter: keep them fresh
    for (auto& [name, leaf] : w.in.leaves) leaf.certificate->not_before = w.in.now, leaf.certificate->not_after = w.in.now + leaf_lifetime;
  };
  w.in.now = due - 1s;
  tend();
  w.ca(CaName::etcd).issuing->not_after += 24h, w.ca(CaName::front_proxy).issuing->not_after += 24h;
  CHECK(w.plan().steps.empty());
  w.in.now = due;
  w.in.settled = false;
  CHECK(w.plan().steps.empty());
  w.in.settled = true;
  const auto trust = w.plan();
  REQUIRE(steps(trust) == Steps{KeyStep::trust});
  w.apply(trust.steps[0]);
  CHECK(w.plan().steps.empty());  // status doesn't know the next one yet
  w.record();
  w.in.settled = false;
  CHECK(w.plan().steps.empty());  // somebody doesn't trust it yet
  w.in.settled = true;
  const auto swap = w.plan();
  REQUIRE(steps(swap) == Steps{KeyStep::switch_});
  w.apply(swap.steps[0]);
  w.record();
  w.in.settled = false;
  const auto leaves = w.plan();
  CHECK(steps(leaves) == Steps{KeyStep::make_leaf, KeyStep::make_leaf});
  for (const auto& s : leaves.steps) w.apply(s);
  CHECK(w.plan().steps.empty());
  w.in.settled = true;
  w.in.held[at(CaName::cluster)] = true;
  CHECK(w.plan().steps.empty());
  w.in.held[at(CaName::cluster)] = false;
  const auto retire = w.plan();
  REQUIRE(steps(retire) == Steps{KeyStep::retire});
  w.apply(retire.steps[0]);
  w.in.asked = {};
  CHECK(w.plan().steps.empty());
  CHECK(w.ca(CaName::cluster).trusted.size() == 1);
  CHECK(w.ca(CaName::cluster).issuing->key_id != old.key_id);
}

TEST_CASE("while a CA is replaced nobody meets a certificate that it doesn't trust, whenever who takes in what", "[pki][rotation]") {
  // Each program runs with a bundle and a certificate that it took in at some moment; `settled` means that all are up to date.
  for (unsigned seed = 0; seed < 300; ++seed) {
    auto w = settled_world();
    w.in.asked = {true, true, true};
    Chance chance(seed * 2654435761u + 1);
    struct Program {
      CaName ca;
      std::string leaf, issuer;
      std::vector<std::string> trusted;
    };
    std::vector<Program> programs;
    const auto take_in = [&](Program& p) {
      p.issuer = w.in.leaves[p.leaf].certificate->issuer_key_id;
      p.trusted.clear();
      for (const auto& c : w.ca(p.ca).trusted) p.trusted.push_back(c.key_id);
    };
    for (const auto& wanted : w.in.wanted) {
      programs.push_back({wanted.spec.ca, wanted.spec.name, {}, {}});
      take_in(programs.back());
    }
    const auto up_to_date = [&](const Program& p) {
      Program fresh = p;
      take_in(fresh);
      return fresh.issuer == p.issuer && fresh.trusted == p.trusted;
    };
    bool retired = false;
    for (int round = 0; round < 400 && !retired; ++round) {
      if (chance(2) == 0) take_in(programs[chance(static_cast<unsigned>(programs.size()))]);
      if (chance(3) == 0) w.record();
      w.in.settled = std::all_of(programs.begin(), programs.end(), up_to_date);
      const auto p = w.plan();
      REQUIRE_FALSE(p.problem);
      for (const auto& s : p.steps)
        if (chance(2) == 0) {  // the operator may die between any two
          retired = retired || (s.step == KeyStep::retire && s.ca == CaName::front_proxy);
          w.in.asked[at(s.ca)] = w.in.asked[at(s.ca)] && s.step != KeyStep::trust;
          w.apply(s);
        }
      for (const auto& a : programs)
        for (const auto& b : programs)
          if (a.ca == b.ca) {
            INFO("seed " << seed << ", round " << round << ": " << a.leaf << " meets " << b.leaf);
            REQUIRE(std::find(a.trusted.begin(), a.trusted.end(), b.issuer) != a.trusted.end());
          }
    }
    CHECK(retired);
  }
}
