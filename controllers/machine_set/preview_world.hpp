// The world that a preview is played in: the set and its machines in memory, what the plans want applied to them at once, what machines
// do taking an expected time. Permits come from the guard's own rules over the real budgets and a copy of the account.
#pragma once
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controllers/machine_set/plan.hpp"
#include "controllers/machine_set/preview.hpp"
#include "reconcile/run/guard.hpp"

namespace endstate::machine_set {

class PreviewWorld {
 public:
  enum class Touch : std::uint8_t { update, create, remove };
  struct Touched {
    Touch what{};
    Text machine;
  };
  struct Refusal {
    reconcile::Refused why;
    std::int64_t machines = 0;
  };

  explicit PreviewWorld(const PreviewInput& in);

  // With what the pre-flight reads while one is near, or whenever it is asked for.
  Snapshot snapshot(bool with_preflight = false) const;
  // Does what the plan wants, at once. The machines that it touched, in order.
  std::vector<Touched> apply(const reconcile::Plan& plan);
  // Asks the guard for whoever waits for a permit. True: somebody got one. `refusals` tells of the others.
  bool ask(std::vector<Refusal>& refusals);
  // What is due by now is done.
  void finish_due();
  std::optional<WallTime> next_due() const;
  bool at_rest() const { return waiting_.empty() && working_.empty(); }
  bool somebody_waits() const { return !waiting_.empty(); }
  std::int64_t working() const { return static_cast<std::int64_t>(working_.size() + never_); }
  std::int64_t live() const;
  std::vector<Text> never_done() const;  // whom something was asked of that doesn't answer, or is paused

  std::chrono::seconds update_time() const { return update_time_; }
  bool drains() const { return drains_; }

  api::MachineSet set;  // what the plans see
  WallTime now{};

 private:
  enum class State : std::uint8_t { resting, waiting, working };
  struct Item {
    Ref<api::Machine> object;
    State state = State::resting;
    api::OperationType type{};
    WallTime due{};
    bool mute = false;  // its host doesn't answer, or a person has paused it: what is asked of it never ends
  };
  using Items = std::map<Text, Item>;

  void read_preflight(Snapshot& s) const;
  void adopt();
  void take_up(const reconcile::Action& action);
  void adopt_item(Item& item, bool mute);
  void measure();
  std::chrono::seconds typical(api::OperationType type) const;
  void act(const reconcile::Action& action, std::vector<Touched>& out);
  void act_on_set(const reconcile::Action& action);
  void act_on_revision(const reconcile::Action& action);
  void create(const reconcile::Action& action);
  void edit(Items::iterator at, const reconcile::Action& action);
  void wait(const Text& name, Item& item, api::OperationType type);
  void work(const Text& name, Item& item, WallTime due);
  void stop_work(const Text& name, Item& item);
  void start(const Text& name, Item& item, const reconcile::PermitRequest& request, const std::string& grant);
  void finish(Items::iterator at);
  bool needs_host(const Item& item) const;
  reconcile::PermitRequest request_of(const Item& item) const;
  api::OperationType way_of(const api::Machine& machine) const;
  api::Machine& write(Item& item);
  const Revision* revision_in(const reconcile::Action& action) const;

  const PreviewInput& in_;
  Items items_;
  std::vector<Ref<api::Machine>> orphans_;  // that nobody owns yet
  std::vector<Revision> revisions_;
  std::deque<Text> waiting_;                     // in the order of the wish
  std::set<std::pair<WallTime, Text>> working_;  // what will be done
  std::size_t never_ = 0;                        // what is worked at and won't be done
  std::set<std::string_view> taken_;
  std::optional<std::vector<Text>> free_hosts_;
  std::optional<api::GuardLedgerStatus> ledger_;  // nullopt: there is no account yet
  bool first_ = true;                             // the ledger is still as it was read
  std::uint64_t uids_ = 0;
  std::chrono::seconds update_time_{}, create_time_{}, delete_time_{};
  bool drains_ = false;
};

}  // namespace endstate::machine_set
