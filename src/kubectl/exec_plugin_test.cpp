#include "src/kubectl/exec_plugin.hpp"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "src/kubectl/kubeconfig.hpp"

using namespace endstate::kubectl;
using namespace std::chrono_literals;
using reconcile::ExecPlugin;
namespace fs = std::filesystem;

namespace {

// A plugin, as a shell script.
struct Script {
  explicit Script(const std::string& text) {
    std::string name = (fs::temp_directory_path() / "endstate-plugin-XXXXXX").string();
    folder = mkdtemp(name.data());
    file = (folder / "plugin.sh").string();
    std::ofstream(file) << "#!/bin/sh\n" << text;
    fs::permissions(file, fs::perms::owner_all);
  }
  ~Script() { fs::remove_all(folder); }
  Script(const Script&) = delete;
  Script& operator=(const Script&) = delete;
  ExecPlugin plugin() const {
    return {.api_version = "client.authentication.k8s.io/v1",
            .command = file,
            .install_hint = "get it at example.com",
            .interactive_mode = "Never"};
  }
  std::string read(const std::string& name) const {
    std::ifstream in(folder / name);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  fs::path folder;
  std::string file;
};

const std::string head = R"(printf '%s' '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":)";

std::string says(const std::shared_ptr<reconcile::CredentialSource>& source) {
  const auto issued = source->issue(false);
  return issued ? "token " + issued->token : issued.error().message;
}

}  // namespace

TEST_CASE("plugin: its token is taken, with what it was told", "[exec]") {
  const Script s(
      "cd \"$(dirname \"$0\")\"\nprintf '%s' \"$KUBERNETES_EXEC_INFO\" >info\nprintf '%s|' \"$@\" >args\nprintf %s \"$MINE\" >mine\ncat "
      ">input\n" +
      head + R"({"token":"abc"}}')");
  auto plugin = s.plugin();
  plugin.args = {"get-token", "a b"};
  plugin.env = {{"MINE", "yes"}};
  plugin.cluster = R"({"server":"https://h"})";
  const auto source = exec_source(plugin, "kubeconfig k");
  CHECK(source->is_stale());
  CHECK(says(source) == "token abc");
  CHECK_FALSE(source->is_stale());  // without a time it is good until it is refused
  CHECK(
      s.read("info") ==
      R"({"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"cluster":{"server":"https://h"},"interactive":false}})");
  CHECK(s.read("args") == "get-token|a b|");
  CHECK(s.read("mine") == "yes");
  CHECK(s.read("input").empty());
}

TEST_CASE("plugin: it is run again when what it said has ended, or was refused", "[exec]") {
  const auto count = GENERATE(as<std::string>(), "2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z");
  const Script s("cd \"$(dirname \"$0\")\"\necho x >>runs\n" + head + "{\"token\":\"t'$(wc -l <runs)'\",\"expirationTimestamp\":\"" +
                 count + "\"}}'");
  const auto source = exec_source(s.plugin(), "k");
  CHECK(says(source) == "token t1");
  const bool ended = count.starts_with("2020");
  CHECK(source->is_stale() == ended);
  CHECK(says(source) == (ended ? "token t2" : "token t1"));
  CHECK(source->issue(true)->token == (ended ? "t3" : "t2"));
}

TEST_CASE("plugin: what goes wrong is said, with the hint, and without what it said", "[exec]") {
  const auto error = [](const std::string& script, ExecLimits limits = {}) {
    const Script s(script);
    return says(exec_source(s.plugin(), "kubeconfig k", limits));
  };
  CHECK(error("exit 3").find("failed with exit code 3\nget it at example.com") != std::string::npos);
  CHECK(error("kill -9 $$").find("signal 9") != std::string::npos);
  CHECK(error("echo secret-word").find("says no ExecCredential") != std::string::npos);
  CHECK(error("echo secret-word").find("secret-word") == std::string::npos);
  CHECK(error(head + "{}}'").find("neither a token nor") != std::string::npos);
  CHECK(error(head + R"({"clientCertificateData":"x"}}')").find("without the other") != std::string::npos);
  CHECK(error(R"(echo '{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential","status":{"token":"a"}}')")
            .find("another version") != std::string::npos);
  CHECK(error("exec sleep 30", {.timeout = 200ms}).find("has not ended within") != std::string::npos);
  CHECK(error("exec >&-; sleep 30", {.timeout = 200ms}).find("has not ended within") != std::string::npos);
  CHECK(error("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done").find("says more than 1048576 bytes") != std::string::npos);
  ExecPlugin nowhere{.api_version = "client.authentication.k8s.io/v1",
                     .command = "endstate-no-such-plugin",
                     .install_hint = "get it",
                     .interactive_mode = "Never"};
  CHECK(says(exec_source(nowhere, "k")) ==
        "k: user.exec: the plugin endstate-no-such-plugin can't be run: No such file or directory\nget it");
}

TEST_CASE("plugin: a kubeconfig that names one has it run", "[exec]") {
  const Script s(head + R"({"token":"from-plugin"}}')");
  const auto config = (s.folder / "config").string();
  std::ofstream(config)
      << "clusters:\n- name: c\n  cluster: {server: https://h}\nusers:\n- name: u\n  user:\n    exec: {apiVersion: "
         "client.authentication.k8s.io/v1, command: ./plugin.sh, interactiveMode: IfAvailable}\ncontexts:\n- name: x\n  context: "
         "{cluster: c, user: u}\ncurrent-context: x\n";
  const auto nothing = [](const char*) -> const char* { return nullptr; };
  const auto c = user_credentials(config, "", nothing);
  REQUIRE(c);
  CHECK(load_secrets(*c)->token == "from-plugin");
  CHECK_FALSE(user_credentials(config, "", nothing, false));
  std::ofstream(s.file) << "#!/bin/sh\nexit 1\n";
  const auto broken = user_credentials(config, "", nothing);
  REQUIRE_FALSE(broken);
  CHECK(broken.error().message.find("exit code 1") != std::string::npos);
}
