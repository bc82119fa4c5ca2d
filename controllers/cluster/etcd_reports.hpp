// What etcdctl says, as data. Pure; text that isn't what was expected is nothing.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controllers/cluster/site.hpp"

namespace endstate::cluster {

struct MemberEntry {
  std::string id;    // hexadecimal, as etcdctl takes it
  std::string name;  // empty: it has never been started
  bool learner = false;
  std::vector<std::string> peers;  // URLs
};
// `etcdctl member list --hex --write-out=json`.
std::optional<std::vector<MemberEntry>> read_members(std::string_view log);
// The entry of the i-th member: by its address, since one that has never been started has no name.
const MemberEntry* entry_of(const Site& site, const std::vector<MemberEntry>& members, std::int64_t i);

// `etcdctl endpoint status --write-out=json`, in the order of their numbers.
std::optional<std::vector<v1alpha1::EtcdMember>> read_status(const Site& site, std::string_view log);

}  // namespace endstate::cluster
