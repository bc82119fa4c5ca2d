#include "src/common/signals.hpp"

#include <pthread.h>
#include <unistd.h>

#include <csignal>

namespace endstate {
namespace {

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGUSR1);  // our own: the program ends without having been asked to
  return set;
}

int wait_for_one() {
  const sigset_t set = stop_signals();
  int signal = 0;
  sigwait(&set, &signal);
  return signal;
}

}  // namespace

void block_stop_signals() {
  const sigset_t set = stop_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);  // a peer that hangs up is an error value of the write
}

StopSignal::StopSignal(std::function<void()> on_stop)
    : thread_([on_stop = std::move(on_stop)] {
        if (wait_for_one() == SIGUSR1) return;
        on_stop();
        if (wait_for_one() != SIGUSR1) _exit(130);
      }) {}

StopSignal::~StopSignal() {
  pthread_kill(thread_.native_handle(), SIGUSR1);
  thread_.join();
}

}  // namespace endstate
