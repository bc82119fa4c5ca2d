#include "src/kubectl/kubeconfig.hpp"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

using endstate::kubectl::user_credentials;
namespace fs = std::filesystem;

namespace {

struct Folder {
  Folder() {
    std::string name = (fs::temp_directory_path() / "endstate-kubectl-XXXXXX").string();
    path = mkdtemp(name.data());
  }
  ~Folder() { fs::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string write(const std::string& name, const std::string& text) const {
    fs::create_directories((path / name).parent_path());
    std::ofstream(path / name) << text;
    return (path / name).string();
  }
  fs::path path;
};

std::string config(const std::string& name, bool current = true) {
  return "apiVersion: v1\nkind: Config\nclusters:\n- name: " + name + "\n  cluster: {server: https://" + name +
         ".example.com}\nusers:\n- name: " + name + "\n  user: {tokenFile: token}\ncontexts:\n- name: " + name +
         "\n  context: {cluster: " + name + ", user: " + name + ", namespace: ns-" + name + "}\n" +
         (current ? "current-context: " + name + "\n" : "");
}

struct Environment {
  std::map<std::string, std::string> values;
  const char* operator()(const char* name) const {
    const auto it = values.find(name);
    return it == values.end() ? nullptr : it->second.c_str();
  }
};

}  // namespace

TEST_CASE("the flag wins, then KUBECONFIG, then the home's", "[kubeconfig]") {
  const Folder dir;
  const auto flag = dir.write("flag", config("one"));
  const auto env = dir.write("env", config("two"));
  dir.write("home/.kube/config", config("three"));
  const Environment all{{{"KUBECONFIG", env}, {"HOME", (dir.path / "home").string()}}};
  CHECK(user_credentials(flag, "", all)->server == "https://one.example.com");
  CHECK(user_credentials("", "", all)->server == "https://two.example.com");
  const Environment home{{{"HOME", (dir.path / "home").string()}}};
  CHECK(user_credentials("", "", home)->server == "https://three.example.com");
  CHECK(user_credentials("", "", home)->name_space == "ns-three");
}

TEST_CASE("several files are one: the first that says something wins, relative names are their own file's", "[kubeconfig]") {
  const Folder dir;
  const auto a = dir.write("a/config", config("one", false));
  const auto b = dir.write("b/config", config("two"));
  const Environment env{{{"KUBECONFIG", a + ":/nonexistent:" + b}}};
  const auto current = user_credentials("", "", env);
  REQUIRE(current);
  CHECK(current->server == "https://two.example.com");
  CHECK(current->token.file == (dir.path / "b/token").string());
  const auto other = user_credentials("", "one", env);
  REQUIRE(other);
  CHECK(other->server == "https://one.example.com");
  CHECK(other->token.file == (dir.path / "a/token").string());
  CHECK(user_credentials("", "three", env).error().message.find("three") != std::string::npos);
}

TEST_CASE("nothing to be found is said with what to do", "[kubeconfig]") {
  CHECK(user_credentials("", "", Environment{}).error().message.find("--kubeconfig") != std::string::npos);
  CHECK(user_credentials("", "", Environment{{{"KUBECONFIG", "/nonexistent"}}}).error().message.find("/nonexistent") != std::string::npos);
  CHECK_FALSE(user_credentials("/nonexistent", "", Environment{}));
  const Folder dir;
  const auto broken = dir.write("x", "a: [");
  CHECK_FALSE(user_credentials("", "", Environment{{{"KUBECONFIG", broken + ":" + dir.write("y", config("one"))}}}));
}
