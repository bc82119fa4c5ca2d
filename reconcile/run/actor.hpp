// Actor: carries out a plan: asks the guard, writes with preconditions, finds out what became of writes whose reply was lost. The one
// place in the program that changes anything.
//
// The order of a pass:
//   1. the permit, if the plan asks for one. Refused: no guarded action, no lock, no later stage; the rest is done.
//   2. a status that is a lock (`first`); if it can't be written, nothing else is
//   3. the actions, stage by stage, at most `writes_per_pass` at a time, at most 100; a stage after one that failed is not begun
//   4. the status
// What the program calls disruptive (ActorOptions::disruptive) goes out only as a guarded action under a permit that was granted. Another
// is a bug of its loop: it is not sent, logged as an error, counted (P_unguarded_total), and fails its stage.
//
// Every write is preceded by the question whether we may still act; if not, it is Code::fenced and not sent. It ends before another
// leader can begin.
//
// An API server that asks to be left alone for a while (429, or 503 with Retry-After; an eviction's 429 is a budget's) gets nothing more
// of this pass. What it refused for good (422, 403, a budget) is not sent again within `refusal_holds`: the pass after a refusal is there
// to tell it. Both stand in the result as if they had been answered again.
//
// After it, `waits` says what the caches must have reached before this key is planned again. 409, 422 of a test, "already exists" and
// lost replies are followed by one GET, which tells the version to wait for: nothing is repeated from a cache that is known to be old.
// These GETs come last; ActOrder::looking says that nothing more is written. They end when give_up() names their connection.
//
// What an exception leaves (the program's functions, the guard) is a failure of that pass, counted in P_reconcile_plan_exceptions_total.
//
// For the Env's thread only.
#pragma once
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "reconcile/base/env.hpp"
#include "reconcile/base/log.hpp"
#include "reconcile/cache/caches.hpp"
#include "reconcile/run/guard.hpp"
#include "reconcile/run/lease.hpp"
#include "reconcile/run/loop.hpp"
#include "reconcile/run/metrics.hpp"

namespace reconcile {

// The cache of that kind must have reached `version`, or (`gone_uid`) must no longer hold an object of that key and uid.
struct Wait {
  std::string cluster{};
  const Kind* kind = nullptr;
  Key key{};
  std::uint64_t version = 0;
  Text gone_uid{};
};

// What was refused for good, by what was sent, and until when it isn't sent again.
struct Refusal {
  Error error{};
  MonoTime until{};
};
using Refusals = std::map<std::size_t, Refusal>;

struct ActOrder {
  std::string_view loop;  // for metrics and logs; lives as long as the actor
  std::string field_manager{};
  const Kind* kind = nullptr;  // of the loop's own object
  std::shared_ptr<const Plan> plan{};
  bool status_due = true;           // false: a status that settles has not stood long enough
  Refusals refusals{};              // of the pass before
  std::function<void()> looking{};  // from now on it only reads; may be null
};
struct ActResult {
  std::vector<Outcome> failures{};
  std::optional<Refused> refused{};
  bool granted = false;
  bool fenced = false;                    // something was not sent because we may not act
  bool more = false;                      // there were more than 100 actions, or the permit came too late for them: go on at once
  std::optional<MonoTime> rests_until{};  // something was not sent because its API server asks to wait
  Refusals refusals{};                    // that stand
  bool status_written = false;
  int writes = 0;  // that were done
  std::vector<Wait> waits{};
  std::vector<std::string> done{};  // marks of the actions that succeeded
};

struct ActorOptions {
  const Leadership* lease = nullptr;
  std::function<bool(const Action&)> disruptive{};  // null: nothing is
  // The body of an action with `making`, from the Secrets that it named (whole objects, as the API sent them). On a worker. Its errors must
  // not hold what is secret. Null: such an action fails.
  std::function<Result<std::string>(const std::string& what, const std::vector<std::string>& secrets, WallTime now)> make{};
  // Connections: until when one wants to be left alone, that one said so, and whether one can be reached. Null: never, nobody, yes.
  std::function<std::optional<MonoTime>(const std::string& cluster)> rests{};
  std::function<void(const std::string& cluster, MonoTime until)> asked_to_rest{};
  std::function<bool(const std::string& cluster)> reachable{};
  int writes_per_pass = 16;
  std::chrono::milliseconds write_timeout{30'000}, refusal_holds{2'000};
};

class Actor {
 public:
  Actor(Env& env, Caches& caches, Guard& guard, ActorOptions options, Metrics& metrics, Log log);
  ~Actor();
  Actor(const Actor&) = delete;
  Actor& operator=(const Actor&) = delete;

  // `done` comes once, never from inside the call. Dropping the handle stops what is not under way yet.
  [[nodiscard]] Handle carry_out(ActOrder order, std::function<void(ActResult)> done);
  void give_up(const std::string& cluster);  // its answers will not come: who only waits for them is done

 private:
  class Pass;
  void ask(PermitRequest request, std::function<void(Result<Verdict>)> answer);

  Env& env_;
  Caches& caches_;
  Guard& guard_;
  ActorOptions options_;
  Metrics& metrics_;
  Log log_;
  std::set<Pass*> looking_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace reconcile
