#include "src/kubectl/complete.hpp"

#include <algorithm>
#include <cstdlib>
#include <iostream>

#include "apis/v1alpha1/cluster.hpp"
#include "apis/v1alpha1/machine_set.hpp"
#include "src/kubectl/client.hpp"
#include "src/kubectl/kubeconfig.hpp"
#include "src/kubectl/text.hpp"

namespace endstate::kubectl {
namespace {

namespace api = v1alpha1;

constexpr std::chrono::seconds patience{3};  // somebody waits with the finger on the key
constexpr std::size_t most_names = 1'000;
constexpr int no_files = 4;  // cobra's ShellCompDirectiveNoFileComp

bool has(const std::vector<std::string>& all, const std::string& one) { return std::find(all.begin(), all.end(), one) != all.end(); }

void read_flag(const std::string& flag, const std::string& value, Common& common) {
  if (flag == "--kubeconfig") common.kubeconfig = value;
  if (flag == "--context") common.context = value;
  if (flag == "--namespace" || flag == "-n") common.name_space = value;
}

void offer(const std::string& word, const std::string& what, std::string_view typed, Completion& out) {
  if (std::string_view(word).substr(0, typed.size()) == typed) out.words.push_back(what.empty() ? word : word + "\t" + what);
}

template <class T>
void add_names(Client& client, const std::string& name_space, const std::string& before, std::string_view typed, Completion& out) {
  const auto all = client.list<T>(name_space);
  if (!all) return;
  for (const auto& o : *all)
    if (out.words.size() < most_names) offer(before + plain(o->metadata.name.view()), {}, typed, out);
}

void add_objects(const std::string& typed, Completion& out) {
  // A plugin may open a browser, which nobody expects of the tabulator key.
  auto credentials = user_credentials(
      out.common.kubeconfig, out.common.context, [](const char* name) { return std::getenv(name); }, false);
  if (!credentials) return;
  std::string name_space = out.common.name_space.empty() ? credentials->name_space : out.common.name_space;
  if (name_space.empty()) name_space = "default";
  Client client(std::move(*credentials), {.timeout = patience});
  for (const auto& kind : out.kinds) {
    std::string before;
    if (out.with_kind) {
      before = kind + "/";
      std::transform(before.begin(), before.end(), before.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    }
    if (kind == "MachineSet") add_names<api::MachineSet>(client, name_space, before, typed, out);
    if (kind == "Cluster") add_names<api::Cluster>(client, name_space, before, typed, out);
    if (kind == "Machine") add_names<api::Machine>(client, name_space, before, typed, out);
  }
}

}  // namespace

Completion complete(const std::vector<std::string>& words, const CommandNames& commands) {
  Completion out;
  if (words.empty()) return out;
  const auto* at = &commands;
  std::vector<std::string> positional;
  std::string open;  // a flag whose value comes next
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    const auto& word = words[i];
    if (!open.empty()) {
      read_flag(open, word, out.common);
      open.clear();
    } else if (word.size() > 1 && word[0] == '-') {
      const auto equals = word.find('=');
      if (equals != std::string::npos)
        read_flag(word.substr(0, equals), word.substr(equals + 1), out.common);
      else if (has(at->values, word))
        open = word;
    } else {
      const auto sub = std::find_if(at->below.begin(), at->below.end(), [&](const CommandNames& c) { return c.name == word; });
      if (sub != at->below.end())
        at = &*sub;
      else
        positional.push_back(word);
    }
  }
  const auto& typed = words.back();
  if (!open.empty()) {
    out.files = open == "-f" || open == "--filename" || open == "--kubeconfig" || (open == "--output" && at->name == "kubeconfig");
  } else if (!typed.empty() && typed[0] == '-') {
    for (const auto& flag : at->flags) offer(flag, {}, typed, out);
  } else if (!at->below.empty()) {
    for (const auto& sub : at->below) offer(sub.name, sub.what, typed, out);
  } else if (at->name == "kubeconfig" || at->name == "rights") {
    out.with_kind = false;
    if (positional.empty()) out.kinds = {"Cluster"};
  } else if (positional.size() < 2 && at->name != "top") {
    out.kinds =
        at->name == "describe" ? std::vector<std::string>{"MachineSet", "Cluster", "Machine"} : std::vector<std::string>{"MachineSet"};
    out.with_kind = positional.empty();
    if (positional.empty()) return out;
    const auto target = parse_target({positional[0], "any"}, out.kinds);  // "machineset NAME"
    out.kinds = target ? std::vector<std::string>{target->kind} : std::vector<std::string>();
  }
  return out;
}

int run_complete(const std::vector<std::string>& words) {
  auto found = complete(words, command_names());
  if (!found.kinds.empty()) add_objects(words.back(), found);
  for (const auto& word : found.words) std::cout << word << "\n";
  std::cout << ":" << (found.files ? 0 : no_files) << "\n";
  return exit_code::good;
}

}  // namespace endstate::kubectl
