#include "src/agent/own_version.hpp"

#include <linux/close_range.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "reconcile/json/decode.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::agent {
namespace {

constexpr const char* launched_by = "ENDSTATE_AGENT_LAUNCHER";  // for the version that was launched: the path of the first one
constexpr std::string_view generations = "/generations/";

std::optional<Trial> read_trial(const Tree& tree) {
  auto text = tree.read(trial_path(), 4096);
  if (!text) return std::nullopt;
  reconcile::Pool pool;
  auto trial = reconcile::decode<Trial>(*text, pool);
  if (!trial) return std::nullopt;
  return std::move(*trial);
}
Result<void> write_trial(const Tree& tree, const Trial& trial) { return tree.write(trial_path(), reconcile::encode(trial), 0600); }

Text current_generation(const Tree& tree) {
  const auto info = tree.look(current_path(agent_slot));
  if (!info || !*info || (*info)->kind != FileKind::link) return {};
  return Text((*info)->target.substr((*info)->target.rfind('/') + 1));
}

// Only in this order: whoever dies between the two leaves a trial that has failed, which the next start ends.
void go_back(const Tree& tree, Trial trial, const std::string& why) {
  if (trial.failed.empty()) trial.failed = Text(why);
  (void)write_trial(tree, trial);  // the disk may be full: the way back is more than its reason
  (void)(trial.back.empty() ? tree.remove(current_path(agent_slot))
                            : tree.link(current_path(agent_slot), "../generations/" + trial.back.str()));
}

std::string own_path() {
  std::array<char, 4096> path{};
  const auto n = ::readlink("/proc/self/exe", path.data(), path.size() - 1);
  return n > 0 ? std::string(path.data(), static_cast<std::size_t>(n)) : std::string();
}

// The folder that is the host's "/", as the command line says it.
std::string root_of(char** argv) {
  for (char** a = argv; a[0] != nullptr; ++a) {
    const std::string_view word = a[0];
    if (word == "--root" && a[1] != nullptr) return a[1];
    if (word.starts_with("--root=")) return std::string(word.substr(7));
  }
  return "/";
}

// A command that a person gives (endstate-agent --enrol -) is not a start of the agent: it is no try, and needs no watchdog.
bool is_command(char** argv) {
  for (char** a = argv; a[0] != nullptr; ++a)
    for (const std::string_view flag : {"--enrol", "--help", "-h", "--version"})
      if (std::string_view(a[0]) == flag || std::string_view(a[0]).starts_with(std::string(flag) + "=")) return true;
  return false;
}

// Waits until the trial is over, the agent has ended (then its next start counts), or the limit is reached.
void watch(const Tree& tree, const Trial& trial, int agent, std::chrono::milliseconds limit) {
  const auto until = std::chrono::steady_clock::now() + limit;
  for (;;) {
    pollfd end{agent, POLLIN, 0};
    if (::poll(&end, 1, 200) > 0) return;
    const auto now = read_trial(tree);
    if (!now || now->to != trial.to || !now->failed.empty()) return;
    if (std::chrono::steady_clock::now() < until) continue;
    go_back(tree, *now,
            "the new agent wasn't confirmed within " + std::to_string(std::chrono::duration_cast<std::chrono::seconds>(limit).count()) +
                " s: it hangs, or it can't reach the API server");
    ::syscall(SYS_pidfd_send_signal, agent, SIGKILL, nullptr, 0);  // who keeps the agent running starts the version before it
    return;
  }
}

// A grandchild, so that nobody has to wait for it. systemd ends it with the agent.
void start_watchdog(const Tree& tree, const Trial& trial, std::chrono::milliseconds limit) {
  const auto agent = static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0));
  const pid_t child = ::fork();
  if (child == 0) {
    if (::fork() == 0) watch(tree, trial, agent, limit);
    ::_exit(0);
  }
  if (child > 0) ::waitpid(child, nullptr, 0);
  if (agent >= 0) ::close(agent);
}

}  // namespace

std::string trial_path() { return state_path("trial.json"); }
std::string agent_program(std::string_view generation) {
  return generation_path(generation, "root" + std::string(agent_destination) + "/bin/endstate-agent");
}
Text generation_of_program(std::string_view program) {
  const auto at = program.find(std::string(state_folder).append(generations));
  if (at == std::string_view::npos) return {};
  const auto id = program.substr(at + state_folder.size() + generations.size());
  return Text(id.substr(0, id.find('/')));
}

void take_back(const Tree& tree, const Trial& trial, const std::string& why) {
  const auto now = read_trial(tree);
  if (now && now->to == trial.to && current_generation(tree) == trial.to) go_back(tree, *now, why);
}

Start choose_start(const Tree& tree) {
  auto current = current_generation(tree);
  auto trial = read_trial(tree);
  if (trial && trial->to == current && !current.empty()) {
    const bool used_up = trial->starts >= max_trial_starts;
    if (used_up || !trial->failed.empty()) {
      go_back(tree, *trial, "the new agent ended " + std::to_string(trial->starts) + " times before it was confirmed");
      current = trial->back;
      trial.reset();
    } else {
      ++trial->starts;
      if (!write_trial(tree, *trial)) {  // it can't be counted, so it can't be tried
        go_back(tree, *trial, "the start of the new agent could not be written down");
        current = trial->back;
        trial.reset();
      }
    }
  } else {
    trial.reset();
  }
  if (current.empty()) return {};
  return {agent_program(current), std::move(trial)};
}

void become_current(char** argv, std::chrono::milliseconds limit) {
  if (::getenv(launched_by) != nullptr || is_command(argv)) return;  // NOLINT(concurrency-mt-unsafe): before any thread
  const Tree tree(root_of(argv), true);
  for (int tries = 0; tries < 2; ++tries) {
    const auto start = choose_start(tree);
    if (start.program.empty()) return;
    if (start.trial) start_watchdog(tree, *start.trial, limit);
    ::setenv(launched_by, own_path().c_str(), 1);  // NOLINT(concurrency-mt-unsafe)
    ::execv(tree.outside(start.program).c_str(), argv);
    const auto error = errno;
    ::unsetenv(launched_by);   // NOLINT(concurrency-mt-unsafe)
    if (!start.trial) return;  // better an old agent than none
    std::array<char, 128> text{};
    take_back(tree, *start.trial, std::string("the new agent can't be executed: ") + ::strerror_r(error, text.data(), text.size()));
  }
}

void begin_again(char** argv) {
  const char* first = ::getenv(launched_by);  // NOLINT(concurrency-mt-unsafe): after all threads
  const std::string program = first != nullptr ? first : own_path();
  ::unsetenv(launched_by);  // NOLINT(concurrency-mt-unsafe)
  ::syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
  sigset_t none;
  sigemptyset(&none);
  ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
  ::execv(program.c_str(), argv);
}

}  // namespace endstate::agent
