// Seen: what is on the host, as far as the plan needs it. Observer looks; it costs a few system calls a file that a package owns, and no
// reading of contents: a file is as it was staged while its size, time and mode are.
#pragma once
#include <map>
#include <memory>
#include <set>

#include "src/agent/host.hpp"
#include "src/agent/own_version.hpp"
#include "src/agent/types.hpp"

namespace endstate::agent {

struct GenerationSeen {
  std::shared_ptr<const Manifest> manifest;  // never null
  std::string damage;                        // the first thing that isn't as it was staged; looked for only in what is in use
};

struct SlotSeen {
  Text current;           // the generation that takes effect; empty: none
  std::string off;        // the first of its files or sysctls that isn't as it should be on the host; empty: none
  bool file_off = false;  // it is a file: what runs may have read another
  std::string unit_name;  // of the good generation's service; empty: it has none
  api::Disruption disruption{};
  std::optional<UnitInfo> unit;
  bool unit_unknown = false;  // nobody could say
};

struct Seen {
  std::map<std::string, GenerationSeen, std::less<>> generations;  // by id
  std::map<std::string, SlotSeen, std::less<>> slots;              // those of the journal
  std::set<std::string, std::less<>> in_use;                       // generations that a slot has, or comes to
  std::set<std::string, std::less<>> blobs;                        // SHA-256 of each artifact that is there
  std::set<std::string, std::less<>> leftovers;                    // state paths of what was never finished, or belongs to nobody
  std::string boot_id;
  std::uint64_t free_bytes = 0;
  bool reserve = false;
  Text agent_generation;       // of the agent that runs; empty: the first version
  std::optional<Trial> trial;  // of a version of it
};

// The first thing of a generation that isn't as it was staged; empty: it is whole.
Result<std::string> damage_of(Host& host, const std::string& id, const Manifest& manifest);

class Observer {
 public:
  explicit Observer(Host& host) : host_(host) {}
  // Also makes the state folder. An error: the host can't be judged now.
  Result<Seen> look(const Journal& journal);
  // The files that a package owns, on the host and in its generation: what a change of them is, the next look finds.
  std::vector<std::string> owned_paths(const Journal& journal) const;

 private:
  Result<void> make_state_folders();
  Result<void> look_at_generations(Seen& seen);
  Result<void> look_at_slot(const SlotRecord& record, Seen& seen);
  Result<void> look_at_agent(const Journal& journal, Seen& seen);
  Result<std::string> package_off(const std::string& id, const SystemPackage& package);
  Result<std::string> look_at_package(const std::string& id, const SystemPackage& package, std::int64_t stamp);

  Host& host_;
  std::map<std::string, std::shared_ptr<const Manifest>, std::less<>> manifests_;  // a generation never changes
  // What a package of the distribution was like when its own tool found it right; by generation.
  struct Verified {
    std::int64_t stamp = 0;
    std::vector<std::pair<std::string, std::optional<FileInfo>>> files;
  };
  std::map<std::string, Verified, std::less<>> verified_;
};

}  // namespace endstate::agent
