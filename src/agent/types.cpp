#include "src/agent/types.hpp"

#include <algorithm>

namespace endstate::agent {

SlotRecord* find_slot(Journal& journal, std::string_view slot) {
  const auto at = std::find_if(journal.slots.begin(), journal.slots.end(), [&](const SlotRecord& r) { return r.slot == slot; });
  return at == journal.slots.end() ? nullptr : &*at;
}
const SlotRecord* find_slot(const Journal& journal, std::string_view slot) { return find_slot(const_cast<Journal&>(journal), slot); }

std::string state_path(std::string_view rest) { return std::string(state_folder).append("/").append(rest); }
std::string generation_path(std::string_view id, std::string_view rest) {
  return state_path("generations/").append(id).append(rest.empty() || rest.front() == '/' ? "" : "/").append(rest);
}
std::string package_path(std::string_view id) { return generation_path(id, "package"); }
std::string part_path(std::string_view id) { return generation_path(id, {}).append(".part"); }
std::string blob_path(std::string_view sha256) { return state_path("blobs/").append(sha256); }
std::string current_path(std::string_view slot) { return state_path("current/").append(slot); }
std::string link_target(std::string_view slot, std::string_view path) { return current_path(slot).append("/root").append(path); }

}  // namespace endstate::agent
