// Facts: the set's machines, judged once a pass in O(n). All other plans of this folder read these and never a Machine's status again.
//
// What they rest on (written by the machine loop): the conditions Ready and AgentAlive; status.operation (something is being done to it
// now); status.revision (what it was brought to); status.lastOperation {revision, result, endTime} (what failed); hostRef, nodeRef.
#pragma once
#include <cstdint>
#include <vector>

#include "controllers/machine_set/revisions.hpp"
#include "controllers/machine_set/snapshot.hpp"

namespace endstate::machine_set {

struct Fact {
  const api::Machine* machine = nullptr;
  Text revision;  // that its spec stands for; empty: none that is known (another hand edited it, or its revision is gone)
  bool deleting = false, delete_first = false, protected_ = false, paused = false;
  bool has_host = false;
  bool reachable = false;  // has a host, and its agent isn't silent
  bool ready = false;      // condition Ready is True; Unknown is not
  bool unseen = false;     // Ready is Unknown, and not by the word of its Node or host: neither well nor ill
  bool available = false;  // Ready for minReadySeconds
  bool in_flight = false;  // an operation is under way
  bool settled = false;    // nothing is under way, and it was brought to the revision that its label names
  bool steady = false;     // available and settled: what maxUnavailable counts; editing it costs one
  bool born = false;       // it was in service once: it is more than a wish
};

struct Facts {
  std::vector<Fact> live, deleting;
  std::int64_t ready = 0, available = 0, steady = 0;   // of the live ones
  std::int64_t unknown = 0;                            // of those that were in service: Ready is Unknown, whoever says so
  std::optional<std::chrono::seconds> next_available;  // when the next one will have been Ready for minReadySeconds
  std::int64_t total() const { return static_cast<std::int64_t>(live.size() + deleting.size()); }
  std::int64_t live_count() const { return static_cast<std::int64_t>(live.size()); }
};

Facts judge(const Snapshot& s, const Revisions& revisions);

// How a machine that has (or is to have) the revision `r` is doing with it, in a rollout that began at `since`.
enum class Standing : std::uint8_t {
  good,     // brought to it, and available
  pending,  // not there yet, and it may get there
  sick,     // was brought to it, and is not available now
  failed,   // the attempt failed on a machine that was well before: speaks against the revision
  lost,     // its host died meanwhile: pauses, doesn't condemn
  excused,  // was unavailable before, and tells nothing about the revision
};
struct Window {
  WallTime since{};        // failures before this don't count (another rollout, or retried)
  WallTime lost_since{};   // losses before this don't count (somebody promoted over them)
  bool creations = false;  // type Recreate: a failed creation is a failed attempt too
};
Standing standing(const Fact& f, const Text& r, const Window& window);

}  // namespace endstate::machine_set
