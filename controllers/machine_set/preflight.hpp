// Pre-flight: what is looked at before a release touches its first machine. Pure: what no cache holds (whether an artifact's address
// answers) is asked for by queries and comes with the next snapshot.
//
//   ArtifactsReachable  each new artifact's address answers a HEAD (a GET where HEAD isn't known, cut short) with 2xx or 3xx
//   VersionSkew         new kubelets and kube-proxies are not newer than the API server and at most 3 minor versions older
//                       (kubernetes.io/releases/version-skew-policy)
//   ClusterHealthy      the Cluster is Ready. Not its machines: a release must be able to heal a set that is broken altogether
//   BudgetOpen          a permit would be given now, or soon: nothing that needs a person or a clock is in the way
//   DiskRoom            every host has three times the new artifacts' size free
//
// "New" is what the release brings: versions that the revision which it comes from doesn't name. The way back is never held by any of it.
// What isn't known yet is Pending, never passed; what can't be known here (file://, reserved names, no size given) is Skipped and says so.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controllers/machine_set/course.hpp"
#include "controllers/machine_set/snapshot.hpp"
#include "reconcile/run/guard.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::machine_set {

inline constexpr std::chrono::seconds preflight_again{30};  // what didn't pass is looked at again
inline constexpr std::size_t max_artifacts = 24;            // of one release: what comes after is not asked for, and the message says so
inline constexpr std::size_t max_domains = 16;              // failure domains whose budget is asked for

struct Preflight {
  std::vector<api::PreflightStatus> checks;   // one each, in the API's order
  std::vector<api::PreflightCheck> skipped;   // by annotation
  std::vector<std::string> unknown;           // what the annotation names and no check is
  std::optional<Problem> problem;             // nullopt: clear to go
  bool needs_somebody = false;                // a person or a change elsewhere; else it waits for an answer or a clock
  std::optional<reconcile::Refused> refusal;  // the guard's, that BudgetOpen failed with
  std::vector<reconcile::Query> queries;
  std::chrono::milliseconds again = preflight_again;
};

// `from`: the revision that it comes from; null: none that is known, so all of `to` is new.
Preflight plan_preflight(const Snapshot& s, const Revision* from, const Revision& to);

std::string preflight_check_names();  // "ArtifactsReachable, VersionSkew, ..."

// ---- parts, for their tables ----

struct KubernetesVersion {
  std::int64_t major = 0, minor = 0;
  friend auto operator<=>(const KubernetesVersion&, const KubernetesVersion&) = default;
};
// "v1.34.4", "1.34.4-00", "1:1.34.4+k3s1"; nullopt: it doesn't begin with two numbers.
std::optional<KubernetesVersion> parse_version(std::string_view text);

// A whole number of bytes, as a quantity (controllers/common/quantity.hpp), rounded up; a negative one is none.
std::optional<std::int64_t> parse_bytes(std::string_view quantity);

enum class Reach : std::uint8_t {
  ask,       // http, https
  file,      // on the host itself
  reserved,  // a name that never exists (RFC 2606, RFC 6761): .example, .invalid, .test, example.com and the like
};
Reach reach_of(std::string_view url);

// The ids of an artifact's questions: HEAD, and the GET after a HEAD that the server doesn't know.
std::string head_id(std::string_view url);
std::string get_id(std::string_view url);
bool is_artifact_question(std::string_view id);

// Whether observe must gather what the checks read. It may be wrong: a pass that needs it and hasn't got it waits for the next one.
bool preflight_is_near(const api::MachineSet& set);

}  // namespace endstate::machine_set
