// Pass: the working state of one plan() call, shared by the plan's parts. Private to controllers/machine/.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "controllers/common/machine_state.hpp"
#include "controllers/common/operation_name.hpp"
#include "controllers/machine/plan.hpp"

namespace endstate::machine {

namespace reason = api::reason;

struct Gate {
  Text type;
  ConditionStatus status{};
  Text reason, message;
};

enum class NodeIs : std::uint8_t { absent, ours, foreign };

// How far the host is with what it was assigned.
struct PackageFacts {
  bool observed = false;  // the agent has worked on the very spec
  bool ready = false;     // and every package is Ready
  Text failed, waiting;   // a slot that failed; one that isn't Ready yet
  Text failed_reason, failed_message;
  bool drifted = false;
};

struct Pass {
  explicit Pass(const Input& input);

  const Input& in;
  const api::Machine& machine;
  const WallTime now;         // whole seconds, as the API keeps them
  api::MachineStatus status;  // the draft: conditions start empty, the rest as it was
  reconcile::Plan out;
  bool lock_written = false;  // the draft goes out as a guarded action: no StatusWrite beside it
  bool is_last = false;       // the finalizer goes with this pass: there is nothing left to write a status to
  bool refused_wait = false;  // the guard refused lately: not asked in this pass
  bool tell_now = false;      // the status is written at once, whatever it is

  // facts (facts.cpp)
  std::string revision;                             // wanted
  const api::HostAssignment* assignment = nullptr;  // ours
  NodeIs node_is = NodeIs::absent;
  bool in_service = false;  // was open once
  bool resolved = true;     // every package is known
  Text missing_package;
  bool differs = false;                                // the assignment isn't what the spec wants
  api::Disruption disruption = api::Disruption::none;  // of what differs
  bool retry = false;  // somebody says that the revision that failed is to be tried again (annotation endstate.dev/retry)
  PackageFacts packages;
  std::vector<Gate> gates;                                  // plan_gates.cpp
  ConditionStatus gates_status = ConditionStatus::unknown;  // False if one is; else Unknown if one is; else True
  std::size_t worst_gate = 0;                               // index, when gates_status isn't True

  // ---- the draft ----
  void condition(std::string_view type, ConditionStatus value, std::string_view why, std::string_view message = {});
  void keep_conditions();  // those of the last status, for what this pass doesn't judge
  void block(std::string_view kind, std::string_view name, std::string_view why, std::string_view message);
  void again(std::chrono::nanoseconds wait);  // the soonest wins
  void warn(std::string_view why, std::string_view action, const std::string& note);
  void note(std::string_view why, std::string_view action, const std::string& text);

  // ---- writes ----
  // The guard is asked for it; false: it refused lately and is asked again later, blockedBy says so.
  bool ask(reconcile::PermitRequest request);
  // What is under way goes on by its grant: asked for again it is the same one, and costs nothing.
  bool hold(const api::Operation& op) { return ask(request(operation_name(op.type), op.revision, op.attempt)); }
  reconcile::PermitRequest request(std::string_view operation, std::string_view to_revision, std::int64_t attempt) const;
  reconcile::PermitRequest creation_request() const;  // of the next try
  void lock();                                        // writes the draft as the guarded first action; what it permits follows at stage 1
  void assign(std::uint8_t stage, std::string_view grant);  // guarded: create or update of the assignment, as the spec wants
  void release(std::uint8_t stage);  // guarded: the assignment's state becomes Released; one that is missing is made so
  void put_assignment(api::HostAssignment a, std::uint8_t stage, std::string why);
  void remove(const reconcile::Kind& kind, std::string connection, const reconcile::ObjectMeta& meta, std::uint8_t stage, std::string why);
  void free_host(const api::Host& host, std::uint8_t stage);
  // The claimed Host carries our finalizer and names the grant that it was claimed by: one that an older version claimed gets the first
  // with the next write that touches it, one that is created anew there the second.
  void keep_claim(std::uint8_t stage, std::string_view grant);
  // Before anything is written to a Host, or by it: it is of the machine's namespace, whatever the caches' indexes said. A bug, if not.
  void must_be_near(const api::Host& host) const;
  void add_finalizer();
  void accept_retry(std::uint8_t stage);  // one-shot: the annotation goes when the grant for the new try is there
  void drop_finalizer(std::uint8_t stage);

  // ---- small questions ----
  const api::Operation* operation(api::OperationType type) const;  // in flight, of that type; else null
  bool updating() const { return operation(api::OperationType::update) || operation(api::OperationType::rollback); }
  std::chrono::seconds timeout() const;
  // The one clock (common/elapsed.hpp): no other subtraction of stored times, hack/check_seams.sh looks for them.
  std::chrono::microseconds elapsed(WallTime start) const { return endstate::elapsed(start, now, in.gaps); }
  std::chrono::microseconds left(WallTime start, std::chrono::microseconds wait) const { return wait - elapsed(start); }
  // Until an operation is late: its own time, and never in the first 90 s of sight. 0 or less: it is.
  std::chrono::microseconds left(const api::Operation& op) const;
  std::chrono::microseconds left_of_settling(std::chrono::microseconds left) const;
  WallTime blind_since() const;
  // What is there of it can't be undone: its Cluster is gone or can't be seen, and it is forced, or goes with its Cluster for long enough.
  bool is_abandoned() const;
  std::string_view forced()
      const;  // why its deletion is forced (annotation endstate.dev/force-delete, of it or of its Cluster); empty: it isn't
  bool silent() const { return !in.agent_silence || *in.agent_silence > in.agent_lasts; }
  bool seen() const { return in.cluster && in.sight.seen; }
  const Gate& worst() const { return gates[worst_gate]; }
  std::string key() const { return machine.metadata.key().str(); }
};

// ---- the parts, in the order that plan() calls them ----
void assess(Pass& p);       // facts.cpp
void judge_gates(Pass& p);  // plan_gates.cpp: gates, and the conditions that come from elsewhere
void plan_claim(Pass& p);   // plan_claim.cpp
void plan_assign(Pass& p);  //   the host has no assignment yet
bool plan_update(Pass& p);  // plan_update.cpp: true if an update is under way or begins
bool prefetched(Pass& p);   // plan_prefetch.cpp: the host has the artifacts of what is wanted, or is waited for no longer
void end_operation(Pass& p, const api::Operation& op, api::OperationResult result, std::string_view why, std::string_view message);
bool is_late_for_node(const Pass& p, const api::Operation& op);  //   the deadline is over, and the Node isn't what is wanted
void fail_for_node(Pass& p, const api::Operation& op);
void plan_settle(Pass& p);                                    // plan_settle.cpp: nothing is under way: open, close, finish a creation
void plan_delete(Pass& p);                                    // plan_delete.cpp
void say_deleting(Pass& p, std::string_view waits_for = {});  //   its phase and condition, whatever it waits for
bool is_drain_skipped(const Pass& p);                         // an annotation says so
bool drain(Pass& p, const api::Operation& op);                // plan_drain.cpp: true when nothing is left to wait for
std::string comeback_mark(std::string_view operation, std::string_view controller);  //   begins the marks of evictions of what came back
bool volumes_detached(Pass& p);                                                      // plan_volumes.cpp: the same, after the drain
void isolate(Pass& p, std::uint8_t stage);                                           //   guarded
bool has_taint(const Node& node, std::string_view key);
bool isolated_by_us(const Node& node);
bool isolated_by_other(const Node& node);
bool is_open(const Pass& p);  // plan_node.cpp: ours, marked as this machine's, and none of our taints
// What is wanted of the Node is put there by and by; what the API server refuses is shown. True: pods may come.
bool keep_node(Pass& p);
// The same, and all of it must stand: true when it does. For what ends by that.
bool complete_node(Pass& p);
void close_node(Pass& p);  //   guarded
bool node_waits(Pass& p);  //   the API server refused a write of the Node lately: shown, and tried again later
// Why what is wanted doesn't stand on the Node, if that is known: the API server's word, or another's taint. After complete_node().
const api::BlockedBy* node_trouble(const Pass& p);
api::OwnedNodeParts owned_parts(const Pass& p);  // node_owned.cpp: what is ours there, as it is recorded
bool record_owned(Pass& p);                      //   into the draft; true: the stored one says the same
const api::NodeTaint* wanted_taint(const Pass& p, std::string_view key, std::string_view effect);
std::vector<const reconcile::Taint*> contested_taints(const Pass& p);  //   of the Node: wanted with another value, and not ours
void finish_status(Pass& p);                                           // plan_status.cpp: Ready, Reconciling, Stalled, packages
std::chrono::milliseconds settle_for(const Pass& p);                   //   how long a changed status must stand before it is written

inline constexpr std::string_view isolated_value = "machine";  // value of our endstate.dev/isolated: who closed it

}  // namespace endstate::machine
