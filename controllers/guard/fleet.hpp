// Fleet: what a cluster's objects say of themselves, as far as the guard counts it: which machines there are, which of them serve, and what
// is under way. Kept up to date change by change, so that a decision doesn't look at 10,000 machines; counted anew from nothing by whoever
// takes over, and each minute (ledger_guard.hpp). Pure.
//
// What is under way is known by its lock, not by the account's memory:
//   update, rollback, repair, reinstall, deletion  Machine.status.operation
//   creation                                       the claim: Host.spec.consumerRef with the annotation endstate.dev/grant, until its
//   Machine
//                                                  is in service or names that grant in lastOperation. A claim without the annotation is an
//                                                  older version's: its creation is not under way by our account
//   closing for pods                               a machine in service whose SchedulingOpen is False by us
//   a control plane                                Cluster.status.operations, each component for itself
//   (a lock that was lost)                         an Active HostAssignment by a grant that no lock names, until its agent has reported:
//   the
//                                                  meta cluster was restored from a copy, and the host works on
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "apis/v1alpha1/cluster.hpp"
#include "apis/v1alpha1/machine.hpp"
#include "apis/v1alpha1/policy.hpp"
#include "reconcile/cache/view.hpp"

namespace endstate::guard {

// Operations as bits, to ask whether a limit counts one.
using Operations = std::uint16_t;
inline constexpr std::size_t operation_count = 12;
std::optional<v1alpha1::BudgetOperation> operation_of(std::string_view name);  // nullopt: no budget can name it
inline Operations bit(v1alpha1::BudgetOperation o) {
  const auto place = static_cast<std::size_t>(o);
  return place < operation_count ? static_cast<Operations>(1U << place) : Operations(0);
}
Operations bits(const std::vector<v1alpha1::BudgetOperation>& operations);

struct Lock {
  reconcile::Text id;  // the grant's; empty: closed for pods, which no status names
  v1alpha1::BudgetOperation operation{};
  reconcile::Text domain, component;  // component: of a control plane
  reconcile::WallTime start{}, deadline{};
  bool lost = false;  // only the host knows of it
};

class Fleet {
 public:
  struct Member {
    reconcile::Ref<v1alpha1::Machine> machine;
    std::optional<Lock> lock;
    bool wanted = false, in_service = false, out = false;  // out: in service and not available, or disturbed by its lock
  };
  // All that decisions count by; equal if two counted the same.
  struct Counts {
    std::int64_t wanted = 0, in_service = 0, out = 0, locks = 0;
    std::map<std::string, std::int64_t> wanted_in;                          // by failure domain
    std::map<std::pair<std::size_t, std::string>, std::int64_t> under_way;  // by operation and failure domain
    friend bool operator==(const Counts&, const Counts&) = default;
  };

  // ---- what changes ----
  void put(reconcile::Ref<v1alpha1::Machine> machine);
  void remove_machine(const reconcile::Text& uid);
  void put(const v1alpha1::Host& host);  // claimed or not
  void remove_host(const reconcile::Text& uid);
  void put(const v1alpha1::Cluster& cluster);
  void put(const v1alpha1::HostAssignment& assignment);
  void remove_assignment(const reconcile::Text& name);

  // ---- what is asked ----
  const reconcile::Text& cluster_uid() const { return cluster_uid_; }
  const Member* find(const reconcile::Text& uid) const;
  const Lock* lock_of(const reconcile::Text& subject_uid, const reconcile::Text& component) const;  // null: nothing is under way there
  bool under_way(std::string_view id) const;
  // The machine by whose operation, or last one, that grant is named; null: none (any more).
  const v1alpha1::Machine* named_by(std::uint64_t short_id) const;
  std::int64_t wanted() const { return wanted_; }
  std::int64_t wanted_in(const reconcile::Text& domain) const;
  std::int64_t in_service() const { return in_service_; }
  std::int64_t out() const { return out_; }
  std::size_t domains() const { return wanted_in_.size(); }
  std::int64_t under_way(Operations operations) const;
  std::int64_t under_way(Operations operations, const reconcile::Text& domain) const;
  // Of machines, that have a lock; by their deadlines, those without one first.
  void each_late(reconcile::WallTime now, const std::function<void(const reconcile::Text& uid, const Lock&)>& look) const;
  void each_machine_lock(const std::function<void(const Lock&)>& look) const;
  void each_plane_lock(const std::function<void(const Lock&)>& look) const;
  void each(const std::function<void(const Member&)>& look) const;
  void each_domain(const std::function<void(const reconcile::Text&)>& look) const;
  std::size_t locks() const { return by_deadline_.size() + plane_.size(); }
  const std::set<reconcile::Text>& lost() const { return lost_; }  // machines whose lock only the host knows
  Counts counts() const;

 private:
  struct Claim {
    reconcile::Text machine_uid, grant, domain;
  };
  struct Unreported {  // an Active assignment whose agent has not seen it yet
    reconcile::Text machine_uid, grant;
  };
  struct Tally {
    std::int64_t total = 0;
    std::unordered_map<reconcile::Text, std::int64_t> by_domain;
  };
  std::optional<Lock> find_lock(const v1alpha1::Machine& machine) const;
  void again(const reconcile::Text& uid);  // something else about that machine has changed
  void count(const Member& member, std::int64_t sign);
  void count(const Lock& lock, std::int64_t sign);
  void name(const Member& member, bool is);

  reconcile::Text cluster_uid_;
  std::unordered_map<reconcile::Text, Member> members_;  // by uid
  std::unordered_map<std::uint64_t, reconcile::Text> named_;
  std::unordered_map<reconcile::Text, Claim> claims_;             // by the Host's uid
  std::unordered_map<reconcile::Text, reconcile::Text> claimed_;  // Host's uid, by the Machine's
  std::unordered_map<reconcile::Text, Unreported> unreported_;    // by the assignment's name
  std::unordered_map<reconcile::Text, reconcile::Text> told_;     // the assignment's name, by the Machine's uid
  std::vector<Lock> plane_;
  std::array<Tally, operation_count> under_way_;
  std::unordered_map<reconcile::Text, std::int64_t> wanted_in_;
  std::int64_t wanted_ = 0, in_service_ = 0, out_ = 0;
  std::set<std::pair<reconcile::WallTime, reconcile::Text>> by_deadline_;  // machines with a lock
  std::set<reconcile::Text> lost_;
};

// The first eight bytes of a grant's id, which is all of those that the guard makes (PermitRequest::id).
std::uint64_t short_id(std::string_view id);

// Counted from nothing.
struct FleetObjects {
  reconcile::Ref<v1alpha1::Cluster> cluster;  // null: none is known
  std::vector<reconcile::Ref<v1alpha1::Machine>> machines;
  std::vector<reconcile::Ref<v1alpha1::Host>> hosts;  // claimed ones
  std::vector<reconcile::Ref<v1alpha1::HostAssignment>> assignments;
};
Fleet count(const FleetObjects& objects);

}  // namespace endstate::guard
