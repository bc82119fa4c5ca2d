// The agent's own version: a package in the slot `endstate-agent`, like any other but for what starts it.
//
// The program that the host's unit names (/usr/local/bin/endstate-agent) is the first version, and stays. Started, it looks at
// current/endstate-agent and becomes the version that stands there (execve): so it is what is started each time, and what the host falls
// back to. A version that nobody knows yet is on trial: trial.json names it, and the version before it. It is over when the new agent has
// seen its HostAssignment and has had a report taken by the API server. The first version goes back by itself, without any code of the new
// one, when
//   - it can't be executed,
//   - it has ended max_trial_starts times before it was confirmed,
//   - it isn't confirmed within trial_limit: a watchdog, a process of the first version's code beside it, puts the link back and kills it.
// Then trial.json says why, and the version before it ends its attempt as failed (docs/decisions/0008).
#pragma once
#include "src/agent/tree.hpp"
#include "src/agent/types.hpp"

namespace endstate::agent {

inline constexpr std::string_view agent_slot = "endstate-agent";
inline constexpr std::string_view agent_destination = "/usr/local/lib/endstate-agent";  // of its archive, which has bin/endstate-agent
inline constexpr std::int64_t max_trial_starts = 3;
inline constexpr std::chrono::seconds trial_limit{90};

struct Trial {
  Text to, back;            // generations; no `back`: the first version
  std::int64_t starts = 0;  // of `to`
  Text failed;              // why it was taken back
  friend bool operator==(const Trial&, const Trial&) = default;
};
consteval auto describe(const Trial*) {
  using S = Trial;
  return object("A version of the agent that nobody knows yet.", field<&S::to>("to", "Its generation."),
                field<&S::back>("back", "The generation before it."), field<&S::starts>("starts", "How often it was started."),
                field<&S::failed>("failed", "Why it was taken back."));
}
std::string trial_path();
std::string agent_program(std::string_view generation);  // its path on the host
Text generation_of_program(std::string_view program);    // of a running agent's path; empty: the first version

// What the first version does when it is started: what it is to become, after having gone back if that is due.
struct Start {
  std::string program{};  // a path on the host; empty: the first version is the agent itself
  std::optional<Trial> trial{};
};
Start choose_start(const Tree& tree);
// Puts the version before it back, if `trial` is still under way.
void take_back(const Tree& tree, const Trial& trial, const std::string& why);

// The start of main(): comes back only if this very program is to be the agent.
void become_current(char** argv, std::chrono::milliseconds limit = trial_limit);
// Ends this agent, and begins again with the first version. Comes back only if that can't be started.
void begin_again(char** argv);

}  // namespace endstate::agent
