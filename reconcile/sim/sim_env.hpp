// The world of a deterministic simulation: virtual time, seeded chance, processes (SimEnv) that call servers (SimServer) over a network
// that loses, delays and cuts. Everything happens in one thread, in an order that the seed alone decides: a failing seed replays exactly.
//
//   SimWorld world(seed);
//   SimApi api(world);                        // sim_api.hpp: Kubernetes semantics
//   SimEnv env(world, "operator-1", {.refused = 20, .reply_lost = 20});
//   env.serve("", api);
//   ...start what is tested on env...
//   REQUIRE(world.run_until([&] { return converged(); }, 10min));
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reconcile/base/env.hpp"
#include "reconcile/base/server_clock.hpp"

namespace reconcile {

class SimWorld {
 public:
  explicit SimWorld(std::uint64_t seed);
  SimWorld(const SimWorld&) = delete;
  SimWorld& operator=(const SimWorld&) = delete;

  MonoTime now() const { return now_; }
  WallTime wall() const;   // starts at 2026-11-23T00:00:00Z
  std::uint64_t random();  // SplitMix64 over the seed
  bool chance(int per_mille) { return per_mille > 0 && static_cast<int>(random() % 1000) < per_mille; }
  std::chrono::nanoseconds between(std::chrono::nanoseconds low, std::chrono::nanoseconds high);

  void post(MonoTime when, std::function<void()> task);  // things due at one time run in the order in which they were posted
  bool step();                                           // goes to the next thing due and does it; false: nothing is
  void run_for(std::chrono::nanoseconds duration);
  // Looks after every step. False: still not so when `limit` had passed, or when nothing was left to do.
  bool run_until(const std::function<bool()>& done, std::chrono::nanoseconds limit);
  std::uint64_t steps() const { return steps_; }
  std::uint64_t trace() const { return trace_; }  // a hash over when everything happened: equal for equal seeds

 private:
  MonoTime now_{};
  std::uint64_t state_, steps_ = 0, trace_ = 14695981039346656037ULL, sequence_ = 0;
  std::map<std::pair<MonoTime, std::uint64_t>, std::function<void()>> due_;
};

// What a SimEnv's calls reach.
class SimServer {
 public:
  struct Reply {
    Result<void> result{};
    std::vector<std::string> frames{};
  };
  using Push = std::function<void(std::string frame)>;
  using End = std::function<void(Result<void>)>;
  virtual ~SimServer() = default;
  virtual Reply serve(const Call& call) = 0;  // every verb but watch; done at once
  // Frames are pushed in order from now on (the first ones before this returns), until `end` or until the handle is dropped.
  virtual Result<Handle> serve_watch(const Call& call, Push push, End end) = 0;
};

struct SimFaults {                            // in per mille of calls, unless it says otherwise
  int refused = 0;                            // the connection is refused: nothing was done
  int reply_lost = 0;                         // done, but the reply never came: maybe_done (a read: unavailable)
  int request_lost = 0;                       // not done, and no reply either: the same to the caller
  int throttled = 0;                          // 429, Retry-After 1 s
  int watch_cut = 0;                          // of watch frames: the stream breaks instead
  std::chrono::nanoseconds fastest{100'000};  // one way
  std::chrono::nanoseconds slowest{20'000'000};
  std::chrono::nanoseconds watch_lag{0};  // on top of that, for watch frames: caches are older than the answers to writes
};

// One process. Several share a world; each has its own faults, may be paused, killed, cut off, and have its wall clock set.
class SimEnv final : public Env {
 public:
  SimEnv(SimWorld& world, std::string name, SimFaults faults = {});
  ~SimEnv() override;  // as kill()
  SimEnv(const SimEnv&) = delete;
  SimEnv& operator=(const SimEnv&) = delete;

  void serve(const std::string& cluster, SimServer& server);         // a connection that is there from the start
  void reachable(const std::string& kubeconfig, SimServer& server);  // what connect() with exactly that text leads to
  void set_faults(SimFaults faults) { faults_ = faults; }
  void pause(std::chrono::nanoseconds duration);   // SIGSTOP: all that was due meanwhile runs at its end
  void kill();                                     // SIGKILL: nothing of it ever runs again; what it had sent still arrives
  void cut(const std::string& cluster, bool off);  // packets are dropped: calls time out, watches fall silent
  void slow(const std::string& cluster, std::chrono::nanoseconds writes) { slow_[cluster] = writes; }  // each takes that much longer
  // SIGSTOP of that server: calls are taken and not answered, watches fall silent without an end; what was sent meanwhile is served when it
  // goes on.
  void freeze(const std::string& cluster, bool on);
  void jump_wall(std::chrono::microseconds by) { wall_offset_ += by; }
  // From now on its time is the meta cluster's, by the Date of each answer, as in a CurlEnv with server_time; the local clock may jump.
  void follow_server_time() { clock_ = std::make_unique<ServerClock>(now()); }
  void jump_server(std::chrono::microseconds by) {
    server_offset_ += by;
  }  // the clock of the meta cluster's API server, as it answers here
  std::function<void(WallTime before, WallTime after)> clock_jumped{};
  std::function<Result<HttpAnswer>(const HttpCall&)> on_http;  // null: every http() call is refused
  std::function<void(const Call&)> on_send;                    // sees each call when it is made
  std::uint64_t calls() const { return calls_; }

  Now now() const override;
  std::uint64_t random() override { return world_.random(); }
  [[nodiscard]] Handle at(MonoTime when, std::function<void()> task) override;
  [[nodiscard]] Handle call(Call call, std::function<void(std::string_view)> frame, std::function<void(Result<void>)> end) override;
  [[nodiscard]] Handle http(HttpCall call, std::function<void(Result<HttpAnswer>)> end) override;
  [[nodiscard]] Handle compute(std::function<std::function<void()>()> job) override;
  Result<void> connect(const std::string& cluster, std::string_view kubeconfig) override;
  void disconnect(const std::string& cluster) override;

 private:
  struct Life;      // of the process: outlived by what is on the network
  struct Exchange;  // one call
  void send(const std::shared_ptr<Exchange>& exchange);
  void send_watch(const std::shared_ptr<Exchange>& exchange);
  void open_watch(const std::shared_ptr<Exchange>& exchange, SimServer& server);
  void finish(const std::shared_ptr<Exchange>& exchange, Result<void> result);
  void watch_silence(const std::shared_ptr<Exchange>& exchange);
  std::chrono::nanoseconds hop() { return world_.between(faults_.fastest, faults_.slowest); }
  // Something reaches that server, or leaves it: now, or when it goes on.
  void at_server(const std::string& cluster, std::function<void()> task);
  void no_reply(const std::shared_ptr<Exchange>& exchange, Error error);
  // Runs `task` in this process: later if it is paused, never if it is dead.
  void inside(MonoTime when, std::function<void()> task);
  static void go_on(SimWorld& world, const std::shared_ptr<Life>& life);

  SimWorld& world_;
  std::string name_;
  SimFaults faults_;
  std::shared_ptr<Life> life_;
  std::map<std::string, SimServer*, std::less<>> servers_, reachable_;
  std::set<std::string, std::less<>> cut_;
  std::map<std::string, std::vector<std::function<void()>>, std::less<>> frozen_;  // what waits there
  std::map<std::string, std::chrono::nanoseconds, std::less<>> slow_;
  std::vector<std::weak_ptr<Exchange>> exchanges_;  // under way, for disconnect()
  void dated(WallTime date, MonoTime sent);
  std::chrono::microseconds wall_offset_{0}, server_offset_{0};
  std::unique_ptr<ServerClock> clock_;  // null: the local one counts
  std::uint64_t calls_ = 0;
};

}  // namespace reconcile
