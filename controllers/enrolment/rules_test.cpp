// Which certificates are approved, refused and left alone: a table.
#include "controllers/enrolment/rules.hpp"

#include <catch2/catch.hpp>

using namespace endstate::enrolment;
using reconcile::CertificateSigningRequest, reconcile::Text;

namespace {

constexpr std::string_view client = "kubernetes.io/kube-apiserver-client", kubelet = "kubernetes.io/kube-apiserver-client-kubelet",
                           serving = "kubernetes.io/kubelet-serving";

struct Case {
  std::string signer{client}, user = "endstate:host:u1", cn = "endstate:host:u1", o = "endstate:hosts";
  std::vector<std::string> usages{"digital signature", "client auth"}, groups{}, dns{}, ips{};
  std::vector<std::string> os{};  // more of them
  std::int64_t seconds = 604800;  // 0: it doesn't say
  bool more = false;
  HostFacts host{.uid = "u1", .name = "h1", .address = "10.0.0.1", .meta = true};
};

Judgement judged(const Case& c) {
  CertificateSigningRequest r;
  r.spec.signer_name = c.signer;
  r.spec.username = c.user;
  for (const auto& u : c.usages) r.spec.usages.emplace_back(u);
  for (const auto& g : c.groups) r.spec.groups.emplace_back(g);
  if (c.seconds > 0) r.spec.life = std::chrono::seconds(c.seconds);
  RequestFacts f{.common_name = c.cn, .organizations = {}, .dns_names = c.dns, .addresses = c.ips, .more = c.more};
  if (!c.o.empty()) f.organizations.push_back(c.o);
  f.organizations.insert(f.organizations.end(), c.os.begin(), c.os.end());
  return judge(r, f, c.host);
}
Verdict verdict(const Case& c) { return judged(c).verdict; }

HostFacts assigned() {
  return {.uid = "u1",
          .name = "h1",
          .address = "10.0.0.1",
          .meta = false,
          .assigned = true,
          .node_name = "h1",
          .hand_over_token = "system:bootstrap:bbbbbb"};
}

}  // namespace

TEST_CASE("the host's own certificate: by its token, or by itself; in the meta cluster only", "[enrolment]") {
  CHECK(verdict({}) == Verdict::approve);  // renews
  Case by_token{.user = "system:bootstrap:aaaaaa"};
  CHECK(verdict(by_token) == Verdict::deny);  // a token that isn't this host's, or is over
  by_token.host.enrolment_token = "system:bootstrap:aaaaaa";
  CHECK(verdict(by_token) == Verdict::approve);
  CHECK(judged(by_token).by_token);
  CHECK(verdict({.user = "endstate:host:u2"}) == Verdict::deny);
  CHECK(verdict({.user = "jane"}) == Verdict::deny);
  CHECK(verdict({.cn = "endstate:host:u2"}) == Verdict::deny);
  CHECK(verdict({.o = "system:masters"}) == Verdict::deny);
  CHECK(verdict({.o = ""}) == Verdict::deny);
  CHECK(verdict({.dns = {"h1"}}) == Verdict::deny);
  CHECK(verdict({.more = true}) == Verdict::deny);
  CHECK(verdict({.usages = {"digital signature", "server auth"}}) == Verdict::deny);
  CHECK(verdict({.usages = {"digital signature", "client auth", "server auth"}}) == Verdict::deny);
  CHECK(verdict({.usages = {"digital signature", "key encipherment", "client auth"}}) == Verdict::approve);
  Case elsewhere{};
  elsewhere.host.meta = false;
  CHECK(verdict(elsewhere) == Verdict::deny);
}

TEST_CASE("the agent's certificate: where the host is assigned, by the token that was handed over", "[enrolment]") {
  CHECK(verdict({.user = "system:bootstrap:bbbbbb", .o = "endstate:agents", .host = assigned()}) == Verdict::approve);
  CHECK(verdict({.o = "endstate:agents", .host = assigned()}) == Verdict::approve);
  CHECK(verdict({.user = "system:bootstrap:cccccc", .o = "endstate:agents", .host = assigned()}) == Verdict::deny);
  auto not_yet = assigned();
  not_yet.assigned = false;
  CHECK(verdict({.o = "endstate:agents", .host = not_yet}) == Verdict::wait);
  // The token for the meta cluster is none for this one.
  auto other_token = assigned();
  other_token.enrolment_token = "system:bootstrap:aaaaaa";
  CHECK(verdict({.user = "system:bootstrap:aaaaaa", .o = "endstate:agents", .host = other_token}) == Verdict::deny);
}

TEST_CASE("a certificate is of the host's last enrolment", "[enrolment]") {
  const auto number = [](std::int64_t n) { return "endstate:host:u1:" + std::to_string(n); };
  const auto asked = [&](std::int64_t now, std::vector<std::string> groups, std::vector<std::string> os, const char* o = "endstate:hosts") {
    Case c{.o = o, .groups = std::move(groups), .os = std::move(os)};
    if (std::string_view(o) == "endstate:agents") c.host = assigned();
    c.host.identity = now;
    return verdict(c);
  };
  for (const char* o : {"endstate:hosts", "endstate:agents"}) {
    CHECK(asked(0, {}, {}, o) == Verdict::approve);  // of before
    CHECK(asked(2, {number(2)}, {number(2)}, o) == Verdict::approve);
    CHECK(asked(2, {number(1)}, {number(1)}, o) == Verdict::deny);
    CHECK(asked(2, {number(1)}, {number(2)}, o) == Verdict::deny);
    CHECK(asked(2, {}, {number(2)}, o) == Verdict::deny);
    CHECK(asked(2, {}, {}, o) == Verdict::deny);
    CHECK(asked(2, {number(2)}, {}, o) == Verdict::deny);
    CHECK(asked(2, {number(2)}, {number(3)}, o) == Verdict::deny);
    CHECK(asked(2, {number(3)}, {number(3)}, o) == Verdict::wait);  // its enrolment isn't noted yet
    CHECK(asked(2, {"endstate:host:u2:2"}, {number(2)}, o) == Verdict::deny);
    CHECK(asked(2, {number(2)}, {"endstate:host:u2:2"}, o) == Verdict::deny);
    CHECK(asked(2, {number(2)}, {number(2), number(1)}, o) == Verdict::deny);
    CHECK(asked(2, {number(2)}, {"endstate:host:u1:02x"}, o) == Verdict::deny);
  }
  // By the token: the number that this enrolment gives.
  Case token{.user = "system:bootstrap:aaaaaa", .os = {number(3)}};
  token.host.enrolment_token = "system:bootstrap:aaaaaa";
  token.host.identity = 2;
  token.host.enrolment = 3;
  CHECK(verdict(token) == Verdict::approve);
  for (const auto& os : {std::vector<std::string>{}, {number(2)}, {number(4)}}) {
    token.os = os;
    CHECK(verdict(token) == Verdict::deny);
  }
  token.os = {};
  token.host.identity = 0;
  token.host.enrolment = 1;
  CHECK(verdict(token) == Verdict::approve);  // an agent of before, and a host that never had a number
  // A kubelet's first certificate is asked for by such a one, too.
  Case kubelet_by_thief{
      .signer = std::string(kubelet), .cn = "system:node:h1", .o = "system:nodes", .groups = {number(1)}, .host = assigned()};
  kubelet_by_thief.host.identity = 2;
  CHECK(verdict(kubelet_by_thief) == Verdict::deny);
  kubelet_by_thief.groups = {number(2)};
  CHECK(verdict(kubelet_by_thief) == Verdict::approve);
}

TEST_CASE("how long a host's certificate lives is bounded", "[enrolment]") {
  CHECK(verdict({.seconds = 31 * 86400}) == Verdict::approve);  // agents of before ask for 30 days
  CHECK(verdict({.seconds = 31 * 86400 + 1}) == Verdict::deny);
  CHECK(verdict({.seconds = 0}) == Verdict::deny);  // the signer's own idea may be a year
}

TEST_CASE("an agent is let in where agents are kept apart", "[enrolment]") {
  Case c{.user = "system:bootstrap:bbbbbb", .o = "endstate:agents", .host = assigned()};
  c.host.not_isolated = "no policy";
  CHECK(verdict(c) == Verdict::wait);
  c.user = "endstate:host:u1";
  CHECK(verdict(c) == Verdict::wait);
}

TEST_CASE("no certificate for a Node that is somebody else's", "[enrolment]") {
  Case c{.signer = std::string(kubelet), .cn = "system:node:h1", .o = "system:nodes", .host = assigned()};
  c.host.node_trouble = "Node h1 is there";
  CHECK(verdict(c) == Verdict::wait);
  c.user = "system:node:h1";
  CHECK(verdict(c) == Verdict::wait);
  c.signer = serving;
  c.usages = {"digital signature", "server auth"};
  c.dns = {"h1"};
  CHECK(verdict(c) == Verdict::wait);
  c.host.node_trouble.clear();
  CHECK(verdict(c) == Verdict::approve);
  c.ips = {"10.0.0.1"};
  c.host.address_trouble = "it is another Node's";
  CHECK(verdict(c) == Verdict::deny);
}

TEST_CASE("addresses are compared as addresses", "[enrolment]") {
  const auto with = [](std::string address, std::string ip) {
    Case c{.signer = std::string(serving),
           .user = "system:node:h1",
           .cn = "system:node:h1",
           .o = "system:nodes",
           .usages = {"digital signature", "server auth"},
           .dns = {"h1"},
           .ips = {std::move(ip)},
           .host = assigned()};
    c.host.address = std::move(address);
    return verdict(c);
  };
  for (const char* address : {"fd00::1", "FD00:0:0::1", "fd00:0:0:0:0:0:0:1"}) CHECK(with(address, "fd00::1") == Verdict::approve);
  CHECK(with("fd00::2", "fd00::1") == Verdict::deny);
  CHECK(with("h1.example.com", "10.0.0.1") == Verdict::deny);
}

TEST_CASE("the kubelet's client certificate: its own Node's, asked for by its host's agent or by itself", "[enrolment]") {
  const Case good{.signer = std::string(kubelet), .cn = "system:node:h1", .o = "system:nodes", .host = assigned()};
  CHECK(verdict(good) == Verdict::approve);
  const auto with = [&](auto edit) {
    Case c = good;
    edit(c);
    return verdict(c);
  };
  CHECK(with([](Case& c) { c.user = "system:node:h1"; }) == Verdict::approve);
  CHECK(with([](Case& c) { c.cn = "system:node:h2"; }) == Verdict::deny);
  CHECK(with([](Case& c) { c.o = "system:masters"; }) == Verdict::deny);
  CHECK(with([](Case& c) { c.dns = {"h1"}; }) == Verdict::deny);
  CHECK(with([](Case& c) { c.usages = {"digital signature", "server auth"}; }) == Verdict::deny);
  CHECK(with([](Case& c) { c.host.node_name = ""; }) == Verdict::wait);  // released, or not assigned yet
  CHECK(with([](Case& c) { c.user = "system:node:h2"; }) == Verdict::not_ours);
  CHECK(with([](Case& c) { c.user = "system:bootstrap:kubead"; }) == Verdict::not_ours);  // joined by hand
}

TEST_CASE("the kubelet's serving certificate: its own name and address, asked for by itself", "[enrolment]") {
  const Case good{.signer = std::string(serving),
                  .user = "system:node:h1",
                  .cn = "system:node:h1",
                  .o = "system:nodes",
                  .usages = {"digital signature", "server auth"},
                  .dns = {"h1"},
                  .ips = {"10.0.0.1"},
                  .host = assigned()};
  CHECK(verdict(good) == Verdict::approve);
  const auto with = [&](auto edit) {
    Case c = good;
    edit(c);
    return verdict(c);
  };
  CHECK(with([](Case& c) { c.ips = {"10.0.0.1", "10.0.0.2"}; }) == Verdict::deny);
  CHECK(with([](Case& c) { c.dns = {"kubernetes.default"}; }) == Verdict::deny);
  // The API server's own name, as the address of a Host that somebody has written down.
  CHECK(with([](Case& c) { c.host.address = c.dns.emplace_back("kubernetes.default.svc"); }) == Verdict::deny);
  CHECK(with([](Case& c) { c.dns = c.ips = {}; }) == Verdict::deny);
  CHECK(with([](Case& c) { c.more = true; }) == Verdict::deny);
  CHECK(with([](Case& c) { c.cn = "system:node:h2"; }) == Verdict::deny);
  CHECK(with([](Case& c) { c.usages.push_back("client auth"); }) == Verdict::deny);
  CHECK(with([](Case& c) { c.user = "endstate:host:u1"; }) == Verdict::not_ours);
  CHECK(with([](Case& c) { c.host.node_name = ""; }) == Verdict::not_ours);
}

TEST_CASE("what others ask for is left to others", "[enrolment]") {
  CHECK(verdict({.user = "jane", .cn = "jane", .o = "developers"}) == Verdict::not_ours);
  CHECK(verdict({.signer = "example.com/own"}) == Verdict::not_ours);
  CHECK(verdict({.cn = "jane", .o = "developers"}) == Verdict::deny);  // a host that asks for somebody else
}

TEST_CASE("who asks names the host", "[enrolment]") {
  CertificateSigningRequest r;
  CHECK_FALSE(host_uid_of(r));
  r.spec.username = "system:bootstrap:aaaaaa";
  r.spec.groups = {"system:bootstrappers", "system:bootstrappers:endstate", "system:bootstrappers:endstate:u7"};
  CHECK(host_uid_of(r) == "u7");
  r.spec.username = "endstate:host:u1";
  CHECK(host_uid_of(r) == "u1");
  r.spec.username = "system:node:h1";
  CHECK(node_of(r) == "h1");
}
