// HostModel: one host, its agent and its kubelet, as a pure state machine: what is seen goes in, wanted writes come out.
//
//   host.saw_host(...); host.saw_assignment(...); host.saw_node(...); host.set_faults(...);      // whatever changed, in any order
//   host.advance(now);                                                                           // does what is due
//   for (Topic t : all_topics) if (host.wants(t, now)) send(host.take(t, now));                  // at most one of a topic in flight
//   host.done(t, result, reply, now);                                                            // how it ended
//   ... again at host.next(now)
//
// Level-triggered: every write is made from the state of now, and a fresh model (the fleet was restarted) takes up from what the API
// server holds. Its disk is what its last report says; a lost API or a vanished HostAssignment never wipes it.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "reconcile/base/env.hpp"
#include "src/fleet/inventory.hpp"
#include "src/fleet/packages.hpp"

namespace endstate::fleet {

enum class Topic : std::uint8_t {
  inventory,    // create the Host
  enrolment,    // Host.status: Ready, agent, capacity
  report,       // HostAssignment.status
  agent_lease,  // endstate-system/host-<Host uid>
  node,         // create the Node
  node_status,  // Node.status, when it isn't what the kubelet says
  node_lease,   // kube-node-lease/<node>
};
inline constexpr std::size_t topic_count = 7;

struct Settings {  // of all hosts
  Pace pace;
  std::chrono::seconds lease_period{60};  // renewals, ± 10 %; a lease lasts three of them
  std::string agent_version = "0.1.0";
};

// What the reply to a write said; empty where it wasn't read.
struct Reply {
  Text uid, resource_version;
};

enum class HostState : std::uint8_t {
  unregistered,  // the API server doesn't hold it yet
  free,          // nobody's
  installing,    // packages are being worked on
  joining,       // packages are Ready, the Node isn't there or isn't Ready yet
  ready,
  not_ready,  // it was Ready and says now that it is not
  failed,     // a package failed
  releasing,  // it wipes, or has wiped and waits to be forgotten
  silent,     // the agent is
  down,
};
inline constexpr std::string_view host_state_names[] = {"unregistered", "free",   "installing", "joining", "ready",
                                                        "not_ready",    "failed", "releasing",  "silent",  "down"};

class HostModel {
 public:
  HostModel(HostFacts facts, std::shared_ptr<const Settings> settings);

  // What the API server holds; null: it isn't there. An object seen before a write of ours was done is older than that write: ignored.
  void saw_host(const v1alpha1::Host* host);
  void saw_assignment(const Assignment* assignment, Now now);
  void saw_node(const SeenNode& node, Now now);
  void saw_node_go(const Text& node_uid, Now now);  // the Node with that uid was deleted
  void set_faults(Faults faults);                   // of all hosts; those that take this one

  void advance(Now now);
  // When advance() has something to do, or another write will be wanted; always later than `now`; max(): not before the next event.
  MonoTime next(MonoTime now) const;

  bool wants(Topic topic, MonoTime now) const;
  bool can_wait(Topic topic) const;            // it renews a lease
  reconcile::Call take(Topic topic, Now now);  // only when it is wanted
  void done(Topic topic, const reconcile::Result<void>& result, const Reply& reply, Now now);
  void put_back(Topic topic);  // it was not sent, or that is not known: wanted again at once

  const HostFacts& facts() const { return facts_; }
  const Text& uid() const { return uid_; }                     // of the Host; empty before it is registered
  const std::string& node_name() const { return node_name_; }  // empty: it has had no assignment yet
  const Packages& packages() const { return packages_; }
  bool is_enrolled() const { return registered_ && enrolled_; }
  bool runs_pods() const { return kubelet_runs() && node_.exists; }
  HostState state() const;

  // ---- its work for its users ----
  bool serves() const;                                     // its Node is there and Ready, and packages have been brought to it
  const Text& served_revision() const { return served_; }  // that all its packages were Ready for last; not what it is brought to now
  bool work_fails() const { return packages_.holds(faults_, FaultKind::work_fails); }

 private:
  struct Flight {  // of a topic
    bool busy = false;
    std::uint8_t failures = 0;
    MonoTime not_before{};
    std::uint64_t sent = 0;  // fingerprint of what is in flight
  };
  struct NodeView {
    bool exists = false, was_ready = false;
    Text uid{}, version{};   // version: of the newest state that we know
    std::uint64_t said = 0;  // fingerprint of what that state says of us
    MonoTime register_at{};  // not before
  };
  struct LeaseView {
    bool known = false;  // it was there when we last heard
    MonoTime due{};
  };
  struct Request {
    v1alpha1::RequestReport report{};
    v1alpha1::RequestType type{};
    std::optional<MonoTime> due{};
  };

  Flight& flight(Topic t) { return flights_[static_cast<std::size_t>(t)]; }
  const Flight& flight(Topic t) const { return flights_[static_cast<std::size_t>(t)]; }
  bool due(Topic topic) const;         // wanted, were it only time
  MonoTime due_at(Topic topic) const;  // when it is time
  void take_up(const Assignment& assignment, Now now);
  void adopt(Now now);
  void work(Now now);
  void work_requests(Now now);
  void work_reboots(Now now);
  void reboot(Now now);
  void work_kubelet(Now now);
  void update_report(Now now);
  void node_gone(Now now);
  void went_well(Topic topic, const Reply& reply, Now now);
  void went_wrong(Topic topic, const reconcile::Error& error, Now now);
  LeaseView& lease(Topic topic) { return topic == Topic::agent_lease ? agent_lease_ : node_lease_; }
  bool released() const { return order_.state == v1alpha1::AssignmentState::released; }
  bool agent_works() const;  // neither down nor silent
  bool kubelet_runs() const;
  bool node_is_ready() const;
  std::uint64_t node_says() const;
  v1alpha1::Agent agent() const;
  v1alpha1::HostAssignmentStatus report() const;
  NodeStatus node_status(Now now) const;
  reconcile::Call call(Topic topic, Now now) const;
  reconcile::Call lease_call(Topic topic, Now now) const;

  HostFacts facts_;
  std::shared_ptr<const Settings> settings_;
  Chance chance_;
  Faults faults_;

  // The Host.
  Text uid_;
  bool listed_ = false, registered_ = false, known_ = false, enrolled_ = false;  // known: it was there once; its deletion is respected
  std::uint64_t boots_ = 0;
  std::string boot_id_;
  std::optional<MonoTime> reboot_at_;  // by the fault

  // The agent.
  bool assigned_ = false;  // there is a HostAssignment
  AgentSpec order_;        // its spec, kept when it vanishes: only a new order changes the host
  Text assignment_uid_;
  std::int64_t generation_ = 0;
  Text owner_;  // uid of the Machine that the disk is; empty: the disk is clean
  Text served_;
  bool wiping_ = false;
  Packages packages_;
  std::vector<Request> requests_;
  std::vector<reconcile::Condition> conditions_;
  std::uint64_t report_ = 0, reported_ = 0;  // fingerprints of what the status should say, and of what it says
  bool report_dirty_ = false;
  LeaseView agent_lease_;

  // The kubelet.
  std::string node_name_;
  bool kubelet_started_ = false, ready_told_ = false;
  Text kubelet_version_;
  MonoTime ready_at_{};
  WallTime kubelet_since_{}, ready_since_{};
  NodeView node_;
  LeaseView node_lease_;

  std::array<Flight, topic_count> flights_;
};

}  // namespace endstate::fleet
