#include "src/fleet/fault.hpp"

#include <algorithm>
#include <string>

namespace endstate::fleet {
namespace {

using reconcile::Code, reconcile::fail;

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

// RFC 1123, as the names of objects are; the API server checks the rest when such an object is made.
bool is_object_name(std::string_view s) {
  const auto good = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.'; };
  return !s.empty() && s.size() <= 253 && std::all_of(s.begin(), s.end(), good);
}

}  // namespace

reconcile::Result<Fault> parse_fault(std::string_view text) {
  static constexpr std::string_view package_key = "package=";
  if (text.size() > 1024) return fail(Code::invalid, "a fault is at most 1024 characters long");
  Fault fault;
  for (auto rest = text;;) {
    const auto comma = rest.find(',');
    const auto word = trim(rest.substr(0, comma));
    if (word.starts_with(package_key)) {
      const auto name = word.substr(package_key.size());
      if (!fault.package.empty()) return fail(Code::invalid, "package= is given twice; use one annotation or --fault for each package");
      if (!is_object_name(name)) return fail(Code::invalid, "\"" + std::string(name) + "\" is no name of a MachinePackageVersion");
      fault.package = reconcile::Text(name);
    } else {
      const auto* const found = std::find(std::begin(fault_names), std::end(fault_names), word);
      if (found == std::end(fault_names))
        return fail(Code::invalid,
                    "\"" + std::string(word.substr(0, 64)) +
                        "\" is no fault; it must be InstallFails, NodeNotReady, AgentSilent, HostDown, Slow or package=NAME");
      fault.kinds |= static_cast<std::uint8_t>(1U << static_cast<unsigned>(found - std::begin(fault_names)));
    }
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  if (fault.kinds == 0) return fail(Code::invalid, "package= alone is no fault; say also which, e.g. InstallFails,package=NAME");
  return fault;
}

}  // namespace endstate::fleet
