// Fleet: plays the agents and kubelets of N hosts against one API server, or two (the Hosts in the meta cluster, all else in a business
// cluster), over an Env. What each host does is host.hpp's and pod.hpp's;
// this is the traffic: five watches in, one bounded write queue out.
//
//   Fleet fleet(env, {.hosts = 200}, {}, log);
//   fleet.start();      // registers the hosts that aren't there, and goes on from what is
//
// For the Env's thread.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "reconcile/base/log.hpp"
#include "reconcile/cache/reflector.hpp"
#include "src/fleet/alarms.hpp"
#include "src/fleet/host.hpp"
#include "src/fleet/pod.hpp"
#include "src/fleet/write_queue.hpp"

namespace endstate::fleet {

struct FleetOptions {
  std::uint32_t hosts = 100;  // 1..max_hosts
  std::string business;       // connection of the business cluster; "": the meta cluster is
  Inventory inventory;
  Settings settings;
  std::vector<Fault> faults;  // that hold for the whole fleet
  WriteQueueOptions writes;
  std::chrono::milliseconds tick{1'000};  // how often figures are counted
};

// The hosts that serve at one revision.
struct Serving {
  Text revision{};
  std::uint32_t hosts = 0, failing = 0;  // failing: whose work fails (WorkFails)
};

struct FleetFigures {
  std::array<std::uint32_t, std::size(host_state_names)> hosts{};  // by HostState
  std::array<std::uint32_t, std::size(pod_phase_names)> pods{};    // by PodPhase
  std::vector<Serving> serving;                                    // by revision; only those that some host serves at
  std::uint64_t packages_applied = 0, packages_failed = 0;
  std::uint64_t bad_faults = 0;  // annotations that were not understood, ever
  std::uint32_t registered = 0;  // hosts that the API server holds and that are enrolled
  bool synced = false;           // every watch has its first list
  std::size_t writes_waiting = 0, writes_in_flight = 0;
  bool writes_paused = false;                                                    // the API server doesn't answer
  std::vector<std::pair<std::string_view, std::chrono::nanoseconds>> watch_lag;  // by resource; 0: it is live
  bool ready() const {                                                           // every host is registered and enrolled
    std::size_t all = 0;
    for (const auto n : hosts) all += n;
    return synced && registered == all;
  }
};

struct BadFault {  // an annotation that was not understood, and is left out
  std::string_view kind;
  const reconcile::ObjectMeta& object;
  const std::string& message;
};

struct FleetHooks {                                                                 // each may be null
  std::function<void(const FleetFigures&)> counted{};                               // each tick
  std::function<void(std::string_view resource, std::string_view result)> wrote{};  // each write's end
  std::function<void(const BadFault&)> bad_fault{};
};

class Fleet {
 public:
  Fleet(reconcile::Env& env, FleetOptions options, FleetHooks hooks, reconcile::Log log);
  Fleet(const Fleet&) = delete;
  Fleet& operator=(const Fleet&) = delete;

  void start();
  FleetFigures figures() const;
  const HostModel& host(std::uint32_t index) const { return hosts_[index]; }
  std::size_t host_count() const { return hosts_.size(); }

 private:
  struct Watch {
    Watch(Fleet& fleet, const reconcile::Kind& kind, reconcile::ReflectorOptions options, reconcile::Store::Handler handler);
    reconcile::Store store;
    reconcile::Reflector reflector;
  };

  void on_host(const v1alpha1::Host* before, const v1alpha1::Host* after);
  void on_assignment(const Assignment* before, const Assignment* after);
  void on_node(const SeenNode* before, const SeenNode* after);
  void on_package(const PackageNote* before, const PackageNote* after);
  void on_pod(const Pod* before, const Pod* after);
  void on_synced();
  void saw_assignment(std::uint32_t index, const Assignment* assignment);
  std::optional<std::uint32_t> index_of(const v1alpha1::Host& host) const;

  void set_own_fault(std::uint32_t index, const reconcile::ObjectMeta& meta);
  void apply_faults(std::uint32_t index);
  std::optional<Fault> read_fault(const reconcile::ObjectMeta& meta, std::string_view kind);

  reconcile::Call placed(reconcile::Call call) const;
  void kick(std::uint32_t id);  // a host's index, or a pod's id
  void kick_pods(std::uint32_t index);
  std::optional<reconcile::Call> make(Ticket ticket);
  void answered(Ticket ticket, const reconcile::Result<void>& result, std::string_view body);
  void unanswered(Ticket ticket, const reconcile::Error& error);
  void count(Ticket ticket, std::string_view result);
  void tick();
  bool synced() const;

  reconcile::Env& env_;
  FleetOptions options_;
  FleetHooks hooks_;
  reconcile::Log log_;
  std::shared_ptr<const Settings> settings_;
  reconcile::Pool pool_;

  std::vector<HostModel> hosts_;
  std::vector<std::optional<Fault>> own_faults_;                   // beside hosts_
  std::vector<std::uint32_t> pods_had_;                            // beside hosts_
  std::unordered_map<Text, std::optional<Fault>> package_faults_;  // by MachinePackageVersion, only those that have the annotation
  std::unordered_map<std::string, std::uint32_t> by_name_;
  std::unordered_map<Text, std::uint32_t> by_uid_;
  std::unordered_map<std::string, std::uint32_t> by_node_;
  std::unordered_map<std::uint32_t, PodModel> pods_;  // by id
  std::unordered_map<Text, std::uint32_t> pod_ids_;   // by uid
  std::vector<std::vector<std::uint32_t>> pods_of_;   // beside hosts_
  std::uint32_t next_pod_ = 0;
  std::uint64_t bad_faults_ = 0;
  bool was_synced_ = false;

  WriteQueue writes_;
  Alarms alarms_;
  std::vector<std::unique_ptr<Watch>> watches_;
  Watch *hosts_watch_ = nullptr, *assignments_watch_ = nullptr, *nodes_watch_ = nullptr, *pods_watch_ = nullptr;
  reconcile::Handle tick_;
};

}  // namespace endstate::fleet
