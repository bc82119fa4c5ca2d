// TableWorld: a rollout of an in-place package over many machines, played by the pure plans of machine_set, machine and guard over tables
// in memory. No API server, no time but its own: so that 10,000 machines take seconds, and every write of the operator is counted.
//
//   TableWorld world(10'000);
//   world.change("v1");
//   while (!world.complete()) world.tick();
//   world.writes().total();
//
// It plays what the runtime does as far as writes depend on it: a lock before what it permits, statuses that are written when they have
// stood for as long as their plan wants, requests gathered for the guard. Hosts take 3 to 12 s for a package and report each state.
#pragma once
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "controllers/guard/plan.hpp"
#include "controllers/machine/plan.hpp"
#include "controllers/machine_set/plan.hpp"

namespace endstate::bench {

inline constexpr std::chrono::milliseconds tick_length{200};  // the runtime's gap between two passes of a key

struct Writes {  // of the operator
  std::int64_t machine_specs = 0, machine_locks = 0, machine_ends = 0, machine_progress = 0, assignments = 0, ledger = 0, set = 0,
               others = 0;
  std::int64_t total() const {
    return machine_specs + machine_locks + machine_ends + machine_progress + assignments + ledger + set + others;
  }
};

class TableWorld {
 public:
  explicit TableWorld(std::size_t machines);

  void change(const std::string& version);  // a user edits the set's template
  void tick();
  bool complete() const;
  double share_updated() const;  // of the machines

  machine_set::Snapshot set_snapshot() const;
  guard::Snapshot guard_snapshot() const;
  reconcile::PermitRequest request(std::size_t machine) const;  // of an update to a revision that nobody has
  const Writes& writes() const { return writes_; }
  std::chrono::nanoseconds time() const { return now_.mono - start_.mono; }

 private:
  struct Row {  // a machine and all that is its own
    reconcile::Ref<v1alpha1::Machine> machine;
    reconcile::Ref<v1alpha1::Host> host;
    reconcile::Ref<v1alpha1::HostAssignment> assignment;
    reconcile::Ref<reconcile::Node> node;
    std::vector<std::pair<reconcile::MonoTime, v1alpha1::PackageState>> work;  // what the host will report, and when
    reconcile::MonoTime differs_since{};                                       // of the status; min: it doesn't
    std::vector<reconcile::Action> held;                                       // guarded, until the guard has answered
    std::optional<reconcile::Refused> refused;
    reconcile::MonoTime refused_at{};
  };
  void add_machine(std::size_t index);
  machine::Input input(const Row& row) const;
  void hosts(Row& row);
  void pass(Row& row);
  void ask();
  void pass_of_set();
  void write(Row& row, const reconcile::Action& action);
  void write_status(Row& row, const reconcile::StatusWrite& status);
  void store_status(Row& row, const std::string& json, bool lock);
  Row& row_of(const reconcile::Text& name) { return rows_[by_name_.at(name)]; }
  reconcile::Text next_version() { return reconcile::Text(std::to_string(++version_)); }
  reconcile::Ref<v1alpha1::MachinePackageVersion> package(const std::string& version) const;
  bool is_resting(const Row& row) const;

  reconcile::Now now_, start_;
  std::mt19937 chance_{1};
  std::uint64_t version_ = 100;
  mutable reconcile::Pool pool_;
  reconcile::Ref<v1alpha1::Cluster> cluster_;
  reconcile::Ref<v1alpha1::MachineSet> set_;
  std::vector<reconcile::Ref<v1alpha1::ChangeBudget>> budgets_;
  std::vector<machine_set::Revision> revisions_;
  v1alpha1::GuardLedgerStatus ledger_;
  std::vector<Row> rows_;
  std::map<reconcile::Text, std::size_t> by_name_;
  std::vector<std::pair<std::size_t, reconcile::PermitRequest>> requests_;
  reconcile::MonoTime set_differs_since_ = reconcile::MonoTime::min();
  Writes writes_;
};

}  // namespace endstate::bench
