#include "controllers/cluster/etcd_reports.hpp"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

namespace endstate::cluster {

namespace api = v1alpha1;
using nlohmann::json;

namespace {

// The last line that is what `open` begins: programs write warnings before it.
json last_json(std::string_view log, std::string_view open) {
  while (!log.empty() && (log.back() == '\n' || log.back() == '\r')) log.remove_suffix(1);
  while (!log.empty()) {
    const auto end = log.rfind('\n');
    const auto line = end == std::string_view::npos ? log : log.substr(end + 1);
    if (line.starts_with(open)) {
      auto found = json::parse(line, nullptr, false);
      if (!found.is_discarded()) return found;
    }
    log = end == std::string_view::npos ? std::string_view() : log.substr(0, end);
  }
  return {};
}

std::string text(const json& object, const char* name) {
  return object.contains(name) && object[name].is_string() ? object[name].get<std::string>() : std::string();
}
std::int64_t number(const json& object, const char* name) {
  return object.contains(name) && object[name].is_number() ? object[name].get<std::int64_t>() : std::int64_t{0};
}
std::uint64_t id(const json& object, const char* name) {
  return object.contains(name) && object[name].is_number_unsigned() ? object[name].get<std::uint64_t>() : std::uint64_t{0};
}

// As etcdctl takes it. Its own --hex would do, but leaves out who is a learner (3.6.16).
std::string hex(std::uint64_t number) {
  char buffer[16];
  return {buffer, std::to_chars(std::begin(buffer), std::end(buffer), number, 16).ptr};
}

}  // namespace

std::optional<std::vector<MemberEntry>> read_members(std::string_view log) {
  const auto found = last_json(log, "{\"header\"");
  if (!found.is_object() || !found.contains("members") || !found["members"].is_array()) return std::nullopt;
  std::vector<MemberEntry> out;
  for (const auto& m : found["members"]) {
    if (!m.is_object()) return std::nullopt;
    const auto number = id(m, "ID");
    MemberEntry entry{.id = hex(number),
                      .name = text(m, "name"),
                      .learner = m.contains("isLearner") && m["isLearner"].is_boolean() && m["isLearner"].get<bool>(),
                      .peers = {}};
    if (number == 0 || !m.contains("peerURLs") || !m["peerURLs"].is_array()) return std::nullopt;
    for (const auto& url : m["peerURLs"])
      if (url.is_string()) entry.peers.push_back(url.get<std::string>());
    out.push_back(std::move(entry));
  }
  return out.empty() ? std::nullopt : std::optional(std::move(out));
}

const MemberEntry* entry_of(const Site& site, const std::vector<MemberEntry>& members, std::int64_t i) {
  const auto url = site.peer_url(i);
  for (const auto& m : members)
    if (std::find(m.peers.begin(), m.peers.end(), url) != m.peers.end()) return &m;
  return nullptr;
}

std::optional<std::vector<api::EtcdMember>> read_status(const Site& site, std::string_view log) {
  const auto found = last_json(log, "[");
  if (!found.is_array()) return std::nullopt;
  std::vector<api::EtcdMember> out;
  for (std::int64_t i = 0; i < site.members; ++i) {
    for (const auto& e : found) {
      if (!e.is_object() || text(e, "Endpoint") != site.client_url(i) || !e.contains("Status") || !e["Status"].is_object()) continue;
      const auto& s = e["Status"];
      api::EtcdMember m{.name = site.member(i), .version = text(s, "version"), .leader = {}};
      m.database_bytes = number(s, "dbSize");
      m.database_bytes_in_use = number(s, "dbSizeInUse");
      const auto self = s.contains("header") ? id(s["header"], "member_id") : 0;
      if (self != 0 && id(s, "leader") == self) m.leader = true;
      out.push_back(std::move(m));
      break;
    }
  }
  return out.empty() ? std::nullopt : std::optional(std::move(out));
}

}  // namespace endstate::cluster
