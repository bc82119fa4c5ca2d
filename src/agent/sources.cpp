#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "src/agent/fetcher.hpp"
#include "src/agent/reasons.hpp"

namespace endstate::agent {
namespace {

std::string as_folder(std::string prefix) {
  if (!prefix.ends_with('/')) prefix += '/';
  return prefix;
}

// What a server or libcurl could read as another place than the text says: "..", also encoded, and a name before the host.
bool is_plain(std::string_view url) {
  const auto scheme = url.find("://");
  if (scheme == std::string_view::npos) return false;
  const auto rest = url.substr(scheme + 3);
  if (rest.substr(0, rest.find('/')).find('@') != std::string_view::npos) return false;
  if (std::any_of(rest.begin(), rest.end(),
                  [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == '\\' || c == '#' || c == 0x7f; }))
    return false;
  std::string lower(rest);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return lower.find("/../") == std::string::npos && !lower.ends_with("/..") && lower.find("/./") == std::string::npos &&
         lower.find("%2e") == std::string::npos && lower.find("%2f") == std::string::npos && lower.find("%5c") == std::string::npos;
}

}  // namespace

Result<std::vector<std::string>> addresses_of(const std::string& url, const Sources& sources) {
  std::vector<std::string> all;
  for (const auto& [from, to] : sources.mirrors)
    if (url.starts_with(as_folder(from))) all.push_back(as_folder(to) + url.substr(as_folder(from).size()));
  all.push_back(url);
  for (const auto& one : all) {
    const bool allowed = is_plain(one) && std::any_of(sources.allowed.begin(), sources.allowed.end(),
                                                      [&](const std::string& prefix) { return one.starts_with(as_folder(prefix)); });
    if (allowed) continue;
    return fail(Error{Code::invalid,
                      "the artifact's address " + one.substr(0, 300) + " is not below one that the agent's --allow-url names",
                      {},
                      std::string(reason::artifact_rejected)});
  }
  return all;
}

Result<void> check_netrc(const std::string& file) {
  struct stat s {};
  if (::stat(file.c_str(), &s) != 0) return fail(Code::invalid, "it can't be read");
  if ((s.st_mode & 077U) != 0 || (s.st_uid != 0 && s.st_uid != ::geteuid()))
    return fail(Code::invalid, "others may read it: chown root and chmod 600");
  std::ifstream in(file);
  std::string word;
  std::string before;
  bool any = false;
  while (in >> word) {
    const bool is_value = before == "machine" || before == "login" || before == "password" || before == "account";
    if (!is_value && (word == "default" || word == "macdef"))
      return fail(Code::invalid, "it has a '" + word + "': write a 'machine' for each host");
    any = any || (!is_value && word == "machine");
    before = is_value ? "" : word;
  }
  if (!any) return fail(Code::invalid, "it has no 'machine'");
  return {};
}

}  // namespace endstate::agent
