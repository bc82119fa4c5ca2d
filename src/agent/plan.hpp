// The plan of a host: a pure function from what is wanted, what the agent remembers and what is on the host to the next step, and to the
// report. One step at a time: after each everything is looked at again, so that an agent that was killed goes on as one that was not.
//
//   fetch, stage     get a version ready; touches nothing that anybody uses: all of them first
//   begin, phase     one slot at a time is worked on (attempt.hpp), after what it requires
//   begin (Repair)   what has drifted is put right, max_repairs times an hour a slot: two writers don't fight for ever
//   begin (Remove)   what isn't wanted any more, last one first
//   prefetch         what is to come is fetched while there is nothing else to do; touches nothing
//
// Who goes back: the agent, to the last good version of the slot that failed, by itself and at once; nobody else undoes anything on a host.
// It doesn't try the same order again. Which version is wanted next only its HostAssignment says (docs/decisions).
#pragma once
#include <map>

#include "reconcile/base/time.hpp"
#include "reconcile/kube/meta.hpp"
#include "src/agent/seen.hpp"
#include "src/agent/target.hpp"

namespace endstate::agent {

using reconcile::MonoTime, reconcile::Now;

// Bounds of all waits.
inline constexpr std::chrono::seconds look_period{10};     // between two looks while all is well
inline constexpr std::chrono::seconds service_settles{2};  // so long a started service must stay up
inline constexpr std::chrono::seconds first_backoff{2}, last_backoff{60}, hopeless_backoff{300};
inline constexpr int fetch_tries = 6;     // then it is reported as failed, and tried each hopeless_backoff
inline constexpr int service_tries = 30;  // looks, a second apart, at a service that doesn't come up
inline constexpr std::size_t max_repairs = 5;
inline constexpr std::chrono::seconds repair_window{3600};
inline constexpr int reboot_tries = 3;
inline constexpr std::chrono::seconds reboot_wait{300};
inline constexpr std::uint64_t reserve_above = 256ULL << 20U;

// What this process remembers of a slot; lost without harm.
struct SlotMemory {
  int failures = 0;  // in a row, of fetching, staging, or the attempt's phase
  MonoTime not_before{};
  std::optional<Error> trouble;                            // the last of them
  std::map<std::string, int, std::less<>> probe_failures;  // in a row
  std::optional<MonoTime> up_since;                        // its service, as probed
};
using Memory = std::map<std::string, SlotMemory, std::less<>>;

enum class Do : std::uint8_t { fetch, prefetch, stage, begin, drop, phase, sweep, reserve, request, forget };
struct Step {
  Do what{};
  Text slot{};
  Text generation{};                        // stage: its id to be
  std::optional<Attempt> attempt{};         // begin
  std::optional<Failure> failure{};         // begin: to be remembered with it
  std::string request{};                    // id
  std::optional<api::Artifact> artifact{};  // fetch, prefetch
  std::vector<std::string> paths{};         // sweep: below the state folder
  std::string why{};                        // for the log
};

struct Input {
  Now now;
  const Journal& journal;
  const Target& target;
  const Seen& seen;
  const Memory& memory;
};
struct Plan {
  std::optional<Step> step;
  MonoTime again{};  // without a step: when to look again
  std::vector<api::PackageReport> packages;
  std::vector<api::RequestReport> requests;
  std::vector<reconcile::Condition> conditions;  // without times
  bool settled = false;                          // all that is wanted is there
};
Plan plan(const Input& in);

std::chrono::nanoseconds backoff_after(int failures);
std::string prefetch_key(const api::Artifact& artifact);  // of Memory

}  // namespace endstate::agent
