// plan_release: which version each part of a Hosted control plane should have now. Pure.
//
//   etcd -> kube-apiserver -> kube-controller-manager -> kube-scheduler
//
// A part is changed when the ones before it are done. Within a part Kubernetes goes one pod at a time, and a pod counts when it has been
// available for the soak. A part that fails, or takes too long, ends the release: the version is rejected (status keeps its name until
// spec.packageVersion is edited) and every part goes back to the last version that went through. Editing the reference back is the same way
// back; a third version supersedes what is under way.
//
// Minors go up one at a time (Kubernetes' version skew policy): a longer jump goes over versions in between, the newest patch of each
// minor. They go down only to what the API server emulates now (KEP-4330): what it has written since may be unknown to an older one. etcd
// never goes down a minor once all its members have gone up.
#pragma once
#include <array>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controllers/cluster/site.hpp"

namespace endstate::cluster {

struct Minor {
  int major = 0, minor = 0;
  friend auto operator<=>(const Minor&, const Minor&) = default;
};
// "v1.34.4", "1.34": nullopt for what is none.
std::optional<Minor> minor_of(std::string_view version);
// Of an image's tag ("registry/etcd:3.6.4-0"); nullopt: the tag doesn't say.
std::optional<Minor> minor_of_image(std::string_view image);

struct VersionFacts {
  std::optional<Minor> kubernetes, etcd, emulated;  // emulated: --emulated-version of the API server, where the package sets it
  std::string full;                                 // v1.34.4, to find the newest patch
};
VersionFacts facts_of(const v1alpha1::ClusterPackageVersionSpec& spec);

struct PartNow {
  bool exists = false;
  std::string package;   // that its workload is of
  bool settled = false;  // all its pods are of the newest template, and available
  std::string failure;   // it says itself that it doesn't get on; empty: it doesn't say so
};

struct ReleaseInput {
  std::string wanted, current, rejected;  // current: the last that went through; empty: none yet
  std::vector<v1alpha1::UpgradeStep> steps;
  std::array<PartNow, std::size(all_parts)> parts;
  std::map<std::string, VersionFacts, std::less<>> versions;  // all that there are
  bool pause_on_failure = false;
  std::array<std::chrono::seconds, std::size(all_parts)> limits{};  // of a step
  std::function<bool(std::string_view hop)> hold;  // something else comes first; asked before the first step of a version. Empty: nothing
  WallTime now{};
};

enum class Course : std::uint8_t { creating, steady, updating, back, stopped };
struct ReleaseProblem {
  std::string_view reason;
  std::string message;
};
struct ReleaseEnd {
  v1alpha1::ReleaseResult result{};
  std::string package, from, message;
};
struct ReleaseDecision {
  Course course{};
  std::array<std::string, std::size(all_parts)> targets;  // a package each; empty: leave it as it is
  std::string current, rejected;
  std::vector<v1alpha1::UpgradeStep> steps;
  std::optional<ReleaseProblem> problem;
  std::optional<ReleaseEnd> end;  // a release ended in this pass
  bool began = false;             // one begins in this pass
  bool decided = false;           // what status must know before anything is done: this pass changes no part
};

ReleaseDecision plan_release(const ReleaseInput& input);

}  // namespace endstate::cluster
