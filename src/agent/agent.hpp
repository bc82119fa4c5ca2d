// Agent: the engine on an API server. Watches its own HostAssignment, writes that object's status and its own Lease, and nothing else.
//
// The engine works on the Env's worker, so that the Lease is renewed while a hook takes an hour. Without an API server, or without its
// assignment, it goes on keeping what was ordered last, for ever.
#pragma once
#include <memory>

#include "reconcile/base/env.hpp"
#include "reconcile/base/log.hpp"
#include "reconcile/cache/reflector.hpp"
#include "src/agent/engine.hpp"

namespace endstate::agent {

struct AgentOptions {
  Text host_uid;         // of the Host: the name of its HostAssignment
  std::string identity;  // holder of the Lease
  std::string version;
  reconcile::Labels capacity;    // cpu, memory; the free disk comes with each report
  std::function<void()> idle{};  // called when the work is done for now; null: nothing
  // Called when the work is done for now: a change of one of these files is to be told to look(). Null: nobody tells.
  std::function<void(const std::vector<std::string>&)> watch{};
  std::function<void()> begin_again{};    // another version of the agent is to run; null: it never is
  std::chrono::seconds lease_period{60};  // renewals, +/- 10 %; a Lease lasts three of them
};

class Agent {
 public:
  // `tell`: what happened to a package; null: only the log hears of it.
  using Tell = std::function<void(const Told& told, const Text& assignment_uid)>;
  Agent(reconcile::Env& env, Engine& engine, AgentOptions options, reconcile::Log log, Tell tell = nullptr);
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;
  void start();   // keeps the host what was ordered last, from the first moment on
  void follow();  // there is an API server (connection ""): watches the assignment there; again, after it has become another
  void leave();   // there is none any more: as if the assignment were gone
  bool is_assigned() const { return assigned_; }
  std::chrono::nanoseconds silence() const;  // since the API server's last word; 0: it talks
  void look() { work(); }                    // something has changed on the host

 private:
  void on_assignment(const api::HostAssignment* assignment);
  void take_up(const api::HostAssignmentStatus& status);
  void work();  // unless a round is under way
  void on_round(Round round);
  void make_report(const Round& round);
  void send_report();
  void renew_lease();
  void lease_done(const Result<void>& result);
  std::chrono::nanoseconds jitter(std::chrono::nanoseconds low, std::chrono::nanoseconds high);
  std::string free_disk(std::uint64_t bytes);

  reconcile::Env& env_;
  Engine& engine_;
  AgentOptions options_;
  reconcile::Log log_;
  Tell tell_;
  reconcile::Pool pool_;
  reconcile::Store store_;
  std::unique_ptr<reconcile::Reflector> reflector_;
  reconcile::MonoTime left_{};  // without an API server since then

  // What the API server says.
  bool assigned_ = false;
  Text assignment_uid_;
  std::optional<Order> order_;
  std::string reported_;  // the status that it holds, as far as we know

  // The work.
  bool working_ = false, work_again_ = false;
  int rounds_in_a_row_ = 0;
  bool rested_ = false;
  reconcile::Handle job_, next_round_;
  std::string last_trouble_;

  // The report.
  api::HostAssignmentStatus status_;
  bool has_status_ = false;
  std::uint64_t told_free_ = 0;
  std::string sending_;
  int report_failures_ = 0;
  reconcile::Handle report_call_, report_timer_;

  // The Lease.
  bool lease_known_ = false;
  int lease_failures_ = 0;
  reconcile::Handle lease_call_, lease_timer_;
};

}  // namespace endstate::agent
