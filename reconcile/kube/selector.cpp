#include "reconcile/kube/selector.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

namespace reconcile {
namespace {

std::string decode_percent(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16).ptr == text.data() + i + 3) {
      out += static_cast<char>(value);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string trim(std::string_view s) {
  while (!s.empty() && s.front() == ' ') s.remove_prefix(1);
  while (!s.empty() && s.back() == ' ') s.remove_suffix(1);
  return std::string(s);
}

}  // namespace

std::map<std::string, std::string> parse_query(std::string_view query) {
  std::map<std::string, std::string> out;
  while (!query.empty()) {
    const auto end = std::min(query.find('&'), query.size());
    const auto pair = query.substr(0, end);
    const auto equals = std::min(pair.find('='), pair.size());
    out[decode_percent(pair.substr(0, equals))] = equals < pair.size() ? decode_percent(pair.substr(equals + 1)) : "";
    query.remove_prefix(std::min(end + 1, query.size()));
  }
  return out;
}

// Splits at commas that stand outside parentheses.
std::vector<std::string> requirements(const std::string& selector) {
  std::vector<std::string> out;
  std::string part;
  int depth = 0;
  for (const char c : selector) {
    if (c == '(') ++depth;
    if (c == ')') --depth;
    if (c == ',' && depth == 0) {
      out.push_back(trim(std::exchange(part, {})));
    } else {
      part += c;
    }
  }
  if (!trim(part).empty()) out.push_back(trim(part));
  return out;
}

bool satisfied(const std::string& requirement, const std::function<const std::string*(const std::string&)>& find) {
  const auto set_form = [&](std::string_view word) -> std::optional<std::pair<std::string, std::vector<std::string>>> {
    const auto at = requirement.find(word);
    if (at == std::string::npos) return std::nullopt;
    const auto open = requirement.find('(', at), close = requirement.rfind(')');
    std::vector<std::string> values;
    for (auto& v : requirements(requirement.substr(open + 1, close - open - 1))) values.push_back(v);
    return std::pair(trim(requirement.substr(0, at)), values);
  };
  if (const auto notin = set_form(" notin ")) {
    const auto* value = find(notin->first);
    return !value || std::find(notin->second.begin(), notin->second.end(), *value) == notin->second.end();
  }
  if (const auto in = set_form(" in ")) {
    const auto* value = find(in->first);
    return value && std::find(in->second.begin(), in->second.end(), *value) != in->second.end();
  }
  if (const auto at = requirement.find("!="); at != std::string::npos) {
    const auto* value = find(trim(requirement.substr(0, at)));
    return !value || *value != trim(requirement.substr(at + 2));
  }
  if (const auto at = requirement.find('='); at != std::string::npos) {
    const auto* value = find(trim(requirement.substr(0, at)));
    const auto from = requirement.compare(at, 2, "==") == 0 ? at + 2 : at + 1;
    return value && *value == trim(requirement.substr(from));
  }
  if (requirement.front() == '!') return find(trim(requirement.substr(1))) == nullptr;
  return find(requirement) != nullptr;
}

bool selects(std::string_view query, const Labels& labels) {
  const auto parameters = parse_query(query);
  const auto selector = parameters.find("labelSelector");
  if (selector == parameters.end()) return true;
  std::string value;
  const auto find = [&](const std::string& key) -> const std::string* {
    if (!labels.has(key)) return nullptr;
    value = labels.get(key);
    return &value;
  };
  const auto all = requirements(selector->second);
  return std::all_of(all.begin(), all.end(), [&](const auto& one) { return satisfied(one, find); });
}

}  // namespace reconcile
