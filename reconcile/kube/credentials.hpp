// Credentials: where an API server is, whom to trust, and who we are. Read from a kubeconfig (clientcmd api/v1 of k8s.io/client-go) or
// from the pod that we run in (rest.InClusterConfig). Errors name the field and the remedy, and never hold a secret.
//
//   auto c = default_credentials(flags.kubeconfig);    // a file, or "" for the pod's own
//   if (!c) { print(c.error().message); return 2; }
//   CurlEnv env({.user_agent = "endstate/0.1.0"}, *c);
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "reconcile/base/result.hpp"

namespace reconcile {

// A certificate, key or token: inline, or in a file that is read again when it changes (a file wins, as with client-go's tokenFile).
struct Material {
  std::string text{}, file{};
  bool empty() const { return text.empty() && file.empty(); }
  friend bool operator==(const Material&, const Material&) = default;
};

struct Credentials {
  std::string server{};           // https://host[:port][/prefix], no trailing slash; http:// only for a loopback address
  std::string proxy_url{};        // http, https or socks5; "": as the environment says (HTTPS_PROXY, NO_PROXY), never for loopback
  std::string tls_server_name{};  // the name that the server's certificate must have, when it isn't the server's
  std::string name_space{};       // of the context, or the pod's; "" if none is given
  std::string origin{};           // for messages: "kubeconfig /etc/endstate/kubeconfig, context prod"
  bool insecure = false;          // insecure-skip-tls-verify
  Material ca{};                  // PEM; empty: the system's roots
  Material client_certificate{}, client_key{};  // PEM, both or none
  Material token{};
  friend bool operator==(const Credentials&, const Credentials&) = default;
};

// Credentials::server in its parts.
struct Endpoint {
  bool tls = true, loopback = false;
  std::string host{}, port{}, path{};  // host: without the brackets of IPv6; path: "" or "/prefix"
};
Result<Endpoint> parse_server(std::string_view server);

// What the files held when they were read.
struct Secrets {
  std::string ca_pem{}, certificate_pem{}, key_pem{}, token{};
  friend bool operator==(const Secrets&, const Secrets&) = default;
};

// Reads the files (≤ 1 MiB each) and checks what they hold: PEM that parses, a key that belongs to its certificate, a one-line token.
Result<Secrets> load_secrets(const Credentials& credentials);
// Changes when one of the files does (inode, size, time of change); the same when there are none. Costs one stat a file.
std::string files_signature(const Credentials& credentials);

// `context` "": the file's current-context. `folder`: what relative file names are relative to; "": files are refused, for a
// kubeconfig that a user handed in (a Secret) must not name files of this machine.
Result<Credentials> parse_kubeconfig(std::string_view yaml, std::string_view context, std::string_view folder, std::string_view origin);
Result<Credentials> kubeconfig_file(const std::string& file, std::string_view context = {});

using EnvironmentLookup = std::function<const char*(const char* name)>;  // std::getenv
inline constexpr std::string_view service_account_folder = "/var/run/secrets/kubernetes.io/serviceaccount";
Result<Credentials> in_cluster_credentials(const EnvironmentLookup& environment, std::string_view folder = service_account_folder);

// The file if one is named, else the pod's own.
Result<Credentials> default_credentials(const std::string& kubeconfig, std::string_view context = {});

}  // namespace reconcile
