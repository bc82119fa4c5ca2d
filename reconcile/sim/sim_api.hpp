// SimApi: a Kubernetes API server in memory, for any Resource, with the semantics that controllers depend on. The conformance suite holds
// it to the real one (e2e/conformance).
//
// As the real one: resourceVersion (one counter for all), uid, generation (moves when anything but metadata and status changes; for a kind
// without a status subresource: anything but metadata), no-op writes change nothing; 404, 409 AlreadyExists, 409 Conflict on uid and
// resourceVersion; finalizers and deletionTimestamp; status is written through its subresource only; list and watch with labelSelector
// (=, !=, in, notin, exists) and fieldSelector (=, !=), in a namespace or in all; a watch from a version, bookmarks, streaming lists,
// timeoutSeconds, 410 for forgotten history, "too large" versions; JSON patch with test (422 when it fails); merge patch; eviction;
// garbage collection of what has lost all its owners (background, some time later).
//
// Simplified: server-side apply keeps, per object, field manager and subresource, what it last applied: what a manager no longer applies is
// removed (even if another manager applies it too), what it applies replaces what is there, lists are atomic, but `conditions` (a map by
// type). There is no validation (see admit), no defaulting, no grace period of pods, no foreground or orphan deletion, no field-level
// conflict (apply is forced, as ours always is).
//
// JSON goes in and comes out as text.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "reconcile/sim/sim_env.hpp"

namespace reconcile {

struct SimApiOptions {
  bool streaming = true;         // false: sendInitialEvents is refused, as with the WatchList feature off
  std::size_t history = 20'000;  // events kept for watches that start in the past
  std::chrono::seconds bookmark_period{60};
  bool continue_expires = false;  // a list's second page is 410
  std::string version = "v1.34.4";
  std::set<std::string, std::less<>> without_status{
      "configmaps", "secrets", "leases", "controllerrevisions", "events", "serviceaccounts", "clusterpackageversions"};
};

class SimApi final : public SimServer {
 public:
  explicit SimApi(SimWorld& world, SimApiOptions options = {});
  ~SimApi() override;

  Reply serve(const Call& call) override;
  Result<Handle> serve_watch(const Call& call, Push push, End end) override;

  // For tests: at once, without network or faults. The reply's body (a list: {"items":[...]}).
  Result<std::string> request(Call call);
  std::optional<std::string> get(const Resource& resource, std::string_view name_space, std::string_view name) const;
  std::vector<std::string> list(const Resource& resource, std::string_view name_space = {}) const;  // by key
  std::size_t count(const Resource& resource) const;
  std::uint64_t version() const;

  // Trouble.
  void cut_watches();     // every open watch ends with an error
  void forget_history();  // watches from before now are 410
  struct Saved;
  std::shared_ptr<const Saved> save() const;                // an etcd snapshot ...
  void restore(const std::shared_ptr<const Saved>& saved);  // ... put back: versions move backwards, watches are cut
  void stop();                                              // the server is down: every call is refused, watches are cut, until start()
  void start();

  // Looks at every write before it is done (admission); `object` is what would be stored (a remove: what would go). An error refuses it.
  std::function<std::optional<Error>(const Call& call, const std::string& object)> admit;
  // Answers what is posted to authorization.k8s.io: reviews, which store nothing. Null: as an administrator is answered.
  std::function<Result<std::string>(const Call& call)> review;
  // A PodDisruptionBudget: an error (Code::throttled) refuses the eviction of that pod.
  std::function<std::optional<Error>(const std::string& pod)> evict;
  // After every write that was done: "create machines", "patch machines/status", ... with the field manager.
  std::function<void(const Call& call, std::string_view field_manager)> written;
  std::map<std::string, int> writes;  // "<verb> <plural>[/<subresource>]" -> how many were done (no-ops too)

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace reconcile
