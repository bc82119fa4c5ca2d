// Loop and Plan: observe, plan, act.
//
//   observe  copies pointers out of the caches into a snapshot, on the Env's thread; returns the plan bound to it
//   plan     a pure function of that snapshot, on any thread: no I/O, no clock, no chance
//   act      the runtime's (actor.hpp): asks the guard, writes with preconditions, records, requeues
//
// A loop is level-triggered: it never depends on having seen an event, may die between any two actions, and is safe to run again.
#pragma once
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "reconcile/cache/view.hpp"
#include "reconcile/run/guard.hpp"

namespace reconcile {

// A body that only an effect can make: it holds keys, which no plan may see, and needs chance. The plan says what in the program's own
// words; the actor reads the Secrets that it needs, has the program make the body on a worker just before the write (ActorOptions::make),
// and keeps none of it.
struct Making {
  std::string what{};
  std::vector<Key> secrets{};  // in the meta cluster; at most 4
};

// One write. Actions of a stage run in parallel (bounded); a stage starts when every action of the stages before it has succeeded.
struct Action {
  Verb verb{};  // create, apply, update, merge_patch, json_patch, remove
  const Kind* kind = nullptr;
  std::string cluster{};  // connection id
  Text name_space{}, name{}, subresource{};
  std::string body{};              // JSON, by encode.hpp. apply: carries metadata.uid and resourceVersion, or it may create
  Text uid{}, resource_version{};  // preconditions. remove: go into DeleteOptions; merge_patch: into the patch's metadata
  std::uint8_t stage = 0;
  bool guarded = false;  // only under Plan::permit
  // Answers that mean the end state is there already. create: exists; remove: not_found (always).
  bool tolerate_exists = false;
  std::string why{};               // for people: logs and `kubectl endstate diff`
  std::optional<Making> making{};  // instead of `body`
  std::string mark{};              // remembered with the time when this succeeds (Memory::done): for objects that no cache holds
};

// The new status of the loop's own object: its full `status`, as JSON. Written by server-side apply with uid and resourceVersion, by
// the loop's field manager, and only when it differs from what the cache holds.
struct StatusWrite {
  const Kind* kind = nullptr;
  std::string cluster{};
  Key key{};
  Text uid{}, resource_version{};
  std::string status{};                 // encode() of the status member
  bool changed = true;                  // the plan compared it with the snapshot: false writes nothing
  bool first = false;                   // a lock: the actions start only when this is stored
  std::chrono::milliseconds settle{0};  // progress only: written when it still stands this long after it first differed
};

// One key of a Secret or a ConfigMap in the meta cluster.
struct KeyRef {
  std::string name_space{}, name{}, key{};
};
// An exchange with something that is no Kubernetes API, by Env::http. What the references name is read by one GET at each use, and
// neither kept nor logged.
struct HttpQuery {
  std::string method = "GET", url{};
  std::optional<KeyRef> bearer_token{};  // in a Secret
  std::optional<KeyRef> ca{};            // in a ConfigMap, PEM; none: the system's
  std::chrono::milliseconds timeout{10'000};
  std::size_t max_bytes = 64u << 10;
};
// A fact that no cache holds: one GET, LIST or HTTP exchange, done by the runtime for this key, given to the next observe. At most 32 a
// plan (16 checks, 8 probes, 8 of its own), 8 of them lists: those may be of 4 MiB each.
struct Query {
  std::string id{};  // the plan's own name for it
  std::string cluster{};
  const Resource* resource = nullptr;                 // null: `path`
  std::string name_space{}, name{}, query{}, path{};  // an empty name lists
  std::string body{};                                 // posted instead, as a SelfSubjectRulesReview and to nothing else (review.hpp)
  std::chrono::milliseconds max_age{1'000};           // an answer that is younger is used again
  // Of a list: each item is decoded at once into that kind's record (Fact::items), page by page, and its text is dropped: the pods of a
  // node are hundreds of KiB as they are sent. Null: the text as it came (Fact::body).
  const Kind* items = nullptr;
  std::optional<HttpQuery> http{};  // instead of the API: cluster, resource and what follows are not looked at. The key doesn't wait for
                                    // the answer (a server may be slow); it comes to the pass after it.
};
struct Fact {
  MonoTime at{};
  Result<std::string> body = std::string();  // get: the object; list: {"items":[...]} (≤ 4 MiB, else Code::invalid); http: what came
  std::vector<Ref<void>> items{};            // of a query with `items`; then `body` is empty, or the error
  WallTime time{};                           // the same moment as `at`, for what is stored
  int status = 0;                            // http: of the answer; 0: none came, and body is the error (never with a token in it)
  std::size_t question = 0;                  // the runtime's: a hash of what was asked; another question under the same id drops it
};

// What a pass of this key did last, for the next observe. In memory only.
struct Outcome {
  std::string what{};  // verb, kind and name
  Verb verb{};
  const Resource* resource = nullptr;
  Text name{};
  Error error{};
};
struct Memory {  // of one key; dropped with it
  std::map<std::string, Fact, std::less<>> facts;
  std::vector<Outcome> failures;   // of the last pass's actions
  std::optional<Refused> refused;  // of the last pass's permit
  MonoTime refused_at{};
  std::map<std::string, MonoTime, std::less<>> done;  // marks of actions that succeeded, each when it did last; the newest 2,048
};

struct EventNote {  // events.k8s.io/v1 Event about the loop's object
  bool warning = false;
  Text reason{}, action{}, note{};            // note ≤ 1 KiB
  std::optional<OwnerReference> regarding{};  // another object than the loop's own (kind, name, uid)
};

// A figure that a plan tells: told like its events, and counted once. Names and labels are literals; Metrics' rules hold.
struct MetricNote {
  std::string_view name{}, help{};  // without the program's prefix
  std::string_view label{};
  Text value{};                                        // of the label
  std::optional<std::chrono::nanoseconds> duration{};  // a histogram of long durations; without one a counter goes up by one
};

// A change of the set of connections (the cluster loop's). The kubeconfig is read from the Secret by the runtime and never kept here.
struct ConnectWish {
  std::string cluster{};                   // connection id, "<namespace>/<Cluster name>"
  bool connected = true;                   // false: disconnect
  Text secret_namespace{}, secret_name{};  // data key `value`, Cluster API's shape
};

struct Plan {
  std::optional<PermitRequest> permit{};  // covers the guarded actions; refused: these are not done, the rest is
  std::vector<Action> actions{};          // at most 100 are done in a pass, the rest in the next
  std::optional<StatusWrite> status{};
  std::vector<Query> queries{};
  std::vector<EventNote> events{};    // sent only when the pass's writes succeeded, so that a retry doesn't repeat them
  std::vector<MetricNote> metrics{};  // the same
  std::vector<ConnectWish> connections{};
  std::optional<std::chrono::milliseconds> again{};  // look again after this, whatever happens
  std::optional<Error> error{};                      // a plan that couldn't be made: invalid waits for a change, else backs off
};

// How a connection is, from the runtime's own probe of /readyz and /version each 10 s. Unknown until the first answer.
struct ConnectionState {
  bool known = false;  // the id has been connected
  ConditionStatus reachable{};
  std::string message{}, version{};  // version: gitVersion, e.g. v1.34.4
  MonoTime since{}, probed{};
  MonoTime credentials{};  // since when it has those that it has
};

struct Snapshot {  // what observe gets
  const View& view;
  Now now;
  const Memory& memory;
  std::function<ConnectionState(std::string_view cluster)> connection;
};

// A change of `kind` in a cluster's cache enqueues keys. old_object is null for an add, new_object for a delete.
struct Source {
  const Kind* kind = nullptr;
  bool remote = false;  // in every connected business cluster (the meta cluster included, as connection ""), not only in ""
  std::string
      name_space{};  // only this namespace is watched (least privilege: a Role is enough); "": all. The same for all sources of a kind
  std::string selector{};  // query of list and watch, e.g. "labelSelector=..."; the same for all sources of a kind
  std::function<void(const View& view, std::string_view cluster, const void* old_object, const void* new_object,
                     const std::function<void(Key)>& enqueue)>
      keys;
  // Is this change worth a pass? null: every one (no-op updates are dropped by the store already).
};

class Loop {
 public:
  virtual ~Loop() = default;
  virtual std::string_view name() const = 0;        // "machine_set"; field manager "endstate-machine-set", label of metrics
  virtual const Kind& kind() const = 0;             // its own object, in the meta cluster
  virtual std::vector<Source> sources() const = 0;  // its own kind too
  // Called on the Env's thread. Null: the object is gone and there is nothing to do.
  virtual std::function<Plan()> observe(const Snapshot& snapshot, const Key& key) const = 0;
};

}  // namespace reconcile
