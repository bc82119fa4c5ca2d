#include "src/agent/process.hpp"

#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "src/agent/reasons.hpp"
#include "src/agent/spawn.hpp"
#include "src/agent/tree.hpp"

namespace endstate::agent {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds look_around{200};  // for cancel()

struct Spawned {
  pid_t pid = -1;
  Fd output;
};

Result<Spawned> spawn(const Command& command) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail(file_error(errno, "start", command.argv.front()));
  Spawned out{.output = Fd(ends[0])};
  const Fd write_end(ends[1]);
  std::vector<std::string> environment{search_path, "LANG=C.UTF-8", "HOME=/root"};
  environment.insert(environment.end(), command.environment.begin(), command.environment.end());
  auto pid = spawn_apart(
      {.program = command.argv.front(), .argv = command.argv, .environment = std::move(environment), .output = write_end.get()});
  if (!pid) return fail(pid.error());
  out.pid = *pid;
  return out;
}

// What has come so far; false: the end.
bool drain(const Fd& from, std::string& into, std::size_t keep) {
  std::array<char, 4096> block{};
  const auto n = ::read(from.get(), block.data(), block.size());
  if (n <= 0) return n < 0 && errno == EINTR;
  into.append(block.data(), static_cast<std::size_t>(n));
  if (into.size() > keep + 16 * block.size()) into.erase(0, into.size() - keep);
  return true;
}

}  // namespace

std::string last_words(const std::string& output) {
  std::string text = output.size() > 300 ? output.substr(output.size() - 300) : output;
  std::replace(text.begin(), text.end(), '\n', ' ');
  while (text.ends_with(' ')) text.pop_back();
  return text;
}

Result<Ended> run_command(const Command& command, const std::atomic<bool>& cancelled) {
  if (command.argv.empty()) return fail(Error{Code::invalid, "a command without a program", {}, std::string(reason::install_failed)});
  auto child = spawn(command);
  if (!child) return fail(child.error());
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, child->pid, 0)));
  const auto deadline = Clock::now() + command.timeout;
  Ended out;
  bool open = true;
  bool running = true;
  while (running && !cancelled) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) {
      out.timed_out = true;
      break;
    }
    std::array<pollfd, 2> wait{{{process.get(), POLLIN, 0}, {open ? child->output.get() : -1, POLLIN, 0}}};
    ::poll(wait.data(), wait.size(), static_cast<int>(std::min(left, look_around).count()));
    if (wait[1].revents != 0) open = drain(child->output, out.output, command.keep);
    running = wait[0].revents == 0;
  }
  ::kill(-child->pid, SIGKILL);  // its session: also what it left behind when it ended by itself
  int status = 0;
  while (::waitpid(child->pid, &status, 0) < 0 && errno == EINTR) {
  }
  // What it said last; those that inherited the pipe and left the session could keep it open, so nobody waits for its end.
  ::fcntl(child->output.get(), F_SETFL, O_NONBLOCK);
  for (int reads = 0; open && reads < 64; ++reads) open = drain(child->output, out.output, command.keep);
  if (cancelled && running) return fail(Code::cancelled, "the agent stops");
  if (out.output.size() > command.keep) out.output.erase(0, out.output.size() - command.keep);
  out.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return out;
}

}  // namespace endstate::agent
