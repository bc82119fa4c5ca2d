// CurlEnv: the Env of production, over libcurl's multi interface: HTTP/2 over TLS, a connection for a server's watches and one for the
// rest.
//
//   CurlEnv env({.user_agent = "endstate/0.1.0"}, credentials);
//   auto handle = env.call({.verb = Verb::list, .resource = &resource_of<Host>}, on_frame, on_end);
//   env.run();                      // until stop(); every callback comes from inside run()
//
// Threads: the thread that calls run() owns it. Everything but stop() and post() is for that thread, or for before run(). Several
// CurlEnvs in one process, each with a thread of its own, share nothing (libcurl's connection cache is not safe to share: curl#4915).
// Handles are dropped on the owner's thread; one may outlive its CurlEnv.
//
// What call() does on its own, so that callers need not:
//   - get and list are repeated once when the connection breaks, and up to 3 tries in all when the server answers 429 or 5xx with
//     Retry-After; never after a frame has been handed out, never past Call::timeout. Nothing else is ever repeated: a write that was
//     sent and whose reply was lost is Code::maybe_done.
//   - 401: files of credentials are read again; if they changed, the call is repeated once.
//   - no server holds another's calls up: each connection, and each authority of http(), has a line and a bound of its own. The timeout
//     of an http() call begins when it is sent, that of a call() when it is asked for.
//   - redirects are never followed; replies are never compressed; a frame or body of more than 16 MiB is Code::invalid.
// A watch's first frame is empty: its header has come, the server has accepted it.
// Errors carry the server's own message and reason; see api_error.hpp for the mapping.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "reconcile/base/env.hpp"
#include "reconcile/kube/credentials.hpp"

namespace reconcile {

// One exchange with a server, for metrics. A call that is repeated is observed each time. The views are valid during the callback only.
struct Exchange {
  std::string_view cluster, verb, resource, subresource;  // resource: the plural, or the path; an http() call: cluster "", "http", host
  int status = 0;                                         // HTTP status, 0 if there was no reply
  int http_version = 0;                                   // 11, 20, 30; 0 if there was no reply
  std::chrono::nanoseconds waited{}, took{};              // in our own queue; on the wire (a watch: its whole life)
  std::uint64_t bytes = 0;                                // of the body
};

struct CurlEnvOptions {
  std::string user_agent = "reconcile";  // kube-apiserver pretty-prints for curl's own
  int workers = 1;                       // threads for compute()
  int max_in_flight = 64;                // calls of one connection on the wire, watches apart (they are few and long)
  int max_queued = 10'000;               // calls of one connection that wait for that; past it: Code::unavailable
  int max_http_in_flight = 8;            // http() calls to one authority (host:port) on the wire
  int max_http_queued = 256;             // ... that wait for that, at most max_http_wait; past it: Code::unavailable
  std::chrono::milliseconds max_http_wait{120'000};
  int max_connections = 128;  // TCP connections to one server; with HTTP/2 two are enough
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds file_interval{10'000};  // how often files of credentials are looked at; read each 6th time anyway
  std::function<void(const Exchange&)> observer{};  // on the owner's thread
  // now().wall is the meta API server's time (base/server_clock.hpp), the local clock until the first answer. A move of more than 5 s is
  // told, on the owner's thread: what one moment was called before, and is called now.
  bool server_time = false;
  std::function<void(WallTime before, WallTime after)> clock_jumped{};
};

class CurlEnv final : public Env {
 public:
  // `meta`: connection "". Its files are read when the first call is made. A call to what is not connected is Code::unavailable.
  explicit CurlEnv(CurlEnvOptions options, std::optional<Credentials> meta = std::nullopt);
  ~CurlEnv() override;  // callbacks that have not run never will; waits for a job that is running
  CurlEnv(const CurlEnv&) = delete;
  CurlEnv& operator=(const CurlEnv&) = delete;

  void run();                             // until stop(); may be called again. A callback's or a job's exception leaves it.
  void stop();                            // any thread, also before run() and from inside a callback
  void post(std::function<void()> task);  // any thread: runs it on the owner's thread

  Now now() const override;  // any thread. CLOCK_BOOTTIME: a machine that slept has let its leases end
  std::uint64_t random() override;
  [[nodiscard]] Handle at(MonoTime when, std::function<void()> task) override;
  [[nodiscard]] Handle call(Call call, std::function<void(std::string_view frame)> frame, std::function<void(Result<void>)> end) override;
  [[nodiscard]] Handle http(HttpCall call, std::function<void(Result<HttpAnswer>)> end) override;
  [[nodiscard]] Handle compute(std::function<std::function<void()>()> job) override;
  // The kubeconfig may not name files. Replacing the server or its CA ends that connection's calls with Code::unavailable.
  Result<void> connect(const std::string& cluster, std::string_view kubeconfig) override;
  Result<void> connect(const std::string& cluster, Credentials credentials);
  void disconnect(const std::string& cluster) override;

 private:
  struct Core;
  std::shared_ptr<Core> core_;
};

}  // namespace reconcile
