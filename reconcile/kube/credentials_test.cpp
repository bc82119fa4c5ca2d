#include "reconcile/kube/credentials.hpp"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "reconcile/kube/base64.hpp"
#include "reconcile/kube/test_server.hpp"

using namespace reconcile;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path;
  Folder() {
    std::string name = (fs::temp_directory_path() / "credentials-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path = name;
  }
  ~Folder() { fs::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string write(const std::string& name, std::string_view text) const {
    std::ofstream(path / name, std::ios::binary) << text;
    return (path / name).string();
  }
};

std::string base64(const std::string& text) {
  std::string out(text.size() * 2 + 8, '\0');
  out.resize(static_cast<std::size_t>(EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                                      reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()))));
  return out;
}

std::string config(const std::string& cluster, const std::string& user) {
  return R"(apiVersion: v1
kind: Config
current-context: main
contexts:
- {name: other, context: {cluster: b, user: u2}}
- name: main
  context: {cluster: a, user: u1, namespace: team}
clusters:
- {name: b, cluster: {server: "https://b.example/k8s/clusters/c-1/"}}
- name: a
  cluster: )" +
         cluster + R"(
users:
- {name: u2, user: {token: 12345}}
- name: u1
  user: )" +
         user + "\n";
}

const std::string plain_cluster = "{server: https://10.0.0.1:6443}";

Result<Credentials> parse(const std::string& cluster, const std::string& user, std::string_view folder = "/cfg",
                          std::string_view context = "") {
  return parse_kubeconfig(config(cluster, user), context, folder, "kubeconfig x");
}

}  // namespace

TEST_CASE("a kubeconfig's context names its cluster and user", "[credentials]") {
  const auto main = parse("{server: https://10.0.0.1:6443, tls-server-name: kubernetes, proxy-url: 'http://proxy:3128'}", "{token: abc}");
  REQUIRE(main);
  CHECK(main->server == "https://10.0.0.1:6443");
  CHECK(main->tls_server_name == "kubernetes");
  CHECK(main->proxy_url == "http://proxy:3128");
  CHECK(main->name_space == "team");
  CHECK(main->token.text == "abc");
  CHECK_FALSE(main->insecure);
  CHECK(main->origin == "kubeconfig x, context 'main'");

  const auto other = parse(plain_cluster, "{token: abc}", "/cfg", "other");
  REQUIRE(other);
  CHECK(other->server == "https://b.example/k8s/clusters/c-1");
  CHECK(other->token.text == "12345");
  CHECK(other->name_space.empty());
  CHECK(parse(plain_cluster, "")->token.empty());  // a user without credentials
  CHECK(parse("{server: https://a, insecure-skip-tls-verify: true}", "{}")->insecure);
}

TEST_CASE("files are relative to the kubeconfig, data wins over them", "[credentials]") {
  const auto files = parse("{server: https://a, certificate-authority: ca.crt}",
                           "{client-certificate: sub/c.crt, client-key: /abs/c.key, tokenFile: t, token: fallback}");
  REQUIRE(files);
  CHECK(files->ca.file == "/cfg/ca.crt");
  CHECK(files->client_certificate.file == "/cfg/sub/c.crt");
  CHECK(files->client_key.file == "/abs/c.key");
  CHECK(files->token.file == "/cfg/t");
  const auto data =
      parse("{server: https://a, certificate-authority: ca.crt, certificate-authority-data: " + base64("PEM text") + "}", "{}");
  REQUIRE(data);
  CHECK(data->ca.file.empty());
  CHECK(data->ca.text == "PEM text");
}

TEST_CASE("a kubeconfig that can't be used says which field and what to do", "[credentials]") {
  struct Row {
    std::string cluster, user;
    std::string_view folder;
    std::string says;
  };
  const Row rows[] = {
      {"{}", "{}", "/c", "server: must be a URL"},
      {"{server: 'ftp://x'}", "{}", "/c", "server: must be a URL that starts with https://"},
      {"{server: 'http://10.0.0.1'}", "{}", "/c", "http:// is for loopback"},
      {"{server: 'http://127.evil.example'}", "{}", "/c", "http:// is for loopback"},
      {"{server: 'https://u:p@h'}", "{}", "/c", "no user"},
      {"{server: 'https://h:99999'}", "{}", "/c", "port"},
      {"{server: 'https://h', proxy-url: 'ftp://x'}", "{}", "/c", "proxy-url"},
      {"{server: 'https://h', tls-server-name: 'a/b'}", "{}", "/c", "tls-server-name"},
      {"{server: 'https://h', insecure-skip-tls-verify: maybe}", "{}", "/c", "insecure-skip-tls-verify: must be true or false"},
      {"{server: 'https://h', insecure-skip-tls-verify: true, certificate-authority: x}", "{}", "/c", "remove one of them"},
      {"{server: 'https://h', certificate-authority-data: '***'}", "{}", "/c", "certificate-authority-data: is not base64"},
      {plain_cluster, "{exec: {command: aws}}", "/c", "user.exec: plugins are not run here: use a token"},
      {plain_cluster, "{auth-provider: {name: gcp}}", "/c", "user.auth-provider"},
      {plain_cluster, "{username: a, password: secret1}", "/c", "user.username"},
      {plain_cluster, "{token: a, as: root}", "/c", "user.as: impersonation"},
      {plain_cluster, "{client-certificate: a}", "/c", "client-key: is missing"},
      {plain_cluster, "{client-key: a}", "/c", "client-certificate: is missing"},
      {plain_cluster, "{tokenFile: /var/run/secrets/x}", "", "tokenFile: this kubeconfig may not name files"},
      {"{server: 'https://h', certificate-authority: /etc/x}", "{}", "", "certificate-authority: this kubeconfig may not name files"},
      {plain_cluster, "text", "/c", "users: 'u1' has a user that is not a map"},
      {plain_cluster, "{a: [}", "/c", "not a kubeconfig"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.cluster, row.user);
    const auto result = parse(row.cluster, row.user, row.folder);
    REQUIRE_FALSE(result);
    CHECK(result.error().code == Code::invalid);
    CHECK_THAT(result.error().message, Catch::Contains(row.says) && Catch::StartsWith("kubeconfig x") && !Catch::Contains("secret1"));
    CHECK(result.error().message.find('\n') == std::string::npos);
  }
  CHECK_THAT(parse(plain_cluster, "{}", "/c", "nope").error().message, Catch::Contains("contexts: there is none named 'nope'"));
  CHECK_THAT(parse_kubeconfig("contexts: []", "", "/", "f").error().message, Catch::Contains("f: current-context: is not set"));
  CHECK_THAT(parse_kubeconfig("[]", "", "/", "f").error().message, Catch::Contains("not a map"));
  CHECK_THAT(kubeconfig_file("/nonexistent/config").error().message, Catch::Contains("/nonexistent/config"));
  CHECK_FALSE(kubeconfig_file("/"));
}

TEST_CASE("a server's address", "[credentials]") {
  const auto v6 = parse_server("https://[2001:db8::1]:6443/a/b");
  REQUIRE(v6);
  CHECK(v6->host == "2001:db8::1");
  CHECK(v6->port == "6443");
  CHECK(v6->path == "/a/b");
  CHECK_FALSE(v6->loopback);
  CHECK(parse_server("https://h")->port == "443");
  CHECK(parse_server("http://[::1]:8001")->loopback);
  CHECK(parse_server("http://127.8.0.1")->port == "80");
  CHECK(parse_server("http://localhost:8001")->loopback);
  for (const auto* bad : {"", "https://", "https://:1", "https://h:", "https://h:x", "https://h:0", "https://[::1", "https://[::1]x",
                          "https://h?a", "https://h#a", "https://h /", "https://h\r\nx"}) {
    CAPTURE(bad);
    if (std::string_view(bad) == "https://h:")
      CHECK(parse_server(bad)->port == "443");  // RFC 3986: an empty port is the scheme's
    else
      CHECK_FALSE(parse_server(bad));
  }
}

TEST_CASE("a pod's own credentials", "[credentials]") {
  const Folder folder;
  folder.write("namespace", "endstate-system\n");
  std::map<std::string, std::string> environment{{"KUBERNETES_SERVICE_HOST", "10.96.0.1"}, {"KUBERNETES_SERVICE_PORT", "6443"}};
  const auto look = [&](const char* name) { return environment.contains(name) ? environment[name].c_str() : nullptr; };
  const auto pod = in_cluster_credentials(look, folder.path.string());
  REQUIRE(pod);
  CHECK(pod->server == "https://10.96.0.1:6443");
  CHECK(pod->name_space == "endstate-system");
  CHECK(pod->token.file == (folder.path / "token").string());
  CHECK(pod->ca.file == (folder.path / "ca.crt").string());
  environment["KUBERNETES_SERVICE_HOST"] = "fd00::1";
  CHECK(in_cluster_credentials(look)->server == "https://[fd00::1]:6443");
  environment.clear();
  CHECK_THAT(in_cluster_credentials(look).error().message, Catch::Contains("KUBERNETES_SERVICE_HOST is not set"));
}

TEST_CASE("secrets are read, checked, and seen to change", "[credentials]") {
  const Folder folder;
  const test::Pki pki;
  Credentials c;
  c.origin = "kubeconfig x";
  c.token.file = folder.write("token", " abc.def \n");
  c.ca.text = pki.ca.certificate_pem();
  c.client_certificate.file = folder.write("c.crt", pki.client.certificate_pem());
  c.client_key.file = folder.write("c.key", pki.client.key_pem());
  const auto secrets = load_secrets(c);
  REQUIRE(secrets);
  CHECK(secrets->token == "abc.def");
  CHECK(secrets->key_pem == pki.client.key_pem());
  CHECK(secrets->ca_pem == pki.ca.certificate_pem());

  const auto signature = files_signature(c);
  CHECK(signature == files_signature(c));
  folder.write("token", "another");
  CHECK(signature != files_signature(c));
  CHECK(load_secrets(c)->token == "another");
  CHECK(files_signature(Credentials{}).empty());

  const auto says = [&](const std::string& part) {
    const auto result = load_secrets(c);
    REQUIRE_FALSE(result);
    CHECK_THAT(result.error().message, Catch::StartsWith("kubeconfig x: ") && Catch::Contains(part));
  };
  folder.write("token", "two words");
  says("tokenFile: is not a bearer token");
  folder.write("token", "");
  says("is empty");
  c.token.file = (folder.path / "missing").string();
  says("tokenFile: can't read");
  c.token = {};
  c.client_key.text = pki.server.key_pem();
  c.client_key.file.clear();
  says("client-key: does not belong to client-certificate");
  c.client_key.text = "-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----\n";
  says("client-key: holds no private key");
  c.client_key.text = test::pem_of(
      [&](BIO* bio) { return PEM_write_bio_PKCS8PrivateKey(bio, pki.client.key.get(), EVP_aes_128_cbc(), "pw", 2, nullptr, nullptr); });
  says("encrypted");
  c.client_certificate.file = folder.write("c.crt", "nothing");
  says("client-certificate: holds no certificate");
  c.ca.text = "nothing";
  says("certificate-authority: holds no certificate");
}

TEST_CASE("kubeconfig: what kubectl reads is read", "[credentials]") {
  const std::string ca = to_base64("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n");
  const auto config = [&](const std::string& user, const std::string& ca_text) {
    return "apiVersion: v1\nkind: Config\npreferences: {}\nnobody-knows: [this]\nclusters:\n- name: c\n  cluster:\n    server: https://h\n"
           "    certificate-authority-data: " +
           ca_text +
           "\n    proxy-url: null\n    tls-server-name: \"\"\n    insecure-skip-tls-verify: null\nusers:\n- name: u\n  user: " + user +
           "\ncontexts:\n- name: x\n  context: {cluster: c, user: u, namespace: null}\ncurrent-context: x\n";
  };
  const std::string token = "{token: abc}";
  const std::vector<std::string> good{
      config(token, ca),
      config(token, ca) + "---\n",
      config(token, ca) + "---\n" + config("{token: other}", ca),
      config(token, ca) + "...\n",
      "---\n" + config(token, ca),
      "x-ca: &ca " + ca + "\n" + config(token, "*ca"),
      config("{token: abc, exec: null}", ca),
      config("{token: abc, exec: {}}", ca),
      config("{token: abc, auth-provider: null}", ca),
      config("{token: abc, username: \"\", password: null}", ca),
      config("{token: abc, as: \"\", as-groups: [], as-user-extra: {}}", ca),
      config("{token: abc, client-certificate: \"\", client-key-data: null, tokenFile: \"\", unknown: 1}", ca),
  };
  for (const auto& text : good) {
    INFO(text);
    const auto c = parse_kubeconfig(text, {}, {}, "test");
    REQUIRE(c);
    CHECK(c->token.text == "abc");
    CHECK(c->ca.text.starts_with("-----BEGIN"));
    CHECK(c->name_space.empty());
    CHECK_FALSE(c->insecure);
  }
  const auto nobody = parse_kubeconfig(config("{token: \"\"}", ca), {}, {}, "test");
  REQUIRE(nobody);
  CHECK(nobody->token.empty());
}

TEST_CASE("kubeconfig: a plugin is for who asks for it", "[credentials]") {
  const auto config = [](const std::string& exec) {
    return "clusters:\n- name: c\n  cluster: {server: https://h, extensions: [{name: client.authentication.k8s.io/exec, extension: "
           "{audience: a}}]}\n"
           "users:\n- name: u\n  user:\n    exec: " +
           exec + "\ncontexts:\n- name: x\n  context: {cluster: c, user: u}\ncurrent-context: x\n";
  };
  const std::string v1 = "apiVersion: client.authentication.k8s.io/v1";
  std::optional<ExecPlugin> plugin;
  const auto c = parse_kubeconfig(config("{" + v1 +
                                         ", command: bin/p, args: [a, 1], env: [{name: N, value: v}], interactiveMode: Never, "
                                         "provideClusterInfo: true, installHint: get it}"),
                                  {}, "/folder", "test", &plugin);
  REQUIRE(c);
  REQUIRE(plugin);
  CHECK(plugin->command == "/folder/bin/p");
  CHECK(plugin->args == std::vector<std::string>{"a", "1"});
  CHECK(plugin->env == std::vector<std::pair<std::string, std::string>>{{"N", "v"}});
  CHECK(plugin->install_hint == "get it");
  CHECK(plugin->cluster == R"({"config":{"audience":"a"},"server":"https://h"})");
  const auto says = [&](const std::string& exec) {
    const auto bad = parse_kubeconfig(config(exec), {}, "/folder", "test", &plugin);
    return bad ? std::string() : bad.error().message;
  };
  CHECK(says("{" + v1 + "beta1, command: p}").empty());
  CHECK(plugin->interactive_mode == "IfAvailable");
  CHECK(plugin->command == "p");
  CHECK(says("{" + v1 + ", command: p}").find("user.exec.interactiveMode") != std::string::npos);  // v1 wants it said
  CHECK(says("{apiVersion: client.authentication.k8s.io/v1alpha1, command: p}").find("user.exec.apiVersion") != std::string::npos);
  CHECK(says("{" + v1 + ", interactiveMode: Never}").find("user.exec.command") != std::string::npos);
  const auto refused = parse_kubeconfig(config("{" + v1 + ", command: p, interactiveMode: Never}"), {}, {}, "Secret a/b");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find("ServiceAccount's token") != std::string::npos);
}
