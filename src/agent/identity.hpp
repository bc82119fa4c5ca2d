// Identity: what a host knows of who it is and whom it may talk to, as files below /var/lib/endstate/identity, readable by root only.
//
//   enrolment.json   its Host, the meta cluster's address and CA; the one-time token, until it is used
//   host.pem         certificate 1 and its key; host.next: the key that a certificate is being asked for with
//   cluster.json     which business cluster, and for which claim; the one-time token, until it is used
//   agent.pem        certificate 2 and its key; agent.next
//
// Each file is whole or not there, and each may be missing: what is missing is got again. For the kubelet, beside them:
// /etc/endstate/kubelet/{bootstrap-kubeconfig,ca.crt}.
#pragma once
#include <optional>
#include <string>

#include "reconcile/base/describe.hpp"
#include "src/agent/host.hpp"

namespace endstate::agent {

using reconcile::Text;

// Where an API server is. The CA as PEM; empty: the system's.
struct Server {
  std::string address, ca, tls_server_name, proxy;
  friend bool operator==(const Server&, const Server&) = default;
};
consteval auto describe(const Server*) {
  return reconcile::object("An API server.", reconcile::field<&Server::address>("address", "https://host:port.", {.required = true}),
                           reconcile::field<&Server::ca>("ca", "Whom to trust, PEM."),
                           reconcile::field<&Server::tls_server_name>("tlsServerName", "The name in its certificate."),
                           reconcile::field<&Server::proxy>("proxy", "On the way."));
}

// What `kubectl endstate enrol` prints.
struct EnrolmentFile {
  std::string host_uid, name_space, host, token;
  std::int64_t identity = 0;
  Server server;
  friend bool operator==(const EnrolmentFile&, const EnrolmentFile&) = default;
};
consteval auto describe(const EnrolmentFile*) {
  using S = EnrolmentFile;
  return reconcile::object("An enrolment.", reconcile::field<&S::host_uid>("hostUID", "uid of the Host.", {.required = true}),
                           reconcile::field<&S::name_space>("namespace", "Its namespace.", {.required = true}),
                           reconcile::field<&S::host>("host", "Its name."),
                           reconcile::field<&S::token>("token", "A one-time token; gone once it was used."),
                           reconcile::field<&S::identity>("identity", "The number of this enrolment; absent: by a version that had none."),
                           reconcile::field<&S::server>("server", "The meta cluster.", {.required = true}));
}

struct ClusterFile {
  std::string claim, cluster, token;  // claim: uid of the Machine
  bool meta = false;                  // it is the meta cluster itself
  std::int64_t identity = 0;
  Server server;
  friend bool operator==(const ClusterFile&, const ClusterFile&) = default;
};
consteval auto describe(const ClusterFile*) {
  using S = ClusterFile;
  return reconcile::object("The business cluster.", reconcile::field<&S::claim>("claim", "uid of the Machine.", {.required = true}),
                           reconcile::field<&S::cluster>("cluster", "Its namespace and name."),
                           reconcile::field<&S::token>("token", "A one-time token; gone once it was used."),
                           reconcile::field<&S::meta>("meta", "It is the meta cluster."),
                           reconcile::field<&S::identity>("identity", "The number of the enrolment that it was handed over to."),
                           reconcile::field<&S::server>("server", "The API server.", {.required = true}));
}

// A kubeconfig as text, with everything in it.
std::string token_kubeconfig(const Server& server, const std::string& token);
std::string certificate_kubeconfig(const Server& server, const std::string& certificate_and_key);

class Identity {
 public:
  explicit Identity(Host& host) : host_(host) {}

  Result<std::optional<EnrolmentFile>> enrolment() const;
  Result<void> store(const EnrolmentFile& file);
  Result<std::optional<ClusterFile>> cluster() const;
  Result<void> store(const ClusterFile& file);
  // PEM files: "host.pem", "host.next", ... Empty: it isn't there.
  Result<std::string> pem(const std::string& name) const;
  Result<void> store_pem(const std::string& name, const std::string& text);
  Result<void> remove(const std::string& name);

  // What a kubelet bootstraps with: certificate 2 is its credential, so it is good for as long as the agent lives.
  Result<void> store_kubelet(const Server& server);
  Result<void> remove_kubelet();

 private:
  Result<std::string> read(const std::string& path) const;
  Result<void> write(const std::string& name, const std::string& text);
  Host& host_;
};

// What was piped in. An error says what is missing.
Result<EnrolmentFile> parse_enrolment(std::string_view text);

}  // namespace endstate::agent
