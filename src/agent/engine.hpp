// Engine: look, plan, do one step, over and over. Owns the journal; everything is done through a Host. Blocking, for one thread at a time.
//
//   Engine engine(host, settings);
//   auto round = engine.round(order, now);     // order: what the HostAssignment says, nullopt: not known (yet)
//   // round.did: call it again at once; else at round.plan.again, or when the order changes
#pragma once
#include <atomic>

#include "src/agent/phases.hpp"
#include "src/agent/stage.hpp"

namespace endstate::agent {

struct EngineSettings {
  std::string arch = "amd64";  // as GOARCH has it
  Sources sources;
  std::size_t reserve = std::size_t{4} << 20U;  // bytes that are given up when the disk is full
};

struct Told {  // something worth an event
  bool warning = false;
  std::string reason, note;
};

struct Round {
  Plan plan;                     // what was seen and planned, before the step
  bool begin_again = false;      // another version of the agent is to run: end, and start it
  bool did = false;              // the step was done, or has failed: there is news
  std::optional<Error> trouble;  // the host couldn't be looked at: the plan is empty
  std::vector<Told> told;
  std::optional<Order> order;  // that the plan was made for; nullopt: there has never been one
  std::string boot_id;
  std::uint64_t free_bytes = 0;
};

class Engine {
 public:
  Engine(Host& host, EngineSettings settings) : host_(host), settings_(std::move(settings)), observer_(host) {}

  Round round(const std::optional<Order>& order, Now now);
  const Journal& journal() const { return journal_; }
  std::vector<std::string> owned_paths() const { return observer_.owned_paths(journal_); }
  void confirm() { confirmed_ = true; }  // this agent reads and writes what it has to; any thread

 private:
  Result<void> load();
  Result<void> save(const Journal& journal);
  Result<void> take(const Order& order);
  Result<void> perform(const Step& step, const Target& target, const Seen& seen, Now now, Round& out);
  Result<void> begin(const Step& step, Now now, Round& out);
  Result<void> phase(const Step& step, const Seen& seen, Now now, Round& out);
  Result<void> end_phase(Journal& journal, SlotRecord& record, const Stand& stand, Round& out);
  Result<void> phase_failed(const std::string& slot, const Error& error, const Seen& seen, Round& out);
  Result<std::optional<std::chrono::nanoseconds>> probe_slot(const SlotRecord& record, const Seen& seen, SlotMemory& memory, MonoTime now);
  Result<void> request(const Step& step, const Target& target, const Seen& seen, Now now);
  Result<void> restart_all(const Target& target);
  Result<void> sweep(const Step& step);
  Result<void> forget();
  void remember(const std::string& who, const Error& error, Now now);

  Host& host_;
  EngineSettings settings_;
  Observer observer_;
  Journal journal_;
  Memory memory_;
  bool loaded_ = false;
  std::atomic<bool> confirmed_ = false;
};

}  // namespace endstate::agent
