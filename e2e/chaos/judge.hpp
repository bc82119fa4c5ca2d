// Judge: was any limit ever exceeded? An outside view, from what the API shows to everybody; it knows nothing of how the guard counts,
// and doesn't believe its ledger. Pure: changes go in as they are seen, the time is handed in.
//
//   Judge judge;
//   judge.saw_budget(nullptr, &budget); judge.saw_machine(before, after, now); ...    // null: not there before, gone
//   judge.begin();                                                                    // once all of each kind has been shown
//   judge.look(now);                                                                  // each second from then on
//   for (const Row& r : judge.rows()) if (r.exceeded) ...
//
// What is judged, and by what:
//   unavailable, by cluster and by set    Machines that were in service once, aren't being deleted, and are not Ready or have an operation
//                                         under way; at every single change of a Machine
//   under way, by limit                   Machine.status.operation of the types that the limit names; the same
//   started in a window, by limit         start times of operations (status.operation and status.lastOperation): the most in any window
//                                         of that length, wherever it begins. The way back (rollback) is never held by a window, so it
//                                         isn't counted
//   without an operation                  HostAssignments of machines in service that got another revision, and no operation said so
//                                         within `patience`
//   without a grant                       operations that stand for `patience` and whose grant was never in the cluster's GuardLedger (it
//                                         leaves the ledger when the operation is seen)
#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "apis/v1alpha1/cluster.hpp"
#include "apis/v1alpha1/machine_set.hpp"
#include "apis/v1alpha1/policy.hpp"

namespace endstate::chaos {

// Objects of two kinds come by two watches: what one says may be seen so much before what the other says.
inline constexpr std::chrono::seconds patience{10};
inline constexpr std::size_t max_starts = 500'000;  // remembered for the windows; the oldest go first

struct Row {
  std::string what{};                 // "ChangeBudget default: updates, in 1m", "MachineSet default/workers: unavailable"
  std::int64_t most = 0, limit = 0;   // the most ever seen, and the limit at that moment
  reconcile::WallTime when{};         // of the most
  bool exceeded = false;              // at any moment, also when the limit was another one
  reconcile::WallTime exceeded_at{};  // first
  std::int64_t exceeded_by = 0;       // at its worst
};

class Judge {
 public:
  void saw_cluster(const v1alpha1::Cluster* before, const v1alpha1::Cluster* after);
  void saw_set(const v1alpha1::MachineSet* before, const v1alpha1::MachineSet* after);
  void saw_budget(const v1alpha1::ChangeBudget* before, const v1alpha1::ChangeBudget* after);
  void saw_ledger(const v1alpha1::GuardLedger* before, const v1alpha1::GuardLedger* after);
  void saw_machine(const v1alpha1::Machine* before, const v1alpha1::Machine* after, reconcile::WallTime now);
  void saw_assignment(const v1alpha1::HostAssignment* before, const v1alpha1::HostAssignment* after, reconcile::WallTime now);
  // Before this nothing is judged: half a list has half the machines.
  void begin() { judging_ = true; }
  void look(reconcile::WallTime now);

  std::vector<Row> rows() const;  // in the order of their names
  bool exceeded() const;
  // How many hosts were ever given that revision.
  std::int64_t touched(std::string_view revision) const;
  const std::map<std::string, std::set<std::string>, std::less<>>& touched() const { return touched_; }
  std::int64_t started(std::string_view operation) const;  // operations of that name, ever
  const std::map<std::string, std::int64_t, std::less<>>& started() const { return started_; }
  std::size_t machines() const { return machines_.size(); }

 private:
  struct Facts {  // of a Machine, as far as they count
    std::string cluster, set, domain, operation, operation_id;
    std::int64_t wanted = 0, in_service = 0, unavailable = 0;
    reconcile::WallTime operation_seen{};
    std::set<std::string> started;            // id and start time of what was counted already
    reconcile::Text revision, last_revision;  // of the operations
  };
  struct Tally {
    std::int64_t wanted = 0, in_service = 0, unavailable = 0;
    std::map<std::string, std::int64_t, std::less<>> under_way;  // by operation name
  };
  struct Start {
    reconcile::WallTime at{};
    std::string cluster, domain, operation;
  };
  struct Awaited {  // an assignment that was changed, and whose operation hasn't been seen
    std::string machine_uid;
    reconcile::Text revision;
    reconcile::WallTime since{};
  };

  void add(const Facts& facts, std::int64_t sign);
  void note_start(Facts& facts, const reconcile::Text& id, const std::string& operation, reconcile::WallTime at);
  void judge_counts(const Facts& facts, reconcile::WallTime now);
  void judge_limit_now(const v1alpha1::ChangeBudget& budget, const v1alpha1::BudgetLimit& limit, const std::string& cluster,
                       const std::string& domain, reconcile::WallTime now);
  void judge_windows(const v1alpha1::ChangeBudget& budget, const v1alpha1::BudgetLimit& limit);
  void judge_links(reconcile::WallTime now);
  void measure(const std::string& what, std::int64_t count, std::int64_t limit, reconcile::WallTime when);
  bool selects(const v1alpha1::ChangeBudget& budget, const std::string& cluster) const;

  bool judging_ = false;
  std::map<std::string, v1alpha1::ChangeBudget> budgets_;  // by name
  std::map<std::string, reconcile::Labels> clusters_;      // their labels, by <namespace>/<name>
  std::map<std::string, v1alpha1::MachineSet> sets_;       // the same
  std::map<std::string, std::set<std::string>> grants_;    // ids that ever were, by the ledger's cluster
  std::map<std::string, Facts> machines_;                  // by uid
  std::map<std::string, Tally> tallies_;                   // see add()
  std::vector<Start> starts_;                              // by time
  std::map<std::string, std::int64_t, std::less<>> started_;
  std::vector<Awaited> awaited_;
  std::int64_t without_operation_ = 0;
  std::set<std::string> without_grant_;                                // ids
  std::map<std::string, std::set<std::string>, std::less<>> touched_;  // uids of hosts, by revision
  std::map<std::string, Row> rows_;
};

// The rows as a table for people.
std::string table(const Judge& judge);

}  // namespace endstate::chaos
