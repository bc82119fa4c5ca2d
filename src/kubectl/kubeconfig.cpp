#include "src/kubectl/kubeconfig.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <vector>

#include "reconcile/json/yaml.hpp"
#include "src/kubectl/exec_plugin.hpp"

namespace endstate::kubectl {
namespace {

using nlohmann::json;
using reconcile::Code, reconcile::Credentials, reconcile::fail, reconcile::Result;
namespace fs = std::filesystem;

constexpr std::uintmax_t max_file = 1 << 20;
constexpr std::size_t max_files = 64;

// What $KUBECONFIG names and is there; a file that isn't is left out, as kubectl does.
std::vector<fs::path> files_of(std::string_view list) {
  std::vector<fs::path> out;
  while (!list.empty() && out.size() < max_files) {
    const auto colon = std::min(list.find(':'), list.size());
    const fs::path file(list.substr(0, colon));
    list.remove_prefix(std::min(colon + 1, list.size()));
    std::error_code ignored;
    if (!file.empty() && fs::exists(file, ignored)) out.push_back(file);
  }
  return out;
}

// Relative names are relative to the file that holds them.
void make_absolute(json& config, const fs::path& folder) {
  const auto one = [&](const char* list, const char* member, std::initializer_list<const char*> keys) {
    if (!config.contains(list) || !config[list].is_array()) return;
    for (auto& entry : config[list]) {
      if (!entry.is_object() || !entry.contains(member) || !entry[member].is_object()) continue;
      for (const auto* key : keys)
        if (auto& object = entry[member]; object.contains(key) && object[key].is_string() && !object[key].get<std::string>().empty())
          object[key] = (folder / object[key].get<std::string>()).lexically_normal().string();  // an absolute one stays
    }
  };
  one("clusters", "cluster", {"certificate-authority"});
  one("users", "user", {"client-certificate", "client-key", "tokenFile"});
  if (!config.contains("users") || !config["users"].is_array()) return;
  for (auto& entry : config["users"]) {
    if (!entry.is_object() || !entry.contains("user") || !entry["user"].is_object()) continue;
    const auto exec = entry["user"].find("exec");
    if (exec == entry["user"].end() || !exec->is_object() || !exec->contains("command") || !(*exec)["command"].is_string()) continue;
    const auto command = (*exec)["command"].get<std::string>();
    if (command.find('/') != std::string::npos) (*exec)["command"] = (folder / command).lexically_normal().string();
  }
}

Result<json> read(const fs::path& file) {
  std::error_code error;
  if (fs::file_size(file, error) > max_file)
    return fail(Code::invalid, "kubeconfig " + file.string() + " has more than 1 MiB: is it the right file?");
  std::ifstream in(file, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (!in) return fail(Code::invalid, "can't read kubeconfig " + file.string());
  const auto as_json = reconcile::yaml_config_to_json(text);
  if (!as_json) return fail(Code::invalid, "kubeconfig " + file.string() + ": " + as_json.error().message);
  json config = json::parse(*as_json, nullptr, false);
  if (!config.is_object()) return fail(Code::invalid, "kubeconfig " + file.string() + " is not a map with clusters, users and contexts");
  make_absolute(config, fs::absolute(file).parent_path());
  return config;
}

// The first that says something wins.
void merge(json& into, json&& from) {
  for (const auto* list : {"clusters", "users", "contexts"}) {
    if (!from.contains(list) || !from[list].is_array()) continue;
    auto& all = into[list];
    for (auto& entry : from[list]) {
      const auto same = [&](const json& other) { return other.value("name", json()) == entry.value("name", json()); };
      if (entry.is_object() && std::none_of(all.begin(), all.end(), same)) all.push_back(std::move(entry));
    }
  }
  const auto current = from.find("current-context");
  if (!into.contains("current-context") && current != from.end() && current->is_string() && !current->get<std::string>().empty())
    into["current-context"] = *current;
}

Result<Credentials> merged(const std::vector<fs::path>& files, std::string_view context, std::optional<reconcile::ExecPlugin>* plugin) {
  json all = json::object();
  std::string origin;
  for (const auto& file : files) {
    auto config = read(file);
    if (!config) return fail(config.error());
    merge(all, std::move(*config));
    origin.append(origin.empty() ? "kubeconfig " : ":").append(file.string());
  }
  return reconcile::parse_kubeconfig(all.dump(), context, "/", origin, plugin);
}

Result<Credentials> find(const std::string& kubeconfig, std::string_view context, const reconcile::EnvironmentLookup& environment,
                         std::optional<reconcile::ExecPlugin>* plugin) {
  if (!kubeconfig.empty()) return reconcile::kubeconfig_file(kubeconfig, context, plugin);
  const char* list = environment("KUBECONFIG");
  if (list != nullptr && *list != '\0') {
    const auto files = files_of(list);
    if (files.empty()) return fail(Code::invalid, "KUBECONFIG names no file that exists: " + std::string(list));
    return files.size() == 1 ? reconcile::kubeconfig_file(files[0].string(), context, plugin) : merged(files, context, plugin);
  }
  const char* home = environment("HOME");
  if (home != nullptr && *home != '\0') {
    const auto file = fs::path(home) / ".kube" / "config";
    std::error_code ignored;
    if (fs::exists(file, ignored)) return reconcile::kubeconfig_file(file.string(), context, plugin);
  }
  if (environment("KUBERNETES_SERVICE_HOST") != nullptr) return reconcile::in_cluster_credentials(environment);
  return fail(Code::invalid, "no kubeconfig: name one with --kubeconfig, or set KUBECONFIG (there is none in ~/.kube/config)");
}

}  // namespace

Result<Credentials> user_credentials(const std::string& kubeconfig, std::string_view context,
                                     const reconcile::EnvironmentLookup& environment, bool run_plugins) {
  std::optional<reconcile::ExecPlugin> plugin;
  auto found = find(kubeconfig, context, environment, run_plugins ? &plugin : nullptr);
  if (!found || !plugin) return found;
  found->source = exec_source(std::move(*plugin), found->origin);
  if (const auto issued = reconcile::load_secrets(*found); !issued) return fail(issued.error());
  return found;
}

}  // namespace endstate::kubectl
