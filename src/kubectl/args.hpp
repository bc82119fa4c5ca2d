// The command line. Wrong input is one clear line and exit code 2; --help stands at every level, and says the exit codes.
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace endstate::kubectl {

// Exit codes, the same for every command; --help and docs/kubectl.md list them.
namespace exit_code {
inline constexpr int good = 0;
inline constexpr int no = 1;       // rollout status: it failed; diff: something would change; a verb: refused
inline constexpr int usage = 2;    // the command line, or a file that isn't what it should be
inline constexpr int waits = 3;    // rollout status --watch=false: paused, or waiting for a person
inline constexpr int pending = 4;  // rollout status: not over yet (--timeout, or --watch=false)
inline constexpr int server = 5;   // the API server can't be reached, or says no
}  // namespace exit_code

struct Common {
  std::string kubeconfig, context, name_space;
  std::chrono::seconds request_timeout{30};
};

struct Target {
  std::string kind, name;  // kind: MachineSet, Cluster, Machine
};

enum class Verb : std::uint8_t { status, history, pause, resume, promote, retry, undo, abort };
enum class DryRun : std::uint8_t { none, client, server };

struct RolloutArgs {
  Verb verb{};
  Target target;
  bool watch = true;                     // status
  std::chrono::seconds timeout{0};       // status; 0: none
  std::optional<std::int64_t> revision;  // history --revision, undo --to-revision
  std::string step;                      // promote
  bool force = false;                    // undo
  DryRun dry_run = DryRun::none;         // all that write
  std::string output;                    // status, history: "", json, yaml
};
struct DiffArgs {
  std::vector<std::string> files;
  std::optional<Target> target;
  std::optional<std::int64_t> to_revision;
  std::string output;  // "", wide, json
  bool all = false;    // every machine's name
  bool server_side = false;
  std::optional<std::chrono::seconds> machine_time;
};
struct DescribeArgs {
  Target target;
};
struct KubeconfigArgs {
  Target target;
  std::string output;  // a file; empty: the standard output
};
struct EnrolArgs {
  std::string host;
  std::string server, tls_server_name;  // as the host reaches the API server; empty: as the user does
  std::chrono::seconds timeout{60};
};
struct RightsArgs {
  Target target;
};
struct DoctorArgs {};
struct TopArgs {
  bool watch = false, once = false, all_namespaces = false;
  std::chrono::seconds interval{2};
  std::string output;  // "", json
};

struct Args {
  Common common;
  std::variant<RolloutArgs, DiffArgs, DescribeArgs, KubeconfigArgs, TopArgs, EnrolArgs, RightsArgs, DoctorArgs> command;
};

// The command, or the exit code of a run that ends here.
std::variant<Args, int> parse_args(int argc, const char* const* argv);

// The commands and their flags by name, for the shell's completion.
struct CommandNames {
  std::string name, what;
  std::vector<std::string> flags;   // "--watch", "-w"
  std::vector<std::string> values;  // those of them that a value follows
  std::vector<CommandNames> below;
};
CommandNames command_names();

// "machineset/workers", or with the name as a word of its own; kinds by their names, plurals and short names, as kubectl knows them.
// Empty: it names none of `kinds`.
std::optional<Target> parse_target(const std::vector<std::string>& words, const std::vector<std::string>& kinds);

}  // namespace endstate::kubectl
