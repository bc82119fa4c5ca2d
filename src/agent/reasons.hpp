// What can be wrong with a package, in one word: PackageReport::reason. Each has a page docs/runbook/<Reason>.md.
#pragma once
#include <string_view>

namespace endstate::agent {

namespace reason {
inline constexpr std::string_view agent_not_confirmed = "AgentNotConfirmed";
inline constexpr std::string_view artifact_unavailable = "ArtifactUnavailable";
inline constexpr std::string_view artifact_rejected = "ArtifactRejected";
inline constexpr std::string_view disk_full = "DiskFull";
inline constexpr std::string_view hook_failed = "HookFailed";
inline constexpr std::string_view install_failed = "InstallFailed";
inline constexpr std::string_view interrupted = "Interrupted";
inline constexpr std::string_view package_probe_failed = "PackageProbeFailed";
inline constexpr std::string_view service_failed = "ServiceFailed";
inline constexpr std::string_view package_not_usable = "PackageNotUsable";
inline constexpr std::string_view waiting_for_package = "WaitingForPackage";
inline constexpr std::string_view removing = "Removing";
inline constexpr std::string_view drifted = "Drifted";
inline constexpr std::string_view drift_contested = "DriftContested";
}  // namespace reason

}  // namespace endstate::agent
