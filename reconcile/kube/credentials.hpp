// Credentials: where an API server is, whom to trust, and who we are. Read from a kubeconfig (clientcmd api/v1 of k8s.io/client-go) or
// from the pod that we run in (rest.InClusterConfig). Errors name the field and the remedy, and never hold a secret.
//
//   auto c = default_credentials(flags.kubeconfig);    // a file, or "" for the pod's own
//   if (!c) { print(c.error().message); return 2; }
//   CurlEnv env({.user_agent = "endstate/0.1.0"}, *c);
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reconcile/base/result.hpp"

namespace reconcile {

// A certificate, key or token: inline, or in a file that is read again when it changes (a file wins, as with client-go's tokenFile).
struct Material {
  std::string text{}, file{};
  bool empty() const { return text.empty() && file.empty(); }
  friend bool operator==(const Material&, const Material&) = default;
};

// What the files held when they were read, and what a source issued.
struct Secrets {
  std::string ca_pem{}, certificate_pem{}, key_pem{}, token{};
  friend bool operator==(const Secrets&, const Secrets&) = default;
};

// Issues a token or a client certificate, and another one when that has ended: a credential plugin (src/kubectl/exec_plugin.hpp). May
// block.
class CredentialSource {
 public:
  virtual ~CredentialSource() = default;
  virtual bool is_stale() const = 0;                    // nothing was issued, or it has expired
  virtual Result<Secrets> issue(bool was_refused) = 0;  // what is good still, unless the server refused it (401)
};

// A plugin that a kubeconfig names (user.exec; client.authentication.k8s.io). Only who runs plugins asks for it.
struct ExecPlugin {
  std::string api_version{}, command{}, install_hint{}, interactive_mode{};
  std::vector<std::string> args{};
  std::vector<std::pair<std::string, std::string>> env{};
  std::string cluster{};  // JSON: ExecCredential.spec.cluster, if it is to be told (provideClusterInfo)
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
  std::shared_ptr<CredentialSource> source{};  // null: what stands above is all
  friend bool operator==(const Credentials&, const Credentials&) = default;
};

// Credentials::server in its parts.
struct Endpoint {
  bool tls = true, loopback = false;
  std::string host{}, port{}, path{};  // host: without the brackets of IPv6; path: "" or "/prefix"
};
Result<Endpoint> parse_server(std::string_view server);

// Reads the files (≤ 1 MiB each) and checks what they hold: PEM that parses, a key that belongs to its certificate, a one-line token.
Result<Secrets> load_secrets(const Credentials& credentials, bool was_refused = false);
// Changes when one of the files does (inode, size, time of change); the same when there are none. Costs one stat a file.
std::string files_signature(const Credentials& credentials);

// `context` "": the file's current-context. `folder`: what relative file names are relative to; "": files are refused, for a
// kubeconfig that a user handed in (a Secret) must not name files of this machine. Read as kubectl reads it: the first document, aliases
// written out, what is null or empty counts as absent, what is unknown is passed over. `plugin`: where a user.exec goes; null: it is
// refused, for nobody's kubeconfig may have a program run.
Result<Credentials> parse_kubeconfig(std::string_view yaml, std::string_view context, std::string_view folder, std::string_view origin,
                                     std::optional<ExecPlugin>* plugin = nullptr);
Result<Credentials> kubeconfig_file(const std::string& file, std::string_view context = {}, std::optional<ExecPlugin>* plugin = nullptr);

using EnvironmentLookup = std::function<const char*(const char* name)>;  // std::getenv
inline constexpr std::string_view service_account_folder = "/var/run/secrets/kubernetes.io/serviceaccount";
Result<Credentials> in_cluster_credentials(const EnvironmentLookup& environment, std::string_view folder = service_account_folder);

// The file if one is named, else the pod's own.
Result<Credentials> default_credentials(const std::string& kubeconfig, std::string_view context = {});

}  // namespace reconcile
