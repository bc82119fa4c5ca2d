// Env: all that the runtime needs from outside: time, chance, timers, API calls, a worker for pure jobs.
// CurlEnv (kube/) is production, SimEnv (sim/) is virtual time and seeded faults.
//
// One thread owns an Env and everything above it. Every callback comes on that thread, and never from inside the call that asked
// for it. Only compute()'s job runs elsewhere.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "reconcile/base/result.hpp"
#include "reconcile/base/time.hpp"

namespace reconcile {

// Where a kind lives in the API. Always a constant with static storage; compared by address or by plural and group.
struct Resource {
  std::string_view group, version, plural, kind;
  bool namespaced = true;
  std::string_view cache{};  // tells a second cache of the same kind from the first: a type of its own, with a selector of its own
};

enum class Verb : std::uint8_t { get, list, watch, create, apply, update, merge_patch, json_patch, remove };
constexpr std::string_view verb_name(Verb v) {
  constexpr std::string_view names[] = {"get", "list", "watch", "create", "apply", "update", "patch", "patch", "delete"};
  return names[static_cast<std::size_t>(v)];
}

struct Call {
  std::string cluster{};  // a connection's id; "" is the meta cluster
  Verb verb = Verb::get;
  const Resource* resource = nullptr;  // null: `path` is asked for as it stands (/readyz, /version)
  std::string name_space{}, name{}, subresource{};
  std::string query{};  // already percent-encoded, without the '?'
  std::string body{};   // JSON; remove: a DeleteOptions or empty
  std::string path{};
  std::chrono::milliseconds timeout{30'000};  // of the whole call; a watch: of a silence (its own length is in `query`)
};

// A plain HTTP request, for what is not a Kubernetes API: Prometheus queries, artifacts.
struct HttpCall {
  std::string method = "GET", url{}, body{}, content_type{};
  std::string bearer_token{}, ca_pem{};
  std::size_t max_bytes = 1 << 20;  // a longer reply is Code::invalid
  std::chrono::milliseconds timeout{10'000};
};
// Whatever the server said, also a refusal: what a status means only the caller knows. Redirects are not followed.
struct HttpAnswer {
  int status = 200;
  std::string body{};
};

using Handle = std::shared_ptr<const void>;  // dropping it cancels: its callbacks never run again

class Env {
 public:
  virtual ~Env() = default;
  virtual Now now() const = 0;
  virtual std::uint64_t random() = 0;
  [[nodiscard]] virtual Handle at(MonoTime when, std::function<void()> task) = 0;
  // frame: one watch event ({"type":..,"object":..}), one item of a list, a list's own metadata (last, as {"metadata":{...}}), or the
  // whole body of any other reply; valid during the call only. A watch's first frame is empty: the server has accepted it, though nothing
  // has happened yet. end: exactly once, after the last frame.
  [[nodiscard]] virtual Handle call(Call call, std::function<void(std::string_view frame)> frame,
                                    std::function<void(Result<void>)> end) = 0;
  [[nodiscard]] virtual Handle http(HttpCall call, std::function<void(Result<HttpAnswer>)> end) = 0;
  // Runs a pure job on a worker, then what it returns on this thread. SimEnv runs it at a seeded later time.
  [[nodiscard]] virtual Handle compute(std::function<std::function<void()>()> job) = 0;
  // Adds (or replaces the credentials of) a connection. A kubeconfig that can't be used is Code::invalid and changes nothing.
  virtual Result<void> connect(const std::string& cluster, std::string_view kubeconfig) = 0;
  // Ends all calls of that connection (their `end` gets Code::cancelled) and forgets it.
  virtual void disconnect(const std::string& cluster) = 0;
};

}  // namespace reconcile
