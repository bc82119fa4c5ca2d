// The Lease by which a host's agent says that it lives: host-<Host UID> in system_namespace (names.hpp). The agent renews it, the machine
// loop reads it.
#pragma once
#include <string>
#include <string_view>

namespace endstate::v1alpha1 {

inline constexpr std::string_view agent_lease_prefix = "host-";
inline std::string agent_lease_name(std::string_view host_uid) { return std::string(agent_lease_prefix).append(host_uid); }

}  // namespace endstate::v1alpha1
