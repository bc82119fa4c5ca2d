#include "reconcile/kube/credentials.hpp"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "reconcile/json/yaml.hpp"
#include "reconcile/kube/base64.hpp"
#include "reconcile/kube/openssl.hpp"

namespace reconcile {
namespace {

using nlohmann::json;

constexpr std::size_t max_file = 1 << 20;

tl::unexpected<Error> bad(std::string_view where, std::string_view field, std::string_view what) {
  std::string message(where);
  if (!message.empty() && !field.empty()) message.append(": ");
  message.append(field);
  if (!message.empty()) message.append(": ");
  message.append(what);
  return fail(Code::invalid, std::move(message));
}

std::string_view trim(std::string_view text) {
  const auto from = text.find_first_not_of(" \t\r\n");
  return from == std::string_view::npos ? std::string_view() : text.substr(from, text.find_last_not_of(" \t\r\n") - from + 1);
}

Result<std::string> read_file(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return fail(Code::invalid, "can't read " + file + ": check that it exists and that this user may read it");
  std::string text(max_file + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad() || (in.fail() && !in.eof())) return fail(Code::invalid, "can't read " + file + ": is it a file?");
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.size() > max_file) return fail(Code::invalid, file + " has more than 1 MiB: is it the right file?");
  return text;
}

// PEM.

using openssl::Certificate, openssl::Key, openssl::reader;

Certificate first_certificate(std::string_view pem) {
  const auto bio = reader(pem);
  Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  ERR_clear_error();  // libcurl's own calls must not find what failed here
  return certificate;
}

Key private_key(std::string_view pem) {
  const auto bio = reader(pem);
  // Without a callback OpenSSL would ask for an encrypted key's passphrase on the terminal.
  Key key(PEM_read_bio_PrivateKey(
      bio.get(), nullptr, [](char*, int, int, void*) { return 0; }, nullptr));
  ERR_clear_error();
  return key;
}

Result<void> check_pem(const Secrets& s, const std::string& where) {
  if (!s.ca_pem.empty() && !first_certificate(s.ca_pem))
    return bad(where, "certificate-authority", "holds no certificate in PEM (-----BEGIN CERTIFICATE-----)");
  if (s.certificate_pem.empty()) return {};
  const auto certificate = first_certificate(s.certificate_pem);
  if (!certificate) return bad(where, "client-certificate", "holds no certificate in PEM (-----BEGIN CERTIFICATE-----)");
  const auto key = private_key(s.key_pem);
  if (!key) return bad(where, "client-key", "holds no private key in PEM, or an encrypted one: store it without a passphrase");
  const bool match = X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  if (!match) return bad(where, "client-key", "does not belong to client-certificate: take both from the same issue");
  return {};
}

// Files may be replaced one after the other, so a pair that does not match yet is an error only for its reader.
Result<std::string> load(const Material& material, std::string_view where, std::string_view field) {
  if (material.file.empty()) return material.text;
  auto text = read_file(material.file);
  if (!text) return bad(where, field, text.error().message);
  if (trim(*text).empty()) return bad(where, field, material.file + " is empty");
  return text;
}

// kubeconfig.

// A scalar as text; numbers and booleans too, for YAML takes an unquoted 12345 as one.
std::string text_at(const json& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return {};
  return it->is_string() ? it->get<std::string>() : it->dump();
}

// Null and empty count as absent.
bool has(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && !it->is_null() && !(it->is_string() && it->get_ref<const std::string&>().empty()) &&
         !((it->is_object() || it->is_array()) && it->empty());
}

// The entry of that name in a list such as users: [{name: admin, user: {...}}].
Result<json> named(const json& config, const char* list, const char* member, const std::string& name, std::string_view where) {
  const auto entries = config.find(list);
  if (entries != config.end() && entries->is_array())
    for (const auto& entry : *entries) {
      if (!entry.is_object() || text_at(entry, "name") != name) continue;
      const auto it = entry.find(member);
      if (it != entry.end() && it->is_object()) return *it;
      if (it == entry.end() || it->is_null()) return json::object();  // a user without credentials is written so
      return bad(where, list, "'" + name + "' has a " + member + " that is not a map");
    }
  return bad(where, list, "there is none named '" + name + "', which the context names");
}

struct Reader {
  std::string_view folder;
  std::string where;

  // `key` names a file, `key`-data holds base64, which wins (clientcmd's api/v1/types.go).
  Result<Material> material(const json& object, const std::string& key) const {
    Material out;
    if (const auto data = text_at(object, (key + "-data").c_str()); !data.empty()) {
      auto text = from_base64_lines(data);
      if (!text) return bad(where, key + "-data", "is not base64");
      out.text = std::move(*text);
      return out;
    }
    return file(object, key);
  }
  Result<Material> file(const json& object, const std::string& key) const {
    Material out;
    const auto name = text_at(object, key.c_str());
    if (name.empty()) return out;
    if (folder.empty())
      return bad(where, key, "this kubeconfig may not name files: put the content into it (kubectl config view --flatten --minify)");
    out.file = name.front() == '/' ? name : std::string(folder) + "/" + name;
    return out;
  }
};

Result<void> read_cluster(const json& cluster, const Reader& reader, Credentials& out) {
  out.server = text_at(cluster, "server");
  while (!out.server.empty() && out.server.back() == '/') out.server.pop_back();
  if (auto endpoint = parse_server(out.server); !endpoint) return bad(reader.where, "server", endpoint.error().message);
  out.tls_server_name = text_at(cluster, "tls-server-name");
  if (out.tls_server_name.find_first_of("/:@?# \t\r\n") != std::string::npos)
    return bad(reader.where, "tls-server-name", "must be a host name");
  out.proxy_url = text_at(cluster, "proxy-url");
  if (!out.proxy_url.empty() && out.proxy_url.rfind("http://", 0) != 0 && out.proxy_url.rfind("https://", 0) != 0 &&
      out.proxy_url.rfind("socks5://", 0) != 0)
    return bad(reader.where, "proxy-url", "must start with http://, https:// or socks5://");
  const auto insecure = text_at(cluster, "insecure-skip-tls-verify");
  if (!insecure.empty() && insecure != "true" && insecure != "false")
    return bad(reader.where, "insecure-skip-tls-verify", "must be true or false");
  out.insecure = insecure == "true";
  auto ca = reader.material(cluster, "certificate-authority");
  if (!ca) return fail(ca.error());
  out.ca = std::move(*ca);
  if (out.insecure && !out.ca.empty())
    return bad(reader.where, "insecure-skip-tls-verify", "is set together with a certificate-authority: remove one of them");
  return {};
}

// k8s.io/client-go/tools/clientcmd/api/v1 ExecConfig.
Result<ExecPlugin> read_plugin(const json& exec, const json& cluster, const Reader& reader) {
  ExecPlugin out;
  if (!exec.is_object()) return bad(reader.where, "user.exec", "must be a map");
  out.command = text_at(exec, "command");
  if (out.command.empty()) return bad(reader.where, "user.exec.command", "is missing");
  // A path is relative to the file's folder; a bare name is looked for in PATH.
  if (out.command.front() != '/' && out.command.find('/') != std::string::npos)
    out.command = std::string(reader.folder) + "/" + out.command;
  out.api_version = text_at(exec, "apiVersion");
  if (out.api_version != "client.authentication.k8s.io/v1" && out.api_version != "client.authentication.k8s.io/v1beta1")
    return bad(reader.where, "user.exec.apiVersion",
               "'" + out.api_version +
                   "' is not known: client.authentication.k8s.io/v1 or v1beta1 (update the plugin, and write its "
                   "kubeconfig anew)");
  out.install_hint = text_at(exec, "installHint");
  out.interactive_mode = text_at(exec, "interactiveMode");
  if (out.interactive_mode.empty() && out.api_version.ends_with("v1beta1")) out.interactive_mode = "IfAvailable";
  if (out.interactive_mode != "Never" && out.interactive_mode != "IfAvailable" && out.interactive_mode != "Always")
    return bad(reader.where, "user.exec.interactiveMode", "must be Never, IfAvailable or Always");
  if (has(exec, "args") && exec["args"].is_array())
    for (const auto& arg : exec["args"]) out.args.push_back(arg.is_string() ? arg.get<std::string>() : arg.dump());
  if (has(exec, "env") && exec["env"].is_array())
    for (const auto& one : exec["env"])
      if (one.is_object()) out.env.emplace_back(text_at(one, "name"), text_at(one, "value"));
  if (has(exec, "provideClusterInfo") && exec["provideClusterInfo"] == true) out.cluster = cluster.dump();
  return out;
}

// ExecCredential.spec.cluster of a kubeconfig's cluster (client.authentication.k8s.io v1 Cluster).
json cluster_info(const json& cluster, const Credentials& c) {
  json out = {{"server", c.server}};
  for (const auto* key : {"tls-server-name", "insecure-skip-tls-verify", "certificate-authority-data", "proxy-url"})
    if (has(cluster, key)) out[key] = cluster[key];
  if (!has(cluster, "certificate-authority-data") && !c.ca.file.empty())
    if (const auto ca = read_file(c.ca.file)) out["certificate-authority-data"] = to_base64(*ca);
  if (has(cluster, "extensions") && cluster["extensions"].is_array())
    for (const auto& one : cluster["extensions"])
      if (one.is_object() && text_at(one, "name") == "client.authentication.k8s.io/exec" && one.contains("extension"))
        out["config"] = one["extension"];
  return out;
}

Result<void> read_user(const json& user, const json& cluster, const Reader& reader, Credentials& out, std::optional<ExecPlugin>* plugin) {
  if (has(user, "exec")) {
    if (plugin == nullptr)
      return bad(reader.where, "user.exec",
                 "plugins are not run here: use a token, a tokenFile or a client certificate (in a Secret: a ServiceAccount's token, or a "
                 "certificate)");
    auto found = read_plugin(user["exec"], cluster_info(cluster, out), reader);
    if (!found) return fail(found.error());
    *plugin = std::move(*found);
  }
  if (has(user, "auth-provider"))
    return bad(reader.where, "user.auth-provider", "is not supported: use a token, a tokenFile or a client certificate");
  if (has(user, "username") || has(user, "password"))
    return bad(reader.where, "user.username", "Kubernetes knows no passwords since 1.19: use a token or a client certificate");
  for (const auto* key : {"as", "as-uid", "as-groups", "as-user-extra"})
    if (has(user, key))
      return bad(reader.where, std::string("user.") + key, "impersonation is not supported: use that user's own credentials");
  auto certificate = reader.material(user, "client-certificate");
  if (!certificate) return fail(certificate.error());
  auto key = reader.material(user, "client-key");
  if (!key) return fail(key.error());
  auto token = reader.file(user, "tokenFile");
  if (!token) return fail(token.error());
  out.client_certificate = std::move(*certificate);
  out.client_key = std::move(*key);
  out.token = std::move(*token);
  out.token.text = text_at(user, "token");
  if (out.client_certificate.empty() != out.client_key.empty())
    return bad(reader.where, out.client_key.empty() ? "client-key" : "client-certificate", "is missing: they come as a pair");
  return {};
}

}  // namespace

Result<Endpoint> parse_server(std::string_view server) {
  Endpoint out;
  const bool http = server.rfind("http://", 0) == 0;
  if (server.rfind("https://", 0) != 0 && !http) return fail(Code::invalid, "must be a URL that starts with https://");
  out.tls = !http;
  auto rest = server.substr(http ? 7 : 8);
  for (const char c : rest)
    if (c <= ' ' || c >= 0x7f || std::string_view("@?#\\\"%").find(c) != std::string_view::npos)
      return fail(Code::invalid, "may have a host, a port and a path only, no user, query or spaces");
  const auto slash = std::min(rest.find('/'), rest.size());
  out.path = rest.substr(slash);
  auto authority = rest.substr(0, slash);
  if (!authority.empty() && authority.front() == '[') {
    const auto end = authority.find(']');
    if (end == std::string_view::npos) return fail(Code::invalid, "has an IPv6 address without its closing ]");
    out.host = authority.substr(1, end - 1);
    authority.remove_prefix(end + 1);
    if (!authority.empty() && authority.front() != ':') return fail(Code::invalid, "has text between its host and its port");
    out.port = authority.empty() ? "" : authority.substr(1);
  } else {
    const auto colon = std::min(authority.find(':'), authority.size());
    out.host = authority.substr(0, colon);
    out.port = colon == authority.size() ? "" : authority.substr(colon + 1);
  }
  if (out.host.empty()) return fail(Code::invalid, "has no host");
  if (out.port.empty()) out.port = http ? "80" : "443";
  if (out.port.size() > 5 || out.port.find_first_not_of("0123456789") != std::string::npos || std::stoi(out.port) > 65535 ||
      out.port == "0")
    return fail(Code::invalid, "has a port that is not a number from 1 to 65535");
  in_addr v4{};
  in6_addr v6{};
  out.loopback = out.host == "localhost" || (inet_pton(AF_INET, out.host.c_str(), &v4) == 1 && (ntohl(v4.s_addr) >> 24) == 127) ||
                 (inet_pton(AF_INET6, out.host.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6));
  if (http && !out.loopback) return fail(Code::invalid, "http:// is for loopback addresses only: credentials would be readable on the way");
  return out;
}

Result<Secrets> load_secrets(const Credentials& c, bool was_refused) {
  auto ca = load(c.ca, c.origin, "certificate-authority");
  if (!ca) return fail(ca.error());
  auto certificate = load(c.client_certificate, c.origin, "client-certificate");
  if (!certificate) return fail(certificate.error());
  auto key = load(c.client_key, c.origin, "client-key");
  if (!key) return fail(key.error());
  auto token = load(c.token, c.origin, c.token.file.empty() ? "token" : "tokenFile");
  if (!token) return fail(token.error());
  Secrets out{std::move(*ca), std::move(*certificate), std::move(*key), std::string(trim(*token))};
  if (c.source && out.token.empty() && out.certificate_pem.empty()) {
    auto issued = c.source->issue(was_refused);
    if (!issued) return fail(issued.error());
    issued->ca_pem = std::move(out.ca_pem);
    out = std::move(*issued);
  }
  for (const char ch : out.token)
    if (ch <= ' ' || ch >= 0x7f)
      return bad(c.origin, c.token.file.empty() ? "token" : "tokenFile", "is not a bearer token: it must be one word");
  if (auto ok = check_pem(out, c.origin); !ok) return fail(ok.error());
  return out;
}

std::string files_signature(const Credentials& c) {
  std::string out;
  for (const auto* material : {&c.ca, &c.client_certificate, &c.client_key, &c.token}) {
    struct stat s {};
    if (material->file.empty()) continue;
    if (stat(material->file.c_str(), &s) != 0)
      out.append("missing;");
    else
      for (const auto part : {static_cast<long long>(s.st_ino), static_cast<long long>(s.st_size), static_cast<long long>(s.st_mtim.tv_sec),
                              static_cast<long long>(s.st_mtim.tv_nsec)})
        out.append(std::to_string(part)).append(";");
  }
  return out;
}

Result<Credentials> parse_kubeconfig(std::string_view yaml, std::string_view context, std::string_view folder, std::string_view origin,
                                     std::optional<ExecPlugin>* plugin) {
  if (yaml.size() > max_file) return bad(origin, "", "has more than 1 MiB");
  const auto text = yaml_config_to_json(yaml);
  if (!text) return bad(origin, "not a kubeconfig", text.error().message);
  const json config = json::parse(*text, nullptr, false);
  if (!config.is_object()) return bad(origin, "not a kubeconfig", "it is not a map with clusters, users and contexts");

  const std::string name = context.empty() ? text_at(config, "current-context") : std::string(context);
  if (name.empty()) return bad(origin, "current-context", "is not set: name a context (kubectl config use-context)");
  Credentials out;
  out.origin = std::string(origin) + ", context '" + name + "'";
  const Reader reader{folder, out.origin};
  const auto chosen = named(config, "contexts", "context", name, origin);
  if (!chosen) return fail(chosen.error());
  out.name_space = text_at(*chosen, "namespace");
  const auto cluster = named(config, "clusters", "cluster", text_at(*chosen, "cluster"), out.origin);
  if (!cluster) return fail(cluster.error());
  if (auto ok = read_cluster(*cluster, reader, out); !ok) return fail(ok.error());
  if (const auto user_name = text_at(*chosen, "user"); !user_name.empty()) {
    const auto user = named(config, "users", "user", user_name, out.origin);
    if (!user) return fail(user.error());
    if (auto ok = read_user(*user, *cluster, reader, out, plugin); !ok) return fail(ok.error());
  }
  return out;
}

Result<Credentials> kubeconfig_file(const std::string& file, std::string_view context, std::optional<ExecPlugin>* plugin) {
  const auto text = read_file(file);
  if (!text) return bad("", "kubeconfig", text.error().message);
  const auto slash = file.find_last_of('/');
  const std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : file.substr(0, slash);
  return parse_kubeconfig(*text, context, folder, "kubeconfig " + file, plugin);
}

Result<Credentials> in_cluster_credentials(const EnvironmentLookup& environment, std::string_view folder) {
  const char* host = environment("KUBERNETES_SERVICE_HOST");
  const char* port = environment("KUBERNETES_SERVICE_PORT");
  if (host == nullptr || *host == '\0')
    return fail(Code::invalid, "no kubeconfig is given and KUBERNETES_SERVICE_HOST is not set: this is not a pod, so name a kubeconfig");
  Credentials out;
  const std::string name(host);
  out.server = "https://" + (name.find(':') == std::string::npos ? name : "[" + name + "]") + ":" +
               (port == nullptr || *port == '\0' ? "443" : port);
  out.origin = "the pod's service account";
  if (auto endpoint = parse_server(out.server); !endpoint) return bad(out.origin, "KUBERNETES_SERVICE_HOST", endpoint.error().message);
  out.token.file = std::string(folder) + "/token";
  out.ca.file = std::string(folder) + "/ca.crt";
  if (auto name_space = read_file(std::string(folder) + "/namespace")) out.name_space = trim(*name_space);
  return out;
}

Result<Credentials> default_credentials(const std::string& kubeconfig, std::string_view context) {
  if (!kubeconfig.empty()) return kubeconfig_file(kubeconfig, context);
  return in_cluster_credentials([](const char* name) { return std::getenv(name); });
}

}  // namespace reconcile
