#include "src/agent/identity.hpp"

#include <nlohmann/json.hpp>

#include "reconcile/json/decode.hpp"
#include "reconcile/json/encode.hpp"
#include "reconcile/kube/base64.hpp"
#include "reconcile/kube/credentials.hpp"
#include "src/agent/keys.hpp"
#include "src/agent/types.hpp"

namespace endstate::agent {
namespace {

using json = nlohmann::ordered_json;
constexpr std::size_t max_file = 1 << 20;
constexpr std::string_view kubelet_folder = "/etc/endstate/kubelet";

std::string path_of(std::string_view name) { return state_path(std::string("identity/").append(name)); }

json config(const Server& server, json user) {
  json cluster{{"server", server.address}};
  if (!server.ca.empty()) cluster["certificate-authority-data"] = reconcile::to_base64(server.ca);
  if (!server.tls_server_name.empty()) cluster["tls-server-name"] = server.tls_server_name;
  if (!server.proxy.empty()) cluster["proxy-url"] = server.proxy;
  json out{{"apiVersion", "v1"}, {"kind", "Config"}, {"current-context", "endstate"}};
  out["clusters"] = json::array({{{"name", "endstate"}, {"cluster", std::move(cluster)}}});
  out["users"] = json::array({{{"name", "endstate"}, {"user", std::move(user)}}});
  out["contexts"] = json::array({{{"name", "endstate"}, {"context", {{"cluster", "endstate"}, {"user", "endstate"}}}}});
  return out;
}

template <class T>
Result<std::optional<T>> parse(const Result<std::string>& text, const std::string& name) {
  if (!text) return fail(text.error());
  if (text->empty()) return std::optional<T>();
  reconcile::Pool pool;
  auto read = reconcile::decode<T>(*text, pool);
  if (!read) return fail(Code::invalid, path_of(name) + ": " + read.error().message);
  return std::optional<T>(std::move(*read));
}

}  // namespace

std::string token_kubeconfig(const Server& server, const std::string& token) { return config(server, {{"token", token}}).dump(); }
std::string certificate_kubeconfig(const Server& server, const std::string& pem) {
  const auto data = reconcile::to_base64(pem);  // OpenSSL takes the key out of the same text
  return config(server, {{"client-certificate-data", data}, {"client-key-data", data}}).dump();
}

Result<std::string> Identity::read(const std::string& path) const {
  const auto there = host_.look(path);
  if (!there) return fail(there.error());
  if (!*there) return std::string();
  return host_.read(path, max_file);
}

Result<void> Identity::write(const std::string& name, const std::string& text) {
  for (const auto& [folder, mode] : {std::pair{state_path(""), 0755U}, {state_path("identity"), 0700U}}) {
    auto path = folder;
    if (path.back() == '/') path.pop_back();
    if (auto done = host_.make_folder(path, mode); !done) return done;
  }
  return host_.write(path_of(name), text, 0600);
}

Result<std::optional<EnrolmentFile>> Identity::enrolment() const {
  return parse<EnrolmentFile>(read(path_of("enrolment.json")), "enrolment.json");
}
Result<void> Identity::store(const EnrolmentFile& file) { return write("enrolment.json", reconcile::encode(file)); }
Result<std::optional<ClusterFile>> Identity::cluster() const { return parse<ClusterFile>(read(path_of("cluster.json")), "cluster.json"); }
Result<void> Identity::store(const ClusterFile& file) { return write("cluster.json", reconcile::encode(file)); }
Result<std::string> Identity::pem(const std::string& name) const { return read(path_of(name)); }
Result<void> Identity::store_pem(const std::string& name, const std::string& text) { return write(name, text); }
Result<void> Identity::remove(const std::string& name) {
  const auto there = host_.look(path_of(name));
  if (!there) return fail(there.error());
  return *there ? host_.remove(path_of(name)) : Result<void>();
}

Result<void> Identity::store_kubelet(const Server& server) {
  const std::string folder(kubelet_folder), bootstrap = folder + "/bootstrap-kubeconfig", ca = folder + "/ca.crt";
  const auto credential = path_of("agent.pem");
  const auto text = config(server, {{"client-certificate", credential}, {"client-key", credential}}).dump(2) + "\n";
  const auto has = [&](const std::string& path, const std::string& wanted) {
    const auto there = read(path);
    return there && *there == wanted;
  };
  if (has(bootstrap, text) && has(ca, server.ca)) return {};
  if (auto done = host_.make_folder("/etc/endstate", 0755); !done) return done;
  if (auto done = host_.make_folder(folder, 0755); !done) return done;
  if (auto done = host_.write(ca, server.ca, 0644); !done) return done;
  return host_.write(bootstrap, text, 0600);
}

Result<void> Identity::remove_kubelet() {
  for (const char* name : {"/bootstrap-kubeconfig", "/ca.crt"}) {
    const auto path = std::string(kubelet_folder) + name;
    const auto there = host_.look(path);
    if (!there) return fail(there.error());
    if (!*there) continue;
    if (auto done = host_.remove(path); !done) return done;
  }
  return {};
}

Result<EnrolmentFile> parse_enrolment(std::string_view text) {
  const auto wrong = [](const std::string& what) {
    return fail(Code::invalid, "this is not what 'kubectl endstate enrol HOST' prints: " + what);
  };
  if (text.size() > max_file) return wrong("it has more than 1 MiB");
  reconcile::Pool pool;
  auto read = reconcile::decode<EnrolmentFile>(text, pool);
  if (!read) return wrong(read.error().message);
  if (read->host_uid.empty() || read->host_uid.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") != std::string::npos)
    return wrong("hostUID is missing, or no uid");
  if (read->name_space.empty()) return wrong("namespace is missing");
  if (read->token.empty()) return wrong("token is missing");
  if (auto checked = reconcile::parse_server(read->server.address); !checked) return wrong("server.address " + checked.error().message);
  return read;
}

}  // namespace endstate::agent
